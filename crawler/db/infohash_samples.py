"""Samples of info-hashes in the database: which nodes are due, what they returned, what is estimated from it.

Samples are written as they come, one row each.  Their info-hashes enter `swarms` later, many at a
time and in order: an index of millions takes a sorted batch many times faster than single rows.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence

from crawler.db.connection import GuardedConnection
from crawler.db.insert import Insert
from crawler.db.nodes import upsert_nodes
from crawler.db.records.infohash_samples import (
    CHANCES,
    LEASE_LIFETIME,
    MARGIN,
    MAX_INTERVAL,
    SAMPLE_SOURCE,
    UNSUPPORTED_PAUSE,
    Appearances,
    NodeSample,
    NodeToSample,
)
from crawler.db.records.pseudonyms import Pseudonyms
from crawler.db.records.records import RESPONDED, address_of, utc_text
from crawler.db.schema import FAMILY
from crawler.db.store_samples import StoreSamples, make_places
from crawler.zone import Zone
from dhtnode import Address, Family
from dhtnode.outcomes import Outcome


class SampleRows:
    """The samples of info-hashes; part of a `CrawlDatabase`."""

    def __init__(
        self, connection: GuardedConnection, pseudonyms: Pseudonyms | None, *, anonymize: bool
    ) -> None:
        self._db = connection
        self._pseudonyms = pseudonyms
        self._hides = anonymize

    def lease(self, nodes: Sequence[NodeToSample], now: float) -> list[bool]:
        """Take a lease on each node that is due, so that no other process queries it; return which they were.

        A lease lasts for `LEASE_LIFETIME`; the node counts as queried from now on, also if this process is
        killed.  `now` is in seconds since the epoch.  Some 40 us each.
        """
        now_text, until = utc_text(now), utc_text(now + LEASE_LIFETIME + MAX_INTERVAL)
        with self._db.transaction():
            return [self._lease(node, now_text, until) for node in nodes]

    def forget_future(self, now: float) -> None:
        """Cut pauses longer than any that is kept: they were written while the clock was ahead.

        When those nodes were queried is not known, so the longest interval of BEP 51 begins now.
        """
        longest = MAX_INTERVAL + MARGIN
        times = (utc_text(now), utc_text(now + longest), utc_text(now + longest + UNSUPPORTED_PAUSE))
        with self._db.transaction():
            self._db.execute(_FORGET_FUTURE, times)

    def due(
        self, family: Family, zone: Zone, now: float, queried_before: float, most: int
    ) -> list[NodeToSample]:
        """Return nodes that may be queried again, those that waited longest first.

        Only nodes last queried before `queried_before` count.
        """
        values = (utc_text(now), utc_text(queried_before), family, *_hex_range(zone), most)
        with self._db.reported():
            rows = self._db.execute(f"{_DUE} AND next_at <= ? {_WAITING} LIMIT ?", values)
            return [
                NodeToSample(bytes.fromhex(node_id), _address(place), interval)
                for node_id, place, interval in rows
            ]

    def next_due(self, family: Family, zone: Zone, queried_before: float) -> str | None:
        """Return when the next of these nodes is due, or None when there is none."""
        values = (utc_text(queried_before), family, *_hex_range(zone))
        with self._db.reported():
            row = self._db.execute(f"{_NEXT} {_WAITING} LIMIT 1", values).fetchone()
        return None if row is None else str(row[0])

    def known_nodes(self, family: Family, zone: Zone) -> Iterator[NodeToSample]:
        """Yield the nodes of a zone that have ever answered, each address with its latest id.

        Addresses that were cut to prefixes are left out.
        """
        with self._db.reported():
            for node_id, host, port, _ in self._db.execute(_KNOWN, (family, *zone.id_range)):
                yield NodeToSample(node_id, address_of(host, port))

    def bootstrap_on_loopback(self, most: int) -> list[str]:
        """Return `HOST:PORT` of the nodes that answered last, if all that ever did are on loopback."""
        with self._db.reported():
            if self._db.execute(_BEYOND_LOOPBACK).fetchone():
                return []
            rows = self._db.execute(_LAST_TO_ANSWER, (most,)).fetchall()
        return [str(address_of(host, port)) for host, port in rows]

    def write(self, run_id: int, samples: Sequence[NodeSample]) -> None:
        """Add samples, and when their nodes may be queried again; the caller has a transaction open."""
        _INSERT.many(self._db.connection, samples, run_id)
        self._db.executemany(
            _SET_NEXT,
            [
                (
                    sample.next_at,
                    sample.interval,
                    _CHANCES.get(sample.outcome),
                    _place_of(sample.node_id, sample.address),
                )
                for sample in samples
                if sample.next_at is not None
            ],
        )

    def aggregate(self) -> None:
        """Bring `swarms` and `nodes` up to date with all samples written."""
        with self._db.transaction():
            aggregate(self._db.connection)

    def appearances(self, run_id: int, family: Family) -> Appearances:
        """Count the info-hashes of a run by how many nodes returned each; some 3 us per appearance."""
        with self._db.transaction():
            make_places(self._db.connection)
            row = self._db.execute(_APPEARANCES, (run_id, family)).fetchone()
        return Appearances(*(count or 0 for count in row))

    def stores(self, run_id: int, family: Family, zone: Zone) -> StoreSamples:
        """Return what the nodes sampled in a run store; some 10 us for each of them."""
        return StoreSamples(self._db, run_id, family, zone, by_id=self._hides)

    def add_estimate(
        self,
        run_id: int,
        family: Family,
        method: str,
        sizes: tuple[float, float, float],
        zone: Zone,
        details: dict[str, object],
    ) -> None:
        """Add an estimate, given with the ends of its interval."""
        values = (run_id, family, method, *sizes, str(zone), json.dumps(details))
        with self._db.transaction():
            self._db.execute(_INSERT_ESTIMATE, values)

    def _lease(self, node: NodeToSample, now: str, until: str) -> bool:
        execute = self._db.execute
        # One database may have been written with and without `--anonymize`.
        place, other = self._places(node.node_id, node.address)
        if execute("SELECT 1 FROM sample_turns WHERE place = ? AND next_at > ?", (other, now)).fetchone():
            return False
        node_id = self._pseudonyms.of_id(node.node_id) if self._hides and self._pseudonyms else node.node_id
        values = (place, node_id.hex(), node.address.family, now, until)
        return execute(_LEASE, values).rowcount > 0

    def _places(self, node_id: bytes, address: Address) -> tuple[str, str | None]:
        """Return what stands for a node here, and what does with or without `--anonymize`, if anything."""
        clear, hidden = _place_of(node_id, address), None
        if self._pseudonyms:
            hidden = _place_of(*self._pseudonyms.of_node(node_id, address))
        return (hidden, clear) if hidden and self._hides else (clear, hidden)


def _place_of(node_id: bytes, address: Address) -> str:
    """Return what stands for a node whose address, or the network in its place, is known."""
    return f"{address.host} {node_id.hex()}" if "/" in address.host else str(address)


def aggregate(connection: sqlite3.Connection) -> None:
    """Bring `swarms` and `nodes` up to date with all samples written since; in an open transaction.

    Some 100 us per sample of 20 while the index of swarms fits into memory.
    """
    execute = connection.execute
    row = execute("SELECT id FROM node_sample_rows WHERE new IS NOT NULL ORDER BY id DESC LIMIT 1").fetchone()
    done = row[0] if row else 0
    if not execute("SELECT 1 FROM node_sample_rows WHERE id > ? LIMIT 1", (done,)).fetchone():
        return
    make_places(connection)
    execute("DROP TABLE IF EXISTS temp.shown")
    execute(_LIST_SHOWN, (done,))
    execute("UPDATE node_sample_rows SET new = 0 WHERE id > ?", (done,))
    execute(_COUNT_NEW)
    execute(_ADD_SHOWN, (SAMPLE_SOURCE,))
    execute("DROP TABLE temp.shown")
    execute(_ADD_NODES, (done,))


def _hex_range(zone: Zone) -> tuple[str, ...]:
    return tuple(node_id.hex() for node_id in zone.id_range)


def _address(place: str) -> Address:
    host, _, port = place.rpartition(":")
    return Address(host.strip("[]"), int(port))


_CHANCES = {Outcome.ANSWERED: CHANCES, Outcome.UNSUPPORTED: 0}
_INSERT = Insert("node_sample_rows", NodeSample, computed=("returned",), times=("taken_at", "next_at"))

# A lease that has ended is overwritten, one that still holds is not: then no row changes.
_LEASE = """
INSERT INTO sample_turns (place, node_id, family, asked_at, next_at) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (place) DO UPDATE SET
    node_id = excluded.node_id, asked_at = excluded.asked_at, next_at = excluded.next_at
WHERE next_at <= excluded.asked_at
"""

_FORGET_FUTURE = """
UPDATE sample_turns SET asked_at = min(asked_at, ?1), next_at = min(next_at, ?2) WHERE next_at > ?3
"""

_SET_NEXT = """
UPDATE sample_turns
SET next_at = ?1, interval = coalesce(?2, interval), chances = coalesce(?3, max(chances - 1, 0))
WHERE place = ?4
"""

_WAITING = """
AND asked_at < ? AND family = ? AND node_id BETWEEN ? AND ? AND place NOT LIKE '%/%' ORDER BY next_at
"""
_DUE = "SELECT node_id, place, interval FROM sample_turns WHERE chances > 0"
_NEXT = "SELECT next_at FROM sample_turns WHERE chances > 0"

# In the order of ids, so that neighbouring addresses are not queried one after the other.
_KNOWN = f"""
SELECT node_id, host, port, max(last_answer) FROM node_rows
WHERE last_answer IS NOT NULL AND {FAMILY} = ? AND node_id BETWEEN ? AND ? AND NOT instr(host, '/')
GROUP BY host, port
ORDER BY node_id
"""

# 127.0.0.0/8 as numbers, and ::1.
_BEYOND_LOOPBACK = """
SELECT 1 FROM node_rows
WHERE last_answer IS NOT NULL AND NOT (typeof(host) = 'integer' AND host >> 24 = 127) AND host <> '::1'
LIMIT 1
"""

_LAST_TO_ANSWER = """
SELECT host, port FROM node_rows WHERE last_answer IS NOT NULL AND NOT instr(host, '/')
ORDER BY last_answer DESC LIMIT ?
"""

_TIME = "strftime('%Y-%m-%dT%H:%M:%fZ', {} / 1000.0, 'unixepoch')"

_LIST_SHOWN = f"""
CREATE TEMP TABLE shown AS
SELECT
    lower(hex(substr(samples, 20 * n + 1, 20))) AS info_hash,
    min(id) AS first_id,
    {_TIME.format("min(taken_at)")} AS first_seen, {_TIME.format("max(taken_at)")} AS last_seen
FROM node_sample_rows CROSS JOIN temp.places
WHERE id > ? AND n < length(samples) / 20
GROUP BY 1
"""

_COUNT_NEW = """
UPDATE node_sample_rows SET new = found.count
FROM (
    SELECT first_id, count(*) AS count FROM temp.shown AS shown
    WHERE NOT EXISTS (SELECT 1 FROM swarms WHERE swarms.info_hash = shown.info_hash)
    GROUP BY first_id
) AS found
WHERE node_sample_rows.id = found.first_id
"""

_ADD_SHOWN = """
INSERT INTO swarms (info_hash, first_seen, last_seen, source)
SELECT info_hash, first_seen, last_seen, ? FROM temp.shown WHERE true ORDER BY info_hash
ON CONFLICT (info_hash) DO UPDATE SET
    first_seen = min(first_seen, excluded.first_seen),
    last_seen = max(last_seen, excluded.last_seen),
    source = coalesce(source, excluded.source)
"""

_ADD_NODES = upsert_nodes(f"""
SELECT
    node_id, host, port, min(taken_at), max(taken_at),
    max(taken_at) FILTER (WHERE outcome IN {RESPONDED}), max(version)
FROM node_sample_rows
WHERE id > ?
GROUP BY node_id, host, port
ORDER BY node_id, host, port
""")

_APPEARANCES = f"""
SELECT count(*), sum(nodes = 1), sum(nodes = 2), sum(nodes)
FROM (
    SELECT count(DISTINCT node_id) AS nodes
    FROM node_sample_rows CROSS JOIN temp.places
    WHERE run_id = ? AND {FAMILY} = ? AND n < length(samples) / 20
    GROUP BY substr(samples, 20 * n + 1, 20)
)
"""

_INSERT_ESTIMATE = """
INSERT INTO discovery_estimates (run_id, family, method, estimate, low, high, zone, details)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
