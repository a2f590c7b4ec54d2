"""Many cheap nodes in one process: what our client side asks when it is measured.

    python -m benchmarks.rpc.answering [--nodes 1000]

They have the addresses and ids of `fake_network`, but cost a quarter of it: replies are put together
from bytes made beforehand, received and sent in batches.  They answer ping, find_node and get_peers,
always with the same 8 contacts.  The process looks at its socket several thousand times a second
instead of waiting for it: so no client pays for waking it up.  It says its port in one JSON
line and ends when its standard input closes.
"""

import argparse
import json
import random
import select
import socket
import sys
import time
from collections.abc import Sequence

from benchmarks.rpc.fake_network import host_of, node_numbers
from benchmarks.tools.batched_udp import BATCH, ReplySocket

PAUSE = 50e-6  # seconds between two looks at the socket
LOOKS = 200  # at the socket, between two at standard input
_TRANSACTION_KEY = b"1:t4:"
_END = b"1:v4:fake1:y1:re"


class CheapNodes:
    """Answer for all nodes, 8 of which every answer names."""

    def __init__(self, count: int, port: int) -> None:
        numbers = node_numbers(count)
        hosts = [socket.inet_aton(host_of(at)) for at in range(count)]
        place = port.to_bytes(2, "big")
        contacts = [
            number.to_bytes(20, "big") + host + place for number, host in zip(numbers, hosts, strict=True)
        ]
        nodes = b"".join(random.Random(count).sample(contacts, min(8, count)))
        listed = b"5:nodes%d:%b" % (len(nodes), nodes)
        heads = {
            host: b"d2:ip6:" + bytes(6) + b"1:rd2:id20:" + id_[:20]
            for host, id_ in zip(hosts, contacts, strict=True)
        }
        self._ping = {host: head + b"e1:t4:" for host, head in heads.items()}
        self._find_node = {host: head + listed + b"e1:t4:" for host, head in heads.items()}
        self._get_peers = {host: head + listed + b"5:token8:12345678e1:t4:" for host, head in heads.items()}

    def answer(self, data: bytes, asked: bytes) -> bytes:
        """Return the reply to a query, or nothing that passes for one."""
        at = data.rfind(_TRANSACTION_KEY) + len(_TRANSACTION_KEY)
        if b"1:q4:ping" in data:
            head = self._ping
        else:
            head = self._find_node if b"1:q9:find_node" in data else self._get_peers
        return head.get(asked, b"") + data[at : at + 4] + _END


def serve(nodes: CheapNodes, opened: ReplySocket) -> None:
    """Answer until standard input closes."""
    poll = select.poll()
    poll.register(sys.stdin, select.POLLIN | select.POLLHUP)
    while not poll.poll(0):
        for _ in range(LOOKS):
            packets = opened.receive()
            if packets:
                opened.reply([nodes.answer(data, asked) for data, asked in packets])
            if len(packets) < BATCH:
                time.sleep(PAUSE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until standard input closes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rpc.answering")
    parser.add_argument("--nodes", type=int, default=1000)
    options = parser.parse_args(arguments)
    opened = ReplySocket()
    nodes = CheapNodes(options.nodes, opened.port)
    print(json.dumps({"port": opened.port, "nodes": options.nodes}), flush=True)
    serve(nodes, opened)


if __name__ == "__main__":
    main()
