"""The law of session lengths, fitted to the rounds in which nodes answered, with the share of failed visits.

A visit to a node that is there fails with a chance q, so a miss may be an end or not.  Each node is a hidden
chain: away, or there since some round; its session goes on, or ends and the node comes back, or never does.
Of every chain that explains the answers of a node the chances are added up (forward algorithm), so no miss
has to be called an end.  Law, q, and how nodes come back are fitted together.

The first session of a node that was there at the first round has a law of its own, a rate at which it ends:
it began at an unknown time, and those that are met in the midst of a session stay longer than most.
Pure; times are in seconds.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from math import exp, inf, lgamma, log, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from crawler.analysis.distributions import NORMAL_95
from crawler.analysis.sessions import single_miss_share
from crawler.analysis.weibull import Weibull

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_NODES = 5000
"""Nodes that are fitted to; of more, evenly chosen ones are."""

FEWEST_BEGINNINGS, FEWEST_ENDS = 10, 5

SHORTEST_ABSENCE = 2.0
"""Rounds that absences last on average, at least: shorter ones and failed visits look alike."""

_SHAPES = log(0.15), log(6.0)  # among which a shape is looked for
_DIFFERENCE = 0.02  # of parameters, for the information in single nodes
_STEP = 1e-6  # of parameters, for slopes
_OF_BACK, _OF_ENDS = 2.0, 3.0  # standard deviations of logarithms, in the prior
_PRECISE = 1e-8  # of the likelihood, where the search ends
_TINY = 1e-300

_Array: TypeAlias = "NDArray[Any]"


@dataclass(frozen=True, slots=True)
class WeibullFit:
    """The likeliest law of sessions of so many nodes, and 95 % intervals of its shape and mean.

    `miss_share` is the share of the visits to nodes that were there that failed, with its interval.
    """

    law: Weibull
    nodes: int
    shape_low: float
    shape_high: float
    mean_low: float
    mean_high: float
    miss_share: float
    miss_low: float
    miss_high: float


class Chain(NamedTuple):
    """The parameters of the chain: logarithms, and log odds of `miss` and `returns`.

    `ends` is the rate at which sessions of unknown beginning end, `back` that at which absences do,
    `returns` the share of sessions after which a node comes back.
    """

    scale: float
    shape: float
    miss: float
    back: float
    returns: float
    ends: float


def fit_weibull(answered: Iterable[Sequence[int]], times: Sequence[float]) -> WeibullFit:
    """Fit the law of sessions to the rounds, numbers into `times`, in which each node answered.

    Intervals are from what single nodes say (outer products of scores), on logarithms and log odds; the
    likelihood has a weak prior, worth one observation, of all that is no law of sessions.  Costs about a
    second for 50 rounds and 500 nodes.  Raises `ValueError` for fewer than 10 nodes whose beginning was seen,
    or 5 that were last seen three rounds before the last or earlier.
    """
    import numpy as np
    from scipy.optimize import minimize

    found = [tuple(each) for each in answered if each]
    found = list(islice(found, 0, None, -(-len(found) // MOST_NODES))) if found else []
    begun = sum(each[0] > 0 for each in found)
    ends = sum(each[-1] < len(times) - 2 for each in found)
    if begun < FEWEST_BEGINNINGS or ends < FEWEST_ENDS:
        raise ValueError(f"{begun} beginnings and {ends} ends are too few to fit a law to")
    window, spacing = times[-1] - times[0], (times[-1] - times[0]) / (len(times) - 1)
    misses = min(max(single_miss_share(found), 0.01), 0.5)
    start = Chain(log(window / 6), 0.0, log(misses / (1 - misses)), log(4 / window), 0.0, -log(window))
    bounds = [
        (log(spacing / 100), log(window * 100)),
        _SHAPES,
        (-12.0, 4.0),
        (log(0.01 / window), -log(SHORTEST_ABSENCE * spacing)),
        (-8.0, 8.0),
        (log(0.001 / window), log(10 / spacing)),
    ]
    counts = Counter(found)
    number, logs_of = np.array(list(counts.values())), logs_by_chain(list(counts), times)

    def cost(values: _Array) -> tuple[float, _Array]:
        """Return the negative logarithm of the posterior, and its gradient."""
        chains = np.column_stack((values, values[:, None] + _STEP * np.eye(len(values))))
        totals = number @ logs_of(chains)
        prior, slopes = _log_prior(Chain(*values), start)
        return -float(totals[0]) - prior, (totals[0] - totals[1:]) / _STEP - slopes

    # The stubs of SciPy know no function with a gradient here.
    how = {"method": "L-BFGS-B", "jac": True, "bounds": bounds, "options": {"ftol": _PRECISE}}
    best = Chain(*map(float, minimize(cost, start, **how).x))  # type: ignore[call-overload]
    return _fit_of(best, _covariance(logs_of, number, best), len(found))


def _fit_of(chain: Chain, covariance: _Array, nodes: int) -> WeibullFit:
    law, miss = Weibull(exp(chain.scale), exp(chain.shape)), _share(chain.miss)
    # d log(mean) / d log(shape), by a difference.
    step = _DIFFERENCE
    slope = (lgamma(1 + exp(-chain.shape - step)) - lgamma(1 + exp(-chain.shape + step))) / (2 * step)
    variances = covariance[0, 0] + 2 * slope * covariance[0, 1] + slope**2 * covariance[1, 1]
    errors = [sqrt(each) if each >= 0 else inf for each in (covariance[1, 1], variances, covariance[2, 2])]
    shape, mean, odds = (min(NORMAL_95 * each, 700.0) for each in errors)
    return WeibullFit(
        law,
        nodes,
        *(law.shape * exp(-shape), law.shape * exp(shape)),
        *(law.mean * exp(-mean), law.mean * exp(mean)),
        *(miss, _share(chain.miss - odds), _share(chain.miss + odds)),
    )


def _share(log_odds: float) -> float:
    return 1 / (1 + exp(-log_odds))


def _log_prior(chain: Chain, likely: Chain) -> tuple[float, list[float]]:
    """Return the logarithm of the prior, worth one observation of each, and its slopes: none runs away."""
    miss, returns = _share(chain.miss), _share(chain.returns)
    back, ends = (chain.back - likely.back) / _OF_BACK, (chain.ends - likely.ends) / _OF_ENDS
    prior = log(miss * (1 - miss) * returns * (1 - returns)) / 2 - (back**2 + ends**2) / 2
    return prior, [0.0, 0.0, 0.5 - miss, -back / _OF_BACK, 0.5 - returns, -ends / _OF_ENDS]


def _covariance(logs_of: Callable[[_Array], _Array], counts: _Array, best: Chain) -> _Array:
    """Return the covariance of the parameters, from how much each node says about each of them."""
    import numpy as np

    steps, middle = _DIFFERENCE * np.eye(len(best)), np.array(best)[:, None]
    scores = (logs_of(middle + steps) - logs_of(middle - steps)) / (2 * _DIFFERENCE)
    information = scores.T @ (scores * counts[:, None])
    of_shares = [each * (1 - each) for each in map(_share, (best.miss, best.returns))]
    information += np.diag([0.0, 0.0, of_shares[0], _OF_BACK**-2, of_shares[1], _OF_ENDS**-2])
    return np.linalg.pinv(information)


class _Rates(NamedTuple):
    """What chains do between rounds: a row of these for each round but the last, a last axis for the chains.

    `lasts` are the chances that sessions go on, by the round in which they began; those that end come back
    at once with the chance `soon`, later with `later`; those away come back with `back`.
    """

    lasts: _Array
    soon: _Array
    later: _Array
    back: _Array
    miss: _Array


def logs_by_chain(answered: Sequence[tuple[int, ...]], times: Sequence[float]) -> Callable[[_Array], _Array]:
    """Return a function of chains, each a column, that returns a column of logarithms for each.

    They are those of the chances of what follows the first answer of each node.
    """
    import numpy as np

    answers = np.zeros((len(answered), len(times)), bool)
    for row, each in zip(answers, answered, strict=True):
        row[list(each)] = True
    first, last = (np.array([each[end] for each in answered]) for end in (0, -1))
    rounds, moments = range(len(times)), np.array(times)
    active = [np.flatnonzero((first < place) & (place <= last)) for place in rounds]
    answered_by = [answers[nodes, place, None] for place, nodes in enumerate(active)]
    new, over = ([np.flatnonzero(end == place) for place in rounds] for end in (first, last))

    def logs_of(chains: _Array) -> _Array:
        there, rates = _rates(chains, moments)
        unheard = _unheard(rates)
        logs, away = np.zeros((2, len(answers), chains.shape[1]))
        states = np.zeros((*answers.shape, chains.shape[1]))
        for place in rounds:
            if place:
                _step((states, away, logs), active[place], place, rates, answered_by[place])
            weights = there[: place + 1, place] * rates.miss ** np.arange(place, -1, -1)[:, None]
            states[new[place], : place + 1] = weights / weights.sum(axis=0)
            ends = over[place]
            silent = states[ends, : place + 1] * unheard[place, : place + 1]
            logs[ends] += np.log(np.maximum(silent.sum(axis=1), _TINY))
        return logs

    return logs_of


def _rates(chains: _Array, moments: _Array) -> tuple[_Array, _Rates]:
    """Return the chances that sessions begin before a round and are there at a later one, and the rates."""
    import numpy as np
    from scipy.special import expit, gammaincc

    scale, shape, back, ends = np.exp(chains[[0, 1, 3, 5]])
    miss, returns = expit(chains[[2, 4]])
    tails = np.ones((len(moments), len(moments), chains.shape[1]))
    places, gaps = np.triu_indices(len(moments)), np.diff(moments)[:, None]
    since = (moments[places[1]] - moments[places[0]])[:, None]
    tails[places] = gammaincc(1 / shape, (since / scale) ** shape)
    # Who was there at the first round had come at any time before it.
    there = np.maximum(np.diff(tails, axis=0, prepend=0.0), _TINY)
    lasts = np.minimum(there[:, 1:] / there[:, :-1], 1.0).swapaxes(0, 1)
    lasts[:, 0] = np.exp(-ends * gaps)
    soon = returns * -np.expm1(-back * gaps / 2)
    return there, _Rates(lasts, soon, returns - soon, -np.expm1(-back * gaps), miss)


def _unheard(rates: _Rates) -> _Array:
    """Return the chances of no answer after a round, for sessions by the round in which they began."""
    import numpy as np

    rounds, miss = len(rates.soon) + 1, rates.miss
    there, away = np.ones((rounds, rounds, len(miss))), np.ones_like(miss)
    for place in range(rounds - 2, -1, -1):
        begun = miss * there[place + 1, place + 1]
        soon, later, lasts = rates.soon[place], rates.later[place], rates.lasts[place, : place + 1]
        ended = soon * begun + later * away + 1 - soon - later
        there[place, : place + 1] = lasts * miss * there[place + 1, : place + 1] + (1 - lasts) * ended
        away = rates.back[place] * begun + (1 - rates.back[place]) * away
    return there


def _step(
    nodes: tuple[_Array, _Array, _Array], active: _Array, place: int, rates: _Rates, answered: _Array
) -> None:
    """Go on by a round with those of the nodes that answer in it or later.

    `nodes` are the chances of sessions by the round in which they began, and those to be away, which add up
    to 1; and the logarithms of what was multiplied out.
    """
    import numpy as np

    states, away, logs = nodes
    there, gone = states[active, :place], away[active]
    kept = there * rates.lasts[place - 1, :place]
    ended = (there - kept).sum(axis=1)
    chance = np.where(answered, 1 - rates.miss, rates.miss)
    kept *= chance[:, None]
    begun = chance * (gone * rates.back[place - 1] + ended * rates.soon[place - 1])
    gone = np.where(answered, 0.0, gone * (1 - rates.back[place - 1]) + ended * rates.later[place - 1])
    total = np.maximum(kept.sum(axis=1) + begun + gone, _TINY)
    logs[active] += np.log(total)
    states[active, :place] = kept / total[:, None]
    states[active, place] = begun / total
    away[active] = gone / total
