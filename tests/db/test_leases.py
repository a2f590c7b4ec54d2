"""Who owns a run: the process that holds its lock, whatever number it has, wherever it is."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from crawler.db.database import CrawlDatabase, DatabaseError
from crawler.db.leases.leases import LIFETIME, Owner, RunLeases, is_alive
from crawler.db.leases.locks import FileLocks
from crawler.db.merge.merge import merge
from crawler.db.records.records import CrawlBatch, Journal, Run, RunStatus, utc_text
from dhtnode import Address, Family
from dhtnode.outcomes import Outcome
from tests.databases import rows
from tests.visits import visit_of

# A child that only uses a database, and ends, can do without what threads of its parent held.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

NOW = 1_750_000_000.0
SETTINGS = {"rate": 100}
BATCH = CrawlBatch(
    [visit_of(b"n" * 20, Address("192.0.2.7", 6881), NOW, Outcome.ANSWERED)],
    Journal(Family.IPV4, b"contacts", b"changes"),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "crawl.db"


@pytest.fixture
def store(path: Path) -> Iterator[CrawlDatabase]:
    with CrawlDatabase.open(path) as opened:
        yield opened


def begin(store: CrawlDatabase) -> int:
    run_id = store.runs.begin("census", SETTINGS, "0.1", utc_text(NOW))
    store.write(run_id, [BATCH])
    return run_id


def begin_or_go_on(store: CrawlDatabase, *, is_shared: bool = False) -> tuple[Run | None, int]:
    return store.runs.resume_or_begin("census", SETTINGS, {}, "0.1", utc_text(NOW), is_shared=is_shared)


def statuses(store: CrawlDatabase) -> list[str]:
    return [run.status.value for run in store.runs.all()]


def killed_run(path: Path) -> int:
    """Let a process begin a run and be killed; return its number."""
    pid = os.fork()
    if not pid:
        begin(CrawlDatabase.open(path))
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    return pid


def move_lease(store: CrawlDatabase, boot: str, age: float) -> None:
    """Make the lease of the only run one of another machine, renewed so many seconds ago."""
    store.connection.execute(
        "UPDATE run_leases SET boot = ?, machine = 'elsewhere', renewed_at = ?", (boot, utc_text(NOW - age))
    )


@pytest.mark.parametrize(
    ("boot", "age", "is_locked", "expected"),
    [
        ("here", 0.0, True, True),
        ("here", 1e9, True, True),
        ("here", 0.0, False, False),
        ("there", 1e9, True, True),
        ("there", LIFETIME - 1, False, True),
        ("there", LIFETIME + 1, False, False),
        ("there", -LIFETIME - 1, False, False),
        ("", LIFETIME - 1, False, True),
    ],
)
def test_lock_decides_on_one_machine_and_renewals_between_two(boot, age, is_locked, expected):
    assert is_alive(boot, NOW - age, is_locked=is_locked, here="here", now=NOW) is expected


def test_owner_is_told_from_an_earlier_process_of_its_number():
    first = Owner.here()
    assert (first.pid, Owner.here()) == (os.getpid(), first)
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(writing, json.dumps([Owner.here().boot, Owner.here().process_start]).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    boot, process_start = json.loads(os.read(reading, 1000))
    os.close(reading)
    os.close(writing)
    if sys.platform == "linux":
        assert boot == first.boot != ""
        assert process_start > first.process_start


def test_run_of_another_user_is_left_alone(path, store):
    begin(store)
    store.runs.finish(begin(store), RunStatus.FINISHED, utc_text(NOW))
    with CrawlDatabase.open(path) as other:
        begin(other)
        assert statuses(other) == ["running", "finished", "running"]
    begin(store)
    assert statuses(store) == ["running", "finished", "interrupted", "running"]


def test_killed_run_is_dead_though_its_number_lives(path):
    """As in containers, where each process has the number 1."""
    killed_run(path)
    with CrawlDatabase.open(path) as store:
        store.connection.execute("UPDATE runs SET pid = ?", (os.getpid(),))
        store.connection.execute("UPDATE run_leases SET pid = ?", (os.getpid(),))
        run, number = begin_or_go_on(store)
        assert (run is not None, number, statuses(store)) == (True, 1, ["running"])


def test_second_of_its_kind_is_refused_and_says_why(path, store):
    begin(store)
    before = rows(path, "SELECT * FROM runs")
    with CrawlDatabase.open(path) as other:
        with pytest.raises(DatabaseError) as refused:
            begin_or_go_on(other)
        assert rows(path, "SELECT * FROM runs") == before
        assert begin_or_go_on(other, is_shared=True) == (None, 2)
        other.runs.finish(2, RunStatus.FINISHED, utc_text(NOW))
        assert begin(other) == 3
    seen = rows(path, "SELECT renewed_at FROM run_leases WHERE run_id = 1")[0][0]
    assert str(refused.value) == (
        f"{path}: this census is under way as run 1, by process {os.getpid()} on {os.uname().nodename},"
        f" last seen {seen}; wait for its end, or ask for a new one"
    )


def test_interrupted_run_goes_on_once(path):
    """Of two processes that find it at the same time, the second finds it under way."""
    killed_run(path)
    with CrawlDatabase.open(path) as one, CrawlDatabase.open(path) as other:
        run, number = begin_or_go_on(one)
        assert (run is not None, number) == (True, 1)
        assert other.runs.resume("census", SETTINGS) is None
        assert begin_or_go_on(other, is_shared=True) == (None, 2)


def test_run_that_goes_on_is_known_again(path):
    """By the process that began it, a merge tells a run from others of its number."""
    pid = killed_run(path)
    with CrawlDatabase.open(path) as store:
        begin_or_go_on(store)
        assert [run.pid for run in store.runs.all()] == [pid]
        assert store.rows("run_leases")[0]["pid"] == os.getpid()


@pytest.mark.parametrize(("age", "expected"), [(LIFETIME - 1, "running"), (LIFETIME + 1, "interrupted")])
def test_run_of_another_machine_lives_as_long_as_it_says_so(path, store, age, expected):
    begin(store)
    move_lease(store, "another start", age)
    store._leases.close()
    with CrawlDatabase.open(path) as other:
        other._leases._wall_clock = lambda: NOW
        begin(other)
        assert statuses(other) == [expected, "running"]


def test_process_whose_run_was_taken_over_writes_nothing(path, store):
    """It slept for hours on another machine, say, and is back."""
    run_id = begin(store)
    move_lease(store, "another start", 0.0)
    for write in (
        lambda: store.write(run_id, [BATCH]),
        lambda: store.runs.renew(run_id),
        lambda: store.runs.finish(run_id, RunStatus.FINISHED, utc_text(NOW)),
    ):
        with pytest.raises(DatabaseError, match=r"another process has taken run 1 over$"):
            write()
    assert (len(store.rows("visits")), statuses(store)) == (1, ["running"])


def test_lease_is_renewed_by_writing(path, store):
    run_id = begin(store)
    seen = []
    for time in (NOW, NOW + 20):
        store._leases._wall_clock = lambda time=time: time
        store.write(run_id, [BATCH])
        seen += [row["renewed_at"] for row in store.rows("run_leases")]
    assert seen == [utc_text(NOW), utc_text(NOW + 20)]


def test_lock_file_goes_with_the_last_user(path, tmp_path):
    with CrawlDatabase.open(path) as one:
        begin(one)
        with CrawlDatabase.open(path) as other:
            begin(other)
        assert (tmp_path / "crawl.db-lock").exists()
    assert [each.name for each in tmp_path.iterdir()] == ["crawl.db"]
    assert rows(path, "SELECT count(*) FROM run_leases") == [(2,)]


def test_finished_run_has_no_lease(path, store):
    run_id = begin(store)
    store.runs.finish(run_id, RunStatus.FINISHED, utc_text(NOW))
    with closing(FileLocks(str(path))) as locks:
        assert not locks.is_held(run_id)
    assert store.rows("run_leases") == []


def test_deleted_lock_file_is_made_again(path, store, tmp_path):
    """Careless hands, while a crawl writes: its next batch puts that right."""
    run_id = begin(store)
    (tmp_path / "crawl.db-lock").unlink()
    store.write(run_id, [BATCH])
    with closing(FileLocks(str(path))) as locks:
        assert locks.is_held(run_id)


def test_all_names_of_a_database_have_one_lock(path, store, tmp_path):
    (tmp_path / "link.db").symlink_to(path)
    run_id = begin(store)
    with closing(FileLocks(str(tmp_path / "link.db"))) as locks:
        assert (locks.is_held(run_id), locks.is_held(run_id + 1)) == (True, False)


def test_lock_file_is_for_those_who_may_write_the_database(path, store, tmp_path):
    path.chmod(0o660)
    begin(store)
    assert (tmp_path / "crawl.db-lock").stat().st_mode & 0o777 == 0o660


def test_lock_file_that_cannot_be_used_is_one_line(path, store, tmp_path):
    (tmp_path / "crawl.db-lock").symlink_to("elsewhere")
    with pytest.raises(DatabaseError, match=r"crawl\.db-lock: cannot be opened \(.*\)$"):
        begin(store)
    assert statuses(store) == []


def test_copy_of_a_database_under_way_is_of_no_process(path, store, tmp_path):
    begin(store)
    copy = tmp_path / "copy.db"
    with closing(CrawlDatabase.open(copy)) as made:
        store.connection.backup(made.connection)
        run, number = begin_or_go_on(made)
        assert (run is not None, number) == (True, 1)


UNSHARED = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]


def can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return not subprocess.run([*UNSHARED, "true"], check=False, capture_output=True).returncode


_IN_CONTAINER = """
import os, signal, sys
from crawler.db.database import CrawlDatabase, DatabaseError
from tests.db.test_leases import begin, begin_or_go_on, statuses

assert os.getpid() == 1
store = CrawlDatabase.open(sys.argv[1])
try:
    if sys.argv[2] == "begin":
        begin(store)
    run, number = begin_or_go_on(store) if sys.argv[2] == "go on" else (None, 1)
    print(number, run is not None, *statuses(store), flush=True)
except DatabaseError as error:
    print(error, flush=True)
sys.stdin.read()
os._exit(137)
"""


def in_container(path: Path, order: str) -> "subprocess.Popen[str]":
    command = [*UNSHARED, sys.executable, "-c", _IN_CONTAINER, str(path), order]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)


@pytest.mark.slow
@pytest.mark.skipif(not can_unshare(), reason="cannot make a pid namespace here")
def test_containers_on_one_volume(path):
    """Three processes with the number 1 each take seconds to start: it is what containers do."""
    with in_container(path, "begin") as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "1 False running\n"
        with in_container(path, "go on") as second:
            told, _ = second.communicate("")
            assert "this census is under way as run 1, by process 1 on " in told
        with pytest.raises(DatabaseError, match=r"run 1 is being written to it by process 1 on "):
            merge(path, [])
        first.kill()
    with in_container(path, "go on") as third:
        assert third.communicate("")[0] == "1 True running\n"
    merge(path, [])
    assert rows(path, "SELECT status FROM runs") == [("interrupted",)]


def test_systems_with_the_older_locks_only(path, monkeypatch):
    """There they are of a process: another one sees them, and the same one does not."""
    monkeypatch.setattr("crawler.db.leases.locks._OF_OPEN_FILE", None)
    with CrawlDatabase.open(path) as store:
        run_id = begin(store)
        pid = os.fork()
        if not pid:
            seen = FileLocks(str(path)).is_held(run_id), FileLocks(str(path)).is_held(run_id + 1)
            os._exit(0 if seen == (True, False) else 1)
        assert os.waitpid(pid, 0)[1] == 0
        store.runs.finish(run_id, RunStatus.FINISHED, utc_text(NOW))
        assert not RunLeases(store._db).is_alive(run_id)
