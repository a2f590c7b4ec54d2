"""What the commands have in common: options, cores, exit status."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.tools.batched_udp import BenchmarkFailed
from benchmarks.tools.report import write_json


def new_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser that knows `--json`; the first line of `description` goes into the help."""
    first_line = (description or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=first_line)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the whole report there")
    return parser


def add_against(parser: argparse.ArgumentParser) -> None:
    """Add `--against`, for benchmarks that measure the products of two checkouts in turns."""
    parser.add_argument("--against", type=_checkout, metavar="PATH", help="measure that checkout too")


def _checkout(text: str) -> Path:
    path = Path(text).resolve()
    if not (path / "dhtnode" / "__init__.py").is_file():
        raise argparse.ArgumentTypeError(f"{text} is no checkout of this project")
    return path


def option_values(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options that a result depends on."""
    values = {name: value for name, value in vars(options).items() if name != "json"}
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


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
