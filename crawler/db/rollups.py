"""What a run has come to in a few rows, so that no report reads millions: made when a run ends.

A run under way has none of them yet but the answers to scrapes, which are counted as they are written;
`reports` looks at the newest of its rows instead, with the same SQL.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from crawler.db.records.records import StoredReply, client_name
from crawler.db.views import IS_SUSPECT_VISIT
from dhtnode.outcomes import Outcome

TABLES = ("run_outcomes", "run_round_trips", "run_costs")

MAKE_TABLES = (
    """
CREATE TABLE run_outcomes (
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    family INTEGER NOT NULL,
    kind TEXT NOT NULL,
    outcome TEXT NOT NULL,
    error_code INTEGER,
    queries INTEGER NOT NULL,
    marked INTEGER NOT NULL
)""",
    "CREATE INDEX idx_run_outcomes_run_id ON run_outcomes (run_id)",
    """
CREATE TABLE run_round_trips (
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    family INTEGER NOT NULL,
    client TEXT NOT NULL,
    from_ms REAL NOT NULL,
    below_ms REAL NOT NULL,
    answers INTEGER NOT NULL
)""",
    "CREATE INDEX idx_run_round_trips_run_id ON run_round_trips (run_id)",
    """
CREATE TABLE run_support (
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    bep INTEGER NOT NULL,
    client TEXT NOT NULL,
    replies INTEGER NOT NULL,
    capable INTEGER NOT NULL,
    PRIMARY KEY (run_id, bep, client)
)""",
    """
CREATE TABLE run_costs (
    run_id INTEGER PRIMARY KEY NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    visits INTEGER NOT NULL,
    swarm_samples INTEGER NOT NULL,
    node_samples INTEGER NOT NULL,
    handshakes INTEGER NOT NULL,
    asked INTEGER NOT NULL,
    answered INTEGER NOT NULL,
    peers_tried INTEGER NOT NULL,
    bytes_sent INTEGER,
    bytes_received INTEGER
)""",
    # The ranking of swarms is read from this index alone; it does what the one before did, too.
    "DROP INDEX IF EXISTS idx_swarm_samples_info_hash_taken_at",
    "CREATE INDEX idx_swarm_samples_latest ON swarm_samples (info_hash, taken_at, peers, run_id)",
    # Suspect visits by node, so that the first of them are shown without looking at all.
    "DROP INDEX IF EXISTS idx_visits_suspect",
    f"CREATE INDEX idx_visits_suspect ON visits (run_id, node_id, address, port) WHERE {IS_SUSPECT_VISIT}",
    "CREATE INDEX idx_nodes_client ON nodes (client, version) WHERE last_answer IS NOT NULL",
)

_VISITS = "(SELECT *, iif(instr(address, ':'), 6, 4) AS family FROM visits WHERE run_id = ?1 {newest})"
_NODE_SAMPLES = "(SELECT * FROM node_samples WHERE run_id = ?1 {newest})"
_NEWEST = "ORDER BY id DESC LIMIT ?2"
SOURCES = {
    "iif(is_verification, 'verification', 'visit')": _VISITS,
    "'sample'": _NODE_SAMPLES,
}


def outcomes_sql(*, newest: bool = False) -> str:
    """Return what counts the queries of run `?1` by outcome; with `newest`, of the last `?2` rows only."""
    return " UNION ALL ".join(
        f"""
SELECT run_id, family, {kind} AS kind, outcome, error_code, count(*) AS queries, total(marks <> '') AS marked
FROM {source.format(newest=_NEWEST if newest else "")}
GROUP BY family, 3, outcome, error_code
"""  # noqa: S608  # our own words
        for kind, source in SOURCES.items()
    )


def round_trips_sql(*, newest: bool = False) -> str:
    """Return what counts the answers of run `?1` by client and round-trip time, in steps of 10 % or less.

    With `newest`, of the last `?2` rows only.
    """
    # By version first: a name is looked up for each of them, not for each answer.
    both = " UNION ALL ".join(
        f"""
SELECT run_id, family, version, {_STEP} AS from_ms, count(*) AS answers
FROM {source.format(newest=_NEWEST if newest else "")}
WHERE rtt_ms IS NOT NULL AND outcome = 'answered'
GROUP BY family, version, 4
"""  # noqa: S608  # our own words
        for source in SOURCES.values()
    )
    return f"""
SELECT
    run_id, family, coalesce(client_name(version), 'unknown') AS client, from_ms,
    round(from_ms + CASE WHEN from_ms < 10 THEN 0.1 WHEN from_ms < 100 THEN 1
        WHEN from_ms < 1000 THEN 10 ELSE 100 END, 1) AS below_ms,
    sum(answers) AS answers
FROM ({both})
GROUP BY run_id, family, 3, from_ms
"""  # noqa: S608  # our own words


_STEP = """CASE
    WHEN rtt_ms < 10 THEN CAST(rtt_ms * 10 AS INTEGER) / 10.0
    WHEN rtt_ms < 100 THEN CAST(rtt_ms AS INTEGER) * 1.0
    WHEN rtt_ms < 1000 THEN CAST(rtt_ms / 10 AS INTEGER) * 10.0
    ELSE CAST(rtt_ms / 100 AS INTEGER) * 100.0
END"""

# Who is asked for a sample of info-hashes is asked for contacts too, which is not counted twice.
COSTS = """
SELECT
    ?1 AS run_id, visits, swarm_samples, node_samples, handshakes,
    visits + node_samples + scraped AS asked,
    (SELECT count(*) FROM visits WHERE run_id = ?1 AND outcome = 'answered')
    + (SELECT count(*) FROM node_samples
       WHERE run_id = ?1 AND outcome IN ('answered', 'unsupported', 'not-due'))
    + replied AS answered,
    peers_tried,
    CASE WHEN told IS NULL THEN sent ELSE coalesce(sent, 0) + told END AS bytes_sent,
    CASE WHEN heard IS NULL THEN received ELSE coalesce(received, 0) + heard END AS bytes_received
FROM
    (SELECT count(*) AS visits FROM visits WHERE run_id = ?1),
    (SELECT count(*) AS node_samples FROM node_samples WHERE run_id = ?1),
    (SELECT
        count(*) AS swarm_samples,
        coalesce(sum(nodes_asked), 0) AS scraped, coalesce(sum(nodes_answered), 0) AS replied,
        sum(bytes_sent) AS sent, sum(bytes_received) AS received
     FROM swarm_samples WHERE run_id = ?1),
    (SELECT
        count(*) AS handshakes, coalesce(sum(peers_tried), 0) AS peers_tried,
        sum(bytes_sent) AS told, sum(bytes_received) AS heard
     FROM swarm_handshakes WHERE run_id = ?1)
"""

_COUNT_SAMPLERS = """
INSERT INTO run_support (run_id, bep, client, replies, capable)
SELECT run_id, 51, coalesce(client_name(version), 'unknown'), sum(replies), sum(capable)
FROM (
    SELECT run_id, version, count(*) AS replies, sum(outcome = 'answered') AS capable
    FROM node_samples
    WHERE run_id = ? AND outcome IN ('answered', 'unsupported')
    GROUP BY version
)
GROUP BY 3
"""

_COUNT_FILTERS = """
INSERT INTO run_support (run_id, bep, client, replies, capable) VALUES (?, 33, ?, ?, ?)
ON CONFLICT (run_id, bep, client) DO UPDATE
SET replies = replies + excluded.replies, capable = capable + excluded.capable
"""

# What was written before these tables were there.
_COUNT_FILTERS_OF_ALL = """
INSERT INTO run_support (run_id, bep, client, replies, capable)
SELECT run_id, 33, coalesce(client_name(version), 'unknown'), sum(replies), sum(capable)
FROM (
    SELECT
        run_id, version, count(*) AS replies,
        sum(seeds_filter IS NOT NULL OR peers_filter IS NOT NULL) AS capable
    FROM scrape_replies JOIN swarm_samples ON swarm_samples.id = sample_id
    WHERE outcome = 'answered'
    GROUP BY run_id, version
)
GROUP BY run_id, 3
"""


def add_functions(connection: sqlite3.Connection) -> None:
    """Teach a connection the SQL function `client_name`, of a version in hex."""
    connection.create_function("client_name", 1, _client_name_of, deterministic=True)


def make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables and fill them for the runs that are there; in an open transaction."""
    for statement in MAKE_TABLES:
        connection.execute(statement)
    connection.execute(_COUNT_FILTERS_OF_ALL)
    for (run_id,) in connection.execute("SELECT id FROM runs WHERE status <> 'running'").fetchall():
        make_rollups(connection, run_id)


def make_rollups(connection: sqlite3.Connection, run_id: int) -> None:
    """Count what a run has come to; in an open transaction.  Costs some 4 us for each visit."""
    forget_rollups(connection, run_id)
    for table, sql in zip(TABLES, (outcomes_sql(), round_trips_sql(), COSTS), strict=True):
        connection.execute(f"INSERT INTO {table} {sql}", (run_id,))
    connection.execute(_COUNT_SAMPLERS, (run_id,))


def forget_rollups(connection: sqlite3.Connection, run_id: int) -> None:
    """Delete what is made at the end of a run, because it goes on."""
    for table in TABLES:
        connection.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))  # noqa: S608  # our own names
    connection.execute("DELETE FROM run_support WHERE run_id = ? AND bep = 51", (run_id,))


def count_filters(connection: sqlite3.Connection, run_id: int, replies: Iterable[StoredReply]) -> None:
    """Count, by client, who answers a scrape with filters (BEP 33); in an open transaction."""
    answered: Counter[str] = Counter()
    capable: Counter[str] = Counter()
    for reply in replies:
        if reply.outcome is not Outcome.ANSWERED:
            continue
        client = client_name(reply.version) or "unknown"
        answered[client] += 1
        capable[client] += reply.seeds_filter is not None or reply.peers_filter is not None
    rows = [(run_id, client, count, capable[client]) for client, count in answered.items()]
    connection.executemany(_COUNT_FILTERS, rows)


@lru_cache(maxsize=4096)  # a census has millions of nodes and few versions
def _client_name_of(version: str | None) -> str | None:
    return client_name(None if version is None else bytes.fromhex(version))
