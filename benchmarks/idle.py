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
from typing import Any

from benchmarks.rpc.fake_network import host_of
from benchmarks.tools.batched_udp import BenchmarkFailed
from benchmarks.tools.command import add_against, new_parser, option_values, run_benchmark
from benchmarks.tools.processes import Child, running
from benchmarks.tools.report import head, new_report, table
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


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure and return the report."""
    if sys.platform != "linux":
        raise BenchmarkFailed("/proc is Linux's")
    report = new_report("idle", option_values(options))
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
    return report


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = new_parser("idle", __doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="of each look at the daemon")
    parser.add_argument("--settle", type=float, default=30.0, help="seconds to join, or to miss the network")
    parser.add_argument("--load", type=float, default=60.0, help=f"seconds of {RATE} queries each")
    add_against(parser)
    options = parser.parse_args(arguments)
    if options.seconds <= 0 or options.load < 0 or options.settle < 0:
        parser.error("seconds must be positive")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    return run_benchmark("idle", run, _options(arguments))


if __name__ == "__main__":
    sys.exit(main())
