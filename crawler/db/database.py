"""The crawl database: rows in, rows out, through one SQLite connection.

Synchronous, and it knows tables, not networks.  A worker thread may make the calls, one thread at
a time (see `writer`).  Every write is one transaction: a process that is killed leaves whole
batches behind.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from crawler.db import infohash_samples
from crawler.db.connection import BUSY_TIMEOUT, DatabaseError, GuardedConnection, Row, open_writable
from crawler.db.infohash_samples import SampleRows
from crawler.db.leases.leases import RunLeases
from crawler.db.nodes import NodeTable
from crawler.db.purge import Purge
from crawler.db.records.infohash_samples import SampleBatch
from crawler.db.records.records import CrawlBatch, Visit
from crawler.db.run_nodes import forget_run_nodes
from crawler.db.runs import RunRows
from crawler.db.swarm_measurements import SwarmRows
from crawler.db.torrents import MetadataRows
from crawler.db.visits import VisitRows
from crawler.db.watched_swarms import WatchRows
from dhtnode.swarm import SwarmMeasurement

__all__ = ["BUSY_TIMEOUT", "CrawlDatabase", "DatabaseError", "Record"]

Record: TypeAlias = SwarmMeasurement | Visit | CrawlBatch | SampleBatch


class CrawlDatabase:
    """One crawl database, open to be written: made by `CrawlDatabase.open`, ended by `close` or `with`.

    Raises `DatabaseError` for what the file, the disk or another process does to it.
    """

    def __init__(self, connection: GuardedConnection, *, anonymize: bool) -> None:
        self.path = connection.path
        self.connection = connection.connection
        self._db = connection
        self._leases = RunLeases(connection)
        self.runs = RunRows(connection, self._leases, anonymize=anonymize)
        self.visits = VisitRows(connection, anonymize=anonymize)
        self.known = NodeTable(connection, self._leases.is_alive)
        self.swarms = SwarmRows(connection, anonymize=anonymize)
        self.samples = SampleRows(connection, anonymize=anonymize)
        self.watch = WatchRows(connection)
        self.purge = Purge(connection)
        self.metadata = MetadataRows(connection)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        anonymize: bool = False,
        busy_timeout: float = BUSY_TIMEOUT,
    ) -> Self:
        """Open a crawl database, creating it or bringing its tables up to date as needed.

        With `anonymize`, node addresses are written as their /24 or /48; rows that are already
        there stay as they are.  Raises `DatabaseError`, and leaves the file untouched, when it is no
        database, not one of ours, or made by another version.
        """
        connection = open_writable(str(path), busy_timeout)
        return cls(GuardedConnection(str(path), connection), anonymize=anonymize)

    def close(self) -> None:
        """Close the connection, and let go of the runs that have not ended; a second call does nothing."""
        self._leases.close()
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, run_id: int, records: Sequence[Record]) -> None:
        """Write observations of a run in one transaction: all of them, or none and `DatabaseError`.

        Costs some 5 us per visit and 25 per scrape reply, more as the index of nodes grows.
        """
        with self._db.transaction():
            self._leases.renew(run_id)
            self.swarms.write(run_id, [each for each in records if isinstance(each, SwarmMeasurement)])
            self.visits.write(run_id, [each for each in records if isinstance(each, Visit)])
            for record in records:
                if isinstance(record, CrawlBatch):
                    self.visits.write(run_id, record.visits)
                    self.runs.write_journal(run_id, record.journal)
                elif isinstance(record, SampleBatch):
                    self.samples.write(run_id, record.samples)
                    self.runs.write_journal(run_id, record.journal)

    @contextmanager
    def merging(self) -> Iterator[sqlite3.Connection]:
        """Give the connection, for one transaction that adds what other databases hold.

        All rows that were written here are counted before.  Raises `DatabaseError` while a run of this
        database is under way, which could not write for minutes.
        """
        with self._db.transaction():
            self.runs.refuse_while_running()
            infohash_samples.aggregate(self.connection)
            forget_run_nodes(self.connection)
            yield self.connection

    def rows(self, name: str) -> list[Row]:
        """Return all rows of a view or table, held in memory, in its own order.

        Raises `ValueError` when there is none of that name.
        """
        sql = "SELECT 1 FROM sqlite_master WHERE type IN ('table', 'view') AND name = ?"
        if self._db.first(sql, name) is None:
            raise ValueError(f"{name!r} is neither a table nor a view of {self.path}")
        return self._db.select(f'SELECT * FROM "{name}"')  # the database has it
