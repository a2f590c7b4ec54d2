"""How good lookups are among nodes of which many are gone, on a network that loses packets.

    python -m benchmarks.quality [--nodes 3000] [--lookups 500] [--losses 0,0.05,0.2] [--alphas 3,4,5,8]
                                 [--dead 0.3] [--asks 7] [--seed 1] [--json FILE]

One real node in a model of the DHT (see `model`) looks up random ids, one after the other, for each
loss and each number of queries at once (alpha).  So many model nodes are online, all the time; of the
contacts that they name, the share `dead` is not there.  A loss of 20 % is one of each datagram: 36 %
of all queries stay without an answer.  Round trips take 40 to 400 ms of virtual time.  A silent node
among the closest is asked `asks` times at most.

"All 8" is the share of lookups that found all of the 8 closest live nodes; messages are the queries
that our node sent.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from random import Random
from statistics import mean, median, quantiles
from typing import Any

import trio
import trio.testing

from benchmarks.model.network import ModelNetwork
from benchmarks.model.population import WIDTH
from benchmarks.tools import option
from benchmarks.tools.command import Report, benchmark
from benchmarks.tools.report import head, table
from dhtnode import NodeSettings, NotJoined, random_id

DEFAULTS = NodeSettings()
WARM_UP = 30  # lookups before: the table of a node in use
PAUSE = 1.0  # virtual seconds between two lookups
MAX_LOSS, MAX_DEAD = 0.5, 0.9


async def measure(
    nodes: int,
    lookups: int,
    loss: float,
    alpha: int,
    *,
    dead: float = 0.3,
    asks: int = DEFAULTS.lookup_attempts,
    seed: int = 1,
) -> dict[str, Any]:
    """Return what lookups came to; under a clock that jumps."""
    network = ModelNetwork(nodes, seed=seed, loss=loss, dead=dead)
    choose = Random(f"targets {seed}")
    started, found = time.process_time(), []
    settings = NodeSettings(parallelism=alpha, lookup_attempts=asks)
    async with network.open_node(0, through=network.bootstrap_nodes(), settings=settings) as node:
        await node.wait_joined()
        for number in range(WARM_UP + lookups):
            target, began = random_id(choose), trio.current_time()
            sent = network.totals()["queries sent"]
            try:
                answered = {each.node_id for each in await node.find_node(target)}
            except NotJoined:
                answered = set()
            if number >= WARM_UP:
                true = {member.node_id for member in network.population.closest(target)}
                found.append(
                    {
                        "found": len(answered & true),
                        "messages": network.totals()["queries sent"] - sent,
                        "seconds": trio.current_time() - began,
                    }
                )
            await trio.sleep(PAUSE)
    network.statistics().check()
    return {
        "loss": loss,
        "alpha": alpha,
        "cpu_seconds": time.process_time() - started,
        "lookups": found,
    }


def result_row(result: dict[str, Any]) -> list[str]:
    """Return what one loss and one alpha came to."""
    lookups = result["lookups"]
    messages = [each["messages"] for each in lookups]
    seconds = [each["seconds"] for each in lookups]
    return [
        f"{result['loss']:.0%}",
        f"{result['alpha']}",
        f"{mean(each['found'] == WIDTH for each in lookups):.1%}",
        f"{mean(each['found'] for each in lookups) / WIDTH:.1%}",
        f"{median(messages):.0f}",
        f"{_percentile_95(messages):.0f}",
        f"{median(seconds):.2f}",
        f"{_percentile_95(seconds):.2f}",
        f"{result['cpu_seconds'] / len(lookups) * 1000:.1f}",
    ]


COLUMNS = ("loss", "alpha", "all 8", "of the 8", "messages", "95 %", "seconds", "95 %", "CPU ms each")


def _percentile_95(values: Sequence[float]) -> float:
    return quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


def _measure(options: argparse.Namespace, loss: float, alpha: int) -> dict[str, Any]:
    async def main() -> dict[str, Any]:
        return await measure(
            options.nodes,
            options.lookups,
            loss,
            alpha,
            dead=options.dead,
            asks=options.asks,
            seed=options.seed,
        )

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@benchmark(
    option.count("--nodes", 3000, "model nodes, all of them online", at_least=WIDTH),
    option.count("--lookups", 500, "for each loss and alpha"),
    option.numbers("--losses", [0.0, 0.05, 0.2], "shares of packets", at_least=0, at_most=MAX_LOSS),
    option.numbers("--alphas", [3, 4, 5, 8], "queries at once", at_least=1),
    option.share("--dead", 0.3, "of the contacts named", at_most=MAX_DEAD),
    option.count("--asks", DEFAULTS.lookup_attempts, "of one silent node, at most"),
    option.SEED,
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Measure each loss with each alpha and return the report."""
    report["measurements"] = [
        _measure(options, loss, alpha) for loss in options.losses for alpha in options.alphas
    ]
    print(head(report))
    dead = f"{options.dead:.0%} of the contacts dead"
    print(f"{options.nodes} nodes, {dead}, {options.lookups} lookups per line\n")
    print(table(COLUMNS, [result_row(each) for each in report["measurements"]]))


if __name__ == "__main__":
    sys.exit(main())
