"""Databases of several vantages that have seen the same network, and how two databases are compared."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from crawler.db.database import CrawlDatabase
from crawler.db.records.infohash_samples import NodeSample, NodeToSample, SampleBatch
from crawler.db.records.records import (
    CensusEvidence,
    CrawlBatch,
    Journal,
    RunStatus,
    SizeEstimate,
    SybilTestResult,
    utc_text,
)
from crawler.db.records.trackers import KnownTracker, SwarmList, SweepBatch, TrackerSweep, TrackerTurn
from crawler.zone import Zone
from dhtnode import Address, Family, InfoHash, NodeId
from dhtnode.krpc import ScrapeFilter
from dhtnode.outcomes import Outcome
from dhtnode.swarm import Observation, SwarmMeasurement
from tests.measurements import measurement_of
from tests.visits import visit_of

EPOCH = 1_750_000_200.0  # seconds; a multiple of 600
NODES = 40
NODE_IDS = [NodeId(Random(number).randbytes(20)) for number in range(NODES)]
SWARMS = [InfoHash(bytes([number]) * 20) for number in range(1, 5)]
VERSIONS = (b"LT\x02\x10", b"UT\x01\x02", None)


def address(number: int) -> Address:
    return Address(f"192.0.2.{number}", 6881) if number % 5 else Address(f"2001:db8::{number:x}", 6881)


def make_vantage(path: Path, seed: int) -> Path:
    """Write what one vantage has seen: a census, samples of info-hashes, and measurements of swarms."""
    random = Random(seed)
    with CrawlDatabase.open(path) as store:
        write_census(store, random)
        write_node_samples(store, random)
        write_swarms(store, random)
    return path


def begin(store: CrawlDatabase, command: str, random: Random) -> int:
    return store.runs.begin(command, {"seed": random.random()}, "0.1", utc_text(EPOCH + random.random() * 60))


def end(store: CrawlDatabase, run_id: int) -> None:
    store.runs.finish(run_id, RunStatus.FINISHED, utc_text(EPOCH + 300))


def write_census(store: CrawlDatabase, random: Random, status: RunStatus | None = RunStatus.FINISHED) -> int:
    """Visit most of the nodes; with None the run is left under way."""
    run_id = begin(store, "census", random)
    visits = []
    for number in random.sample(range(NODES), 30):
        outcome = random.choice((Outcome.ANSWERED, Outcome.ANSWERED, Outcome.TIMEOUT, Outcome.WRONG_ID))
        version = random.choice(VERSIONS) if outcome is Outcome.ANSWERED else None
        at = EPOCH + random.randrange(200)
        contents = {"rtt_ms": 5.5, "version": version, "conforms": True, "contacts": 8}
        visits.append(visit_of(NODE_IDS[number], address(number), at, outcome, **contents))
    store.write(run_id, [CrawlBatch(visits, Journal(Family.IPV4, b"contacts", b"changes"))])
    if status is not None:
        size = SizeEstimate(
            Family.IPV4, "crawl", "hosts", random.random() * 100, 10, 200, "whole", {"seed": 1}
        )
        alarm = SybilTestResult(
            Family.IPV4, "ids on one host", "192.0.2.7", random.random(), 1.0, 1e-9, True, ""
        )
        evidence = CensusEvidence(Family.IPV4, 40, 0, 20, 19, bytes(30), b"")
        store.visits.write_results(run_id, [size], [alarm], [evidence])
        store.runs.finish(run_id, status, utc_text(EPOCH + 300))
    return run_id


def write_node_samples(store: CrawlDatabase, random: Random) -> int:
    run_id = begin(store, "sample", random)
    chosen = random.sample(range(NODES), 10)
    store.samples.lease([NodeToSample(NODE_IDS[number], address(number)) for number in chosen], EPOCH)
    samples = []
    for number in chosen:
        interval = random.choice((60, 600, 21600))
        shown = b"".join(random.sample(SWARMS, 2)) + random.randbytes(20)
        samples.append(
            NodeSample(
                *(NODE_IDS[number], address(number), utc_text(EPOCH + random.randrange(200))),
                Outcome.ANSWERED,
                samples=shown,
                num=7,
                interval=interval,
                next_at=utc_text(EPOCH + 300 + interval),
            )
        )
    store.write(run_id, [SampleBatch(samples, Journal(Family.IPV4, b"", b""))])
    store.samples.add_estimate(run_id, Family.IPV4, "horvitz-thompson", (9.0, 8.0, 10.0), Zone(0, 0), {})
    end(store, run_id)
    return run_id


def write_swarms(store: CrawlDatabase, random: Random) -> int:
    """Measure each swarm in two windows, each node having missed some of its 60 peers."""
    run_id = begin(store, "scrape", random)
    samples = [swarm_sample(info_hash, at, random) for info_hash in SWARMS for at in (10, 700)]
    store.write(run_id, samples)
    ask_trackers(store, run_id, random)
    end(store, run_id)
    return run_id


def ask_trackers(store: CrawlDatabase, run_id: int, random: Random) -> None:
    """Ask a tracker that all vantages know, and one that this one knows alone."""
    at = EPOCH + random.randrange(200)
    urls = ["udp://tracker.example:6969", f"http://{random.randrange(1 << 30)}.example/announce"]
    known = [KnownTracker(url, url[:4].strip(":"), "tracker.example", "given", utc_text(at)) for url in urls]
    store.trackers.add(known)
    store.trackers.update(
        replace(
            each,
            last_answer=utc_text(at),
            batch=random.choice((None, 50, 74)),
            not_before=random.choice((None, utc_text(at + 600))),
            marks=random.choice(((), ("invents",))),
        )
        for each in known
    )
    sweeps = store.trackers.begin(
        run_id, [TrackerSweep(0, url, 4, "192.0.2.1", utc_text(at)) for url in urls]
    )
    samples = [
        (sweep.id, info_hash, int(1000 * at), random.randrange(9), 1, None, None)
        for sweep in sweeps
        for info_hash in SWARMS
    ]
    store.write(run_id, [SweepBatch([replace(each, outcome="answered") for each in sweeps], samples)])
    # Later than that of another vantage, or earlier.
    turn = TrackerTurn("192.0.2.1:6969 udp", 0, 4, utc_text(at), utc_text(at + random.randrange(1, 1800)))
    store.trackers.take_turns(SwarmList(b"the same list", SWARMS), [turn])


def swarm_sample(info_hash: InfoHash, at: int, random: Random) -> SwarmMeasurement:
    replies = []
    for rank, number in enumerate(random.sample(range(10), 5)):
        peers = [bytes([10, info_hash[0], 0, peer]) for peer in range(60) if random.random() < 0.8]
        seeds = ScrapeFilter.of(peers[:20]).to_bytes()
        others = ScrapeFilter.of(peers[20:]).to_bytes()
        replies.append(Observation(NODE_IDS[number], address(number), rank, seeds, others, 0, b"LT\x02\x10"))
    taken_at = utc_text(EPOCH + at + random.randrange(100))
    name = random.choice((None, "a", "b"))
    return measurement_of(
        info_hash,
        taken_at,
        tuple(replies),
        seeds=20.0,
        leechers=38.0,
        peers=58.0,
        peers_low=55.0,
        peers_high=61.0,
        nodes_answered=5,
        nodes_with_filters=5,
        distinct_peers=30,
        bytes_sent=800,
        bytes_received=6000,
        source=random.choice(("given", "sample")),
        name=name,
    )


NUMBERS = {"id", "newest_sample", "run_id", "sample_before", "sample_id", "sweep_id"}
"""Columns that hold numbers given by the database."""


def contents(path: Path) -> dict[str, list[str]]:
    """Return all rows of all tables and views, without order and numbers.

    A run goes by where it was made, a sample by its run, swarm and time.
    """
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
        ).fetchall()
        runs = connection.execute("SELECT run_id, vantage, number, started_at FROM run_vantages")
        run_of = {row[0]: tuple(row)[1:] for row in runs}
        samples = connection.execute("SELECT id, run_id, info_hash, taken_at FROM swarm_samples")
        sweeps = connection.execute("SELECT id, run_id, url, host FROM tracker_sweeps")
        sweep_of = {row[0]: (run_of[row[1]], *tuple(row)[2:]) for row in sweeps}
        sample_of = {row[0]: (run_of[row[1]], *tuple(row)[2:]) for row in samples}
        rounds = connection.execute("SELECT id, run_id, info_hash, taken_at FROM swarm_handshakes")
        round_of = {row[0]: (run_of[row[1]], *tuple(row)[2:]) for row in rounds}

        def canonical(row: sqlite3.Row) -> str:
            values: dict[str, Any] = {key: row[key] for key in row.keys() if key not in NUMBERS}  # noqa: SIM118
            if "run_id" in row.keys():  # noqa: SIM118
                values["run"] = run_of[row["run_id"]]
            if "sample_id" in row.keys():  # noqa: SIM118
                values["sample"] = sample_of[row["sample_id"]]
            if "sweep_id" in row.keys():  # noqa: SIM118
                values["sweep"] = sweep_of[row["sweep_id"]]
            if "sample_before" in row.keys():  # noqa: SIM118
                values["before"] = sample_of[row["sample_before"]]
            if "handshakes_id" in row.keys():  # noqa: SIM118
                values["dht_id"] = sample_of.get(row["dht_id"])
                values["tracker_id"] = sample_of.get(row["tracker_id"])
                values["handshakes_id"] = round_of.get(row["handshakes_id"])
            return repr(sorted(values.items()))

        return {
            name: sorted(map(canonical, connection.execute(f'SELECT * FROM "{name}"')))
            for (name,) in names
            if name != "_sqlite_migrations"
        }


def merged(path: Path) -> dict[str, list[str]]:
    """Return the contents of a target that has made no runs of its own, without its own identity."""
    found = contents(path)
    return found | {"vantages": [row for row in found["vantages"] if "('is_here', 1)" not in row]}
