"""The info dictionary, put together from parts of 16 KiB that one peer sends (BEP 9)."""

from collections import deque
from hashlib import sha1, sha256

from crawler.torrents.peerwire.extension import PART_BYTES, MetadataMessage
from crawler.torrents.peerwire.frames import BadPeer
from dhtnode import InfoHash

MAX_METADATA_BYTES = 8 * 1024 * 1024
"""Length of an info dictionary: 400,000 pieces, or 100,000 files.  Longer ones are not requested."""

AT_ONCE = 4  # requests under way; clients that guard against floods count them


class Assembly:
    """The parts that have come, never more than `size` bytes, and those to request next."""

    def __init__(self, info_hash: InfoHash, size: int, at_once: int = AT_ONCE) -> None:
        """Expect `size` bytes, 1 to `MAX_METADATA_BYTES`, and request at most `at_once` parts at a time."""
        self._info_hash = info_hash
        self._size = size
        self._at_once = at_once
        self._unasked = deque(range(-(-size // PART_BYTES)))
        self._awaited: set[int] = set()
        self._put_back: set[int] = set()  # these may come twice
        self._parts: dict[int, bytes] = {}

    @property
    def is_complete(self) -> bool:
        """Return whether every part is there."""
        return not self._unasked and not self._awaited

    def next_requests(self) -> list[int]:
        """Return the parts to request now; they count as requested."""
        requests = []
        while self._unasked and len(self._awaited) < self._at_once:
            requests.append(self._unasked.popleft())
            self._awaited.add(requests[-1])
        return requests

    def put_back(self) -> None:
        """Count what was requested and has not come as not requested, to be requested one at a time."""
        self._put_back |= self._awaited
        self._unasked.extendleft(sorted(self._awaited, reverse=True))
        self._awaited.clear()
        self._at_once = 1

    def record(self, message: MetadataMessage) -> None:
        """Record one part; raises `BadPeer` unless it was requested and is as long as it has to be."""
        if message.part not in self._awaited | self._put_back:
            raise BadPeer("metadata that was not asked for")
        if message.total_size not in (None, self._size):
            raise BadPeer("another size of metadata than before")
        if len(message.data) != min(PART_BYTES, self._size - message.part * PART_BYTES):
            raise BadPeer("part of metadata of the wrong length")
        self._awaited.discard(message.part)
        self._parts[message.part] = message.data
        if message.part in self._unasked:
            # It has come after all.
            self._unasked.remove(message.part)

    def verified(self) -> bytes:
        """Return the whole; raises `BadPeer` when its hash is not the info-hash.

        The info-hash is the SHA-1 in version 1, and the start of the SHA-256 in version 2 (BEP 52).
        Takes some 20 ms at worst.
        """
        data = b"".join(self._parts[part] for part in sorted(self._parts))
        hashes = (sha1(data, usedforsecurity=False).digest(), sha256(data).digest())
        if self._info_hash not in [each[: len(self._info_hash)] for each in hashes]:
            raise BadPeer("metadata with another hash")
        return data
