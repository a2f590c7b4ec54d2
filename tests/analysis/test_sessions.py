"""Sessions from rounds of visits, held against simulated nodes whose sessions are known."""

from collections import Counter
from math import exp, gamma, inf, isnan, log, sqrt
from random import Random
from statistics import mean

import numpy as np
import pytest

from crawler.analysis.session_fit import fit_weibull, logs_by_chain
from crawler.analysis.sessions import (
    Age,
    NodeClass,
    Stay,
    ages_at,
    arrivals,
    class_of,
    created,
    fit_negative_binomial,
    mean_by_little,
    median_remaining,
    single_miss_share,
    stays_of,
    still_there,
    wilson,
)
from crawler.analysis.weibull import Weibull

HOUR = 3600.0
TIMES = [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]


def simulate(law, rounds, spacing, arrivals_per_hour, seed, miss=0.0):
    """Return in which rounds each of many nodes answered; each comes once, from long before the first."""
    random, found, moment = Random(seed), [], -60 * law.mean
    while moment < rounds * spacing:
        moment += random.expovariate(arrivals_per_hour / HOUR)
        end = moment + random.weibullvariate(law.scale, law.shape)
        first, last = max(0, -int(-moment // spacing)), min(rounds - 1, int(end // spacing))
        answered = [number for number in range(first, last + 1) if random.random() >= miss]
        if answered:
            found.append(answered)
    return found


@pytest.mark.parametrize(
    ("answered", "misses", "expected"),
    [
        ([], 1, []),
        ([0, 1, 2, 3, 4, 5], 1, [Stay(None, 0.0, 50.0, None)]),
        ([2, 3], 1, [Stay(10.0, 20.0, 30.0, 40.0)]),
        (
            [0, 2, 5],
            1,
            [Stay(None, 0.0, 0.0, 10.0), Stay(10.0, 20.0, 20.0, 30.0), Stay(40.0, 50.0, 50.0, None)],
        ),
        ([0, 2, 5], 2, [Stay(None, 0.0, 20.0, 30.0), Stay(40.0, 50.0, 50.0, None)]),
        ([1, 3], 2, [Stay(None, 10.0, 30.0, 40.0)]),
        ([2, 4], 2, [Stay(10.0, 20.0, 40.0, None)]),
        ([0, 3], 3, [Stay(None, 0.0, 30.0, None)]),
    ],
)
def test_misses_in_a_row_end_a_session(answered, misses, expected):
    """And what only one round of two tells is left open."""
    assert stays_of(answered, TIMES, misses) == expected


def test_no_misses_end_no_session():
    with pytest.raises(ValueError, match="0 misses"):
        stays_of([1], TIMES, 0)


@pytest.mark.parametrize(
    ("answered", "expected"),
    [
        ([], NodeClass.OFFLINE),
        ([2, 3], NodeClass.ONE_OFF),
        ([0, 1, 2, 3, 4, 5], NodeClass.ONLINE),
        ([0, 1], NodeClass.LEFT),
        ([4, 5], NodeClass.ENTERED),
        ([0, 3], NodeClass.DANGLING),
    ],
)
def test_nodes_have_classes(answered, expected):
    assert class_of(stays_of(answered, TIMES)) == expected


def test_wilson_intervals_are_those_of_the_literature():
    """Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    with pytest.raises(ValueError, match="0 of 0"):
        wilson(0, 0)


def test_seen_shares_are_those_of_the_law():
    """An exponential law, where all integrals are known, and its spacing by hand."""
    law = Weibull(100.0, 1.0)
    assert law.mean == pytest.approx(100.0)
    assert law.survival(50.0) == pytest.approx(exp(-0.5))
    assert law.uptime_tail(50.0) == pytest.approx(exp(-0.5))
    assert law.seen_share(50.0) == pytest.approx((1 - exp(-0.5)) / 0.5)
    assert law.still_there(70.0, 50.0) == pytest.approx(exp(-0.7))


@pytest.mark.parametrize("shape", [0.5, 1.0, 1.8])
def test_visits_see_what_the_law_says(shape):
    law = Weibull(2 * HOUR / gamma(1 + 1 / shape), shape)
    rounds, spacing = 49, HOUR / 2
    times = [number * spacing for number in range(rounds)]
    found = simulate(law, rounds, spacing, 200, seed=1)
    stays = [stay for each in found for stay in stays_of(each, times)]

    begun = created(stays, times)
    assert len(begun) == pytest.approx(200 * 12 * law.seen_share(spacing), rel=0.08)
    points = still_there(begun, times)
    assert [point.time for point in points] == times[:25]
    for point in points:
        expected = law.still_there(point.time, spacing)
        # Four standard errors; a point is a share of some 1500 to 2400.
        assert abs(point.share - expected) <= 4 * sqrt(expected * (1 - expected) / len(begun)) + 1e-12
        assert point.low <= point.share <= point.high
    ages = ages_at(stays, times[24])
    for time in (HOUR, 3 * HOUR, 6 * HOUR):
        expected = law.uptime_tail(time)
        share = mean(age.elapsed > time for age in ages)
        assert abs(share - expected) <= 4 * sqrt(0.25 / len(ages)) + spacing / law.mean / 20
    present = [sum(stay.first <= time <= stay.last for stay in stays) for time in times]
    little = mean_by_little(present, arrivals(stays, times), spacing, law.seen_share(spacing))
    assert little == pytest.approx(2 * HOUR, rel=0.1)


def simulate_returning(law, rounds, spacing, present, seed, miss):
    """Return the same of nodes that come back four times in five, after twice as long on average."""
    random, found = Random(seed), []
    for _ in range(3 * present):
        moment, answered = -60 * law.mean + random.random() * 3 * law.mean, []
        while moment < rounds * spacing:
            end = moment + random.weibullvariate(law.scale, law.shape)
            inside = range(max(0, -int(-moment // spacing)), min(rounds - 1, int(end // spacing)) + 1)
            answered += [number for number in inside if random.random() >= miss]
            moment = end + random.expovariate(0.5 / law.mean)
        if answered:
            found.append(answered)
    return found


@pytest.mark.slow
def test_fit_finds_the_law_and_says_how_well():
    """Some 4 s, and so long because each window is an optimization; a tenth of all visits fails."""
    law = Weibull(2 * HOUR / gamma(1 + 1 / 0.6), 0.6)
    spacing, held, ratios = HOUR / 2, Counter(), []
    times = [number * spacing for number in range(37)]
    for seed in range(6):
        fit = fit_weibull(simulate(law, 37, spacing, 8, seed, miss=0.1), times)
        assert fit.shape_low < fit.law.shape < fit.shape_high
        assert fit.mean_low < fit.law.mean < fit.mean_high
        assert fit.miss_low < fit.miss_share < fit.miss_high
        held["shape"] += fit.shape_low <= law.shape <= fit.shape_high
        held["mean"] += fit.mean_low <= law.mean <= fit.mean_high
        held["miss"] += fit.miss_low <= 0.1 <= fit.miss_high
        ratios.append(fit.law.mean / law.mean)

    # Fewer than 4 of 6 at 95 % are as rare as 1 in 500.
    assert min(held.values()) >= 4
    assert mean(ratios) == pytest.approx(1, abs=0.2)


def test_lengths_taken_at_their_middle_would_mislead():
    law = Weibull(HOUR / 2, 0.6)
    times = [number * HOUR for number in range(49)]
    found = simulate(law, 49, HOUR, 15, 3)
    stays = [stay for each in found for stay in stays_of(each, times)]
    middles = [stay.midpoint for stay in stays if stay.midpoint < inf]
    fit = fit_weibull(found, times)
    assert mean(middles) > 1.5 * law.mean
    assert fit.mean_low <= law.mean <= fit.mean_high


@pytest.mark.parametrize("miss", [0.02, 0.25])
def test_misses_end_no_session(miss):
    """One miss taken for an end, or two, would make the mean less than a third of what it is."""
    law = Weibull(5 * HOUR, 1.0)
    times = [number * HOUR / 2 for number in range(41)]
    found = simulate(law, 41, HOUR / 2, 15, seed=5, miss=miss)
    fit = fit_weibull(found, times)
    assert fit.mean_low <= 5 * HOUR <= fit.mean_high < 1.8 * fit.mean_low
    assert fit.miss_low <= miss <= fit.miss_high
    assert fit.nodes == len(found)
    if miss > 0.2:
        ended = [stay.midpoint for each in found for stay in stays_of(each, times)]
        assert mean(each for each in ended if each < inf) < 5 * HOUR / 3


def test_nodes_that_come_back_have_sessions_of_their_own():
    law = Weibull(3 * HOUR / gamma(1 + 1 / 0.7), 0.7)
    times = [number * HOUR / 2 for number in range(41)]
    fit = fit_weibull(simulate_returning(law, 41, HOUR / 2, 60, 7, 0.1), times)
    assert fit.mean_low <= 3 * HOUR <= fit.mean_high
    assert fit.shape_low <= 0.7 <= fit.shape_high
    assert fit.miss_low <= 0.1 <= fit.miss_high


def test_likelihood_adds_up_all_that_may_have_happened():
    """Of sessions that are exponential, where rounds do not remember, every path is multiplied out."""
    times, answered = [0.0, 10.0, 20.0, 35.0, 45.0], [(1, 4), (1, 2), (0, 3), (2,)]
    rate, miss, back, returns = 0.03, 0.2, 0.02, 0.7
    chain = np.array(
        [-log(rate), 0.0, log(miss / (1 - miss)), log(back), log(returns / (1 - returns)), log(rate)]
    )

    def chance(state, number, rounds):
        """Return the chance of all that follows a round, by a state: there, away or gone."""
        if number == len(times) - 1:
            return 1.0
        lasts = exp(-rate * (times[number + 1] - times[number]))
        comes = 1 - exp(-back * (times[number + 1] - times[number]))
        soon = returns * (1 - exp(-back * (times[number + 1] - times[number]) / 2))
        moves = {
            "there": {
                "there": lasts + (1 - lasts) * soon,
                "away": (1 - lasts) * (returns - soon),
                "gone": (1 - lasts) * (1 - returns),
            },
            "away": {"there": comes, "away": 1 - comes},
            "gone": {"gone": 1.0},
        }
        total = 0.0
        for after, move in moves[state].items():
            seen = (
                (1 - miss if number + 1 in rounds else miss) if after == "there" else number + 1 not in rounds
            )
            total += move * seen * chance(after, number + 1, rounds)
        return total

    expected = [log(chance("there", each[0], each)) for each in answered]
    found = logs_by_chain(answered, times)(np.column_stack((chain, chain)))
    assert found.tolist() == [[pytest.approx(each)] * 2 for each in expected]


def test_too_little_is_refused():
    with pytest.raises(ValueError, match="9 beginnings and 9 ends"):
        fit_weibull([[1, 2]] * 9, TIMES)
    with pytest.raises(ValueError, match="40 beginnings and 4 ends"):
        fit_weibull([[1, 5]] * 36 + [[1, 2]] * 4, TIMES)
    with pytest.raises(ValueError, match="0 beginnings and 0 ends"):
        fit_weibull([[]], TIMES)
    assert still_there([], TIMES) == []
    assert single_miss_share([[3]]) == 0.0


def test_counts_that_vary_more_than_chance_are_negative_binomial():
    random = Random(2)
    counts = []
    for _ in range(4000):  # Poisson with a mean that is Gamma: negative binomial of size 3
        rate, count, moment = random.gammavariate(3, 2), 0, random.expovariate(1)
        while moment < rate:
            count, moment = count + 1, moment + random.expovariate(1)
        counts.append(count)
    law = fit_negative_binomial(counts)

    assert (law.mean, law.size) == (pytest.approx(6, rel=0.05), pytest.approx(3, rel=0.12))
    assert sum(law.chance(count) for count in range(200)) == pytest.approx(1)
    assert sum(count * law.chance(count) for count in range(200)) == pytest.approx(law.mean)
    even = fit_negative_binomial([2, 3, 2, 3])
    assert even.size == inf
    assert even.chance(0) == pytest.approx(exp(-2.5))
    assert fit_negative_binomial([0, 0]).chance(0) == 1
    with pytest.raises(ValueError, match="one count"):
        fit_negative_binomial([4])


def test_remaining_time_is_told_by_age():
    ages = [Age(5.0, 1.0), Age(6.0, 3.0), Age(7.0, inf), Age(12.0, inf), Age(inf, 4.0)]
    (young, middle), (old, never), (none, missing) = median_remaining(ages, [0, 10, 20, 30])
    assert (young, middle, old, never, none) == (3, 3.0, 1, inf, 0)
    assert isnan(missing)
