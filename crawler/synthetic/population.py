"""The members of a synthetic network: ids, addresses, which are dead or hostile, and of what kind.

Every member, dead or alive, has a *number*, which decides its address, kind and style, and a *rank*,
its place in the order of ids.  All that is kept per member is 26 bytes of contact info, 8 of a sort
key, its rank and number, its kind and style, and its tickets: some 80 bytes, in flat arrays.

Tickets make presence in the tables of others heavy-tailed: a bucket draws tickets, and a member has
some in proportion to a weight, log-normal with `SIGMA`.  Half of all members have a few or none, and
are in few tables but those of their neighbours; the most prominent have thousands.
"""

import math
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from random import Random
from statistics import NormalDist
from typing import Any

import numpy as np

from crawler.synthetic.kinds import KINDS, kind_at
from crawler.synthetic.settings import MAX_MEMBERS, SyntheticSettings
from dhtnode.bep42 import crc32c
from dhtnode.ids import ID_BYTES

CONTACT_BYTES = 26
SIGMA = 1.6  # of the logarithm of the weights
TICKETS = 8  # per member, on average
_FIRST_HOST = 256  # x.0.0.0 to x.0.0.255 are left to real programs
_MASK = (1 << 64) - 1
_NO_STYLE = 0


def mix(number: int, salt: int) -> int:
    """Return 64 bits that look random and follow from two numbers (the finisher of splitmix64)."""
    state = (number + salt * 0x9E3779B97F4A7C15) & _MASK
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
    return state ^ state >> 31


def secure_prefix(host: int, last_byte: int) -> int:
    """Return the first 21 bits of the id that a node at a host, 32 bits, has with this last byte (BEP 42)."""
    # Derived here again, but for the CRC: a model must not share the mistakes of what is measured with it.
    word = host & 0x030F3FFF | (last_byte & 7) << 29
    return crc32c(word.to_bytes(4, "big")) >> 11


class Population:
    """All members of a network; a million take some 3 s of CPU and 180 MB."""

    def __init__(self, settings: SyntheticSettings, styles: int) -> None:
        """Draw all members; `styles` is how many styles of hostile nodes there are."""
        self.settings = settings
        self.members = settings.members
        random = Random(f"population {settings.seed}")
        self._salt = random.getrandbits(64)
        self._step, self._shift = _permutation(random)
        self._back = pow(self._step, -1, MAX_MEMBERS)
        kinds = [kind_at(drawn / 65536) for drawn in range(65536)]
        self.kinds = bytes(_array("B", _drawn_from(kinds, random, self.members)))
        hostile = round(65536 * settings.hostile)
        # 0, or the style of a hostile member, counted from 1.
        style_of = [1 + each * styles // hostile if each < hostile else _NO_STYLE for each in range(65536)]
        self.styles = bytes(_array("B", _drawn_from(style_of, random, self.members)))
        prefixes = array("Q", random.randbytes(8 * self.members))
        tails = random.randbytes(12 * self.members)
        self._secure(prefixes, tails)
        order = np.argsort(np.frombuffer(prefixes, np.uint64), kind="stable")
        self.numbers = _array("I", order)
        self.prefixes = _array("Q", np.frombuffer(prefixes, np.uint64)[order])
        self.ranks = _array("I", np.argsort(order))
        self.contacts = self._pack(tails)
        # The rank at which each cell of the id space begins, and behind the last the count.
        self.cell_bits = max(0, self.members.bit_length() - 1)
        starts = np.arange(1 << self.cell_bits, dtype=np.uint64) << (64 - self.cell_bits)
        cells = np.append(np.searchsorted(np.frombuffer(self.prefixes, np.uint64), starts), self.members)
        self.cells = _array("I", cells)
        # The holder of each ticket, in order of ids, and the first ticket of each cell.
        counts = _drawn_from(_ticket_table(), random, self.members)
        self.tickets = _array("I", np.repeat(np.arange(self.members), counts))
        self.cell_tickets = _array("I", np.concatenate([[0], np.cumsum(counts)])[cells])

    def host_of(self, number: int) -> int:
        """Return the last 24 bits of the address of a member."""
        return _FIRST_HOST + (number * self._step + self._shift) % MAX_MEMBERS

    def number_at(self, host: int) -> int | None:
        """Return the member at the last 24 bits of an address, or None."""
        if host < _FIRST_HOST:
            return None
        number = (host - _FIRST_HOST - self._shift) * self._back % MAX_MEMBERS
        return number if number < self.members else None

    def address(self, rank: int) -> tuple[str, int]:
        """Return the host in text and the port of a member."""
        a, b, c, d = self.packed_host(rank)
        return f"{a}.{b}.{c}.{d}", self.settings.port

    def packed_host(self, rank: int) -> bytes:
        """Return the 4 bytes of the address of a member."""
        return self.contacts[rank * CONTACT_BYTES + ID_BYTES : rank * CONTACT_BYTES + 24]

    def node_id(self, rank: int) -> bytes:
        """Return the 20 bytes of an id."""
        return self.contacts[rank * CONTACT_BYTES : rank * CONTACT_BYTES + ID_BYTES]

    def is_alive(self, number: int) -> bool:
        """Return whether a member answers."""
        return number < self.settings.nodes

    def is_honest(self, number: int) -> bool:
        """Return whether a member is alive and not hostile."""
        return number < self.settings.nodes and self.styles[number] == _NO_STYLE

    def has(self, feature: str, number: int) -> bool:
        """Return whether a member has a feature of `_SALTS`: by the share in the settings, or by its kind."""
        share: float | None = getattr(self.settings, feature)
        if share is not None:
            return self.drawn(number, _SALTS[feature]) < share
        kind = KINDS[self.kinds[number]]
        match feature:
            case "bep33":
                return kind.has_filters
            case "bep42":
                return kind.is_secure
            case "bep51":
                return kind.sample_interval is not None
            case "windows":
                return kind.returns_windows
        return False

    def drawn(self, number: int, salt: int) -> float:
        """Return a number in 0..1 that a member has drawn for some purpose, the same each time."""
        return mix(number ^ self._salt, salt) / (1 << 64)

    def bounds(self, start: int, bits: int) -> tuple[int, int]:
        """Return which ranks the part of the id space has that begins at `start`, `bits` bits wide.

        Ids count by their first 64 bits; two members with the same are very rare.
        """
        narrow = 64 - self.cell_bits
        if bits >= narrow:
            first = start >> narrow
            return self.cells[first], self.cells[first + (1 << bits - narrow)]
        cell = start >> narrow
        low, high = self.cells[cell], self.cells[cell + 1]
        return (
            bisect_left(self.prefixes, start, low, high),
            bisect_left(self.prefixes, start + (1 << bits), low, high),
        )

    def bootstrap_nodes(self, count: int = 3) -> list[tuple[str, int]]:
        """Return addresses of honest nodes, as far as there are so many; the same ones each time."""
        honest = (number for number in range(self.settings.nodes) if self.is_honest(number))
        return [self.address(self.ranks[number]) for number, _ in zip(honest, range(count), strict=False)]

    def _secure(self, prefixes: "array[int]", tails: bytes) -> None:
        """Make the ids of members that keep to BEP 42 follow from their addresses and last bytes."""
        octet = self.settings.first_octet << 24
        for number in range(self.members):
            if self.has("bep42", number):
                bound = secure_prefix(octet | self.host_of(number), tails[12 * number + 11])
                prefixes[number] = prefixes[number] & 0x7FFFFFFFFFF | bound << 43

    def _pack(self, tails: bytes) -> bytes:
        """Return the compact contacts of all members, in order of ids."""
        numbers: Any = np.frombuffer(self.numbers, np.uint32).astype(np.int64)
        form = [("prefix", ">u8"), ("tail", "V12"), ("host", ">u4"), ("port", ">u2")]
        packed = np.empty(self.members, form)
        packed["prefix"] = self.prefixes
        packed["tail"] = np.frombuffer(tails, "V12")[numbers]
        packed["host"] = self.settings.first_octet << 24 | self.host_of(numbers)
        packed["port"] = self.settings.port
        return packed.tobytes()


_SALTS = {"bep33": 1, "bep42": 2, "bep51": 3, "capped": 4, "windows": 5, "shared_stores": 6}


def _permutation(random: Random) -> tuple[int, int]:
    """Return factor and shift of a permutation of all addresses."""
    while True:
        step = random.randrange(MAX_MEMBERS // 3, MAX_MEMBERS)
        if math.gcd(step, MAX_MEMBERS) == 1:
            return step, random.randrange(MAX_MEMBERS)


def _drawn_from(table: Sequence[int], random: Random, members: int) -> Any:
    """Draw 16 bits for each member, and return what the table has for them."""
    return np.array(table, np.uint32)[np.frombuffer(random.randbytes(2 * members), np.uint16)]


def _array(code: str, values: Any) -> "array[int]":
    # Single values come out of an `array` faster than out of NumPy, and as plain numbers.
    return array(code, np.asarray(values, code).tobytes())


@cache
def _ticket_table() -> list[int]:
    """Return tickets by 16 drawn bits, `TICKETS` on average.

    What is less than a ticket is rounded up for some and down for others, in a pattern without a
    trend (the golden ratio), so that the mean stays.
    """
    normal = NormalDist()
    weights = [
        math.exp(SIGMA * normal.inv_cdf((drawn + 0.5) / 65536) - SIGMA * SIGMA / 2) for drawn in range(65536)
    ]
    return [
        math.floor(TICKETS * weight + drawn * 0.6180339887498949 % 1) for drawn, weight in enumerate(weights)
    ]
