"""Which pieces a peer says to have: bitfield and haves (BEP 3), all or none at once (BEP 6), losses."""

from crawler.db.records.torrents import PeerKind, PiecesHeld
from crawler.torrents.peerwire.frames import BadPeer

MAX_PIECES = 1_000_000
"""Pieces of one torrent: 125 kB for each connection.  16 TB in pieces of 16 MiB have as many."""

_INDEX_BYTES = 4
_BYTES_OF_BITS = 8


class PieceMap:
    """The pieces of one peer; `MAX_PIECES` bits at most, or as many as the torrent is known to have."""

    def __init__(self, pieces: int | None = None) -> None:
        self.is_told = False
        self._pieces = MAX_PIECES if pieces is None else pieces
        self._highest = -1  # of the numbers that were named one by one
        self._has_all = False
        self._has_bitfield = False
        self._bits = bytearray()
        self._lost: set[int] = set()  # of those that it had all at once
        self._haves = 0

    def record_all_untrusted(self, payload: bytes) -> None:
        """Record have-all; raises `BadPeer`, as the next ones, when it says more than once what it has."""
        self._begin(payload, 0)
        self._has_all = True

    def record_none_untrusted(self, payload: bytes) -> None:
        """Record have-none."""
        self._begin(payload, 0)

    def record_bitfield_untrusted(self, payload: bytes) -> None:
        """Record a bitfield."""
        self._begin(payload, len(payload))
        if not 0 < len(payload) <= MAX_PIECES // _BYTES_OF_BITS:
            raise BadPeer("bitfield of a strange length")
        self._has_bitfield = True
        self._bits += payload

    def record_have_untrusted(self, payload: bytes) -> None:
        """Record the number of one piece; may come before anything else, and any number of times."""
        index = self._index_in(payload)
        self.is_told = True
        self._haves += 1
        self._lost.discard(index)
        byte, bit = divmod(index, _BYTES_OF_BITS)
        if byte >= len(self._bits):
            self._bits.extend(bytes(byte + 1 - len(self._bits)))
        self._bits[byte] |= 0x80 >> bit

    def record_loss_untrusted(self, payload: bytes) -> None:
        """Record the number of one piece that the peer has no more (`lt_donthave`)."""
        index = self._index_in(payload)
        if self._has_all:
            self._lost.add(index)
        byte, bit = divmod(index, _BYTES_OF_BITS)
        if byte < len(self._bits):
            self._bits[byte] &= ~(0x80 >> bit)

    @property
    def haves_of_none(self) -> int | None:
        """Return how many single pieces a peer has named that else has none; None if it has more to say."""
        return None if self._has_all or self._has_bitfield or not self.is_told else self._haves

    def holding(self, pieces: int | None) -> PiecesHeld:
        """Return what that makes the peer, in a torrent of `pieces` pieces; None when that is not known.

        Without the number, a bitfield in which only bits at the end of the last byte are missing may
        be that of a seed or not: that is `UNKNOWN`, as is what contradicts the number.
        """
        if not self.is_told or (pieces is not None and self._highest >= pieces):
            return PiecesHeld(PeerKind.UNKNOWN, None, pieces)
        if self._has_all:
            lost = len(self._lost)
            have = None if pieces is None else pieces - lost
            return PiecesHeld(PeerKind.LEECHER if lost else PeerKind.SEED, have, pieces)
        count = int.from_bytes(self._bits).bit_count()
        if pieces is None:
            return PiecesHeld(self._kind_without_number(count), count, None)
        if not self._fits(pieces):
            return PiecesHeld(PeerKind.UNKNOWN, None, pieces)
        return PiecesHeld(PeerKind.SEED if count == pieces else PeerKind.LEECHER, count, pieces)

    def _index_in(self, payload: bytes) -> int:
        if len(payload) != _INDEX_BYTES:
            raise BadPeer("have of a strange length")
        index = int.from_bytes(payload)
        room = len(self._bits) * _BYTES_OF_BITS if self._has_bitfield else MAX_PIECES
        if index >= min(room, self._pieces):
            raise BadPeer("piece that cannot be")
        self._highest = max(self._highest, index)
        return index

    def _begin(self, payload: bytes, length: int) -> None:
        """Check that this is the first word about pieces, which it must be (BEP 3, BEP 6)."""
        if self.is_told or len(payload) != length:
            raise BadPeer("bitfield in the wrong place")
        self.is_told = True

    def _kind_without_number(self, count: int) -> PeerKind:
        end = bytes(self._bits).rstrip(b"\0") if not self._has_bitfield else bytes(self._bits)
        bits = len(end) * _BYTES_OF_BITS
        if not count or int.from_bytes(end) != ((1 << count) - 1) << (bits - count):
            # One is missing before one that is there.
            return PeerKind.LEECHER
        if self._has_bitfield and bits == count:
            # Spare bits are zero, so there are none.
            return PeerKind.SEED
        return PeerKind.LEECHER if bits - count >= _BYTES_OF_BITS else PeerKind.UNKNOWN

    def _fits(self, pieces: int) -> bool:
        """Return whether the bits can be those of so many pieces; spare ones must be zero (BEP 3)."""
        length = -(-pieces // _BYTES_OF_BITS)
        if len(self._bits) > length or (self._has_bitfield and len(self._bits) < length):
            return False
        spare = len(self._bits) * _BYTES_OF_BITS - pieces
        return spare <= 0 or not int.from_bytes(self._bits) & ((1 << spare) - 1)
