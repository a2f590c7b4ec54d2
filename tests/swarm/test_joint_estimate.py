"""One swarm in two families: a peer with an address in each counts once, as far as can be told."""

from dataclasses import replace

import pytest

from dhtnode.addresses import Address, Family
from dhtnode.ids import NodeId
from dhtnode.krpc.compact import pack_address
from dhtnode.krpc.scrape_filter import ScrapeFilter
from dhtnode.swarm import Reply, estimate_swarm
from dhtnode.swarm.replies import observe

HOST = {Family.IPV4: "192.0.2.{}", Family.IPV6: "2a00:{:x}::1"}


def addresses(family, count, first=0):
    form = "20.0.{}.{}" if family is Family.IPV4 else "2a00:{:x}:{:x}::9"
    return [Address(form.format(each >> 8, each & 255), 6881) for each in range(first, first + count)]


def packed_hosts(peers):
    return [pack_address(peer)[:-2] for peer in peers]


def replies(family, seeds, others, *, lists=False, nodes=8):
    """Return what nodes of a family answer that store all of these peers."""
    filters = (ScrapeFilter.of(packed_hosts(some)).to_bytes() for some in (seeds, others))
    known = (None, None) if lists else tuple(filters)
    named = tuple(map(pack_address, [*seeds, *others])) if lists else ()
    return [
        Reply(NodeId(bytes([each]) * 20), Address(HOST[family].format(each + 1), 6881), each, *known, named)
        for each in range(nodes)
    ]


def estimate_of(*some):
    return estimate_swarm(observe([reply for each in some for reply in each]))


def ends(found, subject="peers"):
    return tuple(getattr(found, f"{subject}_{end}") for end in ("low", "high"))


@pytest.mark.parametrize("lists", [False, True])
def test_peers_in_both_families_are_from_the_larger_to_the_sum(lists):
    """24 peers with two addresses look like 24 with the one and 24 with the other."""
    both = [addresses(family, 24) for family in Family]
    found = estimate_of(
        *(replies(family, [], some, lists=lists) for family, some in zip(Family, both, strict=True))
    )
    low, high = ends(found)
    assert found.peers == pytest.approx(24, abs=1)
    assert low <= 24
    assert high == pytest.approx(48, abs=2)
    assert low == pytest.approx(24, abs=2)


def test_smaller_family_may_lie_within_the_larger():
    four, six = addresses(Family.IPV4, 60), addresses(Family.IPV6, 10)
    found = estimate_of(
        replies(Family.IPV4, four[:20], four[20:], lists=True),
        replies(Family.IPV6, six[:4], six[4:], lists=True),
    )
    assert (found.peers, *ends(found)) == (60, 60, 70)
    assert found.distinct_peers == 70
    assert found.by("ipv4") == (60, 60, 60)
    assert found.by("ipv6") == (10, 10, 10)


def test_roles_of_both_families_are_joined_alike():
    four, six = addresses(Family.IPV4, 30), addresses(Family.IPV6, 20)
    found = estimate_of(replies(Family.IPV4, four[:10], four[10:]), replies(Family.IPV6, six[:15], six[15:]))
    assert found.seeds == pytest.approx(15, abs=1)
    assert ends(found, "seeds")[1] == pytest.approx(25, abs=2)
    assert found.leechers == pytest.approx(20, abs=1)
    assert ends(found, "leechers")[1] == pytest.approx(25, abs=2)


def test_role_that_is_unknown_in_one_family_is_unknown():
    four, six = addresses(Family.IPV4, 30), addresses(Family.IPV6, 20)
    found = estimate_of(replies(Family.IPV4, four[:10], four[10:]), replies(Family.IPV6, [], six, lists=True))
    assert (found.seeds, found.leechers, found.overlap) == (None, None, None)
    assert found.seeds_low <= 10
    assert found.seeds_high >= 10 + 20


def test_family_without_a_peer_changes_nothing():
    four = addresses(Family.IPV4, 30)
    alone = estimate_of(replies(Family.IPV4, four[:10], four[10:]))
    found = estimate_of(replies(Family.IPV4, four[:10], four[10:]), replies(Family.IPV6, [], []))
    assert found == replace(alone, nodes_with_filters=16)


def test_stores_of_both_families_together_hold_a_peer_twice():
    """Nodes that put both into every filter say 80 over each: 40 to 80 peers."""
    stored = [*addresses(Family.IPV4, 40), *addresses(Family.IPV6, 40)]
    found = estimate_of(*(replies(family, stored[:20], stored[20:]) for family in Family))
    low, high = ends(found)
    assert low == pytest.approx(40, abs=2)
    assert low <= 40
    assert high >= 80


@pytest.mark.parametrize("count", [1, 50, 500])
def test_filters_of_two_families_are_not_taken_for_the_same(count):
    """Bits that two filters share by chance are no common host."""
    found = estimate_of(*(replies(family, [], addresses(family, count, first=7)) for family in Family))
    assert ends(found)[0] >= 0.9 * count
