"""The report on who came to swarms and who left, computed from the filters that are kept."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, replace

from crawler.analysis import SwarmChange, swarm_change
from crawler.db.swarm_measurements import observation_in
from crawler.reports.questions.swarms import LATEST
from crawler.reports.report import LIMIT, Cell, Column, Report, ReportAnswer, Row, select, whole
from dhtnode import Interval
from dhtnode.swarm import Observation

_ENDS = ("", "_low", "_high")
_COMPUTED = (
    *(Column(f"{name}{end}", "peers/h") for name in ("arrivals", "departures") for end in _ENDS),
    *(Column(f"change{end}", "peers") for end in _ENDS),
    Column("is_clear"),
)
_UNKNOWN: Row = (None,) * len(_COMPUTED)
_OF_PAIR = ", ".join(
    f"""(
    SELECT {name} FROM swarm_pairs AS pair WHERE pair.info_hash = twice.info_hash AND sample_id = twice.id
    ) AS {name}"""
    for name in ("taken_before", "hours", "nodes", "sample_before")
)


@dataclass(frozen=True, slots=True)
class ChangesReport(Report):
    """A report of pairs of measurements, to which it adds what the filters of both tell."""

    def answer(
        self, db: sqlite3.Connection, *, run: int | None = None, limit: int = LIMIT, **values: str
    ) -> ReportAnswer:
        """Return the answer; what was computed stands before the name of the swarm."""
        answer, records = self.ask(db, run, limit, values)
        rows = tuple(
            (*row[:-1], *_computed(db, record), row[-1])
            for row, record in zip(answer.rows, records, strict=True)
        )
        return replace(answer, columns=(*answer.columns[:-1], *_COMPUTED, answer.columns[-1]), rows=rows)


def _computed(db: sqlite3.Connection, record: Mapping[str, Cell]) -> Row:
    """Return what came of the pair of measurements in a record, in the order of `_COMPUTED`."""
    before, after = record["sample_before"], record["sample_id"]
    sizes, hours = (_size(db, before), _size(db, after)), record["hours"]
    if sizes[0] is None or sizes[1] is None:
        return _UNKNOWN
    try:
        nodes = _believed(db, before), _believed(db, after)
    except ValueError:  # of a damaged row, which `dhtcrawl explain` names
        return _UNKNOWN
    change = swarm_change(*nodes, (sizes[0], sizes[1]), hours if isinstance(hours, float) else None)
    return _UNKNOWN if change is None else _cells(change, hours)


def _cells(change: SwarmChange, hours: Cell) -> Row:
    counts = [*change.arrivals, *change.departures]
    rates = [round(count / hours, 2) if isinstance(hours, float) else None for count in counts]
    return (*rates, *(round(count, 1) for count in change.change), int(change.is_clear))


def _believed(db: sqlite3.Connection, sample: Cell) -> list[Observation]:
    names, rows = select(db, "SELECT * FROM scrape_replies WHERE sample_id = :sample", sample=sample)
    nodes = [observation_in(dict(zip(names, row, strict=True))) for row in rows]
    return [node for node in nodes if node.is_believed]


def _size(db: sqlite3.Connection, sample: Cell) -> Interval | None:
    """Return the size that was measured; None where it is a lower bound only."""
    columns = "SELECT peers, peers_low, peers_high FROM swarm_samples WHERE id = :sample"
    ends = [each for each in select(db, columns, sample=sample)[1][0] if isinstance(each, float)]
    return Interval(*ends) if len(ends) == 3 else None


changes = ChangesReport(
    name="changes",
    place=9,
    about="Tell who came to the largest swarms and who left since the measurement before.",
    question="Which of the largest swarms were measured twice, with filters to compare?",
    title="Arrivals and departures",
    text="Peers that came and that left by the hour between the last two measurements of a swarm, and the"
    " change of its size, each with a 95 % interval; who came and left in between is in none of them. They"
    " are computed from the filters of the nodes that sent them both times (`nodes`), and empty where too few"
    " did, or where a size is a lower bound. `is_clear` says that the size has changed: 5 in 100 swarms that"
    " have not seem to have. A peer that stays silent for half an hour counts as one that left, and as one"
    " that came when it announces again.",
    units={"hours": "h"},
    only_browsed=frozenset({"sample_before", "sample_id"}),
    sql=f"""
WITH {LATEST},
twice AS (
    SELECT info_hash, id FROM latest
    WHERE peers > 0 AND EXISTS (
        SELECT 1 FROM dht_samples AS other
        WHERE other.info_hash = latest.info_hash AND other.id <> latest.id
    )
    ORDER BY peers DESC, info_hash
    LIMIT :limit
),
pairs AS (
    SELECT twice.*, {_OF_PAIR} FROM twice
)
SELECT
    sample.info_hash, taken_before, taken_at, hours, nodes, {whole("peers peers_low peers_high")},
    sample_before, sample.id AS sample_id, name
FROM pairs
JOIN swarm_samples AS sample ON sample.id = pairs.id
JOIN swarms ON swarms.info_hash = sample.info_hash
WHERE sample_before IS NOT NULL
ORDER BY sample.peers DESC, sample.info_hash
""",
)
