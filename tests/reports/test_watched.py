"""Reports on watched swarms and on methods, from a week of samples that are written by hand."""

from io import StringIO

import pytest
from rich.console import Console

from crawler.db.connection import open_reading
from crawler.db.database import CrawlDatabase
from crawler.db.records.records import RunStatus, utc_text
from crawler.db.records.torrents import HandshakeBatch, Handshakes, KnownTorrent
from crawler.db.records.watched_swarms import GIVEN, LeaseResult, MeasuredSize, WatchState
from crawler.reports import REPORTS, render
from dhtnode import InfoHash
from dhtnode.swarm import MethodEstimate
from tests.measurements import measurement_of

EPOCH = 1_700_000_000.0
DAY = 86_400.0
GROWING, SHRINKING, DEAD = (InfoHash(bytes([number]) * 20) for number in (1, 2, 3))
SIZES = {GROWING: (100, 200, 400, 500), SHRINKING: (90, 70, 30, 20), DEAD: (5, 0, 0, 0)}
NAME = "[bold red]<script>[link](http://example.com)|`x`"


def sample(info_hash, day, peers):
    """Return a measurement with an interval of 2 peers either way, a third of them seeds."""
    seeds = peers // 3
    found = {"seeds": float(seeds), "leechers": float(peers - seeds), "peers": float(peers)}
    estimates = [
        MethodEstimate("peers", method, each, each, each)
        for method, each in (("union", peers - 1.0), ("pair-ratio", peers + 9.0), ("distinct", 3.0))
    ]
    return measurement_of(
        info_hash,
        utc_text(EPOCH + day * DAY),
        **found,
        peers_low=peers - 2.0,
        peers_high=peers + 2.0,
        nodes_with_filters=5,
        distinct_peers=3,
        bytes_sent=100,
        bytes_received=900,
        seeds_low=seeds - 1.0,
        seeds_high=seeds + 1.0,
        leechers_low=peers - seeds - 3.0,
        leechers_high=peers - seeds + 3.0,
        estimates=tuple(estimates),
    )


def lease_result(info_hash):
    sizes = SIZES[info_hash]
    empties = sizes.count(0)
    size = MeasuredSize(sizes[-1], sizes[-1] - 2.0, sizes[-1] + 2.0)
    return LeaseResult(info_hash, WatchState(3600.0, EPOCH + 3 * DAY, size, empties), EPOCH + 4 * DAY)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("watched") / "crawl.db"
    with CrawlDatabase.open(path) as store:
        store.watch.replace_list(
            [(each, GIVEN) for each in SIZES], EPOCH, lambda count: (900.0, [EPOCH] * count)
        )
        run_id = store.runs.begin("watch", {}, "0.1", utc_text(EPOCH))
        for info_hash, sizes in SIZES.items():
            store.write(run_id, [sample(info_hash, day, peers) for day, peers in enumerate(sizes)])
        store.watch.finish([lease_result(info_hash) for info_hash in SIZES])
        store.runs.finish(run_id, RunStatus.INTERRUPTED, utc_text(EPOCH + 3 * DAY))
        run_id = store.runs.begin("metadata", {}, "0.1", utc_text(EPOCH))
        counts = (9, 8, 5, 2, 2, 1, 0, 0.5, 0.15, 0.85)
        handshakes = Handshakes(GROWING, utc_text(EPOCH), *counts, {"qB": 5}, 700, 9000)
        store.write(run_id, [HandshakeBatch("given", handshakes, KnownTorrent(False, NAME, 1, 1, 1))])
        store.runs.finish(run_id, RunStatus.FINISHED, utc_text(EPOCH + 60))
    return path


@pytest.fixture
def db(database):
    with open_reading(database) as connection:
        yield connection


def test_watched_swarms_tell_how_they_change(db):
    """By the day, the largest first, with what the half-life is; dead ones are not among them."""
    first, second = REPORTS["watched"].answer(db).records()
    assert (first["info_hash"], first["peers"], first["name"]) == (GROWING.hex(), 500, NAME)
    assert (first["change"], first["change_low"], first["change_high"]) == (100.0, 96.0, 104.0)
    assert (first["half_life"], first["interval"]) == (None, 3600.0)
    assert (second["info_hash"], second["peers"], second["change"]) == (SHRINKING.hex(), 20, -10.0)
    assert 24 < second["half_life"] < 48
    assert REPORTS["watched"].answer(db, run=2).rows == ()


def test_dead_swarms_tell_when_they_died(db):
    (row,) = REPORTS["dead"].answer(db).records()
    assert (row["info_hash"], row["empty_samples"], row["empty"]) == (DEAD.hex(), 3, 2.0)
    assert (row["last_alive"], row["empty_since"]) == (utc_text(EPOCH), utc_text(EPOCH + DAY))
    assert REPORTS["dead"].answer(db, run=2).rows == ()


def test_methods_stand_side_by_side(db):
    first, second, _ = REPORTS["methods"].answer(db).records()
    assert [first[key] for key in ("peers", "union", "recapture", "pair_ratio", "distinct")] == [
        *(500, 499, None, 509, 3)
    ]
    assert (first["seed_share"], first["by_handshakes"]) == (33.2, 50.0)
    assert (second["info_hash"], second["by_handshakes"]) == (SHRINKING.hex(), None)
    assert REPORTS["methods"].answer(db, run=2).rows == ()


def test_seeds_and_leechers_have_intervals(db):
    history = REPORTS["swarm"].answer(db, info_hash=GROWING.hex())
    for row in (REPORTS["swarms"].answer(db).records()[0], history.records()[0]):
        assert [row[f"seeds{end}"] for end in ("", "_low", "_high")] == [166, 165, 167]
        assert [row[f"leechers{end}"] for end in ("", "_low", "_high")] == [334, 331, 337]


def test_runs_of_watch_and_metadata_tell_their_costs(db):
    metadata, watch = REPORTS["runs"].answer(db).records()
    assert (watch["command"], watch["swarm_samples"], watch["asked"], watch["answered"]) == (
        *("watch", 12, 96, 96),
    )
    assert (watch["handshakes"], watch["peers_tried"]) == (0, 0)
    assert (watch["bytes_sent"], watch["bytes_received"]) == (1200, 10_800)
    assert (metadata["command"], metadata["handshakes"], metadata["peers_tried"]) == ("metadata", 1, 8)
    assert (metadata["asked"], metadata["bytes_sent"], metadata["bytes_received"]) == (0, 700, 9000)


def test_name_of_a_torrent_is_nothing_but_text(db):
    about = {"swarm": {"info_hash": GROWING.hex()}}
    for name in ("swarms", "watched", "methods", "swarm"):
        report = REPORTS[name].answer(db, **about.get(name, {}))
        console = Console(file=StringIO(), width=400, force_terminal=True)
        render.draw(report, console)
        assert NAME in console.file.getvalue()
        assert NAME in render.plain(report)
        assert "\\[bold red]\\<script>\\[link](http://example.com)\\|\\`x\\`" in render.markdown(report)
