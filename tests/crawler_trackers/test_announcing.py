"""Trackers named peers, the DHT has filters: what both say together, and that no address stays."""

from contextlib import AsyncExitStack
from ipaddress import ip_address
from random import Random

import pytest
import trio

from crawler.db.database import CrawlDatabase
from crawler.db.records.trackers import DISTRUSTED, GIVEN, LISTED, KnownTracker
from crawler.db.writer import open_writer
from crawler.trackers import Announcer, NamedPeers, Wanted, overlaps_of
from crawler.trackers.marks import Mark
from crawler.trackers.overlaps import without_empty_claims
from dhtnode import Address, InfoHash, NodeId
from dhtnode.krpc import ScrapeFilter
from dhtnode.swarm import Observation
from dhtnode.tracker_client import open_trackers
from dhtnode.trackers import parse_tracker_url
from tests.databases import records, rows
from tests.measurements import measurement_of
from tests.small_database import T0, time_text
from tests.tracker_client.fake_trackers import UdpTracker, serving_udp

SWARM = InfoHash(b"\xaa" * 20)
PORT = 6000
A, B = "udp://a.example:6969", "udp://b.example:6969"


def hosts(count, first=0):
    return [(0x0B000000 + first + number).to_bytes(4, "big") for number in range(count)]


def wanted(url, source=GIVEN):
    return [Wanted(parse_tracker_url(url), source)]


def measured(peers, *, high=None, filters=True):
    """Return a measurement whose nodes store all these hosts."""
    packed = ScrapeFilter.of(peers).to_bytes() if filters else None
    replies = tuple(
        Observation(NodeId(bytes([number]) * 20), Address("20.0.0.1", 7000 + number), number, packed, packed)
        for number in range(2)
    )
    size = {"peers": len(peers), "peers_low": len(peers), "peers_high": high or len(peers)}
    return measurement_of(SWARM, time_text(0), replies, **size)


def compact(hosts_named, port=7000):
    return b"".join(host + port.to_bytes(2, "big") for host in hosts_named)


def test_every_mark_but_a_defect_is_a_reason_to_leave_out():
    assert set(DISTRUSTED) == set(Mark) - {Mark.UTF8_KEYS}


class TestOverlaps:
    """What is made of the addresses of some trackers."""

    def test_each_tracker_has_its_own_and_all_have_one(self):
        named = [
            NamedPeers(A, 60, 40, frozenset(hosts(40))),
            NamedPeers(B, 50, 40, frozenset(hosts(40, 1000))),
        ]
        all_of_them, a, b = overlaps_of(measured(hosts(100)), named, (), "now")
        assert [each.url for each in (all_of_them, a, b)] == [None, A, B]
        # Of both lists 80 are named, and 20 of the one and 10 of the other are not.
        assert (all_of_them.listed, all_of_them.listed_high, all_of_them.peers_named) == (80, 110, 80)
        assert (a.listed, a.listed_high, a.overlap, a.n_estimate) == (60, 60, 1.0, 100.0)
        assert b.overlap < 0.1
        assert 135 <= b.n_low <= 150 <= b.n_high
        # Those of both are 150 if they are all different, with what none of them named.
        assert all_of_them.n_low <= 140 <= all_of_them.n_high

    def test_two_addresses_of_a_tracker_are_one_swarm_or_two(self):
        named = [NamedPeers(A, 60, 40, frozenset(hosts(40))), NamedPeers(A, 50, 40, frozenset(hosts(40)))]
        (found,) = [each for each in overlaps_of(measured(hosts(100)), named, (), "now") if each.url]
        assert (found.listed, found.listed_high, found.peers_named) == (60, 70, 40)

    def test_liars_are_compared_by_themselves_only(self):
        named = [
            NamedPeers(A, 60, 40, frozenset(hosts(40))),
            NamedPeers(B, 5000, 40, frozenset(hosts(40, 1000))),
        ]
        together, *_ = overlaps_of(measured(hosts(100)), named, {B}, "now")
        assert (together.url, together.listed_high) == (None, 60)
        assert [each.url for each in overlaps_of(measured(hosts(100)), named, {A, B}, "now")] == [A, B]

    def test_more_than_was_named_is_not_believed_where_a_list_came_whole(self):
        """A tracker that names 50 of one swarm and 3 of another, of which it says 41, has 3."""
        named = [NamedPeers(A, 900, 50, frozenset(hosts(50))), NamedPeers(A, 41, 3, frozenset(hosts(3)))]
        assert [each.listed for each in without_empty_claims(named, {A: 50})] == [900, 3]
        assert without_empty_claims(named, {}) == named

    def test_unknown_size_has_no_upper_end(self):
        of_full_stores = measured(hosts(100), high=1)
        object.__setattr__(of_full_stores.estimate, "peers_high", None)
        (_, found) = overlaps_of(of_full_stores, [NamedPeers(A, 60, 40, frozenset(hosts(40)))], (), "now")
        assert found.n_high is None

    def test_without_filters_or_addresses_there_is_none(self):
        assert (
            overlaps_of(measured(hosts(9), filters=False), [NamedPeers(A, 9, 9, frozenset(hosts(9)))], (), "")
            == []
        )
        assert overlaps_of(measured(hosts(9)), [NamedPeers(A, 9, 0, frozenset())], (), "") == []


class TestAnnouncer:
    """An announce to some trackers on loopback."""

    @pytest.fixture
    async def world(self, tmp_path):
        """Yield what announces swarms that were measured, with a clock to set, and its database."""
        path, now = tmp_path / "swarms.db", [T0]
        async with AsyncExitStack() as stack:
            store = stack.enter_context(CrawlDatabase.open(path))
            run_id = store.runs.begin("scrape", {}, "0.1.0", time_text(0))
            writer = await stack.enter_async_context(open_writer(store, run_id))
            client = await stack.enter_async_context(open_trackers(random=Random(1)))
            await writer.put(measured(hosts(100)))
            yield Announcer(client, writer, run_id, PORT, wall_clock=lambda: now[0]), writer, now, path

    async def test_addresses_are_compared_and_forgotten(self, world):
        """Our own peer, which the tracker names too, counts for nothing."""
        announcer, writer, _, path = world
        ours = ip_address("127.0.0.1").packed
        tracker = UdpTracker(peers=compact(hosts(50, 70)) + compact([ours], PORT))
        async with serving_udp(tracker) as url:
            await announcer.compare(wanted(url), [measured(hosts(100))])
        # Connected once; then the announce, and that it is gone (BEP 15).
        assert [int.from_bytes(packet[80:84], "big") for packet in tracker.packets[1:]] == [2, 3]
        assert [int.from_bytes(packet[96:98], "big") for packet in tracker.packets[1:]] == [PORT, PORT]
        await writer.call(lambda _: None)
        (of_all, of_one) = records(path, "SELECT * FROM source_overlaps ORDER BY url IS NOT NULL")
        assert (of_all["url"], of_one["url"]) == (None, url)
        # The tracker says 3 leechers and 5 seeds, ours among them, and names 50 others.
        assert (of_one["listed"], of_one["peers_named"]) == (50, 50)
        assert of_one["overlap"] == pytest.approx(0.6, abs=0.05)
        assert of_one["n_low"] <= 120 <= of_one["n_high"]
        assert rows(path, "SELECT source FROM swarm_samples WHERE id = ?", of_one["sample_id"]) == [("dht",)]
        everything = b"".join(file.read_bytes() for file in path.parent.iterdir())
        for host in (*hosts(50, 70), b"11.0.0.8", b"11.0.0.119"):
            assert host not in everything

    async def test_the_same_swarm_is_announced_again_after_half_an_hour(self, world):
        announcer, writer, now, _ = world
        tracker = UdpTracker(peers=compact(hosts(5)))
        async with serving_udp(tracker) as url:
            await announcer_of(announcer, writer, now).compare(wanted(url), [measured(hosts(9))])
            heard = len(tracker.heard)
            now[0] += 1799
            await announcer_of(announcer, writer, now).compare(wanted(url), [measured(hosts(9))])
            assert len(tracker.heard) == heard > 1
            now[0] += 2
            await announcer_of(announcer, writer, now).compare(wanted(url), [measured(hosts(9))])
            assert len(tracker.heard) > heard

    async def test_a_pause_that_was_asked_for_is_kept(self, world):
        announcer, writer, now, _ = world
        tracker = UdpTracker(peers=compact(hosts(5)))
        async with serving_udp(tracker) as url:
            known = KnownTracker(url, "udp", "127.0.0.1", "given", time_text(0), not_before=time_text(60))
            await writer.call(lambda store: store.trackers.add([known]))
            await announcer.compare(wanted(url), [measured(hosts(9))])
            assert tracker.heard == []
            now[0] += 61
            await announcer.compare(wanted(url), [measured(hosts(9))])
            assert tracker.heard != []

    async def test_goodbye_is_said_when_it_is_cancelled(self, world):
        """Trackers that heard of us hear that we are gone, whatever ends the round."""
        announcer, *_ = world
        tracker, reached = UdpTracker(peers=compact(hosts(5))), trio.Event()
        heard = tracker.answer

        def answer(packet):
            if packet[11] == 1 and int.from_bytes(packet[80:84], "big") == 2:
                reached.set()
                return None
            return heard(packet)

        tracker.answer = answer
        async with serving_udp(tracker) as url, trio.open_nursery() as nursery:
            nursery.start_soon(announcer.compare, wanted(url), [measured(hosts(9))])
            await reached.wait()
            nursery.cancel_scope.cancel()
        assert int.from_bytes(tracker.packets[-1][80:84], "big") == 3

    async def test_trackers_in_private_networks_are_not_asked_unless_typed(self, world):
        announcer, *_ = world
        tracker = UdpTracker(peers=compact(hosts(5)))
        async with serving_udp(tracker) as url:
            await announcer.compare(wanted(url, LISTED), [measured(hosts(9))])
        assert tracker.heard == []


def announcer_of(announcer, writer, now):
    """Return another one with the same database, as after a restart."""
    return Announcer(announcer._client, writer, 1, PORT, wall_clock=lambda: now[0])
