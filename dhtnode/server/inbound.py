"""The datagrams that reach one socket, from their bytes to those of the replies: pure.

`answer` is the loop that a flood of common queries goes through: admit, decode, reply, with few calls
for each.  What is not common comes out of it again: answers to our queries, which `net.rpc` knows,
and all other queries, which become a message for the responder in `on_query`.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

from dhtnode.addresses import Address, Contact, Family
from dhtnode.bencode import Value, read_canonical_untrusted
from dhtnode.ids import NodeId
from dhtnode.krpc.codec import MIN_MESSAGE_BYTES, encode, read_fields
from dhtnode.krpc.messages import Error, Get, Query, Response
from dhtnode.krpc.methods import Fields
from dhtnode.server.admission import Admission
from dhtnode.server.fast_path import FastPath
from dhtnode.server.sources import Source, Sources

Respond: TypeAlias = Callable[[Query, Address, float, int], Response | Error | None]
"""A function that answers a query from a source, at a time, in so many bytes."""

Arrival: TypeAlias = tuple[bytes, tuple[str, int]]
"""A datagram and its source, host and port."""

Reply: TypeAlias = tuple[bytes, Address]
"""A datagram and its destination."""

TakeAnswer: TypeAlias = Callable[[bytes, Source, float], bool]
"""A function that handles a common answer to a query of ours, at a time; it returns False for all else."""

Uncommon: TypeAlias = tuple[bytes, Value | None, Source, str | None, int]
"""A datagram, its value if it is canonical, its source, and what `Admission.admit` decided."""

COMMON_BYTES = 512  # all queries but those that put an item are shorter
SEEN_AGAIN_AFTER = 10.0  # seconds between two looks at one source as a possible contact

_QUERY_END = b"qe"
_ANNOUNCE_BYTES = 120  # the shortest announce has more, and other common queries have fewer


class Inbound:
    """The queries that reach one socket.

    `seen` are the senders of queries, each now and then, as possible contacts: to be taken out by the
    caller.  Read-only nodes are never among them (BEP 43).
    """

    def __init__(
        self,
        family: Family,
        sources: Sources,
        respond: Respond,
        admission: Admission,
        *,
        fast_path: FastPath | None = None,
        version: bytes | None = None,
    ) -> None:
        self.seen: list[Contact] = []
        self._received = 0
        self._not_allowed = 0
        self._too_long = 0
        self._family = family
        self._sources = sources
        self._respond = respond
        self._admission = admission
        self._fast_path = fast_path
        self._version = version

    @property
    def counts(self) -> Counter[str]:
        """Return what has been counted, by name."""
        return Counter(
            {
                "queries received": self._received,
                "dropped: source not allowed": self._not_allowed,
                "dropped: reply too long": self._too_long,
            }
        )

    def renew_id(self, node_id: NodeId) -> None:
        """Answer under another id from now on; the table is renewed by the caller."""
        if self._fast_path is not None:
            self._fast_path.renew_id(node_id)

    def answer(
        self,
        arrived: Iterator[Arrival],
        now: float,
        replies: list[Reply],
        take_answer: TakeAnswer,
        *,
        is_behind: bool = False,
    ) -> Iterator[Uncommon]:
        """Append the replies to common queries; yield what else has come, in the order of arrival.

        `take_answer` is shown what may answer a query of ours; what it takes is done with.  `is_behind`
        means that more comes than can be handled.
        """
        find, get, admit = self._sources.find, self._sources.get, self._admission.admit
        answer_common = self.answer_common
        fast_reply = _no_reply if self._fast_path is None else self._fast_path.reply
        for data, pair in arrived:
            source, size = find(pair) or get(pair), len(data)
            if data[-2:] == _QUERY_END and not is_behind:
                reply = answer_common(data, source, now)
                if reply is not None:
                    replies.append((reply, source.address))
                    continue
            elif source.awaited and take_answer(data, source, now):
                continue
            if not source.is_allowed:
                self._not_allowed += 1
                continue
            refusal, budget = admit(source, size, now, is_behind)
            fields: Any = None
            is_expected = size >= MIN_MESSAGE_BYTES and (size <= COMMON_BYTES or source.awaited)
            # A refusal of the strict decoder takes long, the deeper the longer: no source gets two in a row.
            if is_expected and not refusal and not source.is_tolerated:
                fields = read_canonical_untrusted(data)
            reply = fast_reply(fields, source, now, budget)
            if reply is None:
                yield data, fields, source, refusal, budget
                continue
            self._received += 1
            self._admission.spend(len(reply), now)
            replies.append((reply, source.address))
            if now - source.seen_at >= SEEN_AGAIN_AFTER:
                # Not a read-only node: the fast path leaves these to the slow one.
                self._see(source, fields[b"a"][b"id"], now)

    def answer_common(self, data: bytes, source: Source, now: float) -> bytes | None:
        """Return the reply to a common query of a source that has queried lately and is within its limits.

        None for all else, and then nothing has been charged: `answer` serves it.
        """
        admission, host, network, fast_path = self._admission, source.host, source.network, self._fast_path
        replied = admission.replies_until
        if (
            fast_path is None
            or now - source.seen_at >= SEEN_AGAIN_AFTER
            or host.used_until > now + admission.host_slack
            or network.used_until > now + admission.network_slack
            or replied > now + admission.newcomers_slack
        ):
            return None
        budget = admission.max_payload
        if now >= source.proven_until and len(data) * admission.max_amplification < budget:
            budget = int(len(data) * admission.max_amplification)
        reply = fast_path.reply_unread(data, source, now, budget)
        if reply is None and not source.is_tolerated and _ANNOUNCE_BYTES < len(data) <= COMMON_BYTES:
            fields = read_canonical_untrusted(data)
            source.is_tolerated = fields is None
            reply = fast_path.reply(fields, source, now, budget)
        if reply is None:
            return None
        # As `Admission.admit` does it.  The calls, of `max` too, would take longer than what they do.
        until = host.used_until if host.used_until > now else now  # noqa: FURB136
        host.used_until = until + admission.host_interval
        until = network.used_until if network.used_until > now else now  # noqa: FURB136
        network.used_until = until + admission.network_interval
        source.datagrams += 1
        until = replied if replied > now else now  # noqa: FURB136
        admission.replies_until = until + len(reply) * admission.seconds_per_byte
        self._received += 1
        return reply

    def on_query(self, fields: Fields, source: Source, size: int, budget: int, now: float) -> bytes | None:
        """Return the reply to any query of `size` bytes, or None for none.

        Raises `MalformedMessage`, for which see `on_malformed`.
        """
        query = read_fields(fields, self._family)
        assert isinstance(query, Query)  # noqa: S101  for mypy
        if isinstance(query.method, Get):
            budget = self._admission.item_budget(source, size, now)
        self._received += 1
        reply = self._respond(query, source.address, now, budget)
        if not query.read_only and now - source.seen_at >= SEEN_AGAIN_AFTER:
            self._see(source, query.node_id, now)
        return None if reply is None else self._within(budget, encode(reply), now)

    def on_malformed(self, error: Error, source: Source, budget: int, now: float) -> bytes | None:
        """Return the reply to a query that breaks the rules, or None when there is no budget for it."""
        reply = replace(error, external_address=source.address, version=self._version)
        return self._within(budget, encode(reply), now)

    def _see(self, source: Source, node_id: NodeId, now: float) -> None:
        source.seen_at = now
        self.seen.append(Contact(node_id, source.address))

    def _within(self, budget: int, reply: bytes, now: float) -> bytes | None:
        """Charge a reply to the budget of all, or drop it when it is longer than its own."""
        if len(reply) > budget:
            self._too_long += 1
            return None
        self._admission.spend(len(reply), now)
        return reply


def _no_reply(_fields: Value | None, _source: Source, _now: float, _budget: int) -> None:
    """Leave a query to the slow path."""
