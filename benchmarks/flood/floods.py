"""What a node is flooded with: the packets, their sources, and how many per second.

Sources count per endpoint on loopback (design note 2), so that each address here stands for a network
of its own.  No flooder answers what it is asked.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bencode2 import bencode

from benchmarks.rpc.fake_network import SERVER_ID
from benchmarks.tools.batched_udp import BATCH, BatchSocket, PacketRing
from benchmarks.tools.load import Target

GARBAGE_RATE = 100_000  # packets per second
QUERIES_RATE = 2_500  # 50 times the limit of an address
SPOOFED_RATE = 20_000
ANNOUNCES_RATE = 20_000  # 20 from each address, which its limit allows

RING = 1024  # packets of a flood from one address, sent over and over
SPOOFED_SOURCES = 100_000
ANNOUNCERS = 1_000
INFO_HASHES = 20  # that each announcer announces to, all of them different
TOKENS_RATE = 4_000  # get_peers per second beforehand: their replies fit into the budget of the node

MOST_BEHIND = 0.02  # seconds of a flood that are sent at once, at most
_NEAR = SERVER_ID[:-4]  # nodes with such an id deserve a place in the table, and are pinged


@dataclass(frozen=True, slots=True)
class Flood:
    """The packets of a flood, in sending order, and the rate."""

    rate: float
    ring: PacketRing


class Sender:
    """Send the packets of a flood at its rate, again from the first after the last."""

    def __init__(self, flood: Flood, socket: BatchSocket, now: float) -> None:
        self.sent = 0
        self._flood = flood
        self._socket = socket
        self._started = now

    def send(self, now: float) -> None:
        """Send what is due."""
        ring, rate = self._flood.ring, self._flood.rate
        # What a pause of this process has left undone is not made up for: that would be a burst at
        # many times the rate.
        self._started = max(self._started, now - MOST_BEHIND - self.sent / rate)
        due = int((now - self._started) * rate)
        while self.sent < due:
            first = self.sent % len(ring)
            sent = self._socket.send(ring, first, min(BATCH, len(ring) - first, due - self.sent))
            if not sent:
                return
            self.sent += sent


def garbage(_server: Target, address: tuple[str, int], _seconds: float) -> Flood:
    """Return packets that are no queries, from one address, after one query that has it pinged."""
    packets = [_query(b"ping", _NEAR + b"evil", b"ping")]
    packets += [GARBAGE[number % len(GARBAGE)]() for number in range(1, RING)]
    return Flood(GARBAGE_RATE, PacketRing(packets, ["127.4.0.1"], address))


def queries(_server: Target, address: tuple[str, int], _seconds: float) -> Flood:
    """Return valid queries from one address."""
    packets = [query_in_turn(number)[0] for number in range(RING)]
    return Flood(QUERIES_RATE, PacketRing(packets, ["127.4.0.2"], address))


def spoofed(_server: Target, address: tuple[str, int], seconds: float) -> Flood:
    """Return valid queries, each from an address of its own; no more than will be sent."""
    count = min(SPOOFED_SOURCES, round(SPOOFED_RATE * seconds))
    packets = [query_in_turn(number)[0] for number in range(count)]
    return Flood(SPOOFED_RATE, PacketRing(packets, list(_hosts(16, count)), address))


def announces(server: Target, address: tuple[str, int], seconds: float) -> Flood:
    """Ask for tokens as every announcer must, and return announces with them."""
    count = min(ANNOUNCERS * INFO_HASHES, round(ANNOUNCES_RATE * seconds))
    hosts = list(_hosts(8, ANNOUNCERS))
    packets: list[bytes] = []
    started = time.monotonic()
    for first in range(0, count, BATCH):
        block = range(first, min(first + BATCH, count))
        sources = [hosts[number % ANNOUNCERS] for number in block]
        wanted = [random.randbytes(20) for _ in block]
        asked = [_get_peers(number, info_hash) for number, info_hash in zip(block, wanted, strict=True)]
        answers = server.exchange(asked, sources)
        packets += [
            _announce(number, info_hash, answer.get(b"token", b"none"))
            for number, info_hash, answer in zip(block, wanted, answers, strict=True)
        ]
        time.sleep(max(0.0, started + len(packets) / TOKENS_RATE - time.monotonic()))
    return Flood(ANNOUNCES_RATE, PacketRing(packets, hosts, address))


FLOODS: dict[str, Callable[[Target, tuple[str, int], float], Flood]] = {
    "garbage": garbage,
    "queries": queries,
    "spoofed": spoofed,
    "announces": announces,
}


def _random_bytes() -> bytes:
    return random.randbytes(random.randrange(1, 200))


def _random_after_d() -> bytes:
    return b"d" + random.randbytes(random.randrange(20, 200))


def _not_canonical() -> bytes:
    """Return a query that only the tolerant decoder reads, which takes 100 us: keys out of order."""
    return b"d1:y1:q1:t4:%b1:q4:ping1:ad2:id20:%bee" % (random.randbytes(4), random.randbytes(20))


def _many_items() -> bytes:
    """Return what keeps the tolerant decoder busiest: as many items as it takes, in one packet."""
    return b"d1:al" + b"0:" * 700 + b"e1:q4:ping"


def _cut_short() -> bytes:
    query = query_in_turn(random.randrange(3))[0]
    return query[: random.randrange(15, len(query))]


def _unknown_response() -> bytes:
    return bencode({b"r": {b"id": random.randbytes(20)}, b"t": random.randbytes(4), b"y": b"r"})


GARBAGE = (_random_bytes, _random_after_d, _not_canonical, _many_items, _cut_short, _unknown_response)


def query_in_turn(number: int) -> tuple[bytes, bytes]:
    """Return a ping, find_node or get_peers in turn, of a node with a random id, and its transaction id."""
    node_id, target, key = random.randbytes(20), random.randbytes(20), random.randbytes(4)
    match number % 3:
        case 0:
            return _query(b"ping", node_id, key), key
        case 1:
            return _query(b"find_node", node_id, key, target=target), key
        case _:
            return _query(b"get_peers", node_id, key, info_hash=target), key


def _query(method: bytes, node_id: bytes, key: bytes, **arguments: bytes | int) -> bytes:
    body = {name.encode(): value for name, value in arguments.items()}
    return bencode({b"a": {b"id": node_id} | body, b"q": method, b"t": key, b"y": b"q"})


def _get_peers(number: int, info_hash: bytes) -> dict[bytes, Any]:
    return {b"a": {b"id": _announcer(number), b"info_hash": info_hash}, b"q": b"get_peers", b"y": b"q"}


def _announce(number: int, info_hash: bytes, token: bytes) -> bytes:
    key = random.randbytes(4)
    return _query(b"announce_peer", _announcer(number), key, info_hash=info_hash, port=6881, token=token)


def _announcer(number: int) -> bytes:
    return b"announcer%011d" % (number % ANNOUNCERS)


def _hosts(second: int, count: int) -> Iterator[str]:
    """Yield addresses from 127.SECOND.0.1 on, as many as asked for."""
    for number in range(1, count + 1):
        yield f"127.{second + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
