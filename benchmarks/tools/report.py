"""What a benchmark says in the end: the machine, the versions, a table, a JSON file."""

import json
import os
import platform
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from timeit import repeat
from typing import Any

PACKAGES = ("dhtnode", "trio", "bencode2", "libtorrent")


def machine() -> dict[str, Any]:
    """Return what numbers of CPU time depend on: processor, cores, kernel."""
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of Python and of packages, by default those that our node is made of."""
    found = {"python": f"{platform.python_implementation()} {platform.python_version()}"}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "source tree" if package == "dhtnode" else "not installed"
    return found


def new_report(benchmark: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return a report with its head: what ran, when, on what."""
    return {
        "benchmark": benchmark,
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "options": options,
        "yardstick_microseconds": yardstick(),
    }


def yardstick() -> float:
    """Return what a fixed piece of Python takes now: the speed of a shared machine varies."""
    numbers = list(range(1000))
    return median(repeat(lambda: sum(numbers), number=100, repeat=50, timer=time.process_time)) * 1e4


def head(report: dict[str, Any]) -> str:
    """Return the lines that name machine and versions."""
    on = report["machine"]
    named = ", ".join(f"{name} {value}" for name, value in report["versions"].items())
    machine = f"{on['cpu']}, {on['cores']} cores, {on['system']} {on['kernel']}"
    return f"{machine}\n{named}\n{report['taken_at']}; {yardstick_line(report)}"


def yardstick_line(report: dict[str, Any]) -> str:
    """Say how fast the machine was before and is now."""
    before, now = report["yardstick_microseconds"], yardstick()
    return f"adding up 1000 numbers took {before:.1f} us before and {now:.1f} us after"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table that reads well as text and is Markdown too; all but the first column to the right."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [("-" * (width - 1) + ":") if number else "-" * width for number, width in enumerate(widths)]
    return "\n".join([line(columns), line(rule), *map(line, rows)])


def spread(values: Sequence[float], digits: int) -> tuple[str, str]:
    """Return the median, and the lowest and highest, as two cells."""
    return f"{median(values):.{digits}f}", f"{min(values):.{digits}f}-{max(values):.{digits}f}"


def in_brackets(values: Sequence[float], digits: int) -> str:
    """Return the median, with the lowest and the highest in brackets where there are several values."""
    middle, ends = spread(values, digits)
    return middle if len(values) == 1 else f"{middle} ({ends})"


def ratio_in_brackets(costs: Sequence[float], others: Sequence[float]) -> str:
    """Return the median ratio of pairs, with the lowest and the highest in brackets."""
    return in_brackets([cost / other for cost, other in zip(costs, others, strict=True)], 2)


def write_json(report: dict[str, Any], path: Path) -> None:
    """Write the whole report."""
    path.write_text(json.dumps(report, indent=2) + "\n")


def _processor() -> str:
    """Return the model name of the first processor; other systems than Linux name less."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
