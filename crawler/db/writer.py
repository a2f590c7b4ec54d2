"""Rows from the crawl to the database: buffered, written in batches, in a worker thread.

No other task uses the database while a writer is open.  A batch is written when it is full or its time is
up, and leaves the buffer only after its transaction: cancelling never loses one.  While the database cannot
be written, it waits (`patience`).  Leaving the block writes what is left, even when the block was cancelled,
or hands it over to a file.

The buffer has a soft bound: `put` waits.  A callback, which has to use `put_nowait`, calls
`wait_for_capacity` before it starts new work, so that it exceeds the bound by the work in flight only.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import trio

from crawler.db.database import CrawlDatabase, DatabaseError, Record
from crawler.db.records.infohash_samples import SampleBatch
from crawler.db.records.records import CrawlBatch
from crawler.db.records.trackers import SweepBatch
from crawler.db.unwritten.patience import Patience, patiently
from dhtnode.nurseries import open_service_nursery

# Rows.  Larger batches save little more, and a killed process loses up to one.
BATCH = 500
MAX_AGE = 1.0  # seconds that a row waits for its batch to fill
BUFFERED_BATCHES = 4  # beyond these, `put` waits
# Seconds for the last batches; on a healthy disk they take well under one.
CLOSING_TIME = 30.0
REST_TIME = 5.0  # the same before the counts of a crawl that is cut
SAMPLES_A_ROW = 20  # samples of a tracker are small

RunSync: TypeAlias = Callable[..., Awaitable[Any]]
"""`trio.to_thread.run_sync`, or for virtual time a stand-in that calls the function directly.

It is called with a function, its arguments, and `limiter=`; once it has called the function it
must not be cancelled before that returns.
"""

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WriterStatistics:
    """Rows and batches since the writer was opened."""

    rows_written: int
    batches_written: int
    rows_buffered: int


class Writer:
    """A buffer of records that are written in batches; made by `open_writer`."""

    def __init__(
        self, database: CrawlDatabase, run_id: int, *, batch: int, max_age: float, run_sync: RunSync
    ) -> None:
        self._database = database
        self._run_id = run_id
        self._batch = batch
        self._max_age = max_age
        self._run_sync = run_sync
        self._limiter = trio.CapacityLimiter(1)
        self._turn = trio.Lock()  # of a batch, from the buffer to the database
        self._buffer: list[Record] = []
        self._rows = 0  # in the buffer
        self._rows_written = 0
        self._batches_written = 0
        self._closed = False
        self._failure: DatabaseError | None = None
        self._is_waiting = False  # and the user knows
        self._has_rows = trio.Event()
        self._has_batch = trio.Event()
        self._has_capacity = trio.Event()

    def put_nowait(self, record: Record) -> None:
        """Buffer a record without waiting and without a bound; see `wait_for_capacity`.

        Raises `trio.ClosedResourceError` once the writer is closed.
        """
        if self._closed:
            raise trio.ClosedResourceError("the writer is closed")
        self._buffer.append(record)
        self._rows += _rows_of(record)
        self._has_rows.set()
        if self._rows >= self._batch:
            self._has_batch.set()

    async def put(self, record: Record) -> None:
        """Buffer a record, after waiting until no more than four batches are buffered."""
        await self.wait_for_capacity()
        self.put_nowait(record)

    async def wait_for_capacity(self) -> None:
        """Wait until no more than four batches are buffered."""
        await trio.lowlevel.checkpoint()
        while self._rows > BUFFERED_BATCHES * self._batch:
            await self._has_capacity.wait()

    async def call(self, function: Callable[[CrawlDatabase], T]) -> T:
        """Run a function of the database in the worker thread, once all that is buffered is written.

        It is not interrupted by a cancellation.  Raises what the function does, and
        `trio.ClosedResourceError` once the writer is closed.
        """
        if self._closed:
            raise trio.ClosedResourceError("the writer is closed")
        await trio.lowlevel.checkpoint()
        due = self._rows_written + self._rows
        while self._rows_written < due:
            # It is written now, however small it is.
            self._has_batch.set()
            await self._has_capacity.wait()
        return await self._patiently(function, self._database)

    def statistics(self) -> WriterStatistics:
        """Return how many rows were written and how many wait."""
        return WriterStatistics(self._rows_written, self._batches_written, self._rows)

    async def call_at_once(self, function: Callable[[CrawlDatabase], T]) -> T:
        """Run a function of the database like `call`, before what is still buffered."""
        if self._closed:
            raise trio.ClosedResourceError("the writer is closed")
        await trio.lowlevel.checkpoint()
        return await self._patiently(function, self._database)

    async def write_rest(self) -> None:
        """Write what is buffered, also where `run` was cancelled; what takes long is left to `aclose`."""
        with trio.move_on_after(REST_TIME), suppress(DatabaseError):
            while self._buffer:
                await self._write_batch()

    async def run(self) -> None:
        """Write batches as they fill or grow old, for ever; raise what the database raises."""
        while True:
            await self._has_rows.wait()
            with trio.move_on_after(self._max_age):
                await self._has_batch.wait()
            await self._write_batch()

    async def aclose(self) -> None:
        """Refuse further records and write what is buffered, for at most `CLOSING_TIME`.

        Not to be called while `run` is running.  Hands what stays unwritten over to a file, and raises
        `DatabaseError`, which says so.
        """
        self._closed = True
        closing = trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSING_TIME)
        with closing, suppress(DatabaseError):
            # What was waited for in vain is not waited for again.
            while self._buffer and self._failure is None:
                await self._write_batch()
        if self._buffer:
            reason = self._failure or DatabaseError(f"{self._database.path}: too slow")
            raise type(reason)(f"{reason}; {self._hand_over()}") from self._failure

    def _hand_over(self) -> str:
        """Put what is buffered into a file, and return what became of it."""
        path = self._database.hand_over(self._run_id, self._buffer)
        rows, self._rows = self._rows, 0
        self._buffer.clear()
        if path is None:
            return f"{rows} rows are lost"
        if path.parent == Path(self._database.path).resolve().parent:
            return f"{rows} rows are in {path} until the next command that writes takes them in"
        return f"{rows} rows are in {path}: move it beside the database, and the next command takes them in"

    async def _patiently(self, function: Callable[..., T], *args: object) -> T:
        """Run a function in the worker thread; while the database cannot be written, again and again."""

        async def attempt() -> T:
            result: T = await self._run_sync(function, *args, limiter=self._limiter)
            return result

        try:
            result = await patiently(attempt, Patience(trio.current_time()), self._say)
        except DatabaseError as error:
            self._failure = error
            raise
        self._failure, self._is_waiting = None, False
        return result

    def _say(self, error: DatabaseError) -> None:
        if not self._is_waiting:
            self._is_waiting = True
            logger.warning("%s; %d rows wait until it can be written", error, self._rows)

    async def _write_batch(self) -> None:
        async with self._turn:
            records, rows = self._next_batch()
            if records:
                await self._patiently(self._database.write, self._run_id, records)
                self._rows_written += rows
                self._batches_written += 1
                self._drop_written(len(records), rows)

    def _next_batch(self) -> tuple[list[Record], int]:
        """Return the first records of the buffer, as many as make up a batch, and their rows."""
        records: list[Record] = []
        rows = 0
        for record in self._buffer:
            records.append(record)
            rows += _rows_of(record)
            if rows >= self._batch:
                break
        return records, rows

    def _drop_written(self, count: int, rows: int) -> None:
        del self._buffer[:count]
        self._rows -= rows
        if not self._buffer:
            self._has_rows = trio.Event()
        if self._rows < self._batch:
            self._has_batch = trio.Event()
        self._has_capacity.set()
        self._has_capacity = trio.Event()


def _rows_of(record: Record) -> int:
    if isinstance(record, SampleBatch):
        return len(record.samples)
    if isinstance(record, SweepBatch):
        return 1 + len(record.samples) // SAMPLES_A_ROW
    return len(record.visits) if isinstance(record, CrawlBatch) else 1


@asynccontextmanager
async def open_writer(
    database: CrawlDatabase,
    run_id: int,
    *,
    batch: int = BATCH,
    max_age: float = MAX_AGE,
    run_sync: RunSync = trio.to_thread.run_sync,
) -> AsyncIterator[Writer]:
    """Write records of a run for as long as the block lasts, and the rest at its end.

    A `DatabaseError` cancels the block and is raised from it; other exceptions of the block come
    through as they are.  The database stays open, for the caller to use again.
    """
    writer = Writer(database, run_id, batch=batch, max_age=max_age, run_sync=run_sync)
    try:
        async with open_service_nursery() as nursery:
            nursery.start_soon(writer.run, name="writer")
            yield writer
    finally:
        await writer.aclose()
