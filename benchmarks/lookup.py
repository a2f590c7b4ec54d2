"""Lookups on a network of 200 nodes in one process: how many per second, at what cost, how good.

    python -m benchmarks.lookup [--nodes 200] [--lookups 200] [--losses 0,0.2] [--json FILE]

Real nodes on a `MemoryNetwork`, with virtual time: no task waits for round trips.  The CPU time is that
of the whole network, of the node that looks up, of those that answer, and of the network itself.  For
the cost of the one node alone there is a line "alone": lookups over loopback sockets among the cheap
nodes of `fake_network`, which run on the other core.  Each line has a process of its own.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from functools import partial
from statistics import mean, median, quantiles
from typing import Any

import trio
import trio.testing

from benchmarks.rpc.fake_network import host_of, node_numbers
from benchmarks.tools import option
from benchmarks.tools.command import Report, benchmark, choose_cores
from benchmarks.tools.processes import result_of, running
from benchmarks.tools.report import head, table
from dhtnode import Node, NodeId, NotJoined, distance, open_node, random_id
from dhtnode.testing import MemoryNetwork

WIDTH = 8  # nodes that a lookup is to find
WARM_UP = 3  # lookups of each node before: nodes of a network in use know more than their neighbours
AT_ONCE = 20  # nodes that warm up at the same time
PAUSE = 0.1  # virtual seconds between two lookups


async def measure(nodes: int, lookups: int, loss: float) -> dict[str, Any]:
    """Return the costs and the results of lookups, each from a random node towards a random id."""
    choose = random.Random(0)
    network = MemoryNetwork(seed=1)
    async with network.open_nodes(nodes) as opened:
        for first in range(0, nodes, AT_ONCE):
            async with trio.open_nursery() as nursery:
                for node in opened[first : first + AT_ONCE]:
                    nursery.start_soon(_warm_up, node, random.Random(choose.random()))
        network.loss = loss
        found = []
        for _ in range(lookups):
            asker = choose.choice(opened)
            others = [node.node_id for node in opened if node is not asker]
            found.append(await _look_up(others, asker, random_id(choose)))
            await trio.sleep(PAUSE)
    return {"loss": loss, "nodes": nodes, "lookups": found}


async def measure_alone(nodes: int, lookups: int, port: int) -> dict[str, Any]:
    """Return the same, and the CPU time of the node that looks up alone, one lookup after the other."""
    choose = random.Random(0)
    ids = [NodeId(number.to_bytes(20, "big")) for number in node_numbers(nodes)]
    bootstrap_nodes = [f"{host_of(number)}:{port}" for number in range(min(3, nodes))]
    async with open_node(listen=["127.0.0.1:0"], bootstrap=bootstrap_nodes, well_known=False) as node:
        await node.wait_joined()
        await _warm_up(node, choose)
        found = [await _look_up(ids, node, random_id(choose)) for _ in range(lookups)]
    return {"loss": None, "nodes": nodes, "lookups": found}


async def _warm_up(node: Node, choose: random.Random) -> None:
    for _ in range(WARM_UP):
        await node.find_node(random_id(choose))


async def _look_up(others: Sequence[NodeId], asker: Node, target: NodeId) -> dict[str, Any]:
    """Look up once; tell the cost, the time it took, and how many of the truly closest were found."""
    true = set(sorted(others, key=lambda node_id: distance(node_id, target))[:WIDTH])
    queries, cpu, started = _queries_sent(asker), time.process_time(), trio.current_time()
    try:
        found = {each.node_id for each in await asker.find_node(target)}
    except NotJoined:
        found = set()
    return {
        "cpu_microseconds": (time.process_time() - cpu) * 1e6,
        "seconds": trio.current_time() - started,
        "queries": _queries_sent(asker) - queries,
        "found": len(found & true),
        "complete": found == true,
    }


def _queries_sent(node: Node) -> int:
    return sum(endpoint.counts.get("queries sent", 0) for endpoint in node.statistics().sockets)


def result_row(result: dict[str, Any]) -> list[str]:
    """Return what one loss came to."""
    looked_up = result["lookups"]
    cpu = [each["cpu_microseconds"] for each in looked_up]
    queries = [each["queries"] for each in looked_up]
    return [
        "alone" if result["loss"] is None else f"{result['loss']:.0%}",
        f"{1e6 / mean(cpu):.0f}",
        f"{mean(cpu):.0f}",
        f"{sum(cpu) / sum(queries):.0f}",
        f"{median(queries):.0f}",
        f"{_percentile_95(queries):.0f}",
        f"{median(each['seconds'] for each in looked_up):.2f}",
        f"{_percentile_95([each['seconds'] for each in looked_up]):.2f}",
        f"{mean(each['complete'] for each in looked_up):.1%}",
        f"{mean(each['found'] / WIDTH for each in looked_up):.1%}",
    ]


COLUMNS = (
    "loss",
    "per CPU s",
    "CPU us each",
    "us per query",
    "queries",
    "95 %",
    "seconds",
    "95 %",
    "all 8 closest",
    "of the 8 closest",
)


def _percentile_95(values: Sequence[float]) -> float:
    return quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


def measure_part(options: argparse.Namespace) -> dict[str, Any]:
    """Measure one line of the table in this process."""
    if options.alone is not None:
        return trio.run(measure_alone, options.nodes, options.lookups, options.alone)
    clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(measure, options.nodes, options.lookups, options.only_loss, clock=clock)


@benchmark(
    option.count("--nodes", 200),
    option.count("--lookups", 200),
    option.numbers("--losses", [0.0, 0.2], "shares of packets", at_least=0, at_most=0.5),
    option.hidden("--only-loss", float),
    option.hidden("--alone", int),
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Measure in processes of their own and return the report."""
    if options.alone is not None or options.only_loss is not None:
        print(json.dumps(measure_part(options)))
        return
    cores = choose_cores()
    sizes = (f"--nodes={options.nodes}", f"--lookups={options.lookups}")
    part = partial(result_of, "benchmarks.lookup", *sizes, core=cores[0])
    report["measurements"] = [part(f"--only-loss={loss}") for loss in options.losses]
    with running("benchmarks.rpc.fake_network", f"--nodes={options.nodes}", core=cores[1]) as network:
        report["measurements"].append(part(f"--alone={network.ready['port']}"))
    print(head(report))
    print(f"{options.nodes} nodes, {options.lookups} lookups per line\n")
    print(table(COLUMNS, [result_row(each) for each in report["measurements"]]))


if __name__ == "__main__":
    sys.exit(main())
