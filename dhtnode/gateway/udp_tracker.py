"""What the gateway answers over UDP (BEP 15): packets in, packets out.

Without a connection id that is good, no answer is longer than its request, so that a forged source draws
no more on its victim than was sent.  Options after an announce (BEP 41), and addresses that a client
claims, are passed over.
"""

from collections.abc import Iterable
from functools import lru_cache
from itertools import repeat
from struct import Struct
from typing import NamedTuple, TypeAlias

from dhtnode.addresses import Address, Family
from dhtnode.gateway.clients import Client
from dhtnode.gateway.core import GatewayCore
from dhtnode.gateway.refusals import Refusal
from dhtnode.gateway.settings import DEFAULT_WANTED, MOST_WANTED
from dhtnode.gateway.swarm import GatewaySwarm
from dhtnode.ids import ID_BYTES, InfoHash
from dhtnode.trackers.messages import AnnounceRequest, Event
from dhtnode.trackers.udp_packets import ANSWER_HEAD, CONNECT_MAGIC, REQUEST, Action

MAX_PAYLOAD = 1200
"""Bytes of an answer, which pass every path whole."""

MAX_ROWS = (MAX_PAYLOAD - 8) // 12
"""Swarms of one scrape that are answered for: 99."""

MAX_REFUSED = 98 + 255
"""Bytes of a request with a wrong connection id that is told so; longer ones are dropped."""

Datagram: TypeAlias = tuple[bytes, Address]
"""A packet and its other end; from a socket comes a plain tuple of host and port."""

_CONNECT, _ANNOUNCE, _SCRAPE, _ERROR = (each.to_bytes(4, "big") for each in Action)
_EVENTS = {event.number: event for event in Event}
_NO_ROW = bytes(12)
_WRONG_CONNECTION = b"unknown connection id"


class _Waiting(NamedTuple):
    """An announce that waits for a lookup."""

    until: float
    swarm: GatewaySwarm
    client: Client
    request: AnnounceRequest
    transaction: bytes
    source: Address


class UdpTracker:
    """The answers to the packets that come to one socket."""

    def __init__(self, core: GatewayCore, family: Family) -> None:
        self._core = core
        self._size = family.address_bytes
        self._most = min(MOST_WANTED, (MAX_PAYLOAD - ANSWER_HEAD.size) // self._size)
        self._waiting: dict[InfoHash, list[_Waiting]] = {}
        self._waiting_count = 0

    def answer(self, datagrams: Iterable[Datagram], now: float) -> list[Datagram]:
        """Return the answers to packets, those that need not wait; some 5 us each."""
        minute, clients = int(now // 60), self._core.clients
        find = clients.get
        replies: list[Datagram] = []
        for data, source in datagrams:
            client = find(source[0])
            if client.minute != minute:
                clients.renew(client, minute)
            if data[8:12] == _ANNOUNCE and len(data) >= REQUEST.size:
                reply = self._on_announce(data, source, client, now)
            else:
                reply = self._on_other(data, client, now)
            if reply is not None:
                replies.append((reply, source))
        return replies

    def ready(self, info_hash: InfoHash, now: float) -> list[Datagram]:
        """Return the answers that have waited for the lookup of a swarm."""
        waiting = self._waiting.pop(info_hash, [])
        self._waiting_count -= len(waiting)
        return [self._late_answer(each, now) for each in waiting]

    def overdue(self, now: float) -> list[Datagram]:
        """Return the answers that are to wait no longer; linear in the swarms that are waited for."""
        replies = []
        for info_hash, waiting in list(self._waiting.items()):
            over = [each for each in waiting if each.until <= now]
            replies += [self._late_answer(each, now) for each in over]
            self._waiting_count -= len(over)
            if len(over) == len(waiting):
                del self._waiting[info_hash]
            elif over:
                self._waiting[info_hash] = waiting[len(over) :]
        return replies

    def _on_announce(self, data: bytes, source: Address, client: Client, now: float) -> bytes | None:
        connection, _, transaction, info_hash, peer_id, left, event, key, wanted, port = REQUEST.unpack_from(
            data
        )
        if connection not in client.connections:
            return self._wrong_connection(data, transaction)
        core = self._core
        try:
            core.take(client, now)
            swarm = core.swarms.by_hash.get(info_hash)
            peer = None if swarm is None else swarm.peers.get(client.packed + port)
            # Most announces bring no news.
            if (
                swarm is not None
                and peer is not None
                and not event
                and (not left) is peer.is_seed
                and not peer.is_partial
                and peer.peer_id == peer_id
                and now < swarm.lookup_due
            ):
                peer.expires_at = now + core.swarms.lifetime
                core.counts["announces"] += 1
                return self._pack(swarm, client, transaction, port, wanted, now)
            request = AnnounceRequest(
                InfoHash(info_hash),
                peer_id,
                int.from_bytes(port, "big"),
                key,
                _EVENTS.get(event, Event.NONE),
                left,
                wanted,
            )
            swarm = core.announce(request, client, now)
        except Refusal as refusal:
            return _error(transaction, refusal)
        if request.event is Event.STOPPED:
            wanted = 0
        if core.is_awaited(swarm, request) and self._waiting_count < core.settings.max_waiting:
            self._waiting_count += 1
            until = now + core.settings.wait
            waiting = _Waiting(until, swarm, client, request, transaction, source)
            self._waiting.setdefault(request.info_hash, []).append(waiting)
            return None
        return self._pack(swarm, client, transaction, port, wanted, now)

    def _late_answer(self, waiting: _Waiting, now: float) -> Datagram:
        request = waiting.request
        port = request.port.to_bytes(2, "big")
        packed = self._pack(waiting.swarm, waiting.client, waiting.transaction, port, request.wanted, now)
        return packed, waiting.source

    def _pack(
        self, swarm: GatewaySwarm, client: Client, transaction: bytes, port: bytes, wanted: int, now: float
    ) -> bytes:
        most = DEFAULT_WANTED if wanted < 0 else min(wanted, self._most)
        core, size = self._core, self._size
        peers = core.choose(swarm, client, size, client.packed + port, min(most, self._most))
        interval = core.interval(swarm, now, has_peers=bool(peers) or not wanted)
        leechers, seeds = swarm.leechers + swarm.found_leechers, swarm.seeds + swarm.found_seeds
        head: bytes = ANSWER_HEAD.pack(_ANNOUNCE, transaction, interval, leechers, seeds)
        return head + peers

    def _on_other(self, data: bytes, client: Client, now: float) -> bytes | None:
        """Answer a connect or a scrape."""
        action, transaction = data[8:12], data[12:16]
        if len(data) < 16:
            self._drop("too short")
            return None
        if action == _CONNECT and data[:8] == CONNECT_MAGIC:
            self._core.counts["udp: connects"] += 1
            if not client.may_ask:
                self._drop("not allowed here")
                return None
            return _CONNECT + transaction + client.connections[0]
        if action != _SCRAPE or len(data) < 16 + ID_BYTES:
            self._drop("no request")
            return None
        if data[:8] not in client.connections:
            return self._wrong_connection(data, transaction)
        core = self._core
        try:
            core.check(client)
            core.take(client, now)
        except Refusal as refusal:
            return _error(transaction, refusal)
        core.counts["scrapes"] += 1
        count = min((len(data) - 16) // ID_BYTES, MAX_ROWS)
        rows = map(core.swarms.rows.get, _id_reader(count).unpack_from(data, 16), repeat(_NO_ROW))
        return _SCRAPE + transaction + b"".join(rows)

    def _wrong_connection(self, data: bytes, transaction: bytes) -> bytes | None:
        answer = _ERROR + transaction + _WRONG_CONNECTION
        if len(answer) <= len(data) <= MAX_REFUSED:
            self._core.counts["udp: unknown connection id"] += 1
            return answer
        self._drop("unknown connection id, no answer")
        return None

    def _drop(self, cause: str) -> None:
        self._core.counts[f"udp: dropped, {cause}"] += 1


@lru_cache(MAX_ROWS)
def _id_reader(count: int) -> Struct:
    """Return what reads so many info-hashes, in half the time of cutting them out one by one."""
    return Struct(f"{ID_BYTES}s" * count)


def _error(transaction: bytes, refusal: Refusal) -> bytes:
    return _ERROR + transaction + str(refusal).encode()
