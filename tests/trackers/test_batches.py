"""Batches of scrapes: the cap of each tracker is learned, and no swarm is lost, shifted or left out."""

from random import Random

import pytest

from dhtnode.trackers.batches import ScrapeQueue

SWARMS = list(range(3000))


def sweep(most, answer):
    """Ask for all swarms; return what was listed, and how many requests it took."""
    queue, found, requests = ScrapeQueue(SWARMS, most), set(), 0
    while batch := queue.next_batch():
        assert len(set(batch)) == len(batch) <= queue.most
        requests += 1
        answer(queue, batch, found)
    assert queue.is_empty
    return found, requests, queue


@pytest.mark.parametrize("cap", [1, 7, 50, 64, 69, 70])
def test_cut_answers_over_udp_lose_nothing(cap):
    def answer(queue, batch, found):
        found.update(batch[:cap])
        if len(batch) > cap:
            queue.cut(batch, cap, cap)

    found, requests, queue = sweep(70, answer)
    assert found == set(SWARMS)
    assert queue.most == cap
    best = -(-len(SWARMS) // cap)
    assert requests <= best * 1.02 + 1


@pytest.mark.parametrize("cap", [1, 10, 30, 49, 50, 100])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.3])
def test_cut_answers_over_http_lose_nothing(cap, share):
    """A tracker that leaves unknown swarms out, and what is too much."""
    random = Random(cap)
    known = {swarm for swarm in SWARMS if random.random() < share}

    def answer(queue, batch, found):
        listed = known.intersection(batch[:cap])
        found.update(listed)
        queue.take(batch, listed)

    found, requests, queue = sweep(50, answer)
    assert found == known
    assert queue.most <= min(cap, 50)
    if share == 1.0:
        assert requests <= 1.02 * -(-len(SWARMS) // min(cap, 50)) + 2
        assert queue.most == min(cap, 50)


@pytest.mark.parametrize("knows", [0, 1, 5, 300])
def test_unknown_swarms_are_asked_for_once(knows):
    """What is left out is no reason to ask for everything again."""
    known = set(Random(knows).sample(SWARMS, knows))

    def answer(queue, batch, found):
        queue.take(batch, known.intersection(batch))
        found.update(known.intersection(batch))

    found, requests, queue = sweep(50, answer)
    assert (found, queue.most, queue.has_shown_most) == (known, 50, False)
    assert requests <= 1.03 * len(SWARMS) / 50 + 1


def test_refusals_of_too_much_halve_the_batch_and_lose_nothing():
    def answer(queue, batch, found):
        if len(batch) > 13:
            assert queue.halve(batch)
        else:
            found.update(batch)
            queue.take(batch, set(batch))

    found, _, queue = sweep(50, answer)
    assert (found, queue.most) == (set(SWARMS), 12)
    assert not queue.halve([1])


def test_no_more_new_swarms_than_allowed():
    """Those that come again count for nothing: they were allowed before."""
    queue = ScrapeQueue(SWARMS, 50)
    assert queue.next_batch(20) == SWARMS[:20]
    queue.put_back(SWARMS[:20])
    assert queue.next_batch(0) == SWARMS[:20]
    assert queue.next_batch(0) == []
    assert (queue.taken, queue.is_empty) == (20, False)
