"""Bencode: bytes to values and back (BEP 3).

Output is always canonical.  Input comes from strangers: it is read by bencode2, which is fast and
strict, and where that refuses, by a decoder that tolerates what live clients send (unsorted or
repeated keys, leading zeros, bytes after the value).  Depth, items and length of input bound the
work on both paths, and `BencodeError` is all that a reader of bytes can raise.

What a value means is not known here (see `krpc`).
"""

from typing import Any, NamedTuple, TypeAlias

import bencode2
import bencodepy

Value: TypeAlias = int | bytes | list["Value"] | dict[bytes, "Value"]
"""What bencode can express."""

MAX_DEPTH = 32
"""Lists and dictionaries inside one another; KRPC needs 3, a BEP 44 item perhaps more."""

MAX_ITEMS = 2048
"""Values and keys in one input.  bittorrent-dht sends replies of 8 kB with hundreds of peers."""

MAX_DIGITS = 20
"""Digits of an integer or a length, enough for 64 bits: `int()` on long texts takes quadratic time."""

_FAST_BYTES = 2 * MAX_ITEMS  # no item is shorter than `0:` or `le`, so this length bounds the items


class BencodeError(ValueError):
    """Say that bytes do not start with a bencoded value, or with one over our limits."""


class Decoded(NamedTuple):
    """Hold a value and whether its input was the canonical encoding of it, with nothing after it.

    From canonical input the exact bytes of any part can be had back with `encode`: a BEP 44 `put`
    is served only then.
    """

    value: Value
    canonical: bool


def encode(value: Value) -> bytes:
    """Return the canonical encoding of a value: keys sorted, no superfluous zeros."""
    return bencode2.bencode(value)


def decode_untrusted(data: bytes) -> Decoded:
    """Read the value at the start of `data`; raise `BencodeError` and nothing else."""
    value = read_untrusted(data)
    return Decoded(value, canonical=encode(value) == data)


def read_untrusted(data: bytes, max_items: int = MAX_ITEMS) -> Value:
    """Read the value at the start of `data`, canonical or not; raise `BencodeError` and nothing else.

    `max_items` bounds what is read slowly, up to 2 us per item.

    bencode2 itself bounds neither depth nor items, so it gets only input that cannot hold too
    many: each level closes with an `e`, hence more levels than `MAX_DEPTH` need more `e` than
    that, wherever these stand.  Long integers it does accept, up to what `_FAST_BYTES` can hold.
    """
    # And a refusal of bencode2 costs 40 times a success: what does not end as a message does, it never sees.
    if len(data) <= _FAST_BYTES and data[-1:] == b"e" and data.count(b"e") <= MAX_DEPTH:
        try:
            value: Value = bencode2.bdecode(data)
        except ValueError:
            pass  # not canonical, or not bencode at all: the tolerant decoder tells
        else:
            return value
    return _TolerantDecoder(max_items).decode(data)


def read_prefix_untrusted(data: bytes, max_items: int = MAX_ITEMS) -> tuple[Value, int]:
    """Read the value at the start of `data`, and return it with the place where it ends.

    For messages in which other bytes follow a value (BEP 9).  Raises `BencodeError` and nothing
    else; up to 2 us per item.
    """
    return _TolerantDecoder(max_items).decode_prefix(data)


def read_file_untrusted(
    data: bytes, max_items: int, max_depth: int
) -> tuple[dict[bytes, Value], dict[bytes, slice]]:
    """Read the dictionary at the start of a file: its values, and where each stands in `data`.

    For what is hashed as it stands.  No dictionary may have a key twice, and of a file that is
    given by a person the bounds are the caller's; up to 2 us per item.  Raises `BencodeError`.
    """
    decoder = _FileDecoder(max_items, max_depth)
    entries = decoder.decode(data)
    if not isinstance(entries, dict):
        raise BencodeError("not a dictionary")
    return entries, decoder.places


def decode_canonical(data: bytes) -> Value:
    """Return the value of bytes that `encode` wrote, or that were found canonical and within limits."""
    value: Value = bencode2.bdecode(data)
    return value


class _TolerantDecoder(bencodepy.BencodeDecoder):  # type: ignore[misc]  # ships no types
    """Read what is not canonical, within limits; one instance reads one input.

    As it comes, the base class takes what `int()` takes for a length: it reads `1_0:` as 10 and
    never returns on `d1:ai1e-6:`, whose negative length moves it backwards.  It also accepts
    strings that are cut short.  Lists and the choice by first byte are left to it.
    """

    def __init__(self, max_items: int = MAX_ITEMS, max_depth: int = MAX_DEPTH) -> None:
        super().__init__(max_depth=max_depth - 1)  # it calls the outermost level 0
        self._items = 0
        self._max_items = max_items

    def decode(self, value: bytes) -> Value:
        return self.decode_prefix(value)[0]

    def decode_prefix(self, value: bytes) -> tuple[Value, int]:
        """Return the value at the start, and the place where it ends."""
        try:
            decoded: tuple[Value, int] = self.decode_func[value[:1]](value, 0)
        except (KeyError, ValueError, bencodepy.BencodeDecodeError) as error:
            raise BencodeError(f"not bencode: {error}") from None
        return decoded

    def decode_int(self, x: bytes, f: int, **_kwargs: Any) -> tuple[int, int]:
        self._count_item()
        start = f + 1
        end = x.find(b"e", start, start + MAX_DIGITS + 2)  # the sign and the `e` itself
        digits = x[start:end].removeprefix(b"-")
        if end < 0 or not digits.isdigit() or len(digits) > MAX_DIGITS:
            raise BencodeError("bad integer")
        return int(x[start:end]), end + 1

    def decode_string(self, x: bytes, f: int, **_kwargs: Any) -> tuple[bytes, int]:
        self._count_item()
        colon = x.find(b":", f, f + MAX_DIGITS + 1)
        digits = x[f:colon]
        if colon < 0 or not digits.isdigit():
            raise BencodeError("bad length")
        start = colon + 1
        end = start + int(digits)
        if end > len(x):
            raise BencodeError("string cut short")
        return x[start:end], end

    def decode_list(self, x: bytes, f: int, **kwargs: Any) -> tuple[list[Value], int]:
        self._count_item()
        items: tuple[list[Value], int] = super().decode_list(x, f, **kwargs)
        return items

    def decode_dict(self, x: bytes, f: int, depth: int = 0, **_kwargs: Any) -> tuple[dict[bytes, Value], int]:
        """Read a dictionary; of equal keys the first wins, as in libtorrent.

        Not in the outermost one, where a message with two `t` or `y` could mean one thing to us
        and another to a firewall or to the next node: it is refused, as in mldht.
        """
        self._count_item()
        if depth >= MAX_DEPTH:
            raise BencodeError("too deep")
        entries: dict[bytes, Value] = {}
        f += 1
        while x[f : f + 1] != b"e":
            key, f = self.decode_string(x, f)
            value, f = self.decode_func[x[f : f + 1]](x, f, depth=depth + 1)
            if not depth and key in entries:
                raise BencodeError("repeated key")
            entries.setdefault(key, value)
        return entries, f + 1

    def _count_item(self) -> None:
        self._items += 1
        if self._items > self._max_items:
            raise BencodeError("too many items")


class _FileDecoder(_TolerantDecoder):
    """Read a dictionary in which each key has one meaning, and note where the outermost values stand."""

    def __init__(self, max_items: int, max_depth: int) -> None:
        super().__init__(max_items, max_depth)
        self.places: dict[bytes, slice] = {}

    def decode_dict(self, x: bytes, f: int, depth: int = 0, **_kwargs: Any) -> tuple[dict[bytes, Value], int]:
        """Read a dictionary; a key that is repeated is refused at every level."""
        self._count_item()
        if depth > self.max_depth:
            raise BencodeError("too deep")
        entries: dict[bytes, Value] = {}
        f += 1
        while x[f : f + 1] != b"e":
            key, start = self.decode_string(x, f)
            value, f = self.decode_func[x[start : start + 1]](x, start, depth=depth + 1)
            if key in entries:
                raise BencodeError("repeated key")
            entries[key] = value
            if not depth:
                self.places[key] = slice(start, f)
        return entries, f + 1
