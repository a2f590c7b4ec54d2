"""The info dictionary, put together from parts of 16 KiB that one peer sends (BEP 9)."""

from collections import deque
from hashlib import sha1, sha256

from crawler.torrents.peerwire.extension import PART_BYTES, MetadataMessage
from crawler.torrents.peerwire.frames import BadPeer
from dhtnode import InfoHash

MAX_METADATA_BYTES = 8 * 1024 * 1024
"""Length of an info dictionary: 400,000 pieces, or 100,000 files.  Longer ones are not requested."""

AT_ONCE = 4  # requests under way; clients that guard against floods count them
# Of a peer that answers all of them, but late: Transmission 3.00 does so every three seconds, all at once.
MOST_AT_ONCE = 16
PATIENCE, MOST_PATIENCE = 1.0, 4.0  # seconds of silence until a part is requested again


class Assembly:
    """The parts that have come, never more than `size` bytes, and those to request next."""

    def __init__(
        self, info_hash: InfoHash, size: int, at_once: int = AT_ONCE, most_at_once: int = MOST_AT_ONCE
    ) -> None:
        """Expect `size` bytes, 1 to `MAX_METADATA_BYTES`, and request at most `at_once` parts at a time.

        Request `most_at_once` of a peer that turns out to be late, and to forget none.
        """
        self.patience = PATIENCE
        self._info_hash = info_hash
        self._size = size
        self._at_once = at_once
        self._most_at_once = most_at_once
        self._unasked = deque(range(-(-size // PART_BYTES)))
        self._awaited: set[int] = set()
        self._put_back: set[int] = set()  # these may come twice
        self._parts: dict[int, bytes] = {}

    @property
    def is_complete(self) -> bool:
        """Return whether every part is there."""
        return not self._unasked and not self._awaited

    @property
    def parts(self) -> int:
        """Return how many parts are there."""
        return len(self._parts)

    def next_requests(self) -> list[int]:
        """Return the parts to request now; they count as requested."""
        requests = []
        while self._unasked and len(self._awaited) < self._at_once:
            requests.append(self._unasked.popleft())
            self._awaited.add(requests[-1])
        return requests

    def put_back(self) -> None:
        """Count what was requested and has not come as not requested, to be requested one at a time."""
        put_back = sorted(self._awaited)
        # The first is requested again, and tells nothing when it comes.
        self._put_back = (self._put_back | set(put_back)) - set(put_back[:1])
        self._unasked.extendleft(reversed(put_back))
        self._awaited.clear()
        self._at_once = 1

    def record(self, message: MetadataMessage) -> None:
        """Record one part, unless it was not requested; raises `BadPeer` when it has the wrong length.

        What else is wrong with it does not count: the hash of the whole tells.
        """
        if message.part not in self._awaited | self._put_back:
            return
        if len(message.data) != min(PART_BYTES, self._size - message.part * PART_BYTES):
            raise BadPeer("part of metadata of the wrong length")
        if message.part in self._put_back:
            # It is late, and the peer has not forgotten it.
            self._at_once, self.patience = self._most_at_once, MOST_PATIENCE
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
