"""Sybils around a target: who is found by lookups of honest nodes, and what the defence costs (BEP 42).

    python -m benchmarks.eclipse [--networks 3] [--lookups 100] [--nodes 200] [--sybils 500] [--json FILE]

The network is a dictionary of real routing tables, each offered its neighbours, half of the other
honest nodes and every Sybil in random order; lookups are real ones, nothing is lost and no node leaves.
Sybils sit closer to the target than any honest node, name each other, and answer always; their ids do
not conform.  Attacks are on networks of which all honest ids conform.  Other lines have no Sybils, but
honest nodes of which only some conform: what is found there is the price.

any honest       share of lookups that end on at least one honest node
closest honest   share of those that end on the honest node closest to what was looked for, among others
of the true 8    how many of the 8 closest honest nodes were found, on average
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from heapq import nsmallest
from random import Random
from statistics import mean

from benchmarks.tools import option
from benchmarks.tools.command import Report, benchmark
from benchmarks.tools.report import head, table
from dhtnode import Address, Contact, Family, NodeId, Scope, distance, random_id
from dhtnode.bep42 import reserved_slots, secure_id
from dhtnode.ids import as_id, as_int
from dhtnode.lookup.lookup import Lookup
from dhtnode.routing.table import RoutingTable

WIDTH = 8
PREFIX_BITS = 12  # that a Sybil shares with the target; of 200 honest nodes the closest shares about 8
SHARES = (0.0, 0.3, 0.6, 1.0)  # of honest nodes whose ids conform


@dataclass(frozen=True, slots=True)
class Found:
    """The results of one lookup: honest nodes, those of the true 8, and whether the closest is among them."""

    honest: int
    true: int
    has_closest: bool
    queries: int


def five_addresses(number: int) -> Address:
    """Return one of many ports of one of 5 addresses, each alone in its /24."""
    return Address(f"60.0.{number % 5}.1", 1000 + number)


def twenty_networks(number: int) -> Address:
    """Return one of many addresses in one of 20 networks."""
    return Address(f"60.0.{number % 20}.{1 + number // 20}", 6881)


class Attacked:
    """A network of honest nodes, a share of which follows BEP 42, and Sybils around one target."""

    def __init__(
        self,
        seed: int,
        place: Callable[[int], Address] = five_addresses,
        *,
        honest: int = 200,
        sybils: int = 500,
        share: float = 1.0,
    ) -> None:
        self.random = Random(seed)
        self.target = random_id(self.random)
        self.honest = [self._new_honest(number, share) for number in range(honest)]
        self.sybils = [Contact(self.near_target(), place(number)) for number in range(sybils)]
        self.ids = {contact.address: contact.node_id for contact in (*self.honest, *self.sybils)}
        self.tables = {contact.address: self._table_of(contact) for contact in self.honest}

    def _new_honest(self, number: int, share: float) -> Contact:
        address = Address(f"21.{number >> 8}.{number & 255}.1", 6881)
        drawn = self.random.randbytes(20)
        conforms = self.random.random() < share
        return Contact(secure_id(address.host, drawn) if conforms else NodeId(drawn), address)

    def near_target(self) -> NodeId:
        """Return an id where no honest node is closer to the target."""
        return as_id(as_int(self.target) ^ self.random.getrandbits(160 - PREFIX_BITS))

    def _table_of(self, owner: Contact) -> RoutingTable:
        made = RoutingTable(owner.node_id, Family.IPV4, Scope.PUBLIC)
        neighbours = nsmallest(16, self.honest, key=lambda each: distance(each.node_id, owner.node_id))
        known = {*self.random.sample(self.honest, len(self.honest) // 2), *neighbours} - {owner}
        for contact in self.random.sample(offered := sorted(known) + self.sybils, len(offered)):
            made.responded(contact, 0.0)
        return made

    def look_up(self, wanted: NodeId, *, is_preferring: bool = True) -> Found:
        """Look for an id from a random honest node."""
        asker = self.random.choice(self.honest)
        own = self.tables[asker.address]
        kept = reserved_slots(WIDTH, own.compliant_share()) if is_preferring else 0
        lookup = Lookup(wanted, asker.node_id, Scope.PUBLIC, reserved=kept)
        lookup.add_contacts(own.closest(wanted, 1.0, 2 * WIDTH))
        while not lookup.is_finished:
            while (asked := lookup.take_next()) is not None:
                lookup.on_response(asked, self.ids[asked], self._answer(asked, wanted))
        found = set(lookup.closest())
        others = [contact for contact in self.honest if contact is not asker]
        true = nsmallest(WIDTH, others, key=lambda contact: distance(contact.node_id, wanted))
        honest = sum(contact.address in self.tables for contact in found)
        return Found(honest, len(found & set(true)), true[0] in found, lookup.queries)

    def _answer(self, asked: Address, wanted: bytes) -> list[Contact]:
        if asked in self.tables:
            return self.tables[asked].closest(wanted, 1.0)
        return nsmallest(2 * WIDTH, self.sybils, key=lambda sybil: distance(sybil.node_id, wanted))


def attack(options: argparse.Namespace, place: Callable[[int], Address]) -> list[Found]:
    """Return what lookups near the target find in some networks under attack."""
    found = []
    for seed in range(options.networks):
        network = Attacked(seed, place, honest=options.nodes, sybils=options.sybils)
        found += [network.look_up(network.near_target()) for _ in range(options.lookups)]
    return found


def peace(options: argparse.Namespace, share: float) -> list[Found]:
    """Return what lookups of random ids find in some networks without Sybils."""
    found = []
    for seed in range(options.networks):
        network = Attacked(seed, honest=options.nodes, sybils=0, share=share)
        found += [network.look_up(random_id(network.random)) for _ in range(options.lookups)]
    return found


def summary(found: Sequence[Found]) -> dict[str, float]:
    """Return the figures of one line."""
    return {
        "any_honest": mean(each.honest > 0 for each in found),
        "closest_honest": mean(each.has_closest for each in found),
        "honest": mean(each.honest for each in found),
        "true": mean(each.true for each in found),
        "queries": mean(each.queries for each in found),
    }


@benchmark(
    option.count("--networks", 3, "for each line, each from a seed of its own"),
    option.count("--lookups", 100, "in each network"),
    option.count("--nodes", 200, "honest ones", at_least=2 * WIDTH),
    # Twenty networks have no room for more.
    option.number("--sybils", 500, at_least=1, at_most=5000),
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Attack, look, and return the report."""
    found = {
        f"{options.sybils} ids, 5 addresses": attack(options, five_addresses),
        f"{options.sybils} ids, 20 networks": attack(options, twenty_networks),
    }
    found |= {f"no Sybils, {share:.0%} conform": peace(options, share) for share in SHARES}
    lines = {name: summary(each) for name, each in found.items()}
    report |= {"summary": lines, "lookups": {name: list(map(asdict, each)) for name, each in found.items()}}
    print(head(report))
    print(f"{options.networks} networks of {options.nodes} honest nodes, {options.lookups} lookups in each\n")
    rows = [
        [
            name,
            f"{line['any_honest']:.1%}",
            f"{line['closest_honest']:.1%}",
            f"{line['honest']:.2f}",
            f"{line['true']:.2f}",
            f"{line['queries']:.1f}",
        ]
        for name, line in lines.items()
    ]
    columns = ("network", "any honest", "closest honest", "honest of 8", "of the true 8", "queries")
    print(table(columns, rows))


if __name__ == "__main__":
    sys.exit(main())
