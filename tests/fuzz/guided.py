"""The engine that sees which code an input reaches: libFuzzer, by way of atheris, if that is installed.

It takes the process over: there is one target per process, and the code under test must not have
been imported before `instrumented`.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fuzz.engine import Limits, Report
    from tests.fuzz.kinds import Kind

MAX_BYTES = 2048  # longer ones cost more than they show


def is_installed() -> bool:
    return find_spec("atheris") is not None


@contextmanager
def instrumented() -> Iterator[None]:
    """Have everything of `dhtnode` that is imported inside counted by libFuzzer."""
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["dhtnode"]):
        yield


def run(
    kind: "Kind",
    pool: list[bytes],
    seed: int,
    limits: "Limits",
    tell: Callable[["Report"], None],
    finish: Callable[["Report"], int],
) -> None:
    """Run until the limits are reached; then `finish` says with which status the process ends here."""
    from tests.fuzz.engine import Life, Report
    from tests.fuzz.mutator import Mutator
    from tests.fuzz.watch import WATCHDOG

    atheris: Any = import_module("atheris")
    report = Report(kind.name, "atheris", seed)
    random = Random(seed)
    mutator = Mutator(random, pool)
    life = Life(kind, report)
    started, cpu_started = perf_counter(), process_time()

    def vary(data: bytes, max_size: int, own_seed: int) -> bytes:
        random.seed(own_seed)
        if random.random() < 0.1:
            return bytes(atheris.Mutate(data, max_size))
        return kind.vary(mutator, data)[:max_size]

    def take(data: bytes) -> None:
        life.take(data)
        if report.inputs % 128:
            return
        report.seconds, report.cpu_seconds = perf_counter() - started, process_time() - cpu_started
        tell(report)
        if limits.reached(report):
            life.end()
            report.pool.extend(path.read_bytes() for path in sorted(Path(directory).iterdir()))
            status = finish(report)
            rmtree(directory)
            sys.stdout.flush()
            os._exit(status)  # libFuzzer would go on, and calls the end of its process a crash

    with TemporaryDirectory() as directory, WATCHDOG.on_duty():
        for number, data in enumerate(pool):
            (Path(directory) / f"seed-{number}").write_bytes(data)
        flags = [f"-seed={seed}", f"-max_len={MAX_BYTES}", "-timeout=60", "-verbosity=0", "-len_control=0"]
        atheris.Setup([sys.argv[0], *flags, directory], take, custom_mutator=vary)
        atheris.Fuzz()
