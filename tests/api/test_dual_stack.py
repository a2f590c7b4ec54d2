"""How long one family waits for another: not at all for silence, a while for answers, never for ever."""

import math

import pytest
import trio

from dhtnode.api.dual_stack import ANSWERING_GRACE, SILENT_GRACE, lookup_in_all_families


class Answering:
    """A socket node and its lookup at once: it answers at given times, and ends at another."""

    def __init__(self, *answers, end=math.inf):
        self.answers = {}
        self.ended_at = None
        self._times = answers
        self._end = end

    def new_lookup(self, _target, _method, on_answer):
        """Return itself; the answers go to `on_answer`."""
        self._on_answer = on_answer
        return self

    async def run(self, _lookup):
        try:
            for time in self._times:
                await trio.sleep_until(time)
                self.answers[time] = time
                self._on_answer(time)
            await trio.sleep_until(self._end)
        finally:
            self.ended_at = trio.current_time()

    def closest_answers(self):
        return list(self.answers)


FOUND = (0.5, 0.8)
HALVES = [number + 0.5 for number in range(100)]


@pytest.mark.parametrize(
    ("other", "ends_at", "found"),
    [
        (Answering(), 1.0 + SILENT_GRACE, []),  # no node there
        (Answering(end=0.1), 1.0, []),  # no socket could even send
        (Answering(0.9, end=4.0), 4.0, [0.9]),
        (Answering(2.9, end=10.0), 10.0, [2.9]),  # the first answer comes just in time
        (Answering(3.1, end=10.0), 1.0 + SILENT_GRACE, []),
        (Answering(*HALVES), 1.0 + ANSWERING_GRACE, HALVES[:16]),  # without end
        (Answering(0.2, end=0.4), 1.0, [0.2]),  # this one does not wait for long either
    ],
)
async def test_late_peer_has_little_time_left(autojump_clock, other, ends_at, found):
    first = Answering(*FOUND, end=1.0)
    walks = await lookup_in_all_families([other, first], b"target", None)
    assert trio.current_time() == pytest.approx(ends_at)
    assert [walk.socket for walk in walks] == [other, first]
    assert [walk.closest_answers() for walk in walks] == [found, list(FOUND)]


async def test_lookup_that_ends_without_an_answer_hastens_no_other(autojump_clock):
    dead, slow = Answering(end=0.1), Answering(20.0, end=30.0)
    walks = await lookup_in_all_families([dead, slow], b"target", None)
    assert trio.current_time() == 30.0
    assert [walk.closest_answers() for walk in walks] == [[], [20.0]]


async def test_answers_are_told_as_they_come(autojump_clock):
    one, other = Answering(0.5, end=5.0), Answering(0.25, 0.75, end=6.0)
    told = []
    await lookup_in_all_families(
        [one, other],
        b"target",
        None,
        lambda endpoint, answer: told.append((endpoint, answer, trio.current_time())),
    )
    assert told == [(other, 0.25, 0.25), (one, 0.5, 0.5), (other, 0.75, 0.75)]


async def test_cancellation_ends_all_walks(autojump_clock):
    walkers = [Answering(), Answering(0.5)]
    with trio.move_on_after(1.0):
        await lookup_in_all_families(walkers, b"target", None)
    assert [each.ended_at for each in walkers] == [1.0, 1.0]
