"""A name server on loopback with chosen records: Debian's dnsmasq."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dhtnode import Address

PROGRAM = shutil.which("dnsmasq", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
PATIENCE = 60.0  # seconds until it has begun to answer
needs_dnsmasq = pytest.mark.skipif(PROGRAM is None, reason="dnsmasq is not installed")


@dataclass
class NameServer:
    """The server, and the names it was asked for."""

    address: Address
    log: Path

    def asked(self, kind: str) -> list[str]:
        marks = [line.partition(f"query[{kind}] ")[2] for line in self.log.read_text().splitlines()]
        return [mark.split(" from ")[0] for mark in marks if mark]


@contextmanager
def name_server(folder: Path, *records: str) -> Iterator[NameServer]:
    """Run a name server that has these records and no others, as options of dnsmasq."""
    log = folder / "dnsmasq.log"
    options = ["--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--keep-in-foreground", "--log-queries"]
    options += ["--listen-address=127.0.0.1", "--bind-interfaces", "--pid-file=", f"--log-facility={log}"]
    if os.getuid() == 0:
        options.append("--user=root")
    for _ in range(5):
        with socket.socket(type=socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", 0))
            port = udp.getsockname()[1]
        command = [str(PROGRAM), *options, f"--port={port}", *(f"--{record}" for record in records)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            try:
                # Another program may have taken the port.
                if _is_ready(process, log):
                    yield NameServer(Address("127.0.0.1", port), log)
                    return
            finally:
                process.terminate()
    raise AssertionError("dnsmasq does not start")


def _is_ready(process: "subprocess.Popen[bytes]", log: Path) -> bool:
    ends_at = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < ends_at:
        # It is bound to its port when it says so.
        if log.exists() and "started, version" in log.read_text():
            return True
        time.sleep(0.01)
    return False
