"""How many info-hashes a network holds, from samples of what its nodes store (BEP 51).

Pure functions of numbers, without I/O.  A node says how many info-hashes it stores (`num`) and shows
a few of them, 20 as a rule; an info-hash lies with several nodes.  So one info-hash counts for a
share only wherever it is seen, and each that is shown stands for the others of its node (Horvitz and
Thompson 1952).  Info-hashes that no node with BEP 51 stores are not counted by any of this.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt

from crawler.analysis.distributions import NORMAL_95
from crawler.analysis.species_richness import NetworkSize
from dhtnode.swarm import chao1


@dataclass(frozen=True, slots=True)
class SampledNode:
    """What one node showed.

    `num` is how many info-hashes it stores, by its own account.  `holders` has a number for each of the
    shown ones that were looked up: how many nodes store it, of all that support BEP 51 and belong to
    the area sampled, this node among them; 0 for an info-hash outside of the zone sampled.  Which ones
    are looked up must not depend on what they are: the first of each sample, say.
    """

    num: int
    holders: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Raise `ValueError` for what no node can show."""
        if self.num < 0 or min(self.holders, default=0) < 0 or (self.holders and not self.num):
            raise ValueError(f"no sample of {self.num} info-hashes: {self.holders}")


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much is known: the share of what further samples will show, with its 95 % interval."""

    share: float
    low: float
    high: float


def sample_coverage(once: int, twice: int, shown: int) -> Coverage:
    """Return which share of the next info-hashes shown will be known ones (Good 1953, Turing).

    `C = 1 - f1 / n`: n shown in all, f1 info-hashes of them once and f2 twice; the normal interval has
    variance `(f1 (1 - f1/n) + 2 f2) / n**2` (Esty 1983).  This is no share of all info-hashes: those
    that many nodes hold weigh more in it.
    """
    if shown <= 0:
        return Coverage(0.0, 0.0, 1.0)
    share = 1 - once / shown
    error = NORMAL_95 * sqrt(once * share + 2 * twice) / shown
    return Coverage(share, max(0.0, share - error), min(1.0, share + error))


def population(
    sampled: Sequence[SampledNode], nodes: NetworkSize, *, zone_bits: int = 0
) -> NetworkSize | None:
    """Estimate the info-hashes of a network, or of all its zones from one, from samples.

    `H = nodes * mean(num) * mean(1 / holders)`, the last weighted by `num`: the form of Horvitz and
    Thompson's `sum 1 / (f_j r_x) / phi` that needs holders of a part of the info-hashes only.  `nodes`
    are those that support BEP 51 in the area sampled, visited or not, with their variance.

    Three parts add to the relative variance: of `nodes`, of `num` among nodes not visited (finite
    population), of the weighted mean (linearised, between nodes).  A zone of z bits adds that of a
    binomial share of all.  The interval is log-normal.  None when no info-hash was looked up, or none
    of those is in the zone.
    """
    looked_up = [node for node in sampled if node.holders]
    stored, weight = sum(node.num for node in sampled), sum(node.num for node in looked_up)
    inverse = sum(node.num * _mean_inverse(node) for node in looked_up) / weight if weight else 0.0
    if not inverse or not nodes.estimate:
        return None
    mean_num = stored / len(sampled)
    here = nodes.estimate * mean_num * inverse
    missing = max(0.0, 1 - len(sampled) / nodes.estimate)
    spread = sum((node.num - mean_num) ** 2 for node in sampled) / max(len(sampled) - 1, 1)
    deviations = sum((node.num * (_mean_inverse(node) - inverse)) ** 2 for node in looked_up)
    relative = (
        nodes.variance / nodes.estimate**2
        + missing * spread / len(sampled) / mean_num**2
        + deviations / (weight * inverse) ** 2 * len(looked_up) / max(len(looked_up) - 1, 1)
        + (1 - 2.0**-zone_bits) / here
    )
    return _log_normal(2**zone_bits * here, relative)


def _mean_inverse(node: SampledNode) -> float:
    return sum(1 / holders for holders in node.holders if holders) / len(node.holders)


def _log_normal(estimate: float, relative_variance: float) -> NetworkSize:
    spread = exp(NORMAL_95 * sqrt(log(1 + relative_variance)))
    return NetworkSize(estimate, estimate / spread, estimate * spread, estimate**2 * relative_variance)


def least_population(distinct: int, once: int, twice: int) -> float:
    """Return at least how many info-hashes there are, by Chao1 over the nodes that showed each."""
    return distinct + chao1(once, twice)
