"""Memory of a node after much has come in: announces, sources, hours.

    python -m benchmarks.memory [--parts announces,capped,packets,hours] [--scale 1] [--json FILE]

Each part has a process of its own, and counts by how much its resident memory grows.  Packets reach
the node without a socket of the kernel (see `feeding`), since loopback has not that many sources.

announces   100,000 info-hashes, announced by one source each, with the caps of the store lifted
capped      the same with the default caps
packets     1,000,000 pings, find_nodes and get_peers from distinct sources, with distinct ids
hours       24 virtual hours of 30 nodes on a memory network, counted from the first hour on
"""

import argparse
import gc
import json
import random
import re
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import trio
import trio.testing
from bencode2 import bencode

from benchmarks.tools import option
from benchmarks.tools.command import Report, benchmark
from benchmarks.tools.feeding import FeedingSocket
from benchmarks.tools.processes import result_of
from benchmarks.tools.report import head, table
from dhtnode import Address, Node, NodeSettings, open_node
from dhtnode.net.udp import Received
from dhtnode.testing import MemoryNetwork

INFO_HASHES = 100_000
PACKETS = 1_000_000
HOURS, HOUR = 24, 3600.0
NODES = 30
OWN_ADDRESS = Address("10.0.0.1", 6881)  # private: such a node takes private and public sources
CAPPED = NodeSettings(reply_rate=1e12, reply_burst=1e12, behind_after=1e12)  # packets come without a pause
LIFTED = replace(CAPPED, max_swarms=1_000_000, max_peers=2_000_000)
_TOKEN = re.compile(rb"5:token(\d+):")


@dataclass
class Growth:
    """Note how much memory a part takes, and since when."""

    before: int
    started: float

    @classmethod
    def begin(cls) -> "Growth":
        """Count from now on."""
        return cls(resident_bytes(), time.process_time())

    def end(self, count: int, **more: Any) -> dict[str, Any]:
        """Return the result for a number of announces, packets or nodes."""
        after = resident_bytes()
        return {
            "bytes_before": self.before,
            "growth": after - self.before,
            "count": count,
            "cpu_seconds": time.process_time() - self.started,
            **more,
        }


def resident_bytes() -> int:
    """Return the resident memory of this process after a garbage collection."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def _source(number: int) -> tuple[str, int]:
    """Return a public address, each in another /24 as long as there are any."""
    number, last = number % (1 << 21), number >> 21
    return f"{11 + (number >> 16)}.{number >> 8 & 255}.{number & 255}.{last + 1}", 6881


def _query(choose: random.Random, method: bytes, **arguments: bytes | int) -> bytes:
    body = {name.encode(): value for name, value in arguments.items()}
    return bencode(
        {b"a": {b"id": choose.randbytes(20)} | body, b"q": method, b"t": choose.randbytes(2), b"y": b"q"}
    )


def _announces(count: int, feeding: FeedingSocket) -> Iterator[Received]:
    """Yield for each info-hash a get_peers and, with the token that was the answer, an announce."""
    choose = random.Random(0)
    for number in range(count):
        info_hash, source = choose.randbytes(20), _source(number)
        feeding.last_response = b""
        yield _query(choose, b"get_peers", info_hash=info_hash), source
        found = _TOKEN.search(feeding.last_response)
        if found is not None:  # without room in the store there is none
            token = feeding.last_response[found.end() :][: int(found[1])]
            yield _query(choose, b"announce_peer", info_hash=info_hash, port=6881, token=token), source


def _strangers(count: int) -> Iterator[Received]:
    choose = random.Random(0)
    for number in range(count):
        match number % 3:
            case 0:
                data = _query(choose, b"ping")
            case 1:
                data = _query(choose, b"find_node", target=choose.randbytes(20))
            case _:
                data = _query(choose, b"get_peers", info_hash=choose.randbytes(20))
        yield data, _source(number)


async def _fed(
    settings: NodeSettings, packets: Callable[[FeedingSocket], Iterator[Received]], count: int
) -> dict[str, Any]:
    """Return by how much memory grows when a node is fed."""
    feeding = FeedingSocket(OWN_ADDRESS)
    async with open_node(sockets=[feeding], well_known=False, settings=settings) as node:
        await node.wait_joined()
        growth = Growth.begin()
        await feeding.feed(packets(feeding))
        seen = node.statistics()
        received = seen.sockets[0].counts.get("datagrams received", 0)
        return growth.end(count, swarms=seen.peers.swarms, received=received, sent=feeding.sent)


async def announces(scale: float) -> dict[str, Any]:
    """Announce to a node without caps."""
    count = max(1, int(INFO_HASHES * scale))
    return await _fed(LIFTED, partial(_announces, count), count)


async def capped(scale: float) -> dict[str, Any]:
    """Announce to a node as it comes."""
    count = max(1, int(INFO_HASHES * scale))
    return await _fed(CAPPED, partial(_announces, count), count)


async def packets(scale: float) -> dict[str, Any]:
    """Query a node from distinct sources."""
    count = max(1, int(PACKETS * scale))
    return await _fed(CAPPED, lambda _feeding: _strangers(count), count)


async def hours(scale: float) -> dict[str, Any]:
    """Let a network live."""
    async with MemoryNetwork(seed=1).open_nodes(max(2, int(NODES * min(scale, 1)))) as nodes:
        await trio.sleep(HOUR * min(scale, 1))
        growth = Growth.begin()
        await trio.sleep(HOUR * (HOURS - 1) * scale)
        return growth.end(len(nodes), received=sum(map(_received, nodes)), sent=0)


def _received(node: Node) -> int:
    return sum(each.counts.get("datagrams received", 0) for each in node.statistics().sockets)


PARTS: dict[str, Callable[[float], Awaitable[dict[str, Any]]]] = {
    "announces": announces,
    "capped": capped,
    "packets": packets,
    "hours": hours,
}
VIRTUAL = ("hours",)


def run_part(name: str, scale: float) -> dict[str, Any]:
    """Run one part in this process."""
    clock = trio.testing.MockClock(autojump_threshold=0) if name in VIRTUAL else None
    return trio.run(PARTS[name], scale, clock=clock)


@benchmark(
    option.names("--parts", PARTS),
    option.number("--scale", 1.0, "share of all sizes, 0.1 for a tenth", above=0, at_most=1),
    option.hidden("--only"),
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Run each part in a process of its own and return the report."""
    if options.only is not None:
        print(json.dumps(run_part(options.only, options.scale)))
        return
    report["parts"] = {}
    for name in options.parts:
        result = result_of("benchmarks.memory", f"--scale={options.scale}", f"--only={name}")
        report["parts"][name] = result
        print(f"{name}: {result['growth'] / 1e6:.1f} MB", file=sys.stderr)
    rows = [
        [
            name,
            f"{part['count']}",
            f"{part['received']}",
            f"{part.get('swarms', 0)}",
            f"{part['bytes_before'] / 1e6:.1f}",
            f"{part['growth'] / 1e6:.1f}",
            f"{part['growth'] / part['count']:.0f}",
            f"{part['cpu_seconds']:.1f}",
        ]
        for name, part in report["parts"].items()
    ]
    columns = ("part", "count", "received", "stored", "MB before", "MB more", "bytes each", "CPU s")
    print(head(report), table(columns, rows), sep="\n\n")


if __name__ == "__main__":
    sys.exit(main())
