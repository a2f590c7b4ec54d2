"""The sizes of a network that one run has come to, by every method, from its tally and its nodes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from random import Random

from crawler.analysis.crawl_size import CrawlCounts, CrawlSize, OutsideNamings, size_from_crawl
from crawler.analysis.distance_size import (
    Distances,
    size_from_distances,
    size_from_median,
    spread_targets,
    targets_for,
)
from crawler.analysis.species_richness import EXACT_REFERRERS, NetworkSize, chapman, joint_size, size_of_zones
from crawler.core.frontier import ANSWERED, Sighting
from crawler.db.records.records import SizeEstimate
from crawler.db.run_nodes import RunNodes
from crawler.zone import Zone
from dhtnode import Family
from dhtnode.ids import ID_BITS

K = 8
MAX_TARGETS = 1024  # for an error of about 1 % from distances alone
MEDIAN_TARGETS = 32  # fewer give a median with an interval hardly worth the name

HEADLINE, DISTANCES = "crawl", "distances"


@dataclass(frozen=True, slots=True)
class Tally:
    """The endpoints of a crawl by what is known of them, and the queries that show how many were lost.

    The sightings of a resumed crawl are those of all its parts, the second queries those of the last.
    `answered` counts the nodes that answered in this part.  `outside` is None where too little is known.
    """

    sightings: Counter[Sighting]
    second_queries: int
    second_answers: int
    answered: int
    outside: OutsideNamings | None = None

    def crawl_counts(self, zone_bits: int) -> CrawlCounts:
        """Return what `size_from_crawl` takes, for a crawl of all ids with the same first bits."""
        answered = {each: count for each, count in self.sightings.items() if each.state == ANSWERED}
        by_a, by_b, by_both = (
            sum(count for each, count in answered.items() if all(each.in_halves[half] for half in halves))
            for halves in ((0,), (1,), (0, 1))
        )
        named = [0] * (EXACT_REFERRERS + 1)
        for each, count in answered.items():
            if each.referrers:
                named[min(each.referrers, EXACT_REFERRERS + 1) - 1] += count
        once, twice, thrice, four_times, more = named
        return CrawlCounts(
            answered=sum(answered.values()),
            by_a=by_a,
            by_b=by_b,
            by_both=by_both,
            named=(once, twice, thrice, four_times, more),
            recovered=sum(count for each, count in answered.items() if each.visited_again),
            second_sent=self.second_queries,
            second_unanswered=self.second_queries - self.second_answers,
            zone_bits=zone_bits,
            outside=self.outside,
        )


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """The ids closest to a target, closest first, up to `K`."""

    target: int
    ids: tuple[int, ...]

    @property
    def distance(self) -> float:
        """Return the distance to the farthest of them as a share of the id space."""
        return float((self.ids[-1] ^ self.target) / 2**ID_BITS)


@dataclass(frozen=True, slots=True)
class FamilySizes:
    """What the crawl of one family says about its network."""

    family: Family
    counts: CrawlCounts
    tally: Tally
    crawl: CrawlSize
    neighbourhoods: tuple[Neighbourhood, ...]

    @property
    def distances(self) -> Distances | None:
        """Return the distances from the targets, or None when too few nodes answered for one."""
        values = tuple(each.distance for each in self.neighbourhoods)
        if not values:
            return None
        return Distances(values, K, self.crawl.found, self.crawl.found_variance)


def neighbourhoods_of(nodes: RunNodes, targets: Sequence[int]) -> tuple[Neighbourhood, ...]:
    """Return the `K` closest to each target, without targets that have fewer in the zone."""
    found = (Neighbourhood(target, tuple(nodes.closest(target, K))) for target in targets)
    return tuple(each for each in found if len(each.ids) == K)


def family_sizes(family: Family, tally: Tally, nodes: RunNodes, zone: Zone, random: Random) -> FamilySizes:
    """Estimate the network of a family; costs some 0.2 ms for each of up to 1024 targets."""
    counts = tally.crawl_counts(zone.bits)
    count = min(MAX_TARGETS, targets_for(counts.answered, K))
    rest = ID_BITS - zone.bits
    spread = spread_targets(count, [random.random() for _ in range(count)], rest)
    # Their lower bits are drawn too: a fraction has 53.
    drawn = (each ^ random.getrandbits(max(1, rest - 64)) for each in spread)
    found = neighbourhoods_of(nodes, [zone.prefix << rest | each for each in drawn])
    return FamilySizes(family, counts, tally, size_from_crawl(counts), found)


def estimates_of(sizes: FamilySizes, zone: Zone) -> list[SizeEstimate]:
    """Return what is recorded of one family: the mere count, and what each method makes of it."""
    counts, distances = sizes.counts, sizes.distances
    crawl_details = asdict(counts) | {
        "answered_in_last_part": sizes.tally.answered,
        "unnamed": sizes.crawl.unnamed,
        "lost": sizes.crawl.lost,
        "found": sizes.crawl.found,
    }
    of_halves = chapman(counts.by_a, counts.by_b, counts.by_both)
    if zone.bits:
        of_halves = size_of_zones(of_halves.estimate, of_halves.variance, zone.bits)
    estimates = [
        _counted(sizes.family, _counted_nodes(sizes, zone), zone),
        _estimate(sizes.family, HEADLINE, sizes.crawl.size, zone, crawl_details),
        _estimate(sizes.family, "chapman", of_halves, zone, {}),
    ]
    if distances:
        details = {"targets": len(distances.values), "k": K, "found": distances.found}
        by_distance = size_from_distances(distances)
        estimates.append(_estimate(sizes.family, DISTANCES, by_distance, zone, details))
        if len(distances.values) >= MEDIAN_TARGETS:
            estimates.append(_estimate(sizes.family, "median", size_from_median(distances), zone, details))
    return estimates


def joint_estimates(families: Sequence[FamilySizes], zone: Zone) -> list[SizeEstimate]:
    """Return what is recorded of both families together: nothing unless both answered."""
    if len(families) < 2:
        return []
    estimates = [
        _counted(None, sum(_counted_nodes(each, zone) for each in families), zone),
        _estimate(None, HEADLINE, joint_size([each.crawl.size for each in families]), zone, {}),
    ]
    distances = [each.distances for each in families]
    sizes = [size_from_distances(each) for each in distances if each]
    if len(sizes) == len(families):
        estimates.append(_estimate(None, DISTANCES, joint_size(sizes), zone, {}))
    return estimates


def _counted_nodes(sizes: FamilySizes, zone: Zone) -> int:
    return sizes.counts.answered << zone.bits


def _counted(family: Family | None, nodes: int, zone: Zone) -> SizeEstimate:
    return SizeEstimate(family, "counted", nodes, None, None, str(zone), {})


def _estimate(
    family: Family | None, method: str, size: NetworkSize, zone: Zone, details: Mapping[str, object]
) -> SizeEstimate:
    return SizeEstimate(family, method, size.estimate, size.low, size.high, str(zone), details)
