"""Which nodes were there in each of many censuses of one zone: what sessions are made of."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from crawler.db.records.records import ANSWERED, address_of, epoch_seconds
from crawler.db.schema import FAMILY, OF_RUN
from crawler.zone import Zone

WHOLE = ""

# A run covers a zone if it crawled it or more.  Only a finished run shows which nodes were not there.
_RUNS = """
SELECT DISTINCT runs.id, runs.started_at, CASE zone WHEN 'whole' THEN '' ELSE zone END
FROM runs JOIN size_estimates ON run_id = runs.id
WHERE runs.status = 'finished' AND method = 'crawl' AND family = ?
ORDER BY runs.started_at, runs.id
"""

_NODES = f"""
SELECT {{key}}, max(outcome = {ANSWERED}) FROM visit_rows
{OF_RUN} AND (node_id BETWEEN ?2 AND ?3 OR instr(host, '/')) AND {FAMILY} = ?4
GROUP BY {{key}}
"""


@dataclass(frozen=True, slots=True)
class Rounds:
    """The censuses of a zone, given by its first bits, in order of time.

    `times` are seconds since the epoch at which they began; `answered` has, for each node ever returned, the
    rounds, numbers into `times`, in which it answered.
    """

    zone: str
    runs: Sequence[int]
    times: Sequence[float]
    answered: Mapping[str, Sequence[int]]

    @property
    def present(self) -> list[int]:
        """Return how many answered in each round."""
        counts = [0] * len(self.times)
        for numbers in self.answered.values():
            for number in numbers:
                counts[number] += 1
        return counts


def read_rounds(
    connection: sqlite3.Connection, family: int = 4, zone: str | None = None, by: str = "node_id"
) -> Rounds:
    """Read all finished censuses that cover a zone; by default the zone, of those crawled, of most censuses.

    `by` says what a node is: its "node_id" or its "endpoint"; ids change, and so do addresses.  Linear in the
    visits.  Raises `ValueError` for another word.
    """
    if by not in _KEYS:
        raise ValueError(f"{by!r} is neither 'node_id' nor 'endpoint'")
    runs = connection.execute(_RUNS, (family,)).fetchall()
    if zone is None:
        zone = _most_covered([crawled for _, _, crawled in runs])
    covering = [
        (run_id, started_at)
        for run_id, started_at, crawled in runs
        if zone.startswith(crawled) and (zone == crawled or not _is_anonymized(connection, run_id))
    ]
    answered: dict[str, list[int]] = {}
    low, high = Zone(int(zone or "0", 2), len(zone)).id_range
    for number, (run_id, _) in enumerate(covering):
        columns, name_of = _KEYS[by]
        rows = connection.execute(_NODES.format(key=columns), (run_id, low, high, family))
        for *key, has_answered in rows:
            rounds = answered.setdefault(name_of(*key), [])
            if has_answered:
                rounds.append(number)
    return Rounds(
        zone,
        tuple(run_id for run_id, _ in covering),
        tuple(epoch_seconds(started_at) for _, started_at in covering),
        answered,
    )


def _is_anonymized(connection: sqlite3.Connection, run_id: int) -> bool:
    """Return whether ids of a run are pseudonyms, which do not tell in which zone a node is."""
    row = connection.execute(
        f"SELECT instr(host, '/') FROM visit_rows {OF_RUN} LIMIT 1", (run_id,)
    ).fetchone()
    return row is not None and bool(row[0])


_KEYS: dict[str, tuple[str, Callable[..., str]]] = {
    "node_id": ("node_id", bytes.hex),
    "endpoint": ("host, port", lambda host, port: f"{address_of(host, port).host} {port}"),
}
"""The columns that tell nodes apart, and what makes one text of them."""


def _most_covered(zones: Sequence[str]) -> str:
    """Return the zone that most censuses cover; of several the largest."""
    return max(
        sorted(set(zones), key=len),
        key=lambda zone: sum(zone.startswith(each) for each in zones),
        default=WHOLE,
    )
