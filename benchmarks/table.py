"""CPU time per call of the routing table, with about 300 nodes in it.

    python -m benchmarks.table [--seconds 0.5] [--nodes 1000] [--json FILE]

The nodes are those of `fake_network`, half of them ever closer to our id, but on public addresses,
each alone in its /24: on loopback other rules hold.
"""

import argparse
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.rpc.fake_network import SERVER_ID, node_numbers
from benchmarks.tools import option
from benchmarks.tools.command import Report, benchmark, stay_on_one_core
from benchmarks.tools.report import head, table
from benchmarks.tools.stopwatch import Cost, cost, in_short
from dhtnode import Address, Contact, Family, NodeId, Scope
from dhtnode.routing.table import RoutingTable

COPIES = 512  # different arguments to each method
NOW, LATER = 1000.0, 1001.0  # within the time that all nodes are good
TOO_LATE = 2500.0  # by then all nodes are questionable
NEWCOMERS_FROM = 30_000  # numbers of hosts that are no nodes yet


def contact_of(number: int, node_id: int) -> Contact:
    """Return a contact at the public address of a number, alone in its /24."""
    host = f"{11 + (number >> 16)}.{number >> 8 & 255}.{number & 255}.1"
    return Contact(NodeId(node_id.to_bytes(20, "big")), Address(host, 6881))


def new_table(contacts: Sequence[Contact]) -> RoutingTable:
    """Return a table to which these nodes have answered."""
    made = RoutingTable(NodeId(SERVER_ID), Family.IPV4, Scope.PUBLIC)
    for contact in contacts:
        made.responded(contact, NOW, rtt=0.1)
    return made


class Cases:
    """A table and the arguments of its methods."""

    def __init__(self, nodes: int) -> None:
        choose = random.Random(nodes)
        numbers = node_numbers(nodes)
        self.contacts = [contact_of(at, number) for at, number in enumerate(numbers)]
        self.table = new_table(self.contacts)
        self.known = self.table.contacts()
        self.targets = [choose.randbytes(20) for _ in range(COPIES)]
        self.strangers = [contact_of(NEWCOMERS_FROM + at, choose.getrandbits(160)) for at in range(COPIES)]

    def costs(self, seconds: float) -> dict[str, Cost]:
        """Measure each method; those that change the table come last."""
        made = self.table
        cases: dict[str, tuple[Callable[[Any], object], Sequence[Any]]] = {
            "closest_compact, good nodes": (lambda key: made.closest_compact(key, LATER), self.targets),
            "closest_compact, questionable nodes": (
                lambda key: made.closest_compact(key, TOO_LATE),
                self.targets,
            ),
            "closest, good nodes": (lambda key: made.closest(key, LATER), self.targets),
            "closest, 16 of them": (lambda key: made.closest(key, LATER, 16), self.targets),
            "closest, questionable nodes": (lambda key: made.closest(key, TOO_LATE), self.targets),
            "queried, known": (lambda contact: made.queried(contact, NOW), self.known),
            "queried, unknown": (lambda contact: made.queried(contact, NOW), self.strangers),
            "responded, known": (lambda contact: made.responded(contact, NOW, rtt=0.1), self.known),
            "responded, newcomer to a full bucket": (
                lambda contact: made.responded(contact, NOW, rtt=0.1),
                self.strangers,
            ),
        }
        costs = {name: cost(function, arguments, seconds) for name, (function, arguments) in cases.items()}
        growing = cost(new_table, [self.contacts], seconds).shared(len(self.contacts))
        return costs | {"responded, newcomer to a growing table": growing}


@benchmark(
    option.number("--seconds", 0.5, "for each line of the table, about", above=0),
    option.count("--nodes", 1000, "nodes that have answered"),
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Measure and return the report."""
    stay_on_one_core()
    cases = Cases(options.nodes)
    sizes = {"nodes": len(cases.table), "buckets": len(cases.table.buckets(NOW))}
    costs = cases.costs(options.seconds)
    report |= sizes | {"microseconds": {name: asdict(each) for name, each in costs.items()}}
    print(head(report))
    print(f"{sizes['nodes']} nodes in {sizes['buckets']} buckets\n")
    rows = [[name, in_short(each.lowest), in_short(each.median)] for name, each in costs.items()]
    print(table(["us per call", "lowest", "median"], rows))


if __name__ == "__main__":
    sys.exit(main())
