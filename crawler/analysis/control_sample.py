"""How many nodes a network has by a second walk through a part of it, and which of these the first counted.

Pure functions of numbers, without I/O: capture and recapture, with the share and not the product.
"""

from collections.abc import Callable

from crawler.analysis.distributions import binomial_tails
from crawler.analysis.species_richness import HIGH_95, LOW_95, NetworkSize, size_of_zones

_STEPS = 60  # of a bisection: to the last bit


def size_from_control(counted: int, control: int, recaptured: int, zone_bits: int = 0) -> NetworkSize | None:
    """Estimate a network of which `counted` nodes answered a first walk, from the nodes of a second one.

    `recaptured` of the `control` nodes were counted: `N = (counted + 1)(control + 1) / (recaptured + 1) - 1`
    (Chapman 1951).  The interval is that of the share by Clopper and Pearson (1934), which holds at least as
    often as it says where nodes are found one by one, and independently of the first walk.  In a zone of z
    bits, times `2**z`, with the error of that.  None where nothing was recaptured: all could be.
    """
    if not 0 <= recaptured <= min(control, counted):
        raise ValueError(f"{recaptured} of {control} nodes recaptured, of {counted}")
    if not recaptured:
        return None
    inside = (counted + 1) * (control + 1) / (recaptured + 1) - 1
    least, most = _share_95(control, recaptured)
    variance = (counted / 3.92 * (1 / least - 1 / most)) ** 2
    if zone_bits:
        return size_of_zones(inside, variance, zone_bits)
    low, high = max(counted, counted / most), counted / least
    return NetworkSize(inside, min(low, inside), max(high, inside), variance, counted)


def _share_95(trials: int, hits: int) -> tuple[float, float]:
    least = _root(lambda share: binomial_tails(trials, share, hits)[1] < LOW_95) if hits else 0.0
    most = _root(lambda share: binomial_tails(trials, share, hits)[0] > 1 - HIGH_95) if hits < trials else 1.0
    return least, most


def _root(is_below: Callable[[float], bool]) -> float:
    """Return where a condition that holds for small shares ends."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return low
