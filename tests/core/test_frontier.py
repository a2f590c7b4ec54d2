"""The frontier: every endpoint is visited once, silent ones that others named a second time."""

from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.core.contact_table import ContactTable, group_starts, rank_in_group
from crawler.core.frontier import Frontier, FrontierStatistics
from crawler.core.sightings import ANSWERED, FAILED, HALVES, NO_HALF, UNRESPONSIVE, WAITING
from dhtnode import Family

IPV4, IPV6 = Family.IPV4, Family.IPV6
HOST, HOST6 = bytes([192, 0, 2, 1]), bytes([42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])


def contact(number, *, node_id=None, host=HOST):
    named = number if node_id is None else node_id
    return named.to_bytes(20, "big") + host + (1000 + number).to_bytes(2, "big")


def rows(contacts):
    return np.frombuffer(b"".join(contacts), np.uint8).reshape(len(contacts), -1)


def new_frontier(max_endpoints=100, *, family=IPV4, counts_hosts=False):
    return Frontier(family, max_endpoints, Random(1), counts_hosts=counts_hosts)


def add(frontier, *contacts, half=HALVES[0]):
    """Let as many nodes return one contact each; return how many are new."""
    table, count = rows(contacts), len(contacts)
    halves = np.full(count, half, np.uint8)
    new, _ = frontier.add_returned(table, frontier.table.keys(table), np.arange(count), halves, count)
    return int(new.sum())


def filled(*numbers, half=HALVES[0], **options):
    frontier = new_frontier(**options)
    add(frontier, *map(contact, numbers), half=half)
    return frontier


def take(frontier, now=0.0, most=1):
    return [taken for _, taken in frontier.take(now, most)]


def referrers(frontier):
    """Return how many referrers each known endpoint has, sorted."""
    return sorted(each.referrers for each in frontier.sightings().elements())


def test_contacts_are_taken_in_the_order_in_which_they_came():
    frontier = filled(1, 2, 3)
    assert take(frontier, most=2) == [contact(1), contact(2)]
    assert take(frontier, most=2) == [contact(3)]
    assert take(frontier, most=2) == []


@pytest.mark.parametrize("again", [contact(1), contact(1, node_id=9)], ids=["same id", "another id"])
def test_endpoint_named_again_is_counted_and_not_queued(again):
    frontier = filled(1)
    assert (add(frontier, again), frontier.add(again)) == (0, 0)
    assert referrers(frontier) == [2]
    assert frontier.statistics() == FrontierStatistics(1, 1, 0, 0, 0)
    assert take(frontier, most=9) == [contact(1)]


def test_contacts_to_start_from_are_added_once():
    frontier = filled(1)
    assert frontier.add(contact(2) + contact(1) + contact(3) + contact(2, node_id=9)) == 2
    assert (take(frontier, most=9), frontier.add(b"")) == ([contact(2), contact(3), contact(1)], 0)


def test_endpoints_beyond_the_bound_are_counted_and_dropped():
    """Memory is bounded; endpoints that are known already are not affected."""
    frontier = filled(1, 2, max_endpoints=2)
    assert add(frontier, contact(3), contact(1)) == 0
    assert frontier.add(contact(4)) == 0
    assert frontier.statistics() == FrontierStatistics(2, 2, 0, 0, 2)
    assert referrers(frontier) == [1, 2]


def test_ports_of_one_host_are_bounded():
    """A host that answers on 65,535 ports does not keep a crawl for a day; the next host is not affected."""
    frontier = filled(*range(40), counts_hosts=True)
    add(frontier, *map(contact, range(40, 70)))
    assert frontier.statistics() == FrontierStatistics(64, 64, 0, 0, 6)
    assert frontier.add(contact(50, host=bytes([192, 0, 2, 2]))) == 1


@pytest.mark.parametrize(
    ("family", "hosts", "other", "most"),
    [
        (IPV4, [bytes([192, 0, 2, n]) for n in range(100)], bytes([192, 0, 3, 1]), 4096),
        (IPV6, [HOST6[:8] + n.to_bytes(8, "big") for n in range(100)], HOST6[:7] + bytes(9), 64),
        (IPV6, [HOST6[:6] + n.to_bytes(10, "big") for n in range(0, 100 << 64, 1 << 64)], bytes(16), 4096),
    ],
    ids=["/24", "/64", "/48"],
)
def test_endpoints_of_one_network_are_bounded(family, hosts, other, most):
    """Over IPv6 one host has a whole /64 of addresses, and one customer a whole /48."""
    frontier = new_frontier(10_000, family=family, counts_hosts=True)
    for host in hosts:
        add(frontier, *(contact(port, host=host) for port in range(50)))
    assert frontier.statistics() == FrontierStatistics(most, most, 0, 0, 5000 - most)
    assert frontier.add(contact(1, host=other)) == 1


def visit_endless(frontier, most=1000, twice=0):
    """Visit all that may be, each of which answers and returns a new one; return how many were visited.

    The first `twice` are returned by two nodes.
    """
    visits = 0
    while visits < most and (taken := frontier.take(0.0, 9)):
        frontier.finish([number for number, _ in taken], [ANSWERED] * len(taken))
        for _ in taken:
            visits += 1
            add(frontier, *[contact(visits)] * (1 + (visits < twice)))
    return visits


def test_endless_supply_of_endpoints_that_one_node_returned_is_held_back():
    """One that invents a new address in every answer, and answers there, cannot keep a crawl for ever."""
    frontier = new_frontier(10_000)
    frontier.add(contact(0))
    assert 128 <= visit_endless(frontier) < 140
    counts = frontier.statistics()
    assert (counts.queued, counts.in_flight) == (0, 0)
    assert counts.held == counts.sighted - counts.finished > 0
    assert not (frontier.has_waiting or frontier.requeue_unresponsive())
    # Nor do they count as nodes of the network.
    assert len(frontier.answered) >= 128
    assert not frontier.believed(frontier.answered).size


def test_network_in_which_two_nodes_return_each_is_visited_as_a_whole():
    frontier = new_frontier(10_000)
    frontier.add(contact(0))
    assert 1320 < visit_endless(frontier, 9000, twice=800) < 1340  # 800, 128, and one for two of the 800
    assert len(frontier.believed(frontier.answered)) == 799


def test_young_crawl_of_a_large_network_is_not_held_back():
    """Among a million nodes, the first hundred thousand are returned once, nearly all."""
    frontier = new_frontier(10_000)
    frontier.add(contact(0))
    frontier.told_size = 5000
    assert 5128 <= visit_endless(frontier, 9000) < 5140
    assert frontier.unconfirmed[1] == 5128


def test_restored_frontier_lets_be_what_has_responded():
    """What the network was told to be is not in the journal."""
    frontier = new_frontier(10_000)
    frontier.add(contact(0))
    frontier.told_size = 3000
    visited = visit_endless(frontier, 2000)
    restored = new_frontier(10_000)
    restored.restore([frontier.take_journal()])
    assert restored.has_waiting
    assert visited <= restored.unconfirmed[1] <= visited + 128


def test_held_endpoint_that_a_second_node_returns_is_visited():
    frontier = new_frontier(10_000)
    frontier.add(contact(0))
    visited = visit_endless(frontier)
    add(frontier, contact(visited))
    assert (take(frontier), take(frontier)) == ([contact(visited)], [])


def test_confirmed_endpoints_go_first():
    frontier = filled(1, 2, 3)
    add(frontier, contact(3))
    assert take(frontier, most=9) == [contact(3), contact(1), contact(2)]


def test_unconfirmed_endpoints_under_way_take_room():
    """Their answers may all come at once."""
    frontier = filled(*range(1, 300), max_endpoints=300)
    assert len(frontier.take(0.0, 300)) == 128
    assert frontier.has_waiting
    frontier.finish(range(100), [UNRESPONSIVE] * 100)
    assert len(frontier.take(0.0, 300)) == 100


def test_deferred_contact_comes_back_when_it_is_due():
    frontier = filled(1, 2)
    ((number, _),) = frontier.take(0.0, 1)
    frontier.defer(number, 5.0)
    assert frontier.next_due() == 5.0
    assert take(frontier, 4.9, 9) == [contact(2)]
    assert take(frontier, 5.0, 9) == [contact(1)]
    assert frontier.next_due() is None


def test_deferred_contacts_come_back_in_the_order_of_their_times():
    frontier = filled(1, 2, 3)
    for until in (7.0, 5.0, 7.0):
        frontier.defer(frontier.take(0.0, 1)[0][0], until)
    assert take(frontier, 9.0, 3) == [contact(2), contact(1), contact(3)]


def test_contacts_wait_while_queued_or_deferred():
    frontier = filled(1)
    stages = [frontier.has_waiting]
    ((number, _),) = frontier.take(0.0, 1)
    stages.append(frontier.has_waiting)
    frontier.defer(number, 1.0)
    stages.append(frontier.has_waiting)
    frontier.take(1.0, 1)
    assert [*stages, frontier.has_waiting] == [True, False, True, False]


@pytest.mark.parametrize(
    ("times_named", "state", "again"),
    [(1, UNRESPONSIVE, 0), (2, UNRESPONSIVE, 1), (5, UNRESPONSIVE, 1), (2, ANSWERED, 0), (2, FAILED, 0)],
)
def test_unresponsive_endpoint_that_two_returned_gets_a_second_visit(times_named, state, again):
    """One that only one node named may never have been there; one that answered is done."""
    frontier = filled(*[1] * times_named)
    ((number, _),) = frontier.take(0.0, 1)
    assert frontier.finish([number], [state]) == [times_named]
    assert frontier.requeue_unresponsive() == again
    assert take(frontier) == [contact(1)] * again


def test_there_is_no_third_visit():
    frontier = filled(1, 1)
    for _ in range(2):
        ((number, _),) = frontier.take(0.0, 1)
        frontier.finish([number], [UNRESPONSIVE])
        frontier.requeue_unresponsive()
    assert not frontier.has_waiting
    assert frontier.statistics() == FrontierStatistics(1, 0, 0, 1, 0)


def test_end_of_every_endpoint_is_known():
    """An estimate of what a crawl has missed needs in-degrees and outcomes."""
    frontier = filled(1, 2, 3, 4)
    add(frontier, *3 * [contact(1)], half=HALVES[1])
    frontier.add(contact(5))
    for _ in range(9):
        add(frontier, contact(2))
        add(frontier, contact(2), half=NO_HALF)
    frontier.take(0.0, 4)
    frontier.finish(range(4), [ANSWERED, UNRESPONSIVE, FAILED, ANSWERED])

    assert frontier.answered.tolist() == [0, 3]
    assert frontier.sightings() == {
        (ANSWERED, 4, (True, True), False): 1,
        (ANSWERED, 1, (True, False), False): 1,
        (UNRESPONSIVE, 5, (True, False), False): 1,
        (FAILED, 1, (True, False), False): 1,
        (WAITING, 0, (False, False), False): 1,
    }


def crawl_at_random(frontier, random, family, steps):
    """Do what a crawl does to a frontier, in any order, and return its journals."""
    in_flight, journals = [], []
    for _ in range(steps):
        match random.randrange(6):
            case 0 | 1:
                host = HOST if family is IPV4 else HOST6
                named = [contact(random.randrange(40), host=host) for _ in range(3)]
                add(frontier, *named, half=random.choice([NO_HALF, *HALVES]))
            case 2 if taken := frontier.take(0.0, 2):
                in_flight += taken
            case 3 | 4 if in_flight:
                frontier.finish([in_flight.pop(0)[0]], [random.choice([UNRESPONSIVE, ANSWERED, FAILED])])
            case 5 if random.random() < 0.2:
                journals.append(frontier.take_journal())
            case _ if not (frontier.has_waiting or in_flight):
                frontier.requeue_unresponsive()
    journals.append(frontier.take_journal())
    return journals, in_flight


def visit_all(frontier):
    """Let all nodes still to be visited time out, and return the visits."""
    visits = []
    while frontier.has_waiting or frontier.requeue_unresponsive():
        ((number, taken),) = frontier.take(0.0, 1)
        visits.append(taken)
        frontier.finish([number], [UNRESPONSIVE])
    return visits


@given(seed=st.integers(0, 2**32), steps=st.integers(0, 150), family=st.sampled_from([IPV4, IPV6]))
def test_frontier_is_made_again_from_its_journals(seed, steps, family):
    """A crawl that was killed goes on: the same endpoints are due, and no others; none is asked again."""
    random = Random(seed)
    before, after = new_frontier(family=family), new_frontier(family=family)
    journals, in_flight = crawl_at_random(before, random, family, steps)
    after.restore(journals)
    assert after.sightings() == before.sightings()
    assert after.statistics().sighted == before.statistics().sighted
    assert after.statistics().answered == before.statistics().answered
    assert after.take_journal() == (b"", b"")
    for number, _ in in_flight:
        before.defer(number, 0.0)
    assert sorted(visit_all(after)) == sorted(visit_all(before))


@given(seed=st.integers(0, 2**32), max_endpoints=st.integers(1, 40))
def test_random_crawl_visits_all_and_loses_nothing(seed, max_endpoints):
    """Counts balance at every step; at the end each endpoint was visited once, or twice if silent."""
    random, frontier = Random(seed), new_frontier(max_endpoints)
    added, visits, times_named, in_flight, now = {}, {}, Counter(), [], 0.0

    def name_one():
        named = contact(random.randrange(30), node_id=random.randrange(3))
        is_new = add(frontier, named, half=random.choice(HALVES))
        assert is_new == (named[20:] not in added and len(added) < max_endpoints)
        if is_new:
            added[named[20:]] = named
        times_named[named[20:]] += named[20:] in added

    def take_one():
        for taken in frontier.take(now, 1):
            assert added[taken[1][20:]] == taken[1]
            in_flight.append(taken)

    def finish_one():
        number, named = in_flight.pop(random.randrange(len(in_flight)))
        visits.setdefault(named[20:], []).append(random.choice([UNRESPONSIVE, ANSWERED]))
        (count,) = frontier.finish([number], [visits[named[20:]][-1]])
        assert count == min(5, times_named[named[20:]])

    def check():
        counts = frontier.statistics()
        assert counts.sighted == len(added) == counts.queued + counts.in_flight + counts.finished
        assert counts.in_flight == len(in_flight)

    for _ in range(150):
        now += 0.1
        match random.randrange(4):
            case 0:
                name_one()
            case 1:
                take_one()
            case 2 if in_flight:
                finish_one()
            case 3 if in_flight and random.random() < 0.3:
                frontier.defer(in_flight.pop()[0], now + random.random())
        check()
    while in_flight or frontier.has_waiting or frontier.requeue_unresponsive():
        now += 1.0
        take_one()
        while in_flight:
            finish_one()
        check()

    assert visits.keys() == added.keys()
    for endpoint, ends in visits.items():
        is_due = ends[0] == UNRESPONSIVE and times_named[endpoint] >= 2
        assert len(ends) == 1 + is_due


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 12_000), family=st.sampled_from([IPV4, IPV6]))
def test_table_finds_each_endpoint_by_the_number_that_it_got(seed, count, family):
    """Also beyond the size at which its index and its arrays grow."""
    random = Random(seed)
    hosts = list({random.randbytes(family.address_bytes) for _ in range(count)})
    contacts = rows([bytes(20) + host for host in hosts])
    table = ContactTable(family.contact_bytes, random)
    keys = table.keys(contacts)
    assert table.find(keys).max() == -1
    half = len(hosts) // 2
    for part in (slice(0, half), slice(half, None)):
        table.add(contacts[part], keys[part])

    assert table.find(keys).tolist() == list(range(len(hosts)))
    assert table.compact(np.arange(len(hosts))) == contacts.tobytes()
    assert table.since(half) == contacts[half:].tobytes()
    others = rows([bytes(20) + random.randbytes(family.address_bytes) for _ in range(50)])
    assert max(table.find(table.keys(others))) == -1


def test_groups_and_ranks():
    assert group_starts(np.array([4, 4, 5, 7, 7])).tolist() == [0, 2, 3]
    assert rank_in_group(np.array([7, 4, 7, 7, 4, 5])).tolist() == [0, 0, 1, 2, 1, 0]
    assert rank_in_group(np.array([], np.int64)).tolist() == []
