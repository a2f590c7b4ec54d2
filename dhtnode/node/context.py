"""What all sockets of a node share: the stores, the limits, the tables, and our ids.

A node may have several sockets in each of the two networks (BEP 32, BEP 45).  What others store over
one of them is returned over all, and what others may use is counted once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random

from dhtnode.addresses import Address, Contact, Family
from dhtnode.net.outgoing import OutgoingBound
from dhtnode.node.node_ids import Identities
from dhtnode.routing.table import RoutingTable
from dhtnode.server.admission import Admission
from dhtnode.server.item_store import ItemStore
from dhtnode.server.peer_store import PeerStore
from dhtnode.server.tokens import TokenIssuer
from dhtnode.settings import NodeSettings

MAX_LEADS = 32  # per family: four replies


@dataclass(frozen=True, slots=True)
class NodeContext:
    """What the sockets of one node share; each enters its table and its id.

    `resolved` are the addresses of `HOST:PORT` texts that were looked up before the sockets were opened.
    """

    settings: NodeSettings
    peers: PeerStore
    items: ItemStore
    tokens: TokenIssuer
    admission: Admission
    random: Random
    random_bytes: Callable[[int], bytes]
    outgoing: OutgoingBound | None = None
    identities: Identities = field(default_factory=Identities)
    tables: dict[Family, list[RoutingTable]] = field(default_factory=dict)
    resolved: dict[str, Sequence[Address]] = field(default_factory=dict)
    _leads: dict[Family, dict[Address, Contact]] = field(default_factory=dict)

    def enter(self, address: Address, table: RoutingTable) -> None:
        """Add a socket: its address and its table."""
        self.identities.enter(address, table.node_id)
        self.tables.setdefault(table.family, []).append(table)

    def is_short(self, table: RoutingTable) -> bool:
        """Return whether a table holds less than one bucket of nodes that are not bad."""
        return len(table.contacts()) < self.settings.bucket_size

    def want(self, family: Family) -> frozenset[Family]:
        """Return which contacts a socket of a family asks for while it looks after its table.

        Both kinds while a table of the other family is short of nodes: nodes that are in both networks
        lead from one to the other (BEP 32, "Bootstrapping").  Otherwise none in particular.
        """
        is_other_short = any(
            self.is_short(table)
            for other, tables in self.tables.items()
            if other is not family
            for table in tables
        )
        return frozenset(Family) if is_other_short else frozenset()

    def add_leads(self, contacts: Iterable[Contact]) -> None:
        """Keep contacts that nodes of the other family returned, unproven, the last 32 of each family."""
        for contact in contacts:
            leads = self._leads.setdefault(contact.address.family, {})
            leads[contact.address] = contact
            if len(leads) > MAX_LEADS:
                del leads[next(iter(leads))]

    def leads(self, table: RoutingTable) -> list[Contact]:
        """Return more contacts for a table that is short of nodes: at most 32 from each of two sources.

        They are those of our other sockets of the family, and those that nodes of the other one returned.
        """
        others = (other for other in self.tables[table.family] if other is not table)
        known = (contact for other in others for contact in other.contacts())
        return [*islice(known, MAX_LEADS), *self._leads.get(table.family, {}).values()]


def new_context(
    settings: NodeSettings,
    random: Random,
    random_bytes: Callable[[int], bytes],
    now: float,
    outgoing: OutgoingBound | None = None,
) -> NodeContext:
    """Return new and empty stores for the sockets of one node; others may share its `outgoing` bound."""
    return NodeContext(
        settings,
        PeerStore(
            random,
            lifetime=settings.peer_lifetime,
            max_swarms=settings.max_swarms,
            max_peers_per_swarm=settings.max_peers_per_swarm,
            max_peers=settings.max_peers,
            max_peers_per_host=settings.max_peers_per_host,
            max_peers_per_network=settings.max_peers_per_network,
            sample_interval=settings.sample_interval,
        ),
        ItemStore(settings),
        TokenIssuer(random_bytes, settings.token_period, now),
        Admission(settings),
        random,
        random_bytes,
        outgoing,
    )
