"""Nodes in the database: those that answered in a fresh census, and all near one target."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from crawler.db.connection import GuardedConnection
from crawler.db.records.records import ANSWERED, HostValue, RunStatus, address_of, text_ms, utc_text
from crawler.db.schema import FAMILY, OF_RUN
from crawler.zone import Zone
from dhtnode import Address, Family
from dhtnode.ids import ID_BITS

Found: TypeAlias = tuple[bytes, Address]
"""The id of a node and its address."""

_DEEPEST = 32  # bits shared by neighbours in a network of any size
# Times as many nodes as are wanted: an attacker may have crowded a place.
_MOST_READ = 64


@dataclass(frozen=True, slots=True)
class FreshCensus:
    """A census whose nodes may be queried without another look, and the zone that it covers."""

    run_id: int
    zone: Zone
    started_at: str
    is_finished: bool


class NodeTable:
    """The nodes that have answered; part of a `CrawlDatabase`."""

    def __init__(self, connection: GuardedConnection, is_running: Callable[[int], bool]) -> None:
        self._db = connection
        self._is_running = is_running

    def fresh_census(self, not_before: float, now: float) -> FreshCensus | None:
        """Return the last census that ended between two times, in seconds since the epoch, or is running.

        A finished census is preferred to one under way.  A census that wrote prefixes instead of addresses
        does not count, nor one of another machine: what answered there may not be reached from here.
        One that ended after `now` was made while the clock was ahead: how old it is, is not known.
        """
        with self._db.reported():
            rows = self._db.execute(_CENSUSES, (utc_text(not_before), utc_text(now))).fetchall()
        for run_id, status, started_at, settings in rows:
            is_finished = status == RunStatus.FINISHED
            if (is_finished or self._is_running(run_id)) and self._has_addresses(run_id):
                return FreshCensus(run_id, _zone_of(settings), started_at, is_finished)
        return None

    def answered(self, census: FreshCensus, family: Family) -> Iterator[Found]:
        """Yield the nodes that answered in a census; in order of ids when it has ended."""
        of_nodes = (text_ms(census.started_at), family, *census.zone.id_range)
        of_visits = (census.run_id, family)
        with self._db.reported():
            if census.is_finished:
                yield from _found(self._db.execute(_OF_NODES, of_nodes))
            else:
                yield from _found(self._db.execute(_OF_VISITS, of_visits))

    def near(self, targets: Iterable[bytes], family: Family, count: int, since: str = "") -> Iterator[Found]:
        """Yield, for each target, the nodes near it that have answered since a time: `count` or more.

        Some ms for each target.
        """
        for target in targets:
            yield from self._near(int.from_bytes(target, "big"), family, count, since)

    def _near(self, target: int, family: Family, count: int, since: str) -> list[Found]:
        found: list[Found] = []
        since_ms = text_ms(since) if since else 0
        for bits in range(_DEEPEST, -1, -1):
            low, high = Zone(target >> ID_BITS - bits, bits).id_range
            values = (since_ms, family, low, high, _MOST_READ * count)
            with self._db.reported():
                found = list(_found(self._db.execute(f"{_OF_NODES} LIMIT ?", values)))
            if len(found) >= count:
                break
        return found

    def _has_addresses(self, run_id: int) -> bool:
        with self._db.reported():
            row = self._db.execute(_A_HOST, (run_id,)).fetchone()
        return row is not None and "/" not in str(row[0])


def _found(rows: Iterable[tuple[bytes, HostValue, int]]) -> Iterator[Found]:
    for node_id, host, port in rows:
        yield node_id, address_of(host, port)


def _zone_of(settings: str) -> Zone:
    """Return the zone in the settings of a run, as `dhtcrawl census` writes them."""
    values = json.loads(settings)
    text = str(values.get("zone", "0"))
    bits = 4 * len(text[2:]) if text.lower().startswith("0x") else int(text)
    return Zone(int(values.get("prefix", 0)), bits)


_CENSUSES = """
SELECT id, status, started_at, settings FROM runs
WHERE command IN ('census', 'demo')
    AND (status = 'running' OR status = 'finished' AND finished_at BETWEEN ? AND ?)
    AND id NOT IN (SELECT run_id FROM merged_runs)
ORDER BY status <> 'finished', id DESC
"""

# A node that answered after the census is as good as one that answered in it.
_OF_NODES = f"""
SELECT node_id, host, port FROM node_rows
WHERE last_answer >= ? AND {FAMILY} = ? AND node_id BETWEEN ? AND ? AND NOT instr(host, '/')
ORDER BY node_id
"""

_OF_VISITS = f"""
SELECT DISTINCT node_id, host, port FROM visit_rows
{OF_RUN} AND outcome = {ANSWERED} AND NOT is_verification AND {FAMILY} = ?2
"""

_A_HOST = f"SELECT host FROM visit_rows {OF_RUN} AND outcome = {ANSWERED} LIMIT 1"


class SeenNode(NamedTuple):
    """A node that was queried, and what is known of it from that, as `node_rows` has it."""

    node_id: bytes
    host: HostValue
    port: int
    first_seen: int
    last_seen: int
    last_answer: int | None
    version: bytes | None


# Records may come out of order, and an old one must not turn a time back.  Where it goes back by more than a
# month, the time that is there was written while the clock was ahead.
_AHEAD = 30 * 86_400_000
OR_UPDATE = f"""
ON CONFLICT (node_id, host, port) DO UPDATE SET
    first_seen = min(first_seen, excluded.first_seen),
    last_seen = iif(last_seen > excluded.last_seen + {_AHEAD}, excluded.last_seen,
        max(last_seen, excluded.last_seen)),
    last_answer = iif(last_answer > coalesce(excluded.last_answer, excluded.last_seen) + {_AHEAD},
        excluded.last_answer,
        coalesce(max(last_answer, excluded.last_answer), last_answer, excluded.last_answer)),
    version = coalesce(excluded.version, version)
"""
"""What updates a node that is there already."""


def upsert_nodes(query: str) -> str:
    """Return what adds the rows of a query to `node_rows`, or updates the nodes that are there."""
    return f"INSERT INTO node_rows ({', '.join(SeenNode._fields)}) {query} {OR_UPDATE}"
