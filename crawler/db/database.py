"""The crawl database: rows in, rows out, through one SQLite connection.

Synchronous, and it knows tables, not networks.  A worker thread may make the calls, one thread at
a time (see `writer`).  Every write is one transaction: a process that is killed leaves whole
batches behind.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from crawler.db import infohash_samples
from crawler.db.connection import BUSY_TIMEOUT, DatabaseError, GuardedConnection, Row, open_writable
from crawler.db.infohash_samples import SampleRows
from crawler.db.leases.leases import RunLeases
from crawler.db.nodes import NodeTable
from crawler.db.purge.purge import Purge
from crawler.db.records.infohash_samples import SampleBatch
from crawler.db.records.pseudonyms import Pseudonyms
from crawler.db.records.records import CrawlBatch, Visit
from crawler.db.records.torrents import HandshakeBatch
from crawler.db.records.trackers import SweepBatch
from crawler.db.run_nodes import forget_run_nodes
from crawler.db.runs import RunRows
from crawler.db.swarm_measurements import SwarmRows
from crawler.db.torrents import MetadataRows, WebSeedRows
from crawler.db.trackers import TrackerRows
from crawler.db.unwritten import files
from crawler.db.visits import VisitRows
from crawler.db.watched_swarms import WatchRows
from dhtnode.swarm import SwarmMeasurement

__all__ = ["BUSY_TIMEOUT", "CrawlDatabase", "DatabaseError", "Record"]

_NOTE_FILE = "INSERT OR IGNORE INTO files_taken_in (name) VALUES (?)"

Record: TypeAlias = SwarmMeasurement | Visit | CrawlBatch | SampleBatch | HandshakeBatch | SweepBatch


class CrawlDatabase:
    """One crawl database, open to be written: made by `CrawlDatabase.open`, ended by `close` or `with`.

    Raises `DatabaseError` for what the file, the disk or another process does to it.
    """

    def __init__(
        self, connection: GuardedConnection, pseudonyms: Pseudonyms | None, *, anonymize: bool
    ) -> None:
        self.path = connection.path
        self.connection = connection.connection
        self._db = connection
        # Of what is measured from now on; rows that others hand over are as those have measured them.
        self._hide: Callable[[Record], Record] | None = pseudonyms.hide if pseudonyms and anonymize else None
        self._leases = RunLeases(connection)
        self.runs = RunRows(connection, self._leases)
        self.visits = VisitRows(connection, anonymize=anonymize)
        self.known = NodeTable(connection, self._leases.is_alive)
        self.swarms = SwarmRows(connection)
        self.samples = SampleRows(connection, pseudonyms, anonymize=anonymize)
        self.watch = WatchRows(connection)
        self.purge = Purge(connection, pseudonyms)
        self.metadata = MetadataRows(connection)
        self.web_seeds = WebSeedRows(connection)
        self.trackers = TrackerRows(connection, anonymize=anonymize)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        anonymize: bool = False,
        busy_timeout: float = BUSY_TIMEOUT,
    ) -> Self:
        """Open a crawl database, creating it or bringing its tables up to date as needed.

        With `anonymize`, nodes are written with their /24 or /48, no port, and pseudonyms in place of ids,
        whose key is drawn into a file beside the database; rows that are already there stay.  Raises
        `DatabaseError`, and leaves the file untouched, when it is no database, not one of ours, or made
        by another version.
        """
        connection = GuardedConnection(str(path), open_writable(str(path), busy_timeout))
        with ExitStack() as unless_ready:
            unless_ready.callback(connection.close)
            with connection.transaction():  # so that no other process draws a key now
                pseudonyms = _pseudonyms_of(str(path), may_be_new=anonymize)
            store = cls(connection, pseudonyms, anonymize=anonymize)
            unless_ready.callback(store.close)
            store.take_in()
            unless_ready.pop_all()
        return store

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
            self._write(run_id, self._hidden(records))

    def _hidden(self, records: Sequence[Record]) -> Sequence[Record]:
        """Return records as they may be written anywhere."""
        return records if self._hide is None else list(map(self._hide, records))

    def _write(self, run_id: int, records: Sequence[Record], *, with_journals: bool = True) -> None:
        self.swarms.write(run_id, [each for each in records if isinstance(each, SwarmMeasurement)])
        self.visits.write(run_id, [each for each in records if isinstance(each, Visit)])
        for record in records:
            if isinstance(record, CrawlBatch):
                self.visits.write(run_id, record.visits)
            elif isinstance(record, SampleBatch):
                self.samples.write(run_id, record.samples)
            elif isinstance(record, HandshakeBatch):
                self.metadata.write(run_id, record)
            elif isinstance(record, SweepBatch):
                self.trackers.write(run_id, record)
            if with_journals and isinstance(record, CrawlBatch | SampleBatch) and record.journal:
                self.runs.write_journal(run_id, record.journal)

    def hand_over(self, run_id: int, records: Sequence[Record]) -> Path | None:
        """Write records to a file, because they cannot be written here, and return where it is.

        The next process that opens this database to write takes them in.  Returns None where no disk has
        room.
        """
        if self.path == ":memory:":
            return None
        with suppress(DatabaseError):
            handed = files.HandedOver(run_id, self.runs.count_journals(run_id), self._hidden(records))
            return files.write(self.path, handed)
        return None

    def take_in(self) -> None:
        """Write what other processes have handed over, each file once, and delete the files."""
        for path in files.waiting(self.path):
            handed = files.read(path)
            if handed is not None:
                with self._db.transaction():
                    if self._db.execute(_NOTE_FILE, (path.name,)).rowcount:
                        self._take_in(handed)
                path.unlink(missing_ok=True)

    def _take_in(self, handed: files.HandedOver) -> None:
        run_id = handed.run_id
        if self._db.first("SELECT 1 FROM runs WHERE id = ?", run_id) is None:
            return  # it was deleted meanwhile
        # A run that has gone on since then has asked those nodes again, and its journals follow each other.
        has_stood = self.runs.count_journals(run_id) == handed.journals
        self._write(run_id, handed.records, with_journals=has_stood)
        self.runs.count_again(run_id)

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


def _pseudonyms_of(path: str, *, may_be_new: bool) -> Pseudonyms | None:
    try:
        return Pseudonyms.of_database(path, may_be_new=may_be_new)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DatabaseError(f"{path}: no key for pseudonyms: {reason}") from error
