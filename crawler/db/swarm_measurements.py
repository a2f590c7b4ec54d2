"""Measurements of swarms in the database: written many at a time, read again to be explained."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from secrets import token_bytes
from typing import Any, NamedTuple, TypeAlias

from crawler.db import rollups
from crawler.db.connection import GuardedConnection, Row
from crawler.db.insert import Insert
from crawler.db.nodes import OR_UPDATE, SeenNode
from crawler.db.records.records import host_value, text_ms
from dhtnode import Address, InfoHash, NodeId
from dhtnode.outcomes import Outcome
from dhtnode.swarm import MethodEstimate, Observation, SwarmEstimate, SwarmMeasurement

# Columns of a measurement beside those of its estimate.
_COUNTS = ("taken_at", "nodes_asked", "nodes_answered", "queries", "bytes_sent", "bytes_received")
_COUNT_VALUES = attrgetter(*_COUNTS)

NUMBER_BYTES = 3  # of a host that a node named, within one measurement

_AS_THEY_ARE = [
    field.name
    for field in fields(Observation)
    if field.init and field.name not in {"node_id", "address", "version", "marks", "outcome", "host_hashes"}
]

ESTIMATE_COLUMNS = [field.name for field in fields(SwarmEstimate) if field.name != "estimates"]
"""Columns of a measurement that are fields of its estimate."""


class SeenSwarm(NamedTuple):
    """A row of `swarms`."""

    info_hash: InfoHash
    first_seen: str | None
    last_seen: str | None
    source: str | None
    name: str | None


_Nodes: TypeAlias = dict[tuple[NodeId, Address], tuple[int, int | None, bytes | None]]
"""When each node was queried and when it answered, and its version."""


class SwarmRows:
    """The measurements of swarms; part of a `CrawlDatabase`."""

    def __init__(self, connection: GuardedConnection) -> None:
        self._db = connection

    def write(self, run_id: int, measurements: Sequence[SwarmMeasurement]) -> None:
        """Add measurements; the caller has a transaction open.  Some 25 us for each reply."""
        if not measurements:
            return
        connection, rows = self._db.connection, _Rows()
        INSERT_SWARM.many(connection, list(map(_seen_swarm, measurements)))
        # As SQLite numbers rows by itself: so one statement writes many samples.
        (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM swarm_samples").fetchone()
        for sample_id, measurement in enumerate(measurements, last + 1):
            rows.add(run_id, sample_id, measurement)
        _INSERT_MEASUREMENT.rows(connection, rows.samples)
        _INSERT_OBSERVATION.rows(connection, rows.replies)
        _INSERT_ESTIMATE.rows(connection, rows.estimates)
        _INSERT_NODE.rows(
            connection,
            [
                SeenNode(node_id, host_value(address), address.port, seen, seen, answered, version)
                for (node_id, address), (seen, answered, version) in rows.nodes.items()
            ],
        )
        rollups.count_filters(
            connection, run_id, (reply for each in measurements for reply in each.observations)
        )

    def sample(self, number: int) -> Row | None:
        """Return the sample of that number, or None."""
        return self._first("SELECT * FROM swarm_samples WHERE id = ?", number)

    def latest_sample(self, info_hash: bytes) -> Row | None:
        """Return the newest sample of a swarm, or None."""
        return self._first(_LATEST_SAMPLE, info_hash.hex())

    def replies(self, sample_id: int) -> list[Row]:
        """Return what nodes said for one sample, in order of families and distance."""
        return self._db.select(
            "SELECT * FROM scrape_replies WHERE sample_id = ? ORDER BY family, rank", sample_id
        )

    def estimates(self, sample_id: int) -> list[Row]:
        """Return the estimates of all methods for one sample."""
        return self._db.select("SELECT * FROM swarm_estimates WHERE sample_id = ? ORDER BY rowid", sample_id)

    def _first(self, sql: str, value: object) -> Row | None:
        found = self._db.select(sql, value)
        return found[0] if found else None


def _seen_swarm(of: SwarmMeasurement) -> SeenSwarm:
    return SeenSwarm(of.info_hash, of.taken_at, of.taken_at, of.source, of.name)


class _Rows:
    """The rows of some measurements, by table."""

    def __init__(self) -> None:
        self.samples: list[tuple[object, ...]] = []
        self.replies: list[tuple[object, ...]] = []
        self.estimates: list[tuple[object, ...]] = []
        self.nodes: _Nodes = {}

    def add(self, run_id: int, sample_id: int, measurement: SwarmMeasurement) -> None:
        """Add those of a measurement; raise `ValueError` for one without a time."""
        if measurement.taken_at is None:
            raise ValueError("a measurement has to say when it was made")
        taken_at, estimate = text_ms(measurement.taken_at), measurement.estimate
        given = (sample_id, run_id, measurement.info_hash.hex(), *_COUNT_VALUES(measurement))
        self.samples.append(_INSERT_MEASUREMENT.values(estimate, *given))
        self.estimates += [_INSERT_ESTIMATE.values(each, sample_id) for each in estimate.estimates]
        numbers = _numbers_of_hosts(measurement.observations)
        for observation in measurement.observations:
            named = b"".join(map(numbers.__getitem__, observation.host_hashes)) or None
            self.replies.append(_INSERT_OBSERVATION.values(observation, sample_id, named))
            # Swarms near each other have the same nodes, and the last row says all.
            _note_node(self.nodes, observation, taken_at)


def _numbers_of_hosts(observations: Iterable[Observation]) -> dict[bytes, bytes]:
    """Return a number for each host that nodes named, by its hash, drawn for this one measurement.

    A filter of the same hosts is written beside them.  A hash would add what the filter does not tell: that a
    host is the same as in another measurement.
    """
    hosts = list(frozenset[bytes]().union(*(each.host_hashes for each in observations)))
    # One call of the system for all: it takes longer than the rest of a host.
    drawn = memoryview(token_bytes(8 * len(hosts))).cast("Q")
    order = sorted(range(len(hosts)), key=drawn.__getitem__)
    return {hosts[place]: number.to_bytes(NUMBER_BYTES, "big") for number, place in enumerate(order)}


def _note_node(nodes: _Nodes, reply: Observation, taken_at: int) -> None:
    """Keep what is known of a node that was queried; the answer that came last counts."""
    key = (reply.node_id, reply.address)
    if reply.outcome is Outcome.ANSWERED:
        nodes[key] = taken_at, taken_at, reply.version
    # A node that answers under another id is not this node.
    elif reply.outcome is Outcome.TIMEOUT and key not in nodes:
        nodes[key] = taken_at, None, None


def observation_in(row: Mapping[str, Any]) -> Observation:
    """Return what a node said from its row in `scrape_replies`; raise `ValueError` if that is damaged."""
    named: bytes = row["named_tokens"] or b""
    if len(named) % NUMBER_BYTES:
        raise ValueError(f"numbers of hosts have {NUMBER_BYTES} bytes each, not {len(named)} in all")
    return Observation(
        NodeId(bytes.fromhex(row["node_id"])),
        Address(row["address"], row["port"]),
        version=None if row["version"] is None else bytes.fromhex(row["version"]),
        marks=tuple((row["marks"] or "").split()),
        outcome=Outcome(row["outcome"]),
        host_hashes=frozenset(named[at : at + NUMBER_BYTES] for at in range(0, len(named), NUMBER_BYTES)),
        **{name: row[name] for name in _AS_THEY_ARE},
    )


def measurement_in(row: Mapping[str, Any], replies: Iterable[Mapping[str, Any]]) -> SwarmMeasurement:
    """Return a measurement from its row in `swarm_samples` and those of its replies.

    Raises `ValueError` if one is damaged.  The estimates of all methods are not read.
    """
    return SwarmMeasurement(
        InfoHash(bytes.fromhex(row["info_hash"])),
        SwarmEstimate(**{name: row[name] for name in ESTIMATE_COLUMNS}),
        tuple(map(observation_in, replies)),
        **{name: row[name] for name in _COUNTS},
    )


# As in the view `latest_swarms`; two samples of one moment are of two machines.
_LATEST_SAMPLE = """
SELECT * FROM dht_samples WHERE info_hash = ?
ORDER BY iif((SELECT went_back FROM run_clock), id, 0) DESC, taken_at DESC, peers DESC, id DESC LIMIT 1
"""

_INSERT_MEASUREMENT = Insert(
    "swarm_samples", SwarmEstimate, ("id", "run_id", "info_hash", *_COUNTS), without=("estimates",)
)
_INSERT_OBSERVATION = Insert(
    "reply_rows",
    Observation,
    ("sample_id", "named_tokens"),
    without=("host_hashes",),
    times=("asked_at",),
)
_INSERT_NODE = Insert("node_rows", SeenNode, (), on_conflict=OR_UPDATE)
_INSERT_ESTIMATE = Insert("swarm_estimates", MethodEstimate, ("sample_id",))

INSERT_SWARM = Insert(
    "swarms",
    SeenSwarm,
    (),
    on_conflict="""
ON CONFLICT (info_hash) DO UPDATE SET
    first_seen = min(first_seen, excluded.first_seen),
    last_seen = max(last_seen, excluded.last_seen),
    source = coalesce(source, excluded.source),
    name = coalesce(name, excluded.name)
""",
)
"""What adds swarms, or updates those that are there."""
