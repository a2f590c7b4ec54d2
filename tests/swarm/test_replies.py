"""What is kept of replies: enough for the same estimate, and no address."""

from random import Random

import pytest

from benchmarks.swarms.model import ModelSwarm, SwarmModel
from dhtnode.addresses import Family, pack_host
from dhtnode.krpc.scrape_filter import ScrapeFilter
from dhtnode.swarm.estimate import estimate_observations, estimate_swarm
from dhtnode.swarm.replies import TOKEN_BYTES, Observation, observe
from dhtnode.swarm.stopping_rule import EXTENDED_TO, more_nodes_wanted


def some_replies(peers, seed, **model):
    source = ModelSwarm(SwarmModel(**model), peers, Random(seed)).replies()
    return [next(source) for _ in range(8)]


@pytest.mark.parametrize("peers", [3, 40, 400, 3000])
def test_evidence_is_enough_for_the_same_estimate(peers):
    """Whatever the key: tokens stand for hosts, and nothing else of them counts."""
    replies = some_replies(peers, peers)

    assert estimate_observations(observe(replies, b"secret")) == estimate_swarm(replies)


def test_tokens_tell_nothing_without_the_key():
    """One host is one token, of 8 bytes; under another key it is another."""
    replies = some_replies(40, 1)
    one, two = (observe(replies, key) for key in (b"one", b"two"))
    named = {value.host for reply in replies for value in reply.values}

    tokens = frozenset[bytes]().union(*(node.named for node in one))
    assert len(tokens) == len(named)
    assert {len(token) for token in tokens} == {TOKEN_BYTES}
    assert not tokens & frozenset[bytes]().union(*(node.named for node in two))
    assert not tokens & {pack_host(host) for host in named}


def test_named_peers_are_placed_by_the_seed_filters_that_are_believed():
    """A liar that has everybody for a seed does not make seeds of leechers."""
    replies = some_replies(40, 1, bep33=0.0)
    full = ScrapeFilter((1 << 2048) - 1)
    lying = [*replies, some_replies(40, 2, bep33=1.0)[0]]
    lying[-1] = type(lying[-1])(lying[-1].contact, 0.1, full, full, (), None)

    assert all(node.unplaced_filter.is_empty for node in observe(lying))
    believed = observe(lying, left_out={len(replies)})
    assert all(node.unplaced_filter == node.named_filter for node in believed)


def test_nobody_asked_and_nobody_known_want_no_more():
    """There is no sign of a swarm."""
    nobody = Observation(Family.IPV4, None, None, frozenset(), ScrapeFilter(), ScrapeFilter())

    assert more_nodes_wanted([]) == 0
    assert more_nodes_wanted([nobody] * 8) == 0


@pytest.mark.parametrize(("peers", "share"), [(30, 0.0), (300, 0.1), (6000, 1.0)])
def test_more_nodes_are_wanted_where_stores_are_cut(peers, share):
    """Complete stores are enough, those of a swarm ten times their size are not."""
    wanted = [more_nodes_wanted(observe(some_replies(peers, f"{peers} {seed}"))) for seed in range(10)]

    assert set(wanted) <= {0, EXTENDED_TO - 8}
    assert abs(sum(map(bool, wanted)) / len(wanted) - share) <= 0.2


def test_no_more_than_sixteen_are_wanted():
    """Those further away were not announced to."""
    source = ModelSwarm(SwarmModel(), 6000, Random(1)).replies()
    evidence = observe([next(source) for _ in range(EXTENDED_TO)])

    assert more_nodes_wanted(evidence[:12]) == 4
    assert more_nodes_wanted(evidence) == 0


def test_families_are_looked_at_apart():
    """That IPv4 and IPv6 share no peer is no sign of cut stores."""
    four = observe(some_replies(60, 3))
    six = [
        Observation(
            Family.IPV6,
            node.seeds_filter,
            node.peers_filter,
            node.named,
            node.named_filter,
            node.unplaced_filter,
        )
        for node in observe(some_replies(60, 4))
    ]

    assert more_nodes_wanted([*four, *six]) == 0
    assert estimate_observations([*four, *six]).peers == pytest.approx(120, abs=2)
