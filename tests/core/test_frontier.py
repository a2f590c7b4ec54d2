"""The frontier: every endpoint is visited once, silent ones that others named a second time."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.contact_queue import CHUNK_CONTACTS, ContactQueue
from crawler.core.frontier import (
    ANSWERED,
    FAILED,
    NO_HALF,
    UNRESPONSIVE,
    WAITING,
    Frontier,
    FrontierStatistics,
)
from dhtnode import Family, Scope
from dhtnode.krpc import CompactContacts

IPV4 = CompactContacts(Family.IPV4, Scope.PUBLIC)
IPV6 = CompactContacts(Family.IPV6, Scope.PUBLIC)
HOST = 0xC0000201  # 192.0.2.1


def contact(number, *, node_id=None, host=HOST):
    named = number if node_id is None else node_id
    return named.to_bytes(20, "big"), host << 16 | 1000 + number


def new_frontier(max_endpoints=100, *, compact=IPV4, counts_hosts=False):
    return Frontier(compact, max_endpoints, counts_hosts=counts_hosts)


def filled(*numbers, half=0, **options):
    frontier = new_frontier(**options)
    for number in numbers:
        frontier.add_returned([contact(number)], half, set())
    return frontier


def test_contacts_are_taken_in_the_order_in_which_they_came():
    frontier = filled(1, 2, 3)
    assert [frontier.take_next(0.0) for _ in range(4)] == [contact(1), contact(2), contact(3), None]


@pytest.mark.parametrize("again", [contact(1), contact(1, node_id=9)], ids=["same id", "another id"])
def test_endpoint_named_again_is_counted_and_not_queued(again):
    frontier = filled(1)

    assert frontier.add_returned([again], 0, set()) == 0

    assert frontier.referrers(contact(1)[1]) == 2
    assert frontier.statistics() == FrontierStatistics(1, 1, 0, 0, 0)
    assert frontier.take_next(0.0) == contact(1)
    assert frontier.take_next(0.0) is None


def test_endpoints_beyond_the_bound_are_counted_and_dropped():
    """Memory is bounded; endpoints that are known already are not affected."""
    frontier = filled(1, 2, max_endpoints=2)
    assert frontier.add_returned([contact(3), contact(1)], 0, set()) == 0
    assert frontier.statistics() == FrontierStatistics(2, 2, 0, 0, 1)
    assert frontier.referrers(contact(1)[1]) == 2


def test_ports_of_one_host_are_bounded():
    """A host that answers on 65,535 ports does not keep a crawl for a day; the next host is not affected."""
    frontier = filled(*range(70), counts_hosts=True)
    assert frontier.statistics() == FrontierStatistics(64, 64, 0, 0, 6)
    assert frontier.add(*contact(50, host=HOST + 1)) is True


def test_deferred_contact_comes_back_when_it_is_due():
    frontier = filled(1, 2)
    frontier.take_next(0.0)
    frontier.defer(*contact(1), 5.0)

    assert frontier.next_due() == 5.0
    assert frontier.take_next(4.9) == contact(2)
    assert frontier.take_next(4.9) is None
    assert frontier.take_next(5.0) == contact(1)
    assert frontier.next_due() is None


def test_deferred_contacts_come_back_in_the_order_of_their_times():
    frontier = filled(1, 2, 3)
    for number, until in ((1, 7.0), (2, 5.0), (3, 7.0)):
        frontier.take_next(0.0)
        frontier.defer(*contact(number), until)
    assert [frontier.take_next(9.0) for _ in range(3)] == [contact(2), contact(1), contact(3)]


def test_contacts_wait_while_queued_or_deferred():
    frontier = filled(1)
    stages = [frontier.has_waiting]
    frontier.take_next(0.0)
    stages.append(frontier.has_waiting)
    frontier.defer(*contact(1), 1.0)
    stages.append(frontier.has_waiting)
    frontier.take_next(1.0)

    assert [*stages, frontier.has_waiting] == [True, False, True, False]


@pytest.mark.parametrize(
    ("times_named", "state", "again"),
    [(1, UNRESPONSIVE, 0), (2, UNRESPONSIVE, 1), (5, UNRESPONSIVE, 1), (2, ANSWERED, 0), (2, FAILED, 0)],
)
def test_silent_endpoint_that_two_named_gets_a_second_visit(times_named, state, again):
    """One that only one node named may never have been there; one that answered is done."""
    frontier = filled(*[1] * times_named)
    frontier.take_next(0.0)
    frontier.finish(*contact(1), state)

    assert frontier.requeue_unresponsive() == again
    assert frontier.take_next(0.0) == (contact(1) if again else None)


def test_there_is_no_third_visit():
    frontier = filled(1, 1)
    for _ in range(2):
        frontier.take_next(0.0)
        frontier.finish(*contact(1), UNRESPONSIVE)
        frontier.requeue_unresponsive()

    assert not frontier.has_waiting
    assert frontier.statistics() == FrontierStatistics(1, 0, 0, 1, 0)


def test_end_of_every_endpoint_is_known():
    """Who estimates what a crawl has missed needs to know who named whom, and how it ended."""
    frontier = filled(1, 2, 3, 4, half=0)
    for _ in range(3):
        frontier.add_returned([contact(1)], 1, set())
    frontier.add(*contact(5))
    for _ in range(9):
        frontier.add_returned([contact(2)], 0, set())
        frontier.add_returned([contact(2)], NO_HALF, set())
    for number, state in ((1, ANSWERED), (2, UNRESPONSIVE), (3, FAILED), (4, ANSWERED)):
        frontier.take_next(0.0)
        frontier.finish(*contact(number), state)

    assert frontier.sightings() == {
        (ANSWERED, 4, (True, True), False): 1,
        (ANSWERED, 1, (True, False), False): 1,
        (UNRESPONSIVE, 5, (True, False), False): 1,
        (FAILED, 1, (True, False), False): 1,
        (WAITING, 0, (False, False), False): 1,
    }


def test_node_counts_once_for_each_contact_it_names():
    frontier, named = new_frontier(), set()
    assert frontier.add_returned([contact(1), contact(2), contact(1)], 0, named) == 2
    assert frontier.add_returned([contact(2), contact(3)], 0, named) == 1
    assert [frontier.referrers(contact(number)[1]) for number in (1, 2, 3)] == [1, 1, 1]


def crawl_at_random(frontier, random, compact, steps):
    """Do what a crawl does to a frontier, in any order, and return its journals."""
    in_flight, journals = [], []
    for _ in range(steps):
        match random.randrange(6):
            case 0 | 1:
                host = HOST if compact is IPV4 else 0x2A << 120 | 1
                named = contact(random.randrange(40), host=host)
                frontier.add_returned([named], random.choice([NO_HALF, 0, 1]), set())
            case 2 if (taken := frontier.take_next(0.0)) is not None:
                in_flight.append(taken)
            case 3 | 4 if in_flight:
                frontier.finish(*in_flight.pop(0), random.choice([UNRESPONSIVE, ANSWERED, FAILED]))
            case 5 if random.random() < 0.2:
                journals.append(frontier.take_journal())
            case _ if not (frontier.has_waiting or in_flight):
                frontier.requeue_unresponsive()
    journals.append(frontier.take_journal())
    return journals, in_flight


def visit_all(frontier):
    """Let everybody stay silent who is still to be visited, and return the visits."""
    visits = []
    while frontier.has_waiting or frontier.requeue_unresponsive():
        taken = frontier.take_next(0.0)
        assert taken is not None
        visits.append(taken)
        frontier.finish(*taken, UNRESPONSIVE)
    return visits


@given(seed=st.integers(0, 2**32), steps=st.integers(0, 150), compact=st.sampled_from([IPV4, IPV6]))
def test_frontier_is_made_again_from_its_journals(seed, steps, compact):
    """A crawl that was killed goes on: the same endpoints are due, and no others; none is asked again."""
    random = Random(seed)
    before, after = new_frontier(compact=compact), new_frontier(compact=compact)
    journals, in_flight = crawl_at_random(before, random, compact, steps)

    after.restore(journals)

    assert after.sightings() == before.sightings()
    assert after.statistics().sighted == before.statistics().sighted
    assert after.take_journal() == (b"", b"")
    for taken in in_flight:
        before.defer(*taken, 0.0)
    assert sorted(visit_all(after)) == sorted(visit_all(before))


@given(seed=st.integers(0, 2**32), max_endpoints=st.integers(1, 40))
def test_random_crawl_visits_all_and_loses_nothing(seed, max_endpoints):
    """Counts balance at every step; at the end each endpoint was visited once, or twice if silent."""
    random = Random(seed)
    frontier = new_frontier(max_endpoints)
    added: dict[int, bytes] = {}
    visits: dict[int, list[int]] = {}
    in_flight: list[tuple[bytes, int]] = []
    now = 0.0

    def name_one():
        node_id, endpoint = contact(random.randrange(30), node_id=random.randrange(3))
        is_new = frontier.add_returned([(node_id, endpoint)], random.randrange(2), set())
        assert is_new == (endpoint not in added and len(added) < max_endpoints)
        if is_new:
            added[endpoint] = node_id

    def take_one():
        taken = frontier.take_next(now)
        if taken is not None:
            assert added[taken[1]] == taken[0]
            in_flight.append(taken)

    def finish_one():
        node_id, endpoint = in_flight.pop(random.randrange(len(in_flight)))
        visits.setdefault(endpoint, []).append(random.choice([UNRESPONSIVE, ANSWERED]))
        frontier.finish(node_id, endpoint, visits[endpoint][-1])

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
                frontier.defer(*in_flight.pop(), now + random.random())
        check()
    while in_flight or frontier.has_waiting or frontier.requeue_unresponsive():
        now += 1.0
        take_one()
        while in_flight:
            finish_one()
        check()

    assert visits.keys() == added.keys()
    for endpoint, ends in visits.items():
        assert len(ends) == 1 + (ends[0] == UNRESPONSIVE and frontier.referrers(endpoint) >= 2)


@given(st.lists(st.booleans(), max_size=300))
def test_queue_hands_out_in_order_whatever_its_length(pushes):
    queue, expected, number = ContactQueue(2), [], 0
    for is_push in pushes:
        if is_push or not expected:
            for _ in range(CHUNK_CONTACTS // 3):
                number += 1
                expected.append(number.to_bytes(4, "big")[2:])
                queue.push(expected[-1])
        else:
            for _ in range(CHUNK_CONTACTS // 4):
                if expected:
                    assert queue.pop() == expected.pop(0)
        assert len(queue) == len(expected)

    assert list(queue.drain()) == expected
    assert len(queue) == 0
