"""A thousand nodes in one process, each on an address of its own in 127.3.0.0/16.

    python -m benchmarks.rpc.fake_network [--nodes 1000]

One wildcard socket receives for all of them; IP_PKTINFO tells which address was asked and lets the
reply leave from there.  They answer ping, find_node and get_peers with the 8 of them that are
closest to the target, and nothing else.  The process says its port in one JSON line and ends when
its standard input closes.

Their ids are those that a node of a large network, with the id `SERVER_ID`, would meet: half of them
uniform, half spread evenly over distances down to 32 bits in common, so that its table grows deep.
"""

import argparse
import json
import os
import random
import select
import socket
import sys
from collections.abc import Sequence
from heapq import nsmallest

from bencode2 import BencodeDecodeError, bdecode, bencode

from benchmarks.tools.batched_udp import IP_PKTINFO, open_wildcard_socket

SERVER_ID = bytes(range(0x30, 0x44))
"""The id of our node when it is measured."""

MAX_NODES = 65_000  # addresses in 127.3.0.0/16
_SHALLOWEST, _DEEPEST = 5, 32  # bits that the ids of the second half have in common with SERVER_ID
_CLOSEST = 8


def host_of(number: int) -> str:
    """Return the address of a node."""
    return f"127.3.{(number + 1) >> 8}.{(number + 1) & 255}"


def node_numbers(count: int) -> list[int]:
    """Return the ids of all nodes as integers; the same for the same count."""
    choose = random.Random(count)
    own = int.from_bytes(SERVER_ID, "big")
    numbers = [choose.getrandbits(160) for _ in range(count // 2)]
    for number in range(count - len(numbers)):
        bits = 159 - (_SHALLOWEST + number % (_DEEPEST - _SHALLOWEST))
        numbers.append(own ^ (1 << bits) ^ choose.getrandbits(bits))
    return numbers


class FakeNetwork:
    """Answer for all nodes."""

    def __init__(self, count: int, port: int) -> None:
        if not 0 < count <= MAX_NODES:
            raise ValueError(f"{count} nodes are not in 1..{MAX_NODES}")
        self._numbers = node_numbers(count)
        self._by_host = {host_of(at): number for at, number in enumerate(self._numbers)}
        place = port.to_bytes(2, "big")
        self._compact = {
            number: number.to_bytes(20, "big") + socket.inet_aton(host) + place
            for host, number in self._by_host.items()
        }

    def answer(self, data: bytes, asked: str) -> bytes | None:
        """Return the reply to a query that reached the address `asked`, or None."""
        number = self._by_host.get(asked)
        try:
            message = bdecode(data)
            method, arguments = message[b"q"], message[b"a"]
            body: dict[bytes, bytes] = {b"id": b"" if number is None else number.to_bytes(20, "big")}
            if method in (b"find_node", b"get_peers"):
                target = int.from_bytes(arguments.get(b"target") or arguments[b"info_hash"], "big")
                body[b"nodes"] = self._closest(target)
            if number is None or method not in (b"ping", b"find_node", b"get_peers"):
                return None
            return bencode({b"r": body, b"t": message[b"t"], b"y": b"r"})
        except (BencodeDecodeError, KeyError, TypeError, AttributeError):
            return None  # an unsolicited answer, or an invalid query

    def _closest(self, target: int) -> bytes:
        closest = nsmallest(_CLOSEST, self._numbers, key=target.__xor__)
        return b"".join(self._compact[number] for number in closest)


def serve(network: FakeNetwork, opened: socket.socket) -> None:
    """Answer until standard input closes."""
    poll = select.poll()
    poll.register(opened, select.POLLIN)
    poll.register(sys.stdin, select.POLLIN | select.POLLHUP)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if sys.stdin.fileno() in ready and not os.read(sys.stdin.fileno(), 4096):
            return
        if opened.fileno() in ready:
            _serve_one(network, opened)


def _serve_one(network: FakeNetwork, opened: socket.socket) -> None:
    data, control, _, source = opened.recvmsg(4096, 64)
    if not source[0].startswith("127."):
        return
    for level, kind, info in control:
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            reply = network.answer(data, socket.inet_ntoa(info[8:12]))
            if reply is not None:
                leave_from = bytes(4) + info[8:12] + bytes(4)
                opened.sendmsg([reply], [(level, kind, leave_from)], 0, source)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until standard input closes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rpc.fake_network")
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--port", type=int, default=0, help="default: any free one")
    options = parser.parse_args(arguments)
    with open_wildcard_socket(options.port) as opened:
        opened.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        port = opened.getsockname()[1]
        network = FakeNetwork(options.nodes, port)
        print(json.dumps({"port": port, "nodes": options.nodes}), flush=True)
        serve(network, opened)


if __name__ == "__main__":
    main()
