"""What a model node says: the reply to ping, find_node, get_peers and announce_peer, as bytes.

Written by hand instead of through the codec of `dhtnode`: a model must not share the mistakes of what
is measured with it, and 10^6 answers should cost seconds.
"""

from random import Random
from typing import Any

from bencode2 import BencodeDecodeError, bdecode, bencode

from benchmarks.model.population import PORT, WIDTH, Member, Population
from dhtnode import Address

PEER_LIFETIME = 45 * 60.0
MAX_PEERS = 50  # in one answer
_LIE_BITS = 100  # an invented id has all others in common with the target
_PROTOCOL_ERROR = 203


def read(data: bytes) -> dict[bytes, Any]:
    """Return the dictionary that a datagram is, or an empty one."""
    try:
        fields = bdecode(data)
    except BencodeDecodeError:
        return {}
    return fields if isinstance(fields, dict) else {}


def compact_address(address: Address) -> bytes:
    """Return the 6 bytes of an IPv4 address and port."""
    return bytes(map(int, address.host.split("."))) + address.port.to_bytes(2, "big")


class Answers:
    """Answer for all members of a population."""

    def __init__(self, population: Population, *, seed: int = 0) -> None:
        self.population = population
        self._random = Random(f"answers {seed}")

    def answer(self, member: Member, fields: dict[bytes, Any], source: Address, now: float) -> bytes | None:
        """Return the reply of a member to a query, or None when it has nothing to say to that."""
        arguments = fields.get(b"a")
        if not isinstance(arguments, dict) or b"t" not in fields:
            return None
        body: dict[bytes, Any] = {b"id": member.node_id}
        match fields.get(b"q"):
            case b"find_node":
                body[b"nodes"] = self._nodes(member, arguments[b"target"])
            case b"get_peers":
                info_hash = arguments[b"info_hash"]
                body[b"nodes"] = self._nodes(member, info_hash)
                body[b"token"] = _token(member, source)
                peers = _peers(member, info_hash, now)
                if peers:
                    body[b"values"] = peers[:MAX_PEERS]
            case b"announce_peer":
                if arguments.get(b"token") != _token(member, source):
                    return bencode({b"e": [_PROTOCOL_ERROR, b"bad token"], b"t": fields[b"t"], b"y": b"e"})
                _store(member, arguments, source, now)
        return bencode({b"ip": compact_address(source), b"r": body, b"t": fields[b"t"], b"y": b"r"})

    def _nodes(self, member: Member, target: bytes) -> bytes:
        if member.is_liar:
            return b"".join(self._invent(target) for _ in range(WIDTH))
        return b"".join(each.compact for each in self.population.known_to(member, target))

    def _invent(self, target: bytes) -> bytes:
        """Return a contact closer to the target than any node can be, at an unused address."""
        number = int.from_bytes(target, "big") ^ self._random.getrandbits(_LIE_BITS)
        host = self.population.unused_host(self._random)
        return number.to_bytes(20, "big") + compact_address(Address(host, PORT))


def _token(member: Member, source: Address) -> bytes:
    return compact_address(source)[:4] + member.compact[:4]


def _peers(member: Member, info_hash: bytes, now: float) -> list[bytes]:
    return [peer for peer, until in member.peers.get(info_hash, {}).items() if now < until]


def _store(member: Member, arguments: dict[bytes, Any], source: Address, now: float) -> None:
    port = source.port if arguments.get(b"implied_port") else arguments[b"port"]
    swarm = member.peers.setdefault(arguments[b"info_hash"], {})
    swarm[compact_address(Address(source.host, port))] = now + PEER_LIFETIME
