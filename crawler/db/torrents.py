"""Torrents, handshakes and web seeds in the database: of peers no more than counts."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace

from crawler.db.connection import GuardedConnection
from crawler.db.insert import Insert
from crawler.db.records.records import utc_text
from crawler.db.records.torrents import HandshakeBatch, Handshakes, HybridTorrent, KnownTorrent, PexCounts
from crawler.db.records.web_seeds import KnownSeed, SeedBatch, SeedCheck
from crawler.db.swarm_measurements import INSERT_SWARM, SeenSwarm
from crawler.db.trackers import add_hints
from dhtnode import InfoHash


class MetadataRows:
    """The torrents and handshakes of swarms; part of a `CrawlDatabase`."""

    def __init__(self, connection: GuardedConnection) -> None:
        self._db = connection

    def known(self, info_hash: InfoHash) -> KnownTorrent | None:
        """Return what is known of a torrent, or None."""
        with self._db.reported():
            row = self._db.execute(_SELECT_TORRENT, (info_hash.hex(),)).fetchone()
        return None if row is None else KnownTorrent(bool(row[0]), *row[1:])

    def is_private(self, info_hash: bytes) -> bool:
        """Return whether a torrent is known to be private; some 5 us."""
        with self._db.reported():
            return self._db.execute(_IS_PRIVATE, (info_hash.hex(),)).fetchone() is not None

    def private(self, info_hashes: Iterable[InfoHash]) -> set[InfoHash]:
        """Return those of some info-hashes whose torrent is known to be private."""
        return set(filter(self.is_private, info_hashes))

    def missing(self, most: int) -> list[InfoHash]:
        """Return swarms whose torrent is not known: first those never tried, then the longest ago.

        Looks at every swarm, some 5 us each.
        """
        with self._db.reported():
            rows = self._db.execute(_SELECT_MISSING, (most,)).fetchall()
        return [InfoHash(bytes.fromhex(info_hash)) for (info_hash,) in rows]

    def clients(self) -> Counter[str]:
        """Return how many peers named which client, over the newest handshakes; some 3 us for each."""
        with self._db.reported():
            return Counter(dict(self._db.execute(_COUNT_CLIENTS).fetchall()))

    def write(self, run_id: int, batch: HandshakeBatch) -> None:
        """Write one round of handshakes, and the torrent if it is known; in an open transaction.

        Of a private torrent only that it is private is written.
        """
        handshakes, torrent, connection = batch.handshakes, batch.torrent, self._db.connection
        info_hash, taken_at = handshakes.info_hash.hex(), handshakes.taken_at
        name = None if torrent is None else torrent.name
        INSERT_SWARM.one(connection, SeenSwarm(handshakes.info_hash, taken_at, taken_at, batch.source, name))
        if torrent is not None:
            _INSERT_TORRENT.one(connection, torrent, info_hash, run_id, taken_at)
        if batch.hybrid is not None:
            _INSERT_HYBRID.one(connection, batch.hybrid, taken_at)
        if torrent is None or not torrent.is_private:
            kept = add_hints(self._db, batch.hints, taken_at) if batch.hints else 0
            _INSERT_HANDSHAKES.one(connection, replace(handshakes, trackers_kept=kept), run_id)
            if batch.exchange is not None:
                _INSERT_EXCHANGE.one(connection, batch.exchange, run_id, info_hash, taken_at)

    def add_hybrids(self, hybrids: Collection[HybridTorrent], now: str) -> None:
        """Write torrents of both versions; what a file says counts more than others."""
        with self._db.transaction():
            _INSERT_HYBRID.many(self._db.connection, list(hybrids), now)


class WebSeedRows:
    """The web seeds that were given, and the checks of them; part of a `CrawlDatabase`."""

    def __init__(self, connection: GuardedConnection) -> None:
        self._db = connection

    def meet(self, seeds: Collection[KnownSeed], now: str) -> None:
        """Write seeds that are new; of one that is known, nothing changes."""
        with self._db.transaction():
            swarms = [
                SeenSwarm(InfoHash(each), now, now, "given", None) for each in {s.info_hash for s in seeds}
            ]
            INSERT_SWARM.many(self._db.connection, swarms)
            _INSERT_SEED.many(self._db.connection, list(seeds), now)

    def claim(
        self, seeds: Collection[KnownSeed], busy: Collection[str], now: float, every: float
    ) -> KnownSeed | None:
        """Return the seed that has been due the longest, of no busy host, and lease it; None where none is.

        A time that is further ahead than a week, or than `every` seconds, is one of a clock that was wrong.
        """
        furthest = utc_text(now + max(every, LONGEST_PAUSE))
        with self._db.transaction():
            times = {row[:2]: row[2:] for row in self._db.execute(_SELECT_TIMES, (furthest, furthest))}
            due = [
                (max(times.get((seed.info_hash.hex(), seed.url_hash), ("", ""))), seed)
                for seed in seeds
                if seed.host not in busy
            ]
            at, seed = min(due, default=("", None))
            if seed is None or at > utc_text(now):
                return None
            until = utc_text(now + LEASE)
            self._db.execute(_LEASE_SEED, (until, seed.info_hash.hex(), seed.url_hash))
        return seed

    def paused(self, now: float) -> set[tuple[str, str]]:
        """Return the seeds, by info-hash and hash of the URL, that asked for a pause which is not over."""
        rows = self._db.select(_SELECT_PAUSED, utc_text(now), utc_text(now + LONGEST_PAUSE))
        return {(row["info_hash"], row["url_hash"]) for row in rows}

    def write(self, run_id: int, batch: SeedBatch, next_at: str | None) -> None:
        """Write a check, and when a watch may ask again."""
        check = batch.check
        times = (next_at, batch.not_before, check.info_hash.hex(), check.url_hash)
        with self._db.transaction():
            _INSERT_CHECK.one(self._db.connection, check, run_id)
            self._db.execute(_SET_TIMES, times)


LEASE = 900.0
"""Seconds after which a check whose end was not seen is made again."""

LONGEST_PAUSE = 7 * 86_400.0
"""Seconds of a pause that a web seed may ask for."""

_INSERT_SEED = Insert(
    "web_seeds", KnownSeed, ("first_seen",), as_they_are=("host",), on_conflict="ON CONFLICT DO NOTHING"
)
_INSERT_CHECK = Insert("web_seed_checks", SeedCheck, as_they_are=("host", "outcome"))
_SELECT_TIMES = """
SELECT info_hash, url_hash, iif(next_at > ?, '', coalesce(next_at, '')),
    iif(not_before > ?, '', coalesce(not_before, ''))
FROM web_seeds
"""
_SELECT_PAUSED = "SELECT info_hash, url_hash FROM web_seeds WHERE not_before > ? AND not_before <= ?"
_LEASE_SEED = "UPDATE web_seeds SET next_at = ? WHERE info_hash = ? AND url_hash = ?"
_SET_TIMES = """
UPDATE web_seeds SET next_at = coalesce(?, next_at), not_before = ? WHERE info_hash = ? AND url_hash = ?
"""

# An info-hash fixes all of a torrent, so a second fetch changes nothing.
_INSERT_TORRENT = Insert(
    "torrents",
    KnownTorrent,
    ("info_hash", "run_id", "fetched_at"),
    on_conflict="ON CONFLICT (info_hash) DO NOTHING",
)
_INSERT_HANDSHAKES = Insert("swarm_handshakes", Handshakes)
_INSERT_HYBRID = Insert(
    "hybrid_torrents",
    HybridTorrent,
    ("first_seen",),
    on_conflict="""
    ON CONFLICT (info_hash) DO UPDATE
    SET twin = excluded.twin, source = excluded.source, is_consistent = excluded.is_consistent
    WHERE source = 'magnet' OR excluded.source = 'file'
    """,
)
_INSERT_EXCHANGE = Insert("pex_rounds", PexCounts, ("run_id", "info_hash", "taken_at"))

_SELECT_TORRENT = "SELECT is_private, name, size, files, pieces FROM torrents WHERE info_hash = ?"

_IS_PRIVATE = "SELECT 1 FROM torrents WHERE info_hash = ? AND is_private"

# The newest: clients change, and the time that this takes does not grow.
_COUNT_CLIENTS = """
SELECT client.key, sum(client.value)
FROM (SELECT clients FROM swarm_handshakes ORDER BY id DESC LIMIT 10000) AS handshakes,
json_each(handshakes.clients) AS client
GROUP BY client.key
"""

_SELECT_MISSING = """
SELECT swarms.info_hash
FROM swarms
LEFT JOIN torrents ON torrents.info_hash = swarms.info_hash
LEFT JOIN (
    SELECT info_hash, max(taken_at) AS tried_at FROM swarm_handshakes GROUP BY info_hash
) AS tried ON tried.info_hash = swarms.info_hash
WHERE torrents.info_hash IS NULL
ORDER BY tried_at NULLS FIRST, swarms.last_seen DESC, swarms.info_hash
LIMIT ?
"""
