"""Visits to nodes in the database, and what a run of them amounts to."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from crawler.db import infohash_samples
from crawler.db.connection import GuardedConnection
from crawler.db.insert import Insert
from crawler.db.records.records import Answered, SizeEstimate, SybilTestResult, Visit, epoch_seconds
from crawler.db.run_nodes import RunNodes, forget_run_nodes, make_run_nodes
from dhtnode import Address, Family


class VisitRows:
    """The visits of runs, and the results of a census; part of a `CrawlDatabase`."""

    def __init__(self, connection: GuardedConnection, *, anonymize: bool) -> None:
        self._db = connection
        self._insert = Insert("visits", Visit, anonymize=anonymize)

    def write(self, run_id: int, visits: Sequence[Visit]) -> None:
        """Add visits; the caller has a transaction open.

        They enter `nodes` when the run ends, because its index is slow to grow at random.
        """
        if visits:
            forget_run_nodes(self._db.connection)
            self._insert.many(self._db.connection, visits, run_id)

    def answered(self, run_id: int, family: Family, after_id: int, limit: int) -> list[Answered]:
        """Return nodes that have answered in a run, in that order, from a visit on; not those verified."""
        return [
            Answered(
                row["id"],
                bytes.fromhex(row["node_id"]),
                Address(row["address"], row["port"]),
                epoch_seconds(row["taken_at"]),
            )
            for row in self._db.select(_ANSWERED, run_id, after_id, family is Family.IPV6, limit)
        ]

    @contextmanager
    def by_node(self, run_id: int) -> Iterator[Callable[[Family], RunNodes]]:
        """Give, for the length of the block, what reads the nodes of a family that a run has visited.

        `nodes` and the counts of the run are brought up to date first; some 10 us for each visit.
        """
        with self._db.transaction():
            infohash_samples.aggregate(self._db.connection)
            make_run_nodes(self._db.connection, run_id)
        with self._db.reported():
            yield lambda family: RunNodes(self._db.connection, family)

    def write_results(
        self, run_id: int, sizes: Sequence[SizeEstimate], tests: Sequence[SybilTestResult]
    ) -> None:
        """Record the results of a census, in place of what was recorded for it before."""
        connection = self._db.connection
        with self._db.transaction():
            connection.execute("DELETE FROM size_estimates WHERE run_id = ?", (run_id,))
            connection.execute("DELETE FROM alarms WHERE run_id = ?", (run_id,))
            _INSERT_SIZE.many(connection, sizes, run_id)
            _INSERT_ALARM.many(connection, tests, run_id)


_INSERT_SIZE = Insert("size_estimates", SizeEstimate)
_INSERT_ALARM = Insert("alarms", SybilTestResult, computed=("verdict",), without=("is_suspect",))

# Of those that have answered, the ones that have not been queried again since.
_ANSWERED = """
SELECT id, node_id, address, port, taken_at FROM visits AS visit
WHERE run_id = ? AND id > ? AND outcome = 'answered' AND NOT is_verification
    AND (instr(address, ':') > 0) = ?
    AND NOT EXISTS (
        SELECT 1 FROM visits
        WHERE is_verification AND run_id = visit.run_id AND node_id = visit.node_id
            AND port = visit.port AND address = visit.address
    )
ORDER BY id
LIMIT ?
"""
