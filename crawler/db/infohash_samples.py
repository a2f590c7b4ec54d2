"""Samples of info-hashes in the database: whose turn it is, what nodes showed, what follows from it.

Samples are written as they come, one row each.  What they show goes into `swarms` later, many at a
time and in order: an index of millions takes a sorted batch many times faster than single rows.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence

from crawler.db.connection import GuardedConnection
from crawler.db.insert import Insert
from crawler.db.nodes import INTO_NODES, OR_UPDATE_NODE
from crawler.db.records.infohash_samples import (
    CHANCES,
    CLAIM_LIFETIME,
    MAX_CREDIBLE_NUM,
    MAX_INTERVAL,
    SAMPLE_SOURCE,
    Appearances,
    NodeSample,
    SampleTurn,
    StoreSample,
)
from crawler.db.records.records import host_text, prefix_text, utc_text
from crawler.zone import ID_BITS, Zone
from dhtnode import Address, Family, NodeId
from dhtnode.outcomes import Outcome

MOST_SHOWN = 400  # info-hashes that one sample can have: what the codec lets through
_MAX_ROUND_BITS = 32


class SampleRows:
    """The samples of info-hashes; part of a `CrawlDatabase`."""

    def __init__(self, connection: GuardedConnection, *, anonymize: bool) -> None:
        self._db = connection
        self._is_anonymized = anonymize
        self._host_text = prefix_text if anonymize else host_text
        self._insert = Insert(
            "node_samples", NodeSample, computed=("family", "returned"), anonymize=anonymize
        )

    def claim(self, turns: Sequence[SampleTurn], now: float) -> list[bool]:
        """Take the turns that are due, so that nobody else asks, and return which they were.

        Each is ours for `CLAIM_LIFETIME`; the node counts as asked from now on, whatever becomes of us.
        `now` is in seconds since the epoch.  Some 40 us each.
        """
        now_text, until = utc_text(now), utc_text(now + CLAIM_LIFETIME + MAX_INTERVAL)
        with self._db.transaction():
            return [self._claim(turn, now_text, until) for turn in turns]

    def due(self, family: Family, zone: Zone, now: float, asked_before: float, most: int) -> list[SampleTurn]:
        """Return nodes with samples whose time has come, those who waited longest first.

        Only nodes last asked before `asked_before` count.
        """
        values = (utc_text(now), utc_text(asked_before), family, *_id_range(zone), most)
        with self._db.reported():
            rows = self._db.execute(f"{_DUE} AND next_at <= ? {_WAITING} LIMIT ?", values)
            return [
                SampleTurn(bytes.fromhex(node_id), _address(place), interval)
                for node_id, place, interval in rows
            ]

    def next_due(self, family: Family, zone: Zone, asked_before: float) -> str | None:
        """Return when the next of these nodes is due, or None when there is none."""
        values = (utc_text(asked_before), family, *_id_range(zone))
        with self._db.reported():
            row = self._db.execute(f"{_NEXT} {_WAITING} LIMIT 1", values).fetchone()
        return None if row is None else str(row[0])

    def known_nodes(self, family: Family, zone: Zone) -> Iterator[SampleTurn]:
        """Yield the nodes of a zone that have ever answered, each address with its latest id.

        Addresses that were cut to prefixes are left out.
        """
        with self._db.reported():
            for node_id, host, port, _ in self._db.execute(_KNOWN, (family, *_id_range(zone))):
                yield SampleTurn(bytes.fromhex(node_id), Address(host, port))

    def ways_in_on_loopback(self, most: int) -> list[str]:
        """Return `HOST:PORT` of those that answered last, if all nodes that ever did are on loopback."""
        with self._db.reported():
            if self._db.execute(_BEYOND_LOOPBACK).fetchone():
                return []
            rows = self._db.execute(_LAST_TO_ANSWER, (most,)).fetchall()
        return [str(Address(host, port)) for host, port in rows]

    def write(self, run_id: int, samples: Sequence[NodeSample]) -> None:
        """Add samples, and when their nodes may be asked again; the caller has a transaction open."""
        self._insert.many(self._db.connection, samples, run_id)
        self._db.executemany(
            _SET_TURN,
            [
                (
                    sample.next_at,
                    sample.interval,
                    _CHANCES.get(sample.outcome),
                    self._place(sample.node_id, sample.address),
                )
                for sample in samples
                if sample.next_at is not None
            ],
        )

    def aggregate(self) -> None:
        """Bring `swarms` and `nodes` up to date with all samples written."""
        with self._db.transaction():
            aggregate(self._db.connection)

    def showings(self, run_id: int, family: Family) -> Appearances:
        """Count the info-hashes of a run by how many nodes showed each; some 3 us per one shown."""
        with self._db.transaction():
            _make_places(self._db.connection)
            row = self._db.execute(_SHOWINGS, (run_id, family)).fetchone()
        return Appearances(*(count or 0 for count in row))

    def list_holdings(self, run_id: int, family: Family, zone: Zone) -> int:
        """Make ready what `holding` and `closest` tell of, and return how many nodes that are.

        They are those that gave a sample in this run, or one that was still valid when it began; without
        those that claim to store more than `MAX_CREDIBLE_NUM`.
        """
        by = "address, port, node_id" if self._is_anonymized else "address, port"
        values = (family, *_id_range(zone), run_id, run_id, MAX_CREDIBLE_NUM)
        with self._db.transaction():
            execute = self._db.execute
            execute("DROP TABLE IF EXISTS temp.holdings")
            execute(_HOLDINGS + by, values)  # our own names
            execute("CREATE INDEX temp.holdings_node_id ON holdings (node_id)")
            return int(execute("SELECT count(*) FROM temp.holdings").fetchone()[0])

    def holding(self, number: int) -> StoreSample:
        """Return one of the nodes listed, 1 being the first."""
        with self._db.reported():
            row = self._db.execute(_HOLDING, (number,)).fetchone()
        return _holding(row)

    def nums(self) -> list[int]:
        """Return how many info-hashes each of the nodes listed stores, in their order."""
        with self._db.reported():
            return [row[0] for row in self._db.execute("SELECT num FROM temp.holdings ORDER BY rowid")]

    def closest(self, target: bytes, count: int) -> list[StoreSample]:
        """Return the nodes listed that are closest to a target, by the XOR metric; some 300 us."""
        number = int.from_bytes(target, "big")
        with self._db.reported():
            for bits in range(_MAX_ROUND_BITS, -1, -1):
                found = self._within(Zone(number >> ID_BITS - bits, bits))
                if len(found) >= count or not bits:
                    break
        return sorted(found, key=lambda node: int.from_bytes(node.node_id, "big") ^ number)[:count]

    def add_estimate(
        self,
        run_id: int,
        family: Family,
        method: str,
        sizes: tuple[float, float, float],
        zone: Zone,
        details: dict[str, object],
    ) -> None:
        """Add an estimate with the ends of its interval."""
        values = (run_id, family, method, *sizes, str(zone), json.dumps(details))
        with self._db.transaction():
            self._db.execute(_INSERT_ESTIMATE, values)

    def _within(self, zone: Zone) -> list[StoreSample]:
        low, high = _id_range(zone)
        return list(map(_holding, self._db.execute(_HOLDINGS_WITHIN, (low, high))))

    def _claim(self, turn: SampleTurn, now: str, until: str) -> bool:
        execute = self._db.execute
        place = self._place(turn.node_id, turn.address)
        # One database may have been written with and without `--anonymize`.
        other = _place(prefix_text if not self._is_anonymized else host_text, turn.node_id, turn.address)
        if execute("SELECT 1 FROM sample_turns WHERE place = ? AND next_at > ?", (other, now)).fetchone():
            return False
        family = turn.address.family
        return execute(_CLAIM, (place, turn.node_id.hex(), family, now, until)).rowcount > 0

    def _place(self, node_id: bytes, address: Address) -> str:
        return _place(self._host_text, node_id, address)


def aggregate(connection: sqlite3.Connection) -> None:
    """Bring `swarms` and `nodes` up to date with all samples written since; in an open transaction.

    Some 100 us per sample of 20 while the index of swarms fits into memory.
    """
    execute = connection.execute
    row = execute("SELECT id FROM node_samples WHERE new IS NOT NULL ORDER BY id DESC LIMIT 1").fetchone()
    done = row[0] if row else 0
    if not execute("SELECT 1 FROM node_samples WHERE id > ? LIMIT 1", (done,)).fetchone():
        return
    _make_places(connection)
    execute("DROP TABLE IF EXISTS temp.shown")
    execute(_LIST_SHOWN, (done,))
    execute("UPDATE node_samples SET new = 0 WHERE id > ?", (done,))
    execute(_COUNT_NEW)
    execute(_ADD_SHOWN, (SAMPLE_SOURCE,))
    execute("DROP TABLE temp.shown")
    execute(_ADD_NODES, (done,))


def _make_places(connection: sqlite3.Connection) -> None:
    """Make a table of the numbers that an info-hash can have within its sample."""
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS places (n INTEGER PRIMARY KEY)")
    numbers = [(number,) for number in range(MOST_SHOWN)]
    connection.executemany("INSERT OR IGNORE INTO temp.places VALUES (?)", numbers)


def _place(text_of: Callable[[Address], str], node_id: bytes, address: Address) -> str:
    if text_of is host_text:
        return str(address)
    return f"{text_of(address)} {address.port} {node_id.hex()}"


def _address(place: str) -> Address:
    host, _, port = place.rpartition(":")
    return Address(host.strip("[]"), int(port))


def _id_range(zone: Zone) -> tuple[str, str]:
    """Return the first and the last id of a zone, in hex."""
    rest = ID_BITS - zone.bits
    low = zone.prefix << rest
    return low.to_bytes(20, "big").hex(), (low + (1 << rest) - 1).to_bytes(20, "big").hex()


def _holding(row: tuple[str, str, int, int, bytes | None]) -> StoreSample:
    node_id, address, port, num, samples = row
    return StoreSample(NodeId(bytes.fromhex(node_id)), address, port, num, samples or b"")


_CHANCES = {Outcome.ANSWERED: CHANCES, Outcome.UNSUPPORTED: 0}

# A claim of the past is overwritten, one that still holds is not: then no row changes.
_CLAIM = """
INSERT INTO sample_turns (place, node_id, family, asked_at, next_at) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (place) DO UPDATE SET
    node_id = excluded.node_id, asked_at = excluded.asked_at, next_at = excluded.next_at
WHERE next_at <= excluded.asked_at
"""

_SET_TURN = """
UPDATE sample_turns
SET next_at = ?1, interval = coalesce(?2, interval), chances = coalesce(?3, max(chances - 1, 0))
WHERE place = ?4
"""

_WAITING = """
AND asked_at < ? AND family = ? AND node_id BETWEEN ? AND ? AND place NOT LIKE '%/%' ORDER BY next_at
"""
_DUE = "SELECT node_id, place, interval FROM sample_turns WHERE chances > 0"
_NEXT = "SELECT next_at FROM sample_turns WHERE chances > 0"

# In the order of ids, so that addresses side by side are not asked one after the other.
_KNOWN = """
SELECT node_id, address, port, max(last_answer) FROM nodes
WHERE last_answer IS NOT NULL AND family = ? AND node_id BETWEEN ? AND ? AND address NOT LIKE '%/%'
GROUP BY address, port
ORDER BY node_id
"""

_BEYOND_LOOPBACK = """
SELECT 1 FROM nodes WHERE last_answer IS NOT NULL AND address NOT LIKE '127.%' AND address <> '::1' LIMIT 1
"""

_LAST_TO_ANSWER = """
SELECT address, port FROM nodes WHERE last_answer IS NOT NULL AND address NOT LIKE '%/%'
ORDER BY last_answer DESC LIMIT ?
"""

_LIST_SHOWN = """
CREATE TEMP TABLE shown AS
SELECT
    lower(hex(substr(samples, 20 * n + 1, 20))) AS info_hash,
    min(id) AS first_id, min(taken_at) AS first_seen, max(taken_at) AS last_seen
FROM node_samples CROSS JOIN temp.places
WHERE id > ? AND n < length(samples) / 20
GROUP BY 1
"""

_COUNT_NEW = """
UPDATE node_samples SET new = found.count
FROM (
    SELECT first_id, count(*) AS count FROM temp.shown AS shown
    WHERE NOT EXISTS (SELECT 1 FROM swarms WHERE swarms.info_hash = shown.info_hash)
    GROUP BY first_id
) AS found
WHERE node_samples.id = found.first_id
"""

_ADD_SHOWN = """
INSERT INTO swarms (info_hash, first_seen, last_seen, source)
SELECT info_hash, first_seen, last_seen, ? FROM temp.shown WHERE true ORDER BY info_hash
ON CONFLICT (info_hash) DO UPDATE SET
    first_seen = min(first_seen, excluded.first_seen),
    last_seen = max(last_seen, excluded.last_seen),
    source = coalesce(source, excluded.source)
"""

_ADD_NODES = f"""
{INTO_NODES}
SELECT
    node_id, address, port, family, min(taken_at), max(taken_at),
    max(taken_at) FILTER (WHERE outcome IN ('answered', 'unsupported', 'not-due')),
    max(version), client_name(max(version))
FROM node_samples
WHERE id > ?
GROUP BY node_id, address, port
ORDER BY node_id, address, port
{OR_UPDATE_NODE}
"""  # noqa: S608  # our own text

_SHOWINGS = """
SELECT count(*), sum(nodes = 1), sum(nodes = 2), sum(nodes)
FROM (
    SELECT count(DISTINCT node_id) AS nodes
    FROM node_samples CROSS JOIN temp.places
    WHERE run_id = ? AND family = ? AND n < length(samples) / 20
    GROUP BY substr(samples, 20 * n + 1, 20)
)
"""

# SQLite takes the columns that are not grouped from the row with the largest id.
_HOLDINGS = """
CREATE TEMP TABLE holdings AS
SELECT node_id, address, port, max(coalesce(num, 0), returned) AS num, max(id) AS id
FROM node_samples
WHERE outcome = 'answered' AND family = ? AND node_id BETWEEN ? AND ?
    AND (run_id = ? OR next_at > (SELECT started_at FROM runs WHERE runs.id = ?))
    AND max(coalesce(num, 0), returned) <= ?
GROUP BY """

_HOLDING = """
SELECT holding.node_id, holding.address, holding.port, holding.num, samples
FROM temp.holdings AS holding JOIN node_samples USING (id)
WHERE holding.rowid = ?
"""
_HOLDINGS_WITHIN = "SELECT node_id, address, port, num, NULL FROM temp.holdings WHERE node_id BETWEEN ? AND ?"

_INSERT_ESTIMATE = """
INSERT INTO discovery_estimates (run_id, family, method, estimate, low, high, zone, details)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
