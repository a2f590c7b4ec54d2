"""The command `dhtcrawl` as it is installed: what it prints, what it records, and how it ends."""

import json
import os
import re
import shutil
import signal
import sqlite3
from contextlib import closing

import pytest

from dhtnode.krpc.messages import GetPeers
from tests.commands import (
    PROGRAMS,
    SCRAPE_KEYS,
    SWARM,
    FakeNode,
    Running,
    run_command,
    running_testnet,
    swarm_option,
)
from tests.databases import records

pytestmark = pytest.mark.slow

SIZES = {SWARM: (40, 60), "11" * 20: (3, 4), "22" * 20: (0, 1), "33" * 20: (0, 0), "44" * 20: (25, 0)}
NODES = 20
SCRAPE = ("dhtcrawl", "scrape", "--rate", "0", "--db")  # in a network of our own
NOWHERE = ["--bootstrap", "127.0.0.1:1"]  # should a bad option be taken, no packet may leave
WRONG: list[tuple[list[str], str]] = [
    (["scrape", SWARM], "Missing option '--db'"),
    (["census"], "Missing option '--db'"),
    (["scrape", "--db", "a.db"], "name at least one info-hash"),
    (["scrape", "--db", "a.db", "xyz"], "'xyz' is not an info-hash"),
    (["scrape", "--db", "a.db", SWARM, "--at-once", "0", *NOWHERE], "--at-once"),
    (["scrape", "--db", "a.db", SWARM, "--bootstrap", "127.0.0.1:0"], "port 0 cannot be asked"),
    (["scrape", "--db", "a.db", SWARM, "--timeout", "0", *NOWHERE], "--timeout"),
    (["scrape", "--db", "a.db", SWARM, "--fresh", "nan", *NOWHERE], "--fresh"),
    (["scrape", "--db", "a.db", SWARM, "--rate", "-1", *NOWHERE], "--rate"),
    (["scrape", "--db", "a.db", SWARM, "--exclude", "wrong.txt", *NOWHERE], "wrong.txt"),
    (["explain", "--db", "missing.db", "1"], "missing.db"),
    (["scrape", "--db", ".", SWARM], "'.' is a directory"),
    (["scrape", "--db", "a.db", "--from", "missing.txt"], "missing.txt"),
    (["scrape", "--db", "a.db", "--from", "."], "directory"),
    (["scrape", "--db", "a.db", "--from", "wrong.txt"], "wrong.txt, line 3: 'what is this' is not"),
    (["scrape", "--db", "a.db", "--from", "junk.bin"], "junk.bin"),
    (["scrape", "--db", "a.db", "--from", "empty.txt"], "name at least one info-hash"),
    (["census", "--db", "a.db", "--rate", "-1", *NOWHERE], "--rate"),
    (["census", "--db", "a.db", "--rate", "nan", *NOWHERE], "--rate"),
    (["census", "--db", "a.db", "--max-new-endpoints", "0", *NOWHERE], "--max-new-endpoints"),
    (["census", "--db", "a.db", "--watch-id", "xyz", *NOWHERE], "--watch-id"),
    (["census", "--db", "a.db", "extra"], "unexpected extra argument"),
    (["sample"], "Missing option '--db'"),
    (["sample", "--db", "a.db", "--zone", "5b", *NOWHERE], "'5b' is neither"),
    (["sample", "--db", "a.db", "--zone", "0x123456789", *NOWHERE], "is neither"),
    (["sample", "--db", "a.db", "--rounds", "0", *NOWHERE], "--rounds"),
    (["sample", "--db", "a.db", "--for", "0", *NOWHERE], "--for"),
    (["sample", "--db", "a.db", "--once", "--rounds", "2", *NOWHERE], "give one of --once, --rounds"),
    (["sample", "--db", "a.db", "--anonymize", "--rounds", "2", *NOWHERE], "need addresses to ask again"),
    (["metadata", "--db", "a.db"], "name at least one info-hash, or give --missing"),
    (["metadata", SWARM], "Missing option '--db'"),
    (["metadata", "--db", "a.db", SWARM, "--rate", "0", *NOWHERE], "--rate"),
    (["metadata", "--db", "a.db", SWARM, "--peers", "0", *NOWHERE], "--peers"),
    (["metadata", "--db", "a.db", "--missing", "0", *NOWHERE], "--missing"),
    (["demo", "--nodes", "3"], "--nodes"),
    (["demos"], "No such command 'demos'"),
    (["census", "--dbb", "a.db"], "--dbb"),
]
STORED_KEYS = [key for key in SCRAPE_KEYS if not key.startswith(("seeds_", "leechers_"))]
"""What a sample keeps in columns of its own; intervals of parts are beside it."""
CENSUS_KEYS = [
    *(
        "complete",
        "sighted",
        "queued",
        "known_share",
        "seconds_left",
        "answered",
        "outcomes",
        "dropped",
        "held",
        "queries",
        "second_answers",
        "second_walk_queries",
        "verified",
        "seconds",
    ),
    *("sizes", "endpoints", "alarms", "suspects"),
]


@pytest.fixture(scope="module")
def network():
    swarms = [option for each, (s, p) in SIZES.items() for option in swarm_option(each, s, p)]
    with running_testnet(NODES, *swarms) as running:
        yield running


@pytest.fixture
def database(tmp_path):
    return tmp_path / "crawl.db"


def looked_up(swarms):
    return f"looked nodes up for {swarms} of {swarms} swarms: no fresh census covers them\n"


def runs(database):
    return [(row["command"], row["status"]) for row in records(database, "SELECT * FROM runs ORDER BY id")]


def test_scrape_prints_what_dhtnode_scrape_prints(network, database):
    ended = run_command(*SCRAPE, database, *SIZES, *network.options, "--json")
    records = {record["info_hash"]: record for record in ended.records}
    assert (ended.status, ended.stderr) == (0, looked_up(len(SIZES)))
    assert {tuple(record) for record in ended.records} == {tuple(SCRAPE_KEYS)}
    assert records.keys() == SIZES.keys()
    for info_hash, (seeds, leechers) in SIZES.items():
        assert records[info_hash]["peers_low"] <= seeds + leechers <= records[info_hash]["peers_high"]


def test_scrape_records_what_it_prints(network, database):
    ended = run_command(*SCRAPE, database, *SIZES, *network.options, "--json")

    samples = records(database, "SELECT * FROM swarm_samples")
    printed = {record["info_hash"]: record for record in ended.records}
    for sample in samples:
        record = printed.pop(sample["info_hash"])
        assert {key: sample[key] for key in STORED_KEYS} == {key: record[key] for key in STORED_KEYS}
    assert not printed
    assert runs(database) == [("scrape", "finished")]
    assert {row["info_hash"] for row in records(database, "SELECT * FROM swarms")} == SIZES.keys()
    for sample in samples:
        replies = records(database, f"SELECT * FROM scrape_replies WHERE sample_id = {sample['id']}")
        assert sample["run_id"] == 1
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", sample["taken_at"])
        assert sample["bytes_sent"] > 0 < sample["bytes_received"]
        assert sorted(reply["rank"] for reply in replies) == list(range(sample["nodes_answered"]))
        with_filters = [reply for reply in replies if reply["peers_filter"] is not None]
        assert len(with_filters) == sample["nodes_with_filters"]
        assert all(len(reply["peers_filter"]) == len(reply["seeds_filter"]) == 256 for reply in with_filters)


def test_latest_swarms_reads_well_with_sqlite_utils(network, database):
    for _ in range(2):
        run_command(*SCRAPE, database, *SIZES, *network.options)
    shown = run_command("sqlite-utils", "rows", database, "latest_swarms")
    assert shown.status == 0
    assert {row["info_hash"] for row in json.loads(shown.stdout)} == SIZES.keys()
    assert len(records(database, "SELECT * FROM swarm_samples")) == 2 * len(SIZES)


def test_no_address_of_a_peer_is_in_the_database(network, database):
    run_command(*SCRAPE, database, SWARM, *network.options)
    peers = run_command("dhtnode", "get-peers", SWARM, *network.options).stdout.split()
    written = b"".join(path.read_bytes() for path in database.parent.iterdir())
    assert len(peers) > 50
    assert bytes((127, 0, 0, 1)) in written
    assert not re.search(rb"198\.1[89]\.", written)
    for peer in peers:
        host, port = peer.split(":")
        packed = bytes(map(int, host.split("."))) + int(port).to_bytes(2, "big")
        assert packed not in written
        assert packed.hex().encode() not in written


def test_scrape_without_json_prints_a_line_for_people(network, database):
    ended = run_command(*SCRAPE, database, "11" * 20, *network.options)
    assert (ended.status, ended.stderr) == (0, looked_up(1))
    assert ended.stdout == (
        f"{'11' * 20} 7 peers (7 to 7): 3 seeds (3 to 3), 4 leechers (4 to 4);"
        " 8 of 8 nodes gave filters, 7 peers seen\n"
    )


@pytest.mark.parametrize("source", ["file", "-"])
def test_info_hashes_are_read_from_a_list(network, database, tmp_path, source):
    """Blank lines and comments are skipped; what is named twice, in whatever spelling, is measured once."""
    listed = tmp_path / "list.txt"
    text = f"# a comment\n\n{'11' * 20}\n  {SWARM.upper()}  \nmagnet:?xt=urn:btih:{SWARM}\r\n{'22' * 20}"
    listed.write_text(text)
    ended = run_command(
        *(*SCRAPE, database, "44" * 20, "11" * 20, "--json", "--at-once", "2"),
        *("--from", listed if source == "file" else "-"),
        *network.options,
        text=text,
    )

    assert (ended.status, ended.stderr) == (0, looked_up(4))
    expected = ["11" * 20, "22" * 20, "44" * 20, SWARM]
    assert sorted(record["info_hash"] for record in ended.records) == expected
    assert len(records(database, "SELECT * FROM swarm_samples")) == 4


def test_several_swarms_are_measured_at_once(database):
    """With --at-once 3, three lookups begin before any of them is answered."""
    asked = set()
    with FakeNode() as only:
        options = ["--bootstrap", str(only.address), "--at-once", "3"]
        with Running(*SCRAPE, database, *options, *SIZES) as process:
            while len(asked) < 3:
                query, asker = only.receive()
                if isinstance(query.method, GetPeers):
                    asked.add(query.method.info_hash.hex())
                else:
                    only.respond(query, asker)
            process.signal(signal.SIGINT)
            process.wait()

    assert len(asked) == 3
    assert asked < SIZES.keys()


@pytest.mark.parametrize("options", [[], ["--rate", "0"]], ids=["polite", "unlimited"])
def test_census_visits_every_node_of_the_network(network, database, options):
    ended = run_command("dhtcrawl", "census", "--db", database, *options, *network.options, "--json")

    (record,) = ended.records
    assert (ended.status, ended.stderr, list(record)) == (0, "", CENSUS_KEYS)
    assert record.pop("seconds") > 0
    (by_crawl,) = [size for size in record.pop("sizes") if (size["family"], size["method"]) == (4, "crawl")]
    assert record.pop("endpoints") == [by_crawl | {"method": "endpoints"}]
    assert by_crawl["low"] <= NODES <= by_crawl["high"]
    assert record.pop("known_share") > 0
    assert 0 <= record.pop("second_walk_queries") <= 2 * NODES
    assert record == {
        "complete": True,
        "sighted": NODES,
        "queued": 0,
        "seconds_left": 0.0,
        "answered": NODES,
        "outcomes": {"answered": NODES},
        "second_answers": NODES,
        "verified": 0,
        "dropped": 0,
        "held": 0,
        "queries": 2 * NODES,
        "alarms": 0,
        "suspects": [],
    }
    (counted,) = records(database, "SELECT * FROM network_size")
    assert (counted["family"], counted["sighted"], counted["answered_once"]) == (4, NODES, NODES)
    assert (counted["low"], counted["high"]) == (round(by_crawl["low"]), round(by_crawl["high"]))
    visits = records(database, "SELECT node_id, port, outcome, version FROM visits")
    assert len(visits) == len({(visit["node_id"], visit["port"]) for visit in visits}) == NODES
    assert {(visit["outcome"], visit["version"]) for visit in visits} == {("answered", "444e0001")}
    assert len(records(database, "SELECT * FROM nodes")) == NODES
    assert runs(database) == [("census", "finished")]


def test_census_without_json_is_a_line_for_people(network, database):
    ended = run_command("dhtcrawl", "census", "--db", database, *network.options)
    assert (ended.status, ended.stderr) == (0, "")
    assert re.fullmatch(
        rf"census: {NODES} endpoints sighted, {NODES} answered, 0 visits without answer,"
        rf" 0 waiting, 0 in flight, {2 * NODES} queries in [0-9.]+ s\n"
        r"IPv4: about \d+ endpoints, \d+ to \d+\n"
        r"(  by a second walk .*: \d+ endpoints, \d+ to \d+\n)?0 alarms\n",
        ended.stdout,
    )


def test_sample_finds_its_way_into_a_network_on_loopback(network, database):
    run_command("dhtcrawl", "census", "--db", database, *network.options)
    ended = run_command("dhtcrawl", "sample", "--db", database, "--rate", "0", "--json")
    (record,) = ended.records
    assert (ended.status, ended.stderr) == (0, "")
    assert (record["sighted"], record["sampled"]) == (NODES, NODES)
    assert record["families"][0]["info_hashes"] == sum(sum(size) > 0 for size in SIZES.values())


@pytest.mark.parametrize("options", [[], ["--serve"]], ids=["read-only", "serving"])
def test_serving_node_is_no_read_only_one(database, options):
    with FakeNode(b"f" * 20) as only:
        command = ["census", "--db", database, "--bootstrap", str(only.address), *options]
        with Running("dhtcrawl", *command) as process:
            first, asker = only.receive()
            query = first
            while query.method.target != b"f" * 19 + b"g":
                only.respond(query, asker)
                query, asker = only.receive()
            process.signal(signal.SIGINT)
            process.wait()
    assert (first.read_only, query.read_only) == (not options, True)


def test_runs_share_one_database(network, database):
    run_command("dhtcrawl", "census", "--db", database, *network.options)
    run_command(*SCRAPE, database, SWARM, *network.options)
    run_command("dhtcrawl", "census", "--db", database, *network.options)
    assert runs(database) == [("census", "finished"), ("scrape", "finished"), ("census", "finished")]
    assert len(records(database, "SELECT * FROM visits")) == 2 * NODES


@pytest.mark.parametrize(("line", "complaint"), WRONG, ids=[" ".join(line)[:80] for line, _ in WRONG])
def test_wrong_command_line_is_one_line_and_makes_no_database(tmp_path, line, complaint):
    (tmp_path / "wrong.txt").write_text(f"{SWARM}\n\nwhat is this\n")
    (tmp_path / "junk.bin").write_bytes(bytes(range(256)) * 4)
    (tmp_path / "empty.txt").write_text("# nothing\n\n")
    before = set(tmp_path.iterdir())
    ended = run_command("dhtcrawl", *line, cwd=tmp_path)
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.error.startswith("dhtcrawl: ")
    assert complaint in ended.error
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "arguments", [["scrape", SWARM, "--db"], ["census", "--db"], ["demo", "--nodes", "20", "--db"]]
)
def test_database_in_a_missing_directory_is_refused(tmp_path, arguments):
    path = tmp_path / "missing" / "a.db"
    ended = run_command("dhtcrawl", *arguments, path)
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.error == f"dhtcrawl: {path}: the directory does not exist"


@pytest.mark.parametrize("arguments", [["scrape", SWARM, "--db"], ["census", "--db"]])
def test_file_that_is_no_database_is_left_alone(tmp_path, arguments):
    path = tmp_path / "letter.txt"
    path.write_text("Dear reader,\n" * 500)
    ended = run_command("dhtcrawl", *arguments, path)
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.error == f"dhtcrawl: {path}: is not a SQLite database"
    assert path.read_text() == "Dear reader,\n" * 500
    assert list(tmp_path.iterdir()) == [path]


def test_database_of_another_program_is_left_alone(database):
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE letters (text)")
    before = database.read_bytes()
    ended = run_command("dhtcrawl", "census", "--db", database)
    assert (ended.status, ended.error) == (1, f"dhtcrawl: {database}: is a database of another program")
    assert database.read_bytes() == before


def test_locked_database_is_named(database):
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("CREATE TABLE runs (id)")
        ended = run_command("dhtcrawl", "census", "--db", database)
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.error == f"dhtcrawl: {database}: is locked by another process"


def test_database_that_cannot_be_written_is_named(network, database):
    command = [PROGRAMS / "dhtcrawl", "scrape", SWARM, *network.options, "--db", database]
    assert run_command(*command).status == 0
    database.chmod(0o444)
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root may write everything, and there is no setpriv to change that")
        command = [setpriv, "--bounding-set", "-dac_override,-dac_read_search", *command]
    ended = run_command(*command)

    assert (ended.status, ended.stdout) == (1, "")
    assert str(database) in ended.error
    assert "read-only" in ended.error
    assert runs(database) == [("scrape", "finished")]


def test_network_without_answers_is_status_1(tmp_path):
    with FakeNode() as silent:
        options = ["--bootstrap", str(silent.address), "--json"]
        with (
            Running("dhtcrawl", "scrape", "--db", tmp_path / "s.db", *options, SWARM, "11" * 20) as scrape,
            Running("dhtcrawl", "census", "--db", tmp_path / "c.db", *options) as census,
        ):
            scraped, visited = scrape.wait(), census.wait()

    assert (scraped.status, scraped.stdout) == (visited.status, visited.stdout) == (1, "")
    *failures, last = [line for line in scraped.stderr.splitlines() if not line.startswith("scrape: ")]
    assert sorted(failures) == [f"{'11' * 20}: no node answered", f"{SWARM}: no node answered"]
    assert last == "dhtcrawl: 0 of 2 swarms measured"
    assert visited.stderr.endswith("dhtcrawl: no node answered\n")
    assert records(tmp_path / "s.db", "SELECT * FROM swarm_samples") == []
    assert records(tmp_path / "c.db", "SELECT * FROM visits") == []
    assert runs(tmp_path / "c.db") == [("census", "interrupted")]


@pytest.mark.parametrize("command", [["scrape", SWARM], ["census"]], ids=["scrape", "census"])
def test_time_that_runs_out_is_status_1(database, command):
    with FakeNode() as silent:
        options = ["--db", database, "--bootstrap", str(silent.address), "--timeout", "0.5"]
        ended = run_command("dhtcrawl", *command, *options)
    assert (ended.status, known_nothing(ended)) == (1, True)
    assert ended.error.startswith("dhtcrawl: ")
    assert runs(database) == [(command[0], "interrupted")]


def known_nothing(ended):
    """Return whether a command that was cut says that it has found nothing: a scrape by no line."""
    return ended.stdout == "" or (
        ended.stdout.startswith("census: 0 endpoints sighted, 0 answered, ")
        and ended.stdout.endswith("\ncut short: the same command goes on from here\n")
    )


@pytest.mark.parametrize("command", [["scrape", SWARM], ["census"]], ids=["scrape", "census"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_run_in_order(database, command, number):
    with FakeNode() as silent:
        options = ["--db", database, "--bootstrap", str(silent.address)]
        with Running("dhtcrawl", *command, *options) as process:
            silent.receive()
            process.signal(number)
            ended = process.wait()
    assert (ended.status, known_nothing(ended)) == (128 + number, True)
    assert ended.error.startswith("dhtcrawl: ")
    assert runs(database) == [(command[0], "interrupted")]


def test_interrupted_census_keeps_its_visits(database):
    with FakeNode(b"f" * 20) as first, FakeNode(b"s" * 20) as silent:
        options = ["--db", database, "--bootstrap", str(first.address)]
        with Running("dhtcrawl", "census", *options) as process:
            while True:
                query, asker = first.receive()
                is_visit = query.method.target == b"f" * 19 + b"g"
                first.respond(query, asker, *([silent.contact] if is_visit else []))
                if is_visit:
                    break
            first.respond(*first.receive())
            silent.receive()
            process.signal(signal.SIGINT)
            process.wait()

    assert runs(database) == [("census", "interrupted")]
    visits = records(database, "SELECT node_id, outcome, contacts FROM visits")
    assert visits == [{"node_id": "66" * 20, "outcome": "answered", "contacts": 1}]


def test_reader_that_goes_away_ends_the_command_quietly(database):
    """`dhtcrawl scrape ... | head -1` complains about nothing, and keeps what it measured."""
    with FakeNode(b"f" * 20) as only:
        options = ["--db", database, "--bootstrap", str(only.address), "--at-once", "1"]
        with Running("dhtcrawl", "scrape", SWARM, "11" * 20, *options) as process:
            process.close_stdout()
            while True:
                query, asker = only.receive()
                only.respond(query, asker, values=(), token=b"t")
                if isinstance(query.method, GetPeers):
                    break
            ended = process.wait()

    assert (ended.status, ended.stderr) == (1, "")
    assert runs(database) == [("scrape", "interrupted")]
