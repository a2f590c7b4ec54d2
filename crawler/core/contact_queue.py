"""A queue of compact contacts that takes the bytes of each and hardly more."""

from collections import deque
from collections.abc import Iterator

CHUNK_CONTACTS = 1024


class ContactQueue:
    """Contacts in the order in which they came; both ends cost the same, however many wait."""

    def __init__(self, bytes_each: int) -> None:
        self._bytes_each = bytes_each
        self._chunk_bytes = CHUNK_CONTACTS * bytes_each
        self._chunks: deque[bytearray] = deque()
        self._at = 0  # in the first chunk
        self._length = 0

    def __len__(self) -> int:
        """Return how many contacts wait."""
        return self._length

    def push(self, contact: bytes) -> None:
        """Add a contact at the end."""
        if not self._chunks or len(self._chunks[-1]) >= self._chunk_bytes:
            self._chunks.append(bytearray())
        self._chunks[-1] += contact
        self._length += 1

    def pop(self) -> bytes:
        """Take the contact that came first; raise `IndexError` when none waits."""
        chunk = self._chunks[0]
        contact = bytes(chunk[self._at : self._at + self._bytes_each])
        self._at += self._bytes_each
        if self._at >= self._chunk_bytes or self._length == 1:
            self._chunks.popleft()
            self._at = 0
        self._length -= 1
        return contact

    def drain(self) -> Iterator[bytes]:
        """Take all contacts that wait now, one after the other; what comes meanwhile stays."""
        for _ in range(self._length):
            yield self.pop()
