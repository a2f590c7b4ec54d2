"""Variations of packets, made with a knowledge of bencode.

Bytes changed at random rarely get past the first length prefix.  So most changes are made to the
decoded value and encoded again, and some to the bytes, which is where wrong lengths, keys out of
order and cut packets come from.
"""

from collections.abc import Sequence
from random import Random
from typing import Any, TypeAlias, TypeVar

import bencode2

from tests.fuzz.steps import MAX_PACKET_BYTES, TOKEN_MARK, TRANSACTION_MARK, Step, cut, join

T = TypeVar("T")
Tree: TypeAlias = Any  # a bencoded value with something wrong in it: no narrower type would hold

KEYS = (
    b"a b e id ip n nodes nodes6 noseed p port implied_port q r ro scrape seed t target token v values want "
    b"y info_hash BFpe BFsd BFse sample num interval k sig salt seq cas vote"
).split()
WORDS = (
    b"q r e ping find_node get_peers announce_peer put get vote sample_infohashes n4 n6 mnopqrstuvwxyz123456 "
    b"abcdefghij0123456789"
).split()
WORDS += [TRANSACTION_MARK, TOKEN_MARK, bytes(20), b"\xff" * 20, b"\x80" + bytes(19), b"", b"\0"]
NUMBERS = [0, 1, -1, 2, 6881, 65535, 65536, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64]
NUMBERS += [-(2**63), 10**20, 10**40]
LENGTHS = [0, 1, 2, 4, 5, 6, 7, 16, 18, 19, 20, 21, 25, 26, 27, 32, 33, 38, 64, 65]
LENGTHS += [128, 129, 208, 256, 304, 2000]
DEPTHS = [1, 1, 2, 3, 15, 30, 31, 32, 33, 40, 120, 300]
FRAGMENTS = [
    b"i0e", b"i-0e", b"i03e", b"ie", b"i-e", b"i1", b"0:", b"00:", b"01:x", b"-1:", b"1_0:", b"le", b"de",
    b"d", b"l", b"e", b"i", b":", b"l" * 40, b"d1:a" * 40, b"1:t2:aa", b"1:y1:q", b"1:y1:r", b"1:y1:e",
    b"9" * 30, b"99999:", b"i" + b"9" * 21 + b"e", b"i" + b"9" * 20 + b"e", b"d1:ai1e-6:", b"1:q4:ping",
    b"2:roi1e",
]  # fmt: skip

MAX_TOLD = 4  # steps of a story
MAX_MOVES = 24  # of one input
MAX_OPAQUE = 10_000  # packets known to be no bencode: a refusal of bencode2 costs ten times an answer


class Mutator:
    """Make variations of what it is given, spliced with what is in its pool."""

    def __init__(self, random: Random, pool: Sequence[bytes]) -> None:
        """Draw from `random` only: the same seed and pool give the same variations."""
        self._random = random
        self._pool = pool
        self._opaque: set[bytes] = set()

    def packet(self, data: bytes) -> bytes:
        roll = self._random.random()
        if roll < 0.05:
            return data
        if roll < 0.8:
            data = self._vary_value(data)
        if roll > 0.65:
            for _ in range(self._few()):
                data = self._vary_bytes(data)
        return data[:MAX_PACKET_BYTES]

    def story(self, data: bytes) -> bytes:
        """Return a variation of a sequence of steps: packets, senders, times and order."""
        steps = cut(data)
        roll = self._random.random()
        if not steps or roll < 0.25:
            steps[self._below(len(steps) + 1) : 0] = cut(self._other())[:3]
        elif roll < 0.35 and len(steps) > 1:
            del steps[self._below(len(steps))]
        elif roll < 0.4:
            steps.insert(self._below(len(steps)), steps[self._below(len(steps))])
        elif roll < 0.45:
            self._random.shuffle(steps)
        for _ in range(self._few()):
            if steps:
                at = self._below(len(steps))
                steps[at] = self._vary_step(steps[at])
        return join(steps[-MAX_TOLD:])

    def moves(self, data: bytes) -> bytes:
        """Return a variation of a sequence of moves, eight bytes each: single bytes, moves, their order."""
        moves = [bytearray(data[at : at + 8]) for at in range(0, len(data), 8)]
        roll = self._random.random()
        if not moves or roll < 0.3:
            other = self._other()
            at = 8 * self._below(1 + len(other) // 8)
            moves[self._below(len(moves) + 1) : 0] = [
                bytearray(other[at : at + 8]),
                bytearray(self._random.randbytes(8)),
            ]
        elif roll < 0.4:
            del moves[self._below(len(moves))]
        elif roll < 0.5:
            moves += [bytearray(moves[self._below(len(moves))]) for _ in range(1 + self._below(8))]
        for _ in range(self._few() if moves else 0):
            move = moves[self._below(len(moves))]
            if move:
                move[self._below(len(move))] = self._below(256)
        return b"".join(moves)[-8 * MAX_MOVES :]

    def _vary_step(self, step: Step) -> Step:
        packet = self.packet(step.packet) if self._random.random() < 0.6 else step.packet
        action, source, clock = self._random.randbytes(3)
        keep = self._below(8)
        return Step(
            step.action if keep & 1 else action,
            step.source if keep & 2 else source,
            step.clock if keep & 4 else clock,
            packet,
        )

    def _vary_value(self, data: bytes) -> bytes:
        tree = self._decoded(data)
        if not isinstance(tree, list | dict):
            return self._vary_bytes(data)
        for _ in range(self._few()):
            self._vary_container(self._inner(tree))
        try:
            return bencode2.bencode(tree)
        except RecursionError:
            return data

    def _decoded(self, data: bytes) -> Tree:
        if data in self._opaque:
            return None
        try:
            return bencode2.bdecode(data)
        except (ValueError, RecursionError):
            if len(self._opaque) >= MAX_OPAQUE:
                self._opaque.clear()
            self._opaque.add(data)
            return None

    def _inner(self, tree: Tree) -> Tree:
        """Return the tree itself or a list or dictionary in it, mostly the arguments or results."""
        while self._random.random() < 0.7:
            inside = [item for item in _items(tree) if isinstance(item, list | dict)]
            if not inside:
                break
            tree = inside[self._below(len(inside))]
        return tree

    def _vary_container(self, tree: Tree) -> None:
        places: list[Any] = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        roll = self._random.random()
        if not places or roll < 0.15:
            self._add(tree, self._any_value())
            return
        place = places[self._below(len(places))]
        if roll < 0.25:
            del tree[place]
        elif roll < 0.35:
            other = places[self._below(len(places))]
            tree[place], tree[other] = tree[other], tree[place]
        elif roll < 0.42:
            self._add(tree, tree[place])
        elif roll < 0.55:
            self._splice(tree, place)
        elif roll < 0.6:
            tree[place] = self._nested(tree[place])
        else:
            tree[place] = self._varied(tree[place])

    def _add(self, tree: Tree, value: Tree) -> None:
        if isinstance(tree, dict):
            tree[self._one_of(KEYS) if self._random.random() < 0.95 else self._some_bytes()] = value
        else:
            tree.insert(self._below(len(tree) + 1), value)

    def _splice(self, tree: Tree, place: bytes | int) -> None:
        """Take what stands in another packet, under the same key if there is one."""
        steps = cut(self._other())
        other = self._decoded(steps[0].packet) if steps else None
        other = self._decoded(self._other()) if other is None else other
        if not isinstance(other, list | dict):
            return
        other = self._inner(other)
        if isinstance(other, dict) and place in other:
            tree[place] = other[place]
            return
        values = _items(other)
        if values:
            tree[place] = values[self._below(len(values))]

    def _varied(self, value: Tree) -> Tree:
        roll = self._random.random()
        if roll < 0.3 or isinstance(value, list | dict):
            return self._any_value()
        if isinstance(value, int):
            return value + self._below(5) - 2 if roll < 0.6 else self._one_of(NUMBERS)
        if roll < 0.45:
            return self._one_of(WORDS)
        if roll < 0.6:
            return (value * 3 + self._random.randbytes(64))[: self._one_of(LENGTHS)]
        return self._flipped(value)

    def _any_value(self) -> Tree:
        roll = self._below(8)
        if roll < 2:
            return self._one_of(NUMBERS)
        if roll < 4:
            return self._one_of(WORDS)
        if roll < 6:
            return self._some_bytes()
        if roll == 6:
            return [self._one_of(WORDS) for _ in range(self._few())]
        return {self._one_of(KEYS): self._one_of(WORDS)}

    def _some_bytes(self) -> bytes:
        return self._random.randbytes(self._one_of(LENGTHS))

    def _nested(self, value: Tree) -> Tree:
        in_list = self._random.random() < 0.5
        for _ in range(self._one_of(DEPTHS)):
            value = [value] if in_list else {b"a": value}
        return value

    def _vary_bytes(self, data: bytes) -> bytes:
        roll = self._below(8)
        at = self._below(len(data) + 1)
        end = at + self._one_of(LENGTHS[:16])
        if roll == 0:
            return data[:at]
        if roll == 1:
            return data[:at] + data[end:]
        if roll == 2:
            return data[:end] + data[at:]
        if roll == 3:
            return data[:at] + self._other()[-at:]
        if roll == 4:
            return data + self._one_of(FRAGMENTS)
        if roll == 5:
            return self._flipped(data)
        fragment = self._one_of(FRAGMENTS)
        return data[:at] + fragment + data[at + len(fragment) * (roll == 6) :]

    def _flipped(self, data: bytes) -> bytes:
        if not data:
            return b"0"
        at = self._below(len(data))
        byte = data[at] ^ 1 << self._below(8) if self._random.random() < 0.5 else self._below(256)
        return b"%b%c%b" % (data[:at], byte, data[at + 1 :])

    def _other(self) -> bytes:
        return self._pool[self._below(len(self._pool))]

    def _few(self) -> int:
        return 1 + self._below(3) * self._below(2)

    def _one_of(self, values: Sequence[T]) -> T:
        return values[self._below(len(values))]

    def _below(self, number: int) -> int:
        return int(self._random.random() * number)  # a third of the cost of `randrange`


def _items(tree: Tree) -> list[Tree]:
    return list(tree.values()) if isinstance(tree, dict) else list(tree)
