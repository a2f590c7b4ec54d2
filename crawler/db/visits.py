"""Visits to nodes in the database, and what a run of them amounts to."""

from collections.abc import Iterator, Sequence
from itertools import count
from operator import add

from crawler.db.connection import GuardedConnection
from crawler.db.insert import Insert
from crawler.db.records.records import (
    ANSWERED,
    OUTCOME_CODES,
    Answered,
    CensusEvidence,
    EndedVisits,
    SizeEstimate,
    SybilTestResult,
    Visit,
    VisitFacts,
    address_of,
    network_text,
)
from crawler.db.run_nodes import forget_run_nodes
from crawler.db.schema import FAMILY, OF_RUN
from dhtnode import Family


class VisitRows:
    """The visits of runs, and the results of a census; part of a `CrawlDatabase`."""

    def __init__(self, connection: GuardedConnection, *, anonymize: bool) -> None:
        self._db = connection
        self.is_anonymized = anonymize

    def write(self, run_id: int, visits: Sequence[Visit]) -> None:
        """Add visits; the caller has a transaction open.

        They enter `node_rows` when the run ends, because its index is slow to grow at random.
        """
        if not visits:
            return
        connection = self._db.connection
        forget_run_nodes(connection)
        (last,) = connection.execute(_LAST_ID, (run_id,)).fetchone()
        _INSERT_VISIT.rows(connection, list(map(add, zip(count(last + 1)), visits)))

    def answered(self, run_id: int, family: Family, after_id: int, limit: int) -> list[Answered]:
        """Return nodes that have answered in a run, in that order, from a visit on; not those verified."""
        rows = self._db.execute(_ANSWERED, (run_id, after_id, family is Family.IPV6, limit)).fetchall()
        return [
            Answered(number, node_id, address_of(host, port), taken_at / 1000)
            for number, node_id, host, port, taken_at in rows
        ]

    def write_results(
        self,
        run_id: int,
        sizes: Sequence[SizeEstimate],
        tests: Sequence[SybilTestResult],
        evidence: Sequence[CensusEvidence] = (),
    ) -> None:
        """Record the results of a census, in place of what was recorded for it before.

        The evidence of an anonymized one is left out: its visits do not tell hosts apart.
        """
        connection = self._db.connection
        if self.is_anonymized:
            tests = [each._replace(subject=network_text(each.subject)) for each in tests]
        with self._db.transaction():
            for table in ("size_estimates", "alarms", "census_evidence"):
                connection.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))
            _INSERT_SIZE.many(connection, sizes, run_id)
            _INSERT_ALARM.many(connection, tests, run_id)
            _INSERT_EVIDENCE.many(connection, () if self.is_anonymized else evidence, run_id)

    def endpoints(self, run_id: int, family: Family) -> Iterator[VisitFacts]:
        """Yield the visits of a run that are no verification, in order."""
        with self._db.reported():
            yield from map(VisitFacts._make, self._db.execute(_ENDPOINTS, (run_id, family)))

    def mark(self, run_id: int, family: Family, places: Sequence[int], mark: str) -> None:
        """Add a mark to visits of a run, given by their places among those that `endpoints` yields."""
        with self._db.transaction():
            if places:
                ids = self._db.execute(_IDS, (run_id, family)).fetchall()
                marked = [(mark, mark, *ids[place]) for place in places]
                self._db.executemany(_MARK, marked)

    def ended(self, run_id: int) -> list[EndedVisits]:
        """Return how the visits of a run have ended; 1 us for each."""
        return [
            EndedVisits(
                Family(row["family"]),
                bool(row["is_verification"]),
                _OUTCOMES[row["outcome"]],
                row["referrers"],
                row["visits"],
            )
            for row in self._db.select(_ENDED, run_id)
        ]

    def evidence(self, run_id: int) -> list[CensusEvidence]:
        """Return what else the sizes of a census follow from, by family."""
        rows = self._db.select("SELECT * FROM census_evidence WHERE run_id = ? ORDER BY family", run_id)
        return [CensusEvidence(**{name: row[name] for name in CensusEvidence._fields}) for row in rows]


_INSERT_SIZE = Insert("size_estimates", SizeEstimate)
_INSERT_ALARM = Insert("alarms", SybilTestResult, computed=("verdict",), without=("is_suspect",))

_OUTCOMES = {code: outcome for outcome, code in OUTCOME_CODES.items()}
_ENDED = f"""
SELECT {FAMILY} AS family, is_verification, outcome, referrers, count(*) AS visits
FROM visit_rows {OF_RUN} GROUP BY 1, 2, 3, 4
"""
_INSERT_EVIDENCE = Insert("census_evidence", CensusEvidence)
_ENDPOINTS = f"""
SELECT {", ".join(VisitFacts._fields)} FROM visit_rows
{OF_RUN} AND NOT is_verification AND {FAMILY} = ?2
ORDER BY id
"""
_IDS = _ENDPOINTS.replace(", ".join(VisitFacts._fields), "id")
_MARK = """
UPDATE visit_rows SET marks = coalesce(marks || ' ' || ?, ?) WHERE id = ?
"""

# Rows have the fields of a visit as they are, behind the number.
_INSERT_VISIT = Insert("visit_rows", Visit, ("id",))

_LAST_ID = f"SELECT coalesce(max(id), ?1 << 32) FROM visit_rows {OF_RUN}"

# Of those that have answered, the ones that have not been queried again since.
_ANSWERED = f"""
SELECT id, node_id, host, port, taken_at FROM visit_rows AS visit
{OF_RUN} AND id > ?2 AND outcome = {ANSWERED} AND NOT is_verification AND (instr(host, ':') > 0) = ?3
    AND NOT EXISTS (
        SELECT 1 FROM visit_rows
        WHERE is_verification AND run_id = visit.run_id AND node_id = visit.node_id
            AND host = visit.host AND port = visit.port
    )
ORDER BY id
LIMIT ?4
"""
