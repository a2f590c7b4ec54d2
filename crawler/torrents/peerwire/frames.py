"""Messages between peers as they stand in the stream: a length, a number, and the rest (BEP 3)."""

from enum import IntEnum
from typing import NamedTuple

MAX_FRAME_BYTES = 128 * 1024
"""Length of one message: a bitfield of a million pieces.  A peer that announces a longer one is left."""

_LENGTH_BYTES = 4


class BadPeer(ValueError):
    """A peer breaks the protocol, or one of our limits: nothing more is read from it."""


class FrameKind(IntEnum):
    """The messages that we read; all others are skipped (BEP 3, BEP 6, BEP 10)."""

    UNCHOKE = 1
    HAVE = 4
    BITFIELD = 5
    PIECE = 7
    HAVE_ALL = 14
    HAVE_NONE = 15
    EXTENDED = 20


class Frame(NamedTuple):
    """One message: its number, and what follows it.  Of a keep-alive the number is None."""

    kind: int | None
    payload: bytes = b""


class FrameReader:
    """A stream cut into messages; holds at most one unfinished message and what was fed last."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Add bytes of the stream; to be followed by `next_untrusted` until it returns None."""
        self._buffer += data

    def next_untrusted(self) -> Frame | None:
        """Return the next whole message, or None; raises `BadPeer` as soon as a length is too large."""
        length = int.from_bytes(self._buffer[:_LENGTH_BYTES])
        if length > MAX_FRAME_BYTES:
            raise BadPeer("message too long")
        end = _LENGTH_BYTES + length
        if len(self._buffer) < end:
            return None
        content = bytes(self._buffer[_LENGTH_BYTES:end])
        del self._buffer[:end]
        return Frame(content[0], content[1:]) if content else Frame(None)


def encode_frame(kind: int, payload: bytes = b"") -> bytes:
    """Return a message as it goes into the stream."""
    return (1 + len(payload)).to_bytes(_LENGTH_BYTES) + bytes((kind,)) + payload
