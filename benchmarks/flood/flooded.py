"""Our node with default settings, to be flooded, in a process of its own on 127.0.0.1.

    python -m benchmarks.flood.flooded [--network PORT] [--nodes 1000]

It fills its table as `benchmarks.node.servers ours` does, and says its address in one JSON line.  To each
line on its standard input it answers with another one: statistics, contacts, settings.  It ends when
its standard input closes.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import trio

from benchmarks.node.servers import open_our_node
from benchmarks.rpc.fake_network import host_of
from dhtnode import Address, Node, NodeSettings


async def serve(contacts: Sequence[Address], settings: NodeSettings) -> None:
    """Run the node until standard input closes."""
    async with open_our_node(contacts, settings) as node:
        host, port = node.addresses[0]
        _say({"host": host, "port": port, "nodes": node.statistics().sockets[0].nodes})
        while True:
            await trio.lowlevel.wait_readable(sys.stdin)
            if not os.read(sys.stdin.fileno(), 4096):
                return
            _say(condition(node, settings))


def condition(node: Node, settings: NodeSettings) -> dict[str, Any]:
    """Return all that a flood might change, fit for JSON."""
    seen = node.statistics()
    endpoint = seen.sockets[0]
    return {
        "counts": dict(endpoint.counts),
        "dropped_by_kernel": endpoint.dropped_by_kernel,
        "pending": endpoint.pending,
        "contacts": sorted(f"{contact.node_id.hex()} {contact.address}" for contact in node.contacts()),
        "swarms": seen.peers.swarms,
        "peers": seen.peers.peers,
        "refused": seen.peers.refused,
        "settings": asdict(settings),
    }


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until standard input closes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flood.flooded")
    parser.add_argument("--network", type=int, help="port of the fake network")
    parser.add_argument("--nodes", type=int, default=1000, help="nodes in the fake network")
    options = parser.parse_args(arguments)
    nodes = options.nodes if options.network else 0
    contacts = [Address(host_of(number), options.network) for number in range(nodes)]
    trio.run(serve, contacts, NodeSettings())


if __name__ == "__main__":
    main()
