"""Time of every report and page of a large database, and what a visit costs in bytes and CPU.

Pages are the first one of every table and view, and every page of `dhtcrawl browse`.

    python -m benchmarks.large_database [--visits 5000000] [--samples 1000000] [--json FILE]

The database is made in a temporary directory, through the same code that a crawl writes with, and goes
with it.  Its content is made up: ten censuses of nodes that come and go, one run of samples of info-hashes
(BEP 51), and swarms measured in rounds; replies with filters are there for a tenth of the measurements, as
after a purge.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks.tools import option
from benchmarks.tools.command import Report, benchmark
from benchmarks.tools.report import head, table
from crawler.browse.serving import Opened, open_all
from crawler.db.connection import open_reading
from crawler.db.database import CrawlDatabase, Record
from crawler.db.records.infohash_samples import NodeSample, SampleBatch
from crawler.db.records.records import (
    ANSWERED,
    OUTCOME_CODES,
    Journal,
    RunStatus,
    Visit,
    epoch_ms,
    host_value,
    utc_text,
)
from crawler.db.schema.columns import TABLES
from crawler.reports import REPORTS, report_summary
from dhtnode import Address, Family, InfoHash, NodeId
from dhtnode.outcomes import Outcome
from dhtnode.swarm import Observation, SwarmEstimate, SwarmMeasurement

CENSUSES, ROUNDS = 10, 20
STAYING = 4  # of 5 nodes are there in the next census too
T0 = 1_750_000_000.0  # seconds since the epoch
BATCH = 2500  # rows, as the writer of a crawl
PAGE = 100  # rows
OUTCOMES = [Outcome.ANSWERED] * 11 + [Outcome.TIMEOUT] * 12 + [Outcome.ERROR, Outcome.WRONG_ID]
VERSIONS = [b"LT\x02\x09", b"LT\x02\x0b", b"LT\x01\x02", b"UT\xb5\x0c", b"lt\x0d\x80", b"TR\x40\x05", None]
FILTERS = [Random(seed).randbytes(256) for seed in range(64)]


def node_of(number: int) -> tuple[bytes, Address, bytes]:
    """Return the id and the address of a node, and bytes by which more about it is decided."""
    seed = blake2b(number.to_bytes(8, "big"), digest_size=32).digest()
    host = f"{11 + seed[20] % 180}.{seed[21]}.{seed[22]}.{seed[23]}"
    return seed[:20], Address(host, 1024 + int.from_bytes(seed[24:26], "big") % 60_000), seed[26:]


def version_of(seed: bytes) -> bytes | None:
    """Return the version of a node: a few that many have, and many that few have."""
    return bytes([65 + seed[1] % 26, 65 + seed[2] % 26, *seed[3:5]]) if seed[0] < 8 else VERSIONS[seed[0] % 7]


def census_of(number: int, count: int) -> Iterator[Visit]:
    """Yield the visits of a census."""
    first = number * count // (STAYING + 1)
    for at in range(count):
        node_id, address, seed = node_of(first + at)
        taken_at = epoch_ms(T0 + 86_400 * number + at / 500)
        outcome = OUTCOME_CODES[OUTCOMES[seed[5] % len(OUTCOMES)]]
        ended = (node_id, host_value(address), address.port, taken_at, outcome)
        if outcome != ANSWERED:
            yield Visit(*ended, referrers=1 + seed[1] % 5)
            continue
        marks = "unusable-contacts" if seed[2] < 5 else None
        rtt_us = 20_000 + 25 * seed[3] * seed[4]
        yield Visit(*ended, None, rtt_us, version_of(seed), seed[1] < 128, 8, 0, 2, 3, marks)


def node_samples_of(count: int) -> Iterator[SampleBatch]:
    """Yield samples of info-hashes, most of which other nodes show too."""
    random = Random(count)
    numbers = iter(range(CENSUSES * count // (STAYING + 1), CENSUSES * count // (STAYING + 1) + count))
    while some := list(islice(numbers, BATCH)):
        samples = [_node_sample(number, random, 3 * count) for number in some]
        yield SampleBatch(samples, Journal(Family.IPV4, b"", b""))


def _node_sample(number: int, random: Random, swarms: int) -> NodeSample:
    node_id, address, seed = node_of(number)
    taken_at = utc_text(T0 + 86_400 * CENSUSES + number / 500)
    knows = seed[0] % 3 > 0
    outcome = Outcome.ANSWERED if knows else Outcome.UNSUPPORTED
    shown = b"".join(info_hash_of(random.randrange(swarms)) for _ in range(20)) if knows else b""
    version = version_of(seed)
    return NodeSample(node_id, address, taken_at, outcome, None, 80.0, version, 500, 21600, shown)


def info_hash_of(number: int) -> bytes:
    """Return an info-hash."""
    return blake2b(number.to_bytes(8, "little"), digest_size=20).digest()


def sample_of(number: int, swarms: int) -> SwarmMeasurement:
    """Return a measurement: the swarms in turn, few of them large."""
    at, round_ = number % swarms, number // swarms
    peers = 20_000 / (at + 1) ** 0.7 * (1 + 0.1 * ((at + round_) % 7 - 3))
    replies = tuple(_replies(number)) if round_ >= ROUNDS * 9 // 10 and number % 2 else ()
    seeds, size = round(peers * 0.4), round(peers)
    estimate = SwarmEstimate(
        *(seeds, size - seeds, size, round(peers * 0.95), round(peers * 1.05), "union", peers > 5000),
        *(5, int(min(peers, 100)), seeds, seeds, size - seeds, size - seeds, 0, 0.9),
    )
    taken_at = utc_text(T0 + 86_400 * round_ + at / 50)
    return SwarmMeasurement(
        InfoHash(info_hash_of(at)), estimate, replies, 8, 8, 1200, 6000, taken_at=taken_at
    )


def _replies(number: int) -> Iterator[Observation]:
    for rank in range(8):
        node_id, address, seed = node_of(8 * number + rank)
        filters = (FILTERS[seed[1] % 64], FILTERS[seed[2] % 64]) if seed[0] < 150 else (None, None)
        yield Observation(NodeId(node_id), address, rank, *filters, 20, version_of(seed), 90.0)


def make_database(path: Path, visits: int, samples: int) -> tuple[dict[str, float], dict[str, float]]:
    """Make the database, and return the seconds that the ends of runs took, and what a visit costs."""
    ends: dict[str, float] = {}
    with CrawlDatabase.open(path) as store:
        censuses = [
            _add_run(store, "census", census_of(number, visits // CENSUSES)) for number in range(CENSUSES)
        ]
        pages, page_size = (
            store.connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
        )
        visit = {
            "bytes": pages * page_size / visits,
            "write_us": 1e6 * sum(cost.write for cost in censuses) / visits,
            "end_us": 1e6 * sum(cost.end for cost in censuses) / visits,
        }
        ends["end of a census"] = censuses[-1].seconds
        ends["end of a run of samples"] = _add_run(store, "sample", node_samples_of(samples // 5)).seconds
        swarms = samples // ROUNDS
        measured = (sample_of(number, swarms) for number in range(samples))
        ends["end of a run of scrapes"] = _add_run(store, "scrape", measured).seconds
    return ends, visit


class RunCost(NamedTuple):
    """The CPU seconds of writing a run and of its end, and the seconds that the end took."""

    write: float
    end: float
    seconds: float


def _add_run(store: CrawlDatabase, command: str, records: Iterator[Record]) -> RunCost:
    """Write a run, and return what that cost."""
    run_id = store.runs.begin(command, {}, "0.1.0", utc_text(T0))
    write = 0.0
    while batch := list(islice(records, 1 if command == "sample" else BATCH)):
        began = time.process_time()
        store.write(run_id, batch)
        write += time.process_time() - began
    began, began_at = time.process_time(), time.perf_counter()
    store.runs.finish(run_id, RunStatus.FINISHED, utc_text(T0 + 3600))
    return RunCost(write, time.process_time() - began, time.perf_counter() - began_at)


def time_all(path: Path) -> dict[str, float]:
    """Return the seconds of each report, and of the first page of each table and view."""
    largest = info_hash_of(0).hex()
    asked: dict[str, Callable[[Any], Any]] = {
        **{f"report {name}": report.answer for name, report in REPORTS.items() if not report.needs},
        "report swarm": lambda db: REPORTS["swarm"].answer(db, info_hash=largest),
        "report": lambda _: report_summary(db=path),
        "report swarms --run": lambda db: REPORTS["swarms"].answer(db, run=CENSUSES + 2),
    }
    pages = {name: _page_of(name) for name in TABLES}
    seconds = {}
    for name, ask in (asked | pages).items():
        began = time.perf_counter()
        with open_reading(path) as db:
            ask(db)
        seconds[name] = time.perf_counter() - began
    return seconds


def time_browsing(path: Path) -> dict[str, float]:
    """Return the seconds that each page of `dhtcrawl browse` takes; infinite for one that fails."""
    seconds: dict[str, float] = {}

    def opened(page: Opened) -> None:
        seconds[f"browse {page.path}"] = page.seconds if page.status == 200 else math.inf

    open_all(path, opened)
    return seconds


def _page_of(name: str) -> Callable[[Any], Any]:
    return lambda db: db.execute(f'SELECT * FROM "{name}" LIMIT {PAGE}').fetchall()


@benchmark(
    option.count("--visits", 5_000_000, at_least=CENSUSES),
    option.count("--samples", 1_000_000, at_least=ROUNDS),
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Make the database, time it, and return the report."""
    with TemporaryDirectory(prefix="large_database") as folder:
        path = Path(folder) / "large.db"
        began = time.perf_counter()
        ends, visit = make_database(path, options.visits, options.samples)
        made_in = time.perf_counter() - began
        seconds = time_all(path) | time_browsing(path)
        report |= {"bytes": path.stat().st_size, "made_in": made_in, "visit": visit}
        report |= {"ends": ends, "seconds": seconds}
    print(head(report))
    size = report["bytes"] / 1e9
    print(f"{options.visits} visits, {options.samples} samples: {size:.2f} GB, made in {made_in:.0f} s")
    print(
        f"A visit takes {visit['bytes']:.0f} bytes with its node, {visit['write_us']:.1f} us of CPU to write"
        f" and {visit['end_us']:.1f} us at the end of its census.\n"
    )
    rows = [[name, f"{taken:.2f}"] for name, taken in (seconds | ends).items()]
    print(table(["", "seconds"], rows))


if __name__ == "__main__":
    sys.exit(main())
