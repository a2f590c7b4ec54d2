"""A `dhtnode run` in a process of its own, watched from outside: memory, files, status, metrics, log.

All that it writes is in one folder.  It goes by short lives of peers, items and tokens and by small
stores, so that within minutes everything expires many times over and every cap is reached.
"""

import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from benchmarks.flood.__main__ import memory_of
from benchmarks.tools.batched_udp import BenchmarkFailed
from dhtnode.daemon.local_socket import NoDaemonListens, query_socket
from dhtnode.daemon.status import NotAStatus, read_status_untrusted

SETTINGS: dict[str, float] = {
    "peer_lifetime": 60.0,
    "item_lifetime": 60.0,
    "token_period": 20.0,
    "good_for": 60.0,
    "refresh_after": 60.0,
    "sample_interval": 60.0,
    "maintenance_period": 5.0,
    "save_period": 5.0,
    "max_swarms": 1024,
    "max_peers": 8000,
    "max_peers_per_swarm": 200,
    "max_items": 512,
}
"""What differs from the settings of a node on the public network."""

START_TIMEOUT, END_TIMEOUT = 60.0, 60.0  # seconds
_LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ([A-Z]+) ([\w.]+): (.*)$")
_CHANGING = re.compile(r"\b[0-9a-f]{40}\b|\d+(?:[.:]\d+)*")


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen at one moment: seconds since the start, bytes, and the answers to two queries."""

    at: float
    resident: int
    peak: int
    cpu: float
    descriptors: int
    threads: int
    status: dict[str, Any]
    internal_errors: float


class Watched:
    """The daemon while it runs."""

    def __init__(self, process: trio.Process, folder: Path, listening: str, metrics: str) -> None:
        """Take the process and what it has printed about itself."""
        host, _, port = listening.rpartition(":")
        self.address = host, int(port)
        self._process = process
        self._folder = folder
        self._metrics = metrics
        self._began = time.monotonic()
        self._rotations = 0

    @property
    def is_running(self) -> bool:
        """Tell whether the process has not ended yet."""
        return self._process.poll() is None

    async def sample(self) -> Sample:
        """Look at the process and ask it how it is; raises `BenchmarkFailed` when it does not tell."""
        pid = self._process.pid
        record = await self.status()
        errors = _value(await self._page(), "dhtnode_internal_errors_total")
        try:
            memory = memory_of(pid)
            return Sample(
                time.monotonic() - self._began,
                memory["VmRSS"],
                memory["VmHWM"],
                time.clock_gettime(~pid << 3 | 2),  # the kernel's clock of that process
                _entries(pid, "fd"),
                _entries(pid, "task"),
                record,
                errors,
            )
        except OSError:
            raise BenchmarkFailed("the daemon ended by itself") from None

    async def status(self) -> dict[str, Any]:
        """Return what `dhtnode status --json` prints; raises `BenchmarkFailed` when it fails."""
        command = [sys.executable, "-m", "dhtnode", "status", "--json"]
        command += ["--status-socket", str(self._folder / "status")]
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
        if done.returncode:
            raise BenchmarkFailed(done.stderr.decode().strip() or "no status")
        record: dict[str, Any] = json.loads(done.stdout)
        return record

    async def endpoint(self) -> dict[str, Any]:
        """Ask at the status socket itself, without a process, and return what is told of the UDP socket."""
        try:
            record = read_status_untrusted(await query_socket(self._folder / "status", START_TIMEOUT))
        except (NoDaemonListens, NotAStatus) as error:
            raise BenchmarkFailed(str(error)) from None
        (endpoint,) = record["endpoints"]
        found: dict[str, Any] = endpoint
        return found

    def hang_up(self) -> None:
        """Rotate the log as an operator does: rename it, then SIGHUP."""
        self._rotations += 1
        log = self._folder / "log"
        log.rename(log.with_name(f"log.{self._rotations}"))
        self._process.send_signal(signal.SIGHUP)

    async def end(self) -> dict[str, Any]:
        """Send SIGTERM and wait; return the exit status and the seconds it took."""
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        with trio.move_on_after(END_TIMEOUT):
            await self._process.wait()
        return {"status": self._process.returncode, "seconds": time.monotonic() - began}

    async def _page(self) -> str:
        """Return the page of metrics."""
        host, _, port = self._metrics.removeprefix("http://").partition("/")[0].rpartition(":")
        page = bytearray()
        with trio.move_on_after(START_TIMEOUT):
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                await stream.send_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
                async for part in stream:
                    page += part
        if not page.startswith(b"HTTP/1.1 200 OK\r\n"):
            raise BenchmarkFailed("the page of metrics is not served")
        return page.decode()


@asynccontextmanager
async def watching(folder: Path, listen: str, bootstrap: Sequence[str]) -> AsyncIterator[Watched]:
    """Run the daemon for the length of the block, with its state, log and socket in a folder.

    Raises `BenchmarkFailed` when it does not start.
    """
    options = {"state": "state", "log": "log", "status-socket": "status"}
    command = [sys.executable, "-m", "dhtnode", "run", "--json", "--no-default-bootstrap"]
    command += ["--listen", listen, "--metrics", "127.0.0.1:0", "--log-level", "debug"]
    for name, file in options.items():
        command += [f"--{name}", str(folder / file)]
    for name, value in SETTINGS.items():
        command += ["--set", f"{name}={value:g}"]
    for address in bootstrap:
        command += ["--bootstrap", address]
    with (folder / "stderr").open("ab") as stderr:
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stderr=stderr)
        try:
            said = await _first_lines(process)
            yield Watched(process, folder, said["listening"], said["metrics"])
        finally:
            if process.poll() is None:
                process.kill()
                with trio.CancelScope(shield=True):
                    await process.wait()


async def _first_lines(process: trio.Process) -> dict[str, str]:
    """Return what the daemon prints when it serves."""
    assert process.stdout is not None  # noqa: S101  for mypy
    text = bytearray()
    with trio.move_on_after(START_TIMEOUT):
        async for part in process.stdout:
            text += part
            if text.count(b"\n") >= 2:
                records = [json.loads(line) for line in text.splitlines()]
                return {name: value for record in records for name, value in record.items()}
    raise BenchmarkFailed("the daemon did not start")


def log_lines(folder: Path) -> Counter[str]:
    """Count the lines of all logs by level, logger and shape: numbers and ids are left out.

    What is no line of a log, as those of a traceback, counts as level NONE.
    """
    lines: Counter[str] = Counter()
    for path in sorted(folder.glob("log*")):
        for line in path.read_text(encoding="utf-8").splitlines():
            found = _LINE.match(line)
            level, name, text = found.groups() if found else ("NONE", "", line)
            lines[f"{level} {name}: {_CHANGING.sub('#', text)}"] += 1
    return lines


def _entries(pid: int, folder: str) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/{folder}").iterdir())


def _value(page: str, name: str) -> float:
    """Return the sum of a metric over all its labels."""
    lines = [line for line in page.splitlines() if re.match(rf"{name}[ {{]", line)]
    if not lines:
        raise BenchmarkFailed(f"the page of metrics does not have {name}")
    return sum(float(line.rpartition(" ")[2]) for line in lines)
