"""Our node as a client, under full load: one way to ask, one kind of query, one process.

    python -m benchmarks.rpc.asking FACE METHOD --port PORT [--nodes 1000] [--seconds 1]

It asks the nodes of `answering` in turn and keeps a fixed number of queries under way.  The CPU time
is that of the whole process.  The result is one JSON line; the process ends when its standard input
closes.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import trio

from benchmarks.rpc.fake_network import SERVER_ID, host_of
from dhtnode import Address, InfoHash, Node, NodeId, QueryError, open_node
from dhtnode.krpc import FindNode, GetPeers, Method, Ping

UNDER_WAY = {"send_query": 200, "query": 50, "ping": 50}
"""The faces of a node, and how many queries each keeps under way: callbacks, or so many tasks."""

METHODS = ("ping", "find_node", "get_peers")
TARGETS = 256  # different ones, asked for in turn
WARM_UP = 0.5  # seconds before the measurement, at most: every node is asked once or more
TOP_UP = 0.02  # seconds after which queries that could not be sent are replaced
MAX_QUERIES = 2_000_000  # as a bound on every loop


class Asker:
    """Ask as fast as answers come, until stopped, and count what comes back."""

    def __init__(self, node: Node, method: str, addresses: Sequence[Address]) -> None:
        self.answered = self.failed = self.asked = 0
        self._node = node
        self._methods = cycle(_methods(method))
        self._addresses = cycle(addresses)
        self._under_way = 0
        self._stopped = False

    async def run(self, face: str, until: trio.Event) -> None:
        """Keep queries under way until the event is set."""
        async with trio.open_nursery() as nursery:
            if face == "send_query":
                nursery.start_soon(self._keep_calling)
            else:
                for _ in range(UNDER_WAY[face]):
                    nursery.start_soon(self._keep_awaiting, face)
            await until.wait()
            nursery.cancel_scope.cancel()
        self._stopped = True

    async def _keep_calling(self) -> None:
        while self.asked < MAX_QUERIES:
            for _ in range(UNDER_WAY["send_query"] - self._under_way):
                self._call()
            await trio.sleep(TOP_UP)

    def _call(self) -> None:
        self.asked += 1
        if self._node.send_query(next(self._methods), next(self._addresses), self._on_done):
            self._under_way += 1
        else:
            self.failed += 1

    def _on_done(self, result: object, _now: float) -> None:
        self._under_way -= 1
        if isinstance(result, QueryError):
            self.failed += 1
        else:
            self.answered += 1
        if not self._stopped and self.asked < MAX_QUERIES:
            self._call()

    async def _keep_awaiting(self, face: str) -> None:
        node = self._node
        while self.asked < MAX_QUERIES:
            self.asked += 1
            try:
                if face == "ping":
                    await node.ping(next(self._addresses))
                else:
                    await node.query(next(self._methods), next(self._addresses))
            except QueryError:
                self.failed += 1
            else:
                self.answered += 1


def _methods(name: str) -> list[Method]:
    choose = random.Random(name)
    targets = [choose.randbytes(20) for _ in range(TARGETS)]
    if name == "ping":
        return [Ping()]
    if name == "find_node":
        return [FindNode(NodeId(target)) for target in targets]
    return [GetPeers(InfoHash(target)) for target in targets]


async def measure(face: str, method: str, addresses: Sequence[Address], seconds: float) -> dict[str, Any]:
    """Ask for a while, and return what it cost."""
    async with open_node(
        listen=["127.0.0.1:0"], bootstrap=[], well_known=False, node_id=NodeId(SERVER_ID)
    ) as node:
        await node.wait_joined()
        asker = Asker(node, method, addresses)
        until = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(asker.run, face, until)
            await trio.sleep(min(WARM_UP, seconds))
            before, answered, started = time.process_time(), asker.answered, time.monotonic()
            await trio.sleep(seconds)
            cpu, wall = time.process_time() - before, time.monotonic() - started
            answered = asker.answered - answered
            until.set()
        nodes = node.statistics().sockets[0].nodes
    return {
        "face": face,
        "method": method,
        "answered": answered,
        "failed": asker.failed,
        "cpu_microseconds": cpu / max(1, answered) * 1e6,
        "answered_per_cpu_second": answered / cpu,
        "busy": cpu / wall,
        "nodes": nodes,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, say the result, and wait until standard input closes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rpc.asking")
    parser.add_argument("face", choices=UNDER_WAY)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args(arguments)
    addresses = [Address(host_of(number), options.port) for number in range(options.nodes)]
    print(json.dumps(trio.run(measure, options.face, options.method, addresses, options.seconds)), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
