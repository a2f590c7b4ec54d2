"""The ways in which the size of a swarm is estimated, side by side and by name; bounds in words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import hypot
from typing import NamedTuple

from dhtnode.addresses import Family
from dhtnode.krpc.scrape_filter import ScrapeFilter
from dhtnode.swarm.announcer_mixture import Mixture
from dhtnode.swarm.capture_history import CaptureHistory, Margins
from dhtnode.swarm.capture_recapture import ListedHosts, chao2
from dhtnode.swarm.filter_size import Interval
from dhtnode.swarm.repeated_lists import by_repeated_lists


class Evidence(NamedTuple):
    """All that estimators of peers work on: what nodes told of together, and whether any sent a filter."""

    union: Interval
    told: ScrapeFilter
    has_filters: bool
    named: ListedHosts
    families: Sequence[CaptureHistory]
    lists: Sequence[frozenset[bytes]] = ()

    @property
    def margins(self) -> Margins:
        """Return how far off the ends of an interval around the undetected peers of all families are."""
        found = [family.margins for family in self.families]
        return Margins(hypot(*(each.below for each in found)), hypot(*(each.above for each in found)))


@dataclass(frozen=True, slots=True)
class Estimator:
    """A way to come to a number of peers, what it goes by in words, and the function where it is one."""

    name: str
    meaning: str
    estimate: Callable[[Evidence], Interval | None] | None = None


HEADLINE = Estimator("headline", "the result: what was seen, and the rest by the overlaps of stores")

ESTIMATORS = (
    Estimator(
        "union",
        "what was seen: all filters put together, and their bits counted",
        lambda evidence: evidence.union,
    ),
    Estimator(
        "recapture",
        "the peers that no node returned, by how often several nodes have the same hosts",
        lambda evidence: _highest([each.recapture.interval for each in evidence.families if each.recapture]),
    ),
    Estimator(
        "pair-ratio",
        "how much the stores of any two nodes have in common (Petersen)",
        lambda evidence: _highest([each.by_pairs for each in evidence.families]),
    ),
    Estimator(
        "mixture",
        "how unequal peers are, by how many stores have each bit (a beta distribution of chances)",
        lambda evidence: _by_mixture(evidence, lambda mixture: mixture.interval),
    ),
    Estimator(
        "jackknife",
        "how many peers one store alone has, and how many two, from unions (second jackknife)",
        lambda evidence: _by_mixture(evidence, lambda mixture: mixture.jackknife),
    ),
    Estimator(
        "chao2-unions",
        "the same, a lower bound (Chao2)",
        lambda evidence: _by_mixture(evidence, lambda mixture: mixture.by_unions),
    ),
    Estimator(
        "chao2",
        "how many hosts one node alone listed, and how many two (Chao2)",
        lambda evidence: chao2(evidence.named),
    ),
    Estimator(
        "names",
        "how many hosts two nodes have in common that were asked for lists several times (Petersen)",
        lambda evidence: by_repeated_lists(evidence.lists),
    ),
    Estimator(
        "distinct",
        "the listed hosts, each counted once: a lower bound",
        lambda evidence: Interval(*[evidence.named.hosts.total()] * 3),
    ),
)
"""The estimators that are computed for each swarm and kept side by side."""

FAMILIES = {
    Family.IPV4: Estimator("ipv4", "the peers with an IPv4 address"),
    Family.IPV6: Estimator("ipv6", "the peers with an IPv6 address: some or all of them have both"),
}
"""What goes by the family alone, where nodes of both told of peers."""

AT_LEAST = Estimator(
    "at-least", "a lower bound: stores are full, and how many more peers there are is unknown"
)
NONE = Estimator("none", "no node knows a peer")

METHODS = {method.name: method for method in (HEADLINE, *ESTIMATORS, *FAMILIES.values(), AT_LEAST, NONE)}
"""All methods by name: the estimators, the headline, and those of a swarm without a size."""


def count_text(count: float | None, high: float | None) -> str:
    """Return a count for people; without an upper end it is a lower bound."""
    if count is None:
        return "unknown"
    return f"at least {count:.0f}" if high is None else f"{count:.0f}"


def between(low: float, high: float | None) -> str:
    """Return an interval for people."""
    return f"{low:.0f} or more" if high is None else f"{low:.0f} to {high:.0f}"


def _by_mixture(evidence: Evidence, part: Callable[[Mixture], Interval | None]) -> Interval | None:
    return _highest([part(each.mixture) for each in evidence.families if each.mixture])


def _highest(found: Sequence[Interval | None]) -> Interval | None:
    return max((each for each in found if each), key=lambda each: each.estimate, default=None)
