"""What the commands have in common: report, exit status, cores."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.tools import option
from benchmarks.tools.batched_udp import BenchmarkFailed
from benchmarks.tools.report import new_report, write_json

Report: TypeAlias = dict[str, Any]
Run: TypeAlias = Callable[[argparse.Namespace, Report], None]
"""A function that measures what the options ask for, prints it, and completes the report."""


def benchmark(*options: option.Option) -> Callable[[Run], Callable[[Sequence[str] | None], int]]:
    """Make a function the command that its module is, which returns an exit status.

    Each knows `--json`.  The first line of the module's docstring goes into the help.  The status is 1
    also where the report tells of something `broken`.
    """

    def command(run: Run) -> Callable[..., int]:
        module = sys.modules[run.__module__]
        assert module.__spec__ is not None  # noqa: S101  for mypy
        name = module.__spec__.name.removesuffix(".__main__")
        parser = argparse.ArgumentParser(
            prog=f"python -m {name}",
            description=(module.__doc__ or "").partition("\n")[0],
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        for each, how in (*options, option.JSON):
            parser.add_argument(each, **how)
        return lambda arguments=None: _run(name, run, parser, arguments)

    return command


def _run(name: str, run: Run, parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    options = parser.parse_args(arguments)
    values = {key: _plain(value) for key, value in vars(options).items() if key != "json"}
    report = new_report(name.partition(".")[2], values)
    # As Ctrl-C does, it must end the processes that the benchmark has started too.
    before = signal.signal(signal.SIGTERM, _exit_by_sigterm)
    try:
        run(options, report)
    except WrongOptions as wrong:
        parser.error(str(wrong))
    except BenchmarkFailed as failure:
        print(f"{name}: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as a shell would report it
    finally:
        signal.signal(signal.SIGTERM, before)
    if options.json:
        write_json(report, options.json)
    return 1 if report.get("broken") else 0


def _exit_by_sigterm(number: int, _frame: object) -> None:
    # A second one must not end the first one's work.
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


class WrongOptions(Exception):
    """Options that do not go together."""


def choose_cores() -> tuple[int, int]:
    """Return the core of what is measured and that of the rest, and move to the latter."""
    usable = sorted(os.sched_getaffinity(0))
    cores = usable[0], usable[min(1, len(usable) - 1)]
    os.sched_setaffinity(0, {cores[1]})
    return cores


def stay_on_one_core() -> None:
    """Run on the first usable core from now on."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
