"""The sizes of a network that one run has come to, by every method, from its tally and its nodes.

Sizes count hosts: a few hosts with many ports would make a network as large as they like.  How many endpoints
there are stands beside.  On loopback one host may have all the nodes, and sizes count endpoints.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from random import Random

import numpy as np
from numpy.typing import NDArray

from crawler.analysis.control_sample import size_from_control
from crawler.analysis.crawl_size import CrawlCounts, CrawlSize, OutsideNamings, size_from_crawl
from crawler.analysis.distance_size import spread_targets, targets_for
from crawler.analysis.mean_distance import Evenness, evenness, mean_distance
from crawler.analysis.species_richness import EXACT_REFERRERS, NetworkSize, chapman, joint_size, size_of_zones
from crawler.core.contact_table import Numbers
from crawler.core.frontier import Frontier
from crawler.core.sightings import ANSWERED, Sighting
from crawler.crawl.answered_nodes import AnsweredNodes
from crawler.crawl.inventors import SeenVisits
from crawler.db.records.records import SizeEstimate
from crawler.zone import Zone
from dhtnode import Family
from dhtnode.ids import ID_BITS

K = 8
LEAST_EVEN = 2 * K  # ids that are tested for being spread evenly
MAX_TARGETS = 1024  # whose surroundings are tested for nodes put there

HEADLINE, ENDPOINTS, DISTANCES = "crawl", "endpoints", "distances"
WITHOUT_INVENTORS, SECOND_WALK = "without inventors", "second walk"
SO_FAR = "so far"  # of a census that was cut


class Unit(StrEnum):
    """What a size counts."""

    HOSTS = "hosts"
    ENDPOINTS = "endpoints"


@dataclass(frozen=True, slots=True)
class Tally:
    """The nodes that answered a crawl, and the queries that show how many were lost.

    `nodes` are those that count: of a host one, where hosts are counted; `sightings` is what is known of
    them.  `outside` is None where too little is known.
    """

    nodes: AnsweredNodes
    sightings: Counter[Sighting]
    second_queries: int
    second_answers: int
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
class ControlCounts:
    """What a second walk of one family has found: nodes that answered it, and those the first had counted.

    `nodes` are those that answered, as compact contacts, without the ways in; `counted` are the nodes of the
    whole that the first walk counted.
    """

    zone: Zone
    nodes: bytes
    answered: int
    recaptured: int
    queries: int

    @property
    def details(self) -> dict[str, object]:
        """Return what is recorded beside its size."""
        return {
            "part": str(self.zone),
            "control": self.answered,
            "recaptured": self.recaptured,
            "queries": self.queries,
        }

    def size(self, counted: int, zone_bits: int) -> NetworkSize | None:
        """Return the size of the network, of which the first walk counted so many in its zone."""
        if not self.recaptured or counted < self.recaptured:
            return None
        return size_from_control(counted, self.answered, self.recaptured, zone_bits)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What sizes follow from, beside the visits: what is known of each endpoint, and who returned it.

    `numbers` are the endpoints of which the `distances` to their referrers are needed, five for each; `alone`
    those that one node alone has returned and that never answered, and how far that is.  `inventing` are the
    nodes that answered and hand out nodes which do not exist.
    """

    frontier: Frontier
    second_queries: int
    second_answers: int
    numbers: Numbers
    distances: NDArray[np.uint32]
    seen: SeenVisits
    alone: Numbers
    alone_distances: NDArray[np.uint32]
    inventing: Numbers


@dataclass(frozen=True, slots=True)
class FamilyTally:
    """The tally of one family: of its hosts, None on loopback, and of its endpoints.

    `nodes` are all that answered.  Of the endpoints that one node alone has returned, `unconfirmed` have
    responded of `most_unconfirmed` that may, and `held` were not visited; where that is not 0, those that
    responded are not in the tallies.  `rest` is the headline without nodes that hand out nodes which do not
    exist; None where that is not known.  `control` is what a second walk has found, if there was one.
    """

    hosts: Tally | None
    endpoints: Tally
    nodes: AnsweredNodes
    unconfirmed: int = 0
    most_unconfirmed: int = 0
    held: int = 0
    evidence: Evidence | None = None
    rest: Tally | None = None
    control: ControlCounts | None = None

    @property
    def headline(self) -> Tally:
        """Return the tally that sizes are of."""
        return self.hosts or self.endpoints

    @property
    def unit(self) -> Unit:
        """Return what it counts."""
        return Unit.HOSTS if self.hosts else Unit.ENDPOINTS


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
    unit: Unit
    counts: CrawlCounts
    crawl: CrawlSize
    neighbourhoods: tuple[Neighbourhood, ...]
    endpoints: CrawlCounts
    without_inventors: CrawlCounts | None
    inventing: int
    control: ControlCounts | None
    ids: int
    mean_distance: float | None

    def evenness(self, zone: Zone) -> Evenness | None:
        """Return whether the ids that answered are spread evenly, or None when too few did."""
        distance, found, variance = self.mean_distance, self.crawl.found, self.crawl.found_variance
        if distance is None or self.ids < LEAST_EVEN:
            return None
        return evenness(distance, self.ids, K, zone_bits=zone.bits, found=found, found_variance=variance)


def neighbourhoods_of(nodes: AnsweredNodes, targets: Sequence[int]) -> tuple[Neighbourhood, ...]:
    """Return the `K` closest to each target, without targets that have fewer in the zone."""
    found = (Neighbourhood(target, tuple(nodes.closest(target, K))) for target in targets)
    return tuple(each for each in found if len(each.ids) == K)


def family_sizes(family: Family, tally: FamilyTally, zone: Zone, random: Random) -> FamilySizes:
    """Estimate the network of a family; costs some 0.1 ms for each of up to 1024 targets."""
    headline = tally.headline
    counts = headline.crawl_counts(zone.bits)
    count = min(MAX_TARGETS, targets_for(counts.answered, K))
    rest = ID_BITS - zone.bits
    spread = spread_targets(count, [random.random() for _ in range(count)], rest)
    # Their lower bits are drawn too: a fraction has 53.
    drawn = (each ^ random.getrandbits(max(1, rest - 64)) for each in spread)
    found = neighbourhoods_of(headline.nodes, [zone.prefix << rest | each for each in drawn])
    size, endpoints = size_from_crawl(counts), tally.endpoints.crawl_counts(zone.bits)
    ids = headline.nodes.prefixes
    distance = mean_distance(ids, K, zone.bits)
    without = tally.rest.crawl_counts(zone.bits) if tally.rest else None
    inventing = len(tally.evidence.inventing) if tally.evidence else 0
    return FamilySizes(
        family,
        tally.unit,
        counts,
        size,
        found,
        endpoints,
        without,
        inventing,
        tally.control,
        len(ids),
        distance,
    )


def estimates_of(sizes: FamilySizes, zone: Zone) -> list[SizeEstimate]:
    """Return what is recorded of one family: the mere count, and what each method makes of it."""
    counts = sizes.counts
    of_halves = chapman(counts.by_a, counts.by_b, counts.by_both)
    if zone.bits:
        of_halves = size_of_zones(of_halves.estimate, of_halves.variance, zone.bits)

    def estimate(method: str, size: NetworkSize, details: Mapping[str, object]) -> SizeEstimate:
        return estimate_of(sizes.family, sizes.unit, method, size, zone, details)

    estimates = [
        counted_of(sizes.family, sizes.unit, counts.answered << zone.bits, zone),
        estimate(HEADLINE, sizes.crawl.size, details_of(counts, sizes.crawl)),
        # Its interval knows nothing of lost packets, and misleads.
        estimate("chapman", of_halves, {})._replace(low=None, high=None),
        _endpoints(sizes, zone),
    ]
    if sizes.without_inventors is not None:
        without = size_from_crawl(sizes.without_inventors)
        details = details_of(sizes.without_inventors, without) | {"inventing": sizes.inventing}
        estimates.append(estimate(WITHOUT_INVENTORS, without.size, details))
    if sizes.control and (size := sizes.control.size(counts.answered, zone.bits)):
        estimates.append(estimate(SECOND_WALK, size, sizes.control.details))
    if even := sizes.evenness(zone):
        details = {"mean_distance": sizes.mean_distance, "ids": sizes.ids, "k": K}
        details |= {"found": sizes.crawl.found, "p_value": even.p_value}
        estimates.append(estimate(DISTANCES, even.size, details))
    return estimates


def _endpoints(sizes: FamilySizes, zone: Zone) -> SizeEstimate:
    size = size_from_crawl(sizes.endpoints)
    details = details_of(sizes.endpoints, size)
    return estimate_of(sizes.family, Unit.ENDPOINTS, ENDPOINTS, size.size, zone, details)


def details_of(counts: CrawlCounts, size: CrawlSize) -> dict[str, object]:
    """Return what is recorded beside a size: the counts that it was computed from, and who was missed."""
    return asdict(counts) | {"unnamed": size.unnamed, "lost": size.lost, "found": size.found}


def joint_estimates(families: Sequence[FamilySizes], zone: Zone) -> list[SizeEstimate]:
    """Return what is recorded of both families together: nothing unless both answered."""
    if len(families) < 2:
        return []
    # Both are on loopback, or neither is.
    unit = families[0].unit
    estimates = [
        counted_of(None, unit, sum(each.counts.answered for each in families) << zone.bits, zone),
        estimate_of(None, unit, HEADLINE, joint_size([each.crawl.size for each in families]), zone, {}),
    ]
    endpoints = joint_size([size_from_crawl(each.endpoints).size for each in families])
    estimates.append(estimate_of(None, Unit.ENDPOINTS, ENDPOINTS, endpoints, zone, {}))
    rests = [size_from_crawl(each.without_inventors).size for each in families if each.without_inventors]
    if len(rests) == len(families):
        inventing = {"inventing": sum(each.inventing for each in families)}
        estimates.append(estimate_of(None, unit, WITHOUT_INVENTORS, joint_size(rests), zone, inventing))
    second = [
        size
        for each in families
        if each.control and (size := each.control.size(each.counts.answered, zone.bits))
    ]
    if len(second) == len(families):
        estimates.append(estimate_of(None, unit, SECOND_WALK, joint_size(second), zone))
    even = [found.size for each in families if (found := each.evenness(zone))]
    if len(even) == len(families):
        estimates.append(estimate_of(None, unit, DISTANCES, joint_size(even), zone))
    return estimates


def counted_of(family: Family | None, unit: Unit, nodes: int, zone: Zone) -> SizeEstimate:
    """Return what is recorded of a mere count."""
    return SizeEstimate(family, "counted", unit, nodes, None, None, str(zone), {})


def estimate_of(
    family: Family | None,
    unit: Unit,
    method: str,
    size: NetworkSize,
    zone: Zone,
    details: Mapping[str, object] = {},  # never changed
) -> SizeEstimate:
    """Return what is recorded of an estimate."""
    return SizeEstimate(family, method, unit, size.estimate, size.low, size.high, str(zone), details)
