"""CPU time per message of reading and writing KRPC, and of the bencode library alone beside it.

    python -m benchmarks.codec [--seconds 0.1] [--json FILE]

"tolerant" is what messages cost that are not canonical bencode: here the same ones with a byte after
them, which bencode2 refuses and our tolerant reader reads.
"""

import argparse
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import bencode2

from benchmarks.tools import option
from benchmarks.tools.command import Report, benchmark, stay_on_one_core
from benchmarks.tools.report import head, table
from benchmarks.tools.stopwatch import Cost, cost, in_short
from dhtnode import Address, Family, InfoHash, NodeId
from dhtnode.krpc import AnnouncePeer, FindNode, GetPeers, Ping, Response
from dhtnode.krpc.codec import decode_untrusted, encode
from dhtnode.krpc.messages import Message, Method, Query

COPIES = 64  # messages of each kind, all different
VERSION = b"DN\x00\x01"
ASKER = Address("11.0.0.1", 6881)

Make = Callable[[random.Random], Message]


def _query(method: Callable[[random.Random], Method], choose: random.Random) -> Message:
    return Query(choose.randbytes(4), NodeId(choose.randbytes(20)), method(choose), VERSION)


def _response(choose: random.Random, **sizes: int) -> Message:
    """Return a response whose fields have random contents of the sizes given; `values` counts peers."""
    peers = sizes.pop("values", 0)
    fields: dict[str, Any] = {name: choose.randbytes(size) for name, size in sizes.items()}
    if peers:
        fields["values"] = tuple(choose.randbytes(6) for _ in range(peers))
    return Response(
        choose.randbytes(4),
        NodeId(choose.randbytes(20)),
        **fields,
        external_address=ASKER,
        version=VERSION,
    )


def _find_node(choose: random.Random) -> Method:
    return FindNode(NodeId(choose.randbytes(20)))


def _get_peers(choose: random.Random) -> Method:
    return GetPeers(InfoHash(choose.randbytes(20)))


def _announce_peer(choose: random.Random) -> Method:
    return AnnouncePeer(InfoHash(choose.randbytes(20)), 6881, choose.randbytes(8))


MESSAGES: dict[str, Make] = {
    "ping query": partial(_query, lambda _choose: Ping()),
    "find_node query": partial(_query, _find_node),
    "get_peers query": partial(_query, _get_peers),
    "announce_peer query": partial(_query, _announce_peer),
    "ping response": _response,
    "find_node response": partial(_response, nodes=208),
    "get_peers response": partial(_response, nodes=208, token=8),
    "get_peers response, 50 peers": partial(_response, nodes=208, token=8, values=50),
    "scrape response": partial(_response, nodes=208, token=8, seeds_filter=256, peers_filter=256),
}
COLUMNS = (
    "decode",
    "decode, tolerant",
    "encode",
    "bencode2 decode",
    "bencode2 encode",
)


def _decode(data: bytes) -> Message:
    return decode_untrusted(data, Family.IPV4)


def measure(make: Make, seconds: float) -> tuple[int, dict[str, Cost]]:
    """Return the size of a message and the cost of each column."""
    choose = random.Random(0)
    messages = [make(choose) for _ in range(COPIES)]
    packets = [encode(message) for message in messages]
    values = [bencode2.bdecode(packet) for packet in packets]
    cases: tuple[tuple[Callable[[Any], object], Sequence[Any]], ...] = (
        (_decode, packets),
        (_decode, [packet + b"\n" for packet in packets]),
        (encode, messages),
        (bencode2.bdecode, packets),
        (bencode2.bencode, values),
    )
    costs = [cost(function, arguments, seconds) for function, arguments in cases]
    return len(packets[0]), dict(zip(COLUMNS, costs, strict=True))


@benchmark(option.number("--seconds", 0.1, "for each number of the table, about", above=0))
def main(options: argparse.Namespace, report: Report) -> None:
    """Measure and return the report."""
    stay_on_one_core()
    rows, report["microseconds"] = [], {}
    for name, make in MESSAGES.items():
        size, costs = measure(make, options.seconds)
        report["microseconds"][name] = {"bytes": size} | {key: asdict(each) for key, each in costs.items()}
        rows.append([name, str(size), *(in_short(each.lowest) for each in costs.values())])
    print(head(report), table(["us per message, lowest", "bytes", *COLUMNS], rows), sep="\n\n")


if __name__ == "__main__":
    sys.exit(main())
