"""Whether a flooded node goes on serving others, and is afterwards as it was before.

    python -m benchmarks.flood [--seconds 5] [--floods garbage,queries,spoofed,announces] [--json FILE]

garbage    100,000 packets per second from one address: noise, broken and slow bencode, false answers
queries    valid queries from one address, 50 times as many as are allowed
spoofed    valid queries from 100,000 addresses, 20,000 per second
announces  20,000 announces per second with valid tokens from 1,000 addresses, of random info-hashes

Each flood meets a fresh node with default settings, alone on its core.  While it lasts, another
address asks 20 queries per second; it answers nothing, so that the node never learns whether it is
real.  Linux only.
"""

import argparse
import math
import random
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Self

from benchmarks.flood.floods import FLOODS, Sender, query_in_turn
from benchmarks.tools import option
from benchmarks.tools.batched_udp import BatchSocket
from benchmarks.tools.command import Report, benchmark, choose_cores
from benchmarks.tools.load import Target
from benchmarks.tools.processes import Child, running
from benchmarks.tools.report import head, table

WARM_UP = 1.0  # seconds that the asker has been asking when the flood begins
REST = 0.0002  # seconds between two looks at what is due
LOOK = 0.25  # seconds between two looks at whether the node has calmed down
REST_OF_IT = 0.5  # seconds for what is still in the buffer of the kernel
CALM_WITHIN = 20.0  # seconds; queries under way when the flood ends time out in that time
SHOWN_COUNTERS = 4
ASKED_PER_SECOND = 20
PATIENCE = 1.0  # seconds after which an answer does not count any more
_TRANSACTION_KEY = b"1:t4:"


class Asker:
    """Ask at a steady pace from a plain socket, and count the answers that come in time."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.5.0.1", 0))
        self._socket.connect(server)
        self._socket.setblocking(False)
        self._asked = 0
        self._next = 0.0
        self._sent_at: dict[bytes, float] = {}
        self._times: list[float] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def step(self, now: float) -> None:
        """Take the answers that are there, and ask if it is time to."""
        self._take(now)
        if now >= self._next:
            self._next = max(self._next + 1 / ASKED_PER_SECOND, now)
            packet, key = query_in_turn(self._asked)
            self._asked += 1
            self._sent_at[key] = now
            self._socket.send(packet)

    def ask_for(self, seconds: float) -> None:
        """Ask for a time."""
        now = time.monotonic()
        until = now + seconds
        while now < until:
            self.step(now)
            time.sleep(REST)
            now = time.monotonic()

    def forget(self) -> None:
        """Count from now on."""
        self._asked = 0
        self._sent_at.clear()
        self._times.clear()

    def finish(self) -> None:
        """Wait for the last answers."""
        until = time.monotonic() + PATIENCE
        while self._sent_at and time.monotonic() < until:
            self._take(time.monotonic())
            time.sleep(REST)

    def result(self) -> dict[str, Any]:
        """Return the count of queries and answers, and the times of the latter in milliseconds."""
        times = sorted(self._times) or [float("nan")]
        return {
            "asked": self._asked,
            "answered": len(self._times),
            "milliseconds_median": median(times) * 1e3,
            "milliseconds_99": times[math.ceil(len(times) * 0.99) - 1] * 1e3,
        }

    def _take(self, now: float) -> None:
        while True:
            try:
                data = self._socket.recv(4096)
            except BlockingIOError:
                return
            key = data[data.rfind(_TRANSACTION_KEY) + len(_TRANSACTION_KEY) :][:4]
            sent_at = self._sent_at.pop(key, None)
            if sent_at is not None and data.endswith(b"1:y1:re") and now - sent_at <= PATIENCE:
                self._times.append(now - sent_at)


def measure(name: str, child: Child, seconds: float) -> dict[str, Any]:
    """Flood a node for a while and return what became of it and of the asker."""
    address = child.ready["host"], child.ready["port"]
    with BatchSocket() as batches, Asker(address) as asker:
        server = Target("ours", child, batches)
        flood = FLOODS[name](server, address, seconds)
        before, memory = child.ask(), memory_of(child.pid)
        asker.ask_for(WARM_UP)
        asker.forget()
        cpu, started = server.cpu_time(), time.monotonic()
        sender = Sender(flood, batches, started)
        now = started
        while now < started + seconds:
            sender.send(now)
            asker.step(now)
            time.sleep(REST)
            now = time.monotonic()
        cpu, took = server.cpu_time() - cpu, now - started
        during = child.ask()
        asker.finish()
        result = {
            "flood": name,
            "rate": flood.rate,
            "seconds": took,
            "sent": sender.sent,
            "busy": cpu / took,
            "memory_before": memory["VmRSS"],
            "memory_peak": memory_of(child.pid)["VmHWM"],
            "counts": _grown(before["counts"], during["counts"]),
            "dropped_by_kernel": during["dropped_by_kernel"] - before["dropped_by_kernel"],
            **asker.result(),
        }
    return result | aftermath(child, before)


def aftermath(child: Child, before: dict[str, Any]) -> dict[str, Any]:
    """Wait until a node has calmed down, and return in what it is not as before."""
    time.sleep(REST_OF_IT)
    until = time.monotonic() + CALM_WITHIN
    after = child.ask()
    while after["pending"] and time.monotonic() < until:
        time.sleep(LOOK)
        after = child.ask()
    with Asker((child.ready["host"], child.ready["port"])) as asker:
        asker.step(time.monotonic())
        asker.finish()
        ping = asker.result()
    limits = after["settings"]
    faults = {
        "has other contacts": after["contacts"] != before["contacts"],
        "still waits for answers": after["pending"] > 0,
        "does not answer a ping": ping["answered"] < 1,
        "holds too many swarms": after["swarms"] > limits["max_swarms"],
        "holds too many peers": after["peers"] > limits["max_peers"],
        "met errors of its own": "internal errors" in after["counts"],
    }
    return {
        "faults": [name for name, is_so in faults.items() if is_so],
        "ping_milliseconds": ping["milliseconds_median"],
        "memory_after": memory_of(child.pid)["VmRSS"],
        "nodes": len(after["contacts"]),
        "swarms": after["swarms"],
        "refused": after["refused"] - before["refused"],
    }


def memory_of(pid: int) -> dict[str, int]:
    """Return the resident memory of a process in bytes, now (VmRSS) and at its peak (VmHWM)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {name: int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM")}


def _grown(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}


def result_table(results: Sequence[dict[str, Any]]) -> str:
    """Return one column for each flood."""
    lines = {
        "packets sent per second": [f"{each['sent'] / each['seconds']:.0f}" for each in results],
        "read by the node per second": [f"{per_second(each, 'datagrams received')}" for each in results],
        "dropped by the kernel": [f"{each['dropped_by_kernel'] / each['sent']:.1%}" for each in results],
        "replies per second": [f"{per_second(each, 'replies sent')}" for each in results],
        "core in use": [f"{each['busy']:.0%}" for each in results],
        "asker: queries": [f"{each['asked']}" for each in results],
        "asker: answered": [f"{each['answered'] / each['asked']:.1%}" for each in results],
        "asker: median ms": [f"{each['milliseconds_median']:.1f}" for each in results],
        "asker: 99 % within ms": [f"{each['milliseconds_99']:.1f}" for each in results],
        "MB before": [f"{each['memory_before'] / 1e6:.1f}" for each in results],
        "MB at the peak": [f"{each['memory_peak'] / 1e6:.1f}" for each in results],
        "MB after": [f"{each['memory_after'] / 1e6:.1f}" for each in results],
        "info-hashes stored": [f"{each['swarms']}" for each in results],
        "as before": ["no" if each["faults"] else "yes" for each in results],
        "ping afterwards, ms": [f"{each['ping_milliseconds']:.1f}" for each in results],
    }
    return table(
        ["flood", *(each["flood"] for each in results)], [[name, *cells] for name, cells in lines.items()]
    )


def per_second(result: dict[str, Any], counter: str) -> int:
    """Return how often something was counted per second of a flood."""
    count: int = result["counts"].get(counter, 0)
    seconds: float = result["seconds"]
    return round(count / seconds)


def counter_lines(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return the largest counts for each flood, and the faults afterwards."""
    lines = []
    for each in results:
        counts = {
            name: count
            for name, count in each["counts"].items()
            if name.startswith(("dropped", "malformed", "errors", "not sent"))
        }
        top = sorted(counts.items(), key=lambda item: -item[1])[:SHOWN_COUNTERS]
        lines.append(f"- {each['flood']}: " + ", ".join(f"{name} {count}" for name, count in top))
        lines += [f"  afterwards it {fault}" for fault in each["faults"]]
    return lines


@benchmark(
    option.number("--seconds", 5.0, "that each flood lasts", above=0, at_most=60),
    option.names("--floods", FLOODS),
    option.count("--nodes", 1000, "nodes in the network around the node"),
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Flood a fresh node with each, and return the report."""
    random.seed(0)  # the same packets each time
    cores = choose_cores()
    report["cores"] = {"node": cores[0], "generator": cores[1]}
    report["floods"] = results = []
    with running("benchmarks.rpc.fake_network", f"--nodes={options.nodes}", core=cores[1]) as network:
        target = (f"--network={network.ready['port']}", f"--nodes={options.nodes}")
        for name in options.floods:
            with running("benchmarks.flood.flooded", *target, core=cores[0]) as child:
                result = measure(name, child, options.seconds)
            results.append(result)
            print(f"{name}: {result['answered']} of {result['asked']} answered", file=sys.stderr)
    print(head(report))
    nodes = ", ".join(f"{each['nodes']}" for each in results)
    print(f"node on core {cores[0]}, generator on core {cores[1]}; nodes in the table: {nodes}\n")
    print(result_table(results), "\n".join(counter_lines(results)), sep="\n\n")


if __name__ == "__main__":
    sys.exit(main())
