"""Fuzz target: a whole node among strangers that speak well and mean ill.

An input is a sequence of moves, eight bytes each.  Every packet is valid KRPC, and means what hurts: tokens
of others, old or cut; lists that name victims, ourselves or ever new nodes near a target; answers that lie,
for others, or twice; announces and items without end.
"""

from collections.abc import Hashable
from typing import Any

import bencode2

from dhtnode.addresses import Address, Family
from dhtnode.ids import ID_BYTES
from dhtnode.krpc.codec import parse_untrusted
from dhtnode.krpc.compact import pack_address
from tests.fuzz.findings import require
from tests.fuzz.seeds import SWARM
from tests.fuzz.steps import TRANSACTION_MARK, Step
from tests.fuzz.targets.node import SETTINGS, NodeTarget
from tests.fuzz.world import OWN, family_of, known_address, new_address

MOVE_BYTES = 8
MAX_MOVES = 24
MAX_TOKENS = 64  # remembered by the strangers, who exchange them
HONEST_EVERY = 32  # inputs between two queries of an honest node, which must be answered
VICTIMS = 4
AMOUNTS = (0, 1, 1, 2, 8, 8, 8, 40)
QUERIES = b"ping find_node get_peers announce_peer get put sample_infohashes vote".split()
Fields = dict[bytes, Any]


class MeaningTarget(NodeTarget):
    """One node of two families through whatever strangers make of the protocol."""

    name = "meaning"

    def __init__(self) -> None:
        super().__init__()
        # Tokens and what they are for, the newest last; and when each was issued, to which host.
        self._tokens: list[tuple[bytes, bytes]] = []
        self._issued: dict[tuple[bytes, str, bytes], float] = {}
        self._honest = 0

    def run(self, data: bytes) -> Hashable:
        """Play the moves of one input, and look whether all promises still hold."""
        outcome: Hashable = None
        moves = range(0, min(len(data), MOVE_BYTES * MAX_MOVES) - MOVE_BYTES + 1, MOVE_BYTES)
        for at in moves:
            outcome = self._play(data[at : at + MOVE_BYTES])
        self._faults.check()
        self._check_bounds()
        self._inputs += 1
        if self._inputs % HONEST_EVERY == 0:
            self._ask_honestly()
            self._check_all()
        return outcome

    def _play(self, move: bytes) -> Hashable:
        action, source, clock, kind = move[:4]
        family = family_of(action)
        if kind < 160:
            packet, name = self._query(family, move)
        else:
            packet, name = self._answer(family, move), b""
        wire = self._world.wires[family]
        outcome = self._take(Step(action, source, clock, packet))
        for reply, destination in list(wire.sent):
            if name:
                self._note_reply(reply, destination, name, packet)
        return kind >> 4, outcome

    def _query(self, family: Family, move: bytes) -> tuple[bytes, bytes]:
        _action, source, _clock, kind, subject, token, amount, other = move
        name = QUERIES[kind & 7]
        info_hash = self._info_hash(subject)
        arguments: Fields = {b"id": self._node_id(source, other)}
        if name in (b"find_node", b"get", b"sample_infohashes", b"vote"):
            arguments[b"target"] = info_hash
        if name in (b"get_peers", b"announce_peer"):
            arguments[b"info_hash"] = info_hash
        if name == b"get_peers" and amount & 1:
            arguments |= {b"scrape": 1, b"noseed": amount >> 1 & 1, b"want": [b"n4", b"n6"]}
        if name == b"announce_peer":
            arguments |= {b"port": other << 8 | amount, b"implied_port": amount & 1, b"seed": amount >> 1 & 1}
            arguments[b"token"] = self._token(family, info_hash, token)
        if name == b"put":
            value = b"v" * (amount * 4)
            arguments |= {b"token": self._token(family, info_hash, token), b"v": value}
            if amount & 1:
                arguments |= {b"k": bytes(32), b"sig": bytes(64), b"seq": other, b"salt": bytes(amount & 64)}
        message: Fields = {b"a": arguments, b"q": name, b"t": bytes([other, token]), b"y": b"q"}
        return bencode2.bencode(message | ({b"ro": 1} if token == 1 else {})), name

    def _answer(self, family: Family, move: bytes) -> bytes:
        """Answer what the node asked, or what it did not, with what leads it astray."""
        _action, source, _clock, kind, subject, token, amount, other = move
        if kind > 250:
            error = [201 + (token & 3), b"A Generic Error\r\n\x1b[2J" * (amount & 15)]
            return bencode2.bencode({b"e": error, b"t": TRANSACTION_MARK, b"y": b"e"})
        results: Fields = {b"id": self._node_id(source, other)}
        key = b"nodes" if family is Family.IPV4 else b"nodes6"
        results[key] = b"".join(self._contacts(family, subject, token, AMOUNTS[amount & 7]))
        if kind & 1:
            victim = pack_address(self._named(family, token, 0))[:-2]
            victims = [victim + (number + 1).to_bytes(2, "big") for number in range(amount)]
            results |= {b"values": victims, b"token": bytes([token]) * (other & 31)}
        if kind & 2:
            results |= {
                b"samples": self._info_hash(subject) * (amount & 31),
                b"num": other << 20,
                b"interval": 0,
            }
        if kind & 4:
            results |= {b"v": b"v" * amount, b"k": bytes(32), b"sig": bytes(64), b"seq": other}
        mark = TRANSACTION_MARK if kind & 8 else bytes([token, other, amount, kind])
        external = pack_address(self._named(family, other, 0))
        return bencode2.bencode({b"ip": external, b"r": results, b"t": mark, b"y": b"r"})

    def _contacts(self, family: Family, subject: int, token: int, amount: int) -> list[bytes]:
        """Return contacts whose ids come ever closer to a target, or repeat, at victims or new addresses."""
        target = self._info_hash(subject)
        victim = pack_address(self._named(family, token, 0))[:-2]
        contacts = []
        for number in range(amount):
            near = target[: 2 + (subject + number) % 18]
            tail = bytes([token, number]) * ID_BYTES if subject & 1 else bytes(ID_BYTES)
            place = victim + bytes([token, number])
            # Victims differ in their ports, others in their hosts.
            if token >= 96:
                place = pack_address(self._named(family, token, number))
            contacts.append((near + tail)[:ID_BYTES] + place)
        return contacts

    def _named(self, family: Family, token: int, number: int) -> Address:
        """Return what a list names: a victim at ever new ports, a known node, ourselves, or a new one."""
        if token < 96:
            victim = known_address(family, 100 + token % VICTIMS)
            return Address(victim.host, 1 + (token * 64 + number) % 65_535)
        if token < 128:
            return known_address(family, number % 24)
        if token < 136:
            return self._world.wires[family].address
        self._newcomers += 1
        return new_address(family, 256 + self._newcomers)

    def _node_id(self, source: int, other: int) -> bytes:
        if other < 16:
            return OWN
        if other < 64:
            return OWN[: other >> 2] + bytes([source, other]) * 10 if other >> 2 else bytes(ID_BYTES)
        return bytes([source, source ^ 0x55]) * 10

    def _info_hash(self, subject: int) -> bytes:
        return (SWARM, bytes(ID_BYTES))[subject & 1] if subject < 128 else bytes([subject]) * ID_BYTES

    def _token(self, family: Family, info_hash: bytes, token: int) -> bytes:
        """Return a token that the strangers know: the newest for an info-hash, any, one cut, one made up."""
        if not self._tokens or token > 240:
            return bytes([token]) * 8
        known = self._tokens
        if token < 128:
            known = [each for each in known if each[1] == info_hash] or known
        chosen = known[-1 - token % len(known)][0]
        return chosen[:-1] if token > 230 else chosen

    def _note_reply(self, reply: bytes, destination: Address, name: bytes, packet: bytes) -> None:
        """Remember tokens, and hold that nothing was stored without one of the sender's own."""
        fields: Fields = parse_untrusted(reply)
        if fields.get(b"y") != b"r":
            return
        arguments: Fields = parse_untrusted(packet)[b"a"]  # type: ignore[assignment]
        now, host = self._clock.now, destination.host
        wanted: bytes = arguments.get(b"info_hash", arguments.get(b"target", b""))
        token = fields[b"r"].get(b"token")
        if token is not None:
            self._issued[token, host, wanted] = now
            self._tokens.append((token, wanted))
            del self._tokens[:-MAX_TOKENS]
        elif name == b"announce_peer":
            issued_at = self._issued.get((arguments[b"token"], host, wanted))
            require(issued_at is not None, "who announces has got a token there")
            require(now - (issued_at or 0.0) <= 2 * SETTINGS.token_period, "tokens get old")

    def _ask_honestly(self) -> None:
        """Hold that an honest node, from a network of its own, is answered amid all this."""
        self._honest += 1
        for family, exchange in self._exchanges.items():
            address = new_address(family, 3_000_000 + 64 * self._honest)
            query = bencode2.bencode(
                {
                    b"a": {b"id": b"honest" * 3 + b"xx", b"target": bytes(20)},
                    b"q": b"find_node",
                    b"t": b"hh",
                    b"y": b"q",
                }
            )
            self._pass_time(1.0)
            exchange.deliver(address, query, self._clock.now)
            replies = [data for data, place in exchange.wire.sent if place == address]
            require(any(b"1:y1:r" in data for data in replies), "an honest node is answered")
