"""What a sweep over UDP trackers costs, and whether each count that is stored is what the tracker said.

    python -m benchmarks.trackers [--swarms 100000] [--trackers 20] [--share 1] [--json FILE]

Trackers that answer for the share of swarms that they know, from the bytes of the info-hash, are another
process on loopback, without a pace.  `dhtcrawl trackers` sweeps them into a new database.  The CPU time is
its own, start and end included; a second sweep of one swarm tells what these cost.
"""

import argparse
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from socket import AF_INET, SOCK_DGRAM, socket
from subprocess import PIPE, Popen
from typing import Any

from benchmarks.tools import option
from benchmarks.tools.batched_udp import BenchmarkFailed
from benchmarks.tools.command import Report, benchmark
from benchmarks.tools.processes import result_of
from benchmarks.tools.report import head, table

ID_BYTES = 20
_RECEIVE_BYTES = 65_536
_NONE = bytes(12)


def row_of(info_hash: bytes, known: int) -> bytes:
    """Return what a tracker says of a swarm: seeds, downloads and leechers, or nothing but zeros."""
    if info_hash[3] >= known:
        return _NONE
    seeds, leechers, downloaded = info_hash[0] + 1, info_hash[1], info_hash[2]
    return b"\0\0" + seeds.to_bytes(2, "big") + bytes((0, 0, 0, downloaded, 0, 0, 0, leechers))


def answer(packet: bytes, known: int) -> bytes:
    """Return the answer of a tracker that takes 70 info-hashes at once."""
    if packet[8:12] == b"\0\0\0\0":
        return b"\0\0\0\0" + packet[12:16] + b"12345678"
    hashes = packet[16 : 16 + 70 * ID_BYTES]
    rows = [row_of(hashes[at : at + ID_BYTES], known) for at in range(0, len(hashes), ID_BYTES)]
    return b"\0\0\0\2" + packet[12:16] + b"".join(rows)


def serve(trackers: int, known: int) -> None:
    """Be so many trackers, each at an address of its own, until killed; print the port."""
    import select

    sockets = [socket(AF_INET, SOCK_DGRAM) for _ in range(trackers)]
    sockets[0].bind(("127.8.0.1", 0))
    port = sockets[0].getsockname()[1]
    for number, each in enumerate(sockets[1:], 2):
        each.bind((f"127.8.0.{number}", port))
    print(port, flush=True)
    poll = select.poll()
    by_number = {each.fileno(): each for each in sockets}
    for number in by_number:
        poll.register(number, select.POLLIN)
    while True:
        for number, _ in poll.poll():
            packet, source = by_number[number].recvfrom(_RECEIVE_BYTES)
            by_number[number].sendto(answer(packet, known), source)


@contextmanager
def served(trackers: int, known: int) -> Iterator[list[str]]:
    """Run trackers for the length of the block, and give their URLs."""
    code = f"from benchmarks.trackers import serve; serve({trackers}, {known})"
    with Popen([sys.executable, "-c", code], stdout=PIPE, text=True) as process:  # noqa: S603
        try:
            assert process.stdout is not None  # noqa: S101  for mypy
            port = process.stdout.readline().strip()
            yield [f"udp://127.8.0.{number}:{port}" for number in range(1, trackers + 1)]
        finally:
            process.kill()


def sweep(urls: list[str], swarms: list[bytes], db: Path) -> dict[str, Any]:
    """Sweep trackers for swarms, and return what it cost."""
    listed = db.with_suffix(".txt")
    listed.write_text("\n".join(map(bytes.hex, swarms)))
    trackers = [argument for url in urls for argument in ("--tracker", url)]
    return result_of(
        *("crawler", "trackers", "--json", "--db", str(db), "--from", str(listed), "--tracker-rate", "0"),
        *trackers,
    )


def check(db: Path, swarms: list[bytes], trackers: int, known: int) -> int:
    """Compare what is stored with what was said, and return the number of rows."""
    told = {swarm: row_of(swarm, known) for swarm in swarms}
    expected = {swarm: row for swarm, row in told.items() if row != _NONE}
    rows = 0
    with closing(sqlite3.connect(db)) as connection:
        sql = "SELECT info_hash, seeds, downloaded, leechers FROM tracker_sample_rows"
        for swarm, *counts in connection.execute(sql):
            rows += 1
            if b"".join(number.to_bytes(4, "big") for number in counts) != expected.get(swarm):
                raise BenchmarkFailed(f"{swarm.hex()}: {counts} is not what was said")
    if rows != trackers * len(expected):
        raise BenchmarkFailed(f"{rows} rows in place of {trackers * len(expected)}")
    return rows


@benchmark(
    option.count("--swarms", 100_000),
    option.count("--trackers", 20),
    option.share("--share", 1.0, "of the swarms that trackers know"),
    option.SEED,
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Sweep, compare and tell what it cost."""
    random, known = Random(options.seed), round(256 * options.share)
    swarms = [random.randbytes(ID_BYTES) for _ in range(options.swarms)]
    with tempfile.TemporaryDirectory() as folder, served(options.trackers, known) as urls:
        cost = sweep(urls, swarms, Path(folder, "sweep.db"))
        rows = check(Path(folder, "sweep.db"), swarms, options.trackers, known)
        start = sweep(urls[:1], swarms[:1], Path(folder, "start.db"))
    pairs = options.swarms * options.trackers
    spent = cost["process_cpu_seconds"]
    report["sweep"] = found = {
        "pairs": pairs,
        "rows": rows,
        "cpu_seconds": spent,
        "start_cpu_seconds": start["process_cpu_seconds"],
        "seconds": cost["process_seconds"],
        "peak_kilobytes": cost["process_peak_kilobytes"],
        "microseconds_a_pair": 1e6 * (spent - start["process_cpu_seconds"]) / pairs,
    }
    lines = [
        ["rows stored, each as it was said", f"{rows}"],
        ["CPU time, s", f"{spent:.1f}"],
        ["of it to start and end, s", f"{found['start_cpu_seconds']:.1f}"],
        ["CPU time for each swarm at a tracker, us", f"{found['microseconds_a_pair']:.2f}"],
        ["peak memory, MB", f"{found['peak_kilobytes'] / 1000:.0f}"],
    ]
    print(head(report), f"{options.swarms} swarms at {options.trackers} trackers", sep="\n")
    print("", table(("", ""), lines), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
