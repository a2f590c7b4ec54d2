"""Queries of others, from decoded fields to the bytes of a reply: pure.

Admission has decided before that a query is read at all, and how many bytes may answer it.  Common
queries take the fast path; all others become a message and go to the responder.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from dhtnode.addresses import Address, Family
from dhtnode.ids import NodeId
from dhtnode.krpc.codec import encode, read_fields
from dhtnode.krpc.messages import Error, Get, Query, Response
from dhtnode.krpc.methods import Fields
from dhtnode.server.admission import Admission
from dhtnode.server.fast_path import FastPath, sender_of
from dhtnode.server.sources import Source

Respond: TypeAlias = Callable[[Query, Address, float, int], Response | Error | None]
"""A function that answers a query from a source, at a time, in so many bytes."""

SEEN_AGAIN_AFTER = 10.0  # seconds between two looks at one source as a possible contact


class Inbound:
    """The queries that reach one socket."""

    def __init__(
        self,
        family: Family,
        respond: Respond,
        admission: Admission,
        *,
        fast_path: FastPath | None = None,
        version: bytes | None = None,
    ) -> None:
        self._received = 0
        self._too_long = 0
        self._family = family
        self._respond = respond
        self._admission = admission
        self._fast_path = fast_path
        self._version = version

    def counts(self) -> Counter[str]:
        """Return what has been counted, by name."""
        return Counter({"queries received": self._received, "dropped: reply too long": self._too_long})

    def renew_id(self, node_id: NodeId) -> None:
        """Answer under another id from now on; the table is renewed by the caller."""
        if self._fast_path is not None:
            self._fast_path.renew_id(node_id)

    def on_query(
        self, fields: Fields, source: Source, size: int, budget: int, now: float
    ) -> tuple[bytes | None, NodeId | None]:
        """Return the reply to a query of `size` bytes, and the id of its sender; None for none.

        The sender is returned now and then, as a possible contact; never if it is read-only (BEP 43).
        Raises `MalformedMessage`, for which see `on_malformed`.
        """
        reply = None if self._fast_path is None else self._fast_path.reply(fields, source, now, budget)
        if reply is None:
            return self._on_slow_path(fields, source, size, budget, now)
        self._received += 1
        self._admission.spend(len(reply))
        if now - source.seen_at < SEEN_AGAIN_AFTER:
            return reply, None
        source.seen_at = now
        # Not that of a read-only node: the fast path leaves these to the slow one.
        return reply, sender_of(fields)

    def on_malformed(self, error: Error, source: Source, budget: int) -> bytes | None:
        """Return the reply to a query that breaks the rules, or None when there is no budget for it."""
        reply = replace(error, external_address=source.address, version=self._version)
        return self._within(budget, encode(reply))

    def _on_slow_path(
        self, fields: Fields, source: Source, size: int, budget: int, now: float
    ) -> tuple[bytes | None, NodeId | None]:
        query = read_fields(fields, self._family)
        assert isinstance(query, Query)  # noqa: S101  for mypy
        if isinstance(query.method, Get):
            budget = self._admission.item_budget(source, size, now)
        self._received += 1
        reply = self._respond(query, source.address, now, budget)
        data = None if reply is None else self._within(budget, encode(reply))
        if query.read_only or now - source.seen_at < SEEN_AGAIN_AFTER:
            return data, None
        source.seen_at = now
        return data, query.node_id

    def _within(self, budget: int, reply: bytes) -> bytes | None:
        """Charge a reply to the budget of all, or drop it when it is longer than its own."""
        if len(reply) > budget:
            self._too_long += 1
            return None
        self._admission.spend(len(reply))
        return reply
