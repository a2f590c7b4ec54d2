"""When to measure each watched swarm next: soon what changes, rarely what does not, and all within a budget.

Each swarm has an interval of its own, which follows from its last two sizes.  What differs by no more
than the noise of the estimates counts as unchanged, and the interval doubles; a real change sets the
interval to the time in which the swarm changes by `CHANGE`.  Sizes are compared as log(peers + 10), so
that one peer more or less among few counts little.

Nothing here keeps a list: which swarms are due is asked of the database, which has an index of it.
Times are seconds, on the wall clock.
"""

from collections.abc import Iterator
from dataclasses import replace
from math import sqrt
from random import Random

from crawler.db.records.watched_swarms import HOUR, MeasuredSize, WatchState
from crawler.settings import WatchSettings

CHANGE = 0.15  # of its size: after about so much of a change a swarm is measured again
SIGNIFICANT = 2.0  # standard deviations that a change has to exceed
NOISE_FLOOR = 0.03  # of its size; an interval without a width does not mean that nothing was missed
GROWTH = 2.0  # of an interval, or of the time without a change
NEWCOMER = 4.0  # shortest intervals until a new swarm is measured for the second time
EMPTIES_OF_DEAD = 3  # measurements in a row without a peer
DEAD_FACTOR = 7.0  # longest intervals after which a dead swarm is looked at again
JITTER = 0.1  # of each interval, either way
NEWCOMERS_SHARE = 0.5  # of the budget, for swarms never measured: thousands of them must not stop the others
LOAD = 0.95  # of the budget is planned with; the rest is for what fails and is tried again
LONGEST_WAIT = 10 * 365 * 86_400.0  # seconds, however far the budget stretches the intervals
MAX_BATCH = 500  # measurements that begin together, however large the budget is
CUT_OFF = 0.001  # seconds; a time in the database is up to so much earlier than it was
_BATCHES_PER_HOUR = 60


def after_sample(
    state: WatchState, size: MeasuredSize | None, now: float, settings: WatchSettings
) -> WatchState:
    """Return what is known after a measurement; `size` is None when it found nothing out."""
    if size is None:
        return replace(state, interval=_within(GROWTH * state.interval, 0, settings), failures=0)
    empties = state.empties + 1 if size.peers < 0.5 else 0
    interval = _within(_wanted(state, size, now, settings), empties, settings)
    return WatchState(interval, now, size, empties)


def after_failure(state: WatchState) -> WatchState:
    """Return what is known after no node answered, which says nothing about the swarm."""
    return replace(state, failures=state.failures + 1)


def next_time(
    state: WatchState, now: float, stretched: float, settings: WatchSettings, random: Random
) -> float:
    """Return when to measure a swarm next; after failures sooner at first, then backing off."""
    wait = state.interval
    if state.failures:
        wait = min(settings.shortest * 2.0 ** min(state.failures - 1, 30), settings.longest)
    return now + min(wait * stretched, LONGEST_WAIT) * random.uniform(1 - JITTER, 1 + JITTER)


def stretch(demand: float, budget: int) -> float:
    """Return the factor for all intervals, when all swarms ask for `demand` measurements per hour."""
    return max(1.0, demand / (LOAD * budget))


def newcomers_spread(count: int, settings: WatchSettings) -> float:
    """Return the seconds over which to spread the first measurements of `count` new swarms.

    They take half of the budget until then, and that is also the interval they begin with.
    """
    return max(settings.shortest, _time_of_newcomers(count, settings))


def first_times(count: int, now: float, settings: WatchSettings, random: Random) -> Iterator[float]:
    """Yield when to measure each of `count` new swarms; the only one of its kind, at once."""
    spread = _time_of_newcomers(count, settings)
    for _ in range(count):
        yield now + (random.random() * spread if count > 1 else 0.0)


def largest_batch(budget: int) -> int:
    """Return how many measurements may begin together: a minute's worth, at least one."""
    return min(max(1, budget // _BATCHES_PER_HOUR), MAX_BATCH)


def free_at(began_at: float, count: int, budget: int) -> float:
    """Return when the next batch may begin, after one of `count` that began at `began_at`.

    Kept to by all batches of at most `largest_batch`, no more than `budget` measurements begin within
    any hour: all but the last batch of that hour had to have their time, and the last one is as large
    as what this leaves free.
    """
    return began_at + CUT_OFF + count * HOUR / (budget - largest_batch(budget) + 1)


def _wanted(state: WatchState, size: MeasuredSize, now: float, settings: WatchSettings) -> float:
    """Return the interval that the change since the last size asks for."""
    if state.size is None or state.measured_at is None:
        return NEWCOMER * settings.shortest
    passed = max(now - state.measured_at, 1.0)
    change = abs(size.log - state.size.log)
    variance = size.noise**2 + state.size.noise**2 + NOISE_FLOOR**2
    if change <= SIGNIFICANT * sqrt(variance):
        return max(state.interval, GROWTH * passed)
    return min(passed * CHANGE / sqrt(change**2 - variance), GROWTH * state.interval)


def _time_of_newcomers(count: int, settings: WatchSettings) -> float:
    return min(count * HOUR / (NEWCOMERS_SHARE * settings.budget), LONGEST_WAIT)


def _within(interval: float, empties: int, settings: WatchSettings) -> float:
    ceiling = settings.longest * (DEAD_FACTOR if empties >= EMPTIES_OF_DEAD else 1.0)
    return min(max(interval, settings.shortest), ceiling)
