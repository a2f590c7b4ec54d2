"""Processes of the benchmarks: modules of their own, and the products of this checkout or of another one.

A benchmark with `--against PATH` measures the packages `dhtnode` and `crawler` of the checkout there too.
What loads and measures them is always of this checkout: so one harness compares two states of the
products, in turns, within one run.
"""

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any

from benchmarks.tools.batched_udp import BenchmarkFailed
from benchmarks.tools.screen import Screen

ROOT = Path(__file__).parents[2]
MAX_SECONDS = 3600.0  # after which a process that should end by itself is killed
_START_TIMEOUT, _END_TIMEOUT = 600.0, 60.0  # seconds; a synthetic network has much to do in both

# `benchmarks` is imported before the packages of the other checkout come first in the search path.
_LAUNCH = """
import ctypes, os, runpy, signal, sys
_, parent, core, here, products, *sys.argv = sys.argv
if sys.platform == "linux":
    # However its parent ends, by SIGKILL too, a process must not go on without it.
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    if os.getppid() != int(parent):  # it has ended already
        sys.exit(1)
if core:
    os.sched_setaffinity(0, {int(core)})  # before there are threads, which inherit it
sys.path.insert(0, here)
import benchmarks
sys.path[0] = products
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def command_of(
    module: str, *arguments: str, core: int | None = None, products: Path | None = None
) -> list[str]:
    """Return the command that runs a module on a core, with the packages of a checkout, by default ours."""
    where = [f"{os.getpid()}", "" if core is None else f"{core}", f"{ROOT}", f"{products or ROOT}"]
    # Without -P the working directory would come first in the search path.
    return [sys.executable, "-P", "-c", _LAUNCH, *where, module, *arguments]


@dataclass(frozen=True, slots=True)
class Ended:
    """The output of a process that has ended, and what it used: seconds, and kilobytes at its peak."""

    output: bytes
    cpu: float
    wall: float
    peak: int


def run_to_end(*command: str, screen: Screen | None = None) -> Ended:
    """Run a command to its end, with its progress on a screen if there is one.

    Raises `BenchmarkFailed` with its last words when its status is not 0.
    """
    began = time.perf_counter()
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(  # noqa: S603
            command,
            stdout=subprocess.PIPE,
            stderr=screen.fd if screen else errors,
            env=os.environ | {"TERM": "xterm"},
        ) as process,
    ):
        timer = Timer(MAX_SECONDS, process.kill)
        timer.start()
        try:
            assert process.stdout is not None  # noqa: S101  for mypy
            output = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().rpartition("\n")[2]
            raise BenchmarkFailed(f"{_name_of(command)} failed with status {process.returncode}: {said}")
    return Ended(output, usage.ru_utime + usage.ru_stime, time.perf_counter() - began, usage.ru_maxrss)


def result_of(module: str, *arguments: str, screen: Screen | None = None, **where: Any) -> dict[str, Any]:
    """Run a module to its end; return the last line that it prints, which is JSON, with what it used."""
    ended = run_to_end(*command_of(module, *arguments, **where), screen=screen)
    if not ended.output.strip():
        raise BenchmarkFailed(f"{module} has printed nothing")
    result: dict[str, Any] = json.loads(ended.output.splitlines()[-1])
    return result | {
        "process_cpu_seconds": ended.cpu,
        "process_seconds": ended.wall,
        "process_peak_kilobytes": ended.peak,
    }


class Child:
    """A process of ours that has said it is ready."""

    def __init__(self, process: "subprocess.Popen[bytes]", name: str) -> None:
        self.pid = process.pid
        self.ready = _json_line(process, f"{name} did not start")
        self._process = process
        self._name = name

    def ask(self) -> dict[str, Any]:
        """Send an empty line and return the JSON line that is the answer; not every server gives one."""
        assert self._process.stdin is not None  # noqa: S101  for mypy
        try:
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise BenchmarkFailed(f"{self._name} ended by itself") from None
        return _json_line(self._process, f"{self._name} does not tell how it is")


@contextmanager
def running(module: str, *arguments: str, **where: Any) -> Iterator[Child]:
    """Run a module as a process for the length of the block; it is ready when the block begins.

    It says so by a line of JSON, and ends by SIGTERM, or when its standard input closes.
    """
    command = command_of(module, *arguments, **where)
    # A session of its own: on Ctrl-C it is this process that ends the others, in order.
    process = subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        yield Child(process, _name_of(command))
    finally:
        _end(process)


def _name_of(command: "tuple[str, ...] | list[str]") -> str:
    """Return a command as a user would write it."""
    return " ".join(command[8:] if _LAUNCH in command else command[1:])


def _json_line(process: "subprocess.Popen[bytes]", or_else: str) -> dict[str, Any]:
    assert process.stdout is not None  # noqa: S101  for mypy
    readable, _, _ = select.select([process.stdout], [], [], _START_TIMEOUT)
    line = process.stdout.readline() if readable else b""
    if not line:
        raise BenchmarkFailed(or_else)
    said: dict[str, Any] = json.loads(line)
    return said


def _end(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None  # noqa: S101  for mypy
    assert process.stdout is not None  # noqa: S101
    process.stdin.close()
    process.terminate()
    try:
        process.wait(_END_TIMEOUT)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()
    process.stdout.close()
