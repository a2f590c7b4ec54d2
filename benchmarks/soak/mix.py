"""What many sources say to a node in turn: queries of every kind, answers, and garbage.

A source gets tokens as it has to, by `get_peers` and `get`, and uses them later: some are too old by
then.  One announce in ten comes with a token that was never issued, one signed item in ten with a
wrong signature, one in ten with a `seq` that is too low.  Nothing is sent here.
"""

import json
from dataclasses import dataclass, field
from hashlib import sha1
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from bencode2 import bencode

from dhtnode.items import MutableItem, mutable_target, public_key_of

MALFORMED = Path(__file__).parents[2] / "tests" / "vectors" / "krpc_malformed.json"
INFO_HASHES, TEXTS, KEYS = 2000, 600, 200
LONGEST_NOISE = 1400  # bytes
MOST_CHANGES = 3  # to a vector

WEIGHTS = {
    "ping": 14,
    "find_node": 20,
    "get_peers": 20,
    "scrape": 6,
    "announce_peer": 14,
    "sample_infohashes": 5,
    "get": 11,
    "put": 10,
}
"""How often each is asked, out of 100; who has no token yet asks for one instead."""

ODD = {"unsolicited error": 2, "unsolicited response": 3}
"""How often these are said, on top of the 100."""

TOKEN_IS_OLD = SERVER_IS_FULL = frozenset({202, 203})
EXPECTED_ERRORS = {
    "announce_peer": TOKEN_IS_OLD,
    "announce_peer, false token": frozenset({203}),
    "put": SERVER_IS_FULL,
    "put, signed": SERVER_IS_FULL | {302},
    "put, false signature": frozenset({202, 203, 206}),
    "put, old seq": frozenset({202, 203, 302}),
}
"""The errors that each may be answered with; all others may with none."""

NEVER_SERVED = frozenset({"announce_peer, false token", "put, false signature"})
_WANTED_KEYS = {
    "find_node": (b"nodes",),
    "get_peers": (b"nodes",),
    "scrape": (b"nodes",),
    "get": (b"nodes",),
    "sample_infohashes": (b"nodes", b"samples", b"num", b"interval"),
}


@dataclass(slots=True)
class Thing:
    """A text to put, or a key for texts."""

    target: bytes
    text: bytes
    key: bytes | None = None
    seq: int = 0


@dataclass(slots=True)
class Source:
    """One address that sends and receives queries, with the latest token that it received."""

    host: str
    packed: bytes
    node_id: bytes
    is_online: bool = True
    announcing: tuple[bytes, bytes] | None = None  # an info-hash and a token for it
    putting: tuple[Thing, bytes] | None = None
    number: int = field(init=False)

    def __post_init__(self) -> None:
        self.renew(self.node_id)

    def renew(self, node_id: bytes) -> None:
        """Come back as another node, which knows nothing."""
        self.node_id, self.number = node_id, int.from_bytes(node_id, "big")
        self.announcing = self.putting = None


class Question(NamedTuple):
    """A query: its kind, its method, its arguments and its subject."""

    kind: str
    method: bytes
    arguments: dict[bytes, Any]
    about: Any = None


class Mix:
    """Choose what is said next."""

    def __init__(self, random: Random) -> None:
        """Make up info-hashes and items; reads the vectors of malformed messages."""
        self._random = random
        self._kinds, self._weights = list(WEIGHTS), list(accumulate(WEIGHTS.values()))
        self._info_hashes = [random.randbytes(20) for _ in range(INFO_HASHES)]
        self._things = [_text(random) for _ in range(TEXTS)] + [_key(random) for _ in range(KEYS)]
        cases = json.loads(MALFORMED.read_text(encoding="utf-8"))["cases"]
        self._malformed = [bytes.fromhex(case["hex"]) for case in cases]

    def question(self, source: Source) -> Question:
        """Return a query of a source."""
        (kind,) = self._random.choices(self._kinds, cum_weights=self._weights)
        if kind == "announce_peer" and source.announcing:
            return self._announce(source, *source.announcing)
        if kind == "put" and source.putting:
            return self._put(source, *source.putting)
        match kind:
            case "ping":
                return Question(kind, b"ping", {})
            case "find_node" | "sample_infohashes":
                return Question(kind, kind.encode(), {b"target": self._random.randbytes(20)})
            case "get" | "put":
                thing = self._random.choice(self._things)
                # Padded as our own client does: what is not padded may be too short for a long item.
                return Question("get", b"get", {b"padding": bytes(96), b"target": thing.target}, thing)
        info_hash = self._info_hash()
        if kind == "scrape":
            return Question(kind, b"get_peers", {b"info_hash": info_hash, b"scrape": 1})
        return Question("get_peers", b"get_peers", {b"info_hash": info_hash}, info_hash)

    def odd(self) -> bytes:
        """Return an error or a response that belongs to no query."""
        (kind,) = self._random.choices(list(ODD), list(ODD.values()))
        key = self._random.randbytes(self._random.randrange(1, 5))
        if kind == "unsolicited error":
            return bencode({b"e": [201, b"never asked"], b"t": key, b"y": b"e"})
        return bencode({b"r": {b"id": self._random.randbytes(20)}, b"t": key, b"y": b"r"})

    def garbage(self) -> bytes:
        """Return random bytes, or a malformed message of the vectors, as it is or changed."""
        if self._random.random() < 0.5:
            noise = self._random.randbytes(self._random.randrange(LONGEST_NOISE))
            return b"d" + noise if self._random.random() < 0.5 else noise
        return self.changed(self._random.choice(self._malformed))

    def changed(self, data: bytes) -> bytes:
        """Return a message with up to three bytes set, taken out or put in, or cut short."""
        made = bytearray(data)
        for _ in range(self._random.randrange(MOST_CHANGES + 1)):
            at = self._random.randrange(len(made) + 1)
            match self._random.randrange(4):
                case 0:
                    made[at : at + 1] = self._random.randbytes(1)
                case 1:
                    del made[at : at + 1]
                case 2:
                    made[at:at] = self._random.randbytes(1)
                case 3 if self._random.random() < 0.2:
                    del made[at:]
        return bytes(made)

    def _info_hash(self) -> bytes:
        """Return one of them, the first more often than the last: some swarms are large, most small."""
        return self._info_hashes[int(INFO_HASHES * self._random.random() ** 3)]

    def _announce(self, source: Source, info_hash: bytes, token: bytes) -> Question:
        arguments = {b"info_hash": info_hash, b"port": 1 + self._random.randrange(65535), b"token": token}
        if self._random.random() < 0.1:
            arguments[b"token"] = self._random.randbytes(8)
            return Question("announce_peer, false token", b"announce_peer", arguments)
        source.announcing = None
        if self._random.random() < 0.3:
            arguments[b"seed"] = 1
        if self._random.random() < 0.3:
            arguments[b"implied_port"] = 1
        return Question("announce_peer", b"announce_peer", arguments)

    def _put(self, source: Source, thing: Thing, token: bytes) -> Question:
        source.putting = None
        if thing.key is None:
            return Question("put", b"put", {b"token": token, b"v": thing.text})
        kind, seq = "put, signed", thing.seq + 1
        if thing.seq and self._random.random() < 0.1:
            kind, seq = "put, old seq", self._random.randrange(thing.seq)
        text = thing.text + b" %d" % seq
        item = MutableItem.sign(thing.key, text, seq=seq)
        signature = item.signature
        if kind == "put, signed" and self._random.random() < 0.1:
            kind, signature = "put, false signature", self._random.randbytes(64)
        else:
            thing.seq = max(thing.seq, seq)
        arguments = {b"k": item.public_key, b"seq": seq, b"sig": signature, b"token": token, b"v": text}
        return Question(kind, b"put", arguments)


def fault_of(question: Question, message: dict[bytes, Any]) -> str | None:
    """Return what is wrong with the reply to a query, or None."""
    if message.get(b"y") == b"e":
        code = message[b"e"][0]
        expected = EXPECTED_ERRORS.get(question.kind, frozenset())
        return None if code in expected else f"{question.kind}: error {code}"
    body = message.get(b"r")
    if not isinstance(body, dict) or len(body.get(b"id", b"")) != 20:
        return f"{question.kind}: a reply without an id"
    if question.kind in NEVER_SERVED:
        return f"{question.kind}: was served"
    missing = [key.decode() for key in _WANTED_KEYS.get(question.kind, ()) if key not in body]
    if missing:
        return f"{question.kind}: a reply without {', '.join(missing)}"
    is_text = question.kind == "get" and question.about.key is None and b"v" in body
    return f"{question.kind}: another value" if is_text and body[b"v"] != question.about.text else None


def _text(random: Random) -> Thing:
    text = random.randbytes(random.randrange(1, 900))
    return Thing(sha1(bencode(text), usedforsecurity=False).digest(), text)


def _key(random: Random) -> Thing:
    key = random.randbytes(32)
    return Thing(mutable_target(public_key_of(key)), random.randbytes(random.randrange(1, 900)), key)
