"""Contacts by number, found by endpoint: NumPy arrays and open addressing, many at a time.

A contact takes its compact form, 8 bytes for its key, and some 7 in the index.  What else is known of it
stands in arrays of the caller, under the same numbers: 0, 1, 2, ... in the order in which they came.
"""

from random import Random
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dhtnode.ids import ID_BYTES

Bytes: TypeAlias = NDArray[np.uint8]
"""Bytes, or compact contacts as rows of bytes."""

Keys: TypeAlias = NDArray[np.uint64]

Numbers: TypeAlias = NDArray[np.int64]
"""Numbers of contacts; -1 stands for none."""

_FIRST_ROWS = 4096
_AT_ONCE = 1 << 16  # contacts that enter a larger index at once: temporary arrays stay small
_WORD = 8


def grow(array: NDArray[np.generic], rows: int) -> None:
    """Lengthen an array in place to so many rows or some more; no part of it may be in use elsewhere."""
    if len(array) < rows:
        # Large arrays move without being copied, so small steps cost little.
        larger = max(rows, len(array) + len(array) // 8 + _FIRST_ROWS)
        array.resize((larger, *array.shape[1:]), refcheck=False)


class ContactTable:
    """Compact contacts of one family, each endpoint once."""

    def __init__(self, contact_bytes: int, random: Random) -> None:
        """Start empty; `random` must be unpredictable to the network, or it could make endpoints collide."""
        self._contacts: Bytes = np.zeros((_FIRST_ROWS, contact_bytes), np.uint8)
        self._keys: Keys = np.zeros(_FIRST_ROWS, np.uint64)
        self._index: NDArray[np.int32] = np.full(2 * _FIRST_ROWS, -1, np.int32)
        self._count = 0
        self._odd, self._salt = (np.uint64(random.getrandbits(64) | 1) for _ in range(2))

    def __len__(self) -> int:
        """Return how many contacts there are."""
        return self._count

    def keys(self, contacts: Bytes) -> Keys:
        """Return a number for the endpoint of each contact: the endpoint itself, or for IPv6 a keyed hash."""
        endpoint_bytes = contacts.shape[1] - ID_BYTES
        padded = -endpoint_bytes % _WORD
        words = np.zeros((len(contacts), padded + endpoint_bytes), np.uint8)
        words[:, padded:] = contacts[:, ID_BYTES:]
        columns = words.view(">u8").astype(np.uint64).T
        keys = columns[0]
        for column in columns[1:]:
            keys = self._mixed(keys ^ self._salt) + column
        return self._mixed(keys) if len(columns) > 1 else keys

    def find(self, keys: Keys) -> Numbers:
        """Return the numbers of endpoints, by key; costs some 0.1 us each."""
        places = self._places(keys)
        found = self._index[places]
        others = np.flatnonzero((found >= 0) & (self._keys[found] != keys))
        while others.size:
            places[others] = self._after(places[others])
            met = self._index[places[others]]
            found[others] = met
            others = others[(met >= 0) & (self._keys[met] != keys[others])]
        return found.astype(np.int64)

    def add(self, contacts: Bytes, keys: Keys) -> None:
        """Add contacts that are not there yet, each endpoint once; the first gets the number `len(self)`."""
        start, self._count = self._count, self._count + len(contacts)
        for array, rows in ((self._contacts, contacts), (self._keys, keys)):
            grow(array, self._count)
            array[start : self._count] = rows
        if 3 * self._count > 2 * len(self._index):
            self._index = np.full(2 * len(self._index), -1, np.int32)
            start = 0
        for first in range(start, self._count, _AT_ONCE):
            self._enter(np.arange(first, min(first + _AT_ONCE, self._count), dtype=np.int32))

    def compact(self, numbers: Numbers) -> bytes:
        """Return contacts in their compact form, one after the other."""
        return self._contacts[numbers].tobytes()

    def columns(self, numbers: Numbers, part: slice) -> Bytes:
        """Return a part of the compact form of contacts, a row for each."""
        columns: Bytes = self._contacts[numbers, part]
        return columns

    def since(self, number: int) -> bytes:
        """Return the contacts from a number on, in their compact form."""
        return self._contacts[number : self._count].tobytes()

    def id_prefixes(self, numbers: Numbers) -> NDArray[np.uint32]:
        """Return the first 32 bits of the ids of contacts."""
        return id_prefixes(self._contacts[numbers, :4])

    def _enter(self, numbers: NDArray[np.int32]) -> None:
        places = self._places(self._keys[numbers])
        while numbers.size:
            is_free = self._index[places] < 0
            # Of several that want one place, one gets it.
            self._index[places[is_free]] = numbers[is_free]
            is_left = self._index[places] != numbers
            numbers, places = numbers[is_left], self._after(places[is_left])

    def _places(self, keys: Keys) -> Numbers:
        return (self._mixed(keys) & np.uint64(len(self._index) - 1)).astype(np.int64)

    def _after(self, places: Numbers) -> Numbers:
        return (places + 1) & (len(self._index) - 1)

    def _mixed(self, keys: Keys) -> Keys:
        """Return numbers that depend on all bits of the keys, and whose own bits look independent."""
        mixed = keys * self._odd
        mixed ^= mixed >> np.uint64(32)
        mixed *= self._salt
        return mixed ^ (mixed >> np.uint64(29))


def id_prefixes(contacts: Bytes) -> NDArray[np.uint32]:
    """Return the first 32 bits of the ids of compact contacts."""
    return np.ascontiguousarray(contacts[:, :4]).view(">u4").ravel().astype(np.uint32)


def count_bytes(values: Bytes) -> Numbers:
    """Return how often each of the 256 bytes comes; 1 ns for each value."""
    counts = np.zeros(256, np.int64)
    # NumPy makes 8 bytes of each value for this.
    for at in range(0, len(values), _AT_ONCE):
        counts += np.bincount(values[at : at + _AT_ONCE], minlength=256)
    return counts


def rank_in_group(groups: NDArray[np.generic]) -> Numbers:
    """Return for each entry how many entries before it are equal to it."""
    order = np.argsort(groups, kind="stable")
    starts = group_starts(groups[order])
    ranks = np.empty(len(groups), np.int64)
    ranks[order] = np.arange(len(groups)) - np.repeat(starts, np.diff(starts, append=len(groups)))
    return ranks


def group_starts(ordered: NDArray[np.generic]) -> Numbers:
    """Return where a group of equal entries begins, in an array in which they stand together."""
    is_start = np.ones(len(ordered), np.bool_)
    is_start[1:] = ordered[1:] != ordered[:-1]
    return np.flatnonzero(is_start)
