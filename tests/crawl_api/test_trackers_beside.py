"""Trackers beside the DHT, on loopback: liars among them, and with the peers of every list known."""

import pytest
import trio

import crawler
from crawler import CrawlOptions, CrawlSettings, TrackerOptions
from crawler.synthetic import (
    SyntheticSettings,
    TrackedSwarms,
    bind_trackers,
    make_trackers,
    open_server,
    serve_trackers,
)
from dhtnode import InfoHash
from tests.databases import records, rows

STYLES = (
    "opentracker",
    "aquatic",
    "bittorrent-tracker",
    "mirror",
    "invents",
    "constant",
    "multiplied",
    "alone",
)
HONEST = 3
LIARS = {"mirror": "mirror", "constant": "constant", "multiplied": "multiplied", "invents": "invents"}
NETWORK = SyntheticSettings(
    nodes=120, swarms=24, largest=150, sizes="log", trackers=",".join(STYLES), tracker_overlap=0.5
)


class Lists:
    """Which peers of each swarm the honest trackers have, and how many the DHT has."""

    def __init__(self, network):
        self._tracked = TrackedSwarms(network)
        self.hashes = [InfoHash(swarm.info_hash) for swarm in network.swarms]
        self.dht = {InfoHash(swarm.info_hash): swarm.peers for swarm in network.swarms}
        self.listed = {each: self._peers(place) for place, each in enumerate(self.hashes)}

    def _peers(self, place):
        lists = [self._tracked.numbers(member, place) for member in range(HONEST)]
        return {number for each in lists for number in (*each.seeds, *each.leechers)}

    def either(self, info_hash):
        """Return how many peers are in the DHT or at an honest tracker: those of the DHT come first."""
        others = sum(number >= self.dht[info_hash] for number in self.listed[info_hash])
        return self.dht[info_hash] + others


async def measure_all(path):
    """Measure by both sources twice, the second time too soon for the trackers; then with announces."""
    told, again, overlaps = [], [], []
    async with open_server(NETWORK) as server:
        trackers = make_trackers(server.network)
        servers = bind_trackers(trackers)
        async with serve_trackers(servers):
            urls = tuple(each.urls[0] for each in servers)
            options = CrawlOptions(path, CrawlSettings(rate=0), bootstrap=server.bootstrap)
            asked, lists = TrackerOptions(urls, requests_rate=0, port=7001), Lists(server.network)
            tell = {"on_told": told.append, "on_overlap": overlaps.append}
            await crawler.measure(lists.hashes, options, trackers=asked, **tell)
            before = [sum(tracker.counts.values()) for tracker in trackers]
            tell = dict.fromkeys(tell, again.append)
            watched = await crawler.watch(lists.hashes[:3], options, once=True, trackers=asked, **tell)
            after = [sum(tracker.counts.values()) for tracker in trackers]
    return urls, lists, told, overlaps, (watched, again, before == after)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("beside") / "swarms.db"


@pytest.fixture(scope="module")
def results(path):
    return trio.run(measure_all, path)


def test_every_list_of_a_liar_is_left_out_and_intervals_hold(results):
    _, lists, told, _, _ = results
    assert {each.info_hash for each in told} == set(lists.hashes)
    for each in told:
        truth = len(lists.listed[each.info_hash])
        assert each.peers <= truth <= each.peers_high, each


def test_liars_are_marked(results, path):
    urls, *_ = results
    marks = dict(rows(path, "SELECT url, coalesce(marks, '') FROM tracker_sweeps WHERE asked > 20"))
    for number, style in enumerate(STYLES):
        assert (LIARS.get(style, "") in marks[urls[number]].split()) == (style in LIARS), style


def test_both_sources_are_joined(results, path):
    """Every interval of the peers in either holds, and most are narrower than least and most by counts."""
    _, lists, _, overlaps, _ = results
    together = {each.info_hash: each for each in overlaps if each.url is None}
    widths = {
        row["info_hash"]: row["at_most"] - row["at_least"]
        for row in records(path, "SELECT * FROM swarm_sources")
    }
    held = [each.n_low <= lists.either(each.info_hash) <= each.n_high for each in together.values()]
    assert len(held) > 20
    assert sum(held) >= len(held) - 2
    narrower = [each.n_high - each.n_low < widths[each.info_hash.hex()] for each in together.values()]
    assert sum(narrower) > 0.8 * len(narrower)


def test_trackers_are_left_alone_for_half_an_hour(results):
    """The DHT is asked by a watch, and trackers neither for numbers nor for addresses."""
    watched, again, is_same = results[4]
    assert (watched.measured, again, is_same) == (3, [], True)


def test_both_sources_stand_apart(results, path):
    sources = dict(rows(path, "SELECT source, count(*) FROM swarm_samples GROUP BY source"))
    assert sources == {"dht": 27, "tracker": 24}
    # What a watch knows of a swarm is from nodes alone.
    lists = results[1]
    for info_hash, peers in rows(path, "SELECT info_hash, peers FROM watched_swarms"):
        assert peers == pytest.approx(lists.dht[InfoHash(bytes.fromhex(info_hash))], rel=0.2)
