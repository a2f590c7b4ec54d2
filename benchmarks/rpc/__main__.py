"""CPU time per query and response of our client side: callbacks, and tasks that await.

    python -m benchmarks.rpc [--rounds 3] [--seconds 1] [--nodes 300] [--methods ping ...]
                             [--against PATH] [--json FILE]

A fresh asking process for each line of the table and each round, alone on its core; all the nodes
that it asks are one cheap process on the other.  Linux only.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from statistics import median
from typing import Any

from benchmarks.rpc.asking import METHODS, UNDER_WAY
from benchmarks.tools import option
from benchmarks.tools.batched_udp import BenchmarkFailed
from benchmarks.tools.command import Report, benchmark, choose_cores
from benchmarks.tools.processes import running
from benchmarks.tools.report import head, spread, table

NAMES = {"send_query": "callback: send_query", "query": "awaiting: query", "ping": "awaiting: ping"}


def cases(methods: Sequence[str]) -> list[tuple[str, str]]:
    """Return the faces to measure, each with a method; `Node.ping` is a face of its own."""
    both = [(face, method) for face in ("send_query", "query") for method in methods]
    return [*both, ("ping", "ping")] if "ping" in methods else both


def measure_rounds(options: argparse.Namespace, cores: tuple[int, int]) -> list[dict[str, Any]]:
    """Return the result of each case in each round, of both checkouts in turns if there are two."""
    results = []
    checkouts = {"this": None} | ({"against": options.against} if options.against else {})
    with running("benchmarks.rpc.answering", f"--nodes={options.nodes}", core=cores[1]) as answering:
        target = (f"--port={answering.ready['port']}", f"--nodes={options.nodes}")
        for number in range(options.rounds):
            for case, (name, products) in product(cases(options.methods), checkouts.items()):
                command = ("benchmarks.rpc.asking", *case, *target, f"--seconds={options.seconds}")
                with running(*command, core=cores[0], products=products) as asking:
                    result = asking.ready | {"round": number, "checkout": name}
                results.append(result)
                print(
                    f"round {number + 1}, {name}, {case}: {result['cpu_microseconds']:.1f} us",
                    file=sys.stderr,
                )
                if not result["answered"]:
                    raise BenchmarkFailed(f"{case}: nothing was answered")
    return results


def result_table(results: Sequence[dict[str, Any]]) -> str:
    """Return the medians of each case."""
    cases = defaultdict[tuple[str, str, str], list[dict[str, Any]]](list)
    for each in results:
        cases[each["face"], each["method"], each["checkout"]].append(each)
    rows = []
    for (face, method, checkout), mine in cases.items():
        costs = [each["cpu_microseconds"] for each in mine]
        row = [
            f"{NAMES[face]}, {method}" if checkout == "this" else "  against",
            f"{UNDER_WAY[face]}",
            *spread(costs, 1),
            f"{median(each['answered_per_cpu_second'] for each in mine):.0f}",
            f"{median(each['busy'] for each in mine):.0%}",
            f"{sum(each['failed'] for each in mine)}",
        ]
        rows.append(row)
        if checkout != "this":
            ratios = [
                ours["cpu_microseconds"] / cost
                for ours, cost in zip(cases[face, method, "this"], costs, strict=True)
            ]
            rows.append(["  this / against", "", *spread(ratios, 2), "", "", ""])
    columns = ("face, query", "under way", "us each", "lowest-highest", "per CPU s", "core in use", "failed")
    return table(columns, rows)


@benchmark(
    option.count("--rounds", 3),
    option.number("--seconds", 1.0, "for each line of the table and round", above=0, at_most=30),
    option.count("--nodes", 300, "nodes that are asked"),
    ("--methods", {"nargs": "+", "choices": METHODS, "default": list(METHODS), "help": "kinds of queries"}),
    option.AGAINST,
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Measure and return the report."""
    cores = choose_cores()
    report["cores"] = {"asking": cores[0], "answering": cores[1]}
    report["measurements"] = results = measure_rounds(options, cores)
    print(head(report))
    nodes = median(each["nodes"] for each in results)
    print(f"asking on core {cores[0]}, answering on core {cores[1]}; nodes in the table: {nodes:.0f}\n")
    print(result_table(results))


if __name__ == "__main__":
    sys.exit(main())
