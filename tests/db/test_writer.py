"""The writer: batches by count and age, nothing lost, nothing unbounded, nothing silent."""

import threading
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from crawler.db.connection import DatabaseBusy, DatabaseFull
from crawler.db.database import CrawlDatabase, DatabaseError
from crawler.db.records.records import Visit
from crawler.db.unwritten import files
from crawler.db.writer import Writer, WriterStatistics, open_writer
from dhtnode.addresses import Address
from dhtnode.ids import NodeId
from dhtnode.outcomes import Outcome
from tests.virtual_time import call
from tests.visits import visit_of


@pytest.fixture
def store() -> Iterator[CrawlDatabase]:
    with CrawlDatabase.open(":memory:") as opened:
        opened.runs.begin("census", {}, "0.1", "2025-06-01T12:00:00.000Z")
        yield opened


def visit(number: int) -> Visit:
    return visit_of(NodeId(number.to_bytes(20, "big")), Address("192.0.2.7", 6881), 0.0, Outcome.ANSWERED)


def numbers(store: CrawlDatabase) -> list[int]:
    return [int(row["node_id"], 16) for row in store.rows("visits")]


class Gate:
    """Stand in for a disk that writes when it is told to."""

    def __init__(self) -> None:
        self.pass_one = trio.Semaphore(0)
        self.batches: list[int] = []

    async def call(self, function: Callable[..., object], *args: object, limiter: object) -> object:
        await self.pass_one.acquire()
        self.batches.append(len(args[1]))  # type: ignore[arg-type]
        return function(*args)

    async def call_any(self, function: Callable[..., object], *args: object, limiter: object) -> object:
        """Call any function, not only those that write batches, once the gate is opened for it."""
        await self.pass_one.acquire()
        return function(*args)


async def test_full_batch_is_written_at_once(store: CrawlDatabase, autojump_clock: MockClock) -> None:
    async with open_writer(store, 1, batch=3, max_age=60.0, run_sync=call) as writer:
        for number in range(7):
            writer.put_nowait(visit(number))
        await wait_all_tasks_blocked()
        assert numbers(store) == [0, 1, 2, 3, 4, 5]
        assert writer.statistics() == WriterStatistics(rows_written=6, batches_written=2, rows_buffered=1)
        assert trio.current_time() == 0.0


async def test_old_row_is_written_without_company(store: CrawlDatabase, autojump_clock: MockClock) -> None:
    """A row is in the database within `max_age` of virtual seconds."""
    async with open_writer(store, 1, batch=100, max_age=1.0, run_sync=call) as writer:
        await writer.put(visit(0))
        await trio.sleep(0.9)
        assert numbers(store) == []
        await trio.sleep(0.2)
        assert numbers(store) == [0]
        await trio.sleep(100)
        assert writer.statistics().batches_written == 1


async def test_batch_is_500_rows_or_one_second_old(store: CrawlDatabase, autojump_clock: MockClock) -> None:
    async with open_writer(store, 1, run_sync=call) as writer:
        for number in range(501):
            writer.put_nowait(visit(number))
        await wait_all_tasks_blocked()
        assert len(numbers(store)) == 500
        await trio.sleep(1.01)
        assert len(numbers(store)) == 501


async def test_leaving_the_block_writes_the_rest(store: CrawlDatabase, autojump_clock: MockClock) -> None:
    async with open_writer(store, 1, batch=4, run_sync=call) as writer:
        for number in range(10):
            writer.put_nowait(visit(number))
    assert numbers(store) == list(range(10))
    assert writer.statistics() == WriterStatistics(rows_written=10, batches_written=3, rows_buffered=0)


async def test_cancelled_block_writes_the_rest(store: CrawlDatabase, autojump_clock: MockClock) -> None:
    with trio.CancelScope() as scope:
        async with open_writer(store, 1, batch=4, run_sync=call) as writer:
            for number in range(10):
                writer.put_nowait(visit(number))
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert numbers(store) == list(range(10))


async def test_rest_is_written_before_the_end_of_a_block_that_was_cancelled(
    store: CrawlDatabase, autojump_clock: MockClock
) -> None:
    """For what a crawl that is cut says; a batch that is on its way is not written twice."""
    is_writing, may_go_on = trio.Event(), trio.Event()

    async def slowly(function: Callable[..., object], *args: object, limiter: object) -> object:
        is_writing.set()
        with trio.CancelScope(shield=True):
            await may_go_on.wait()
        return function(*args)

    with trio.CancelScope() as scope:
        async with open_writer(store, 1, batch=4, run_sync=slowly) as writer:
            for number in range(7):
                writer.put_nowait(visit(number))
            await is_writing.wait()
            scope.cancel()
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(writer.write_rest)
                        await wait_all_tasks_blocked()
                        may_go_on.set()
                    assert numbers(store) == list(range(7))
    assert numbers(store) == list(range(7))


async def test_rest_that_cannot_be_written_is_left_to_the_end(
    store: CrawlDatabase, autojump_clock: MockClock
) -> None:
    gate = Gate()
    async with open_writer(store, 1, batch=4, run_sync=gate.call) as writer:
        writer.put_nowait(visit(0))
        await writer.write_rest()
        assert numbers(store) == []
        gate.pass_one.release()
    assert numbers(store) == [0]


async def test_write_under_way_is_not_repeated_when_cancelled(tmp_path: Path) -> None:
    """With real threads too every row is written exactly once, whenever the block is cancelled."""
    with CrawlDatabase.open(tmp_path / "crawl.db") as store:
        run_id = store.runs.begin("census", {}, "0.1", "2025-06-01T12:00:00.000Z")
        entered, leave = trio.Event(), threading.Event()

        async def slow(function: Callable[..., None], *args: object, limiter: trio.CapacityLimiter) -> None:
            def wait_and_call() -> None:
                trio.from_thread.run_sync(entered.set)
                leave.wait(10)
                function(*args)

            await trio.to_thread.run_sync(wait_and_call, limiter=limiter)

        async with trio.open_nursery() as nursery:

            async def crawl() -> None:
                async with open_writer(store, run_id, batch=2, run_sync=slow) as writer:
                    for number in range(5):
                        writer.put_nowait(visit(number))
                    await trio.sleep_forever()

            nursery.start_soon(crawl)
            await entered.wait()
            nursery.cancel_scope.cancel()
            leave.set()

        assert numbers(store) == [0, 1, 2, 3, 4]


async def test_real_threads_write_every_row(tmp_path: Path) -> None:
    with CrawlDatabase.open(tmp_path / "crawl.db") as store:
        run_id = store.runs.begin("census", {}, "0.1", "2025-06-01T12:00:00.000Z")

        async def produce(writer: Writer, first: int) -> None:
            for number in range(first, first + 200):
                await writer.put(visit(number))

        async with open_writer(store, run_id, batch=10) as writer, trio.open_nursery() as nursery:
            for first in (0, 200, 400):
                nursery.start_soon(produce, writer, first)
        assert sorted(numbers(store)) == list(range(600))


async def test_producer_waits_while_the_disk_is_behind(
    store: CrawlDatabase, autojump_clock: MockClock
) -> None:
    gate = Gate()
    async with open_writer(store, 1, batch=2, run_sync=gate.call) as writer, trio.open_nursery() as nursery:

        async def produce(first: int) -> None:
            for number in range(first, first + 10):
                await writer.put(visit(number))

        nursery.start_soon(produce, 0)
        nursery.start_soon(produce, 10)
        await wait_all_tasks_blocked()
        assert writer.statistics() == WriterStatistics(rows_written=0, batches_written=0, rows_buffered=9)

        gate.pass_one.release()
        await wait_all_tasks_blocked()
        assert writer.statistics() == WriterStatistics(rows_written=2, batches_written=1, rows_buffered=9)

        for _ in range(9):
            gate.pass_one.release()

    assert gate.batches == [2] * 10
    assert sorted(numbers(store)) == list(range(20))


async def test_callbacks_are_not_held_up(store: CrawlDatabase, autojump_clock: MockClock) -> None:
    """`put_nowait` always takes the row; callers that start work wait for capacity first."""
    gate = Gate()
    async with open_writer(store, 1, batch=2, run_sync=gate.call) as writer:
        await writer.wait_for_capacity()
        for number in range(20):
            writer.put_nowait(visit(number))
        with trio.move_on_after(60) as scope:
            await writer.wait_for_capacity()
        assert scope.cancelled_caught

        for _ in range(10):
            gate.pass_one.release()
        await writer.wait_for_capacity()
        assert writer.statistics().rows_buffered <= 8


class Refusal:
    """Stand in for a database that cannot be written before a moment of virtual time."""

    def __init__(self, error: DatabaseError, until: float = inf) -> None:
        self.error = error
        self.until = until
        self.tries = 0

    async def call(self, function: Callable[..., object], *args: object, limiter: object) -> object:
        self.tries += 1
        if trio.current_time() < self.until:
            raise self.error
        return function(*args)


BUSY = DatabaseBusy("crawl.db: is locked by another process")
FULL = DatabaseFull("crawl.db: the disk is full")


async def test_database_error_ends_the_block(store: CrawlDatabase, autojump_clock: MockClock) -> None:
    refusal = Refusal(DatabaseError("crawl.db: is damaged"))
    with pytest.raises(DatabaseError, match=r"^crawl\.db: is damaged; 3 rows are lost$"):
        async with open_writer(store, 1, batch=2, run_sync=refusal.call) as writer:
            for number in range(3):
                writer.put_nowait(visit(number))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
    assert (refusal.tries, trio.current_time()) == (1, 0.0)


async def test_database_error_at_the_end_is_raised(store: CrawlDatabase, autojump_clock: MockClock) -> None:
    refusal = Refusal(DatabaseError("crawl.db: is damaged"))
    with pytest.raises(DatabaseError, match=r"^crawl\.db: is damaged; 1 rows are lost$"):
        async with open_writer(store, 1, run_sync=refusal.call) as writer:
            writer.put_nowait(visit(0))


@pytest.mark.parametrize(("error", "until"), [(BUSY, 600.0), (FULL, 25.0)], ids=["held", "full"])
async def test_rows_wait_until_they_can_be_written(
    store: CrawlDatabase, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, error, until
) -> None:
    """For a VACUUM of ten minutes, say; the producer waits too, and a user is told once."""
    refusal = Refusal(error, until)
    async with open_writer(store, 1, batch=2, run_sync=refusal.call) as writer, trio.open_nursery() as tasks:

        async def produce() -> None:
            for number in range(100):
                await writer.put(visit(number))

        tasks.start_soon(produce)
        tasks.start_soon(writer.call_at_once, numbers)
        await trio.sleep(until - 1)
        assert writer.statistics() == WriterStatistics(0, 0, rows_buffered=9)
    assert numbers(store) == list(range(100))
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"{error}; 9 rows wait until it can be written"]


async def test_short_wait_is_not_worth_a_line(
    store: CrawlDatabase, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_writer(store, 1, run_sync=Refusal(BUSY, 10.0).call) as writer:
        await writer.put(visit(0))
        await trio.sleep(20)
        assert numbers(store) == [0]
    assert caplog.records == []


@pytest.mark.parametrize(("error", "seconds"), [(BUSY, 900.0), (FULL, 30.0)], ids=["held", "full"])
async def test_rows_that_waited_in_vain_are_handed_over(
    tmp_path: Path, autojump_clock: MockClock, error, seconds
) -> None:
    path = tmp_path / "crawl.db"
    with CrawlDatabase.open(path) as store:
        run_id = store.runs.begin("census", {}, "0.1", "2025-06-01T12:00:00.000Z")
        with pytest.raises(type(error)) as refused:
            async with open_writer(store, run_id, batch=2, run_sync=Refusal(error).call) as writer:
                for number in range(5):
                    writer.put_nowait(visit(number))
                await trio.sleep_forever()
        assert seconds <= trio.current_time() <= seconds + 2
        assert numbers(store) == []
    (handed,) = files.waiting(str(path))
    assert str(refused.value) == (
        f"{error}; 5 rows are in {handed} until the next command that writes takes them in"
    )
    with CrawlDatabase.open(path) as store:
        assert numbers(store) == [0, 1, 2, 3, 4]
    assert files.waiting(str(path)) == []


async def test_interrupted_while_the_disk_is_full(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Ctrl-C is not waited for longer than the end of any run, and loses nothing."""
    path = tmp_path / "crawl.db"
    with CrawlDatabase.open(path) as store:
        run_id = store.runs.begin("census", {}, "0.1", "2025-06-01T12:00:00.000Z")
        with trio.CancelScope() as scope, pytest.raises(DatabaseError, match="too slow; 1 rows are in "):
            async with open_writer(store, run_id, batch=1, run_sync=Refusal(BUSY).call) as writer:
                writer.put_nowait(visit(7))
                await trio.sleep(3)
                scope.cancel()
                await trio.sleep_forever()
        assert trio.current_time() == 33.0
    with CrawlDatabase.open(path) as store:
        assert numbers(store) == [7]


async def test_disk_that_hangs_at_the_end_is_reported(
    store: CrawlDatabase, autojump_clock: MockClock
) -> None:
    gate = Gate()
    gate.pass_one.release()
    with pytest.raises(DatabaseError, match="too slow; 1 rows are lost"):
        async with open_writer(store, 1, batch=2, run_sync=gate.call) as writer:
            for number in range(3):
                writer.put_nowait(visit(number))
    assert numbers(store) == [0, 1]
    assert trio.current_time() == 30.0


async def test_exception_of_the_block_comes_through_as_it_is(
    store: CrawlDatabase, autojump_clock: MockClock
) -> None:
    error = ValueError("of the crawl")
    error.__cause__ = KeyError("its cause")
    with pytest.raises(ValueError, match="of the crawl") as caught:
        async with open_writer(store, 1, run_sync=call) as writer:
            writer.put_nowait(visit(0))
            raise error
    assert caught.value is error
    assert isinstance(error.__cause__, KeyError)
    assert numbers(store) == [0]


async def test_closed_writer_takes_nothing(store: CrawlDatabase, autojump_clock: MockClock) -> None:
    async with open_writer(store, 1, run_sync=call) as writer:
        pass
    with pytest.raises(trio.ClosedResourceError):
        writer.put_nowait(visit(0))


async def test_called_function_sees_all_rows_that_were_handed_over(
    store: CrawlDatabase, autojump_clock: MockClock
) -> None:
    async with open_writer(store, 1, batch=3, max_age=60.0, run_sync=call) as writer:
        for number in range(8):
            writer.put_nowait(visit(number))
        assert await writer.call(numbers) == [0, 1, 2, 3, 4, 5, 6, 7]
        assert await writer.call(numbers) == [0, 1, 2, 3, 4, 5, 6, 7]
        assert trio.current_time() == 0.0
        assert writer.statistics().rows_buffered == 0


async def test_called_function_does_not_meet_a_batch_in_the_worker_thread(
    store: CrawlDatabase, autojump_clock: MockClock
) -> None:
    gate = Gate()
    seen: list[list[int]] = []

    async def look() -> None:
        seen.append(await writer.call(lambda each: [*numbers(each)]))

    async with open_writer(store, 1, batch=2, run_sync=gate.call_any) as writer, trio.open_nursery() as tasks:
        writer.put_nowait(visit(0))
        writer.put_nowait(visit(1))
        tasks.start_soon(look)
        await wait_all_tasks_blocked()
        assert seen == []
        gate.pass_one.release()
        await wait_all_tasks_blocked()
        gate.pass_one.release()

    assert seen == [[0, 1]]


async def test_closed_writer_calls_nothing(store: CrawlDatabase) -> None:
    async with open_writer(store, 1, run_sync=call) as writer:
        pass
    with pytest.raises(trio.ClosedResourceError):
        await writer.call(numbers)
