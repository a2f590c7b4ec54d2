"""The commands `dhtcrawl watch` and `dhtcrawl purge` as they are installed."""

import json
import signal
import sqlite3
from contextlib import closing

import pytest

from crawler.db.records.watched_swarms import LEASE_LIFETIME
from tests.commands import SCRAPE_KEYS, SWARM, Running, run_command, run_each, running_testnet, swarm_option
from tests.databases import records

pytestmark = pytest.mark.slow

OTHER = "11" * 20
WRONG = [
    (["watch", "--db", "a.db"], "name an info-hash, a file with --from, or a number with --discovered"),
    (["watch", "--db", "a.db", "xyz"], "'xyz' is not an info-hash"),
    (["watch", "--db", "a.db", "--from", "missing.txt"], "missing.txt"),
    (
        ["watch", "--db", "a.db", SWARM, "--shortest", "100", "--longest", "10"],
        "no shorter than the shortest",
    ),
    (["watch", "--db", "a.db", SWARM, "--longest", "1e300"], "longest: 1e+300 is not in"),
    (["watch", "--db", "a.db", SWARM, "--budget", "0"], "--budget"),
    (["watch", "--db", "a.db", SWARM, "--keep-filters", "inf"], "--keep-filters"),
    (["watch", "--db", "a.db", "--discovered", "-1"], "--discovered"),
    (["purge"], "Missing option '--db'"),
    (["purge", "--db", "missing.db", "--vacuum"], "missing.db"),
    (["purge", "--db", "ours.db"], "say what to delete"),
    (["purge", "--db", "ours.db", "--node", "nothing"], "'nothing' is no IP address"),
    (["purge", "--db", "ours.db", "--older", "-1"], "--older"),
    (["purge", "--db", "ours.db", "--older", "1e300"], "--older"),
]


@pytest.fixture(scope="module")
def network():
    with running_testnet(12, *swarm_option(SWARM, 4, 6)) as running:
        yield running


@pytest.fixture
def database(tmp_path):
    return tmp_path / "crawl.db"


def test_wrong_command_lines_are_one_line(tmp_path):
    (tmp_path / "ours.db").touch()
    ended = run_each("dhtcrawl", [line for line, _ in WRONG], cwd=tmp_path)
    for (line, reason), each in zip(WRONG, ended, strict=True):
        assert (each.status, each.stdout) == (2, ""), line
        assert reason in each.error, line
    assert not (tmp_path / "a.db").exists()


def test_what_the_database_says_is_one_line(tmp_path):
    (tmp_path / "text.db").write_text("this is no database, whatever it is called" * 100)
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    lines = [
        [command, "--db", name, option]
        for name in ("text.db", "other.db")
        for command, option in (("watch", SWARM), ("purge", "--vacuum"))
    ]
    for line, ended in zip(lines, run_each("dhtcrawl", lines, cwd=tmp_path), strict=True):
        assert (ended.status, ended.stdout) == (1, ""), line
        assert line[2] in ended.error, line


def test_watch_once_measures_records_and_purge_deletes(network, database, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(f"{OTHER}\nnonsense\n")
    watch = ("dhtcrawl", "watch", "--db", database, *network.options, "--once", "--json")

    first = run_command(*watch, SWARM)
    assert (first.status, first.stderr) == (0, "")
    (record,) = first.records
    assert list(record) == SCRAPE_KEYS
    assert (record["info_hash"], record["peers"]) == (SWARM, 10)
    again = run_command(*watch)  # what was watched the last time; not due yet
    assert (again.status, again.stdout, again.stderr) == (0, "", "")
    other = run_command(*watch, "--from", listed)
    assert (other.status, [row["info_hash"] for row in other.records]) == (0, [OTHER])
    assert "list.txt, line 2: 'nonsense' is not an info-hash" in other.error

    watched = records(database, "SELECT info_hash, source, removed_at IS NULL AS on_list FROM watched_swarms")
    assert [tuple(row.values()) for row in watched] == [(OTHER, "list", 1), (SWARM, "given", 0)]
    assert [row["peers"] for row in records(database, "SELECT * FROM swarm_history")] == [0.0, 10.0]

    purge = ("dhtcrawl", "purge", "--db", database, "--swarm", SWARM, "--vacuum", "--json")
    told = run_command(*purge, "--dry-run")
    done = run_command(*purge)
    assert (told.status, done.status, done.stderr) == (0, 0, "")
    assert told.records[0]["rows"] == done.records[0]["rows"]
    assert done.records[0]["rows"]["swarm_samples"] == 1
    left = b"".join(path.read_bytes() for path in tmp_path.glob("crawl.db*"))
    assert OTHER.encode() in left
    assert SWARM.encode() not in left


def test_watch_survives_kill_9(network, database):
    command = ("dhtcrawl", "watch", "--db", database, *network.options, "--json", "--shortest", "0.2")
    command = (*command, "--budget", "36000")
    with Running(*command, SWARM) as process:
        assert json.loads(process.read_line())["info_hash"] == SWARM
        process.signal(signal.SIGKILL)
        process.wait()
    (before,) = records(database, "SELECT * FROM watched_swarms")
    with closing(sqlite3.connect(database)) as connection, connection:  # as if that time had passed
        connection.execute("UPDATE watched_swarms SET next_at = since")

    with Running(*command) as process:
        assert json.loads(process.read_line())["peers"] == 10
        assert json.loads(process.read_line())["peers"] == 10
        process.signal(signal.SIGTERM)
        ended = process.wait()
    assert ended.status == 143
    assert "Traceback" not in ended.stderr
    (after,) = records(database, "SELECT * FROM watched_swarms")
    assert after["since"] == before["since"]
    assert len(records(database, "SELECT * FROM swarm_samples")) >= 2
    runs = [row["status"] for row in records(database, "SELECT status FROM runs ORDER BY id")]
    assert runs == ["interrupted", "interrupted"]
    assert LEASE_LIFETIME == 900.0  # what docs/reference/watch.md says


def test_watch_without_a_network_does_not_end(database):
    """No node answers: noted, tried again later; with --once that is status 1."""
    command = ("dhtcrawl", "watch", "--db", database, SWARM, "--bootstrap", "127.0.0.1:1")
    ended = run_command(*command, "--once")
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.stderr.endswith("dhtcrawl: none of 1 swarms measured\n")
    (row,) = records(database, "SELECT * FROM watched_swarms")
    assert (row["failures"], row["measured_at"]) == (1, None)
    assert row["failure"]
