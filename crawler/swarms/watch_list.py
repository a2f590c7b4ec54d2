"""The info-hashes that a watch was given: on the command line, and in a file that may change."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from crawler.db.records.torrents import HybridTorrent
from crawler.db.records.watched_swarms import GIVEN, LISTED
from crawler.settings import MOST_WATCHED
from dhtnode import InfoHash, InvalidInfoHash, parse_info_hash, parse_magnet
from dhtnode.files import read_file, text_of
from dhtnode.magnet import is_magnet

MAX_BYTES = 100_000_000  # of the file: a magnet link for each that can be watched, and a remark
MOST_COMPLAINTS = 5  # lines of one file, of which each gets a line


class Reading(NamedTuple):
    """The swarms to watch, each with its source, and one line for each thing that was wrong.

    `named` is None when it is what it was.  `links` are the magnet links in the file that name web
    seeds, `hybrids` the torrents of both versions, of which both swarms are watched.
    """

    named: list[tuple[bytes, str]] | None
    complaints: list[str]
    links: Sequence[str] = ()
    hybrids: Sequence[HybridTorrent] = ()


class WatchList:
    """The list of swarms to watch, read at first, and again when its file has changed.

    `read` blocks; a worker thread may make the calls.
    """

    def __init__(self, given: Sequence[InfoHash], path: Path | None) -> None:
        self._given: list[tuple[bytes, str]] = [(info_hash, GIVEN) for info_hash in given]
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._trouble: str | None = None

    def read(self) -> Reading:
        """Return the whole list; raise `ValueError` when the file cannot be read."""
        try:
            return self._load()
        except OSError as error:
            raise ValueError(f"{self._path}: {error.strerror or error}") from error

    def read_again(self) -> Reading | None:
        """Return the whole list when the file has changed, else None.

        One that cannot be read any more leaves the list as it was; that is told once.
        """
        if self._path is None:
            return None
        try:
            reading = None if self._stamp(self._path) == self._seen else self._load()
        except OSError as error:
            trouble = f"{self._path}: {error.strerror or error}; the list stays as it was"
            is_new, self._trouble = trouble != self._trouble, trouble
            return Reading(None, [trouble]) if is_new else None
        self._trouble = None
        return reading

    def _load(self) -> Reading:
        if self._path is None:
            return Reading(self._given, [])
        seen = self._stamp(self._path)  # before it is read, or a change in between would be missed
        listed = _read(self._path)
        self._seen = seen
        return listed._replace(named=[*self._given, *(listed.named or ())])

    def _stamp(self, path: Path) -> tuple[int, int, int]:
        found = path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> Reading:
    """Read a file of info-hashes, one to a line; blank lines and those that begin with # are skipped."""
    named: list[tuple[bytes, str]] = []
    complaints: list[str] = []
    links: list[str] = []
    hybrids: list[HybridTorrent] = []
    wrong = 0
    data = read_file(path, MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        complaints.append(f"{path}: only its first {MAX_BYTES} bytes are read")
    for number, line in enumerate(text_of(data[:MAX_BYTES]).splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if len(named) == MOST_WATCHED:
            complaints.append(f"{path}, line {number}: only {MOST_WATCHED} are watched")
            break
        try:
            if not is_magnet(text):
                named.append((parse_info_hash(text), LISTED))
                continue
            magnet = parse_magnet(text)
            named.append((magnet.info_hash, LISTED))
            if magnet.web_seeds:
                links.append(text)
            if magnet.is_hybrid:
                named.append((magnet.info_hashes[1], LISTED))
                hybrids.append(HybridTorrent(magnet.info_hash, magnet.info_hashes[1], "magnet"))
        except InvalidInfoHash as error:
            wrong += 1
            if wrong <= MOST_COMPLAINTS:
                complaints.append(f"{path}, line {number}: {error}")
    if wrong > MOST_COMPLAINTS:
        complaints.append(f"{path}: {wrong - MOST_COMPLAINTS} more lines are no info-hashes")
    return Reading(named, complaints, links, hybrids)
