"""One socket of a node, with the table, the queries and the answers that belong to it.

IPv4 and IPv6 are two networks (BEP 32), so a node has an endpoint for each, or several for several
addresses (BEP 45).  What they share, the announced peers, the items and the token secrets, is handed in.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial

import trio

from dhtnode.addresses import Address, Contact, Family, Scope, scope_of
from dhtnode.bep42 import conforms, kept_places
from dhtnode.errors import QueryError, QueryRefused, QueryTimeout
from dhtnode.ids import NodeId, random_id, random_id_between, random_id_sharing, shared_prefix_bits
from dhtnode.krpc.messages import FindNode, Method, Ping
from dhtnode.lookup.lookup import Lookup
from dhtnode.net.round_trips import Persistence
from dhtnode.net.rpc import Rpc
from dhtnode.net.transactions import Answer
from dhtnode.net.udp import RESOLVE_TIMEOUT, DatagramSocket
from dhtnode.node.bootstrap import BootstrapHosts
from dhtnode.node.context import NodeContext
from dhtnode.node.lookup_driver import LookupDriver
from dhtnode.node.node_ids import distant_id
from dhtnode.node.statistics import SocketStatistics
from dhtnode.nurseries import open_service_nursery
from dhtnode.routing.table import RoutingTable
from dhtnode.server.fast_path import FastPath
from dhtnode.server.responder import Responder
from dhtnode.settings import VERSION_TAG, NodeSettings
from dhtnode.token_bucket import TokenBucket

logger = logging.getLogger(__name__)

VERIFY_BURST = 32  # a small network that starts through us calls all at once
REFRESHES_AT_ONCE = 2  # stale buckets per round of maintenance
PINGS_AT_ONCE = 16  # silent nodes per round of maintenance: 240 in 7.5 minutes, 30 buckets' worth
HEAD_START = 2.0  # seconds that saved contacts have before hosts are asked
MAX_SPARES = 64  # saved contacts and nodes that seemed bad, in one walk; all of them could use it up


class SocketNode:
    """Be a node in one of the two networks."""

    def __init__(
        self,
        socket: DatagramSocket,
        node_id: NodeId,
        shared: NodeContext,
        *,
        hosts: Sequence[str] = (),
        last_hosts: Sequence[str] = (),
        now: float = 0.0,
    ) -> None:
        """Take over the socket and enter its table and its id into what is shared.

        `hosts` are the ways in, `HOST:PORT`, tried when the table is short of nodes; `last_hosts`
        only when nobody else answers.  Unless `is_id_fixed`, the id is renewed when others see us
        at an address with which it does not go (BEP 42).
        """
        self.socket = socket
        self.family = socket.address.family
        self.scope = scope_of(socket.address.host)
        self.settings = shared.settings
        self.table = _new_table(node_id, self.family, self.scope, shared)
        self.saved: list[Contact] = []
        self.is_id_fixed = False
        self._shared = shared
        self._renewed = trio.Event()
        self._hosts = tuple(hosts)
        self._last_hosts = tuple(last_hosts)
        self._ways_in = BootstrapHosts([*hosts, *last_hosts], self.family)
        self._persistence = Persistence(self.settings.lookup_asks)
        self._verify = TokenBucket(self.settings.verify_rate, VERIFY_BURST, now)
        self._verifying: set[Address] = set()
        shared.enter(socket.address, self.table)
        self._responder = _new_responder(self.table, self.scope, shared)
        self.rpc = self._new_rpc()

    @property
    def is_short_of_nodes(self) -> bool:
        """Tell whether the table holds less than one bucket of nodes that are not bad."""
        return self._shared.is_short(self.table)

    @property
    def is_reliable(self) -> bool:
        """Tell whether lookups will do well here: enough nodes are known, and somebody answers."""
        return not (self.rpc.is_cut_off or self.is_short_of_nodes)

    async def traverse(
        self,
        target: bytes,
        method: Method,
        *,
        on_answer: Callable[[Answer], None] | None = None,
    ) -> LookupDriver:
        """Walk towards `target` with one query, and return the walk when it has ended; see `drive`."""
        traversal = self.new_traversal(target, method, on_answer)
        await self.drive(traversal)
        return traversal

    async def drive(self, traversal: LookupDriver) -> None:
        """Walk to the end; what has been found until a cancellation stays in the traversal.

        When the table is short of nodes, those that seemed bad, contacts saved, known to our other
        endpoints or named by nodes of the other family are asked as well.  If few of all these answer,
        or none of a full table, the given hosts follow; and the last hosts when everybody stays silent.
        """
        traversal.lookup.add_contacts(self._nearest(traversal.lookup.target))
        is_short = self.is_short_of_nodes
        if is_short:
            traversal.lookup.add_contacts(self._spares())
            traversal.lookup.add_contacts(self._shared.leads(self.table))
        traversal.start()
        try:
            with trio.move_on_after(HEAD_START if is_short else float("inf")):
                await traversal.ended()
            if len(traversal.answers) < (self.settings.bucket_size if is_short else 1):
                await self._go_through(traversal, self._hosts)
            await traversal.wait()
            if not traversal.answers:
                await self._go_through(traversal, self._last_hosts)
        finally:
            traversal.cancel()
            self._persistence.add(*traversal.lookup.asked_and_lost())

    async def serve(self) -> None:
        """Receive, answer, and look names up, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.rpc.serve, name=f"serve {self.socket.address}")
            nursery.start_soon(self._ways_in.serve, name=f"look up names for {self.socket.address}")

    def probe(self, on_answer: Callable[[], None]) -> bool:
        """Ping a contact and a host, to see whether there is a network; return False if a ping did not leave.

        Any of those that we know, drawn anew each time.  Names that are not known are looked up again.
        """
        hosts = self._hosts + self._last_hosts
        self._ways_in.request(hosts, trio.current_time())
        contacts = [contact.address for contact in self._contacts()]

        def on_done(result: Answer | QueryError, _now: float) -> None:
            if isinstance(result, Answer | QueryRefused):
                on_answer()

        for addresses in filter(None, (contacts, self._addresses(hosts))):
            address = self._shared.random.choice(addresses)
            if self.rpc.send_query(Ping(), address, on_done) is None:
                return False  # the next one would hardly leave either
        return True

    def renew_id(self, node_id: NodeId, now: float) -> None:
        """Take another id at once, in queries, replies and the table, which keeps whom it can.

        Lookups under way go on.  Whoever runs `keep_joined` then looks for our new neighbours.
        """
        self.table.renew_id(node_id, now)
        self.rpc.renew_id(node_id)
        self._shared.identities.enter(self.socket.address, node_id)
        self._renewed.set()
        self._renewed = trio.Event()

    def change_limits(self, settings: NodeSettings, now: float) -> None:
        """Go by other limits on what strangers may use, from now on."""
        self.rpc.change_limits(settings)
        self._verify.change(settings.verify_rate, VERIFY_BURST, now)

    async def wait_renewed(self) -> None:
        """Wait until the id is renewed the next time."""
        await self._renewed.wait()

    async def join(self) -> bool:
        """Find our own neighbours (BEP 5) and tell whether anybody answered."""
        walk = await self._look_for_nodes(self.table.node_id)
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
                await self._look_for_nodes(random_id_sharing(own_id, bits, self._shared.random))

    def check_silent(self, now: float) -> int:
        """Ping nodes not heard of for long, and return how many; `rpc` tells the table the outcome.

        One that we heard of lately is pinged beside many: all the others may be gone, and who is
        silent is blamed only when somebody answers.  A node that stays silent is pinged again when
        the first ping is given up, until it has answered or is bad: with one lost datagram it should
        not stay in doubt for long.
        """
        ahead = max(0.0, self.settings.good_for - self.settings.check_after)
        contacts = self.table.questionable(now + ahead)[:PINGS_AT_ONCE]
        if not self.rpc.may_blame(len(contacts)):
            anywhere = random_id(self._shared.random)
            contacts += [each for each in self.table.closest(anywhere, now, 1) if each not in contacts]
        for contact in contacts:
            self._check(contact.address)
        return len(contacts)

    async def refresh(self, now: float) -> int:
        """Walk towards an id in each of the most stale buckets (BEP 5), and return how many."""
        stale = self.table.stale_ranges(now, self.settings.refresh_after)[:REFRESHES_AT_ONCE]
        for low, high in stale:
            self.table.mark_refreshed(low, now)
            await self._look_for_nodes(random_id_between(low, high, self._shared.random))
        return len(stale)

    def new_traversal(
        self, target: bytes, method: Method, on_answer: Callable[[Answer], None] | None = None
    ) -> LookupDriver:
        """Return a walk that has not begun; `on_answer` is called for every answer that counts."""
        lookup = Lookup(
            target,
            self.table.node_id,
            self.scope,
            width=self.settings.bucket_size,
            parallelism=self.settings.parallelism,
            query_limit=self.settings.lookup_query_limit,
            asks=self._persistence.asks,
            kept=kept_places(self.settings.bucket_size, self.table.conforming_share()),
            ours=self._shared.identities.ids,
        )
        return LookupDriver(self.rpc, lookup, method, on_answer)

    def statistics(self, now: float) -> SocketStatistics:
        """Return a snapshot of table and counters; cost: linear in the table."""
        rpc, buckets = self.rpc, self.table.buckets(now)
        return SocketStatistics(
            self.family,
            self.socket.address,
            self.table.node_id,
            len(self.table),
            sum(bucket.good for bucket in buckets),
            len(buckets),
            rpc.pending,
            rpc.times.stall,
            rpc.times.timeout,
            rpc.counts,
            self.socket.dropped_by_kernel(),
            rpc.external.address,
            tuple(buckets),
            rpc.times.quantiles(),
        )

    def _new_rpc(self) -> Rpc:
        shared = self._shared
        return Rpc(
            self.socket,
            self.scope,
            self.table,
            self._responder.respond,
            shared.random_bytes,
            on_asked=self._on_asked,
            on_moved=self._on_moved,
            quick=FastPath(self.table, shared.peers, shared.tokens, version=VERSION_TAG),
            version=VERSION_TAG,
            settings=self.settings,
            admission=shared.admission,
            own=shared.identities.by_address,
        )

    async def _look_for_nodes(self, target: NodeId) -> LookupDriver:
        """Walk towards a target for the sake of the table, and of those of the other family if need be."""
        want = self._shared.want(self.family)
        on_answer = self._note_leads if want else None
        return await self.traverse(target, FindNode(target, want), on_answer=on_answer)

    def _note_leads(self, answer: Answer) -> None:
        for family in Family:
            if family is not self.family:
                contacts = answer.response.contacts(family)
                self._shared.add_leads(contacts[: 2 * self.settings.bucket_size])

    def _nearest(self, target: bytes) -> list[Contact]:
        # Twice the width: some of them may have gone since, and a lookup asks no more than it needs.
        return self.table.closest(target, trio.current_time(), 2 * self.settings.bucket_size)

    def _contacts(self) -> list[Contact]:
        """Return whom we know, for times when nobody answers: bad nodes and saved contacts too."""
        return [*self.table.contacts(include_bad=True), *self.saved]

    def _spares(self) -> list[Contact]:
        known = self._contacts()
        return known if len(known) <= MAX_SPARES else self._shared.random.sample(known, MAX_SPARES)

    def _addresses(self, hosts: Sequence[str]) -> list[Address]:
        ours = self._shared.identities.by_address
        return [each for each in self._ways_in.addresses(hosts) if each not in ours]

    async def _go_through(self, traversal: LookupDriver, hosts: Sequence[str]) -> None:
        """Let a walk go through hosts as well, and return when it has ended.

        It waits for names only while nobody at all has answered.
        """
        traversal.expect_ways_in()
        self._ways_in.request(hosts, trio.current_time())
        traversal.add_ways_in(self._addresses(hosts))
        async with open_service_nursery() as nursery:
            nursery.start_soon(self._keep_adding, traversal, hosts)
            await traversal.ended()

    async def _keep_adding(self, traversal: LookupDriver, hosts: Sequence[str]) -> None:
        """Add the addresses of hosts as they become known."""
        with trio.move_on_after(RESOLVE_TIMEOUT):
            while self._ways_in.is_waiting(hosts):
                await self._ways_in.wait_changed()
                traversal.add_ways_in(self._addresses(hosts))
        traversal.expect_no_more()

    def _on_moved(self, host: str, now: float) -> None:
        """Take an id that goes with the host at which others see us now, if ours does not."""
        logger.info("%s: others see us at %s", self.socket.address, host)
        if not self.is_id_fixed and not conforms(self.table.node_id, host):
            others = self._shared.identities.elsewhere(self.socket.address)
            self.renew_id(distant_id(host, others, self._shared.random_bytes), now)
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
        elif isinstance(result, QueryTimeout) and not self.rpc.is_cut_off:
            node = self.table.get(result.address)
            if node is not None and node.failures and not node.bad:
                self._check(result.address)


def _new_table(node_id: NodeId, family: Family, scope: Scope, shared: NodeContext) -> RoutingTable:
    return RoutingTable(
        node_id,
        family,
        scope,
        bucket_size=shared.settings.bucket_size,
        good_for=shared.settings.good_for,
        bad_after=shared.settings.bad_after,
        ours=shared.identities.ids,
    )


def _new_responder(table: RoutingTable, scope: Scope, shared: NodeContext) -> Responder:
    return Responder(
        table, shared.tables, scope, shared.peers, shared.tokens, shared.items, version=VERSION_TAG
    )
