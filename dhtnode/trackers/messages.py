"""What is asked of a tracker and what it answers, whichever protocol carries it (BEP 3, 15, 48).

Numbers of a tracker are what it claims; whether they are true is for others to judge.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from dhtnode.addresses import Address
from dhtnode.errors import DhtError
from dhtnode.escaping import escaped
from dhtnode.ids import InfoHash
from dhtnode.user_keys import hide_keys

PEER_ID_PREFIX = b"-DN0001-"
"""The first bytes of our peer ids (BEP 20)."""

MAX_TEXT = 200
"""Characters of an error or a warning that are kept."""


class Event(StrEnum):
    """What an announce tells beside numbers (BEP 3); its number over UDP is that of BEP 15."""

    number: int

    NONE = "", 0
    COMPLETED = "completed", 1
    STARTED = "started", 2
    STOPPED = "stopped", 3
    PAUSED = "paused", 4  # wants no more, and does not have all (BEP 21)

    def __new__(cls, word: str, number: int) -> Self:
        """Make an event that knows its number."""
        event = str.__new__(cls, word)
        event._value_ = word
        event.number = number
        return event


class Outcome(StrEnum):
    """How it ended to ask a tracker."""

    ANSWERED = "answered"
    SILENT = "silent"
    REFUSED = "refused"  # it answered with an error
    LATER = "later"  # it, or its operator, asks to wait
    NEVER = "never"  # it asks not to be asked again (BEP 31)
    DENIED = "denied"  # its DNS names other ports, or none (BEP 34)
    NOT_PUBLIC = "not-public"  # its name leads into a network that is none of its business
    NO_SUCH_NAME = "no-such-name"
    UNREACHABLE = "unreachable"
    TLS = "tls"
    HTTP = "http"  # another status than 200
    MALFORMED = "malformed"
    TOO_LONG = "too-long"
    NO_SCRAPE = "no-scrape"  # its URL has no scrape beside it (BEP 48)
    SKIPPED_SCHEME = "skipped-scheme"  # as of WebTorrent or I2P


@dataclass(frozen=True, slots=True)
class SwarmCounts:
    """What a tracker says of one swarm; None is what it does not say.

    `downloaded` counts completed downloads since it began to count; `downloaders` (BEP 21) are the
    leechers that do not only share a part.
    """

    seeds: int
    leechers: int
    downloaded: int | None = None
    downloaders: int | None = None

    @property
    def is_zero(self) -> bool:
        """Return whether no peer is there: over UDP that may mean an unknown swarm, too."""
        return self.seeds == self.leechers == 0

    @property
    def partial_seeds(self) -> int | None:
        """Return how many share a part and want no more (BEP 21), where that is told."""
        return None if self.downloaders is None else max(0, self.leechers - self.downloaders)


@dataclass(frozen=True, slots=True)
class ScrapeAnswer:
    """What a tracker says of the swarms that it was asked for.

    `counts` has those that it listed.  `is_cut` says that it answered for fewer than it was asked, in
    order: the others were not looked at.  `has_utf8_keys` marks a tracker that writes info-hashes as text.
    `min_interval` is how many seconds it asks to wait before the next scrape.
    """

    counts: Mapping[InfoHash, SwarmCounts]
    is_cut: bool = False
    has_utf8_keys: bool = False
    min_interval: int | None = None
    warning: str = ""


@dataclass(frozen=True, slots=True)
class AnnounceRequest:
    """A peer that a tracker is told of (BEP 3): by default one that has nothing, and is no seed.

    `key` tells it from others at the same address (BEP 7), for as long as it is there.
    """

    info_hash: InfoHash
    peer_id: bytes
    port: int
    key: int
    event: Event = Event.NONE
    left: int = 16_384  # as libtorrent says of a size that it does not know; some read larger ones as 0
    wanted: int = 200
    tracker_id: bytes = b""


@dataclass(frozen=True, slots=True)
class AnnounceAnswer:
    """What a tracker says to a peer that announced itself.

    `interval` and `min_interval` are in seconds.  A peer that it gave by name, which few do, is in `named`.
    """

    interval: int
    peers: tuple[Address, ...]
    seeds: int | None = None
    leechers: int | None = None
    min_interval: int | None = None
    warning: str = ""
    tracker_id: bytes = b""
    external_host: str | None = None
    named: tuple[tuple[str, int], ...] = field(default=())


class TrackerError(DhtError):
    """A tracker that gave no answer to use: how, and after how many seconds to ask it again if it said so."""

    def __init__(self, outcome: Outcome, reason: str = "", retry_after: int | None = None) -> None:
        # A tracker may repeat the URL that it was asked at.
        reason = hide_keys(reason[: 4 * MAX_TEXT])[:MAX_TEXT]
        super().__init__(outcome, reason, retry_after)
        self.outcome = outcome
        self.reason = reason
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.outcome}: {escaped(self.reason)}" if self.reason else str(self.outcome)


def malformed(reason: str) -> TrackerError:
    """Return the error of an answer that cannot be one."""
    return TrackerError(Outcome.MALFORMED, reason)
