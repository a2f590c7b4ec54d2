"""All that a tracker has, in one answer of any length: entries are cut out one by one (BEP 48).

An answer may hold millions of entries and does not fit into memory.  What is read waits for the rest of one
entry at most.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from dhtnode.bencode import BencodeError, read_untrusted
from dhtnode.ids import ID_BYTES, InfoHash
from dhtnode.trackers.http_messages import counts_in, info_hash_of_text
from dhtnode.trackers.messages import Outcome, SwarmCounts, TrackerError, malformed

MAX_FULL_BYTES = 2 << 30
"""Bytes of an answer, unpacked: some 30 million swarms."""

MAX_ENTRY = 65_536
"""Bytes of one swarm with all that is told about it, and of what else stands in an answer."""

_MAX_DEPTH = 8
_MAX_VALUES = 64
# A swarm as nearly all trackers write it.
_ENTRY = re.compile(
    rb"20:(.{20})d8:completei(\d{1,10})e10:downloadedi(\d{1,10})e10:incompletei(\d{1,10})ee", re.DOTALL
)


class FullEntry(NamedTuple):
    """A swarm, and what the tracker says of it."""

    info_hash: InfoHash
    counts: SwarmCounts


class FullScrapeReader:
    """A reader of one answer, fed with its parts; raises `TrackerError` for what is none."""

    def __init__(self) -> None:
        self.malformed = 0
        """Entries that were left out, because they say nothing of a swarm."""

        self._buffer = b""
        self._wanted = 0
        self._is_begun = False
        self._in_files = False
        self._is_done = False
        self._has_files = False

    def feed(self, part: bytes) -> list[FullEntry]:
        """Return swarms that are complete; the last of them may come with a later part, or by `close`."""
        self._buffer += part
        # An entry that came in part is not read again for each byte: its length would count twice.
        if len(self._buffer) < self._wanted:
            return []
        found = list(self._read())
        if len(self._buffer) > 2 * MAX_ENTRY + len(part):
            raise malformed("an entry without end")
        self._wanted = len(self._buffer) * 5 // 4
        return found

    def close(self) -> list[FullEntry]:
        """Return the last swarms; raises unless the answer was whole."""
        found = list(self._read())
        if not self._is_done or not self._has_files:
            raise malformed("cut off, or without swarms")
        return found

    def _read(self) -> Iterator[FullEntry]:
        buffer, at = self._buffer, 0
        try:
            while at < len(buffer) and not self._is_done:
                if self._in_files and (match := _ENTRY.match(buffer, at)):
                    info_hash, seeds, downloaded, leechers = match.groups()
                    at = match.end()
                    yield from self._entry(info_hash, SwarmCounts(int(seeds), int(leechers), int(downloaded)))
                elif not self._is_begun:
                    if buffer[:1] != b"d":
                        raise malformed("not a dictionary")
                    self._is_begun, at = True, 1
                elif buffer[at] == _END:
                    self._is_done, self._in_files, at = not self._in_files, False, at + 1
                else:
                    if not 48 <= buffer[at] < 58:
                        raise malformed("a key is no text")
                    value_at = _end_of(buffer, at)
                    if value_at is None:
                        return
                    key = buffer[buffer.index(b":", at) + 1 : value_at]
                    if not self._in_files and key in (b"files", b"host") and buffer[value_at:]:
                        if buffer[value_at : value_at + 1] != b"d":
                            raise malformed("files are no dictionary")
                        self._in_files = self._has_files = True
                        at = value_at + 1
                        continue
                    end = _end_of(buffer, value_at)
                    if end is None:
                        return
                    yield from self._value(key, buffer[value_at:end])
                    at = end
        finally:
            self._buffer = buffer[at:]

    def _value(self, key: bytes, raw: bytes) -> Iterator[FullEntry]:
        if not self._in_files:
            if key == b"failure reason":
                text = raw.partition(b":")[2].decode("utf-8", "replace")
                raise TrackerError(Outcome.REFUSED, text)
            return
        try:
            value = read_untrusted(raw, _MAX_VALUES)
            if isinstance(value, dict):
                yield from self._entry(key, counts_in(value))
                return
        except (BencodeError, TrackerError):
            pass
        self.malformed += 1

    def _entry(self, key: bytes, counts: SwarmCounts) -> Iterator[FullEntry]:
        if len(key) != ID_BYTES:
            # As bittorrent-tracker has it.
            key = info_hash_of_text(key)
        if len(key) == ID_BYTES and max(counts.seeds, counts.leechers, counts.downloaded or 0) < 1 << 31:
            yield FullEntry(InfoHash(key), counts)
        else:
            self.malformed += 1


_END = ord("e")


def _end_of(buffer: bytes, at: int) -> int | None:
    """Return where the value at a place ends, or None where it goes on in the next part."""
    depth, limit = 0, at + MAX_ENTRY
    while at < len(buffer):
        first = buffer[at : at + 1]
        if first in b"dl":
            depth, at = depth + 1, at + 1
        elif first == b"e":
            depth, at = depth - 1, at + 1
        else:
            end = buffer.find(b"e" if first == b"i" else b":", at, at + 24)
            digits = buffer[at + (first == b"i") : end]
            if end < 0 and len(buffer) - at < 24:
                return None
            if end < 0 or not re.fullmatch(rb"-?\d{1,20}", digits) or (first != b"i" and digits[0] == 45):
                raise malformed("no bencoding")
            at = end + 1 + (0 if first == b"i" else int(digits))
        if depth < 0 or depth > _MAX_DEPTH or at > limit:
            raise malformed("no bencoding, or too much in one place")
        if not depth and at <= len(buffer):
            return at
    return None
