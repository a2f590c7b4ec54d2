"""Sweeps over synthetic trackers: each count is what was said, and no tracker is asked too often."""

import sqlite3
from contextlib import asynccontextmanager, closing

import pytest
import trio

import crawler
from crawler import CrawlOptions
from crawler.db.database import CrawlDatabase
from crawler.synthetic.network import Network
from crawler.synthetic.settings import SyntheticSettings
from crawler.synthetic.trackers.server import bind_trackers, serve_trackers
from crawler.synthetic.trackers.tracker import make_trackers
from dhtnode import InfoHash

UDP, HTTP = 0, 1


@asynccontextmanager
async def served(styles, swarms=300):
    network = Network(SyntheticSettings(nodes=20, swarms=swarms, largest=2000, sizes="log", trackers=styles))
    trackers = make_trackers(network)
    servers = bind_trackers(trackers)
    async with serve_trackers(servers):
        yield trackers, [swarm.info_hash for swarm in network.swarms]


def stored(db):
    """Return the counts of each tracker that is not silent on a swarm."""
    found = {}
    with closing(sqlite3.connect(db)) as connection:
        for url, *row in connection.execute(
            "SELECT url, info_hash, seeds, leechers, downloaded FROM tracker_samples"
            " JOIN tracker_sweeps ON sweep_id = tracker_sweeps.id"
        ):
            found.setdefault(url, {})[bytes.fromhex(row[0])] = tuple(row[1:])
    return found


def said(tracker, swarms):
    told = {info_hash: tracker.listed(info_hash, 0.0) for info_hash in swarms}
    return {each: tuple(row) for each, row in told.items() if row is not None and any(row)}


async def sweep(db, trackers, which, swarms, **options):
    urls = [tracker.urls[which] for tracker in trackers]
    done = await crawler.sweep_trackers(swarms, db, trackers=urls, rate=0, **options)
    return {each.url: each for each in done.sweeps}


@pytest.mark.parametrize("which", [UDP, HTTP])
async def test_counts_are_what_was_said_and_caps_are_learned(tmp_path, which):
    styles = "opentracker,bittorrent-tracker,aquatic,chihaya,torrust,cap-10,cap-1"
    async with served(styles) as (trackers, swarms):
        rows = await sweep(tmp_path / "a.db", trackers, which, swarms)
        expected = {tracker.urls[which]: said(tracker, swarms) for tracker in trackers}
        assert stored(tmp_path / "a.db") == expected
        assert {(row.outcome, row.asked, row.not_due) for row in rows.values()} == {("answered", 300, 0)}
        assert [rows[each.urls[which]].nonzero for each in trackers] == [
            len(each) for each in expected.values()
        ]
    with CrawlDatabase.open(tmp_path / "a.db") as store:
        batch = {each.url: each.batch for each in store.trackers.known()}
    learned = [batch[each.urls[which]] for each in trackers]
    assert learned[:5] == ([None, None, None, 50, None] if which is UDP else [None] * 5)
    # Over HTTP the last of ten may have been unknown.
    assert (learned[5] in (9, 10), learned[6]) == (True, 1)


async def test_liars_are_marked_and_marks_are_kept(tmp_path):
    styles = (
        "opentracker,plain+mirror,plain,chihaya+invents,plain+constant,plain+alone,plain+multiplied,shifted"
    )
    async with served(styles, 200) as (trackers, swarms):
        rows = await sweep(tmp_path / "a.db", trackers, UDP, swarms)
        marks = [set(rows[tracker.urls[UDP]].marks) for tracker in trackers]
        assert marks[0] == marks[2] == set()
        wanted = ["mirror", None, "invents", "constant", "alone", "multiplied", "invents"]
        assert all(word is None or word in found for word, found in zip(wanted, marks[1:], strict=True))
    with CrawlDatabase.open(tmp_path / "a.db") as store:
        assert {each.url: set(each.marks) for each in store.trackers.known()} == {
            tracker.urls[UDP]: found for tracker, found in zip(trackers, marks, strict=True)
        }


async def test_a_swarm_is_asked_for_once_in_half_an_hour(tmp_path):
    async with served("plain,plain") as (trackers, swarms):
        await sweep(tmp_path / "a.db", trackers[:1], UDP, swarms[:200])
        rows = await sweep(tmp_path / "a.db", trackers, UDP, swarms)
        first, second = (rows[tracker.urls[UDP]] for tracker in trackers)
        assert (first.asked, first.not_due, second.asked, second.not_due) == (100, 200, 300, 0)
        rows = await sweep(tmp_path / "a.db", trackers, UDP, swarms)
        assert {(row.outcome, row.requests, row.not_due) for row in rows.values()} == {("later", 0, 300)}
        # Another URL of the same place is the same tracker.
        alias = trackers[0].urls[UDP].replace("/announce", "/other")
        done = await crawler.sweep_trackers(
            swarms, tmp_path / "b.db", trackers=[trackers[1].urls[UDP], alias], rate=0
        )
        assert [row.outcome for row in done.sweeps] == ["answered", "answered"]
        same = trackers[0].urls[UDP]
        done = await crawler.sweep_trackers(swarms, tmp_path / "c.db", trackers=[same, alias], rate=0)
        assert [(row.outcome, row.requests > 0) for row in done.sweeps] == [
            ("answered", True),
            ("later", False),
        ]


async def test_pauses_are_kept_over_sweeps(tmp_path):
    async with served("retry-in,never,min-interval") as (trackers, swarms):
        rows = await sweep(tmp_path / "a.db", trackers, HTTP, swarms)
        assert [rows[each.urls[HTTP]].outcome for each in trackers] == ["later", "never", "answered"]
        before = [each.counts.total() for each in trackers]
        rows = await sweep(tmp_path / "a.db", trackers, HTTP, [InfoHash(bytes([n]) * 20) for n in range(9)])
        assert [rows[each.urls[HTTP]].outcome for each in trackers] == ["later", "never", "later"]
        assert [each.counts.total() for each in trackers] == before
        rows = await sweep(tmp_path / "a.db", trackers, HTTP, swarms, asks_again=True)
        assert [rows[each.urls[HTTP]].requests for each in trackers] == [0, 1, 0]


async def test_what_was_reserved_and_not_asked_for_is_due_again(tmp_path):
    """A sweep that is interrupted keeps what it heard, and tells what it has asked for."""
    async with served("slow", 300) as (trackers, swarms):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sweep, tmp_path / "a.db", trackers, UDP, swarms)
            while not trackers[0].counts.total():  # noqa: ASYNC110  the tracker has no event
                await trio.sleep(0.01)
            # It answers 3 s later.
            nursery.cancel_scope.cancel()
        with CrawlDatabase.open(tmp_path / "a.db") as store:
            ((_, turns),) = store.trackers.turns("2026")
            (row,) = store.rows("tracker_sweeps")
            assert [run.status for run in store.runs.all()] == ["interrupted"]
        assert turns[0].last < 300
        assert (row["outcome"], row["finished_at"] is None) == ("partial", False)


async def test_urls_with_keys_are_neither_asked_nor_stored(tmp_path):
    key = "0123456789abcdef0123456789abcdef"
    async with served("plain") as (trackers, swarms):
        url = trackers[0].urls[HTTP].replace("/announce", f"/{key}/announce")
        done = await crawler.sweep_trackers(
            swarms, tmp_path / "a.db", trackers=[url, "wss://x.example"], rate=0, full=[url]
        )
        assert done.tally.left_out == {"passkey": 1, "skipped-scheme": 1}
        assert [row.outcome for row in done.sweeps] == ["passkey"]
        assert trackers[0].counts.total() == 0
    assert all(key.encode() not in path.read_bytes() for path in tmp_path.iterdir())
    assert key not in str(done)


async def test_all_that_a_tracker_has_is_asked_for_once_in_six_hours(tmp_path):
    async with served("opentracker") as (trackers, swarms):
        url = trackers[0].urls[HTTP]
        done = await crawler.sweep_trackers([], tmp_path / "a.db", full=[url], rate=0)
        assert [(row.outcome, row.listed) for row in done.sweeps] == [
            ("answered", len(said(trackers[0], swarms)))
        ]
        assert stored(tmp_path / "a.db")[url] == said(trackers[0], swarms)
        done = await crawler.sweep_trackers([], tmp_path / "a.db", full=[url], rate=0)
        assert [(row.outcome, row.requests) for row in done.sweeps] == [("later", 0)]
        udp = await crawler.sweep_trackers([], tmp_path / "a.db", full=[trackers[0].urls[UDP]], rate=0)
        assert [row.outcome for row in udp.sweeps] == ["no-scrape"]


async def test_a_full_answer_without_end_is_bounded(tmp_path):
    async with served("gzip-bomb,html") as (trackers, _):
        urls = [each.urls[HTTP] for each in trackers]
        done = await crawler.sweep_trackers([], tmp_path / "a.db", full=urls, rate=0)
        assert [row.outcome for row in done.sweeps] == ["malformed"] * 2


async def test_one_tracker_that_fails_fails_no_other(tmp_path):
    async with served("plain,html,error,no-numbers,truncated,redirects,no-scrape,gzip-bomb") as (
        trackers,
        swarms,
    ):
        rows = await sweep(tmp_path / "a.db", trackers, HTTP, swarms[:60])
        outcomes = [rows[each.urls[HTTP]].outcome for each in trackers]
        assert outcomes[:1] + outcomes[2:3] + outcomes[6:] == ["answered", "refused", "http-404", "malformed"]
        assert {outcomes[1], outcomes[3], outcomes[4]} == {"malformed"}


async def test_private_swarms_and_excluded_networks_are_left_alone(tmp_path):
    async with served("plain") as (trackers, swarms):
        with CrawlDatabase.open(tmp_path / "a.db") as store:
            store.runs.begin("metadata", {}, "0", "2026")
            execute = store.connection.execute
            execute(
                "INSERT INTO swarms (info_hash, first_seen, last_seen) VALUES (?, '', '')", (swarms[0].hex(),)
            )
            execute(
                "INSERT INTO torrents (info_hash, run_id, fetched_at, is_private) VALUES (?, 1, '', 1)",
                (swarms[0].hex(),),
            )
        options = CrawlOptions(tmp_path / "a.db", exclude=["127.0.0.0/8"])
        done = await crawler.sweep_trackers(swarms, options, trackers=[trackers[0].urls[UDP]], rate=0)
        assert [row.outcome for row in done.sweeps] == ["later"]
        assert trackers[0].counts.total() == 0
        done = await crawler.sweep_trackers(
            swarms, tmp_path / "a.db", trackers=[trackers[0].urls[UDP]], rate=0
        )
        assert (done.tally.private, done.sweeps[0].asked) == (1, len(swarms) - 1)
        assert swarms[0] not in stored(tmp_path / "a.db")[trackers[0].urls[UDP]]
