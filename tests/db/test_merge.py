"""Merging databases: the same in any order, once or twice, all or nothing, and no source is changed."""

import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from itertools import permutations
from pathlib import Path
from random import Random

import pytest

from crawler.db.database import CrawlDatabase, DatabaseError
from crawler.db.leases.locks import MERGE, FileLocks
from crawler.db.merge.merge import merge
from crawler.db.merge.rules import RULES, Joined, WholeTable, of_runs, tables_of
from crawler.db.records.records import RunStatus, utc_text
from crawler.db.schema import SHOWN_AS
from tests.commands import run_command, run_each
from tests.databases import rows
from tests.measurements import measurement_of
from tests.vantages import (
    SWARMS,
    begin,
    contents,
    end,
    make_vantage,
    merged,
    swarm_sample,
    write_census,
    write_swarms,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    place = tmp_path_factory.mktemp("vantages")
    return [make_vantage(place / f"{name}.db", seed) for seed, name in enumerate("abc")]


@pytest.fixture
def vantages(made, tmp_path):
    return [Path(shutil.copy(path, tmp_path / path.name)) for path in made]


@pytest.fixture(scope="module")
def reference(made, tmp_path_factory):
    target = tmp_path_factory.mktemp("reference") / "all.db"
    merge(target, made)
    return merged(target)


def add_row(path, table, **values):
    with CrawlDatabase.open(path) as store:
        marks = ", ".join("?" * len(values))
        store.connection.execute(
            f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values())
        )


def change(path, *statements):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_every_table_has_a_rule():
    with CrawlDatabase.open(":memory:") as store:
        tables = tables_of(store.connection)
    assert set(tables) - set(RULES) == set()
    names = list(tables)
    for table in of_runs(tables, WholeTable.LEFT_BEHIND):
        assert {"runs", "swarm_samples", "tracker_sweeps"}.intersection(table.references.values()), table
        assert all(names.index(parent) < names.index(table.name) for parent in table.references.values())


def test_every_column_that_a_rule_names_is_there():
    """A misspelt column would be an error of SQL for the first user."""
    with CrawlDatabase.open(":memory:") as store:
        tables = tables_of(store.connection)
    for name, rule in RULES.items():
        if isinstance(rule, Joined) and name in tables:
            named = {*rule.least, *rule.most, rule.latest or rule.earliest}
            assert named <= set(tables[name].columns)
            assert not named.intersection(tables[name].key)


def test_merge_takes_all_rows_of_runs(made, reference):
    """Nothing is lost, and nothing is there twice; only the journal stays behind."""
    with CrawlDatabase.open(":memory:") as store:
        names = [table.name for table in of_runs(tables_of(store.connection))]

    sources = [contents(path) for path in made]
    assert SHOWN_AS.keys() - {"node_rows"} < set(names)
    names = [SHOWN_AS.get(name, name) for name in names]
    for name in names:
        assert reference[name] == sorted(row for source in sources for row in source[name]), name
    assert {name for name in names if reference[name]} > {
        "visits",
        "scrape_replies",
        "node_samples",
        "tracker_sweeps",
        "tracker_samples",
    }
    assert reference["crawl_journal"] == []
    identities = {row for source in sources for row in source["run_vantages"]}
    assert {row.replace("('is_here', 1)", "('is_here', 0)") for row in identities} == set(
        reference["run_vantages"]
    )


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_order_does_not_matter(made, tmp_path, reference, order):
    target = tmp_path / "all.db"
    for number in order:
        merge(target, [made[number]])
    assert merged(target) == reference


@pytest.mark.slow
def test_named_in_another_order_even_the_numbers_are_the_same(made, tmp_path):
    for number, order in enumerate(permutations(made)):
        merge(tmp_path / f"{number}.db", order)
    query = "SELECT * FROM swarm_samples ORDER BY id"
    first, *others = (rows(tmp_path / f"{number}.db", query) for number in range(6))
    assert all(other == first for other in others)


def test_twice_is_once(made, tmp_path, reference):
    """In one merge or in several, and nothing is computed again."""
    target = tmp_path / "all.db"
    merge(target, [*made, made[0]])
    again = merge(target, made)
    assert merged(target) == reference
    assert [(each.new_runs, each.renewed_runs, each.known_runs) for each in again.sources] == [(0, 0, 3)] * 3
    assert again.combined == 0


def test_merged_databases_can_be_merged(made, tmp_path, reference):
    merge(tmp_path / "ab.db", made[:2])
    merge(tmp_path / "bc.db", made[1:])
    merge(tmp_path / "all.db", [tmp_path / "ab.db", tmp_path / "bc.db"])
    assert merged(tmp_path / "all.db") == reference


def test_target_with_runs_of_its_own_keeps_them(vantages, tmp_path, reference):
    target = vantages[0]
    own = rows(target, "SELECT id, command, started_at FROM runs")
    merge(target, vantages[1:])
    found = contents(target)
    assert rows(target, "SELECT id, command, started_at FROM runs")[:3] == own
    assert rows(target, "SELECT count(*) FROM run_vantages WHERE is_here") == [(3,)]
    for name in ("nodes", "visits", "scrape_replies", "combined_samples", "sample_turns", "swarms"):
        assert found[name] == reference[name], name


def test_runs_that_come_home_are_known(vantages, tmp_path):
    merge(tmp_path / "all.db", vantages)
    result = merge(vantages[0], [tmp_path / "all.db"])
    (source,) = result.sources
    assert (source.new_runs, source.renewed_runs, source.known_runs) == (6, 0, 3)
    assert rows(vantages[0], "SELECT count(*) FROM run_vantages WHERE is_here") == [(3,)]


def test_node_has_the_version_of_the_later_answer(tmp_path):
    node = {"node_id": b"a", "host": 7, "port": 1}
    for name, *values in (("a", 1, 5, 3, b"UT"), ("b", 2, 6, 2, b"LT"), ("c", 4, 4, None, None)):
        columns = ("first_seen", "last_seen", "last_answer", "version")
        add_row(tmp_path / f"{name}.db", "node_rows", **node, **dict(zip(columns, values, strict=True)))
    merge(tmp_path / "all.db", [tmp_path / f"{name}.db" for name in "abc"])
    assert rows(tmp_path / "all.db", "SELECT * FROM node_rows") == [(*node.values(), 1, 6, 3, b"UT")]


def test_source_of_a_swarm_is_that_of_the_first_sight(tmp_path):
    columns = ("info_hash", "first_seen", "last_seen", "source", "name")
    for name, *values in (
        ("a", "aa", "2025-02", "2025-03", "list", "x"),
        ("b", "aa", "2025-01", "2025-02", "sample", None),
    ):
        add_row(tmp_path / f"{name}.db", "swarms", **dict(zip(columns, values, strict=True)))
    for target, order in (("one", "ab"), ("two", "ba")):
        merge(tmp_path / f"{target}.db", [tmp_path / f"{name}.db" for name in order])
        assert rows(tmp_path / f"{target}.db", "SELECT * FROM swarms") == [
            ("aa", "2025-01", "2025-03", "sample", "x")
        ]


def test_torrent_is_that_of_the_first_fetch(tmp_path):
    for name, day, size in (("a", "2025-02", 2), ("b", "2025-01", 1), ("c", "2025-03", 3)):
        path = tmp_path / f"{name}.db"
        with CrawlDatabase.open(path) as store:
            store.runs.begin("metadata", {"of": name}, "0.1", day)
            store.runs.finish(1, RunStatus.FINISHED, day)
        add_row(path, "swarms", info_hash="aa", first_seen=day, last_seen=day)
        add_row(path, "torrents", info_hash="aa", run_id=1, fetched_at=day, is_private=0, size=size)
    merge(tmp_path / "all.db", [tmp_path / f"{name}.db" for name in "abc"])
    sql = "SELECT fetched_at, size, started_at FROM torrents JOIN runs ON runs.id = run_id"
    assert rows(tmp_path / "all.db", sql) == [("2025-01", 1, "2025-01")]


def test_samples_within_ten_minutes_are_combined(tmp_path):
    for name, minute in (("a", 0), ("b", 9), ("c", 10)):
        with CrawlDatabase.open(tmp_path / f"{name}.db") as store:
            run_id = store.runs.begin("scrape", {}, "0.1", utc_text(0))
            store.write(run_id, [measurement_of(SWARMS[0], utc_text(60.0 * minute), peers=1.0)])
            store.runs.finish(run_id, RunStatus.FINISHED, utc_text(0))
    merge(tmp_path / "all.db", [tmp_path / f"{name}.db" for name in "abc"])
    sql = "SELECT window_start, window_end, vantages FROM combined_samples"
    assert rows(tmp_path / "all.db", sql) == [(utc_text(0), utc_text(600), 2)]


def test_later_turn_wins(tmp_path):
    """A node that told one of us to wait is asked by none before (BEP 51)."""
    columns = ("place", "node_id", "family", "asked_at", "next_at", "interval", "chances")
    for name, *values in (
        ("a", "192.0.2.1:1", "aa", 4, "2025-01-01", "2025-01-03", 600, 2),
        ("b", "192.0.2.1:1", "bb", 4, "2025-01-02", "2025-01-02", 60, 1),
    ):
        add_row(tmp_path / f"{name}.db", "sample_turns", **dict(zip(columns, values, strict=True)))
    merge(tmp_path / "all.db", [tmp_path / "a.db", tmp_path / "b.db"])
    assert rows(tmp_path / "all.db", "SELECT * FROM sample_turns") == [
        ("192.0.2.1:1", "aa", 4, "2025-01-02", "2025-01-03", 600, 2)
    ]


def test_new_columns_and_tables_come_along(vantages, tmp_path, monkeypatch):
    """What a later version adds to runs and samples needs no change here; other tables stay."""
    monkeypatch.setitem(RULES, "finds", Joined(earliest="fetched_at"))
    target = tmp_path / "all.db"
    CrawlDatabase.open(target).close()
    additions = (
        "ALTER TABLE swarm_samples ADD COLUMN mood REAL",
        "ALTER TABLE swarms ADD COLUMN note TEXT",
        "CREATE TABLE guesses (sample_id INTEGER REFERENCES swarm_samples (id), method TEXT)",
        "CREATE TABLE remarks (text TEXT)",
        """
        CREATE TABLE finds (
            info_hash TEXT PRIMARY KEY REFERENCES swarms (info_hash), fetched_at TEXT,
            run_id INTEGER REFERENCES runs (id), size INTEGER
        )
        """,
    )
    for path in (target, *vantages[:2]):
        change(path, *additions)
    for path in vantages[:2]:
        change(
            path,
            "UPDATE swarm_samples SET mood = id / 10.0",
            f"UPDATE swarms SET note = 'of {path.stem}'",
            "INSERT INTO guesses SELECT id, info_hash || taken_at FROM swarm_samples",
            "INSERT INTO remarks VALUES ('mine')",
            f"INSERT INTO finds SELECT info_hash, '{path.stem}', 2, 7 FROM swarm_samples GROUP BY 1",
        )
    merge(target, vantages)  # the third has none of it

    guessed = """
        SELECT count(*) FROM guesses JOIN swarm_samples ON id = sample_id
        WHERE guesses.method = info_hash || taken_at
    """
    assert rows(target, guessed) == [(16,)]
    assert rows(target, "SELECT count(mood), sum(mood) FROM swarm_samples") == [(16, pytest.approx(7.2))]
    assert {note for (note,) in rows(target, "SELECT DISTINCT note FROM swarms")} == {"of a", "of b", None}
    assert rows(target, "SELECT * FROM remarks") == []
    fetched = rows(
        target, "SELECT DISTINCT fetched_at, size, number FROM finds JOIN run_vantages USING (run_id)"
    )
    assert fetched == [("a", 7, 2)]


def test_run_under_way_is_merged_as_far_as_it_has_come(tmp_path):
    source, target = tmp_path / "a.db", tmp_path / "all.db"
    with CrawlDatabase.open(source) as store:
        run_id = write_census(store, Random(1), None)
        before = source.read_bytes(), Path(f"{source}-wal").read_bytes()
        merge(target, [source])
        assert (source.read_bytes(), Path(f"{source}-wal").read_bytes()) == before
        half = merged(target)
        store.runs.finish(run_id, RunStatus.FINISHED, "2025-07-01T00:00:00.000Z")
    result = merge(target, [source])

    assert rows(target, "SELECT status FROM runs") == [("finished",)]
    assert [(each.new_runs, each.renewed_runs) for each in result.sources] == [(0, 1)]
    assert (len(half["nodes"]), len(half["visits"])) == (30, 30)
    assert len(half["run_counts"]) == 3
    found = merged(target)
    assert {name: found[name] for name in ("visits", "nodes", "run_counts")} == {
        name: half[name] for name in ("visits", "nodes", "run_counts")
    }
    merge(tmp_path / "again.db", [source])
    assert merged(tmp_path / "again.db") == found


def test_older_state_of_a_run_changes_nothing(tmp_path):
    source, older = tmp_path / "a.db", tmp_path / "older.db"
    with CrawlDatabase.open(source) as store:
        run_id = begin(store, "scrape", Random(1))
        store.write(run_id, [swarm_sample(SWARMS[0], 10, Random(2))])
        with closing(sqlite3.connect(older)) as copy:
            store.connection.backup(copy)
        store.write(run_id, [swarm_sample(SWARMS[1], 10, Random(3))])
        end(store, run_id)
    for number, order in enumerate(([source, older], [older, source])):
        for path in order:
            merge(tmp_path / f"{number}.db", [path])

    assert merged(tmp_path / "0.db") == merged(tmp_path / "1.db")
    assert rows(tmp_path / "0.db", "SELECT status, (SELECT count(*) FROM scrape_replies) FROM runs") == [
        ("finished", 10)
    ]


def test_copied_database_that_goes_on_is_told_apart(vantages, tmp_path):
    """Two runs of one number are two runs: nothing is lost when a file was copied to a second machine."""
    copy = Path(shutil.copy(vantages[0], tmp_path / "copy.db"))
    for seed, path in enumerate((vantages[0], copy)):
        with CrawlDatabase.open(path) as store:
            write_swarms(store, Random(100 + seed))
    merge(tmp_path / "all.db", [vantages[0], copy])
    numbers = rows(tmp_path / "all.db", "SELECT number FROM run_vantages ORDER BY number")
    assert numbers == [(1,), (2,), (3,), (4,), (4,)]


def test_identity_stays_with_the_database(tmp_path):
    identities = []
    for name in ("a", "b", "a"):
        CrawlDatabase.open(tmp_path / f"{name}.db").close()
        identities += rows(tmp_path / f"{name}.db", "SELECT identity, is_here FROM vantages")
    assert identities[0] == identities[2] != identities[1]
    assert all(len(identity) == 32 and is_here for identity, is_here in identities)


def test_vantage_that_has_lost_its_identity_is_merged_only_without_runs_of_its_own(vantages, tmp_path):
    merge(tmp_path / "all.db", vantages)
    before = rows(tmp_path / "all.db", "SELECT vantage, number FROM run_vantages ORDER BY 1, 2")
    for path in (tmp_path / "all.db", vantages[0]):
        change(path, "DELETE FROM vantages WHERE is_here")
    merge(tmp_path / "again.db", [tmp_path / "all.db"])
    assert rows(tmp_path / "again.db", "SELECT vantage, number FROM run_vantages ORDER BY 1, 2") == before
    with pytest.raises(DatabaseError, match=r"a\.db: it has runs, and no vantage that they are of"):
        merge(tmp_path / "none.db", vantages[:1])


def test_merged_runs_are_not_taken_for_our_own(tmp_path, vantages):
    """Our census goes on after a merge, and what runs elsewhere is not declared dead here."""
    with CrawlDatabase.open(vantages[1]) as store:
        write_census(store, Random(7), None)
    change(vantages[1], "UPDATE runs SET pid = 999999999 WHERE status = 'running'")
    target = tmp_path / "own.db"
    with CrawlDatabase.open(target) as store:
        run_id = write_census(store, Random(5), RunStatus.INTERRUPTED)
    merge(target, vantages)
    with CrawlDatabase.open(target) as store:
        settings = next(run.settings for run in store.runs.all() if run.id == run_id)
        resumed = store.runs.resume("census", settings)

        assert resumed is not None
        assert resumed.id == run_id
        assert len(list(store.runs.journals(run_id))) == 1
        theirs = [run for run in store.runs.all() if run.pid == 999999999]
        assert [run.status for run in theirs] == [RunStatus.RUNNING]
        assert store.runs.resume("census", theirs[0].settings) is None


def test_other_window_makes_other_combined_samples(made, tmp_path, reference):
    target = tmp_path / "all.db"
    merge(target, made, 3600)
    query = "SELECT samples, vantages, window_start, window_end FROM combined_samples"
    wide = rows(target, query)
    merge(target, made)
    day = "2025-06-15T"
    assert wide == [(6, 3, f"{day}15:00:00.000Z", f"{day}16:00:00.000Z")] * len(SWARMS)
    assert merged(target) == reference


def test_combined_samples_follow_what_is_deleted_and_added(made, tmp_path, reference):
    target = tmp_path / "all.db"
    merge(target, made)
    doomed = "SELECT id FROM swarm_samples ORDER BY run_id, info_hash LIMIT 2"
    change(
        target,
        f"DELETE FROM reply_rows WHERE sample_id IN ({doomed})",
        f"DELETE FROM swarm_samples WHERE id IN ({doomed})",
    )
    result = merge(target, made)
    assert result.combined == 2
    samples = dict(rows(target, "SELECT info_hash, min(samples) FROM combined_samples GROUP BY 1"))
    assert samples == {swarm.hex(): 2 if swarm == SWARMS[0] else 3 for swarm in SWARMS}


UNUSABLE = {
    "missing.db": (lambda path: None, 1, "there is no such file"),
    "directory.db": (lambda path: path.mkdir(), 2, "is a directory"),
    "empty.db": (lambda path: path.touch(), 1, "is empty"),
    "text.db": (lambda path: path.write_text("no database " * 1000), 1, "is not a SQLite database"),
    "other.db": (lambda path: make_other(path), 1, "is a database of another program"),
    "newer.db": (lambda path: make_newer(path), 1, r"was made by another version, .*\(m999_later\)"),
    "damaged.db": (lambda path: make_damaged(path), 1, "is damaged"),
}


@pytest.mark.slow
def test_unusable_source_is_one_line_and_leaves_the_target_as_it_was(made, tmp_path):
    target = tmp_path / "all.db"
    merge(target, made[:1])
    before = contents(target)
    lines = []
    for name, (make, _, _) in UNUSABLE.items():
        make(tmp_path / name)
        lines += [["merge", "--into", into, str(made[0]), name] for into in ("all.db", "new.db")]
    ended = run_each("dhtcrawl", lines, cwd=tmp_path)

    for line, each in zip(lines, ended, strict=True):
        _, status, reason = UNUSABLE[line[-1]]
        assert (each.status, each.stdout) == (status, "")
        assert re.search(f"{line[-1]}.*{reason}", each.error), each.error
    assert contents(target) == before
    assert not list(tmp_path.glob("new.db*"))


def test_source_with_rows_that_belong_to_nothing_is_one_line(vantages, tmp_path):
    change(vantages[0], "DELETE FROM swarms")
    with pytest.raises(DatabaseError, match=r"a\.db: rows contradict each other \(FOREIGN KEY"):
        merge(tmp_path / "all.db", vantages[:1])
    assert not (tmp_path / "all.db").exists()


def make_other(path):
    change(path, "CREATE TABLE books (title TEXT)")


def make_newer(path):
    CrawlDatabase.open(path).close()
    change(path, "INSERT INTO _sqlite_migrations VALUES (NULL, 'crawler', 'm999_later', 'tomorrow')")


def make_damaged(path):
    make_vantage(path, 9)
    change(path, "PRAGMA journal_mode = DELETE")
    (root,) = rows(path, "SELECT rootpage FROM sqlite_master WHERE name = 'scrape_replies'")[0]
    (size,) = rows(path, "PRAGMA page_size")[0]
    content = bytearray(path.read_bytes())
    content[(root - 1) * size : root * size] = bytes([255]) * size
    path.write_bytes(content)


@pytest.mark.parametrize("make", [make_newer, make_other])
def test_unusable_target_is_left_alone(made, tmp_path, make):
    make(tmp_path / "all.db")
    before = (tmp_path / "all.db").read_bytes()
    with pytest.raises(DatabaseError, match=r"another version|another program"):
        merge(tmp_path / "all.db", made)
    assert (tmp_path / "all.db").read_bytes() == before


def test_target_is_no_source(vantages):
    with pytest.raises(DatabaseError, match="is the database to merge into"):
        merge(vantages[0], [vantages[1], vantages[0].parent / "." / vantages[0].name])


def test_target_in_use_is_left_alone(vantages, tmp_path):
    with CrawlDatabase.open(vantages[0]) as store:
        begin(store, "census", Random(1))
        with pytest.raises(DatabaseError, match=r"run 4 is being written to it by process \d+ on "):
            merge(vantages[0], vantages[1:])
    assert rows(vantages[0], "SELECT count(*) FROM runs") == [(4,)]


def test_second_merge_does_no_harm_to_the_first(vantages, tmp_path):
    """It would have waited, given up, and deleted the database that it found missing at its start."""
    target = tmp_path / "all.db"
    with closing(FileLocks(str(target))) as locks:
        assert locks.hold(MERGE)
        CrawlDatabase.open(target).close()
        with pytest.raises(DatabaseError, match=r"all\.db: another merge into it is under way$"):
            merge(target, vantages)
    merge(target, vantages)
    assert rows(target, "SELECT count(*) FROM vantages") == [(4,)]


def test_failed_merge_leaves_a_database_that_another_has_begun_to_use(vantages, tmp_path, monkeypatch):
    target = tmp_path / "all.db"
    with ExitStack() as stack:

        def begin_then_fail(*_):
            begin(stack.enter_context(CrawlDatabase.open(target)), "census", Random(1))
            raise DatabaseError("no room")

        monkeypatch.setattr("crawler.db.merge.merge.CrawlDatabase.merging", begin_then_fail)
        with pytest.raises(DatabaseError, match="no room"):
            merge(target, vantages)
    assert rows(target, "SELECT count(*) FROM runs") == [(1,)]


_KILLED = """
import os, signal, sys
from pathlib import Path
from crawler.db.merge import combined_measurements, merge

combined_measurements.bring_up_to_date = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
merge.merge(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
"""


@pytest.mark.slow
def test_killed_merge_leaves_nothing_half(made, tmp_path, reference):
    """All rows were written, and the last step was under way: the target is as before, then all is there."""
    target = tmp_path / "all.db"
    merge(target, made[:1])
    before = contents(target)
    command = [sys.executable, "-c", _KILLED, target, *made[1:]]
    killed = subprocess.run(command, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert contents(target) == before
    merge(target, made)
    assert merged(target) == reference


def test_sources_are_not_changed(made, tmp_path):
    before = [path.read_bytes() for path in made]
    merge(tmp_path / "all.db", made)
    assert [path.read_bytes() for path in made] == before


@pytest.mark.slow
def test_command_says_what_was_merged(made, tmp_path):
    told = run_command("dhtcrawl", "merge", "--into", tmp_path / "all.db", *made)
    again = run_command("dhtcrawl", "merge", "--into", tmp_path / "all.db", "--json", *made)
    assert (told.status, told.stderr, again.status, again.stderr) == (0, "", 0, "")
    assert told.stdout.count("3 runs new, 0 gone on, 0 known; ") == 3
    assert told.stdout.endswith("all.db: 8 combined samples computed\n")
    assert [record.get("known_runs") for record in again.records] == [3, 3, 3, None]
    assert {record["source"] for record in again.records[:3]} == set(map(str, made))
    assert again.records[3] == {"into": str(tmp_path / "all.db"), "combined_samples": 0}


def test_wrong_command_line_is_one_line(tmp_path):
    lines = [["merge"], ["merge", "--into", "all.db"], ["merge", "--into", "all.db", "--window", "0", "a.db"]]
    for ended in run_each("dhtcrawl", lines, cwd=tmp_path):
        assert (ended.status, ended.stdout) == (2, "")
        assert ended.error
    assert not (tmp_path / "all.db").exists()
