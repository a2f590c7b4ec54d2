"""Peers as they are found: an async iterator that starts with the first answer.

The lookups that feed it run in the nursery of the node; the iterator itself only waits.  Peers that
are not read yet are bounded by the size of the lookup: 200 replies of at most 2000 peers.
"""

from collections import deque
from collections.abc import Callable

import trio

from dhtnode.addresses import Address, Scope
from dhtnode.errors import NotJoined
from dhtnode.net.transactions import Answer


class PeerStream:
    """The addresses of peers, each once; raises `NotJoined` at the end when no node answered."""

    def __init__(self, lookups: int, not_joined: Callable[[], NotJoined]) -> None:
        """Expect `on_answer` from that many lookups, and `on_end` once from each.

        `not_joined` makes the error for the case that no node answers.
        """
        self.nodes_answered = 0
        self._lookups = lookups
        self._not_joined = not_joined
        self._seen: set[Address] = set()
        self._unread: deque[Address] = deque()
        self._changed = trio.Event()
        self._failure: Exception | None = None

    def on_answer(self, scope: Scope, answer: Answer) -> None:
        """Add the peers of one answer, without addresses that have no place in this scope."""
        self.nodes_answered += 1
        scope = scope.told_by(answer.address)
        for peer in answer.response.peers():
            if peer not in self._seen and scope.allows_peer(peer):
                self._seen.add(peer)
                self._unread.append(peer)
        self._changed.set()

    def on_failure(self, error: Exception) -> None:
        """Record why a lookup has failed, to be raised after the peers found."""
        self._failure = error

    def on_end(self) -> None:
        """Record that one lookup has ended."""
        self._lookups -= 1
        self._changed.set()

    def __aiter__(self) -> "PeerStream":
        return self

    async def __anext__(self) -> Address:
        while not self._unread:
            if self._lookups <= 0:
                await trio.lowlevel.checkpoint()
                if self._failure is not None:
                    raise self._failure
                if not self.nodes_answered:
                    raise self._not_joined()
                raise StopAsyncIteration
            self._changed = trio.Event()
            await self._changed.wait()
        await trio.lowlevel.checkpoint()
        return self._unread.popleft()
