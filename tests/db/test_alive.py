"""Whether torrents are alive, and by what: what peers, handshakes, trackers and web seeds say."""

from contextlib import closing

import pytest

from crawler.browse.queries import QUERIES
from crawler.db.connection import open_reading
from crawler.db.database import CrawlDatabase
from crawler.db.records.records import utc_text
from crawler.db.records.torrents import HandshakeBatch, Handshakes, HybridTorrent, PexCounts
from crawler.db.records.web_seeds import KnownSeed, SeedBatch, SeedCheck
from crawler.reports import REPORTS
from dhtnode import InfoHash
from tests.measurements import measurement_of

EPOCH, DAY = 1_750_000_000.0, 86_400.0
ONE, TWO, THREE = (InfoHash(bytes([number]) * 20) for number in (1, 2, 3))
BY_TRACKERS = """
INSERT INTO swarm_samples (
    run_id, info_hash, taken_at, peers, peers_low, peers_high, seeds_low, seeds_high, method, saturated,
    nodes_asked, nodes_answered, bytes_sent, bytes_received, source
) VALUES (1, ?, ?, ?, ?, ?, ?, ?, 'tracker', 0, 1, 1, 0, 0, 'tracker')
"""


class Told:
    """A database to which each source can add what it says."""

    def __init__(self, path):
        self.store = CrawlDatabase.open(path)
        self.store.runs.begin("watch", {}, "0", utc_text(EPOCH))

    def close(self):
        self.store.close()

    def dht(self, info_hash, peers, seeds=(0, 0, 0), at=EPOCH):
        low, middle, high = seeds
        sizes = {"peers": peers[1], "peers_low": peers[0], "peers_high": peers[2]}
        sizes |= {"seeds": middle, "seeds_low": low, "seeds_high": high, "leechers": 0.0}
        self.store.write(1, [measurement_of(info_hash, utc_text(at), (), **sizes)])

    def met(self, info_hash, seeds=0, leechers=0, hidden=0, at=EPOCH):
        answered = seeds + leechers
        share = (seeds / answered, 0.1, 0.5) if answered else (None, None, None)
        counts = (9, 9, answered, seeds, leechers, 0, 0)
        met = Handshakes(info_hash, utc_text(at), *counts, *share, {}, 1, 1, superseeds=hidden)
        named = PexCounts(3, 2, 40, 30, 15, 30, 0.5, 0.4, 0.6, 33.0, 31.0, 40.0)
        self.store.write(1, [HandshakeBatch("given", met, None, named)])

    def trackers(self, info_hash, seeds, peers, at=EPOCH):
        self.dht_row(info_hash)
        values = (info_hash.hex(), utc_text(at), peers, peers, 2 * peers, *seeds)
        with self.store.connection:
            self.store.connection.execute(BY_TRACKERS, values)

    def dht_row(self, info_hash):
        self.store.web_seeds.meet([KnownSeed(info_hash, "x", "", "ranges")], utc_text(EPOCH))

    def web(self, info_hash, *outcomes, url="a" * 16, at=EPOCH):
        for number, outcome in enumerate(outcomes):
            seed = KnownSeed(info_hash, url, "a.example", "ranges")
            self.store.web_seeds.meet([seed], utc_text(at))
            check = SeedCheck(*seed, utc_text(at + number), outcome, 200, length_ok=outcome == "alive")
            self.store.web_seeds.write(1, SeedBatch(check, None), None)


@pytest.fixture
def told(tmp_path):
    with closing(Told(tmp_path / "a.db")) as told:
        yield told


def answer(told, name="alive", **bounds):
    with open_reading(told.store.path) as db:
        return {row["info_hash"]: row for row in REPORTS[name].answer(db, **bounds).records()}


CASES = {
    "seeds in the DHT": (
        lambda told: told.dht(ONE, (2, 3, 4), (1, 2, 3)),
        "alive",
        "DHT: 2 seeds (1 to 3); ",
    ),
    "peers in the DHT": (lambda told: told.dht(ONE, (2, 3, 4)), "peers", "DHT: 3 peers, none a seed; "),
    "nothing in the DHT": (lambda told: told.dht(ONE, (0, 0, 0)), "dead", "DHT: no peer; "),
    "seed met": (
        lambda told: [told.dht(ONE, (2, 3, 4)), told.met(ONE, seeds=1, leechers=2)],
        "alive",
        "DHT: 3 peers, none a seed; met: 1 seeds; ",
    ),
    "hidden seed": (
        lambda told: told.met(ONE, leechers=2, hidden=1),
        "alive",
        "met: 1 that may hide that they seed; ",
    ),
    "leechers met": (lambda told: told.met(ONE, leechers=2), "peers", "met: 2 peers, none a seed; "),
    "seeds at trackers": (
        lambda told: [told.dht(ONE, (0, 0, 0)), told.trackers(ONE, (2, 5), 9)],
        "alive",
        "DHT: no peer; trackers: 2 to 5 seeds; ",
    ),
    "leechers at trackers": (
        lambda told: told.trackers(ONE, (0, 0), 9),
        "peers",
        "trackers: 9 peers, none a seed; ",
    ),
    "web seed alone": (
        lambda told: [
            told.dht(ONE, (0, 0, 0)),
            told.web(ONE, "gone", "alive"),
            told.web(ONE, "tls", url="b"),
        ],
        "alive",
        "DHT: no peer; web seeds: 1 of 2 alive; ",
    ),
    "busy web seed": (lambda told: told.web(ONE, "later"), "alive", "web seeds: 1 of 1 alive; "),
    "web seed that has gone": (
        lambda told: told.web(ONE, "alive", "gone"),
        "unknown",
        "web seeds: 0 of 1 alive; ",
    ),
    "old word of trackers": (
        lambda told: [told.dht(ONE, (0, 0, 0)), told.trackers(ONE, (2, 5), 9, at=EPOCH - 8 * DAY)],
        "dead",
        "DHT: no peer; ",
    ),
}


@pytest.mark.parametrize(("tell", "state", "why"), CASES.values(), ids=CASES.keys())
def test_torrent_is_alive_by_what_is_told(told, tell, state, why):
    tell(told)
    (row,) = answer(told).values()
    assert (row["info_hash"], row["state"], row["why"]) == (ONE.hex(), state, why)


def test_those_alive_come_first(told):
    told.dht(ONE, (0, 0, 0))
    told.dht(TWO, (3, 4, 5))
    told.web(THREE, "no-ranges")
    assert [row["state"] for row in answer(told).values()] == ["alive", "peers", "dead"]
    assert list(answer(told, run=1, limit=1)) == [THREE.hex()]


DISAGREEING = [
    ((1, 2, 3), 9, (2, 2), "handshakes above dht; handshakes above trackers; "),
    ((60, 70, 80), 1, (60, 80), "dht above handshakes; trackers above handshakes; "),
    ((1, 2, 3), 2, (9, 9), "trackers above dht; "),
    ((10, 12, 14), 9, (3, 9), "dht above trackers; "),
    ((1, 2, 3), 2, (1, 4), ""),
]


@pytest.mark.parametrize(("dht", "met", "trackers", "disagree"), DISAGREEING)
def test_sources_whose_intervals_do_not_meet_disagree(told, dht, met, trackers, disagree):
    """By handshakes there are as many as were met, up to the upper end of their share of all peers."""
    told.dht(ONE, (90, 95, 100), dht)  # hence 50 by handshakes
    told.met(ONE, seeds=met, leechers=20)
    told.trackers(ONE, trackers, 99)
    row = answer(told, "seeds")[ONE.hex()]
    assert (row["met"], row["met_high"], row["disagree"]) == (met, 50, disagree)
    assert answer(told)[ONE.hex()]["disagree"] == disagree


def test_sources_a_week_apart_are_not_compared(told):
    told.dht(ONE, (90, 95, 100), (1, 2, 3))
    told.met(ONE, seeds=30, at=EPOCH + 7 * DAY)
    assert answer(told, "seeds")[ONE.hex()]["disagree"] == ""


@pytest.mark.parametrize("is_consistent", [True, False, None])
def test_both_swarms_of_a_hybrid_are_one(told, is_consistent):
    """The most of the lower ends, and the sum of the upper ends."""
    told.store.metadata.add_hybrids([HybridTorrent(ONE, TWO, "file", is_consistent)], utc_text(EPOCH))
    told.dht(ONE, (10, 12, 14), (3, 4, 5))
    told.dht(TWO, (20, 25, 30), (1, 2, 3))
    told.dht(THREE, (15, 15, 15))
    (joined,) = told.store.rows("hybrid_swarms")
    assert (joined["peers_v1"], joined["peers_v2"]) == (12, 25)
    assert (joined["peers"], joined["peers_low"], joined["peers_high"]) == (25, 20, 44)
    assert (joined["seeds_low"], joined["seeds_high"]) == (3, 8)
    assert (joined["larger"], joined["marks"]) == (
        TWO.hex(),
        "inconsistent-hybrid" if is_consistent is False else "",
    )

    largest = answer(told, "swarms")
    assert list(largest) == [TWO.hex(), THREE.hex()]
    row = largest[TWO.hex()]
    assert (row["peers"], row["peers_low"], row["peers_high"], row["twin"]) == (25, 20, 44, ONE.hex())
    assert (row["seeds_low"], row["seeds_high"], largest[THREE.hex()]["twin"]) == (3, 8, None)
    assert set(answer(told, "swarms", run=1)) == {ONE.hex(), TWO.hex(), THREE.hex()}

    alive = answer(told)
    assert set(alive) == {ONE.hex(), THREE.hex()}
    assert (alive[ONE.hex()]["why"], alive[ONE.hex()]["twin"]) == ("DHT: 4 seeds (3 to 8); ", TWO.hex())


def test_hybrid_of_which_one_swarm_was_measured(told):
    told.store.metadata.add_hybrids([HybridTorrent(ONE, TWO, "magnet")], utc_text(EPOCH))
    told.dht(TWO, (20, 25, 30), (1, 2, 3))
    (joined,) = told.store.rows("hybrid_swarms")
    assert (joined["peers_v1"], joined["peers_low"], joined["peers_high"]) == (None, 20, 30)
    assert list(answer(told, "swarms")) == list(answer(told)) == [TWO.hex()]


def test_file_counts_more_than_a_link(told):
    add = told.store.metadata.add_hybrids
    link, file = HybridTorrent(ONE, TWO, "magnet"), HybridTorrent(ONE, THREE, "file", True)
    for each in (link, file, link, replace_source(file, "peers")):
        add([each], utc_text(EPOCH))
    (row,) = told.store.rows("hybrid_torrents")
    assert (row["twin"], row["source"], row["is_consistent"]) == (THREE.hex(), "file", 1)


def replace_source(hybrid, source):
    return hybrid._replace(source=source, is_consistent=None)


def test_what_peers_say_and_name_is_reported(told):
    told.dht(ONE, (90, 95, 100))
    told.met(ONE, seeds=1, leechers=3, hidden=1)
    said, named = answer(told, "handshakes")[ONE.hex()], answer(told, "pex")[ONE.hex()]
    assert (said["answered"], said["seeds"], said["hidden"], said["seed_share"]) == (4, 1, 1, 25.0)
    assert (named["n_estimate"], named["n_low"], named["n_high"], named["dht"]) == (33, 31, 40, 50.0)
    assert (named["seeds"], named["reachable"]) == (50.0, 100.0)


def test_web_seeds_are_reported_over_time(told):
    told.web(ONE, "alive", "alive", "silent", "wrong-length")
    told.web(TWO, "no-ranges", url="b" * 16)
    rows = answer(told, "web-seeds")
    one, two = rows[ONE.hex()], rows[TWO.hex()]
    assert (one["outcome"], one["checks"], one["alive"], one["wrong"]) == ("wrong-length", 4, 50.0, 2)
    assert (two["outcome"], two["alive"]) == ("no-ranges", 100.0)


def test_reports_have_their_pages():
    pages = {REPORTS[name].page_name for name in ("alive", "seeds", "handshakes", "pex", "web-seeds")}
    assert pages <= QUERIES.keys()
