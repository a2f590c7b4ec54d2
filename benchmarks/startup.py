"""What a start costs: CPU and wall-clock time of new processes that import, or print their help.

    python -m benchmarks.startup [--runs 15] [--json FILE]

Each run starts all of the commands once, in turn, so that a machine that changes its speed does so
for all of them.  A first round, which may have bytecode to write, does not count.
"""

import argparse
import sys
from collections.abc import Sequence
from statistics import median

from benchmarks.tools import option
from benchmarks.tools.command import Report, benchmark, stay_on_one_core
from benchmarks.tools.processes import run_to_end
from benchmarks.tools.report import head, table

COMMANDS: dict[str, tuple[str, ...]] = {
    "python -c pass": ("-c", "pass"),
    "import click": ("-c", "import click"),
    "import trio": ("-c", "import trio"),
    "import dhtnode": ("-c", "import dhtnode"),
    "from dhtnode import open_node": ("-c", "from dhtnode import open_node"),
    "python -m dhtnode --help": ("-m", "dhtnode", "--help"),
    "python -m crawler --help": ("-m", "crawler", "--help"),
}


def in_milliseconds(times: Sequence[float]) -> dict[str, float]:
    """Return lowest, median and highest."""
    return {
        name: round(1000 * each, 3)
        for name, each in (("lowest", min(times)), ("median", median(times)), ("highest", max(times)))
    }


def measure(runs: int) -> dict[str, dict[str, dict[str, float]]]:
    """Return the milliseconds of each command."""
    commands = [(sys.executable, *arguments) for arguments in COMMANDS.values()]
    rounds = [[run_to_end(*command) for command in commands] for _ in range(1 + runs)][1:]
    results = {}
    for name, ended in zip(COMMANDS, zip(*rounds, strict=True), strict=True):
        cpu, wall = [each.cpu for each in ended], [each.wall for each in ended]
        results[name] = {"cpu": in_milliseconds(cpu), "wall": in_milliseconds(wall)}
    return results


@benchmark(option.count("--runs", 15, "how often each command is started"))
def main(options: argparse.Namespace, report: Report) -> None:
    """Measure and return the report."""
    stay_on_one_core()
    report["milliseconds"] = measured = measure(options.runs)
    rows = []
    for name, each in measured.items():
        cpu, wall = each["cpu"], each["wall"]
        extremes = f"{cpu['lowest']:.0f}-{cpu['highest']:.0f}"
        rows.append([name, f"{cpu['median']:.0f}", extremes, f"{wall['median']:.0f}"])
    columns = ("ms per process", "CPU", "lowest-highest", "wall clock")
    print(head(report), table(columns, rows), sep="\n\n")


if __name__ == "__main__":
    sys.exit(main())
