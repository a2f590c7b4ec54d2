"""Pings that find out which nodes are there: candidates for the table, and nodes not heard of for long."""

from functools import partial
from random import Random

from dhtnode.addresses import Address, Contact
from dhtnode.errors import QueryError, QueryRefused, QueryTimeout
from dhtnode.ids import random_id
from dhtnode.krpc.messages import Ping
from dhtnode.net.rpc import Rpc
from dhtnode.net.transactions import Answer
from dhtnode.routing.table import RoutingTable
from dhtnode.settings import NodeSettings
from dhtnode.token_bucket import TokenBucket

VERIFY_BURST = 32  # a small network that starts through us calls all at once
PINGS_AT_ONCE = 16  # per round of maintenance: 240 in 7.5 minutes, 30 buckets' worth


class TableChecks:
    """The pings that keep one table true."""

    def __init__(
        self, rpc: Rpc, table: RoutingTable, settings: NodeSettings, random: Random, now: float
    ) -> None:
        """Check over `rpc`, which tells the table of all answers and timeouts."""
        self._rpc = rpc
        self._table = table
        self._ahead = max(0.0, settings.good_for - settings.check_after)
        self._random = random
        self._verify = TokenBucket(settings.verify_rate, VERIFY_BURST, now)
        self._verifying: set[Address] = set()

    def change_rate(self, verify_rate: float, now: float) -> None:
        """Verify so many nodes per second from now on."""
        self._verify.change(verify_rate, VERIFY_BURST, now)

    def verify(self, contact: Contact, now: float) -> None:
        """Record that a node queried us, and ping it if the table has a use for it.

        Only nodes that answer get in.
        """
        address = contact.address
        if not self._table.queried(contact, now) or address in self._verifying:
            return
        if self._verify.take(now) and self._rpc.send_query(
            Ping(), address, partial(self._on_verified, address)
        ):
            self._verifying.add(address)

    def ping_silent(self, now: float) -> int:
        """Ping nodes not heard of for long, and return how many.

        A node that times out is pinged again until it has answered or is bad: with one lost datagram
        it should not stay questionable for long.
        """
        contacts = self._table.questionable(now + self._ahead)[:PINGS_AT_ONCE]
        if not self._rpc.reachability.would_count(len(contacts)):
            # One heard of lately is pinged as well: all the others may be gone, and timeouts count
            # against nodes only when something comes in.
            anywhere = random_id(self._random)
            contacts += [each for each in self._table.closest(anywhere, now, 1) if each not in contacts]
        for contact in contacts:
            self._ping(contact.address)
        return len(contacts)

    def _on_verified(self, address: Address, _result: Answer | QueryError, _now: float) -> None:
        self._verifying.discard(address)

    def _ping(self, address: Address) -> None:
        self._rpc.send_query(Ping(), address, self._on_pinged)

    def _on_pinged(self, result: Answer | QueryError, now: float) -> None:
        if isinstance(result, QueryRefused):
            # `rpc` has told the table of all other outcomes.
            self._table.failed(result.address, now)
        elif isinstance(result, QueryTimeout) and not self._rpc.reachability.is_cut_off:
            node = self._table.get(result.address)
            if node is not None and node.failures and not node.bad:
                self._ping(result.address)
