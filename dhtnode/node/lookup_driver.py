"""A lookup over a socket: it sends what the lookup wants queried, and feeds it the answers.

A lookup needs no task of its own.  It goes forward in the callbacks of `rpc`, and the task that
wants the result waits for one event; leaving that wait forgets the queries under way.
"""

from collections.abc import Callable, Iterable
from functools import partial

import trio

from dhtnode.addresses import Address, Contact
from dhtnode.errors import QueryError, QueryTimeout
from dhtnode.ids import IMPOSSIBLY_CLOSE, NodeId
from dhtnode.krpc.messages import FindNode, Method, Response
from dhtnode.lookup.lookup import BOOTSTRAP_ATTEMPTS, Lookup
from dhtnode.lookup.subtrees import SubtreeQuery
from dhtnode.net.rpc import Rpc
from dhtnode.net.transactions import Answer, Pending


class LookupDriver:
    """The queries of one lookup, until it is finished."""

    def __init__(
        self, rpc: Rpc, lookup: Lookup, method: Method, on_answer: Callable[[Answer], None] | None = None
    ) -> None:
        """Prepare; `on_answer` is called for every answer that counts, when it comes."""
        self.lookup = lookup
        self.answers: dict[Address, Answer] = {}
        self.failures: dict[Address, Answer | QueryError] = {}
        self.bytes_sent = 0
        self.bytes_received = 0
        self._rpc = rpc
        self._method = method
        self._on_answer = on_answer
        # By address, or by subtree: the first answer to one of its queries ends all of them.
        self._under_way: dict[Address | int, list[Pending]] = {}
        self._is_expecting = False
        self._finished = trio.Event()

    @property
    def is_finished(self) -> bool:
        """Return whether the lookup has ended or was cancelled."""
        return self._finished.is_set()

    def start(self) -> None:
        """Send the first queries."""
        self._advance()

    def add_bootstrap(self, addresses: Iterable[Address]) -> None:
        """Add addresses of bootstrap nodes, and go on if the lookup had ended for want of them."""
        self.lookup.add_bootstrap_nodes(addresses)
        if not self.lookup.is_finished:
            self._reopen()
        self._advance()

    def expect_bootstrap(self) -> None:
        """Do not end without an answer before `expect_no_more`."""
        self._is_expecting = True
        if not self.answers:
            self._reopen()

    def expect_no_more(self) -> None:
        """End when the addresses added by now have been queried."""
        self._is_expecting = False
        self._advance()

    async def ended(self) -> None:
        """Wait for the end; the lookup goes on when this is cancelled."""
        await self._finished.wait()

    async def wait(self) -> None:
        """Wait for the end; when cancelled, forget what is under way."""
        try:
            await self._finished.wait()
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Forget all queries under way; nothing is called afterwards."""
        for key in list(self._under_way):
            self._forget(key)
        self._finished.set()

    def closest_answers(self) -> list[Answer]:
        """Return the answers of the closest nodes found, closest first."""
        return [self.answers[contact.address] for contact in self.lookup.closest()]

    def _reopen(self) -> None:
        # Otherwise a task may be waiting for it.
        if self._finished.is_set():
            self._finished = trio.Event()

    def _advance(self) -> None:
        while (address := self.lookup.take_next()) is not None:
            self._send(address)
        while (query := self.lookup.take_subtree_query()) is not None:
            self._send_subtree_query(query)
        if self.lookup.is_finished and (self.answers or not self._is_expecting):
            self.cancel()

    def _send(self, address: Address) -> None:
        pending = self._rpc.send_query(
            self._method,
            address,
            partial(self._on_done, address),
            on_stall=partial(self._on_stall, address),
        )
        if pending is None:
            self._forget(address)
            self.lookup.on_failure(address)
        else:
            self._add(address, pending)

    def _send_subtree_query(self, query: SubtreeQuery) -> None:
        pending = self._rpc.send_query(
            FindNode(query.target),
            query.address,
            partial(self._on_subtree_done, query),
            on_stall=partial(self._on_subtree_stall, query),
        )
        if pending is None:
            self.lookup.on_subtree_timeout(query)
        else:
            self._add(query.subtree, pending)

    def _add(self, key: Address | int, pending: Pending) -> None:
        self._under_way.setdefault(key, []).append(pending)
        self.bytes_sent += pending.size

    def _forget(self, key: Address | int) -> None:
        """Forget the queries to one node, or about one subtree; nothing happens for those that have ended."""
        for pending in self._under_way.pop(key, ()):
            self._rpc.forget(pending)

    def _on_done(self, address: Address, result: Answer | QueryError, _now: float) -> None:
        try:
            if isinstance(result, QueryTimeout):
                # Queries time out in the order of their sending.
                del self._under_way[address][0]
                self.failures[address] = result
                self.lookup.on_timeout(address)
                return
            self._forget(address)
            if isinstance(result, Answer):
                self._on_answer_from(result)
            else:
                self.failures[address] = result
                self.lookup.on_failure(address)
        finally:
            # Whatever `on_answer` raises, the lookup must come to its end.
            self._advance()

    def _on_answer_from(self, answer: Answer) -> None:
        response = answer.response
        self.bytes_received += answer.bytes_received
        contacts = self._contacts_in(response)
        if self.lookup.on_response(answer.address, response.node_id, contacts):
            self.answers[answer.address] = answer
            if not contacts and (response.has_peers or response.value is not None):
                self._ask_for_contacts(answer.address, BOOTSTRAP_ATTEMPTS)
            if self._on_answer is not None:
                self._on_answer(answer)
        else:
            self.failures[answer.address] = answer

    def _contacts_in(self, response: Response, asked: bytes = b"") -> list[Contact]:
        """Return the contacts in a response, without those closer than any node can be.

        That is to the target, and to what was `asked` for in its place.  Of nodes, the very target may be
        one that is looked for.
        """
        contacts, target = response.contacts(self._rpc.socket.address.family), self.lookup.target
        wants_node = isinstance(self._method, FindNode)
        prefixes = target[:IMPOSSIBLY_CLOSE], asked[:IMPOSSIBLY_CLOSE]
        return [
            contact
            for contact in contacts
            if contact.node_id[:IMPOSSIBLY_CLOSE] not in prefixes
            or (wants_node and contact.node_id == target)
        ]

    def _ask_for_contacts(self, address: Address, attempts: int) -> None:
        """Ask a node that has answered without contacts for some: it may know the only way on."""
        if self.lookup.take_contacts_query():
            find_node = FindNode(NodeId(self.lookup.target))
            on_done = partial(self._on_contacts, address, attempts - 1)
            pending = self._rpc.send_query(find_node, address, on_done)
            if pending is None:
                self.lookup.on_contacts(address, ())
            else:
                self._add(address, pending)

    def _on_contacts(self, address: Address, attempts: int, result: Answer | QueryError, _now: float) -> None:
        self._forget(address)
        contacts: list[Contact] = []
        if isinstance(result, Answer):
            self.bytes_received += result.bytes_received
            contacts = self._contacts_in(result.response)
        self.lookup.on_contacts(address, contacts)
        if isinstance(result, QueryTimeout) and attempts and self.lookup.is_short:
            self._ask_for_contacts(address, attempts)
        self._advance()

    def _on_stall(self, address: Address) -> None:
        self.lookup.on_stall(address)
        self._advance()

    def _on_subtree_done(self, query: SubtreeQuery, result: Answer | QueryError, _now: float) -> None:
        if isinstance(result, Answer):
            self._forget(query.subtree)
            self.bytes_received += result.bytes_received
            self.lookup.on_subtree_response(query, self._contacts_in(result.response, query.target))
        else:
            self.lookup.on_subtree_timeout(query)
        self._advance()

    def _on_subtree_stall(self, query: SubtreeQuery) -> None:
        self.lookup.on_subtree_timeout(query)
        self._advance()
