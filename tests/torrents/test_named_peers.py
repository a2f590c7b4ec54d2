"""Peer exchange: what peers name is read, asked, counted, and forgotten (BEP 11)."""

import json
from collections import Counter
from dataclasses import replace
from functools import partial
from hashlib import sha1
from pathlib import Path
from random import Random
from statistics import fmean

import pytest
import trio

from crawler.analysis import SourceOverlap, source_overlap
from crawler.db.records.torrents import PexCounts
from crawler.settings import PeerSettings
from crawler.torrents import PeerClient
from crawler.torrents.named_peers import MOST_ADDRESSES, NamedPeers, connectable
from crawler.torrents.peerwire.frames import BadPeer, FrameKind, FrameReader
from crawler.torrents.peerwire.handshake import HANDSHAKE_BYTES
from crawler.torrents.peerwire.peer_exchange import NamedPeer, read_exchange_untrusted
from dhtnode import Address, Family, InfoHash, Interval, Scope
from dhtnode.addresses import pack_host
from dhtnode.bencode import encode, read_prefix_untrusted
from dhtnode.krpc import ScrapeFilter
from tests.fake_peers import ALL, Swarm, Telling

VECTORS = json.loads((Path(__file__).resolve().parents[1] / "vectors" / "bep11_pex.json").read_text())[
    "payloads"
]
INFO = encode({b"length": 5, b"name": b"a", b"piece length": 16384, b"pieces": b"p" * 20})
INFO_HASH = InfoHash(sha1(INFO).digest())  # noqa: S324  BEP 3


def payload(name):
    (found,) = (bytes.fromhex(each["hex"]) for each in VECTORS if each["name"] == name)
    return found


def test_named_peers_have_flags():
    assert read_exchange_untrusted(payload("added v4 with flags")) == [
        NamedPeer(Address("198.51.100.5", 6881), is_seed=True),
        NamedPeer(Address("198.51.100.6", 51413), is_reachable=True),
    ]
    assert read_exchange_untrusted(payload("v6 only")) == [
        NamedPeer(Address("2001:db8::5", 6881), is_seed=True)
    ]


def test_flags_count_only_where_there_is_one_for_each_peer():
    assert read_exchange_untrusted(payload("flags length mismatch")) == [
        NamedPeer(Address("198.51.100.5", 6881))
    ]


@pytest.mark.parametrize(
    "data",
    [
        payload("no recognised field"),
        b"",
        b"le",
        b"i1e",
        b"d",
        b"d" + b"5:added0:" * 100,
        b"l" * 9000,
        b"d5:added65537:" + b"x" * 65537 + b"e",
    ],
)
def test_what_is_no_exchange_is_refused(data):
    with pytest.raises(BadPeer):
        read_exchange_untrusted(data)


def test_exchange_is_bounded_and_port_0_is_none():
    many = b"".join(bytes([45, 0, n // 256, n % 256]) + b"\x1a\xe1" for n in range(1, 500))
    assert len(read_exchange_untrusted(encode({b"added": many + b"rest"}))) == 200
    assert read_exchange_untrusted(encode({b"added": bytes(6), b"added6": 5, b"dropped": b""})) == []


def peers(*numbers):
    return [NamedPeer(Address(f"45.0.{number // 250}.{number % 250 + 1}", 6881)) for number in numbers]


def test_what_is_kept_are_counts():
    named = NamedPeers()
    named.asked = 4
    named.meet(Address("46.0.0.1", 1))
    named.add([*peers(1, 2, 3), *peers(1)])
    named.add([replace(*peers(3), is_seed=True, is_reachable=True), *peers(4)])
    compared = []

    def compare(hosts, *, listed):
        compared.append((set(hosts), listed))
        return SourceOverlap(4, 2, 0.0, Interval(0.5, 0.2, 0.8), Interval(1, 1, 1), Interval(1, 1, 1))

    counts = named.counts(compare, Random(1))
    size = connectable(Counter(dict.fromkeys([1, 2, 4], 1)) + Counter({3: 2}), {5}, 2)
    assert counts == PexCounts(4, 2, 5, 4, 1, 1, 0.5, 0.2, 0.8, *size)
    assert compared == [({pack_host(peer.address.host) for peer in peers(1, 2, 3, 4)}, 4)]


def test_without_a_peer_that_can_be_asked_nothing_is_kept():
    assert NamedPeers().counts(None, Random(1)) is None
    named = NamedPeers()
    named.asked = 1
    assert named.counts(None, Random(1)) == PexCounts(1, 0, 0, 0, 0, 0, *[None] * 6)


def test_one_peer_fills_a_quarter_of_what_is_asked_at_most():
    named = NamedPeers()
    named.add(peers(*range(200)))
    assert len(named.drawn(40, Random(1))) == 10
    named.add(peers(*range(200, 205)))
    drawn = named.drawn(40, Random(1))
    assert len(drawn) == 15
    assert {peer.address for peer in peers(*range(200, 205))} < set(drawn)


def test_addresses_of_a_swarm_are_bounded():
    named = NamedPeers()
    named.asked = 1
    for start in range(0, MOST_ADDRESSES + 500, 250):
        named.add(NamedPeer(Address("45.0.0.1", 1 + start + n)) for n in range(250))
    assert named.counts(None, Random(1)).distinct_addresses == MOST_ADDRESSES


def meshed(random, peers=60, each=5):
    """Return the others that each peer is connected to, when each has connected to some drawn at random."""
    links = {number: set() for number in range(peers)}
    for number in links:
        for other in random.sample([each for each in links if each != number], each):
            links[number].add(other)
            links[other].add(number)
    return links


@pytest.mark.parametrize(("seed", "asked"), [(7, 6), (8, 6), (9, 20), (10, 20)])
def test_interval_of_those_that_can_be_connected_to_holds(seed, asked):
    """Each of 60 peers is connected to 10 others or so, and some of them name these."""
    random, held = Random(seed), 0
    for _ in range(100):
        links = meshed(random)
        met = random.sample(range(60), asked)
        size = connectable(Counter(other for number in met for other in links[number]), met, len(met))
        held += size.low <= 60 <= size.high
    assert held >= 93


def test_those_that_cannot_be_connected_to_are_no_part_of_the_estimate():
    """Half of those named that were tried let none in, and so may half of the others."""
    times = Counter(dict.fromkeys(range(40), 3))
    size = connectable(times, range(10), 5, range(10, 20))
    assert size.estimate == pytest.approx(10 + 20 / 2)
    assert 10 < size.low < 20 < size.high < 30
    # One that is named often is tried early: it says less of those that were not.
    times.update(range(10))
    assert connectable(times, range(10), 5, range(10, 20)).estimate < 20
    # Those that were known before any was named say nothing of the others.
    assert connectable(times, range(10), 5, range(10, 20), range(10, 18)).estimate > 20
    # One with a second port that listens can be connected to.
    assert connectable(times, range(40), 5, range(40)) == Interval(40, 40, 40)


def test_nothing_seen_once_is_no_certainty():
    """Two would be as likely, while some were named twice only."""
    size = connectable(Counter({1: 3, 2: 3, 3: 1, 4: 1}), [1, 2, 3, 4], 3)
    assert size.estimate == size.low == 4
    assert size.high > 4


def directly():
    async def run(function, *arguments, limiter=None):
        return function(*arguments)

    return run


async def ask(swarm, first, info_hash=INFO_HASH, **settings):
    client = PeerClient(
        {Family.IPV4: Scope.PUBLIC},
        PeerSettings(**settings),
        Random(1),
        connect=swarm.connect,
        run_sync=directly(),
    )
    return await client.contact_peers(info_hash, first)


async def telling_swarm(nursery, count):
    """Return peers in a row, each of which names the next two."""
    addresses = [peer.address for peer in peers(*range(count))]
    swarm = Swarm(nursery)
    for number, address in enumerate(addresses):
        swarm.peers[address] = Telling(INFO_HASH, ALL, INFO)
        swarm.peers[address].others = addresses[number + 1 : number + 3]
    return swarm, addresses


async def test_20_contacts_name_nearly_all_of_60_within_25_seconds(autojump_clock):
    """Of virtual time."""
    addresses = [peer.address for peer in peers(*range(60))]
    links = meshed(Random(3))
    async with trio.open_nursery() as nursery:
        swarm = Swarm(nursery)
        for number, address in enumerate(addresses):
            swarm.peers[address] = Telling(INFO_HASH, ALL, INFO)
            swarm.peers[address].others = [addresses[other] for other in links[number]]
        with trio.move_on_after(25):
            told = await ask(swarm, addresses[::20], pex=True, peers=20)
        nursery.cancel_scope.cancel()
    assert len(swarm.connected) == 20
    assert told.exchange.distinct_addresses >= 0.95 * 60
    assert told.exchange.n_low <= 60 <= told.exchange.n_high


async def test_what_may_not_be_contacted_is_not_counted_either(autojump_clock):
    """Addresses that peers name are held to the rules of those that nodes name."""
    async with trio.open_nursery() as nursery:
        swarm, addresses = await telling_swarm(nursery, 1)
        barred = [
            Address(host, port) for host, port in (("10.0.0.1", 6881), ("45.9.9.9", 80), ("127.0.0.1", 6881))
        ]
        swarm.peers[addresses[0]].others = [Address("45.9.9.9", 6881), *barred]
        told = await ask(swarm, addresses, pex=True)
        nursery.cancel_scope.cancel()
    assert told.exchange.distinct_addresses == 1
    assert set(swarm.connected) == {*addresses, Address("45.9.9.9", 6881)}


async def test_peers_that_others_name_are_asked_as_well_two_hops_far(autojump_clock):
    async with trio.open_nursery() as nursery:
        swarm, addresses = await telling_swarm(nursery, 9)
        told = await ask(swarm, addresses[:1], pex=True)
        nursery.cancel_scope.cancel()
    assert set(swarm.connected) == set(addresses[:5])
    assert (told.exchange.peers_asked, told.exchange.peers_told) == (5, 5)
    assert (told.exchange.addresses_named, told.exchange.distinct_addresses) == (10, 6)
    assert 5 <= told.exchange.n_low <= 9 <= told.exchange.n_high


async def test_nothing_is_asked_or_read_without_being_told_to(autojump_clock):
    async with trio.open_nursery() as nursery:
        swarm, addresses = await telling_swarm(nursery, 3)
        told = await ask(swarm, addresses[:1])
        nursery.cancel_scope.cancel()
    assert (swarm.connected, told.exchange) == (addresses[:1], None)


async def test_third_message_ends_the_connection_and_what_was_named_before_counts(autojump_clock):
    """No client sends more than one a minute, and no connection lasts for two."""
    async with trio.open_nursery() as nursery:
        swarm, addresses = await telling_swarm(nursery, 3)
        for address, times in zip(addresses, (3, 2, 1), strict=True):
            swarm.peers[address].times = times
        told = await ask(swarm, addresses[:1], pex=True)
        nursery.cancel_scope.cancel()
    assert told.failures == {"floods with exchanges of peers": 1}
    assert told.exchange.peers_told == 3
    assert set(swarm.connected) == set(addresses)


@pytest.mark.parametrize("pex", [False, True])
async def test_we_name_no_port_and_no_peer(autojump_clock, pex):
    """Which others we are connected to is told to no peer, nor a port at which we could be."""
    async with trio.open_nursery() as nursery:
        swarm, addresses = await telling_swarm(nursery, 2)
        await ask(swarm, addresses[:1], pex=pex)
        nursery.cancel_scope.cancel()
    reader = FrameReader()
    reader.feed(bytes(swarm.peers[addresses[0]].received[HANDSHAKE_BYTES:]))
    sent = [frame.payload for frame in iter(reader.next_untrusted, None) if frame.kind == FrameKind.EXTENDED]
    ours, _ = read_prefix_untrusted(sent[0][1:])
    numbers = {b"lt_donthave": 7, b"lt_tex": 3, b"ut_metadata": 1}
    assert ours == {b"m": numbers | ({b"ut_pex": 2} if pex else {})}
    assert {payload[0] for payload in sent[1:]} <= {5}


async def test_budget_of_connections_holds_for_all(autojump_clock):
    async with trio.open_nursery() as nursery:
        swarm, addresses = await telling_swarm(nursery, 9)
        await ask(swarm, addresses[:1], pex=True, peers=3)
        nursery.cancel_scope.cancel()
    assert len(swarm.connected) == 3


@pytest.mark.parametrize("in_both", [0, 15, 30])
def test_overlap_with_the_dht_holds_the_share_that_is_there(in_both):
    """Of 30 hosts that peers name, the DHT has some, among 40 of its own; over 12 swarms each."""
    held, estimates = 0, []
    for seed in range(12):
        random = Random(seed)
        hosts = [f"45.{random.randrange(256)}.{random.randrange(256)}.{number}" for number in range(70)]
        told = NamedPeers()
        told.asked = 1
        told.add(NamedPeer(Address(host, 6881)) for host in hosts[:30])
        known = [pack_host(host) for host in [*hosts[:in_both], *hosts[30 : 70 - in_both]]]
        compare = partial(source_overlap, filters=[ScrapeFilter.of(known)], size=Interval(40, 37, 43))
        counts = told.counts(compare, random)
        held += counts.overlap_low <= in_both / 30 <= counts.overlap_high
        estimates.append(counts.overlap)
    assert held >= 11
    assert fmean(estimates) == pytest.approx(in_both / 30, abs=0.08)
