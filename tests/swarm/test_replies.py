"""What is kept of replies: enough for the same estimate, and no address."""

from dataclasses import replace
from hashlib import blake2b
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.swarms.model import ModelSwarm, SwarmModel
from dhtnode.addresses import Address
from dhtnode.ids import NodeId
from dhtnode.krpc.scrape_filter import ScrapeFilter, host_mask
from dhtnode.outcomes import Outcome
from dhtnode.swarm import estimate_swarm
from dhtnode.swarm.capture_history import EXTENDED_TO, MOST_QUERIED, more_nodes_wanted
from dhtnode.swarm.estimate import capture_histories
from dhtnode.swarm.replies import HOST_HASH_BYTES, Reply, observe
from dhtnode.swarm.trust_marks import Mark

NOTHING = Reply(NodeId(bytes(20)), Address("203.0.113.1", 6881))
PEERS = [bytes([21, 0, 0, host]) + bytes([0, port]) for host in range(6) for port in (1, 2)]
FILTERS = [None, bytes(256), *(ScrapeFilter.of(peer[:4] for peer in PEERS[:n]).to_bytes() for n in (1, 5))]


def some_replies(peers, seed, **model):
    source = ModelSwarm(SwarmModel(**model), peers, Random(seed)).replies()
    return [next(source) for _ in range(8)]


def wanted_after(observations):
    """Return how many more nodes are wanted, of one family."""
    (history,) = capture_histories(observations).values()
    return more_nodes_wanted(history)


@pytest.mark.parametrize("peers", [3, 40, 400, 3000])
def test_host_hashes_of_any_key_give_the_same_estimate(peers):
    replies = some_replies(peers, peers)
    assert estimate_swarm(observe(replies, b"secret")) == estimate_swarm(observe(replies))


def test_host_hashes_tell_nothing_without_the_key():
    """One host is one hash, of 8 bytes; under another key it is another."""
    replies = some_replies(40, 1)
    one, two = (observe(replies, key) for key in (b"one", b"two"))
    named = {peer[:-2] for reply in replies for peer in reply.peers}
    hashes = frozenset[bytes]().union(*(node.host_hashes for node in one))
    assert len(hashes) == len(named)
    assert {len(each) for each in hashes} == {HOST_HASH_BYTES}
    assert not hashes & frozenset[bytes]().union(*(node.host_hashes for node in two))
    assert not hashes & named


def test_named_peers_are_placed_by_the_seed_filters_that_are_believed():
    replies = some_replies(40, 1, bep33=0.0)
    liar = replace(NOTHING, seeds_filter=b"\xff" * 256, peers_filter=b"\xff" * 256)
    for marks, is_placed in ((), True), (("impossible-count",), False):
        observations = observe([*replies, replace(liar, marks=marks)])
        unplaced = [node.unplaced_filter for node in observations[:-1]]
        assert unplaced == [bytes(256) if is_placed else node.named_filter for node in observations[:-1]]


def test_host_of_which_one_bit_alone_is_in_the_seed_filters_is_no_seed():
    peer = bytes((198, 51, 100, 1, 26, 225))
    mask = host_mask(peer[:-2])
    lowest = mask & -mask
    assert mask.bit_count() == 2
    for seeds, unplaced in ((lowest, mask), (mask ^ lowest, mask), (mask, 0)):
        seed_filter = ScrapeFilter(seeds).to_bytes()
        (observation,) = observe([replace(NOTHING, seeds_filter=seed_filter, peers=[peer])])
        assert observation.unplaced_filter == ScrapeFilter(unplaced).to_bytes()


def test_observation_without_names_has_no_bits_of_names():
    (silent,) = observe([replace(NOTHING, outcome=Outcome.TIMEOUT)])
    assert (silent.host_hashes, silent.named_filter, silent.unplaced_filter) == (frozenset(), None, None)
    assert (silent.named, silent.is_believed) == (ScrapeFilter(), False)


def test_no_nodes_and_nodes_that_know_nothing_want_no_more():
    assert capture_histories([]) == {}
    assert wanted_after(observe([NOTHING] * 8)) == 0


@pytest.mark.parametrize(("peers", "share"), [(30, 0.0), (300, 0.1), (6000, 1.0)])
def test_more_nodes_are_wanted_where_stores_are_cut(peers, share):
    wanted = [wanted_after(observe(some_replies(peers, f"{peers} {seed}"))) for seed in range(10)]
    assert set(wanted) <= {0, EXTENDED_TO - 8}
    assert abs(sum(map(bool, wanted)) / len(wanted) - share) <= 0.2


@pytest.mark.parametrize(
    ("hosts", "listed", "wanted"), [(100, 90, 0), (100, 87, 14), (1000, 910, 0), (1000, 900, 14)]
)
def test_two_peers_or_one_per_cent_may_stay_unseen(hosts, listed, wanted):
    """Two lists tell by their overlap (Petersen) that 1.3, 2.3, 9.9 and 12.5 peers are on neither."""
    peers = [bytes((198, 51, number >> 8, number & 255, 26, 225)) for number in range(hosts)]
    replies = [replace(NOTHING, peers=some) for some in (peers[:listed], peers[-listed:])]
    assert wanted_after(observe(replies)) == wanted


def test_no_more_than_sixteen_are_wanted_and_thirty_two_while_stores_are_full():
    source = ModelSwarm(SwarmModel(), 6000, Random(1)).replies()
    observations = observe([next(source) for _ in range(MOST_QUERIED)])
    assert wanted_after(observations[:12]) == 4
    assert wanted_after(observations[:EXTENDED_TO]) == MOST_QUERIED - EXTENDED_TO
    assert wanted_after(observations) == 0
    source = ModelSwarm(SwarmModel(capped=0.0), 1500, Random(1)).replies()
    assert wanted_after(observe([next(source) for _ in range(EXTENDED_TO)])) == 0


def test_families_are_looked_at_apart():
    """That IPv4 and IPv6 share no peer is no sign of cut stores."""
    four = observe(some_replies(60, 3))
    six = [replace(node, address=Address("2a00::1", 6881)) for node in observe(some_replies(60, 4))]
    assert wanted_after(four) == wanted_after(six) == 0
    found = estimate_swarm([*four, *six])
    assert found.peers_low == pytest.approx(60, abs=1)
    assert found.peers_high == pytest.approx(120, abs=2)


@given(
    st.lists(
        st.builds(
            Reply,
            st.just(NodeId(bytes(20))),
            st.just(Address("21.1.0.1", 1)),
            seeds_filter=st.sampled_from(FILTERS),
            peers_filter=st.sampled_from(FILTERS),
            peers=st.lists(st.sampled_from(PEERS)).map(tuple),
            marks=st.sampled_from([(), (), (Mark.WRONG_ID,)]),
        ),
        max_size=9,
    )
)
def test_what_nodes_have_in_common_is_read_as_if_each_were_alone(replies):
    def bits(packed):
        return 0 if packed is None else int.from_bytes(packed, "little")

    def of(hosts):
        return ScrapeFilter.of(hosts).bits

    seeds = 0
    for reply in replies:
        seeds |= 0 if reply.marks else bits(reply.seeds_filter)
    for reply, node in zip(replies, observe(replies, b"key"), strict=True):
        hosts = {peer[:4] for peer in reply.peers}
        stored = bits(reply.seeds_filter) | bits(reply.peers_filter)
        assert node.host_hashes == {blake2b(host, digest_size=8, key=b"key").digest() for host in hosts}
        assert (node.stored.bits, node.named.bits, node.told.bits) == (stored, of(hosts), stored | of(hosts))
        unplaced = of(host for host in hosts if of([host]) & ~seeds)
        assert (bits(node.named_filter), bits(node.unplaced_filter)) == (of(hosts), unplaced)
        assert (node.named_filter is None, node.unplaced_filter is None) == (not hosts, not hosts)
