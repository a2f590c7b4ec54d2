"""A census that is killed, again and again, and ends as if nothing had happened."""

import json
import signal
import sqlite3
import time
from collections import Counter
from contextlib import contextmanager
from random import Random

import pytest

from tests.commands import Running, run_command
from tests.databases import rows

pytestmark = pytest.mark.slow

NODES = 300
KILLS = 2


@contextmanager
def synthetic_network(**options):
    """Play a network for the length of the block, and yield a way in."""
    arguments = [f"--{name}={value}" for name, value in options.items()]
    with Running("dhtcrawl", "synthetic", *arguments, "--json") as process:
        yield json.loads(process.read_line())["bootstrap"][0]


def census_command(database, way_in):
    # Fast enough to end in seconds, slow enough to be killed on the way.
    pace = ["--rate", "900", "--max-new-endpoints", "150"]
    return ["census", "--db", str(database), "--bootstrap", way_in, "--json", *pace]


def kill_one(database, way_in, random):
    """Let a census go on until it has written something more, and a little longer, then kill it."""
    before = len(rows(database, "SELECT 1 FROM visits")) if database.exists() else 0
    with Running("dhtcrawl", *census_command(database, way_in)) as process:
        while process.is_running:
            time.sleep(0.02)
            if database.exists() and len(visits_so_far(database)) > before:
                break
        time.sleep(random.uniform(0, 0.3))
        process.signal(signal.SIGKILL)


def visits_so_far(database):
    try:
        return rows(database, "SELECT 1 FROM visits")
    except sqlite3.OperationalError:  # the tables are being made
        return []


def test_killed_census_goes_on_where_it_was(tmp_path):
    database, random = tmp_path / "a.db", Random(1)
    with synthetic_network(nodes=NODES, stale=0.2, seed=1) as way_in:
        for _ in range(KILLS):
            kill_one(database, way_in, random)
        ended = run_command("dhtcrawl", *census_command(database, way_in))
        again = run_command("dhtcrawl", *census_command(tmp_path / "whole.db", way_in), "--rate", "0")

    assert (ended.status, again.status) == (0, 0)
    outcomes = {}
    for node_id, port, outcome in rows(database, "SELECT node_id, port, outcome FROM visits"):
        outcomes.setdefault((node_id, port), []).append(outcome)
    kinds = Counter(tuple(sorted(each)) for each in outcomes.values())
    assert set(kinds) <= {("answered",), ("timeout",), ("timeout", "timeout"), ("answered", "timeout")}
    whole = again.records[-1]["outcomes"]["answered"]
    answered = sum(count for kind, count in kinds.items() if "answered" in kind)
    assert abs(answered - whole) <= 0.01 * NODES
    assert answered >= 0.98 * NODES
    assert rows(database, "SELECT status FROM runs") == [("finished",)]
    assert rows(database, "SELECT count(*) FROM crawl_journal") == [(0,)]


def test_finished_or_changed_census_begins_again(tmp_path):
    """A crawl with other settings, or one that is complete, gets a run of its own."""
    database = tmp_path / "a.db"
    with synthetic_network(nodes=30) as way_in:
        for options in ([], [], ["--zone", "0x5"], ["--zone", "0x5", "--new"]):
            ended = run_command(
                "dhtcrawl", "census", "--db", database, "--bootstrap", way_in, "--rate", "0", *options
            )
            assert (ended.status, ended.stderr) == (0, "")
    assert rows(database, "SELECT status FROM runs") == [("finished",)] * 4


@pytest.mark.parametrize("text", ["33", "0x", "5b", "-1"])
def test_bad_zone_is_one_line(tmp_path, text):
    ended = run_command("dhtcrawl", "census", "--db", tmp_path / "a.db", "--zone", text)
    assert ended.status == 2
    assert ended.stderr.count("\n") == 1
    assert "--zone" in ended.stderr
    assert not (tmp_path / "a.db").exists()


def test_bad_exclusion_is_one_line(tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("192.0.2.0/24\nsomebody\n")
    ended = run_command("dhtcrawl", "census", "--db", tmp_path / "a.db", "--exclude", listed)
    assert (ended.status, ended.stderr.count("\n")) == (2, 1)
    assert "line 2: 'somebody' is no network, IP address or node id" in ended.stderr


def test_excluded_nodes_are_neither_asked_nor_written_down(tmp_path):
    """Half of all addresses here, as one network that asked to be left alone."""
    database, listed = tmp_path / "a.db", tmp_path / "list.txt"
    listed.write_text("127.128.0.0/9\n")
    with synthetic_network(nodes=200) as way_in:
        run_command(
            *("dhtcrawl", "census", "--db", database, "--bootstrap", way_in, "--rate", "0"),
            *("--exclude", listed),
        )
    asked = [address for (address,) in rows(database, "SELECT DISTINCT address FROM visits")]
    assert len(asked) > 50
    assert max(int(address.split(".")[1]) for address in asked) < 128


def test_anonymized_census_writes_no_address(tmp_path):
    """Not even in what a killed one would go on from."""
    database = tmp_path / "a.db"
    with synthetic_network(nodes=60) as way_in:
        run_command(
            *("dhtcrawl", "census", "--db", database, "--bootstrap", way_in, "--rate", "0", "--anonymize")
        )
    found = rows(database, "SELECT DISTINCT address, port FROM visits")
    assert len(found) > 50
    assert all(address.endswith(".0/24") and port == 0 for address, port in found)
