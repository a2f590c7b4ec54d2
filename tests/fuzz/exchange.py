"""Datagrams to and from one endpoint, and what a stranger can know: ids and tokens sent to it.

This is the accountant of the node target: it remembers what was sent to which address, so that answers can
match, and holds each reply to the size that its query has paid for.
"""

from collections import defaultdict
from collections.abc import Hashable
from hashlib import sha1

from dhtnode.addresses import Address, pack_host
from dhtnode.krpc.codec import parse_untrusted
from dhtnode.node.socket_node import SocketNode
from dhtnode.server.tokens import TokenIssuer
from tests.fuzz.findings import require
from tests.fuzz.seeds import ANSWERER_ID, ASKER_ID, SWARM
from tests.fuzz.steps import TOKEN_MARK, TRANSACTION_MARK
from tests.fuzz.world import OWN, QUERY_END, Wire

MAX_ASKED = 64  # queries of ours that are remembered, for their answers
STOCK_IDS: tuple[bytes, ...] = (ASKER_ID, ANSWERER_ID)  # of the vectors; here each sender has its own
LATEST = 12  # those of them that answers come for: what was asked long ago has timed out
MAX_SENDS = 64  # datagrams that one may set off: a lookup may go forward, a reply, a ping


class Exchange:
    """Deliver datagrams to one endpoint and look at what it sends in return."""

    def __init__(self, endpoint: SocketNode, wire: Wire, tokens: TokenIssuer) -> None:
        self.endpoint = endpoint
        self.wire = wire
        self._tokens = tokens
        self._asked: list[tuple[Address, bytes]] = []
        self._secrets: defaultdict[Address, list[bytes]] = defaultdict(list)
        self._proven: dict[Address, float] = {}

    def asked(self, number: int) -> Address | None:
        """Return one of those asked last, or None."""
        self._note_sent()
        return self._asked[-1 - number % min(len(self._asked), LATEST)][0] if self._asked else None

    def deliver(self, source: Address, packet: bytes, now: float) -> tuple[Hashable, ...]:
        """Hand over one datagram, with ids and tokens filled in; return what came of it, coarsely."""
        self._note_sent()
        packet = self._filled_in(packet, source, now)
        if any(secret in packet for secret in self._secrets.get(source, ())):
            self._proven[source] = now
        self.wire.hear(source)
        self.endpoint.receiver.handle_untrusted([(packet, source)], now)
        sent = self.wire.sent
        require(len(sent) <= MAX_SENDS, "one datagram sets off few others")
        replies = [entry for entry in sent if not entry[0].endswith(QUERY_END)]
        if replies:
            self._check_reply(replies, source, packet, now)
        size = len(replies[0][0]) // 32 if replies else 0
        answered = replies[0][0][:6] if replies else b""
        return size, answered, len(sent), self.endpoint.rpc.traffic.answers > 0

    def _check_reply(
        self, replies: list[tuple[bytes, Address]], source: Address, packet: bytes, now: float
    ) -> None:
        ((data, destination),) = replies
        require(destination == source, "a reply goes to who asked")
        require(parse_untrusted(packet).get(b"y") == b"q", "nothing but a query is replied to")
        proven_at = self._proven.get(source)
        settings = self.endpoint.settings
        if proven_at is None or now - proven_at > settings.good_for:
            require(len(data) <= settings.max_amplification * len(packet), "a reply costs what it brings")

    def _filled_in(self, packet: bytes, source: Address, now: float) -> bytes:
        if TRANSACTION_MARK in packet:
            ids = [transaction_id for address, transaction_id in self._asked if address == source]
            if ids:
                packet = packet.replace(TRANSACTION_MARK, ids[-1])
        for node_id in STOCK_IDS:
            if node_id in packet:
                packet = packet.replace(node_id, _id_of(source))
        if TOKEN_MARK in packet:
            token = self._tokens.issue(pack_host(source.host), SWARM, now)
            self._secrets[source].append(token)  # as if it had asked for one before
            packet = packet.replace(TOKEN_MARK, token)
        return packet

    def _note_sent(self) -> None:
        """Remember what was sent since the last look, and clear the wire."""
        for data, destination in self.wire.sent:
            if data.endswith(QUERY_END):
                at = data.rindex(b"1:t4:") + 5
                self._asked.append((destination, data[at : at + 4]))
                self._secrets[destination].append(data[at : at + 4])
            elif (at := data.find(b"5:token8:")) >= 0:
                self._secrets[destination].append(data[at + 9 : at + 17])
        if self.wire.sent:
            self.wire.sent.clear()
            del self._asked[:-MAX_ASKED]


def _id_of(source: Address) -> bytes:
    """Return the id of a node, the same each time; some are near to ours, where buckets split."""
    digest = sha1(source.host.encode(), usedforsecurity=False).digest()
    near = digest[0] & 7
    return OWN[: near >> 1] + digest[near >> 1 :] if near > 4 else digest
