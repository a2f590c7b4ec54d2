"""Visits to nodes in the database, and what a run of them amounts to."""

from collections.abc import Sequence
from itertools import count
from operator import add

from crawler.db.connection import GuardedConnection
from crawler.db.insert import Insert
from crawler.db.records.records import (
    ANSWERED,
    Answered,
    SizeEstimate,
    SybilTestResult,
    Visit,
    address_of,
    network_text,
)
from crawler.db.run_nodes import forget_run_nodes
from crawler.db.schema import OF_RUN
from dhtnode import Family


class VisitRows:
    """The visits of runs, and the results of a census; part of a `CrawlDatabase`."""

    def __init__(self, connection: GuardedConnection, *, anonymize: bool) -> None:
        self._db = connection
        self._is_anonymized = anonymize

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
        self, run_id: int, sizes: Sequence[SizeEstimate], tests: Sequence[SybilTestResult]
    ) -> None:
        """Record the results of a census, in place of what was recorded for it before."""
        connection = self._db.connection
        if self._is_anonymized:
            tests = [each._replace(subject=network_text(each.subject)) for each in tests]
        with self._db.transaction():
            connection.execute("DELETE FROM size_estimates WHERE run_id = ?", (run_id,))
            connection.execute("DELETE FROM alarms WHERE run_id = ?", (run_id,))
            _INSERT_SIZE.many(connection, sizes, run_id)
            _INSERT_ALARM.many(connection, tests, run_id)


_INSERT_SIZE = Insert("size_estimates", SizeEstimate)
_INSERT_ALARM = Insert("alarms", SybilTestResult, computed=("verdict",), without=("is_suspect",))

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
