"""Nodes in the database: those that answered in a fresh census, and all near one target."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from crawler.db.connection import GuardedConnection
from crawler.db.insert import Insert
from crawler.db.records.records import RunStatus, client_name, utc_text
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

    def fresh_census(self, not_before: float) -> FreshCensus | None:
        """Return the last census that ended after a time, in seconds since the epoch, or is running.

        A finished census is preferred to one under way.  A census that wrote prefixes instead of addresses
        does not count, nor one of another machine: what answered there may not be reached from here.
        """
        with self._db.reported():
            rows = self._db.execute(_CENSUSES, (utc_text(not_before),)).fetchall()
        for run_id, status, started_at, settings, pid in rows:
            is_finished = status == RunStatus.FINISHED
            if (is_finished or self._is_running(pid)) and self._has_addresses(run_id):
                return FreshCensus(run_id, _zone_of(settings), started_at, is_finished)
        return None

    def answered(self, census: FreshCensus, family: Family) -> Iterator[Found]:
        """Yield the nodes that answered in a census; in order of ids when it has ended."""
        of_nodes = (census.started_at, family.value, *census.zone.id_range)
        of_visits = (census.run_id, family is Family.IPV6)
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
        for bits in range(_DEEPEST, -1, -1):
            low, high = Zone(target >> ID_BITS - bits, bits).id_range
            values = (since, family.value, low, high, _MOST_READ * count)
            with self._db.reported():
                found = list(_found(self._db.execute(f"{_OF_NODES} LIMIT ?", values)))
            if len(found) >= count:
                break
        return found

    def _has_addresses(self, run_id: int) -> bool:
        sql = "SELECT address FROM visits WHERE run_id = ? AND outcome = 'answered' LIMIT 1"
        with self._db.reported():
            row = self._db.execute(sql, (run_id,)).fetchone()
        return row is not None and "/" not in row[0]


def _found(rows: Iterable[tuple[str, str, int]]) -> Iterator[Found]:
    for node_id, host, port in rows:
        yield bytes.fromhex(node_id), Address(host, port)


def _zone_of(settings: str) -> Zone:
    """Return the zone in the settings of a run, as `dhtcrawl census` writes them."""
    values = json.loads(settings)
    text = str(values.get("zone", "0"))
    bits = 4 * len(text[2:]) if text.lower().startswith("0x") else int(text)
    return Zone(int(values.get("prefix", 0)), bits)


_CENSUSES = """
SELECT id, status, started_at, settings, pid FROM runs
WHERE command IN ('census', 'demo') AND (status = 'running' OR status = 'finished' AND finished_at >= ?)
    AND id NOT IN (SELECT run_id FROM merged_runs)
ORDER BY status <> 'finished', id DESC
"""

# A node that answered after the census is as good as one that answered in it.
_OF_NODES = """
SELECT node_id, address, port FROM nodes
WHERE last_answer >= ? AND family = ? AND node_id BETWEEN ? AND ? AND address NOT LIKE '%/%'
ORDER BY node_id
"""

_OF_VISITS = """
SELECT DISTINCT node_id, address, port FROM visits
WHERE run_id = ? AND outcome = 'answered' AND NOT is_verification AND (instr(address, ':') > 0) = ?
"""


class SeenNode(NamedTuple):
    """A node that was queried, and what is known of it from that."""

    node_id: bytes
    address: Address
    first_seen: str
    last_seen: str
    last_answer: str | None
    version: bytes | None

    @property
    def family(self) -> int:
        """Return 4 or 6."""
        return self.address.family.value

    @property
    def client(self) -> str | None:
        """Return the client by its version."""
        return client_name(self.version)


# Times are text that sorts as time does, so min() and max() of two are the earlier and the later.
# Records may come out of order, and an old one must not turn a clock back.
_OR_UPDATE = """
ON CONFLICT (node_id, address, port) DO UPDATE SET
    first_seen = min(first_seen, excluded.first_seen),
    last_seen = max(last_seen, excluded.last_seen),
    last_answer = coalesce(max(last_answer, excluded.last_answer), last_answer, excluded.last_answer),
    version = coalesce(excluded.version, version),
    client = coalesce(excluded.client, client)
"""


def upsert_nodes(query: str) -> str:
    """Return what adds the rows of a query to `nodes`, or updates the nodes that are there."""
    into = "nodes (node_id, address, port, family, first_seen, last_seen, last_answer, version, client)"
    return f"INSERT INTO {into} {query} {_OR_UPDATE}"


def node_insert(*, anonymize: bool) -> Insert:
    """Return what adds nodes, or updates those that are there."""
    computed = ("family", "client")
    return Insert("nodes", SeenNode, (), computed=computed, anonymize=anonymize, on_conflict=_OR_UPDATE)
