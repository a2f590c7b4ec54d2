"""CPU time per request over UDP of the gateway and of opentracker, in turns within one run.

    python -m benchmarks.gateway [--pairs 5] [--seconds 1] [--swarms 100] [--clients 60] [--json FILE]

Both serve the same clients in the same swarms on 127.0.0.1, which announce, scrape and connect.  The CPU time
is that of the server alone, as Linux tells it, by the answers that came.  opentracker is left out where it is
not installed.
"""

import argparse
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from socket import AF_INET, SO_RCVBUF, SOCK_DGRAM, SOL_SOCKET, socket
from statistics import median

from benchmarks.tools import option
from benchmarks.tools.batched_udp import BenchmarkFailed
from benchmarks.tools.command import Report, benchmark
from benchmarks.tools.processes import running
from benchmarks.tools.report import head, table
from dhtnode.ids import InfoHash
from dhtnode.trackers import AnnounceRequest
from dhtnode.trackers.udp_packets import pack_announce, pack_connect, pack_scrape, read_connect

WANTED = 30
AT_ONCE = 64  # requests under way
HOST = "127.0.0.1"
RECEIVE_BYTES = 4096
SILENT_AFTER = 2.0  # seconds
LOOK_EVERY, MAX_LOOKS, IDLE = 0.5, 120, 0.02  # seconds, looks, and the share of CPU of a server at rest
KINDS = ("announce", "scrape", "scrape of 70", "connect")


class Server:
    """A tracker under load."""

    def __init__(self, name: str, pid: int, port: int) -> None:
        self.name = name
        self.place = (HOST, port)
        self._tasks = Path(f"/proc/{pid}/task")

    def used(self) -> float:
        """Return the microseconds of CPU of all its threads until now."""
        return sum(int((task / "schedstat").read_text().split()[0]) for task in self._tasks.iterdir()) / 1e3

    def settle(self) -> None:
        """Wait until it has done what it does after clients have come."""
        for _ in range(MAX_LOOKS):
            before = self.used()
            time.sleep(LOOK_EVERY)
            if self.used() - before < 1e6 * LOOK_EVERY * IDLE:
                return
        raise BenchmarkFailed(f"{self.name} does not come to rest")

    def load(self, packets: Sequence[bytes], seconds: float) -> tuple[float, int]:
        """Send packets for a time, in turn; return the CPU time of an answer, and the answers."""
        with socket(AF_INET, SOCK_DGRAM) as client:
            client.connect(self.place)
            # All that is under way may come at once.
            client.setsockopt(SOL_SOCKET, SO_RCVBUF, AT_ONCE * RECEIVE_BYTES)
            before, answers, at = self.used(), 0, 0
            until = time.monotonic() + seconds
            while time.monotonic() < until or at < len(packets):
                for _ in range(AT_ONCE):
                    client.send(packets[at % len(packets)])
                    at += 1
                answers += self._answers(client)
            return (self.used() - before) / answers, answers

    def _answers(self, client: socket) -> int:
        count = 0
        while count < AT_ONCE:
            if not select.select([client], [], [], SILENT_AFTER)[0]:
                raise BenchmarkFailed(f"{self.name} answers {count} of {AT_ONCE}")
            answer = client.recv(RECEIVE_BYTES)
            if answer[3] == 3:
                raise BenchmarkFailed(f"{self.name} says {answer[8:]!r}")
            count += 1
        return count


def free_port() -> int:
    """Return a port that no one has now."""
    with socket(AF_INET, SOCK_DGRAM) as trial:
        trial.bind((HOST, 0))
        return int(trial.getsockname()[1])


@contextmanager
def opentracker(swarms: Sequence[InfoHash]) -> Iterator[Server]:
    """Run opentracker for the length of the block; of root it becomes a user of no rights."""
    port = free_port()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o777)
        (folder / "allowed").write_text("".join(f"{swarm.hex()}\n" for swarm in swarms))
        places = ["-i", HOST, "-p", f"{port}", "-P", f"{port}", "-w", "allowed", "-d", made, "-u", "daemon"]
        with subprocess.Popen(  # noqa: S603
            ["opentracker", *places],  # noqa: S607
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                yield Server("opentracker", process.pid, port)
            finally:
                process.kill()


def connection(server: Server) -> int:
    """Return a connection id; asks until the server is there."""
    with socket(AF_INET, SOCK_DGRAM) as client:
        client.settimeout(0.2)
        client.connect(server.place)
        for _ in range(50):
            try:
                client.send(pack_connect(1))
                return read_connect(client.recv(RECEIVE_BYTES))
            except OSError:
                time.sleep(0.1)
    raise BenchmarkFailed(f"{server.name} does not answer")


def packets_for(server: Server, swarms: Sequence[InfoHash], clients: int) -> dict[str, list[bytes]]:
    """Return the packets of each kind, which differ for each client and swarm."""
    good = connection(server)
    announces = [
        pack_announce(
            good,
            number * 1000 + client,
            AnnounceRequest(swarm, b"-XX0001-%012d" % client, 10_000 + client, client + 1, wanted=WANTED),
        )
        for number, swarm in enumerate(swarms)
        for client in range(clients)
    ]
    first = [*swarms] * (70 // len(swarms) + 1)
    return {
        "announce": announces,
        "scrape": [pack_scrape(good, number, [swarm]) for number, swarm in enumerate(swarms)],
        "scrape of 70": [pack_scrape(good, 1, list(dict.fromkeys(first))[:70])],
        "connect": [pack_connect(number) for number in range(64)],
    }


@benchmark(
    option.count("--pairs", 5),
    option.number("--seconds", 1.0, "of each kind of request", above=0.0),
    option.count("--swarms", 100),
    option.count("--clients", 60, "in each swarm"),
    option.SEED,
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Load both in turns, and tell what a request costs each."""
    if sys.platform != "linux":
        raise BenchmarkFailed("this benchmark needs Linux: it tells the CPU time of a process")
    random = Random(options.seed)
    swarms = [InfoHash(random.randbytes(20)) for _ in range(options.swarms)]
    costs: dict[str, dict[str, list[float]]] = {}
    with ExitStack() as stack:
        ours = stack.enter_context(running("benchmarks.gateway.server"))
        port = int(ours.ready["url"].rpartition(":")[2].partition("/")[0])
        servers = [Server("gateway", ours.pid, port)]
        if shutil.which("opentracker"):
            servers.append(stack.enter_context(opentracker(swarms)))
        for server in servers:
            fill(server, packets_for(server, swarms, options.clients)["announce"])
            server.settle()
        for _ in range(options.pairs):
            for server in servers:
                packets = packets_for(server, swarms, options.clients)
                for kind in KINDS:
                    cost, _ = server.load(packets[kind], options.seconds)
                    costs.setdefault(kind, {}).setdefault(server.name, []).append(cost)
    report["microseconds"] = costs
    print(head(report), "CPU time of the server for each answer, us", sep="\n")
    rows = [row_of(kind, costs[kind]) for kind in KINDS]
    print("", table(("request", *[server.name for server in servers], "ratio"), rows), sep="\n")


def fill(server: Server, announces: Sequence[bytes]) -> None:
    """Have each client in its swarm, slowly enough that the first answers, which wait, come too."""
    with socket(AF_INET, SOCK_DGRAM) as client:
        client.connect(server.place)
        client.settimeout(SILENT_AFTER)
        for packet in announces:
            client.send(packet)
            client.recv(RECEIVE_BYTES)


def row_of(kind: str, by_server: dict[str, list[float]]) -> list[str]:
    """Return medians, with lowest and highest, and the median of the ratios of pairs."""
    cells = [f"{median(each):.1f} ({min(each):.1f} to {max(each):.1f})" for each in by_server.values()]
    if len(by_server) < 2:
        return [kind, *cells, "-"]
    ours, theirs = by_server.values()
    return [kind, *cells, f"{median(one / other for one, other in zip(ours, theirs, strict=True)):.2f}"]


if __name__ == "__main__":
    sys.exit(main())
