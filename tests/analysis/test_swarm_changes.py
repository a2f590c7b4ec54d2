"""Who came to a swarm and who left: by filters of known content, and in model swarms."""

from dataclasses import replace
from random import Random

import pytest

from benchmarks.changes.model import ChangeModel, draw_change
from crawler.analysis import swarm_change
from dhtnode import Address, Interval, NodeId
from dhtnode.krpc import ScrapeFilter
from dhtnode.swarm import Observation, estimate_swarm

MODEL = ChangeModel(peers=200)


def node(number, hosts, host="9.0.0.1"):
    packed = ScrapeFilter.of(bytes((11, 0, 0, each)) for each in hosts).to_bytes()
    return Observation(NodeId(number.to_bytes(20, "big")), Address(host, 6881 + number), peers_filter=packed)


def nodes(*stores, host="9.0.0.1"):
    return [node(number, hosts, host) for number, hosts in enumerate(stores)]


def exactly(count):
    return Interval(count, count, count)


def compared(before, after):
    """Compare with the sizes that the product would tell."""
    sizes = []
    for observations in (before, after):
        found = estimate_swarm(observations)
        sizes.append(Interval(found.peers, found.peers_low, found.peers_high))
    return swarm_change(before, after, (sizes[0], sizes[1]), 1.0)


def test_peers_that_all_nodes_have_are_counted_one_by_one():
    found = compared(nodes(*[range(20)] * 4), nodes(*[range(3, 25)] * 4))
    assert found is not None
    assert [round(each.estimate) for each in (found.arrivals, found.departures, found.change)] == [5, 3, 2]
    assert found.arrivals.low <= 5 <= found.arrivals.high
    assert found.is_clear
    assert found.nodes == 4


def test_stores_that_lose_each_their_own_peers_are_no_change():
    """Each node misses others of 20 peers, and others again the next time, so single nodes change by half."""
    before = nodes(*(set(range(20)) - set(range(each, each + 4)) for each in (0, 4, 8, 12, 16)))
    after = nodes(*(set(range(20)) - set(range(each, each + 4)) for each in (8, 12, 16, 0, 4)))
    found = compared(before, after)
    assert found is not None
    assert found.arrivals.low == found.departures.low == 0
    assert found.change.low <= 0 <= found.change.high
    assert not found.is_clear


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (nodes(range(9), range(9)), nodes(range(9), range(9))),
        (nodes([1], [2], [3], [4]), nodes([1], [2], [3], [4])),
        (nodes(*[range(9)] * 4), nodes(*[()] * 4)),
        ([], []),
    ],
    ids=["two nodes", "nothing in common", "all have left", "no node"],
)
def test_nothing_is_told_where_filters_do_not_tell(before, after):
    assert swarm_change(before, after, (exactly(9.0), exactly(9.0)), 1.0) is None


def test_nodes_of_two_families_are_not_compared_with_each_other():
    """Each has peers of its own, of which one in two goes on IPv4, none on IPv6."""
    six = nodes(*[range(100, 120)] * 3, host="2001:db8::1")
    found = swarm_change(
        nodes(*[range(20)] * 3) + six, nodes(*[range(10)] * 3) + six, (exactly(40.0), exactly(30.0)), 1.0
    )
    assert found is not None
    assert found.nodes == 6
    assert (round(found.departures.estimate), round(found.arrivals.estimate)) == (10, 0)


def drawn(model, runs=25):
    random = Random(5)
    for _ in range(runs):
        truth = draw_change(model, random)
        found = compared(truth.first, truth.second)
        assert found is not None
        yield truth, found


def test_still_swarms_do_not_change():
    found = [each for _, each in drawn(MODEL)]
    assert sum(each.is_clear for each in found) <= 1
    assert sum(each.arrivals.low > 0 or each.departures.low > 0 for each in found) <= 1
    assert max(each.change.high - each.change.low for each in found) < 10


@pytest.mark.parametrize(
    "model",
    [
        replace(MODEL, leave=0.2, join=0.2),
        replace(MODEL, leave=0.2, join=0.2, hours=6.0),
        replace(MODEL, leave=0.1, join=0.3, reach="beta(1.2, 0.8)"),
        replace(MODEL, leave=0.2, join=0.2, replaced=1.0),
    ],
    ids=["an hour", "six hours", "unequal announcers", "all nodes replaced"],
)
def test_intervals_hold_who_came_and_who_left(model):
    found = list(drawn(model))
    for name in ("arrivals", "departures"):
        ends = [(getattr(truth, name), getattr(each, name)) for truth, each in found]
        assert sum(each.low <= true <= each.high for true, each in ends) >= 0.9 * len(ends)
        assert sum(each.estimate for _, each in ends) == pytest.approx(
            sum(true for true, _ in ends), rel=0.15
        )
    assert all(each.arrivals.low > 0 for _, each in found)


FULL_HOSTS = [bytes((11, 0, *divmod(each, 256))) for each in range(1400)]


def store_of(places):
    return ScrapeFilter.of(FULL_HOSTS[place] for place in places)


# The second reads as more than 5 % above 500, as one store in twenty of 500 peers does.
READS_HIGH = next(count for count in range(500, 560) if 525 < store_of(range(count)).estimate() < 529)


@pytest.mark.parametrize("kept", [500, READS_HIGH])
def test_full_stores_are_left_out(kept):
    """They keep the first of 900, and take in others when some leave; how they are told is one rule."""

    def stores(*ranges):
        return [
            Observation(
                NodeId(bytes(19) + bytes([number])),
                Address("9.0.0.1", 7000 + number),
                peers_filter=store_of(each).to_bytes(),
            )
            for number, each in enumerate(ranges)
        ]

    full, whole = [range(kept)] * 5, [range(900)] * 3
    found = swarm_change(
        stores(*full, *whole),
        stores(*[range(400, 400 + kept)] * 5, *[range(450, 1350)] * 3),
        (exactly(900.0), exactly(900.0)),
        1.0,
    )
    assert found is not None
    assert found.nodes == 3
    assert found.departures.low <= 450 <= found.departures.high
    assert swarm_change(stores(*full), stores(*full), (exactly(500.0), exactly(500.0)), 1.0) is None
