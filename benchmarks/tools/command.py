"""What the commands have in common: options, cores, exit status, processes of their own."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.tools.batched_udp import BenchmarkFailed
from benchmarks.tools.report import write_json

PART_TIMEOUT = 300.0  # seconds


def new_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser that knows `--json`; the first line of `description` goes into the help."""
    first_line = (description or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=first_line)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the whole report there")
    return parser


def option_values(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options that a result depends on."""
    return {name: value for name, value in vars(options).items() if name != "json"}


def run_benchmark(
    name: str, run: Callable[[argparse.Namespace], dict[str, Any]], options: argparse.Namespace
) -> int:
    """Run one benchmark, write its report if asked to, and return the exit status."""
    try:
        report = run(options)
    except BenchmarkFailed as failure:
        print(f"benchmarks.{name}: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as a shell would report it
    if options.json:
        write_json(report, options.json)
    return 0


def choose_cores() -> tuple[int, int]:
    """Return the core of what is measured and that of the rest, and move to the latter."""
    usable = sorted(os.sched_getaffinity(0))
    cores = usable[0], usable[min(1, len(usable) - 1)]
    os.sched_setaffinity(0, {cores[1]})
    return cores


def stay_on_one_core() -> None:
    """Run on the first usable core from now on."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def result_of(module: str, *arguments: str) -> dict[str, Any]:
    """Run a part of a benchmark as a process of its own, and return the result that it prints as JSON."""
    command = [sys.executable, "-m", module, *arguments]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False, timeout=PART_TIMEOUT)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise BenchmarkFailed(f"{' '.join(command[2:])} takes more than {PART_TIMEOUT:.0f} s") from None
    if done.returncode:
        raise BenchmarkFailed(f"{' '.join(command[2:])} failed with status {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result
