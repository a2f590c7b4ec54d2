"""Samples of swarms in the database: written many at a time, read again to be explained."""

from collections.abc import Sequence
from operator import attrgetter

from crawler.db import rollups
from crawler.db.connection import GuardedConnection, Row
from crawler.db.nodes import upsert_nodes
from crawler.db.records.records import StoredReply, SwarmMeasurement, client_name, host_text, prefix_text
from dhtnode.outcomes import Outcome


class SwarmRows:
    """The measurements of swarms; part of a `CrawlDatabase`."""

    def __init__(self, connection: GuardedConnection, *, anonymize: bool) -> None:
        self._db = connection
        self._host_text = prefix_text if anonymize else host_text

    def write(self, run_id: int, samples: Sequence[SwarmMeasurement]) -> None:
        """Add samples; the caller has a transaction open.  Some 25 us for each reply."""
        execute, executemany = self._db.execute, self._db.executemany
        executemany(
            UPSERT_SWARM,
            [(swarm.info_hash.hex(), swarm.taken_at, swarm.source, swarm.name) for swarm in samples],
        )
        replies: list[tuple[object, ...]] = []
        estimates: list[tuple[object, ...]] = []
        nodes: dict[tuple[object, ...], tuple[object, ...]] = {}
        for sample in samples:
            # One statement each: the replies need the number that the sample gets.
            values = (run_id, sample.info_hash.hex(), *_SAMPLE_VALUES(sample))
            sample_id = int(execute(_INSERT_SAMPLE, values).lastrowid or 0)
            estimates += [
                (sample_id, each.subject, each.method, each.estimate, each.low, each.high)
                for each in sample.estimates
            ]
            for reply in sample.replies:
                replies.append(self._reply(sample_id, reply))
                # Swarms near each other have the same nodes, and the last row says all.
                self._note_node(nodes, reply, sample.taken_at)
        executemany(_INSERT_REPLY, replies)
        executemany(_INSERT_ESTIMATE, estimates)
        executemany(_UPSERT_NODE, list(nodes.values()))
        rollups.count_filters(
            self._db.connection, run_id, (reply for sample in samples for reply in sample.replies)
        )

    def sample(self, number: int) -> Row | None:
        """Return the sample of that number, or None."""
        return self._first("SELECT * FROM swarm_samples WHERE id = ?", number)

    def latest_sample(self, info_hash: bytes) -> Row | None:
        """Return the newest sample of a swarm, or None."""
        return self._first(_LATEST_SAMPLE, info_hash.hex())

    def replies(self, sample_id: int) -> list[Row]:
        """Return what nodes said for one sample, in order of families and distance."""
        return self._db.select("SELECT * FROM scrape_replies WHERE sample_id = ? ORDER BY rowid", sample_id)

    def estimates(self, sample_id: int) -> list[Row]:
        """Return the estimates of all methods for one sample."""
        return self._db.select("SELECT * FROM swarm_estimates WHERE sample_id = ? ORDER BY rowid", sample_id)

    def _reply(self, sample_id: int, reply: StoredReply) -> tuple[object, ...]:
        return (
            sample_id,
            reply.node_id.hex(),
            self._host_text(reply.address),
            reply.address.port,
            None if reply.version is None else reply.version.hex(),
            " ".join(reply.marks),
            reply.outcome.value,
            reply.address.family.value,
            *_REPLY_VALUES(reply),
        )

    def _note_node(
        self, nodes: dict[tuple[object, ...], tuple[object, ...]], reply: StoredReply, taken_at: str
    ) -> None:
        """Keep the row of `nodes` for one that was asked; the answer that came last counts."""
        key = (reply.node_id, reply.address)
        if reply.outcome is not Outcome.ANSWERED:
            if reply.outcome is not Outcome.TIMEOUT or key in nodes:
                return  # who answers under another id is not this node
            answered, version = None, None
        else:
            answered, version = taken_at, reply.version
        nodes[key] = (
            reply.node_id.hex(),
            self._host_text(reply.address),
            reply.address.port,
            reply.address.family.value,
            taken_at,
            answered,
            None if version is None else version.hex(),
            client_name(version),
        )

    def _first(self, sql: str, value: object) -> Row | None:
        found = self._db.select(sql, value)
        return found[0] if found else None


# As in the view `latest_swarms`; two samples of one moment are of two machines.
_LATEST_SAMPLE = """
SELECT * FROM swarm_samples WHERE info_hash = ? ORDER BY taken_at DESC, peers DESC, id DESC LIMIT 1
"""

# These columns are taken from the record as they are, under the same name.
_REPLY_COLUMNS = (
    *("rank", "seeds_filter", "peers_filter", "values_count", "rtt_ms"),
    *("asked_at", "named_tokens", "named_filter", "unplaced_filter"),
)
_SAMPLE_COLUMNS = (
    *("taken_at", "seeds", "leechers", "peers", "peers_low", "peers_high", "method", "saturated"),
    *("nodes_asked", "nodes_answered", "nodes_with_filters", "distinct_peers"),
    *("bytes_sent", "bytes_received"),
    *("seeds_low", "seeds_high", "leechers_low", "leechers_high", "overlap", "coverage"),
)

_SAMPLE_VALUES = attrgetter(*_SAMPLE_COLUMNS)
_REPLY_VALUES = attrgetter(*_REPLY_COLUMNS)


def _insert(table: str, *columns: str) -> str:
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608  # our own names


_INSERT_SAMPLE = _insert("swarm_samples", "run_id", "info_hash", *_SAMPLE_COLUMNS)
_INSERT_REPLY = _insert(
    "scrape_replies",
    *("sample_id", "node_id", "address", "port", "version", "marks", "outcome", "family"),
    *_REPLY_COLUMNS,
)
_INSERT_ESTIMATE = _insert("swarm_estimates", "sample_id", "subject", "method", "estimate", "low", "high")

UPSERT_SWARM = """
INSERT INTO swarms (info_hash, first_seen, last_seen, source, name) VALUES (?1, ?2, ?2, ?3, ?4)
ON CONFLICT (info_hash) DO UPDATE SET
    first_seen = min(first_seen, excluded.first_seen),
    last_seen = max(last_seen, excluded.last_seen),
    source = coalesce(source, excluded.source),
    name = coalesce(name, excluded.name)
"""
_UPSERT_NODE = upsert_nodes("VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8)")
