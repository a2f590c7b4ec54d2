"""Bencode: bytes to values and back (BEP 3).

Output is always canonical.  Input is not trusted: it is read by bencode2, which is fast and strict,
and where that refuses, by a decoder that tolerates what live clients send (unsorted or repeated
keys, leading zeros, bytes after the value).  Depth, items and length of input bound the work on
both paths, and `BencodeError` is all that a reader of bytes can raise.
"""

from collections.abc import Container
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

# No item is shorter than `0:` or `le`, so this length bounds the items.
_FAST_BYTES = 2 * MAX_ITEMS
_END = b"e"[0]


class BencodeError(ValueError):
    """Bytes that do not start with a bencoded value, or start with one over our limits."""


class Decoded(NamedTuple):
    """A value, and whether its input was the canonical encoding of it with nothing after it.

    Of canonical input, `encode` returns the exact bytes of any part.
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

    Canonical input may have integers of any length.  Other input may have `max_items` values and
    keys, at up to 2 us each.
    """
    value = read_canonical_untrusted(data)
    return _TolerantDecoder(max_items).decode(data) if value is None else value


def read_canonical_untrusted(data: bytes) -> Value | None:
    """Return the value that `data` is the encoding of, or None if that takes a tolerant decoder.

    0.4 to 1 us for a message of the network; raises nothing.
    """
    # bencode2 bounds neither depth nor items, so it gets only input that cannot have too many.  Each
    # level ends with an `e`, hence more levels than `MAX_DEPTH` need more `e` than that, and twice as
    # many bytes.
    # A refusal costs it 40 times a success: it does not see what does not end as a message ends.
    size = len(data)
    if not 0 < size <= _FAST_BYTES or data[-1] != _END:
        return None
    if size > 2 * MAX_DEPTH and data.count(b"e") > MAX_DEPTH:
        return None
    try:
        value: Value = bencode2.bdecode(data)
    except ValueError:
        return None
    return value


def read_prefix_untrusted(data: bytes, max_items: int = MAX_ITEMS) -> tuple[Value, int]:
    """Return the value at the start of `data` and the index where it ends.

    For messages in which other bytes follow a value (BEP 9).  Raises `BencodeError` and nothing
    else; up to 2 us per item.
    """
    return _TolerantDecoder(max_items).decode_prefix(data)


def read_file_untrusted(
    data: bytes, max_items: int, max_depth: int, once: Container[bytes]
) -> tuple[dict[bytes, Value], dict[bytes, slice]]:
    """Read the dictionary at the start of a file: its values, and the slice of `data` that each is.

    For parts that are hashed as they stand.  Of equal keys the first wins, but the keys `once` may
    not be repeated.  Raises `BencodeError`; up to 2 us per item.
    """
    decoder = _FileDecoder(max_items, max_depth, once)
    entries = decoder.decode(data)
    if not isinstance(entries, dict):
        raise BencodeError("not a dictionary")
    return entries, decoder.places


def decode_canonical(data: bytes) -> Value:
    """Return the value of bytes that are known to be canonical and within limits."""
    value: Value = bencode2.bdecode(data)
    return value


class _TolerantDecoder(bencodepy.BencodeDecoder):  # type: ignore[misc]  # ships no types
    """A decoder of one input that may not be canonical, within limits."""

    # The base class takes for a length what `int()` takes: it reads `1_0:` as 10 and never returns on
    # `d1:ai1e-6:`, whose negative length moves it backwards.  It also accepts strings that are cut short.

    def __init__(self, max_items: int = MAX_ITEMS, max_depth: int = MAX_DEPTH) -> None:
        # The base class calls the outermost level 0.
        super().__init__(max_depth=max_depth - 1)
        self._items = 0
        self._max_items = max_items

    def decode(self, value: bytes) -> Value:
        return self.decode_prefix(value)[0]

    def decode_prefix(self, value: bytes) -> tuple[Value, int]:
        try:
            decoded: tuple[Value, int] = self.decode_func[value[:1]](value, 0)
        except (KeyError, ValueError, bencodepy.BencodeDecodeError) as error:
            raise BencodeError(f"not bencode: {error}") from None
        return decoded

    def decode_int(self, x: bytes, f: int, **_kwargs: Any) -> tuple[int, int]:
        self._count_item()
        start = f + 1
        # Two more: the sign, and the `e` itself.
        end = x.find(b"e", start, start + MAX_DIGITS + 2)
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
        """Read a dictionary; of equal keys the first wins, as in libtorrent."""
        self._count_item()
        if depth >= MAX_DEPTH:
            raise BencodeError("too deep")
        entries: dict[bytes, Value] = {}
        f += 1
        while x[f : f + 1] != b"e":
            key, f = self.decode_string(x, f)
            value, f = self.decode_func[x[f : f + 1]](x, f, depth=depth + 1)
            # A message with two `t` or `y` could mean one thing to us and another to a firewall or to
            # the next node: it is refused, as in mldht.
            if not depth and key in entries:
                raise BencodeError("repeated key")
            entries.setdefault(key, value)
        return entries, f + 1

    def _count_item(self) -> None:
        self._items += 1
        if self._items > self._max_items:
            raise BencodeError("too many items")


class _FileDecoder(_TolerantDecoder):
    """A decoder that refuses some keys repeated and records where the outermost values stand."""

    def __init__(self, max_items: int, max_depth: int, once: Container[bytes]) -> None:
        super().__init__(max_items, max_depth)
        self.places: dict[bytes, slice] = {}
        self._once = once

    def decode_dict(self, x: bytes, f: int, depth: int = 0, **_kwargs: Any) -> tuple[dict[bytes, Value], int]:
        self._count_item()
        if depth > self.max_depth:
            raise BencodeError("too deep")
        entries: dict[bytes, Value] = {}
        f += 1
        while x[f : f + 1] != b"e":
            key, start = self.decode_string(x, f)
            value, f = self.decode_func[x[start : start + 1]](x, start, depth=depth + 1)
            if key not in entries:
                entries[key] = value
                if not depth:
                    self.places[key] = slice(start, f)
            elif key in self._once:
                raise BencodeError("repeated key")
        return entries, f + 1
