"""The store of announced peers: ageing, caps, samples, filters, and counts that add up."""

import json
from collections import Counter
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode.addresses import Address, Family, pack_host
from dhtnode.krpc.compact import pack_address
from dhtnode.krpc.scrape_filter import ScrapeFilter
from dhtnode.server.peer_store import (
    STORE_IS_FULL,
    SWARM_IS_FULL,
    TOO_MANY_SWARMS,
    PeerStore,
)
from dhtnode.server.shares import FROM_HOST, FROM_NETWORK, Refusals, RefusedNetwork, host_of, network_of
from dhtnode.server.stored_swarm import MAX_LOOKS

SWARM = b"s" * 20
OTHER = b"t" * 20
LIFETIME = 100.0


def new_store(*, max_swarms: int = 10, max_peers_per_swarm: int = 10, max_peers: int = 20) -> PeerStore:
    return PeerStore(
        Random(1),
        lifetime=LIFETIME,
        max_swarms=max_swarms,
        max_peers_per_swarm=max_peers_per_swarm,
        max_peers=max_peers,
    )


def peer(number: int, port: int = 6881) -> Address:
    return Address(f"8.8.{number >> 8}.{number & 255}", port)


def peer6(number: int, port: int = 6881) -> Address:
    return Address(f"2a00::{number + 1:x}", port)


def listed(
    store: PeerStore, now: float, family: Family = Family.IPV4, *, noseed: bool = False
) -> list[bytes]:
    return sorted(store.sample(SWARM, family, 1000, now, noseed=noseed))


def compact(*peers: Address) -> list[bytes]:
    return sorted(map(pack_address, peers))


def filter_of(*peers: Address) -> ScrapeFilter:
    return ScrapeFilter.of(pack_host(one.host) for one in peers)


def sizes(store: PeerStore) -> tuple[int, int, int, int]:
    """Return how many swarms and peers there are, how many were refused, and how many have expired."""
    statistics = store.statistics()
    return statistics.swarms, statistics.peers, statistics.refused, statistics.expired


def test_announced_peer_is_listed() -> None:
    store = new_store()
    stored = store.announce(SWARM, peer(1), 0.0, seed=False)
    assert stored
    assert listed(store, 0.0) == compact(peer(1))
    assert store.sample(OTHER, Family.IPV4, 10, 0.0) == []
    assert sizes(store) == (1, 1, 0, 0)


def test_peer_is_forgotten_after_its_lifetime() -> None:
    store = new_store()
    store.announce(SWARM, peer(1), 0.0, seed=False)
    store.announce(SWARM, peer(2), 30.0, seed=False)
    listings = [listed(store, now) for now in (99.9, 100.0, 129.9, 130.0)]
    assert listings == [compact(peer(1), peer(2)), compact(peer(2)), compact(peer(2)), []]
    assert sizes(store) == (0, 0, 0, 2)


def test_renewed_peer_lives_on() -> None:
    store = new_store()
    for number in (1, 2):
        store.announce(SWARM, peer(number), 0.0, seed=False)
    store.announce(SWARM, peer(1), 60.0, seed=False)
    store.expire(100.0)
    assert sizes(store) == (1, 1, 0, 1)
    assert listed(store, 159.9) == compact(peer(1))


def test_renewal_moves_port_and_seed_flag_in_place() -> None:
    """There is one entry per host, whatever port it announces (BEP 33)."""
    store = new_store()
    store.announce(SWARM, peer(1, port=1), 0.0, seed=False)
    store.announce(SWARM, peer(1, port=2), 0.0, seed=True)
    assert listed(store, 0.0) == compact(peer(1, port=2))
    assert store.filters(SWARM, None, 0.0) == (filter_of(peer(1)), ScrapeFilter())
    assert store.statistics().peers == 1


@pytest.mark.parametrize(
    ("caps", "info_hash"),
    [
        ({"max_swarms": 1}, OTHER),
        ({"max_peers_per_swarm": 2}, SWARM),
        ({"max_peers": 2}, SWARM),
        ({"max_peers": 2}, OTHER),
    ],
)
def test_full_store_refuses_newcomers(caps: dict[str, int], info_hash: bytes) -> None:
    """No stored peer gives way to one of a network that holds as much."""
    store = new_store(**caps)
    for number in (1, 2):
        store.announce(SWARM, peer(number), 0.0, seed=False)
    stored = store.announce(info_hash, peer(3), 1.0, seed=False)
    assert (store.has_capacity(info_hash, peer(3).host), stored) == (False, False)
    assert listed(store, 1.0) == compact(peer(1), peer(2))
    assert sizes(store) == (1, 2, 1, 0)


@pytest.mark.parametrize("caps", [{"max_swarms": 1}, {"max_peers_per_swarm": 2}, {"max_peers": 2}])
def test_full_store_renews_peers_that_are_there(caps: dict[str, int]) -> None:
    store = new_store(**caps)
    for number in (1, 2):
        store.announce(SWARM, peer(number), 0.0, seed=False)
    renewed = store.announce(SWARM, peer(1), 50.0, seed=True)
    assert (store.has_capacity(SWARM, peer(1).host), renewed) == (True, True)
    assert listed(store, 149.9) == compact(peer(1))


def test_expiring_looks_at_no_swarm_before_its_time() -> None:
    """Every half minute, in a daemon that may hold thousands: while nothing is over it costs nothing."""
    store = new_store(max_swarms=100, max_peers=200)
    looked_at: list[bytes] = []

    class Watched(dict[bytes, object]):
        def get(self, info_hash: bytes, default: object = None) -> object:
            looked_at.append(info_hash)
            return super().get(info_hash, default)

    swarms = [b"%020d" % number for number in range(100)]
    for at, swarm in enumerate(swarms):
        store.announce(swarm, peer(1), float(at), seed=False)
    store.announce(swarms[0], peer(2), 50.0, seed=False)
    store.swarms = Watched(store.swarms)
    store.expire(LIFETIME - 0.5)
    assert looked_at == []
    store.expire(LIFETIME + 1.5)
    assert (set(looked_at), len(store.swarms)) == ({swarms[0], swarms[1]}, 99)
    looked_at.clear()
    store.expire(LIFETIME + 1.9)
    assert looked_at == []
    store.expire(LIFETIME + 50.0)
    assert (set(looked_at), len(store.swarms)) == ({swarms[0], *swarms[2:51]}, 49)


def test_room_is_free_again_when_peers_have_expired() -> None:
    store = new_store(max_peers=1)
    store.announce(SWARM, peer(1), 0.0, seed=False)
    store.expire(100.0)
    assert store.announce(OTHER, peer(2), 100.0, seed=False)


def test_sample_is_of_one_family() -> None:
    """Over IPv4 go IPv4 peers, over IPv6 IPv6 peers (BEP 32)."""
    store = new_store()
    store.announce(SWARM, peer(1), 0.0, seed=False)
    store.announce(SWARM, peer6(1), 0.0, seed=False)
    samples = [listed(store, 0.0, family) for family in Family]
    assert samples == [compact(peer(1)), compact(peer6(1))]


def test_peers_that_are_no_seeds_are_looked_for_at_some_places_of_a_large_swarm() -> None:
    """Or a query for them would take as long as the swarm is large."""
    store = new_store(max_peers_per_swarm=5000, max_peers=5000)
    for number in range(1200):
        address = Address(f"21.{number >> 8}.{number & 255}.1", 6881)
        assert store.announce(SWARM, address, 0.0, seed=number % 4 > 0)
    some = store.sample(SWARM, Family.IPV4, 20, 0.0, noseed=True)
    assert len(set(some)) == 20
    found = [store.sample(SWARM, Family.IPV4, 1000, 0.0, noseed=True) for _ in range(200)]
    assert all(0 < len(set(each)) == len(each) <= MAX_LOOKS for each in found)
    leechers = {pack_address(Address(f"21.{n >> 8}.{n & 255}.1", 6881)) for n in range(0, 1200, 4)}
    assert set().union(*found) == leechers


def test_sample_leaves_out_seeds_when_asked() -> None:
    """A seed wants no other seed (BEP 33, `noseed`)."""
    store = new_store()
    store.announce(SWARM, peer(1), 0.0, seed=True)
    store.announce(SWARM, peer(2), 0.0, seed=False)
    assert listed(store, 0.0, noseed=True) == compact(peer(2))
    assert listed(store, 0.0, noseed=False) == compact(peer(1), peer(2))


@given(st.integers(0, 30), st.integers(-1, 40))
def test_sample_has_no_repeats_and_is_as_large_as_it_can_be(stored: int, wanted: int) -> None:
    store = new_store(max_peers_per_swarm=100, max_peers=100)
    announced = [peer(number) for number in range(stored)]
    for one in announced:
        store.announce(SWARM, one, 0.0, seed=False)
    sample = store.sample(SWARM, Family.IPV4, wanted, 0.0)
    assert len(set(sample)) == len(sample) == max(0, min(stored, wanted))
    assert set(sample) <= set(compact(*announced))


def test_samples_differ_and_reach_every_peer() -> None:
    store = new_store()
    announced = [peer(number) for number in range(10)]
    for one in announced:
        store.announce(SWARM, one, 0.0, seed=False)
    seen = {one for _ in range(100) for one in store.sample(SWARM, Family.IPV4, 2, 0.0)}
    assert sorted(seen) == compact(*announced)


def test_filters_tell_seeds_from_others_by_family() -> None:
    store = new_store()
    store.announce(SWARM, peer(1), 0.0, seed=True)
    store.announce(SWARM, peer(2), 0.0, seed=False)
    store.announce(SWARM, peer6(3), 0.0, seed=True)
    store.announce(SWARM, peer6(4), 0.0, seed=False)
    filters = [store.filters(SWARM, family, 0.0) for family in (None, Family.IPV4, Family.IPV6)]
    assert filters == [
        (filter_of(peer(1), peer6(3)), filter_of(peer(2), peer6(4))),
        (filter_of(peer(1)), filter_of(peer(2))),
        (filter_of(peer6(3)), filter_of(peer6(4))),
    ]


def test_filters_follow_every_change() -> None:
    store = new_store()
    store.announce(SWARM, peer(1), 0.0, seed=False)
    first = store.filters(SWARM, None, 0.0)
    store.announce(SWARM, peer(2), 50.0, seed=False)
    second = store.filters(SWARM, None, 50.0)
    third = store.filters(SWARM, None, 100.0)
    assert [first, second, third] == [
        (ScrapeFilter(), filter_of(peer(1))),
        (ScrapeFilter(), filter_of(peer(1), peer(2))),
        (ScrapeFilter(), filter_of(peer(2))),
    ]


def test_filters_follow_a_peer_that_becomes_a_seed() -> None:
    store = new_store()
    store.announce(SWARM, peer(1), 0.0, seed=False)
    assert store.filters(SWARM, None, 0.0) == (ScrapeFilter(), filter_of(peer(1)))
    store.announce(SWARM, peer(1), 1.0, seed=True)
    assert store.filters(SWARM, None, 1.0) == (filter_of(peer(1)), ScrapeFilter())


def test_unknown_swarm_has_no_filters() -> None:
    """Two empty filters would claim that we know of an empty swarm (BEP 33)."""
    store = new_store()
    store.announce(SWARM, peer(1), 0.0, seed=False)
    assert store.filters(OTHER, None, 0.0) is None
    assert store.filters(SWARM, None, LIFETIME) is None


def test_filter_of_announced_peers_is_the_published_one() -> None:
    """The 256 IPv4 and 1000 IPv6 addresses of BEP 33 make its filter, bit by bit."""
    published = json.loads((Path(__file__).parents[1] / "vectors" / "bep33_bloom.json").read_text())[
        "published"
    ]
    store = new_store(max_peers_per_swarm=2000, max_peers=2000)
    for first, last in published["ranges"]:
        low, high = ip_address(first), ip_address(last)
        for offset in range(int(high) - int(low) + 1):
            store.announce(SWARM, Address(str(low + offset), 6881), 0.0, seed=False)
    seeds, others = store.filters(SWARM, None, 0.0)
    assert store.statistics().peers == published["inserted"]
    assert (seeds.is_empty, others.to_bytes().hex()) == (True, published["filter_hex"])


@dataclass(frozen=True)
class Step:
    """One announce after a pause, perhaps with a sweep before it."""

    pause: float
    info_hash: bytes
    peer: Address
    seed: bool
    sweep: bool


def is_held(store: PeerStore, info_hash: bytes, host: str) -> bool:
    swarm = store.swarms.get(info_hash)
    return swarm is not None and host in swarm.peers


def shares_of(store: PeerStore) -> Counter[bytes]:
    """Return what the store believes that each network holds, after checking its other books."""
    peers = [peer for swarm in store.swarms.values() for peer in swarm.peers.values()]
    assert store.statistics().peers == len(peers)
    assert [swarm.place for swarm in store._listed] == list(range(len(store.swarms)))
    assert {swarm.info_hash for swarm in store._listed} == store.swarms.keys()
    assert store._shares.hosts == len({host_of(peer.compact) for peer in peers})
    return Counter(store._shares._networks)


STEPS = st.builds(
    Step,
    st.sampled_from([0.0, 1.0, 20.0, 60.0]),
    st.sampled_from([bytes([n]) * 20 for n in range(4)]),
    st.builds(peer, st.sampled_from([0, 1, 2, 256, 257, 512]), st.integers(1, 3))
    | st.builds(peer6, st.integers(0, 2)),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(STEPS, max_size=60))
def test_counts_stay_right_whatever_is_announced(steps: list[Step]) -> None:
    """The store holds what a plain dictionary would hold, within its caps."""
    store = new_store(max_swarms=3, max_peers_per_swarm=4, max_peers=8)
    alive: dict[tuple[bytes, str], tuple[Address, bool, float]] = {}
    now = 0.0
    for step in steps:
        now += step.pause
        if step.sweep:
            store.expire(now)
        had_capacity = store.has_capacity(step.info_hash, step.peer.host)
        stored = store.announce(step.info_hash, step.peer, now, seed=step.seed)
        if stored:
            alive[step.info_hash, step.peer.host] = (step.peer, step.seed, now + LIFETIME)

        assert stored <= had_capacity
        assert store.statistics().peers <= 8
        # Something may have given way to it.
        alive = {key: entry for key, entry in alive.items() if is_held(store, *key)}

    store.expire(now)
    alive = {key: entry for key, entry in alive.items() if entry[2] > now}
    assert shares_of(store) == Counter(network_of(pack_host(host)) for _, host in alive)
    swarms = {info_hash for info_hash, _ in alive}
    statistics = store.statistics()
    assert (statistics.peers, statistics.swarms) == (len(alive), len(swarms))
    for info_hash in swarms:
        entries = [entry for key, entry in alive.items() if key[0] == info_hash]
        sampled = [one for family in Family for one in store.sample(info_hash, family, 99, now)]
        assert sorted(sampled) == compact(*(entry[0] for entry in entries))
        assert store.filters(info_hash, None, now) == (
            filter_of(*(entry[0] for entry in entries if entry[1])),
            filter_of(*(entry[0] for entry in entries if not entry[1])),
        )


def swarm(number: int) -> bytes:
    return b"%020d" % number


def take_all(store: PeerStore, hosts: list[str], most: int, now: float = 0.0) -> int:
    """Announce ever new swarms from hosts in turn, and return how many were stored."""
    return sum(
        store.announce(swarm(number), Address(hosts[number % len(hosts)], 1), now, seed=False)
        for number in range(most)
    )


@pytest.mark.parametrize("host", ["23.0.0.1", "2a00:1:2:3::1"])
def test_one_address_never_has_more_than_its_share(host: str) -> None:
    """Of IPv6, the /64: the rest of the store is free for others, and statistics say why."""
    store = PeerStore(
        Random(1), lifetime=LIFETIME, max_swarms=8192, max_peers_per_swarm=3000, max_peers=200_000
    )
    hosts = [host] if "." in host else [f"2a00:1:2:3::{number:x}" for number in range(1, 100)]
    assert take_all(store, hosts, 8300) == 1024
    assert store.has_capacity(b"n" * 20, "24.0.0.1")
    assert not store.has_capacity(b"n" * 20, host)
    statistics = store.statistics()
    assert (statistics.refused, statistics.withheld) == (8300 - 1024, 1)
    assert statistics.reasons == {FROM_HOST: 8300 - 1024 + 1}
    (refused,) = statistics.refused_most
    assert refused in {
        RefusedNetwork("23.0.0.0/24", FROM_HOST, 8300 - 1023),
        RefusedNetwork("2a00:1:2::/48", FROM_HOST, 8300 - 1023),
    }
    store.expire(LIFETIME)
    assert store.has_capacity(b"n" * 20, host)


def test_one_network_never_has_more_than_its_share_and_leaves_its_hosts_some() -> None:
    store = PeerStore(
        Random(1), lifetime=LIFETIME, max_swarms=1000, max_peers_per_swarm=1000, max_peers=10_000,
        max_peers_per_host=50, max_peers_per_network=200,
    )  # fmt: skip
    taken = [take_all(store, [f"23.0.0.{number}"], 100) for number in range(1, 100)]
    assert (taken[0], min(taken[:10]) > 2, sum(taken)) == (40, True, 200)
    assert set(store.statistics().reasons) == {FROM_NETWORK}
    assert store.has_capacity(SWARM, "23.0.1.1")


def test_test_network_on_loopback_may_share_one_address() -> None:
    assert take_all(new_store(max_swarms=5000, max_peers=5000), ["127.0.0.1"], 3000) == 3000


FLOODS = {
    "one address": ["23.0.0.1"],
    "one network": [f"23.0.0.{number}" for number in range(200)],
    "an IPv6 /48": [f"2a00:1:2:{number:x}::1" for number in range(200)],
    "five networks": [f"23.{number}.0.1" for number in range(5)],
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
@pytest.mark.parametrize("cap", [TOO_MANY_SWARMS, STORE_IS_FULL, SWARM_IS_FULL])
def test_flood_locks_no_one_out_and_washes_out_only_itself(flood: list[str], cap: str) -> None:
    """Every honest peer is stored, and stays, while the flood goes on all the time."""
    caps = {TOO_MANY_SWARMS: "max_swarms", STORE_IS_FULL: "max_peers", SWARM_IS_FULL: "max_peers_per_swarm"}
    limits = {"max_swarms": 10_000, "max_peers": 10_000, "max_peers_per_swarm": 10_000, caps[cap]: 200}
    store = PeerStore(
        Random(1), lifetime=LIFETIME, max_peers_per_host=5000, max_peers_per_network=50_000, **limits
    )

    def announce(number: int, host: str) -> bool:
        if cap == SWARM_IS_FULL:
            # Of IPv6, one /64 can fill a swarm.
            host = f"2a00:1:2:3::{number:x}" if host.startswith("2") and number < 10_000 else host
            return store.announce(SWARM, Address(host, 1), 0.0, seed=False)
        return store.announce(swarm(number), Address(host, 1), 0.0, seed=False)

    honest = [f"40.0.{number}.1" for number in range(30)]
    stored = []
    for turn in range(30):
        for number in range(20):
            announce(20 * turn + number, flood[number % len(flood)])
        stored.append(announce(10_000 + turn, honest[turn]))
    assert stored == [True] * 30
    hosts = {host for each in store.swarms.values() for host in each.peers}
    assert hosts >= set(honest)
    assert (store.statistics().displaced > 0, set(store.statistics().reasons)) == (True, {cap})
    assert sum(shares_of(store).values()) <= 200


def test_swarm_of_others_is_not_washed_out_with_those_of_a_flood() -> None:
    """Even if the flood was the first to announce it, and takes part in it from many hosts."""
    store = new_store(max_swarms=100, max_peers=1000, max_peers_per_swarm=1000)
    flood = [f"23.0.0.{number}" for number in range(5)]
    for host in flood:
        store.announce(SWARM, Address(host, 1), 0.0, seed=False)
    store.announce(SWARM, Address("40.0.0.1", 1), 0.0, seed=False)
    take_all(store, flood, 500)
    for number in range(40):
        assert store.announce(b"%020x" % number, Address(f"41.0.{number}.1", 1), 0.0, seed=False)
    assert SWARM in store.swarms
    assert shares_of(store)[network_of(pack_host("40.0.0.1"))] == 1


def test_neighbours_of_a_flood_displace_it_too() -> None:
    store = new_store(max_swarms=100, max_peers=1000)
    take_all(store, ["23.0.0.1"], 200)
    assert all(
        store.announce(b"%020x" % number, Address("23.0.0.2", 1), 0.0, seed=False) for number in range(40)
    )
    assert not store.announce(b"x" * 20, Address("23.0.0.1", 1), 0.0, seed=False)


def test_swarms_that_give_way_leave_nothing_behind() -> None:
    """Not in the heap of what is due either, in which two may have the same info-hash and time."""
    store = new_store(max_swarms=2, max_peers=100)
    take_all(store, ["23.0.0.1"], 2)
    for number in range(10_000):
        store.announce(swarm(number % 7), Address(f"{24 + number % 100}.0.0.1", 1), 0.0, seed=False)
        store.announce(swarm(number % 7), Address("23.0.0.1", 1), 0.0, seed=False)
    assert len(store._due) <= 1024 + 2 * 2 + 1
    store.expire(LIFETIME)
    assert (store.statistics().swarms, store.statistics().peers, store._shares.hosts) == (0, 0, 0)


def test_who_is_refused_most_is_named_among_very_many() -> None:
    refusals = Refusals()
    for number in range(10_000):
        refusals.add(FROM_HOST, pack_host(f"30.{number >> 8}.{number & 255}.1"))
        refusals.add(FROM_NETWORK, pack_host("31.0.0.1"))
    assert refusals.reasons == {FROM_HOST: 10_000, FROM_NETWORK: 10_000}
    first, *others = refusals.most()
    assert (first.network, first.reason, first.times > 9_000) == ("31.0.0.0/24", FROM_NETWORK, True)
    assert len(others) <= 7
    assert len(refusals._named) <= 64
