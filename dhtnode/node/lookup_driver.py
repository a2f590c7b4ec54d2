"""Drive a lookup over a socket: its `take_next` says whom to ask, callbacks feed it the answers.

A traversal needs no task of its own.  It goes forward in the callbacks of `rpc`, and the task that
wants the result waits for one event; leaving that wait forgets the queries under way.
"""

from collections.abc import Callable, Iterable
from functools import partial

import trio

from dhtnode.addresses import Address
from dhtnode.errors import QueryError, QueryTimeout
from dhtnode.krpc.messages import FindNode, Method
from dhtnode.lookup.lookup import Lookup
from dhtnode.lookup.subtrees import SubtreeQuery
from dhtnode.net.rpc import Rpc
from dhtnode.net.transactions import Answer, Pending


class LookupDriver:
    """Ask the nodes that a lookup names, until it is finished."""

    def __init__(
        self, rpc: Rpc, lookup: Lookup, method: Method, on_answer: Callable[[Answer], None] | None = None
    ) -> None:
        """Prepare; `on_answer` is called for every answer that counts, as it comes."""
        self.lookup = lookup
        self.answers: dict[Address, Answer] = {}
        self.failures: dict[Address, Answer | QueryError] = {}
        self.bytes_sent = 0
        self.bytes_received = 0
        self._rpc = rpc
        self._method = method
        self._on_answer = on_answer
        # By address, or by part: whichever of its queries is answered first ends all of them.
        self._under_way: dict[Address | int, list[Pending]] = {}
        self._is_expecting = False
        self._finished = trio.Event()

    @property
    def is_finished(self) -> bool:
        """Tell whether the lookup has come to its end or was cancelled."""
        return self._finished.is_set()

    def start(self) -> None:
        """Send the first queries."""
        self._advance()

    def add_ways_in(self, addresses: Iterable[Address]) -> None:
        """Add addresses to ask, and go on if the lookup had come to its end for want of them."""
        self.lookup.add_addresses(addresses)
        if not self.lookup.finished:
            self._reopen()
        self._advance()

    def expect_ways_in(self) -> None:
        """Do not end without an answer before `expect_no_more`."""
        self._is_expecting = True
        if not self.answers:
            self._reopen()

    def expect_no_more(self) -> None:
        """End when those named by now have been asked."""
        self._is_expecting = False
        self._advance()

    async def ended(self) -> None:
        """Wait for the end; the walk goes on when this is cancelled."""
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
        if self._finished.is_set():  # else somebody may be waiting for it
            self._finished = trio.Event()

    def _advance(self) -> None:
        while (address := self.lookup.take_next()) is not None:
            self._ask(address)
        while (question := self.lookup.take_question()) is not None:
            self._ask_about(question)
        if self.lookup.finished and (self.answers or not self._is_expecting):
            self.cancel()

    def _ask(self, address: Address) -> None:
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
            self._keep(address, pending)

    def _ask_about(self, question: SubtreeQuery) -> None:
        pending = self._rpc.send_query(
            FindNode(question.target),
            question.address,
            partial(self._on_part_done, question),
            on_stall=partial(self._on_part_stall, question),
        )
        if pending is None:
            self.lookup.on_part_silence(question)
        else:
            self._keep(question.part, pending)

    def _keep(self, key: Address | int, pending: Pending) -> None:
        self._under_way.setdefault(key, []).append(pending)
        self.bytes_sent += pending.size

    def _forget(self, key: Address | int) -> None:
        """Forget the queries to one node, or about one part; for those that have ended, this does nothing."""
        for pending in self._under_way.pop(key, ()):
            self._rpc.forget(pending)

    def _on_done(self, address: Address, result: Answer | QueryError, _now: float) -> None:
        try:
            if isinstance(result, QueryTimeout):
                del self._under_way[address][0]  # queries time out in the order of their sending
                self.failures[address] = result
                self.lookup.on_timeout(address)
                return
            self._forget(address)
            if isinstance(result, Answer):
                self._take_answer(result)
            else:
                self.failures[address] = result
                self.lookup.on_failure(address)
        finally:
            self._advance()  # whatever `on_answer` raises, the walk must come to its end

    def _take_answer(self, answer: Answer) -> None:
        response = answer.response
        self.bytes_received += answer.bytes_received
        contacts = response.contacts(self._rpc.socket.address.family)
        if self.lookup.on_response(answer.address, response.node_id, contacts):
            self.answers[answer.address] = answer
            if self._on_answer is not None:
                self._on_answer(answer)
        else:
            self.failures[answer.address] = answer

    def _on_stall(self, address: Address) -> None:
        self.lookup.on_stall(address)
        self._advance()

    def _on_part_done(self, question: SubtreeQuery, result: Answer | QueryError, _now: float) -> None:
        if isinstance(result, Answer):
            self._forget(question.part)
            self.bytes_received += result.bytes_received
            self.lookup.on_part(question, result.response.contacts(self._rpc.socket.address.family))
        else:
            self.lookup.on_part_silence(question)
        self._advance()

    def _on_part_stall(self, question: SubtreeQuery) -> None:
        self.lookup.on_part_silence(question)
        self._advance()
