"""The frontier: every endpoint is visited once, silent ones that others named a second time."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.frontier import Frontier, FrontierStatistics
from dhtnode import Address, Contact, NodeId


def contact(number: int, *, node_id: int | None = None) -> Contact:
    named = number if node_id is None else node_id
    return Contact(NodeId(named.to_bytes(20, "big")), Address("192.0.2.1", 1000 + number))


def filled(*numbers: int, max_endpoints: int = 100) -> Frontier:
    frontier = Frontier(max_endpoints)
    for number in numbers:
        frontier.add(contact(number))
    return frontier


def test_contacts_are_taken_in_the_order_in_which_they_came():
    """First named, first visited; then there is nothing to take."""
    frontier = filled(1, 2, 3)

    assert [frontier.take_next(0.0) for _ in range(4)] == [contact(1), contact(2), contact(3), None]


@pytest.mark.parametrize(
    ("again", "aliases"),
    [(contact(1), 0), (contact(1, node_id=9), 1)],
    ids=["same id", "another id"],
)
def test_endpoint_named_again_is_counted_and_not_queued(again, aliases):
    """One endpoint gets one visit, whatever ids it is named under."""
    frontier = filled(1)

    assert frontier.add(again) is False

    assert frontier.referrers(contact(1).address) == 2
    assert frontier.statistics() == FrontierStatistics(1, 1, 0, 0, aliases, 0)
    assert frontier.take_next(0.0) == contact(1)
    assert frontier.take_next(0.0) is None


def test_endpoints_beyond_the_bound_are_counted_and_dropped():
    """Memory is bounded; endpoints that are known already are not affected."""
    frontier = filled(1, 2, max_endpoints=2)

    assert frontier.add(contact(3)) is False
    assert frontier.add(contact(1)) is False

    assert frontier.statistics() == FrontierStatistics(2, 2, 0, 0, 0, 1)
    assert frontier.referrers(contact(1).address) == 2


def test_deferred_contact_comes_back_when_it_is_due():
    """Not before its time, and then ahead of those that wait anyway."""
    frontier = filled(1, 2)
    frontier.take_next(0.0)
    frontier.defer(contact(1).address, 5.0)

    assert frontier.next_due() == 5.0
    assert frontier.take_next(4.9) == contact(2)
    assert frontier.take_next(4.9) is None
    assert frontier.take_next(5.0) == contact(1)
    assert frontier.next_due() is None


def test_deferred_contacts_come_back_in_the_order_of_their_times():
    """The earliest first, and of two with one time the one that was deferred first."""
    frontier = filled(1, 2, 3)
    for number, until in ((1, 7.0), (2, 5.0), (3, 7.0)):
        frontier.take_next(0.0)
        frontier.defer(contact(number).address, until)

    assert [frontier.take_next(9.0) for _ in range(3)] == [contact(2), contact(1), contact(3)]


def test_crawl_is_over_when_nothing_waits_and_nothing_is_in_flight():
    """Queued, in flight and deferred endpoints each keep it going."""
    frontier = filled(1)
    stages = [frontier.is_exhausted]
    frontier.take_next(0.0)
    stages.append(frontier.is_exhausted)
    frontier.defer(contact(1).address, 1.0)
    stages.append(frontier.is_exhausted)
    frontier.take_next(1.0)
    frontier.settle(contact(1).address, answered=True)

    assert [*stages, frontier.is_exhausted] == [False, False, False, True]


@pytest.mark.parametrize(
    ("times_named", "answered", "again"),
    [(1, False, 0), (2, False, 1), (3, False, 1), (2, True, 0)],
)
def test_silent_endpoint_that_two_named_gets_a_second_visit(times_named, answered, again):
    """One that only one node named may never have been there; one that answered is done."""
    frontier = filled(*[1] * times_named)
    frontier.take_next(0.0)
    frontier.settle(contact(1).address, answered=answered)

    assert frontier.start_second_pass() == again
    assert frontier.take_next(0.0) == (contact(1) if again else None)


def test_there_is_no_third_visit():
    """A second pass is started once in the life of a crawl."""
    frontier = filled(1, 1)
    frontier.take_next(0.0)
    frontier.settle(contact(1).address, answered=False)
    frontier.start_second_pass()
    frontier.take_next(0.0)
    frontier.settle(contact(1).address, answered=False)

    assert frontier.start_second_pass() == 0
    assert frontier.is_exhausted
    assert frontier.statistics() == FrontierStatistics(1, 0, 0, 1, 0, 0)


@given(seed=st.integers(0, 2**32), max_endpoints=st.integers(1, 40))
def test_random_crawl_visits_all_and_loses_nothing(seed, max_endpoints):
    """Counts balance at every step; at the end each endpoint was visited once, or twice if silent."""
    random = Random(seed)
    frontier = Frontier(max_endpoints)
    added: dict[Address, Contact] = {}
    visits: dict[Address, list[bool]] = {}
    in_flight: list[Contact] = []
    now, named = 0.0, 0

    def name_one():
        nonlocal named
        named += 1
        new = contact(random.randrange(30), node_id=random.randrange(3))
        is_new = frontier.add(new)
        assert is_new == (new.address not in added and len(added) < max_endpoints)
        if is_new:
            added[new.address] = new

    def take_one():
        taken = frontier.take_next(now)
        if taken is not None:
            assert added[taken.address] == taken
            in_flight.append(taken)

    def settle_one():
        address = in_flight.pop(random.randrange(len(in_flight))).address
        visits.setdefault(address, []).append(random.random() < 0.5)
        frontier.settle(address, answered=visits[address][-1])

    def check():
        counts = frontier.statistics()
        assert counts.sighted == len(added) == counts.queued + counts.in_flight + counts.settled
        assert counts.in_flight == frontier.in_flight == len(in_flight)
        assert sum(frontier.referrers(address) for address in added) == named - counts.dropped

    for _ in range(150):
        now += 0.1
        match random.randrange(4):
            case 0:
                name_one()
            case 1:
                take_one()
            case 2 if in_flight:
                settle_one()
            case 3 if in_flight and random.random() < 0.3:
                frontier.defer(in_flight.pop().address, now + random.random())
        check()
    while not frontier.is_exhausted or frontier.start_second_pass():
        now += 1.0
        take_one()
        while in_flight:
            settle_one()
        check()

    assert visits.keys() == added.keys()
    for address, answers in visits.items():
        is_due_again = not answers[0] and frontier.referrers(address) >= 2
        assert len(answers) == 1 + is_due_again
