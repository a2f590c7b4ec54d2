"""The crawl database: what a record becomes, what survives, and what is refused."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from crawler.db.connection import open_reading
from crawler.db.database import CrawlDatabase, DatabaseError, Record
from crawler.db.purge.orders import Orders
from crawler.db.records.infohash_samples import NodeSample, NodeToSample, SampleBatch
from crawler.db.records.records import (
    CrawlBatch,
    Journal,
    Run,
    RunStatus,
    SybilTestResult,
    Visit,
    epoch_seconds,
    utc_text,
)
from crawler.db.swarm_measurements import observation_in
from dhtnode.addresses import Address, Family
from dhtnode.ids import InfoHash, NodeId
from dhtnode.outcomes import Outcome
from dhtnode.swarm import Observation
from dhtnode.swarm.estimate import MethodEstimate
from tests.measurements import measurement_of
from tests.visits import visit_of

T0 = "2025-06-01T12:00:00.000Z"
T1 = "2025-06-01T12:00:01.000Z"
T2 = "2025-06-01T12:10:00.000Z"

ALICE = NodeId(b"a" * 20)
BOB = NodeId(b"b" * 20)
SWARM = InfoHash(b"\x01" * 20)
HERE = Address("192.0.2.7", 6881)
THERE = Address("2001:db8:1:2::3", 6882)

REPLY = Observation(
    ALICE,
    HERE,
    0,
    b"\x0f" * 256,
    b"\xf0" * 256,
    5,
    b"LT\x02\x10",
    12.5,
    ("identical-filters", "wrong-id"),
    Outcome.ANSWERED,
    T0,
    frozenset({b"t" * 8, b"u" * 8}),
    b"\x03" * 256,
    b"\x01" * 256,
)
SAMPLE = measurement_of(
    info_hash=SWARM,
    taken_at=T0,
    seeds=10.4,
    leechers=20.6,
    peers=31.0,
    peers_low=28.2,
    peers_high=33.9,
    method="union",
    saturated=False,
    nodes_asked=8,
    nodes_answered=7,
    nodes_with_filters=6,
    distinct_peers=25,
    bytes_sent=800,
    bytes_received=6000,
    seeds_low=9.0,
    seeds_high=12.0,
    leechers_low=19.0,
    leechers_high=23.0,
    overlap=1.0,
    coverage=0.97,
    estimates=(
        MethodEstimate("peers", "union", 31.0, 28.2, 33.9),
        MethodEstimate("seeds", "union", 10.4, 9.0, 12.0),
    ),
    observations=(REPLY,),
    source="cli",
    name="debian.iso",
)


def visit(
    node_id: NodeId = ALICE,
    address: Address = HERE,
    at: str = T0,
    outcome: Outcome = Outcome.ANSWERED,
    **others: Any,
) -> Visit:
    """Return a visit with something in each column."""
    contents: dict[str, Any] = {"version": b"LT\x02\x10", "conforms": True, "contacts": 8, "unusable": 1}
    contents |= {"rtt_ms": 40.5, "new_contacts": 3, "referrers": 2, "marks": ("flood", "oversized")}
    return visit_of(node_id, address, epoch_seconds(at), outcome, **(contents | others))


VISIT = visit()


@pytest.fixture
def store() -> Iterator[CrawlDatabase]:
    with CrawlDatabase.open(":memory:") as opened:
        yield opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "crawl.db"


def begin(store: CrawlDatabase) -> int:
    return store.runs.begin("census", {"rate": 100}, "0.1", T0)


def write_run(store: CrawlDatabase, *records: Record) -> int:
    """Write a run from its begin to its end, when `nodes` learns of it."""
    run_id = begin(store)
    store.write(run_id, records)
    store.runs.finish(run_id, RunStatus.FINISHED, T1)
    return run_id


def test_time_is_utc_text_cut_to_milliseconds() -> None:
    assert utc_text(0.0) == "1970-01-01T00:00:00.000Z"
    assert utc_text(1700000000.9999) == "2023-11-14T22:13:20.999Z"


def test_run_is_begun_and_finished(store: CrawlDatabase) -> None:
    run_id = begin(store)
    store.runs.finish(run_id, RunStatus.FINISHED, T1)
    run = Run(1, "census", T0, T1, RunStatus.FINISHED, "0.1", {"rate": 100}, os.getpid())
    assert store.runs.all() == [run]


def test_sample_becomes_a_swarm_a_sample_and_its_replies(store: CrawlDatabase) -> None:
    store.write(begin(store), [SAMPLE])

    assert store.rows("swarms") == [
        {"info_hash": "01" * 20, "first_seen": T0, "last_seen": T0, "source": "cli", "name": "debian.iso"}
    ]
    assert store.rows("swarm_samples") == [
        {
            "id": 1,
            "run_id": 1,
            "info_hash": "01" * 20,
            "taken_at": T0,
            "seeds": 10.4,
            "leechers": 20.6,
            "peers": 31.0,
            "peers_low": 28.2,
            "peers_high": 33.9,
            "method": "union",
            "saturated": 0,
            "nodes_asked": 8,
            "nodes_answered": 7,
            "nodes_with_filters": 6,
            "distinct_peers": 25,
            "queries": 0,
            "bytes_sent": 800,
            "bytes_received": 6000,
            "seeds_low": 9.0,
            "seeds_high": 12.0,
            "leechers_low": 19.0,
            "leechers_high": 23.0,
            "overlap": 1.0,
            "coverage": 0.97,
            "silent_share": None,
            "source": "dht",
        }
    ]
    assert store.rows("swarm_estimates") == [
        {"sample_id": 1, "subject": "peers", "method": "union", "estimate": 31.0, "low": 28.2, "high": 33.9},
        {"sample_id": 1, "subject": "seeds", "method": "union", "estimate": 10.4, "low": 9.0, "high": 12.0},
    ]
    (reply,) = store.rows("scrape_replies")
    # Two hosts were named: of their hashes numbers are left.
    assert reply.pop("named_tokens") in (b"\0\0\0\0\0\1", b"\0\0\1\0\0\0")
    assert [reply] == [
        {
            "sample_id": 1,
            "node_id": "61" * 20,
            "address": "192.0.2.7",
            "port": 6881,
            "rank": 0,
            "seeds_filter": b"\x0f" * 256,
            "peers_filter": b"\xf0" * 256,
            "values_count": 5,
            "version": "4c540210",
            "rtt_ms": 12.5,
            "marks": "identical-filters wrong-id",
            "outcome": "answered",
            "asked_at": T0,
            "family": 4,
            "named_filter": b"\x03" * 256,
            "unplaced_filter": b"\x01" * 256,
            "is_full": 0,
        }
    ]


def test_hosts_that_nodes_named_have_numbers_that_hold_within_one_measurement(path: Path) -> None:
    """Beside the filter of the same hosts a hash would tell only that a host came again: numbers do not."""
    hashes = [Random(number).randbytes(8) for number in range(200)]
    replies = tuple(
        Observation(node_id, HERE, rank, values_count=100, host_hashes=frozenset(hashes[first : first + 100]))
        for rank, (node_id, first) in enumerate(((ALICE, 0), (BOB, 50)))
    )
    with CrawlDatabase.open(path) as store:
        store.write(begin(store), [replace(SAMPLE, observations=replies)] * 2)
        said = [observation_in(row).host_hashes for row in store.rows("scrape_replies")]
    assert [(len(one), len(one & other)) for one, other in (said[:2], said[2:])] == [(100, 50)] * 2
    # That both draw the same numbers for a host of 100 is as rare as 1 in 10**100.
    assert said[0] != said[2]
    assert not any(each in path.read_bytes() for each in hashes)


def test_filters_that_are_empty_are_not_those_that_were_never_sent(store: CrawlDatabase) -> None:
    """A node without BEP 33 has NULL, one with an empty store 256 zero bytes; the silent have a row too."""
    replies = (
        Observation(ALICE, HERE, 0, bytes(256), None),
        Observation(BOB, THERE, 1, outcome=Outcome.TIMEOUT, asked_at=T0),
    )
    store.write(begin(store), [replace(SAMPLE, observations=replies)])

    assert [(row["seeds_filter"], row["peers_filter"]) for row in store.rows("scrape_replies")] == [
        (bytes(256), None),
        (None, None),
    ]
    assert [row["outcome"] for row in store.rows("scrape_replies")] == ["answered", "timeout"]
    assert [(row["node_id"], row["last_answer"]) for row in store.rows("nodes")] == [
        (ALICE.hex(), T0),
        (BOB.hex(), None),
    ]


def test_visit_becomes_a_node_and_a_visit(store: CrawlDatabase) -> None:
    """An answer is proof of a node; the visit is kept whole."""
    write_run(store, VISIT)

    assert store.rows("nodes") == [
        {
            "node_id": "61" * 20,
            "address": "192.0.2.7",
            "port": 6881,
            "family": 4,
            "first_seen": T0,
            "last_seen": T0,
            "last_answer": T0,
            "version": "4c540210",
            "client": "LT",
        }
    ]
    assert store.rows("visits") == [
        {
            "id": 1,
            "run_id": 1,
            "node_id": "61" * 20,
            "address": "192.0.2.7",
            "port": 6881,
            "taken_at": T0,
            "outcome": "answered",
            "error_code": None,
            "rtt_ms": 40.5,
            "version": "4c540210",
            "conforms": 1,
            "contacts": 8,
            "unusable": 1,
            "new_contacts": 3,
            "referrers": 2,
            "marks": "flood oversized",
            "is_verification": 0,
        }
    ]


def test_node_keeps_its_first_sight_and_its_last_answer(store: CrawlDatabase) -> None:
    """A later silence advances the last sight only, and an old record turns no clock back."""
    write_run(store, visit(at=T1))
    write_run(store, visit_of(ALICE, HERE, epoch_seconds(T2), Outcome.TIMEOUT))
    write_run(store, visit(at=T0))

    (node,) = store.rows("nodes")
    seen = {key: node[key] for key in ("first_seen", "last_seen", "last_answer", "version", "client")}
    assert seen == {
        "first_seen": T0,
        "last_seen": T2,
        "last_answer": T1,
        "version": "4c540210",
        "client": "LT",
    }
    assert [row["outcome"] for row in store.rows("visits")] == ["answered", "timeout", "answered"]


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.ANSWERED])
def test_only_an_answer_counts_as_one(store: CrawlDatabase, outcome: Outcome) -> None:
    """Whatever else came of a visit, it does not show that the node is there."""
    write_run(store, visit(outcome=outcome))
    assert [node["last_answer"] for node in store.rows("nodes")] == [None]


def test_swarm_keeps_its_source_and_name(store: CrawlDatabase) -> None:
    """What is known about a swarm is not forgotten, and later knowledge fills gaps only."""
    run_id = begin(store)
    store.write(run_id, [replace(SAMPLE, taken_at=T1, name=None)])
    store.write(run_id, [replace(SAMPLE, taken_at=T2, source="census", name="late.iso")])
    store.write(run_id, [replace(SAMPLE, taken_at=T0, source=None, name=None)])
    assert store.rows("swarms") == [
        {"info_hash": "01" * 20, "first_seen": T0, "last_seen": T2, "source": "cli", "name": "late.iso"}
    ]
    assert [row["taken_at"] for row in store.rows("swarm_samples")] == [T1, T2, T0]


def test_latest_swarms_shows_the_newest_sample_rounded(store: CrawlDatabase) -> None:
    run_id = begin(store)
    full = replace(SAMPLE.estimate, seeds=None, saturated=True)
    other = replace(SAMPLE, info_hash=InfoHash(b"\x02" * 20), estimate=full, observations=())
    larger = replace(SAMPLE, estimate=replace(SAMPLE.estimate, peers=99.0))
    store.write(run_id, [replace(SAMPLE, taken_at=T1), larger, other])

    newest = {
        "info_hash": "01" * 20,
        "name": "debian.iso",
        "taken_at": T1,
        "seeds": 10,
        "seeds_low": 9,
        "seeds_high": 12,
        "leechers": 21,
        "leechers_low": 19,
        "leechers_high": 23,
        "peers": 31,
        "peers_low": 28,
        "peers_high": 34,
        "saturated": 0,
        "method": "union",
        "nodes_asked": 8,
        "nodes_answered": 7,
        "nodes_with_filters": 6,
        "distinct_peers": 25,
        "coverage": 0.97,
        "sample_id": 1,
    }
    second = newest | {"info_hash": "02" * 20, "taken_at": T0, "seeds": None, "saturated": 1, "sample_id": 3}
    assert sorted(store.rows("latest_swarms"), key=lambda row: str(row["info_hash"])) == [newest, second]


def test_client_versions_counts_nodes_that_answered(store: CrawlDatabase) -> None:
    """Clients go by the two characters of their `v`; silent nodes are not counted."""
    versions = [b"LT\x02\x10", b"LT\x01\x20", b"A2\x00\x01", b"\x00\x01\x02\x03", b"", None]
    visits = [
        visit(address=Address("192.0.2.7", port), version=version)
        for port, version in enumerate(versions, start=1)
    ]
    silent = visit_of(BOB, HERE, epoch_seconds(T0), Outcome.TIMEOUT)
    write_run(store, *visits, silent)

    assert store.rows("client_versions") == [
        {"client": "unknown", "client_name": "unknown", "nodes": 3, "share": 0.5, "versions": 2},
        {"client": "LT", "client_name": "libtorrent", "nodes": 2, "share": 0.3333, "versions": 2},
        {"client": "A2", "client_name": "aria2", "nodes": 1, "share": 0.1667, "versions": 1},
    ]


def test_network_size_counts_each_run_and_family(store: CrawlDatabase) -> None:
    """A node visited twice is one node; two ids at one endpoint are two ids, one endpoint, one IP."""
    first, second = begin(store), begin(store)
    store.write(
        first,
        [
            VISIT,
            visit(at=T2),
            visit(node_id=BOB),
            visit(address=Address(HERE.host, 1), outcome=Outcome.TIMEOUT),
            visit(address=THERE),
        ],
    )
    store.write(second, [visit(outcome=Outcome.TIMEOUT)])

    columns = (
        *("run_id", "started_at", "family", "sighted", "answered_once", "answered_twice"),
        *("distinct_ids", "distinct_endpoints", "distinct_ips"),
    )
    assert [tuple(row[column] for column in columns) for row in store.rows("network_size")] == [
        (1, T0, 4, 3, 2, 1, 2, 1, 1),
        (1, T0, 6, 1, 1, 0, 1, 1, 1),
        (2, T0, 4, 1, 0, 0, 0, 0, 0),
    ]


def test_network_size_of_an_ended_run_is_what_was_counted_at_its_end(store: CrawlDatabase) -> None:
    run_id = begin(store)
    elsewhere = visit(node_id=BOB, address=Address("192.0.2.8", 1), outcome=Outcome.TIMEOUT)
    store.write(run_id, [VISIT, visit(at=T2), visit(address=THERE), elsewhere])
    before = store.rows("network_size")
    store.runs.finish(run_id, RunStatus.FINISHED, T2)
    counted = store.rows("network_size")
    assert counted[:2] == before
    both = {"family": None, "sighted": 3, "answered_once": 2, "answered_twice": 1, "distinct_ids": 1}
    assert counted[2:] == [before[0] | both | {"distinct_endpoints": 2, "distinct_ips": 2}]
    store.connection.execute("DELETE FROM visit_rows")
    assert store.rows("network_size") == counted


def test_resumed_run_is_counted_again(store: CrawlDatabase) -> None:
    run_id = begin(store)
    store.write(run_id, [CrawlBatch([VISIT], JOURNAL)])
    store.runs.finish(run_id, RunStatus.INTERRUPTED, T1)
    assert store.runs.resume("census", {"rate": 100}) is not None
    store.write(run_id, [visit(node_id=BOB)])
    while_running = store.rows("network_size")
    store.runs.finish(run_id, RunStatus.FINISHED, T2)
    assert [row["answered_once"] for row in while_running] == [2]
    assert store.rows("network_size") == while_running
    assert [row["nodes"] for row in store.rows("client_census")] == [2]


def test_unknown_view_is_the_callers_mistake(store: CrawlDatabase) -> None:
    with pytest.raises(ValueError, match="neither a table nor a view"):
        store.rows('runs"; DROP TABLE runs; --')


def test_write_is_all_or_nothing(store: CrawlDatabase) -> None:
    run_id = begin(store)
    with pytest.raises(sqlite3.IntegrityError):
        store.write(run_id, [VISIT, replace(SAMPLE, taken_at=None)])
    assert (store.rows("visits"), store.rows("swarms")) == ([], [])
    store.write(run_id, [VISIT])
    assert len(store.rows("visits")) == 1


def test_rows_need_a_run(store: CrawlDatabase) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        store.write(7, [SAMPLE])


def clear_parts(path: Path, node_id: bytes) -> list[str]:
    """Return what of a node at 192.0.2.7:51413 is in the bytes of a database, in any form."""
    raw = b"".join(each.read_bytes() for each in path.parent.iterdir() if each.suffix != ".key").lower()
    forms = {
        "id": node_id,
        "hex": node_id.hex().encode(),
        "first bytes of the id": node_id[:6],
        "host": b"192.0.2.7",
        "packed host": bytes([192, 0, 2, 7]),
        "port": b"51413",
    }
    return [name for name, form in forms.items() if form.lower() in raw]


def test_anonymize_writes_prefixes_no_ports_and_pseudonyms_of_ids(tmp_path: Path) -> None:
    """In every table with nodes: beside the /24, an id that follows BEP 42 would give the host away."""
    path, node_id = tmp_path / "a.db", bytes(range(101, 121))
    here = Address("192.0.2.7", 51413)
    asked = replace(SAMPLE, observations=(Observation(NodeId(node_id), here),))
    shown = NodeSample(NodeId(node_id), here, T0, Outcome.ANSWERED, next_at=T0)
    for _ in range(2):
        with CrawlDatabase.open(path, anonymize=True) as store:
            store.samples.lease([NodeToSample(NodeId(node_id), here)], 0.0)
            alarm = SybilTestResult(Family.IPV4, "ids on one host", "192.0.2.7", 9.0, 1.0, 0.0, True, "9 ids")
            write_run(
                store,
                visit(NodeId(node_id), here),
                asked,
                SampleBatch([shown], Journal(Family.IPV4, b"", b"")),
            )
            store.visits.write_results(1, [], [alarm])
        assert clear_parts(path, node_id) == []
    with CrawlDatabase.open(path) as store:
        tables = [store.rows(name) for name in ("visits", "scrape_replies", "node_samples", "nodes")]
        # Those of two runs compare.
        assert {(row["address"], row["port"]) for rows in tables for row in rows} == {("192.0.2.0/24", 0)}
        (pseudonym,) = {row["node_id"] for rows in tables for row in rows}
        assert [(row["node_id"], row["place"]) for row in store.rows("sample_turns")] == [
            (pseudonym, f"192.0.2.0/24 {pseudonym}")
        ]
        assert [row["subject"] for row in store.rows("alarms")] == ["192.0.2.0/24"]
        # A node is found by its id and the key.
        changed = store.purge.run(Orders(node_ids=(NodeId(node_id),)), 0.0)
        assert changed == {"nodes": 1, "visits": 2, "scrape_replies": 2, "node_samples": 2, "sample_turns": 1}


def test_key_of_pseudonyms_is_of_one_database_and_of_its_owner_alone(tmp_path: Path) -> None:
    names, pseudonyms = ("a.db", "b.db"), []
    for name in names:
        with CrawlDatabase.open(tmp_path / name, anonymize=True) as store:
            write_run(store, VISIT)
            pseudonyms += [row["node_id"] for row in store.rows("nodes")]
        assert (tmp_path / f"{name}.key").stat().st_mode & 0o777 == 0o600
    assert len(set(pseudonyms)) == 2


def test_key_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.db.key").write_bytes(b"short")
    with pytest.raises(DatabaseError, match=r"a\.db\.key: is no key of 32 bytes$"):
        CrawlDatabase.open(tmp_path / "a.db", anonymize=True)
    (tmp_path / "a.db.key").unlink()
    with CrawlDatabase.open(tmp_path / "a.db"):
        pass
    assert not (tmp_path / "a.db.key").exists()


def test_anonymize_keeps_families_and_prefixes() -> None:
    """Node addresses are cut to /24 and /48 in every table that holds one."""
    with CrawlDatabase.open(":memory:", anonymize=True) as store:
        write_run(store, VISIT, visit(address=THERE), SAMPLE)
        assert [row["address"] for row in store.rows("visits")] == ["192.0.2.0/24", "2001:db8:1::/48"]
        assert {row["address"] for row in store.rows("nodes")} == {"192.0.2.0/24", "2001:db8:1::/48"}
        assert [row["family"] for row in store.rows("network_size")] == [4, 6, None]
        assert [row["address"] for row in store.rows("scrape_replies")] == ["192.0.2.0/24"]


def test_no_column_holds_the_address_of_a_peer(store: CrawlDatabase) -> None:
    execute = store.connection.execute
    tables = [name for (name,) in execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()]
    columns = {table: {row[1] for row in execute(f"PRAGMA table_info({table})")} for table in tables}
    suspect = re.compile(r"addr|host|(^|_)ip(s|_|$)|port|endpoint|place|values$|peers_list")
    found = {table: {name for name in names if suspect.search(name)} for table, names in columns.items()}

    assert {table: names for table, names in found.items() if names} == {
        "node_rows": {"host", "port"},
        "node_sample_rows": {"host", "port"},
        "pex_rounds": {"addresses_named", "distinct_addresses"},  # numbers
        "reply_rows": {"host", "port", "unplaced_filter"},  # the last is 2048 bits
        "run_counts": {"distinct_endpoints", "distinct_ips"},  # numbers
        "sample_turns": {"place"},
        "tracker_sweeps": {"host"},
        "tracker_turns": {"place"},
        "trackers": {"host"},
        "visit_rows": {"host", "port"},
        "web_seed_checks": {"host"},
        "web_seeds": {"host"},
    }
    # Of nodes, of trackers, and of web seeds.
    assert all({"node_id", "url", "url_hash"} & columns[table] for table in found if "host" in found[table])


def test_database_is_made_once_and_reopened(path: Path) -> None:
    with CrawlDatabase.open(path) as store:
        store.write(begin(store), [VISIT])
        made = store.connection.execute("SELECT sql FROM sqlite_master").fetchall()
        migrations = store.rows("_sqlite_migrations")
    with CrawlDatabase.open(path) as store:
        assert store.connection.execute("SELECT sql FROM sqlite_master").fetchall() == made
        assert store.rows("_sqlite_migrations") == migrations
        assert len(store.rows("visits")) == 1
        assert store.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert store.connection.execute("PRAGMA synchronous").fetchone() == (1,)
        assert store.connection.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_reader_beside_a_writer_sees_whole_batches(path: Path) -> None:
    with CrawlDatabase.open(path) as store, closing(sqlite3.connect(path)) as reader:
        store.write(begin(store), [VISIT, visit(node_id=BOB)])
        assert reader.execute("SELECT count(*) FROM visits").fetchone() == (2,)


@pytest.mark.slow
def test_killed_process_leaves_whole_batches_and_an_interrupted_run(path: Path) -> None:
    """After kill -9 every batch is there or not, and the next run tells what became of the last."""
    script = f"""
from crawler.db.records.records import Visit
from crawler.db.database import CrawlDatabase

store = CrawlDatabase.open({str(path)!r})
run_id = store.runs.begin("census", {{}}, "0.1", {T0!r})
number = 0
while True:
    batch = []
    for _ in range(100):
        number += 1
        node_id = number.to_bytes(20, "big")
        batch.append(Visit(node_id, 7, 6881, 0, 0))
    store.write(run_id, batch)
    print(number, flush=True)
"""
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout is not None
        written = [int(process.stdout.readline()) for _ in range(20)][-1]
        process.send_signal(signal.SIGKILL)

    with CrawlDatabase.open(path) as store:
        count = len(store.rows("visits"))
        assert count >= written
        assert count % 100 == 0
        assert store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        store.runs.begin("census", {}, "0.1", T1)
        assert [(run.status, run.finished_at) for run in store.runs.all()] == [
            (RunStatus.INTERRUPTED, None),
            (RunStatus.RUNNING, None),
        ]
        assert len(store.rows("nodes")) == count


JOURNAL = Journal(Family.IPV4, b"contacts", b"changes")


def test_journal_of_a_killed_run_is_there_to_go_on_with(path: Path) -> None:
    with CrawlDatabase.open(path) as store:
        killed = begin(store)
        store.write(killed, [CrawlBatch([VISIT], JOURNAL), CrawlBatch([], JOURNAL._replace(contacts=b""))])

    with CrawlDatabase.open(path) as store:
        assert store.runs.resume("census", {"rate": 200}) is None
        assert store.runs.resume("sample", {"rate": 100}) is None
        found = store.runs.resume("census", {"rate": 100})
        assert found is not None
        assert found.id == killed
        assert list(store.runs.journals(killed)) == [JOURNAL, JOURNAL._replace(contacts=b"")]

        store.runs.finish(killed, RunStatus.FINISHED, T1)
        assert store.runs.resume("census", {"rate": 100}) is None
        assert store.rows("crawl_journal") == []


def test_anonymized_crawl_leaves_no_journal(path: Path) -> None:
    with CrawlDatabase.open(path, anonymize=True) as store:
        store.write(begin(store), [CrawlBatch([VISIT], JOURNAL)])
        assert (len(store.rows("visits")), store.rows("crawl_journal")) == (1, [])


def test_locked_database_is_reported_within_the_busy_timeout(path: Path) -> None:
    """Another writer that does not let go is an error in time, not a hang; nothing is half-written."""
    with CrawlDatabase.open(path, busy_timeout=0.05) as store, closing(sqlite3.connect(path)) as other:
        run_id = begin(store)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseError, match=r"crawl\.db: is locked by another process$"):
            store.write(run_id, [VISIT])
        other.rollback()
        store.write(run_id, [VISIT])
        assert len(store.rows("visits")) == 1


def test_new_database_that_is_locked_is_reported(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseError, match=r"is locked by another process$"):
            CrawlDatabase.open(path, busy_timeout=0.05)


def test_file_that_is_no_database_is_left_untouched(path: Path) -> None:
    path.write_bytes(b"my only copy of a novel\n" * 100)
    with pytest.raises(DatabaseError, match=r"crawl\.db: is not a SQLite database$"):
        CrawlDatabase.open(path)
    assert path.read_bytes() == b"my only copy of a novel\n" * 100
    assert list(path.parent.iterdir()) == [path]


def test_database_of_another_program_is_left_untouched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()
    with pytest.raises(DatabaseError, match=r"crawl\.db: is a database of another program$"):
        CrawlDatabase.open(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("names", [["m001_initial", "m099_future"], ["m001_runs", "m002_swarms"]])
def test_database_of_another_version_is_refused(path: Path, names: list[str]) -> None:
    with CrawlDatabase.open(path):
        pass
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("DELETE FROM _sqlite_migrations")
        other.executemany(
            "INSERT INTO _sqlite_migrations (migration_set, name) VALUES ('crawler', ?)",
            [(name,) for name in names],
        )
    before = path.read_bytes()
    expected = rf"crawl\.db: was made by another version, with tables .* know \({names[-1]}\)$"
    with pytest.raises(DatabaseError, match=expected):
        CrawlDatabase.open(path)
    with pytest.raises(DatabaseError, match=expected), open_reading(path):
        pass
    assert path.read_bytes() == before


def test_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"no-such/crawl\.db: the directory does not exist$"):
        CrawlDatabase.open(tmp_path / "no-such" / "crawl.db")


def test_path_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"cannot be opened or created$"):
        CrawlDatabase.open(tmp_path)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Give up what root may do, if we are root, for the length of the block."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_read_only_directory_is_reported() -> None:
    # Not in `tmp_path`: pytest closes its folders to others altogether.
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        with unprivileged(), pytest.raises(DatabaseError, match=r"cannot be opened or created$"):
            CrawlDatabase.open(folder / "crawl.db")
        folder.chmod(0o755)


@pytest.mark.parametrize(
    ("pragma", "reason"),
    [("query_only = ON", "read-only$"), ("max_page_count = 1", "the disk is full$")],
    ids=["read-only", "full"],
)
def test_disk_that_takes_no_more_is_reported(path: Path, pragma: str, reason: str) -> None:
    with CrawlDatabase.open(path) as store:
        run_id = begin(store)
        store.connection.execute(f"PRAGMA {pragma}")
        visits = [visit(node_id=NodeId(bytes([n]) * 20)) for n in range(200)]
        with pytest.raises(DatabaseError, match=rf"crawl\.db: .*{reason}"):
            store.write(run_id, visits)


def test_second_close_does_nothing(path: Path) -> None:
    store = CrawlDatabase.open(path)
    store.close()
    store.close()
