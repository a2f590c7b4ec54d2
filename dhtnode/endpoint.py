"""One socket of a node, with the table, the queries and the answers that belong to it.

IPv4 and IPv6 are two networks (BEP 32), so a node has an endpoint for each.  What both share, the
announced peers, the items and the token secrets, is handed in.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

import trio

from dhtnode.addresses import Address, Contact, Family, scope_of
from dhtnode.admission import Admission
from dhtnode.errors import QueryError, QueryRefused, QueryTimeout
from dhtnode.ids import ID_BYTES, NodeId, random_id_between, random_id_sharing, shared_prefix_bits
from dhtnode.item_store import ItemStore
from dhtnode.limits import TokenBucket
from dhtnode.lookup import Lookup
from dhtnode.messages import FindNode, Method, Ping
from dhtnode.peers import PeerStore
from dhtnode.quick import QuickResponder
from dhtnode.responder import Responder
from dhtnode.routing import RoutingTable
from dhtnode.rpc import Rpc
from dhtnode.secure_ids import conforms, kept_places, secure_id
from dhtnode.settings import VERSION_TAG, NodeSettings
from dhtnode.tokens import TokenIssuer
from dhtnode.transactions import Answer
from dhtnode.traverse import Traversal
from dhtnode.udp import DatagramSocket, resolve

logger = logging.getLogger(__name__)

VERIFY_BURST = 32  # a small network that starts through us calls all at once
REFRESHES_AT_ONCE = 2  # stale buckets per round of maintenance
PINGS_AT_ONCE = 16  # silent nodes per round of maintenance: 240 in 7.5 minutes, 30 buckets' worth


class Endpoint:
    """Be a node in one of the two networks."""

    def __init__(
        self,
        socket: DatagramSocket,
        node_id: NodeId,
        settings: NodeSettings,
        tables: dict[Family, RoutingTable],
        peers: PeerStore,
        tokens: TokenIssuer,
        random: Random,
        random_bytes: Callable[[int], bytes],
        *,
        items: ItemStore | None = None,
        admission: Admission | None = None,
        hosts: Sequence[str] = (),
        last_hosts: Sequence[str] = (),
        now: float = 0.0,
    ) -> None:
        """Take over the socket and enter the table of its family into `tables`.

        `hosts` are the ways in, `HOST:PORT`, tried when the table is short of nodes; `last_hosts`
        only when nobody else answers.  Unless `is_id_fixed`, the id is renewed when others see us
        at an address with which it does not go (BEP 42).
        """
        self.socket = socket
        self.family = socket.address.family
        self.scope = scope_of(socket.address.host)
        self.settings = settings
        self.table = RoutingTable(
            node_id,
            self.family,
            self.scope,
            bucket_size=settings.bucket_size,
            good_for=settings.good_for,
            bad_after=settings.bad_after,
        )
        tables[self.family] = self.table
        self._responder = Responder(
            tables,
            self.family,
            self.scope,
            peers,
            tokens,
            ItemStore(settings) if items is None else items,
            version=VERSION_TAG,
        )
        self.rpc = Rpc(
            socket,
            self.scope,
            self.table,
            self._responder.respond,
            random_bytes,
            on_asked=self._on_asked,
            on_moved=self._on_moved,
            quick=QuickResponder(self.table, peers, tokens, version=VERSION_TAG),
            version=VERSION_TAG,
            settings=settings,
            admission=admission,
        )
        self.saved: list[Contact] = []
        self.is_id_fixed = False
        self._random = random
        self._random_bytes = random_bytes
        self._renewed = trio.Event()
        self._hosts = tuple(hosts)
        self._last_hosts = tuple(last_hosts)
        self._verify = TokenBucket(settings.verify_rate, VERIFY_BURST, now)
        self._verifying: set[Address] = set()

    @property
    def is_short_of_nodes(self) -> bool:
        """Tell whether the table holds less than one bucket of nodes that are not bad."""
        return len(self.table.contacts()) < self.settings.bucket_size

    async def traverse(
        self,
        target: bytes,
        method: Method,
        *,
        on_answer: Callable[[Answer], None] | None = None,
    ) -> Traversal:
        """Walk towards `target` with one query, and return the walk when it has ended.

        When the table is short of nodes, those that seemed bad, saved contacts and then the given
        hosts are asked as well; the last hosts only when all of these stay silent.
        """
        traversal = self._new_traversal(target, method, on_answer)
        traversal.lookup.add_contacts(self._nearest(target))
        is_short = self.is_short_of_nodes
        if is_short:
            traversal.lookup.add_contacts(self.table.contacts(include_bad=True))
            traversal.lookup.add_contacts(self.saved)
        traversal.start()
        try:
            if is_short:
                traversal.add_ways_in(await self._resolve(self._hosts))
            await traversal.wait()
            if not traversal.answers:
                traversal.add_ways_in(await self._resolve(self._last_hosts))
                await traversal.wait()
        finally:
            traversal.cancel()
        return traversal

    def renew_id(self, node_id: NodeId, now: float) -> None:
        """Take another id at once, in queries, replies and the table, which keeps whom it can.

        Lookups under way go on.  Whoever runs `keep_joined` then looks for our new neighbours.
        """
        self.table.renew_id(node_id, now)
        self.rpc.renew_id(node_id)
        self._renewed.set()
        self._renewed = trio.Event()

    async def wait_renewed(self) -> None:
        """Wait until the id is renewed the next time."""
        await self._renewed.wait()

    async def join(self) -> bool:
        """Find our own neighbours (BEP 5) and tell whether anybody answered."""
        own_id = self.table.node_id
        walk = await self.traverse(own_id, FindNode(own_id))
        logger.info(
            "%s: %d nodes answered, %d in the table", self.socket.address, len(walk.answers), len(self.table)
        )
        return bool(walk.answers)

    async def look_around(self) -> None:
        """Walk towards an id in each part of the id space of which we know less than a bucket.

        The parts are those that share no, one, two ... bits with our own id, up to our neighbours:
        a new node knows only these.  In an empty part whoever names himself would be the closest.
        """
        own_id, now = self.table.node_id, trio.current_time()
        neighbours = [shared_prefix_bits(own_id, each.node_id) for each in self.table.closest(own_id, now)]
        for bits in range(min(neighbours, default=-1) + 1):
            known = [shared_prefix_bits(own_id, contact.node_id) for contact in self.table.contacts()]
            if known.count(bits) < self.settings.bucket_size:
                target = random_id_sharing(own_id, bits, self._random)
                await self.traverse(target, FindNode(target))

    def check_silent(self, now: float) -> int:
        """Ping nodes not heard of for long, and return how many; `rpc` tells the table the outcome.

        A node that stays silent is pinged again when the first ping is given up, until it has
        answered or is bad: with one lost datagram it should not stay in doubt for long.
        """
        ahead = max(0.0, self.settings.good_for - self.settings.check_after)
        contacts = self.table.questionable(now + ahead)[:PINGS_AT_ONCE]
        for contact in contacts:
            self._check(contact.address)
        return len(contacts)

    async def refresh(self, now: float) -> int:
        """Walk towards an id in each of the most stale buckets (BEP 5), and return how many."""
        stale = self.table.stale_ranges(now, self.settings.refresh_after)[:REFRESHES_AT_ONCE]
        for low, high in stale:
            self.table.mark_refreshed(low, now)
            target = random_id_between(low, high, self._random)
            await self.traverse(target, FindNode(target))
        return len(stale)

    def _new_traversal(
        self, target: bytes, method: Method, on_answer: Callable[[Answer], None] | None
    ) -> Traversal:
        lookup = Lookup(
            target,
            self.table.node_id,
            self.scope,
            width=self.settings.bucket_size,
            parallelism=self.settings.parallelism,
            query_limit=self.settings.lookup_query_limit,
            kept=kept_places(self.settings.bucket_size, self.table.conforming_share()),
        )
        return Traversal(self.rpc, lookup, method, on_answer)

    def _nearest(self, target: bytes) -> list[Contact]:
        # Twice the width: some of them may have gone since, and a lookup asks no more than it needs.
        return self.table.closest(target, trio.current_time(), 2 * self.settings.bucket_size)

    async def _resolve(self, hosts: Sequence[str]) -> list[Address]:
        """Return the addresses of all hosts, in their order; names are looked up at the same time."""
        found: dict[str, list[Address]] = {}

        async def look_up(host: str) -> None:
            found[host] = await resolve(host, frozenset({self.family}))

        async with trio.open_nursery() as nursery:
            for host in hosts:
                nursery.start_soon(look_up, host)
        addresses = dict.fromkeys(address for host in hosts for address in found[host])
        return [address for address in addresses if address != self.socket.address]

    def _on_moved(self, host: str, now: float) -> None:
        """Take an id that goes with the host at which others see us now, if ours does not."""
        logger.info("%s: others see us at %s", self.socket.address, host)
        if not self.is_id_fixed and not conforms(self.table.node_id, host):
            self.renew_id(secure_id(host, self._random_bytes(ID_BYTES)), now)
            logger.info("%s: our id is %s now", self.socket.address, self.table.node_id.hex())

    def _on_asked(self, contact: Contact, now: float) -> None:
        """Note who queried us, and ping it if the table has a use for it: only nodes that answer get in."""
        address = contact.address
        if not self.table.queried(contact, now) or address in self._verifying:
            return
        if self._verify.take(now) and self.rpc.send_query(
            Ping(), address, partial(self._on_verified, address)
        ):
            self._verifying.add(address)

    def _on_verified(self, address: Address, _result: Answer | QueryError, _now: float) -> None:
        self._verifying.discard(address)

    def _check(self, address: Address) -> None:
        self.rpc.send_query(Ping(), address, self._on_checked)

    def _on_checked(self, result: Answer | QueryError, now: float) -> None:
        if isinstance(result, QueryRefused):  # `rpc` has told the table of all other outcomes
            self.table.failed(result.address, now)
        elif isinstance(result, QueryTimeout):
            node = self.table.get(result.address)
            if node is not None and node.failures and not node.bad:
                self._check(result.address)
