"""What trackers say of swarms together, beside what nodes say, and how far both overlap."""

from dataclasses import replace
from pathlib import Path

import pytest

import crawler
from crawler.browse.plots import plot_swarm
from crawler.db.connection import open_reading
from crawler.db.database import CrawlDatabase
from crawler.db.records.records import epoch_ms
from crawler.db.records.trackers import (
    KnownTracker,
    SwarmOverlap,
    SweepBatch,
    TrackerMeasurement,
    TrackerSweep,
)
from crawler.reports import REPORTS
from crawler.reports.explain import explanation_lines
from dhtnode import InfoHash
from dhtnode.trackers import SwarmCounts
from dhtnode.trackers.combination import combine
from tests.databases import records, rows
from tests.small_database import LARGE, SMALL, T0, swarm_sample, time_text

GONE = InfoHash(b"\xcc" * 20)
URLS = [f"udp://{name}.example:6969" for name in "abcd"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "swarms.db"


def ask(store, run_id, at, said, *, marks=(), not_asked=()):
    """Write a sweep of every tracker in `said`, of seeds and leechers by swarm, and return their numbers."""
    now, marks = time_text(at), dict(marks)
    store.trackers.add(KnownTracker(url, "udp", url[6:15], "given", now) for url in said)
    sweeps = store.trackers.begin(run_id, [TrackerSweep(0, url, 4, None, now) for url in said])
    samples = []
    for number, sweep in enumerate(sweeps):
        counts = said[sweep.url]
        nonzero = {swarm: each for swarm, each in counts.items() if any(each)}
        sweeps[number] = replace(
            sweep,
            outcome="silent" if sweep.url in not_asked else "answered",
            asked=len(counts),
            listed=len(counts),
            nonzero=len(nonzero),
            requests=2,
            answers=0 if sweep.url in not_asked else 2,
            rtt_ms=20.0 + number,
            marks=marks.get(sweep.url, ()),
        )
        samples += [
            (sweep.id, swarm, epoch_ms(T0 + at), *each, None, None) for swarm, each in nonzero.items()
        ]
    store.write(run_id, [SweepBatch(sweeps, samples)])
    return [sweep.id for sweep in sweeps]


def begin(store, at=0):
    return store.runs.begin("scrape", {}, "0.1.0", time_text(at))


def test_trackers_together_are_the_longest_list_and_the_sum(path):
    """The rows are those of `combine`, with who has a mark of a liar left out; `utf8-keys` is none."""
    said = {
        URLS[0]: {LARGE: (10, 40), SMALL: (1, 0)},
        URLS[1]: {LARGE: (30, 15), SMALL: (0, 0)},
        URLS[2]: {LARGE: (999, 999), SMALL: (999, 999)},
        URLS[3]: {LARGE: (30, 15)},
    }
    marks = {URLS[1]: ("utf8-keys",), URLS[2]: ("utf8-keys", "invents"), URLS[3]: ("mirror",)}
    with CrawlDatabase.open(path) as store:
        sweeps = ask(store, begin(store), 5, said, marks=marks)
        found = store.trackers.measure(1, sweeps, time_text(9), [LARGE, SMALL, GONE])
    together = combine([SwarmCounts(*said[url][LARGE]) for url in URLS[:2]])
    assert together.peers == (50, 95)
    assert found == [
        TrackerMeasurement(
            LARGE, time_text(5), 10, 40, *together.peers, *together.seeds, *together.leechers, 4, 4
        ),
        TrackerMeasurement(SMALL, time_text(5), 1, 0, 1, 1, 1, 1, 0, 0, 4, 4),
        TrackerMeasurement(GONE, time_text(9), 0, 0, 0, 0, 0, 0, 0, 0, 4, 4),
    ]
    columns = "info_hash, seeds, leechers, peers, peers_low, peers_high, method, source, nodes_answered"
    assert rows(path, f"SELECT {columns} FROM swarm_samples") == [
        (LARGE.hex(), 10, 40, 50, 50, 95, "tracker", "tracker", 4),
        (SMALL.hex(), 1, 0, 1, 1, 1, "tracker", "tracker", 4),
        (GONE.hex(), 0, 0, 0, 0, 0, "tracker", "tracker", 4),
    ]
    assert len(rows(path, "SELECT * FROM swarms")) == 3


def test_a_word_is_a_mark_only_as_a_whole(path):
    """A mark of another version that begins as one of ours does is none of ours."""
    with CrawlDatabase.open(path) as store:
        said = {URLS[0]: {LARGE: (1, 1)}, URLS[1]: {LARGE: (2, 2)}}
        marks = {URLS[0]: ("mirrored", "not-alone"), URLS[1]: ("alone",)}
        sweeps = ask(store, begin(store), 5, said, marks=marks)
        (found,) = store.trackers.measure(1, sweeps, time_text(9))
    assert (found.peers, found.peers_high) == (2, 2)


def test_what_was_told_of_many_swarms_counts_in_a_round_of_few(path):
    """Of two swarms it cannot be seen that a tracker says the same of all."""
    many = [InfoHash(bytes([number]) * 20) for number in range(1, 21)]
    with CrawlDatabase.open(path) as store:
        run_id = begin(store)
        said = {url: dict.fromkeys(many, (9, 9)) for url in URLS[:2]}
        ask(store, run_id, 5, said, marks={URLS[0]: ("constant",)})
        few = {URLS[0]: {LARGE: (9, 9)}, URLS[1]: {LARGE: (1, 1)}}
        (found,) = store.trackers.measure(run_id, ask(store, run_id, 50, few), time_text(60))
        assert (found.peers, found.peers_high) == (2, 2)
        assert store.trackers.distrusted() == {URLS[0]}
        # Until it is seen to be honest.
        ask(store, run_id, 70, said)
        (found,) = store.trackers.measure(run_id, ask(store, run_id, 90, few), time_text(99))
        assert (found.peers, found.peers_high) == (18, 20)
        assert store.trackers.distrusted() == set()


def overlap(info_hash, url=None, **numbers):
    given = {"listed": 80, "listed_high": 90, "peers_named": 40, "passed": 30, "false_positives": 0.1}
    given |= {"overlap": 0.5, "overlap_low": 0.4, "overlap_high": 0.6}
    given |= {"n_estimate": 140.0, "n_low": 130.0, "n_high": 150.0}
    return SwarmOverlap(info_hash, time_text(20), url, **given | numbers)


def fill(path):
    """Measure two swarms by nodes, and by trackers: one of them within 10 minutes."""
    with CrawlDatabase.open(path) as store:
        run_id = begin(store)
        store.write(run_id, [swarm_sample(LARGE, 0, 100.0), swarm_sample(SMALL, 0, 60.0)])
        said = {URLS[0]: {LARGE: (20, 60)}, URLS[1]: {LARGE: (5, 5)}, URLS[2]: {LARGE: (400, 100)}}
        marks = {URLS[2]: ("alone",)}
        store.trackers.measure(
            run_id, ask(store, run_id, 300, said, marks=marks, not_asked=[URLS[1]]), time_text(300)
        )
        late = ask(store, run_id, 900, {URLS[0]: {SMALL: (1, 1)}})
        store.trackers.measure(run_id, late, time_text(900))
        store.trackers.add_overlaps(run_id, [overlap(LARGE), overlap(LARGE, URLS[0], overlap=0.75)])
        store.trackers.add_overlaps(run_id + 1, [overlap(LARGE)])  # no measurement of that run


def test_sources_stand_side_by_side(path):
    fill(path)
    large, small = sorted(records(path, "SELECT * FROM swarm_sources"), key=lambda row: row["info_hash"])
    assert {name: large[name] for name in ("dht_peers", "dht_low", "dht_high")} == {
        "dht_peers": 100,
        "dht_low": 98,
        "dht_high": 102,
    }
    assert (large["trackers_low"], large["trackers_high"], large["trackers"]) == (80, 90, 2)
    assert (large["minutes"], large["ratio"], large["larger"]) == (5.0, 0.8, "dht")
    assert (large["at_least"], large["at_most"]) == (98, 192)
    assert (large["overlap"], large["n"], large["n_low"], large["n_high"]) == (0.5, 140, 130, 150)
    assert (small["trackers_low"], small["minutes"]) == (2, 15.0)
    assert {small[name] for name in ("ratio", "larger", "at_least", "at_most", "overlap", "n")} == {None}


def test_quality_of_a_tracker_is_of_all_its_sweeps(path):
    fill(path)
    found = {row["url"]: row for row in records(path, "SELECT * FROM tracker_quality")}
    names = ("sweeps", "answered", "asked", "listed_share", "nonzero_share", "answer_share", "overlap")
    assert [tuple(found[url][name] for name in names) for url in URLS[:3]] == [
        (2, 2, 2, 1.0, 1.0, 1.0, 0.75),
        (1, 0, 1, None, None, 0.0, None),
        (1, 1, 1, 1.0, 1.0, 1.0, None),
    ]


def test_reports_tell_of_trackers_and_of_both_sources(path):
    fill(path)
    with open_reading(path) as db:
        trackers = {row["url"]: row for row in REPORTS["trackers"].answer(db).records()}
        sources = REPORTS["sources"].answer(db).rows
        swarms = REPORTS["swarm-sources"].answer(db).records()
        of_no_run = REPORTS["swarm-sources"].answer(db, run=1).records()
    assert [(trackers[url]["answered"], trackers[url]["marks"]) for url in URLS[:3]] == [
        (100.0, ""),
        (0.0, ""),
        (100.0, "alone"),
    ]
    assert (trackers[URLS[0]]["overlap"], trackers[URLS[1]]["last_trouble"]) == (75.0, "silent")
    day = time_text(0)[:10]
    # The other swarm was asked for 15 minutes apart.
    assert sources == (
        (day, "all", "100-999", 1, 0.8, 100.0),
        (day, URLS[0], "100-999", 1, 0.8, 100.0),
        (day, URLS[1], "100-999", 1, 0.1, 100.0),
        (day, URLS[2], "100-999", 1, 5.0, 100.0),
    )
    assert [row["info_hash"] for row in swarms] == [LARGE.hex(), SMALL.hex()]
    assert swarms == of_no_run


def test_median_of_sources_is_that_of_swarms(path):
    """Of an even number it is the mean of both in the middle; each swarm counts once a day."""
    swarms = [InfoHash(bytes([number]) * 20) for number in range(1, 5)]
    with CrawlDatabase.open(path) as store:
        run_id = begin(store)
        store.write(run_id, [swarm_sample(each, 0, 50.0) for each in swarms])
        for at, factor in ((10, 9), (20, 1)):  # the second one is the newest of the day
            said = {URLS[0]: {each: (0, factor * (10 + 20 * place)) for place, each in enumerate(swarms)}}
            store.trackers.measure(run_id, ask(store, run_id, at, said), time_text(at))
    with open_reading(path) as db:
        rows_of_all = [row for row in REPORTS["sources"].answer(db).rows if row[1] == "all"]
    # 10, 30, 50 and 70 of 50 peers: one of them meets 48 to 52.
    assert rows_of_all == [(time_text(0)[:10], "all", "10-99", 4, 0.8, 75.0)]


def test_explain_says_whose_number_it_is(path):
    fill(path)
    (number,) = rows(path, "SELECT id FROM swarm_samples WHERE source = 'tracker' AND peers_high = 90")[0]
    found = crawler.explain(number, db=path)
    assert found.missing == "it is what trackers say"
    assert explanation_lines(found)[1:4:2] == [
        "3 trackers asked, 2 answered",
        "80 to 90 peers: the longest list of a tracker that is believed, and all such lists together",
    ]


def test_page_of_a_swarm_draws_both_sources(path):
    fill(path)
    with open_reading(path) as db:
        svg = plot_swarm(db, LARGE.hex()).svg
    assert "80 to 90 peers at 2 trackers" in svg
    assert "100 (98 to 102) peers" in svg


def test_addresses_leave_no_trace(path):
    fill(path)
    (columns,) = rows(path, "SELECT group_concat(name) FROM pragma_table_info('source_overlaps')")
    assert not {"host", "address", "filter"} & set(columns[0].split(","))
