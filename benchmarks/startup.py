"""What a start costs: CPU and wall-clock time of new processes that import, or print their help.

    python -m benchmarks.startup [--runs 15] [--json FILE]

Each run starts all of the commands once, in turn, so that a machine that changes its speed does so
for all of them.  A first round, which may have bytecode to write, does not count.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.tools.batched_udp import BenchmarkFailed
from benchmarks.tools.command import (
    PART_TIMEOUT,
    new_parser,
    option_values,
    run_benchmark,
    stay_on_one_core,
)
from benchmarks.tools.report import head, new_report, table

COMMANDS: dict[str, tuple[str, ...]] = {
    "python -c pass": ("-c", "pass"),
    "import click": ("-c", "import click"),
    "import trio": ("-c", "import trio"),
    "import dhtnode": ("-c", "import dhtnode"),
    "from dhtnode import open_node": ("-c", "from dhtnode import open_node"),
    "python -m dhtnode --help": ("-m", "dhtnode", "--help"),
    "python -m crawler --help": ("-m", "crawler", "--help"),
}

Times = tuple[float, float]  # seconds: CPU, user and system, and wall clock


def start(arguments: Sequence[str]) -> Times:
    """Run Python to its end with these arguments, and return what it took."""
    cpu, wall = _cpu_of_children(), time.perf_counter()
    try:
        # What it prints comes through a pipe, whose end we see at once; without one, `run` would look
        # now and then whether the process has ended.
        command = [sys.executable, *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False, timeout=PART_TIMEOUT)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise BenchmarkFailed(f"{' '.join(arguments)} takes more than {PART_TIMEOUT:.0f} s") from None
    if done.returncode:
        raise BenchmarkFailed(f"{' '.join(arguments)} failed with status {done.returncode}")
    return _cpu_of_children() - cpu, time.perf_counter() - wall


def _cpu_of_children() -> float:
    """Return the CPU seconds of all processes that we have waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def in_milliseconds(times: Sequence[float]) -> dict[str, float]:
    """Return lowest, median and highest."""
    return {
        name: round(1000 * each, 3)
        for name, each in (("lowest", min(times)), ("median", median(times)), ("highest", max(times)))
    }


def measure(runs: int) -> dict[str, dict[str, dict[str, float]]]:
    """Return the milliseconds of each command."""
    for arguments in COMMANDS.values():
        start(arguments)
    rounds = [[start(arguments) for arguments in COMMANDS.values()] for _ in range(runs)]
    results = {}
    for name, times in zip(COMMANDS, zip(*rounds, strict=True), strict=True):
        cpu, wall = zip(*times, strict=True)
        results[name] = {"cpu": in_milliseconds(cpu), "wall": in_milliseconds(wall)}
    return results


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure and return the report."""
    stay_on_one_core()
    report = new_report("startup", option_values(options))
    report["milliseconds"] = measured = measure(options.runs)
    rows = []
    for name, each in measured.items():
        cpu, wall = each["cpu"], each["wall"]
        extremes = f"{cpu['lowest']:.0f}-{cpu['highest']:.0f}"
        rows.append([name, f"{cpu['median']:.0f}", extremes, f"{wall['median']:.0f}"])
    columns = ("ms per process", "CPU", "lowest-highest", "wall clock")
    print(head(report), table(columns, rows), sep="\n\n")
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    parser = new_parser("startup", __doc__)
    parser.add_argument("--runs", type=int, default=15, help="how often each command is started")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error("--runs: one at least")
    return run_benchmark("startup", run, options)


if __name__ == "__main__":
    sys.exit(main())
