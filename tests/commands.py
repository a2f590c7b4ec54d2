"""Installed commands in processes of their own, and a node that they talk to.

Every wait is bounded, and every process that is started here is killed, by its number, when its
block ends.  Warnings of a command are errors too: they would show as lines on its stderr.
"""

import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import Any, Self

from dhtnode.addresses import Address, Contact, Family
from dhtnode.ids import NodeId
from dhtnode.krpc.codec import decode_untrusted, encode
from dhtnode.krpc.compact import pack_contact
from dhtnode.krpc.messages import Error, Query, Response
from tests.fork_server import Fork

PROGRAMS = Path(sys.executable).parent  # where pip puts console scripts, beside the interpreter
PATIENCE = 300.0  # seconds; only a test that fails waits so long, however busy the machine is
SWARM = "5d41402abc4b2a76b9719d911017c592aabbccdd"  # as in README.md
SEEDS, LEECHERS = 40, 60

SCRAPE_KEYS = [
    "info_hash",
    "seeds",
    "seeds_low",
    "seeds_high",
    "leechers",
    "leechers_low",
    "leechers_high",
    "peers",
    "peers_low",
    "peers_high",
    "method",
    "saturated",
    "nodes_asked",
    "nodes_answered",
    "nodes_with_filters",
    "distinct_peers",
    "queries",
]
"""The keys of a measurement, in order, for `dhtnode scrape` and `dhtcrawl scrape`."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Exit status and output of a process."""

    status: int
    stdout: str
    stderr: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """Return stdout as one JSON object per line; anything else there is an error."""
        records = [json.loads(line) for line in self.stdout.splitlines()]
        assert all(isinstance(record, dict) for record in records), self.stdout
        return records

    @property
    def error(self) -> str:
        assert self.stderr.count("\n") == 1, self.stderr
        assert self.stderr.endswith("\n"), self.stderr
        assert "Traceback" not in self.stderr
        return self.stderr[:-1]


class Running:
    """A process under way; its stdin is a pipe, or empty."""

    def __init__(self, *command: str | Path, cwd: Path | None = None, no_input: bool = False) -> None:
        script, *arguments = map(str, command)
        given, self._stdin = (os.open(os.devnull, os.O_RDONLY), None) if no_input else _pipe_to()
        self._stdout, printed = _pipe_from()
        self._stderr, told = _pipe_from()
        words = [str(PROGRAMS / script), *arguments]
        environment = os.environ | {"PYTHONWARNINGS": "error"}
        self._process = Fork(words, [given, printed, told], cwd, environment)
        for number in (given, printed, told):
            os.close(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.signal(signal.SIGKILL)
        for stream in (self._stdin, self._stdout, self._stderr):
            if stream is not None:
                stream.close()
        assert self._process.wait(PATIENCE) is not None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def read_line(self) -> str:
        """Return the next line of stdout as soon as it is there, without its end."""
        assert self._stdout is not None
        deadline = time.monotonic() + PATIENCE
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self._stdout], [], [], max(0.0, deadline - time.monotonic()))
            read = self._stdout.read(1) if ready else b""
            assert read, f"no line on stdout, only {line!r}"
            line += read
        return line[:-1].decode()

    def close_stdin(self) -> None:
        assert self._stdin is not None
        self._stdin.close()
        self._stdin = None

    def close_stdout(self) -> None:
        """Close our end of stdout, as `head` does."""
        assert self._stdout is not None
        self._stdout.close()
        self._stdout = None

    def signal(self, number: int) -> None:
        if self.is_running:
            os.kill(self._process.pid, number)

    def wait(self, text: str | None = None) -> Ended:
        """Wait for the end; with a text, send it and close stdin first.

        Without one stdin stays as it is, and what is printed must fit into a pipe.
        """
        if text is None or self._stdin is None:
            assert self._process.wait(PATIENCE) is not None, "the process has not ended"
        with ThreadPoolExecutor(2) as pool:
            streams = [
                pool.submit(stream.read) if stream else None for stream in (self._stdout, self._stderr)
            ]
            if text is not None and self._stdin is not None:
                with suppress(BrokenPipeError):
                    self._stdin.write(text.encode())
                self.close_stdin()
            try:
                stdout, stderr = (each.result(PATIENCE).decode() if each else "" for each in streams)
            except TimeoutError:
                self.signal(signal.SIGKILL)
                raise
        status = self._process.wait(PATIENCE)
        assert status is not None, "the process has closed its output and not ended"
        return Ended(status, stdout, stderr)


def _pipe_to() -> tuple[int, FileIO]:
    reading, writing = os.pipe()
    return reading, FileIO(writing, "w")


def _pipe_from() -> tuple[FileIO, int]:
    reading, writing = os.pipe()
    return FileIO(reading), writing


def run_command(*command: str | Path, cwd: Path | None = None, text: str = "") -> Ended:
    with Running(*command, cwd=cwd) as process:
        return process.wait(text)


def run_each(program: str, command_lines: Sequence[Sequence[str]], *, cwd: Path) -> list[Ended]:
    return [run_command(program, *line, cwd=cwd) for line in command_lines]


class RunningTestnet:
    """A `dhtnode testnet` in a process of its own."""

    def __init__(self, process: Running, bootstrap: Sequence[str], nodes: int) -> None:
        self.process = process
        self.bootstrap = list(bootstrap)
        self.nodes = nodes

    @cached_property
    def options(self) -> list[str]:
        return [part for address in self.bootstrap for part in ("--bootstrap", address)]


@contextmanager
def running_testnet(nodes: int, *options: str) -> Iterator[RunningTestnet]:
    """Run a test network, always with the same ids and shares, for the length of the block."""
    with Running("dhtnode", "testnet", "--json", "--nodes", str(nodes), "--seed", "1", *options) as process:
        told = json.loads(process.read_line())
        yield RunningTestnet(process, told["bootstrap"], nodes)


def has_ipv6_loopback() -> bool:
    """Return whether a socket can be bound to ::1 here."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as tried:
            tried.bind(("::1", 0))
    except OSError:
        return False
    return True


def swarm_option(info_hash: str = SWARM, seeds: int = SEEDS, leechers: int = LEECHERS) -> list[str]:
    return ["--swarm", f"{info_hash}:{seeds}:{leechers}"]


class FakeNode:
    """A node on loopback that does what a test says, one query at a time, and else keeps silent."""

    def __init__(self, node_id: bytes = b"F" * 20) -> None:
        self.node_id = NodeId(node_id)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(PATIENCE)
        self.address = Address(*self._socket.getsockname())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def contact(self) -> Contact:
        return Contact(self.node_id, self.address)

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> tuple[Query, Address]:
        data, source = self._socket.recvfrom(65536)
        message = decode_untrusted(data, Family.IPV4)
        assert isinstance(message, Query)
        return message, Address(*source)

    def respond(self, query: Query, asker: Address, *contacts: Contact, **results: Any) -> None:
        """Answer a query with contacts and other results, under our id if no other is given."""
        response = Response(
            query.transaction_id,
            results.pop("node_id", self.node_id),
            b"".join(map(pack_contact, contacts)),
            **results,
        )
        self.send(encode(response), asker)

    def refuse(self, query: Query, asker: Address, code: int, text: str) -> None:
        self.send(encode(Error(query.transaction_id, code, text)), asker)

    def send(self, data: bytes, destination: Address) -> None:
        self._socket.sendto(data, destination)
