"""What each host is sent: no more than ten packets in any ten seconds, of whatever kind."""

import tracemalloc
from random import Random

import pytest

from dhtnode.net.outgoing import MAX_HOSTS, MOST_KNOWN, MOST_PACKETS, MOST_UNHEARD, OutgoingBound

HOST, OTHER = "45.66.77.88", "45.66.77.89"


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now=0.0):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def bound(clock):
    return OutgoingBound(clock)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("is_heard", [False, True])
def test_no_host_is_sent_more_in_any_ten_seconds(clock, bound, seed, is_heard):
    """Whenever one tries: all at once, evenly, and after pauses of any length."""
    random, times = Random(seed), []
    for _ in range(3000):
        clock.now += (
            random.choice((0.0, 0.01, 0.3, 1.0, 5.0, 9.99, 10.0, 11.0, 11.001, 30.0)) * random.random()
        )
        if is_heard:
            bound.hear([HOST])
        if bound.admit(HOST):
            times.append(clock.now)
    most = MOST_PACKETS if is_heard else MOST_UNHEARD
    assert all(late - early > 10.0 for early, late in zip(times, times[most:], strict=False))
    assert len(times) > 500
    assert bound.refused == 3000 - len(times)


def test_hosts_do_not_stand_for_each_other_and_ports_do_not_matter(bound):
    assert bound.refuse([HOST] * 4 + [OTHER] * 2) == [2, 3]
    bound.hear([OTHER])
    assert bound.refuse([OTHER] * 9 + [HOST]) == [8, 9]


def test_host_over_ipv6_is_a_64(bound):
    addresses = [f"2a00:1:2:3::{number:x}" for number in range(1, 6)]
    assert bound.refuse(addresses) == [2, 3, 4]
    assert bound.refuse(["2a00:1:2:4::1", "2a00:1:2:3:ffff::"]) == [1]


def test_connection_counts_for_what_it_sends(clock, bound):
    assert bound.admit_connection(HOST, 9)
    assert not bound.admit_connection(HOST, 9)
    assert not bound.admit(HOST)
    bound.hear([HOST])
    assert bound.admit(HOST)
    assert not bound.admit(HOST)
    clock.now += bound.seconds_left()
    assert not bound.admit_connection(HOST, 9)
    clock.now += bound.seconds_left()
    assert bound.admit_connection(HOST, 9)


def test_what_did_not_leave_does_not_count(bound):
    assert bound.refuse([HOST] * 2) == []
    bound.take_back([HOST])
    assert bound.refuse([HOST] * 2) == [1]


def test_word_of_a_host_is_forgotten_after_two_turns(clock, bound):
    bound.admit(HOST)
    bound.hear([HOST])
    assert bound.has_heard(HOST)
    clock.now = 25.0
    assert bound.refuse([HOST] * 3) == [2]
    assert not bound.has_heard(HOST)


def test_host_that_answered_before_may_be_sent_some_more_while_it_is_silent(bound):
    """Packets get lost; and none of them is more than the host may be sent in all."""
    assert [bound.admit(HOST, MOST_KNOWN) for _ in range(7)] == [True] * 5 + [False] * 2
    assert not bound.admit(HOST)


def test_hosts_that_were_sent_nothing_are_not_remembered(bound):
    """On loopback nothing is counted, and a crawl of a million nodes hears from each."""
    tracemalloc.start()
    for number in range(20_000):
        bound.hear([f"127.0.{number >> 8}.{number & 255}"])
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 100_000


def test_memory_is_bounded_and_what_does_not_fit_is_not_sent(clock, bound):
    hosts = [f"45.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(MAX_HOSTS + 3)]
    assert bound.refuse(hosts) == [MAX_HOSTS, MAX_HOSTS + 1, MAX_HOSTS + 2]
    assert bound.refuse(hosts[:1]) == []
    clock.now += bound.seconds_left()
    assert bound.refuse(hosts[-3:]) == []
