"""A database opened to be read: what is refused, and that nothing is changed."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from sqlite_utils import Database, Migrations

from crawler.db import connection
from crawler.db.connection import open_reading
from crawler.db.database import CrawlDatabase, DatabaseError
from crawler.db.schema import migrations
from tests.databases import rows
from tests.small_database import make_database, time_text, visits


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "small.db"
    make_database(path)
    return path


def change(path, sql):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(sql)


def refusal(path):
    """Return what is said about a file that cannot be read."""
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(DatabaseError) as refused, open_reading(path):
        pass
    assert (path.read_bytes() if path.is_file() else None) == before
    return str(refused.value).removeprefix(f"{path}: ")


def test_file_is_not_changed_by_reading(path):
    before = path.read_bytes()
    with open_reading(path) as db:
        assert db.execute("SELECT count(*) FROM visits").fetchone() == (20,)
        with pytest.raises(sqlite3.OperationalError, match=r"readonly|query_only"):
            db.execute("DELETE FROM visit_rows")
    assert path.read_bytes() == before


def test_all_is_read_from_one_moment(path):
    with CrawlDatabase.open(path) as store:
        run_id = store.runs.begin("census", {}, "0.1.0", time_text(400))
        with open_reading(path) as db:
            count = "SELECT count(*) FROM visits"
            before = db.execute(count).fetchone()
            store.write(run_id, visits())
            meanwhile = db.execute(count).fetchone()
        with open_reading(path) as db:
            after = db.execute(count).fetchone()
    assert (before, meanwhile, after) == ((20,), (20,), (40,))


def test_copied_file_holds_everything_while_a_reader_is_there(path, tmp_path):
    """With another connection open, SQLite leaves what was written in the log by itself."""
    with open_reading(path) as db:
        db.execute("COMMIT")
        with CrawlDatabase.open(path) as store:
            store.write(store.runs.begin("census", {}, "0.1.0", time_text(400)), visits())
        copy = shutil.copy(path, tmp_path / "copy.db")
        assert rows(copy, "SELECT count(*) FROM visits") == [(40,)]
        db.execute("BEGIN")


def test_database_whose_log_is_still_read_is_closed(path, monkeypatch):
    monkeypatch.setattr("crawler.db.connection.CLOSING_TIMEOUT", 0.01)
    with open_reading(path) as db:
        before = db.execute("SELECT count(*) FROM visits").fetchone()
        with CrawlDatabase.open(path) as store:
            store.write(store.runs.begin("census", {}, "0.1.0", time_text(400)), visits())
        assert db.execute("SELECT count(*) FROM visits").fetchone() == before
    assert rows(path, "SELECT count(*) FROM visits") == [(40,)]


def test_log_of_a_long_transaction_is_cut(path, monkeypatch):
    monkeypatch.setattr("crawler.db.connection.LOG_BYTES", 100_000)
    log = path.with_name(f"{path.name}-wal")
    with CrawlDatabase.open(path) as store, closing(sqlite3.connect(path)):
        store.connection.execute("CREATE TABLE long AS SELECT zeroblob(1000000) AS one")
        assert log.stat().st_size > 1_000_000
        store.connection.execute("PRAGMA wal_checkpoint")
        store.runs.begin("census", {}, "0.1.0", time_text(400))
        assert log.stat().st_size <= 100_000


def test_missing_file_is_not_made(tmp_path):
    assert refusal(tmp_path / "none.db") == "there is no such file"
    assert list(tmp_path.iterdir()) == []


def test_text_is_no_database(tmp_path):
    (tmp_path / "letter.txt").write_text("Dear reader,\n" * 500)
    assert refusal(tmp_path / "letter.txt") == "is not a SQLite database"


def test_database_of_another_program_is_refused(tmp_path):
    change(tmp_path / "other.db", "CREATE TABLE letters (text)")
    assert refusal(tmp_path / "other.db") == "is a database of another program"


def test_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.db").write_bytes(b"")
    assert refusal(tmp_path / "empty.db") == "is empty, nothing was recorded there"


def test_database_without_our_last_migrations_is_refused(path, monkeypatch):
    """Reading must not change it, so it is told what would."""

    def m002_later(db):
        db.execute("CREATE TABLE later (id INTEGER)")

    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, m002_later))
    assert refusal(path) == (
        "was made by an older version (it lacks m002_later);"
        " any command that records in it brings it up to date"
    )
    CrawlDatabase.open(path).close()
    with open_reading(path) as db:
        assert db.execute("SELECT * FROM later").fetchall() == []


def test_database_of_another_version_is_refused(path):
    change(path, "INSERT INTO _sqlite_migrations (migration_set, name) VALUES ('crawler', 'm999_more')")
    assert refusal(path) == "was made by another version, with tables that this one does not know (m999_more)"


def test_neither_making_nor_reading_a_database_loads_what_is_large(path):
    """Pandas comes with `sqlite_utils`, where there is one."""
    code = f"""
import sys
from crawler.db.connection import open_reading
from crawler.db.database import CrawlDatabase
CrawlDatabase.open({str(path.with_name("new.db"))!r}).close()
with open_reading({str(path)!r}):
    pass
print({{"sqlite_utils", "pandas", "scipy"}} & {{*sys.modules}})
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"


def test_migrations_are_written_down_where_sqlite_utils_looks_for_them(path):
    mine = Migrations(migrations.SET)
    for migration in migrations.MIGRATIONS:
        mine()(migration)
    with closing(sqlite3.connect(path)) as connection:
        database = Database(connection)
        assert [each.name for each in mine.applied(database)] == ["m001_initial"]
        assert mine.pending(database) == []


def test_migration_that_fails_leaves_no_table(tmp_path, monkeypatch):
    def m002_broken(db):
        db.execute("CREATE TABLE later (id INTEGER)")
        db.execute("CREATE TABLE later (id INTEGER)")

    path = tmp_path / "new.db"
    with monkeypatch.context() as broken:
        broken.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, m002_broken))
        with pytest.raises(DatabaseError, match="later already exists"):
            CrawlDatabase.open(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    CrawlDatabase.open(path).close()


def test_database_in_a_folder_that_cannot_be_written_is_read(path, monkeypatch):
    """A backup on a read-only medium: SQLite cannot make its files there, and no process writes to it."""
    connect = sqlite3.connect
    tried = []

    class WithoutFiles(sqlite3.Connection):
        def execute(self, *_):
            raise sqlite3.OperationalError("unable to open database file")

    def connect_without_writing(place, **options):
        tried.append(place)
        return connect(place, **options, **({} if "immutable" in place else {"factory": WithoutFiles}))

    monkeypatch.setattr("crawler.db.connection.sqlite3.connect", connect_without_writing)
    with open_reading(path) as db:
        assert db.execute("SELECT count(*) FROM visits").fetchone() == (20,)
    assert len(tried) == 2


def mode_of(path):
    return path.stat().st_mode & 0o777


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_new_database_and_the_files_beside_it_are_for_their_owner_alone(tmp_path):
    """They hold addresses of nodes, and hints at peers; whatever the umask of a shell or a container is."""
    before = os.umask(0)
    try:
        with CrawlDatabase.open(tmp_path / "new.db") as store:
            store.runs.begin("census", {}, "0.1", time_text(0))
            modes = {path.name: mode_of(path) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes.keys() >= {"new.db", "new.db-wal", "new.db-shm"}
    assert set(modes.values()) == {0o600}


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="files have a name from the start here")
def test_new_database_has_its_tables_as_soon_as_it_is_there(tmp_path, monkeypatch):
    """So one that was cut off as it was made can be read."""

    def cut_off(*_given, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(connection, "check_is_ours", cut_off)
        CrawlDatabase.open(tmp_path / "new.db")
    with open_reading(tmp_path / "new.db") as db:
        assert db.execute("SELECT count(*) FROM runs").fetchone() == (0,)


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_database_that_is_there_keeps_its_permissions(tmp_path):
    """So others can read what an operator has made for them."""
    path = tmp_path / "made.db"
    path.touch()
    path.chmod(0o640)
    with CrawlDatabase.open(path):
        assert {mode_of(path), mode_of(tmp_path / "made.db-wal")} == {0o640}


ENDLESS = """
DROP VIEW nodes;
CREATE VIEW nodes AS WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT * FROM n
"""


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("ALTER TABLE swarms RENAME TO others; CREATE VIEW swarms AS SELECT * FROM others", "swarms"),
        (ENDLESS, "nodes"),
        ("DROP TABLE alarms", "alarms"),
        ("ALTER TABLE runs DROP COLUMN pid", "runs"),
        ("DROP VIEW network_size; CREATE TABLE network_size (run_id)", "network_size"),
    ],
)
def test_database_whose_tables_or_views_are_others_is_refused(path, change, name):
    """It may be from elsewhere, and a view is a program."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"PRAGMA legacy_alter_table = ON; {change}")
    with pytest.raises(DatabaseError, match=f"changed by another program: {name} is not"), open_reading(path):
        pass
    with pytest.raises(DatabaseError, match=f"changed by another program: {name} is not"):
        CrawlDatabase.open(path)


def test_tables_and_columns_that_were_added_by_hand_are_left_alone(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "ALTER TABLE runs ADD COLUMN note TEXT; CREATE TABLE notes (text); CREATE VIEW mine AS SELECT 1"
        )
    with open_reading(path) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone()[0] > 0


@pytest.mark.parametrize("opened", [open_reading, CrawlDatabase.open])
def test_name_in_a_schema_that_is_no_text_is_damage(tmp_path, opened):
    path = tmp_path / "damaged.db"
    CrawlDatabase.open(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET name = CAST(x'76fffe' AS TEXT) WHERE name = 'visits'")
    with pytest.raises(DatabaseError, match="is damaged"), opened(path):
        pass
