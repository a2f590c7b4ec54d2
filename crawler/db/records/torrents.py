"""What is learned from peers about a swarm and its torrent: frozen values without a single address."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from dhtnode import InfoHash
from dhtnode.escaping import escaped
from dhtnode.ids import ID_BYTES
from dhtnode.torrents import TorrentInfo
from dhtnode.trackers import TrackerUrl

SUSPECTED = 1.0
"""The score from which on a peer is suspected to be a hidden seed."""

MAX_NAME = 255
"""Characters of the name of a torrent that are stored, before those that do not print are escaped."""


class PeerKind(StrEnum):
    """What a peer is, by its own account."""

    SEED = "seed"
    LEECHER = "leecher"
    UNKNOWN = "unknown"
    """It connected, and gave no pieces, or impossible ones, or broke the protocol."""


class PiecesHeld(NamedTuple):
    """What a peer is, and how many pieces of how many it has, as far as that is known."""

    kind: PeerKind
    have: int | None
    total: int | None


@dataclass(frozen=True, slots=True)
class PeerReport:
    """What one peer said of itself.  It has no address, so that none can be stored.

    `upload_only` marks a peer that wants nothing more, seed or not (BEP 21); `client` is two letters,
    or `unknown`.  `superseed_score` is how much speaks for a seed that hides what it has (BEP 16).
    `extensions` are those of `lt_donthave`, `lt_tex`, `ut_holepunch` and `ut_pex` that it knows, and
    `trackers_hash` is that of all trackers that it has (BEP 28).
    """

    holding: PiecesHeld
    upload_only: bool
    client: str
    superseed_score: float = 0.0
    has_version_2: bool = False
    extensions: frozenset[str] = frozenset()
    trackers_hash: bytes | None = None

    @property
    def is_superseed_suspected(self) -> bool:
        """Return whether enough speaks for that; it counts as a leecher all the same."""
        return self.superseed_score >= SUSPECTED

    @property
    def is_partial_seed(self) -> bool:
        """Return whether it has some pieces, not all, and wants no more (BEP 21)."""
        held = self.holding
        return self.upload_only and held.kind is PeerKind.LEECHER and bool(held.have)

    @property
    def share(self) -> float | None:
        """Return the share of the pieces that it has, as far as that is known."""
        held = self.holding
        if held.kind is PeerKind.SEED:
            return 1.0
        return held.have / held.total if held.have is not None and held.total else None


@dataclass(frozen=True, slots=True)
class SwarmContact:
    """The result of connecting to the peers of one swarm.

    `peers_named` is how many addresses we were given, `peers_tried` how many we tried to connect to;
    `skipped` counts by reason those we did not try, and `failures` those tried that did not speak or
    that we left.  `closed` peers ended the connection without a word, as those do that want it encrypted.
    `in_both_families` peers called themselves by one id over IPv4 and over IPv6.
    `info` is None when no peer gave the metadata or they are not requested.  Bytes are payload of TCP.
    """

    info_hash: InfoHash
    info: TorrentInfo | None
    peers_named: int
    peers_tried: int
    reports: tuple[PeerReport, ...]
    skipped: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    closed: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    exchange: "PexCounts | None" = None
    in_both_families: int = 0
    trackers: "TrackersNamed | None" = None


class TrackersNamed(NamedTuple):
    """Trackers that the peers of a swarm named (BEP 28): how many texts, those kept, the others by reason."""

    named: int
    urls: tuple[TrackerUrl, ...]
    left_out: dict[str, int]


@dataclass(frozen=True, slots=True)
class KnownTorrent:
    """What the database has of a torrent; of a private one nothing but that it is private."""

    is_private: bool
    name: str | None = None
    size: int | None = None
    files: int | None = None
    pieces: int | None = None


@dataclass(frozen=True, slots=True)
class Handshakes:
    """The handshakes with peers of one swarm, as counts.

    `seeds`, `leechers` and `unknown` add up to `peers_answered`; `upload_only` of them want nothing
    more (BEP 21), `partial_seeds` of the leechers have a part and want no more, `superseeds` of the
    leechers may be seeds that hide it (BEP 16), for which `superseed_score` speaks on average;
    `seeds_high` is with them.  `seed_share` is that of the seeds among seeds and leechers, with the ends of
    its 95 % interval, the upper one for all of `superseeds` being seeds; None when there were none of
    either.  `median_share` is that of the pieces that a peer has.  `clients` counts by two
    letters; `in_both_families` is how many answered over IPv4 and over IPv6 under one id.  `lt_tex` peers
    know the exchange of trackers (BEP 28): they had `tracker_lists` different lists and named
    `trackers_named` URLs in all, of which `trackers_kept` are in the database.
    """

    info_hash: InfoHash
    taken_at: str
    peers_named: int
    peers_tried: int
    peers_answered: int
    seeds: int
    leechers: int
    unknown: int
    upload_only: int
    seed_share: float | None
    seed_share_low: float | None
    seed_share_high: float | None
    clients: dict[str, int]
    bytes_sent: int
    bytes_received: int
    partial_seeds: int = 0
    superseeds: int = 0
    superseed_score: float | None = None
    seeds_high: int = 0
    median_share: float | None = None
    lt_donthave: int = 0
    holepunch: int = 0
    pex: int = 0
    version_2: int = 0
    lt_tex: int = 0
    tracker_lists: int = 0
    trackers_named: int = 0
    trackers_kept: int = 0
    closed: int = 0
    refused: int = 0
    other_protocol: int = 0
    in_both_families: int = 0


@dataclass(frozen=True, slots=True)
class PexCounts:
    """What peers of one swarm named in one round (BEP 11), as counts: no address is kept.

    Of `peers_asked`, which know the exchange, `peers_told` named others: `addresses_named` in all, of
    `distinct_addresses`; flags are their word about these.  `overlap` is the share of their hosts that nodes
    of the DHT told of, with its 95 % interval; None without filters.  `n_estimate` is how many hosts can be
    connected to, with its interval: a lower bound; None where fewer than two told.
    """

    peers_asked: int
    peers_told: int
    addresses_named: int
    distinct_addresses: int
    seed_flags: int
    reachable_flags: int
    overlap: float | None
    overlap_low: float | None
    overlap_high: float | None
    n_estimate: float | None
    n_low: float | None
    n_high: float | None


class HybridTorrent(NamedTuple):
    """A torrent of both versions (BEP 52): the info-hash of version 1, and its `twin` of version 2.

    `source` says who tells: file, magnet or peers; `is_consistent` whether both versions name the same files,
    None where that is not known.
    """

    info_hash: InfoHash
    twin: InfoHash
    source: str
    is_consistent: bool | None = None


class HandshakeBatch(NamedTuple):
    """One round of handshakes, the torrent if it has become known, and where the swarm is known from.

    `hints` are trackers that peers named, which nothing is known of.  A `hybrid` is in two swarms.
    """

    source: str
    handshakes: Handshakes
    torrent: KnownTorrent | None
    exchange: PexCounts | None = None
    hints: tuple[TrackerUrl, ...] = ()
    hybrid: HybridTorrent | None = None


def known_of(info: TorrentInfo) -> KnownTorrent:
    """Return what is kept of an info dictionary."""
    if info.is_private:
        return KnownTorrent(is_private=True)
    return KnownTorrent(False, clean_name(info.name) or None, info.size, info.files, info.pieces)


def hybrid_of(info: TorrentInfo | None) -> HybridTorrent | None:
    """Return the two swarms of an info dictionary, if it is of both versions and not private."""
    if info is None or info.info_hash_v1 is None or info.info_hash_v2 is None or info.is_private:
        return None
    return HybridTorrent(info.info_hash_v1, InfoHash(info.info_hash_v2[:ID_BYTES]), "peers")


def clean_name(name: str) -> str:
    """Return a name in one line that may be stored and printed: any peer may have chosen it.

    It is cut after 255 characters; those that do not print are escaped then.
    """
    return escaped(name[:MAX_NAME])
