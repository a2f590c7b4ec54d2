"""The pace and the bounds of all that crawls, in frozen dataclasses, each number with its reason.

The defaults are polite: no node of the network, and no router on the way, should notice a crawl.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from dhtnode import Address
from dhtnode.arguments import check_settings, hosts_of, path_of, several
from dhtnode.ranges import Range, check_ranges

YEAR = 365 * 86_400.0  # seconds
FRESH = 6 * 3600.0  # seconds after the end of a census; by then a third of its nodes are gone
SECOND_WALK = 400  # nodes of a second walk through a part of the network: some 1300 queries
MOST_WATCHED = 1_000_000  # swarms; more of a list are counted and left out


@dataclass(frozen=True, slots=True)
class CrawlSettings:
    """The pace and the bounds of a crawl; times in seconds."""

    rate: Annotated[float, Range(0)] = 500.0
    """Queries per second in all; 0 lifts this limit and those below: for networks of one's own."""

    new_endpoints_rate: Annotated[float, Range(0, is_open=True)] = 200.0
    """Endpoints never queried before, per second: NAT tables of home routers overflow before lines do."""

    host_rate: float = 0.5
    """Queries per second to one host; mldht answers 2, bitmagnet 1, libtorrent bans from 5 on."""

    host_burst: float = 4.0
    """Queries to one host at once: two visits.  With the rate, 10 in any 10 s at most."""

    max_in_flight: int = 20_000
    """Visits under way at once; at 500 queries per second and up to 10 s of waiting, 5000 suffice."""

    max_awaited: int = 2000
    """Queries under way that are not late yet, without a rate: slow nodes are not queried faster."""

    max_endpoints: int = 30_000_000
    """Endpoints remembered of each family; contacts beyond are counted and dropped: about 2.5 GB."""

    scrapes_at_once: int = 4
    """Info-hashes measured at once (BEP 33, "Scraping": few at a time)."""


@dataclass(frozen=True, slots=True)
class CrawlOptions:
    """Where a crawl records, how fast it goes, and what it leaves alone."""

    db: str | Path
    """The SQLite database; made when it is not there."""

    settings: CrawlSettings = CrawlSettings()

    exclude: Sequence[str] = ()
    """Networks, addresses and node ids to leave alone, as the lines of a file for `--exclude`."""

    anonymize: bool = False
    """Write /24 and /48 instead of addresses of nodes."""

    bootstrap: Sequence[str] = ()
    """Nodes to join through, as `HOST:PORT`; where they are, on loopback or private, we are too."""

    listen: Sequence[str | Address] = ()
    """Addresses to bind, `IP:PORT`, of which the host counts; those of the machine by default."""

    torrent_nodes: Sequence[str] = ()
    """More nodes to join through, from torrent files; they may lead anywhere."""

    hybrids: Sequence[Any] = ()
    """Each a `HybridTorrent`: the two info-hashes of a torrent of both versions, whose rows are joined."""

    shows_progress: bool = False
    """Write to stderr how far the work is."""

    @classmethod
    def of(cls, db: "str | Path | CrawlOptions") -> "CrawlOptions":
        """Return options as they are, and the defaults for the path of a database.

        Raises `InvalidArgument` when one is of a wrong type, or a number too low.
        """
        options = db if isinstance(db, CrawlOptions) else cls(db)
        path_of("db", options.db)
        check_settings(options.settings, CrawlSettings, or_zero=True)
        several("exclude", options.exclude)
        hosts_of("bootstrap", options.bootstrap)
        hosts_of("torrent_nodes", options.torrent_nodes)
        return options


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """The bounds of connections to peers over TCP; times in seconds."""

    swarms_at_once: Annotated[int, Range(1, 32)] = 4
    """Swarms whose peers are asked at once; each may take 35 MB when all its peers are hostile."""

    connections_at_once: int = 8
    """Connections of one swarm at once."""

    connection_rate: Annotated[float, Range(0, is_open=True)] = 20.0
    """New connections per second in all: NAT tables of home routers overflow before lines do."""

    peers: Annotated[int, Range(1, 200)] = 40
    """Peers of one swarm that are tried; most are behind a NAT or gone, and 8 tell enough."""

    connect_time: float = 5.0
    """From the first packet to a connection; two of the packets that open one may be lost."""

    hello_time: float = 8.0
    """For a peer to say who it is, and what it has."""

    linger_time: float = 1.0
    """After that, for pieces that come one by one: clients hide some from the bitfield."""

    fetch_time: float = 20.0
    """For the info dictionary from one peer, and a second more for each part of 16 KiB that has come."""

    fetches_at_once: int = 2
    """Peers of one swarm asked for it at once, so that one that dawdles does not hold up the others."""

    swarm_time: float = 90.0
    """For all peers of one swarm."""

    pex: bool = False
    """Whether peers are to name those that they are connected to (BEP 11); some of these are asked, too."""

    pex_time: float = 3.0
    """For them to do so: libtorrent takes a second."""


@dataclass(frozen=True, slots=True)
class TrackerOptions:
    """Trackers that are asked beside the DHT: those named here, and those that the database knows.

    `trackers` are URLs that the user typed, which may lead into a private network; `listed` and
    `of_torrents` those of a list and of torrents.  A host gets `requests_rate` a second.  With a `port`, a
    peer there that has nothing is announced for the addresses that trackers name; it hands ours to others.
    """

    trackers: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    of_torrents: tuple[str, ...] = ()
    requests_rate: Annotated[float, Range(0, 1)] = 1.0
    port: Annotated[int | None, Range(1, 65_535)] = None


@dataclass(frozen=True, slots=True)
class WebSeedOptions:
    """Web seeds that are asked beside a watch: those of `torrents`, which are `TorrentDetails` and `Magnet`.

    Each is asked `every` so many hours, with `verifies` for a whole piece of 4 MiB at most, which is content.
    Those in special networks are asked only if `is_local`, for tests.
    """

    torrents: Sequence[Any] = ()
    every: Annotated[float, Range(1 / 60, 8760)] = 24.0
    verifies: bool = False
    is_local: bool = False


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """The bounds of a watch: intervals in seconds, the budget in measurements per hour."""

    shortest: Annotated[float, Range(0, is_open=True)] = 900.0
    """No faster, however fast a swarm changes: nodes keep a peer for 30 to 45 minutes anyway."""

    longest: Annotated[float, Range(0, is_open=True)] = 86_400.0
    """No slower, while a swarm has peers."""

    budget: Annotated[int, Range(1)] = 1200
    """A measurement costs some 30 queries: this is 10 queries per second on average."""

    keep_filters: Annotated[float, Range(0, 36_500)] = 30.0
    """Days after which the raw filters of a measurement go; its numbers stay."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if not self.shortest <= self.longest <= YEAR:
            raise ValueError("the longest interval is a year at most, and no shorter than the shortest")
