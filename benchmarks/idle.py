"""What a daemon without traffic takes: CPU time and wake-ups, fresh, after load, and without a network.

    python -m benchmarks.idle [--seconds 120] [--load 60] [--against PATH] [--json FILE]

The daemon joins a network on 127.0.0.0/8 and is left alone; is loaded and left alone again; and is left alone
after the network has gone.  With `--against`, a daemon of another checkout is beside it all the time.
Linux only.
"""

import argparse
import random
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.rpc.fake_network import host_of
from benchmarks.tools import option
from benchmarks.tools.batched_udp import BenchmarkFailed
from benchmarks.tools.command import Report, benchmark
from benchmarks.tools.processes import Child, running
from benchmarks.tools.report import head, table
from dhtnode import parse_address

NODES = 1000
HOSTS = 64  # that send the load
RATE = 500  # queries per second


@dataclass(frozen=True, slots=True)
class Idleness:
    """One window in which nothing was asked of a daemon: milliseconds of CPU, and wake-ups, per second."""

    daemon: str
    state: str
    cpu: float
    wakeups: float


class Daemon:
    """A running `dhtnode run`."""

    def __init__(self, name: str, child: Child) -> None:
        self.name = name
        self.address = parse_address(child.ready["listening"])
        self._tasks = Path(f"/proc/{child.pid}/task")

    def used(self) -> tuple[float, int]:
        """Return milliseconds of CPU and voluntary switches of all its threads until now."""
        cpu = switches = 0
        for task in self._tasks.iterdir():
            cpu += int((task / "schedstat").read_text().split()[0])
            status = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())
            switches += int(status["voluntary_ctxt_switches"])
        return cpu / 1e6, switches


def observe(daemons: Sequence[Daemon], state: str, seconds: float) -> list[Idleness]:
    """Leave all daemons alone for some seconds, at the same time."""
    before = [daemon.used() for daemon in daemons]
    time.sleep(seconds)
    after = [daemon.used() for daemon in daemons]
    return [
        Idleness(daemon.name, state, (new[0] - old[0]) / seconds, (new[1] - old[1]) / seconds)
        for daemon, old, new in zip(daemons, before, after, strict=True)
    ]


def load(daemons: Sequence[Daemon], seconds: float) -> None:
    """Ask for peers of ever new swarms, from many hosts, with a few pings between."""
    with ExitStack() as closing:
        sockets = []
        for number in range(HOSTS):
            sockets.append(closing.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
            sockets[-1].bind((f"127.9.{number}.1", 0))
        until, number = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            sender, own_id = sockets[number % HOSTS], b"%020d" % (number % HOSTS)
            query = b"d1:ad2:id20:" + own_id + b"9:info_hash20:" + random.randbytes(20) + b"e1:q9:get_peers"
            if number % 8 == 0:
                query = b"d1:ad2:id20:" + own_id + b"e1:q4:ping"
            for daemon in daemons:
                sender.sendto(query + b"1:t2:aa1:y1:qe", daemon.address)
            number += 1
            time.sleep(1 / RATE)


@benchmark(
    option.number("--seconds", 120.0, "of each look at the daemon", above=0),
    option.number("--settle", 30.0, "seconds to join, or to miss the network", at_least=0),
    option.number("--load", 60.0, f"seconds of {RATE} queries each", at_least=0),
    option.AGAINST,
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Measure and complete the report."""
    if sys.platform != "linux":
        raise BenchmarkFailed("/proc is Linux's")
    seen: list[Idleness] = []
    with ExitStack() as closing:
        network = ExitStack()
        closing.push(network)
        port = network.enter_context(running("benchmarks.rpc.fake_network", f"--nodes={NODES}")).ready["port"]
        bootstrap = [f"--bootstrap={host_of(number)}:{port}" for number in range(3)]
        daemons = []
        for name, products in {"ours": None, "against": options.against}.items():
            if name == "ours" or products:
                arguments = ("--json", "--listen=127.0.0.1:0", "--no-default-bootstrap", *bootstrap)
                child = closing.enter_context(running("dhtnode", "run", *arguments, products=products))
                daemons.append(Daemon(name, child))
        time.sleep(options.settle)
        seen += observe(daemons, "fresh", options.seconds)
        load(daemons, options.load)
        seen += observe(daemons, "after load", options.seconds)
        network.close()
        time.sleep(options.settle)
        seen += observe(daemons, "without a network", options.seconds)
    report["windows"] = [asdict(each) for each in seen]
    rows = [
        [each.daemon, each.state, f"{each.cpu:.2f}", f"{each.cpu / 10:.3f} %", f"{each.wakeups:.2f}"]
        for each in seen
    ]
    columns = ["daemon", "state", "ms of CPU per s", "of a core", "wake-ups per s"]
    print(head(report), table(columns, rows), sep="\n\n")


if __name__ == "__main__":
    sys.exit(main())
