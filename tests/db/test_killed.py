"""Work on a database that is killed before one of its statements: nothing is half, lost or there twice.

`python -m tests.killed_crawls` does the same to whole commands, at random.
"""

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from crawler.db.database import CrawlDatabase
from crawler.db.merge.merge import merge
from crawler.db.purge.orders import Orders
from crawler.db.records.records import CrawlBatch, Journal, RunStatus, utc_text
from dhtnode import Address, Family
from dhtnode.outcomes import Outcome
from tests.databases import rows
from tests.small_database import LARGE, T0, make_database
from tests.vantages import contents
from tests.visits import visit_of

# Ten processes for each piece of work, forked: some seconds in all.  They can do without what threads of the
# parent hold.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")]

BATCHES = 6


def is_killed(work: Callable[[Path], object], path: Path, statement: int) -> bool:
    """Do work in a process that is killed before the statement of that number; return False if it ended."""
    pid = os.fork()
    if not pid:
        die_before(statement)
        work(path)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert status in (0, signal.SIGKILL)
    return status == signal.SIGKILL


def die_before(statement: int) -> None:
    left = statement

    def note(_: str) -> None:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    class Traced(sqlite3.Connection):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)
            self.set_trace_callback(note)

    connect = sqlite3.connect
    sqlite3.connect = lambda *args, **options: connect(*args, factory=Traced, **options)


def assert_sound(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def kill_all_along(work: Callable[[Path], object], make: Callable[[Path], object], path: Path) -> int:
    """Kill work before more and more of its statements, each time from the start; return how often.

    After each kill it is done again, to its end, and has to come to what it comes to unbroken.
    """
    make(path)
    work(path)
    whole = shared_contents(path)
    statement, kills = 1, 0
    while True:
        for old in path.parent.glob(f"{path.name}*"):
            old.unlink()
        make(path)
        if not is_killed(work, path, statement):
            return kills
        if path.exists():
            assert_sound(path)
        work(path)
        assert_sound(path)
        assert shared_contents(path) == whole
        kills += 1
        statement += 1 + statement // 2


def shared_contents(path: Path) -> dict[str, list[str]]:
    """Return all rows but the identity that each database draws for itself."""
    found = contents(path)
    return found | {"vantages": [row for row in found["vantages"] if "('is_here', 1)" not in row]}


def crawl(path: Path) -> None:
    """Write batches of visits in a run, those that are not there yet."""
    now = utc_text(T0)
    with CrawlDatabase.open(path) as store:
        _, run_id = store.runs.resume_or_begin("census", {}, {}, "0.1", now, is_shared=False)
        for number in range(len(list(store.runs.journals(run_id))), BATCHES):
            visit = visit_of(bytes([number]) * 20, Address("192.0.2.7", 1 + number), T0, Outcome.ANSWERED)
            store.write(run_id, [CrawlBatch([visit], Journal(Family.IPV4, b"", bytes([number])))])
        store.runs.finish(run_id, RunStatus.FINISHED, now)


def has_finished(path: Path) -> bool:
    try:
        return rows(path, "SELECT status FROM runs") == [("finished",)]
    except sqlite3.OperationalError:  # the tables were being made
        return False


def nothing(_: Path) -> None:
    return


def test_run(tmp_path):
    """A run that wrote no batch is not gone on with, so that two begin then; never do two write the same."""
    path = tmp_path / "a.db"
    statement = 1
    while is_killed(crawl, path, statement):
        if path.exists():
            assert_sound(path)
        # Killed between the end of the run and its own, it has nothing left to do.
        if not has_finished(path):
            crawl(path)
        assert rows(path, "SELECT node_id, count(*) FROM visits GROUP BY 1") == [
            (f"{number:02x}" * 20, 1) for number in range(BATCHES)
        ]
        assert rows(path, "SELECT count(*) FROM runs WHERE status <> 'finished' AND id > 1") == [(0,)]
        assert rows(path, "SELECT count(*) FROM crawl_journal") == [(0,)]
        statement += 1 + statement // 2
        path.unlink()
    assert statement > 50


def test_migrations(tmp_path):
    def open_it(path):
        CrawlDatabase.open(path).close()

    assert kill_all_along(open_it, nothing, tmp_path / "a.db") > 6


def test_merge(tmp_path):
    make_database(tmp_path / "source.db")

    def merge_it(path):
        merge(path, [tmp_path / "source.db"])

    assert kill_all_along(merge_it, nothing, tmp_path / "all.db") > 6


@pytest.mark.parametrize("orders", [Orders(older=0.0), Orders(swarms=(LARGE,))], ids=["older", "swarm"])
def test_purge(tmp_path, orders):
    make_database(tmp_path / "made.db")

    def purge_it(path):
        with CrawlDatabase.open(path) as store:
            store.purge.run(orders, T0 + 1e9)
            store.purge.compact()

    def copy_it(path):
        shutil.copy(tmp_path / "made.db", path)

    assert kill_all_along(purge_it, copy_it, tmp_path / "a.db") > 6


def test_taking_in_what_was_handed_over(tmp_path):
    visit = visit_of(b"n" * 20, Address("192.0.2.7", 1), T0, Outcome.ANSWERED)
    made = tmp_path / "made.db"
    with CrawlDatabase.open(made) as store:
        run_id = store.runs.begin("census", {}, "0.1", utc_text(T0))
        handed = store.hand_over(run_id, [CrawlBatch([visit], Journal(Family.IPV4, b"", b""))])

    def copy_both(path):
        shutil.copy(made, path)
        shutil.copy(handed, f"{path}-unwritten-1")

    def take_in(path):
        with CrawlDatabase.open(path) as store:
            assert len(store.rows("visits")) == 1

    assert kill_all_along(take_in, copy_both, tmp_path / "a.db") > 4
