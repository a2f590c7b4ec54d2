"""What a census ends with: network sizes and Sybil alarms, computed from its visits, and recorded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from crawler.analysis.species_richness import NetworkSize
from crawler.core.visit import VisitMark
from crawler.crawl.evidence import evidence_row, inventing_places
from crawler.crawl.network_sizes import (
    SO_FAR,
    FamilySizes,
    FamilyTally,
    Unit,
    counted_of,
    estimate_of,
    estimates_of,
    family_sizes,
    joint_estimates,
)
from crawler.crawl.sybil_alarms import sybil_tests
from crawler.db.database import CrawlDatabase
from crawler.db.records.records import SizeEstimate, SybilTestResult
from crawler.zone import Zone
from dhtnode import Family


@dataclass(frozen=True, slots=True)
class Findings:
    """The network sizes by each method, and the results of the tests for Sybils."""

    sizes: tuple[SizeEstimate, ...]
    tests: tuple[SybilTestResult, ...]

    def size(self, family: Family | None, method: str) -> SizeEstimate | None:
        """Return the size of a family, or of both with None, by a method, if there is one."""
        found = (size for size in self.sizes if (size.family, size.method) == (family, method))
        return next(found, None)

    @property
    def alarms(self) -> int:
        """Return how many suspects there are."""
        return sum(each.is_suspect for each in self.tests)


def compute_findings(
    store: CrawlDatabase,
    run_id: int,
    tallies: Mapping[Family, FamilyTally],
    zone: Zone,
    random: Random,
    watched: Sequence[bytes] = (),
) -> Findings:
    """Compute and record the results of a run, all visits of which are written.

    `watched` are ids whose surroundings are tested in any case; those outside of the zone are left out.
    Costs some us for each node, and a second or two.  Raises `DatabaseError`.
    """
    families: list[FamilySizes] = []
    tests: list[SybilTestResult] = []
    for family, tally in sorted(tallies.items()):
        sizes = family_sizes(family, tally, zone, random)
        if sizes.counts.answered:
            families.append(sizes)
            tests += sybil_tests(sizes, tally, zone, watched, random)
    estimates = [estimate for each in families for estimate in estimates_of(each, zone)]
    estimates += joint_estimates(families, zone)
    seen = [
        (family, each.evidence, each.control) for family, each in sorted(tallies.items()) if each.evidence
    ]
    store.visits.write_results(run_id, estimates, tests, [evidence_row(*each) for each in seen])
    for family, evidence, _ in seen:
        mark = VisitMark.INVENTED_CONTACTS
        store.visits.mark(run_id, family, inventing_places(evidence), mark)
    return Findings(tuple(estimates), tuple(tests))


def findings_so_far(
    store: CrawlDatabase, run_id: int, sizes: Mapping[Family, tuple[int, NetworkSize | None]], zone: Zone
) -> Findings:
    """Record what a run that is cut knows of each family: how many answered, and its size by distances."""
    estimates: list[SizeEstimate] = []
    for family, (answered, size) in sorted(sizes.items()):
        if answered:
            estimates.append(counted_of(family, Unit.ENDPOINTS, answered << zone.bits, zone))
        if size is not None:
            estimates.append(estimate_of(family, Unit.ENDPOINTS, SO_FAR, size, zone))
    store.visits.write_results(run_id, estimates, ())
    return Findings(tuple(estimates), ())
