"""When swarms are measured: by how they change, against the noise, within bounds and a budget."""

from itertools import pairwise
from math import exp
from random import Random

import pytest

from crawler.db.records.watched_swarms import MeasuredSize, WatchState
from crawler.settings import WatchSettings
from crawler.swarms.schedule import (
    CHANGE,
    JITTER,
    LONGEST_WAIT,
    after_failure,
    after_sample,
    first_times,
    free_at,
    largest_batch,
    newcomers_spread,
    next_time,
    stretch,
)

HOUR = 3600.0
DAY = 24 * HOUR
SETTINGS = WatchSettings(shortest=900, longest=DAY, budget=100)


def size(peers, noise=0.05):
    return MeasuredSize(peers, peers * exp(-1.96 * noise), peers * exp(1.96 * noise))


def follow(truth_at, *, noise=0.05, seed=1, until=60 * DAY, settings=SETTINGS):
    """Measure a swarm as the schedule says, and return the courses after each measurement."""
    random, now, courses = Random(seed), 0.0, [WatchState(900.0)]
    while now < until:
        truth = truth_at(now)
        estimate = size(truth * exp(random.gauss(0, noise)), noise) if truth else MeasuredSize(0, 0, 0)
        courses.append(after_sample(courses[-1], estimate, now, settings))
        now = next_time(courses[-1], now, 1.0, settings, random)
    return courses[1:]


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3])
def test_stable_swarm_is_measured_ever_more_rarely(noise):
    """Whatever the noise, as long as the intervals tell of it: a false alarm is soon forgotten."""
    intervals = [course.interval for course in follow(lambda _: 300.0, noise=noise)]
    assert intervals[0] == 4 * 900
    assert intervals.count(DAY) > 0.8 * len(intervals)
    assert max(intervals) == DAY


@pytest.mark.parametrize("hours", [4, 12, 48])
def test_interval_follows_the_speed(hours):
    courses = follow(lambda now: 200 * exp(now / HOUR / hours), noise=0.02, until=5 * hours * HOUR)
    settled = sorted(course.interval for course in courses[4:])
    assert CHANGE * hours * HOUR / 2.5 < settled[len(settled) // 2] < CHANGE * hours * HOUR * 2.5


def test_faster_than_the_shortest_interval_is_not():
    courses = follow(lambda now: 10 * 2 ** min(now / 600, 12), until=2 * HOUR)
    assert min(course.interval for course in courses) == 900


def test_sudden_change_is_followed_at_once():
    calm = WatchState(DAY, 0.0, size(20))
    assert after_sample(calm, size(2000), DAY, SETTINGS).interval < 1.2 * HOUR


def test_few_peers_more_or_less_are_no_change():
    """From one to four: a doubling twice over, and nothing to hurry for."""
    course = WatchState(HOUR, 0.0, MeasuredSize(1, 1, 1))
    interval = after_sample(course, MeasuredSize(4, 4, 4), HOUR, SETTINGS).interval
    assert interval > 0.5 * HOUR


def test_dead_swarm_is_left_alone_longer_and_longer():
    courses = follow(lambda now: 100.0 if now < 3 * DAY else 0.0)
    last = courses[-1]
    assert last.interval == 7 * DAY
    assert last.empties > 3
    assert min(course.interval for course in courses if course.empties == 1) < 0.3 * DAY
    back = after_sample(last, size(100), last.measured_at + 7 * DAY, SETTINGS)
    assert (back.interval < DAY, back.empties) == (True, 0)


def test_swarm_is_dead_at_the_third_measurement_without_a_peer():
    empty = MeasuredSize(0, 0, 0)
    seen = [
        after_sample(WatchState(DAY, 0.0, empty, empties), empty, 9 * DAY, SETTINGS) for empties in (1, 2)
    ]
    assert [(state.interval, state.empties) for state in seen] == [(DAY, 2), (7 * DAY, 3)]


def test_measurement_soon_after_another_teaches_nothing():
    course = WatchState(HOUR, 0.0, size(100))
    assert after_sample(course, size(101), 60.0, SETTINGS).interval == HOUR


def test_measurement_that_found_nothing_out_is_no_size():
    course = WatchState(HOUR, 5.0, size(100), failures=2)
    assert after_sample(course, None, HOUR, SETTINGS) == WatchState(2 * HOUR, 5.0, size(100))


def test_clock_set_back_does_no_harm():
    course = WatchState(HOUR, 10 * HOUR, size(100))
    assert after_sample(course, size(1000), 0.0, SETTINGS).interval == SETTINGS.shortest


def test_failures_back_off_up_to_the_longest_interval():
    course, waits = WatchState(HOUR, 5.0, size(100)), []
    for _ in range(100):
        course = after_failure(course)
        waits.append(next_time(course, 0.0, 1.0, SETTINGS, Random(1)))
    assert (course.interval, course.measured_at, course.size) == (HOUR, 5.0, size(100))
    assert waits[0] == pytest.approx(900, rel=JITTER)
    assert all(1.9 < later / earlier < 2.1 for earlier, later in pairwise(waits[:6]))
    assert waits[-1] == pytest.approx(DAY, rel=JITTER)


def test_times_are_jittered_about_the_interval():
    random, course = Random(1), WatchState(HOUR)
    times = [next_time(course, 0.0, 1.0, SETTINGS, random) for _ in range(1000)]
    assert (1 - JITTER) * HOUR <= min(times) < 0.92 * HOUR
    assert 1.08 * HOUR < max(times) <= (1 + JITTER) * HOUR
    assert sum(times) / 1000 == pytest.approx(HOUR, rel=0.01)


def test_demand_beyond_the_budget_stretches_all_intervals_alike():
    assert stretch(95.0, 100) == 1.0
    assert stretch(950.0, 100) == pytest.approx(10.0)
    far = next_time(WatchState(7 * DAY), 0.0, stretch(4e6, 1), SETTINGS, Random(1))
    assert far <= LONGEST_WAIT * (1 + JITTER)


def test_new_swarms_take_half_of_the_budget():
    """A thousand of them at 100 an hour: over 20 hours, evenly."""
    times = sorted(first_times(1000, 5.0, SETTINGS, Random(1)))
    assert newcomers_spread(1000, SETTINGS) == 20 * HOUR
    assert 5.0 <= times[0] < 0.1 * HOUR
    assert 19.9 * HOUR < times[-1] < 20 * HOUR + 5
    assert abs(sum(time < 10 * HOUR for time in times) - 500) < 60
    assert list(first_times(1, 5.0, SETTINGS, Random(1))) == [5.0]
    assert list(first_times(0, 5.0, SETTINGS, Random(1))) == []


@pytest.mark.parametrize("budget", [1, 2, 59, 60, 61, 119, 120, 1200, 100_000])
def test_no_hour_has_more_than_the_budget(budget):
    """Whatever the batches are, as long as each waits for the one before it."""
    random, now, batches = Random(budget), 0.0, []
    while now < 3 * HOUR:
        batches.append((now, random.choice((1, largest_batch(budget)))))
        now = free_at(*batches[-1], budget)
    for at, _ in batches:
        assert sum(count for begun, count in batches if at <= begun < at + HOUR) <= budget
    full = [(at, count) for at, count in batches if at < HOUR]
    assert sum(count for _, count in full) > 0.96 * budget


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"shortest": 0}, "shortest: 0 is not in"),
        ({"shortest": 100, "longest": 99}, "no shorter than the shortest"),
        ({"longest": float("inf")}, "longest: inf is not in"),
        ({"budget": 0}, "budget: 0 is not in"),
    ],
)
def test_impossible_settings_are_refused(wrong, reason):
    with pytest.raises(ValueError, match=reason):
        WatchSettings(**wrong)
