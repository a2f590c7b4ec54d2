"""How many peers of another source the DHT knows, and how many both know: addresses against filters (BEP 33).

Some addresses that another source lists are tested against what nodes told of a swarm.  An address that
no store has passes a filter by chance, as often as two bits of it are set: that is known exactly.  How often
one that is there is missed, where stores are cut, follows from the size.  What is left is the share in both.

The interval is that of a likelihood ratio over two numbers together: the peers that both have, and the size
in the DHT.  Neither can be what it cannot be, and no address is drawn twice from what is listed.
docs/explanation/swarm_size.md has the evidence, and the other forms that were tried.
"""

from collections.abc import Collection, Sequence
from math import hypot, inf, isinf
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from crawler.analysis.sessions import wilson
from dhtnode import Interval, SwarmMeasurement
from dhtnode.krpc import FILTER_BITS, ScrapeFilter, host_mask, union_of
from dhtnode.swarm import NORMAL_95, relative_error

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

MOST_FALSE = 0.736
"""Share of strangers that pass the filter of all nodes, above which those of single nodes tell more.

It is that of 2000 peers.
"""

_SIZES = 21  # sizes in the DHT that are tried
_REACH = 2.5  # standard errors of that size, to both sides
_COUNTS = 501  # numbers of peers in both that are tried
_LEAST = 1e-300  # a chance that counts as none


class SourceOverlap(NamedTuple):
    """What addresses of another source say about it and the DHT; all intervals are of 95 %.

    `passed` of the `tested` addresses are in the filter of all nodes, in which the share `false_positives` of
    all strangers is.  `share` is how much of the other source the DHT has, from 0 to 1, `unknown` how many
    peers it does not have, `union` how many there are in both.  The upper end of the last is infinite where
    the size in the DHT has none.
    """

    tested: int
    passed: int
    false_positives: float
    share: Interval
    unknown: Interval
    union: Interval


def source_overlap(
    hosts: Collection[bytes], filters: Sequence[ScrapeFilter], size: Interval, listed: int
) -> SourceOverlap | None:
    """Compare a source that lists so many peers with the DHT, by some of its hosts; None without any.

    `hosts` are packed addresses, 4 or 16 bytes each, drawn from the list without a choice; `filters` what
    each node believed told of the swarm; `size` is the number of peers in the DHT, with an infinite upper end
    where it has none.  Takes some 20 ms for 100 hosts.
    """
    masks = [host_mask(host) for host in set(hosts)]
    told = union_of(filters)
    if not masks or told.is_empty:
        return None
    passed = sum(told.bits & mask == mask for mask in masks)
    false = (told.bits.bit_count() / FILTER_BITS) ** 2
    places = [told] if false <= MOST_FALSE else list(filters)
    counts = [sum(place.bits & mask == mask for place in places) for mask in masks]
    listed = max(listed, len(masks))
    grid = _Grid(size, listed)
    kept = grid.kept(sum(each.estimate() for each in places) / len(places), told.estimate())
    both, unknown, union = grid.spans(counts, _of_strangers(places), kept)
    share = Interval(*(each / listed for each in both))
    if len(places) == 1:
        share = _corrected(passed, len(masks), false, min(1.0, told.estimate() / max(size.estimate, 1.0)))
        unknown = _around(listed * (1 - share.estimate), unknown)
        union = _around(size.estimate + unknown.estimate, union)
    return SourceOverlap(len(masks), passed, false, share, unknown, union)


def _corrected(passed: int, tested: int, false: float, kept: float) -> Interval:
    """Return the share that is there, with Wilson's ends, where the share `kept` of it is in the filter."""
    each = (passed / tested, *wilson(passed, tested))
    return Interval(*(min(1.0, max(0.0, (share - false) / ((1 - false) * kept))) for share in each))


def _around(estimate: float, ends: Interval) -> Interval:
    return Interval(estimate, min(ends.low, estimate), max(ends.high, estimate))


def measured_size(measured: SwarmMeasurement) -> Interval:
    """Return the size of a swarm in the DHT, with an infinite upper end where it has none."""
    estimate = measured.estimate
    high = inf if estimate.peers_high is None else float(estimate.peers_high)
    return Interval(float(estimate.peers), float(estimate.peers_low), high)


def believed_filters(measured: SwarmMeasurement) -> list[ScrapeFilter]:
    """Return what each believed node told of a swarm."""
    return [each.told for each in measured.observations if each.is_believed]


class _Grid:
    """The numbers that are tried: sizes in the DHT around what was measured, and peers in both."""

    def __init__(self, size: Interval, listed: int) -> None:
        import numpy as np

        self._has_no_end = isinf(size.high)
        below = (size.estimate - size.low) / NORMAL_95
        above = 0.0 if self._has_no_end else (size.high - size.estimate) / NORMAL_95
        self._error = hypot(below, above) / 2**0.5
        self._steps: Floats = np.linspace(-_REACH, _REACH, _SIZES)
        moved = self._steps * np.where(self._steps < 0, below, above)
        self._size = max(size.estimate, 1.0)
        self.sizes: Floats = np.maximum(size.estimate + moved, 1.0)
        most = min(float(listed), float(self.sizes.max()))
        self.both: Floats = np.unique(np.linspace(0, most, _COUNTS).round())
        self.listed = listed

    def kept(self, reach: float, told: float) -> "Floats":
        """Return the share of the peers in the DHT that is in a filter of `reach` peers, for each size.

        All filters tell of `told`.  As far as the size comes from the bits of the filters, its error is in
        both, and the share does not move with it.
        """
        of_bits = relative_error(told) * told / self._error if self._error else 1.0
        shares: Floats = reach / self._size * (self._size / self.sizes) ** max(0.0, 1 - of_bits**2)
        return shares.clip(0.0, 1.0)

    def spans(
        self, counts: Sequence[int], strangers: "Floats", kept: "Floats"
    ) -> tuple[Interval, Interval, Interval]:
        """Return the peers in both, those that the DHT lacks, and all: the likeliest, and all likely enough.

        `counts` has, for each host, how many filters it passed.
        """
        import numpy as np

        members = _of_members(strangers, kept)
        seen = list(counts)
        means = _log_means(np.broadcast_to(strangers[seen], (len(kept), len(seen))), members[:, seen])
        logs = _log_mixed(means, _log_drawn(self.both, self.listed, len(seen)))
        deviance = self._steps[:, None] ** 2 - 2 * logs
        likely = deviance <= deviance.min() + NORMAL_95**2
        best = np.unravel_index(deviance.argmin(), deviance.shape)
        both = np.broadcast_to(self.both, deviance.shape)
        unknown = self.listed - both
        union = self.sizes[:, None] + unknown
        found = [
            Interval(float(each[best]), float(each[likely].min()), float(each[likely].max()))
            for each in (both, unknown, union)
        ]
        if self._has_no_end:
            found[2] = found[2]._replace(high=float("inf"))
        return found[0], found[1], found[2]


def _of_strangers(filters: Sequence[ScrapeFilter]) -> "Floats":
    """Return how likely a host that is nowhere passes 0, 1, 2, ... of some filters: by all pairs of bits."""
    import numpy as np

    rows = [np.frombuffer(each.to_bytes(), np.uint8) for each in filters]
    bits = np.unpackbits(np.stack(rows), axis=1, bitorder="little")
    # Most stores are alike, so that few of the 2048 bits differ in where they are set.
    kinds, places = np.unique(bits, axis=1, return_counts=True)
    alike = kinds.astype(np.float32)
    passed = (alike.T @ alike).astype(np.intp).ravel()
    weights = np.outer(places, places).ravel() / FILTER_BITS**2
    chances: Floats = np.bincount(passed, weights, minlength=len(filters) + 1).astype(np.float64)
    return chances


def _of_members(strangers: "Floats", kept: "Floats") -> "Floats":
    """Return the same for a host that each filter holds with a chance, a row for each chance.

    It passes those that hold it, and others as a stranger does.
    """
    import numpy as np
    from scipy.special import comb

    most = len(strangers) - 1
    chances = np.zeros((len(kept), most + 1))
    for passed, chance in enumerate(strangers):
        more = np.arange(most - passed + 1)
        terms = comb(most - passed, more) * kept[:, None] ** more * (1 - kept[:, None]) ** more[::-1]
        chances[:, passed:] += chance * terms
    return chances


def _log_means(strangers: "Floats", members: "Floats") -> "Floats":
    """Return, for each row and number m, how likely all that was seen is where m of the hosts are members.

    It is a mean over all choices of m hosts; the chance of each host is given for members and strangers.
    """
    import numpy as np

    rows, hosts = members.shape
    means, scale = np.ones((rows, 1)), np.zeros((rows, 1))
    for number in range(1, hosts + 1):
        chosen = np.arange(number) / number
        longer = np.zeros((rows, number + 1))
        longer[:, :-1] += (1 - chosen) * strangers[:, number - 1 : number] * means
        longer[:, 1:] += (chosen + 1 / number) * members[:, number - 1 : number] * means
        most = longer.max(axis=1, keepdims=True).clip(_LEAST)
        means, scale = longer / most, scale + np.log(most)
    logs: Floats = np.log(means.clip(_LEAST)) + scale
    return logs


def _log_drawn(both: "Floats", listed: int, drawn: int) -> "Floats":
    """Return how likely m of those drawn from a list are in both, a row for each number of peers in both."""
    import numpy as np
    from scipy.special import gammaln

    def ways(whole: "Floats", part: "Floats") -> "Floats":
        found: Floats = gammaln(whole + 1) - gammaln(part + 1) - gammaln((whole - part).clip(0) + 1)
        return np.where((part < 0) | (part > whole), -np.inf, found)

    members, number = both[:, None], np.arange(drawn + 1.0)[None, :]
    all_ways = ways(np.array(float(listed)), np.array(float(drawn)))
    chances: Floats = ways(members, number) + ways(listed - members, drawn - number) - all_ways
    return chances


def _log_mixed(means: "Floats", drawn: "Floats") -> "Floats":
    """Return the logarithm of the sum over m of both chances, for each row of either."""
    import numpy as np

    # As a product of matrices: the largest term of each row is taken out before.
    of_means, of_drawn = means.max(axis=1, keepdims=True), drawn.max(axis=1, keepdims=True)
    product = np.exp(means - of_means) @ np.exp(drawn - of_drawn).T
    logs: Floats = np.log(product.clip(_LEAST)) + of_means + of_drawn.T
    return logs
