"""One socket of a node, with the table, the queries and the answers that belong to it.

IPv4 and IPv6 are two networks (BEP 32), so a node has a socket for each, or several for several
addresses (BEP 45).  What they share is in the context.
"""

import logging
from collections.abc import Callable, Sequence

import trio

from dhtnode.addresses import Address, Contact, Family
from dhtnode.bep42 import is_compliant, reserved_slots
from dhtnode.errors import QueryError, QueryRefused
from dhtnode.ids import NodeId, random_id_between, random_id_sharing, shared_prefix_bits
from dhtnode.krpc.messages import FindNode, Method, Ping
from dhtnode.lookup.lookup import Lookup
from dhtnode.net.receiver import Receiver
from dhtnode.net.round_trips import RetryPolicy
from dhtnode.net.transactions import Answer
from dhtnode.net.udp import RESOLVE_TIMEOUT, DatagramSocket
from dhtnode.node.bootstrap import BootstrapHosts
from dhtnode.node.checks import TableChecks
from dhtnode.node.context import NodeContext
from dhtnode.node.lookup_driver import LookupDriver
from dhtnode.node.node_ids import distant_id
from dhtnode.node.parts import new_inbound, new_rpc, new_table
from dhtnode.node.statistics import SocketStatistics
from dhtnode.nurseries import open_service_nursery
from dhtnode.settings import NodeSettings

logger = logging.getLogger(__name__)

NO_ADDRESS = "no address found"  # what is said of a bootstrap node without one
REFRESHES_AT_ONCE = 2  # stale buckets per round of maintenance
HEAD_START = 2.0  # seconds that saved contacts have before bootstrap hosts are queried
MAX_SPARES = 64  # saved contacts and nodes that seemed bad, in one lookup; all of them could use it up


class SocketNode:
    """A node in one of the two networks."""

    def __init__(
        self,
        socket: DatagramSocket,
        node_id: NodeId,
        context: NodeContext,
        *,
        hosts: Sequence[str] = (),
        torrent_hosts: Sequence[str] = (),
        last_hosts: Sequence[str] = (),
        now: float = 0.0,
    ) -> None:
        """Take over the socket and enter its table and its id into the context.

        `hosts` are bootstrap nodes, `HOST:PORT`, queried when the table is short of nodes, and so are
        those that a torrent lists; `last_hosts` only when no other node answers.  Unless `is_id_fixed`,
        the id is renewed when others see us at an address for which it is not secure (BEP 42).
        """
        self.socket = socket
        self.family = socket.address.family
        self.scope = socket.scope
        self.settings = settings = context.settings
        self.saved: list[Contact] = []
        self.is_id_fixed = False
        self._context = context
        self._renewed = trio.Event()
        self._given = frozenset(hosts)
        self._hosts = (*hosts, *torrent_hosts)
        self._last_hosts = tuple(last_hosts)
        self._bootstrap = BootstrapHosts([*self._hosts, *last_hosts], self.family)
        self._bootstrap.take(context.resolved, now)
        self._retries = RetryPolicy(settings.lookup_attempts)
        self.table = new_table(node_id, self.family, self.scope, context)
        context.enter(socket.address, self.table)
        self.rpc = new_rpc(socket, self.table, context, self._on_moved)
        self.checks = TableChecks(self.rpc, self.table, settings, context.random, now)
        self._inbound = new_inbound(self.rpc, self.table, context)
        self.receiver = Receiver(
            self.rpc, context.admission, self._inbound, on_seen=self.checks.verify, settings=settings
        )

    @property
    def is_short_of_nodes(self) -> bool:
        """Return whether the table holds less than one bucket of nodes that are not bad."""
        return self._context.is_short(self.table)

    @property
    def is_reliable(self) -> bool:
        """Return whether lookups will do well here: enough nodes are known, and some answer."""
        return not (self.rpc.reachability.is_cut_off or self.is_short_of_nodes)

    async def lookup(
        self, target: bytes, method: Method, on_answer: Callable[[Answer], None] | None = None
    ) -> LookupDriver:
        """Look `target` up with one query, and return the lookup when it has ended; see `run`."""
        driver = self.new_lookup(target, method, on_answer)
        await self.run(driver)
        return driver

    async def run(self, driver: LookupDriver) -> None:
        """Run a lookup to its end; what has been found until a cancellation stays in it.

        When the table is short of nodes, more are queried: those that seemed bad, saved contacts, and
        those that our other sockets or nodes of the other family returned.  If few of all these
        answer, or none of a full table, the given hosts follow; the last hosts when no node answers.
        """
        target, now = driver.lookup.target, trio.current_time()
        # Twice the width: some of them may have gone since, and a lookup queries no more than it needs.
        driver.lookup.add_contacts(self.table.closest(target, now, 2 * self.settings.bucket_size))
        is_short = self.is_short_of_nodes
        if is_short:
            known = self._contacts()
            spares = self._context.random.sample(known, MAX_SPARES) if len(known) > MAX_SPARES else known
            driver.lookup.add_contacts(spares)
            driver.lookup.add_contacts(self._context.leads(self.table))
        driver.start()
        try:
            with trio.move_on_after(HEAD_START if is_short else float("inf")):
                await driver.ended()
            if len(driver.answers) < (self.settings.bucket_size if is_short else 1):
                await self._bootstrap_through(driver, self._hosts)
            await driver.wait()
            if not driver.answers:
                await self._bootstrap_through(driver, self._last_hosts)
        finally:
            driver.cancel()
            self._retries.add(*driver.lookup.sent_and_lost())
            if self.rpc.held is not None:
                self.rpc.held.expect_losses(self._retries.attempts)

    async def serve(self) -> None:
        """Receive, answer, and look names up, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.receiver.serve, name=f"receive on {self.socket.address}")
            nursery.start_soon(self.rpc.expire, name=f"deadlines of {self.socket.address}")
            nursery.start_soon(self._bootstrap.serve, name=f"look up names for {self.socket.address}")

    def probe(self, on_answer: Callable[[], None]) -> bool:
        """Ping a contact and a host, to see whether there is a network; return False if a ping did not leave.

        Both are drawn at random each time.  Names without an address are looked up again.
        """
        hosts = self._hosts + self._last_hosts
        self._bootstrap.request(hosts, trio.current_time())
        contacts = [contact.address for contact in self._contacts()]

        def on_done(result: Answer | QueryError, _now: float) -> None:
            if isinstance(result, Answer | QueryRefused):
                on_answer()

        for addresses in filter(None, (contacts, self._addresses(hosts))):
            address = self._context.random.choice(addresses)
            if self.rpc.send_query(Ping(), address, on_done) is None:
                # The next one would hardly leave either.
                return False
        return True

    def renew_id(self, node_id: NodeId, now: float) -> None:
        """Change the id at once, in queries, replies and the table, which keeps the nodes that it can.

        Lookups under way go on.  `keep_joined` then looks for our new neighbours.
        """
        self.table.renew_id(node_id, now)
        self.rpc.renew_id(node_id)
        self._inbound.renew_id(node_id)
        self._context.identities.enter(self.socket.address, node_id)
        self._renewed.set()
        self._renewed = trio.Event()

    def trouble_with(self, host: str) -> str | None:
        """Return why none of the addresses of a bootstrap node can be queried, or None if one can."""
        addresses = self._bootstrap.addresses([host])
        if not addresses:
            return NO_ADDRESS
        refusals = [self.scope.refusal(address) for address in addresses]
        return None if None in refusals else refusals[0]

    @property
    def given_hosts(self) -> tuple[str, ...]:
        """Return the bootstrap nodes that the user gave."""
        return tuple(host for host in self._hosts if host in self._given)

    def change_limits(self, settings: NodeSettings, now: float) -> None:
        """Apply other limits on what others may use, from now on; linear in the sources remembered."""
        self._context.admission.change_limits(settings)
        self.rpc.sources.reset_meters()
        self.checks.change_rate(settings.verify_rate, now)

    async def wait_renewed(self) -> None:
        """Wait until the id is renewed the next time."""
        await self._renewed.wait()

    async def join(self) -> bool:
        """Find our own neighbours (BEP 5); return whether any node answered."""
        driver = await self._find_nodes(self.table.node_id)
        logger.info(
            "%s: %d nodes answered, %d in the table",
            self.socket.address,
            len(driver.answers),
            len(self.table),
        )
        return bool(driver.answers)

    async def explore(self) -> None:
        """Look up an id in each subtree of the id space of which we know less than a bucket.

        The subtrees are those that share no, one, two ... bits with our own id, up to our neighbours.
        """
        # A new node knows only its neighbours.  In an empty subtree, any node that returned itself
        # would be the closest.
        own_id, now = self.table.node_id, trio.current_time()
        neighbours = [shared_prefix_bits(own_id, each.node_id) for each in self.table.closest(own_id, now)]
        for bits in range(min(neighbours, default=-1) + 1):
            known = [shared_prefix_bits(own_id, contact.node_id) for contact in self.table.contacts()]
            if known.count(bits) < self.settings.bucket_size:
                await self._find_nodes(random_id_sharing(own_id, bits, self._context.random))

    async def refresh(self, now: float) -> int:
        """Look up an id in each of the most stale buckets (BEP 5), and return how many."""
        stale = self.table.stale_ranges(now, self.settings.refresh_after)[:REFRESHES_AT_ONCE]
        for low, high in stale:
            self.table.mark_refreshed(low, now)
            await self._find_nodes(random_id_between(low, high, self._context.random))
        return len(stale)

    def new_lookup(
        self, target: bytes, method: Method, on_answer: Callable[[Answer], None] | None = None
    ) -> LookupDriver:
        """Return a lookup that has not begun; `on_answer` is called for every answer that counts."""
        lookup = Lookup(
            target,
            self.table.node_id,
            self.scope,
            width=self.settings.bucket_size,
            parallelism=self.settings.parallelism,
            query_limit=self.settings.lookup_query_limit,
            attempts=self._retries.attempts,
            reserved=reserved_slots(self.settings.bucket_size, self.table.compliant_share()),
            ours=self._context.identities.ids,
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
            self.receiver.counts,
            self.socket.dropped_by_kernel(),
            rpc.external.address,
            tuple(buckets),
            rpc.times.quantiles(),
        )

    async def _find_nodes(self, target: NodeId) -> LookupDriver:
        # For the sake of our table, and of those of the other family if need be.
        want = self._context.want(self.family)
        return await self.lookup(target, FindNode(target, want), self._add_leads if want else None)

    def _add_leads(self, answer: Answer) -> None:
        for family in Family:
            if family is not self.family:
                told = self.scope.told_by(answer.address)
                contacts = [each for each in answer.response.contacts(family) if told.allows(each.address)]
                self._context.add_leads(contacts[: 2 * self.settings.bucket_size])

    def _contacts(self) -> list[Contact]:
        # Bad nodes and saved contacts too: for times when no node answers.
        return [*self.table.contacts(include_bad=True), *self.saved]

    def _addresses(self, hosts: Sequence[str]) -> list[Address]:
        ours, strangers = self._context.identities.by_address, self.scope.of_strangers
        given = self._bootstrap.addresses([host for host in hosts if host in self._given])
        others = self._bootstrap.addresses([host for host in hosts if host not in self._given])
        allowed = [each for each in others if strangers.allows(each)]
        if self.rpc.held is not None:
            self.rpc.held.trust(each.host for each in given)
        return [each for each in dict.fromkeys((*given, *allowed)) if each not in ours]

    async def _bootstrap_through(self, driver: LookupDriver, hosts: Sequence[str]) -> None:
        """Query hosts as well, and return when the lookup has ended.

        It waits for names only while no node at all has answered.
        """
        driver.expect_bootstrap()
        self._bootstrap.request(hosts, trio.current_time())
        driver.add_bootstrap(self._addresses(hosts))
        async with open_service_nursery() as nursery:
            nursery.start_soon(self._keep_adding, driver, hosts)
            await driver.ended()

    async def _keep_adding(self, driver: LookupDriver, hosts: Sequence[str]) -> None:
        """Add the addresses of hosts as they become known."""
        with trio.move_on_after(RESOLVE_TIMEOUT):
            while self._bootstrap.is_waiting(hosts):
                await self._bootstrap.wait_changed()
                driver.add_bootstrap(self._addresses(hosts))
        driver.expect_no_more()

    def _on_moved(self, host: str, now: float) -> None:
        """Take a secure id for the host at which others see us now, if ours is not."""
        logger.info("%s: others see us at %s", self.socket.address, host)
        if not self.is_id_fixed and not is_compliant(self.table.node_id, host):
            others = self._context.identities.elsewhere(self.socket.address)
            self.renew_id(distant_id(host, others, self._context.random_bytes), now)
            logger.info("%s: our id is %s now", self.socket.address, self.table.node_id.hex())
