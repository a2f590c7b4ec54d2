"""How the sizes of one census came about, from its rows alone, and whether they still give them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from random import Random
from typing import Any, TypeAlias

from crawler.crawl.evidence import tally_again
from crawler.crawl.network_sizes import (
    DISTANCES,
    SECOND_WALK,
    WITHOUT_INVENTORS,
    FamilySizes,
    FamilyTally,
    Unit,
    estimates_of,
    family_sizes,
    joint_estimates,
)
from crawler.db.connection import GuardedConnection
from crawler.db.records.records import CensusEvidence, SizeEstimate
from crawler.db.visits import VisitRows
from crawler.zone import Zone
from dhtnode import Family

Row: TypeAlias = Mapping[str, Any]

ACCURACY = 1e-9  # as a share: sums may be taken in another order
METHODS = {
    "counted": "the mere count of those that answered",
    "crawl": "the headline: those that answered, and those that were missed",
    "chapman": "from the halves of the crawl; no interval, because lost packets are not in it",
    "endpoints": "as the headline, of endpoints",
    SECOND_WALK: "from the share of the nodes of a second walk that were counted; lost packets are in it",
    WITHOUT_INVENTORS: "as the headline, without nodes that hand out nodes which do not exist",
    DISTANCES: "a test that ids are uniform, made of the ids that were counted; no second count",
    "so far": "of a census that was cut, by distances between those known then",
}


@dataclass(frozen=True, slots=True)
class FamilyCounts:
    """What the rows of one family come to."""

    sizes: FamilySizes
    tally: FamilyTally
    visits: int
    sighted: int


@dataclass(frozen=True, slots=True)
class CensusExplanation:
    """The recorded sizes of a census, and what its rows come to when all is counted again.

    `again` is empty when that cannot be done, and `missing` says why; `differences` name what is not the
    same as recorded.
    """

    run: Row
    recorded: Sequence[Row]
    families: Sequence[FamilyCounts]
    again: Sequence[SizeEstimate]
    missing: str | None
    differences: tuple[str, ...]


def explain_census(connection: GuardedConnection, run_id: int, random: Random) -> CensusExplanation | None:
    """Return what is known of a census, counted again from its visits; None if there is none.

    Some 10 us for each visit.  Raises `DatabaseError`.
    """
    runs = list(connection.select("SELECT * FROM runs WHERE id = ? AND command = 'census'", run_id))
    if not runs:
        return None
    recorded = list(connection.select(_RECORDED, run_id))
    visits = VisitRows(connection, anonymize=False)
    evidence = visits.evidence(run_id)
    if not evidence or not recorded:
        return CensusExplanation(runs[0], recorded, (), (), _missing(connection, runs[0], recorded), ())
    try:
        zone = _zone_of(recorded)
        families = [_family(visits, run_id, each, recorded, zone, random) for each in evidence]
    except ValueError as error:
        return CensusExplanation(runs[0], recorded, (), (), f"a row is damaged ({error})", ("visits",))
    families = [each for each in families if each.sizes.counts.answered]
    again = [estimate for each in families for estimate in estimates_of(each.sizes, zone)]
    again += joint_estimates([each.sizes for each in families], zone)
    return CensusExplanation(runs[0], recorded, families, again, None, _differences(recorded, again))


_RECORDED = """
SELECT family, method, unit, estimate, low, high, zone, details FROM size_estimates
WHERE run_id = ? ORDER BY family IS NULL, family, rowid
"""


def _missing(connection: GuardedConnection, run: Row, recorded: Sequence[Row]) -> str:
    if run["status"] != "finished":
        return "it did not come to its end, and what is known of endpoints by then is not kept with it"
    if not recorded:
        return "no node answered it"
    first = connection.first(
        "SELECT instr(host, '/') FROM visit_rows WHERE id > ?1 << 32 ORDER BY id LIMIT 1", run["id"]
    )
    if first is not None and first[0]:
        return "it is anonymized, and its visits do not tell hosts and ids apart"
    return "what it takes beside the visits was deleted, with nodes or visits of this database"


def _zone_of(recorded: Sequence[Row]) -> Zone:
    text = recorded[0]["zone"]
    return Zone() if text == str(Zone()) else Zone(int(text, 2), len(text))


def _family(
    visits: VisitRows,
    run_id: int,
    kept: CensusEvidence,
    recorded: Sequence[Row],
    zone: Zone,
    random: Random,
) -> FamilyCounts:
    units = [row["unit"] for row in recorded if (row["family"], row["method"]) == (kept.family, "crawl")]
    by_endpoint = Unit.ENDPOINTS in units
    tally = tally_again(visits, run_id, kept, random, by_endpoint=by_endpoint)
    sizes = family_sizes(Family(kept.family), tally, zone, random)
    return FamilyCounts(sizes, tally, len(kept.known), kept.sighted)


def _differences(recorded: Sequence[Row], again: Sequence[SizeEstimate]) -> tuple[str, ...]:
    kept = {(row["family"], row["method"]): row for row in recorded}
    computed = {(each.family, each.method): each for each in again}
    return tuple(
        difference_name(*key)
        for key in {**kept, **computed}
        if key not in kept or key not in computed or not _is_same(kept[key], computed[key])
    )


def difference_name(family: int | None, method: str) -> str:
    """Return what `differences` call an estimate."""
    return f"{method} of {family_name(family)}"


def family_name(family: int | None) -> str:
    """Return the name of a family, or of both."""
    return f"IPv{int(family)}" if family else "both families"


def _is_same(row: Row, computed: SizeEstimate) -> bool:
    pairs = ((row[name], getattr(computed, name)) for name in ("estimate", "low", "high"))
    return row["unit"] == computed.unit and all(
        kept == value or (kept is not None and value is not None and isclose(kept, value, rel_tol=ACCURACY))
        for kept, value in pairs
    )
