"""How many peers there are when some announce better than others, from how many nodes set each bit.

Each peer has a chance of its own, r, to be in the stores of the largest size, drawn from a beta distribution;
to be in smaller ones it has a share of that.  So a bit is zero in j given stores with probability
`exp(-lambda (1 - E[(1 - r)^j]))`, with `lambda` peers to a bit, and by inclusion and exclusion it is set in
exactly k of t with a probability that the histogram of bits is held against.  The zero bits of all stores
together fix lambda; mean and precision of the beta are left, on a grid, with a prior.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import comb, exp, hypot, log, sqrt
from typing import TYPE_CHECKING, Any, TypeAlias

from dhtnode.krpc.scrape_filter import (
    FILTER_BITS,
    FILTER_BYTES,
    FILTER_HASHES,
    ScrapeFilter,
    hosts_between,
)
from dhtnode.swarm.capture_recapture import chao2_interval
from dhtnode.swarm.filter_size import NORMAL_95, Interval, relative_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Array: TypeAlias = "NDArray[Any]"

FEWEST_STORES = 3
"""Stores from which unequal peers show: two tell nothing of those that are in none."""

MOST_OF_A_SIZE = 16
"""Stores of one size that are looked at: with more, inclusion and exclusion loses digits."""

STEP = 1.25
"""Factor between two stores by size from which they count as of different sizes; the two largest steps do."""

MEANS = 32
PRECISIONS = 12
LOWEST_MEAN, HIGHEST_MEAN = 0.02, 0.995
LOWEST_PRECISION, HIGHEST_PRECISION = 0.5, 200.0

MOST_ALONE = 0.4
"""Share of the peers seen that are in one store alone, above which the jackknife extrapolates too far."""

EQUAL = 0.5
"""Prior weight of peers that are all alike."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """The size of a swarm by the mixture, and how likely it is that its peers are alike, after all.

    `by_unions` and `jackknife` are Chao2 and the second jackknife, with how many peers one store alone has
    and how many two from the unions that leave one and two stores out; None where that is too many.
    """

    interval: Interval
    by_unions: Interval
    jackknife: Interval | None
    equal: float

    @property
    def all_three(self) -> Interval:
        """Return the middle of mixture and jackknife, with what the data cannot tell as interval."""
        other = self.jackknife or self.interval
        return Interval(
            sqrt(self.interval.estimate * other.estimate),
            min(self.interval.low, self.by_unions.low),
            max(self.interval.high, self.by_unions.high, other.high),
        )


@lru_cache(maxsize=1)
def _grid() -> tuple[_Array, _Array]:
    """Return the moments of 1 - r up to the 48th for each point, and the logarithms of the prior.

    The last of the precisions is that of peers that are alike.
    """
    import numpy as np

    ends = np.log(np.array([LOWEST_MEAN, HIGHEST_MEAN]) / (1 - np.array([LOWEST_MEAN, HIGHEST_MEAN])))
    means = 1 / (1 + np.exp(-np.linspace(ends[0], ends[1], MEANS)))
    precisions = np.exp(np.linspace(log(LOWEST_PRECISION), log(HIGHEST_PRECISION), PRECISIONS))
    mean, precision = (each.ravel() for each in np.meshgrid(means, precisions, indexing="ij"))
    degrees = np.arange(3 * MOST_OF_A_SIZE)[:, None]
    factors = ((1 - mean) * precision + degrees) / (precision + degrees)
    unequal = np.vstack([np.ones(len(mean)), np.cumprod(factors, axis=0)])
    equal = (1 - means) ** np.arange(3 * MOST_OF_A_SIZE + 1)[:, None]
    prior = np.concatenate(
        [np.full(len(mean), log((1 - EQUAL) / len(mean))), np.full(MEANS, log(EQUAL / MEANS))]
    )
    return np.hstack([unequal, equal]), prior


@lru_cache(maxsize=MOST_OF_A_SIZE + 1)
def _exactly(stores: int) -> _Array:
    """Return the matrix from zero in j given stores to set in exactly k, for j and k from 0 to `stores`."""
    import numpy as np

    matrix = np.zeros((stores + 1, stores + 1))
    for k in range(stores + 1):
        for more in range(k + 1):
            matrix[k, stores - k + more] += (-1) ** more * comb(stores, k) * comb(k, more)
    return matrix


def mixture_size(stores: Sequence[ScrapeFilter]) -> Mixture | None:
    """Estimate a swarm from stores that are random parts of it; None with fewer than three, or full ones.

    The ends are those of 95 % of the posterior, and the noise of the filters.  Some 0.3 ms for 5 stores.
    """
    import numpy as np

    if len(stores) < FEWEST_STORES:
        return None
    sizes = [store.estimate() for store in stores]
    groups = _groups(sizes)
    bits = _bits_of(stores)
    counts = [bits[group].sum(axis=0) for group in groups]
    shape = tuple(len(group) + 1 for group in groups)
    histogram = np.bincount(np.ravel_multi_index(counts, shape), minlength=int(np.prod(shape)))
    zero_bits = int(histogram[0])
    if not 0 < zero_bits < FILTER_BITS:
        return None
    means = [sum(sizes[place] for place in group) / len(group) for group in groups]
    moments, prior = _grid()
    missed = _coefficients(shape, [mean / max(means) for mean in means]) @ moments[: sum(shape)]
    seen = 1 - missed[-1]
    density = -log(zero_bits / FILTER_BITS) / seen
    chances = np.exp(-density * (1 - missed)).reshape(*shape, -1)
    for axis, stores_of_size in enumerate(shape):
        chances = np.moveaxis(np.tensordot(_exactly(stores_of_size - 1), chances, (1, axis)), 0, axis)
    logs = np.log(np.maximum(chances.reshape(len(histogram), -1), 1e-12))
    # Each peer sets two bits, so half of them are news.
    likelihood = histogram @ logs / FILTER_HASHES + prior
    weights = np.exp(likelihood - likelihood.max())
    weights /= weights.sum()
    whole = density * FILTER_BITS / FILTER_HASHES
    order = np.argsort(whole)
    rising = np.cumsum(weights[order])
    low, middle, high = (float(whole[order[np.searchsorted(rising, q)]]) for q in (0.025, 0.5, 0.975))
    noise = NORMAL_95 * relative_error(middle * float(seen @ weights))
    below, above = (exp(hypot(abs(log(end / middle)), noise)) for end in (low, high))
    interval = Interval(middle, middle / below, middle * above)
    return Mixture(interval, *_by_unions(bits), float(weights[-MEANS:].sum()))


def _by_unions(bits: _Array) -> tuple[Interval, Interval | None]:
    """Estimate a swarm by Chao2 and by the second jackknife, from a row of bits for each store."""
    times = bits.sum(axis=0)
    zero_bits = int((times == 0).sum())
    alone = bits[:, times == 1].sum(axis=1, dtype=int)
    two = bits[:, times == 2].astype(int)
    both = two @ two.T
    once = sum(hosts_between(zero_bits + int(more), zero_bits) for more in alone)
    without_two = sum(
        hosts_between(zero_bits + int(alone[one] + alone[other] + both[one, other]), zero_bits)
        for other in range(len(bits))
        for one in range(other)
    )
    twice = max(without_two - (len(bits) - 1) * once, 0.0)
    seen = hosts_between(FILTER_BITS, zero_bits)
    stores, noise = len(bits), relative_error(seen)
    whole = chao2_interval(seen, once, twice, stores)
    ends = [log(end / whole.estimate) for end in (whole.low, whole.high)]
    below, above = (exp(hypot(end, NORMAL_95 * noise)) for end in ends)
    chao = Interval(whole.estimate, whole.estimate / below, whole.estimate * above)
    if once > MOST_ALONE * seen:
        return chao, None
    first, second = (2 * stores - 3) / stores, (stores - 2) ** 2 / (stores * (stores - 1))
    jackknife = max(seen + first * once - second * twice, seen)
    # What the second order adds to the first tells how far off either may be.
    order = (first - 1 + 1 / stores) * once - second * twice
    error = hypot(sqrt(first**2 * once + second**2 * twice + order**2) / jackknife, noise)
    spread = exp(NORMAL_95 * error)
    return chao, Interval(jackknife, jackknife / spread, jackknife * spread)


def _groups(sizes: Sequence[float]) -> list[list[int]]:
    """Return the places of stores by their sizes, up to three groups, each of the closest ones."""
    order = sorted(range(len(sizes)), key=lambda place: sizes[place])
    steps = [(sizes[two] / max(sizes[one], 1.0), at) for at, (one, two) in enumerate(pairwise(order), 1)]
    cuts = sorted(at for step, at in sorted(steps, reverse=True)[:2] if step > STEP)
    ends = zip([0, *cuts], [*cuts, len(order)], strict=True)
    return [sorted(order[start:end])[:MOST_OF_A_SIZE] for start, end in ends]


def _bits_of(stores: Sequence[ScrapeFilter]) -> _Array:
    """Return a row of bits for each store."""
    import numpy as np

    packed = b"".join(store.to_bytes() for store in stores)
    return np.unpackbits(np.frombuffer(packed, np.uint8).reshape(-1, FILTER_BYTES), axis=1)


def _coefficients(shape: Sequence[int], shares: Sequence[float]) -> _Array:
    """Return for each number of stores of each size the chance to be in none, as a polynomial in 1 - r.

    A peer is in a store of the share a with a r, and 1 - a r is (1 - a) + a (1 - r).
    """
    import numpy as np

    rows = np.ones((1, 1))
    for size, share in zip(shape, shares, strict=True):
        powers = np.zeros((size, size))
        powers[0, 0] = 1.0
        for j in range(1, size):
            powers[j, :] = (1 - share) * powers[j - 1]
            powers[j, 1:] += share * powers[j - 1, :-1]
        rows = np.array([np.convolve(row, power) for row in rows for power in powers])
    padded = np.zeros((len(rows), sum(shape)))
    padded[:, : rows.shape[1]] = rows
    return padded
