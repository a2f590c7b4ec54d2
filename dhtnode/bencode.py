"""Bencode: bytes to values and back (BEP 3).

Output is always canonical: messages are written by bencode2, which is fast, and what a caller gives by
bencode.py, which takes texts and tuples too.  Input is not trusted: it is read by bencode2, which is
strict, and where that refuses, by a reader that tolerates what live clients send (unsorted or repeated
keys, leading zeros, bytes after the value).  Depth, items and length of input bound the work on
both paths, and `BencodeError` is all that a reader of bytes can raise.
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

# No item is shorter than `0:` or `le`, so this length bounds the items.
_FAST_BYTES = 2 * MAX_ITEMS
# By the length of an input: how many `l` and `d` it may have, each of which may open a level.  Messages
# have up to 8, and one in 128 random bytes is such a one.
_MAX_OPENINGS = bytes(min(MAX_DEPTH, 8 + size // 64) for size in range(_FAST_BYTES + 1))
_DICTIONARY, _INTEGER, _LIST, _END, _ZERO, _NINE = b"dile09"


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


def encode_given(value: object) -> bytes:
    """Return the canonical encoding of a value that a caller gives; text becomes UTF-8.

    Raises `TypeError`, `ValueError` or `RecursionError` for what bencode cannot express.
    """
    try:
        encoded: bytes = bencodepy.encode(value)
    except KeyError as error:
        raise TypeError(f"no encoding for {error}") from error
    return encoded


def decode_untrusted(data: bytes) -> Decoded:
    """Read the value at the start of `data`; raise `BencodeError` and nothing else."""
    value = read_untrusted(data)
    return Decoded(value, canonical=encode(value) == data)


def read_untrusted(data: bytes, max_items: int = MAX_ITEMS) -> Value:
    """Read the value at the start of `data`, canonical or not; raise `BencodeError` and nothing else.

    Canonical input may have integers of any length.  Other input may have `max_items` values and
    keys, at up to 0.5 us each.
    """
    value = read_canonical_untrusted(data)
    return read_prefix_untrusted(data, max_items)[0] if value is None else value


def read_canonical_untrusted(data: bytes) -> Value | None:
    """Return the value that `data` is the encoding of, or None if that takes a tolerant reader.

    0.4 to 1 us for a message of the network; raises nothing.
    """
    # bencode2 bounds neither depth nor items, so it gets only input that cannot have too many.
    # A refusal costs it 40 times a success, and 2 us more for each level that is open.  So it sees
    # neither what does not end as a message ends, nor what may open many levels, closed or not.
    size = len(data)
    if not 0 < size <= _FAST_BYTES or data[-1] != _END:
        return None
    if data.count(b"l") + data.count(b"d") > _MAX_OPENINGS[size]:
        return None
    try:
        value: Value = bencode2.bdecode(data)
    except Exception:  # noqa: BLE001  it is not ours, and has raised RuntimeError
        return None
    return value


def read_prefix_untrusted(data: bytes, max_items: int = MAX_ITEMS) -> tuple[Value, int]:
    """Return the value at the start of `data`, canonical or not, and the index where it ends.

    Raises `BencodeError` and nothing else; up to 0.5 us per item.
    """
    return _read(data, max_items, MAX_DEPTH)


class FileValue(NamedTuple):
    """The dictionary of a file, and the slice of the bytes that each value is.

    `repeated` are the keys, at whatever depth, that stand twice in one dictionary: the first counts.
    """

    entries: dict[bytes, Value]
    places: dict[bytes, slice]
    repeated: set[bytes]


def read_file_untrusted(data: bytes, max_items: int, max_depth: int) -> FileValue:
    """Read the dictionary at the start of a file, whose parts are hashed as they stand.

    Raises `BencodeError`; up to 0.5 us per item.
    """
    begins: list[int] = []
    repeated: set[bytes] = set()
    entries, _ = _read(data, max_items, max_depth, repeated, begins)
    if not isinstance(entries, dict):
        raise BencodeError("not a dictionary")
    places: dict[bytes, slice] = {}
    for key, value, end in zip(begins[::2], begins[1::2], begins[2::2], strict=False):
        places.setdefault(data[key:value].partition(b":")[2], slice(value, end))
    return FileValue(entries, places, repeated)


def decode_canonical(data: bytes) -> Value:
    """Return the value of bytes that are known to be canonical and within limits."""
    value: Value = bencode2.bdecode(data)
    return value


def _read(
    data: bytes,
    max_items: int,
    max_depth: int,
    repeated: set[bytes] | None = None,
    begins: list[int] | None = None,
) -> tuple[Value, int]:
    """Return the value at the start, and where it ends.

    Keys that stand twice are put into `repeated`; without it, those of the outermost dictionary are refused.
    Where the keys, the values and the end of the latter begin is put into `begins`.
    """
    # One loop without recursion, and strings without a call: an item takes 0.2 to 0.5 us.
    at = items = kind = 0
    size, find = len(data), data.find
    inner: list[Value] = []
    around: list[tuple[int, list[Value]]] = []  # the levels that are open: their kind, and what they hold
    value: Value
    while at < size and items <= max_items:
        byte = data[at]
        if begins is not None and len(around) == 1:
            begins.append(at)
        if _ZERO <= byte <= _NINE:
            items += 1
            colon = find(b":", at, at + MAX_DIGITS + 1)
            digits = data[at:colon]
            if colon < 0 or not digits.isdigit():
                raise BencodeError("not bencode: bad length")
            at = colon + 1 + int(digits)
            value = data[colon + 1 : at]
        elif byte == _END and around:
            at += 1
            value = _close(kind, inner, set() if repeated is None and len(around) > 1 else repeated)
            kind, inner = around.pop()
        elif byte == _LIST or byte == _DICTIONARY:  # noqa: SIM109  half the time
            items += 1
            around.append((kind, inner))
            kind, inner, at = byte, [], at + 1
            if len(around) > max_depth:
                raise BencodeError("too deep")
            continue
        else:
            items += 1
            value, at = _read_integer(data, at)
        if not around and items <= max_items and at <= size:
            return value, at
        inner.append(value)
    if items > max_items:
        raise BencodeError("too many items")
    raise BencodeError("not bencode: string cut short" if at > size else "not bencode: cut short")


def _read_integer(data: bytes, at: int) -> tuple[int, int]:
    start = at + 1
    # Two more: the sign, and the `e` itself.
    end = data.find(b"e", start, start + MAX_DIGITS + 2)
    digits = data[start:end].removeprefix(b"-")
    # `int()` would take more than digits.
    if data[at] != _INTEGER or end < 0 or not digits.isdigit() or len(digits) > MAX_DIGITS:
        raise BencodeError("not bencode: bad integer")
    return int(data[start:end]), end + 1


def _close(kind: int, parts: list[Any], repeated: set[bytes] | None) -> Value:
    """Return a list as it is, or the dictionary of keys and values in turn; see `_read`."""
    if kind == _LIST:
        return parts
    if not parts:
        return {}
    keys, values = parts[::2], parts[1::2]
    for key in keys:
        if type(key) is not bytes:
            raise BencodeError("not bencode: a key is no string")
    if len(keys) != len(values):
        raise BencodeError("not bencode: a key without a value")
    entries = dict(zip(keys, values, strict=True))
    if len(entries) < len(keys):
        entries = {}
        for key, value in zip(keys, values, strict=True):
            # A message with two `t` or `y` could mean one thing to us and another to a firewall or to
            # the next node: it is refused, as in mldht.
            if key not in entries:
                entries[key] = value
            elif repeated is None:
                raise BencodeError("repeated key")
            else:
                # The first wins, as in libtorrent.
                repeated.add(key)
    return entries
