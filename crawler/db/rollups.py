"""Aggregates of a run in a few rows, so that no report reads millions: made when a run ends.

A run under way has none of them yet but the responses to scrapes, which are counted as they are written;
`reports` reads the newest of its rows instead, with the same SQL.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable

from crawler.db.records.records import ANSWERED, OUTCOME_CODES, RESPONDED, client_letters
from crawler.db.schema import CLIENT, FAMILY, OF_RUN
from dhtnode.outcomes import Outcome
from dhtnode.swarm import Observation

TABLES = ("run_outcomes", "run_round_trips", "run_costs")

_VISITS = f"(SELECT *, {FAMILY} AS family FROM visit_rows {OF_RUN} {{newest}})"
_NODE_SAMPLES = f"(SELECT *, {FAMILY} AS family FROM node_sample_rows WHERE run_id = ?1 {{newest}})"
_NEWEST = "ORDER BY id DESC LIMIT ?2"
SOURCES = {
    "iif(is_verification, 'verification', 'visit')": _VISITS,
    "'sample'": _NODE_SAMPLES,
}


def outcomes_sql(*, newest: bool = False) -> str:
    """Return what counts the queries of run `?1` by outcome; with `newest`, of the last `?2` rows only."""
    return " UNION ALL ".join(
        f"""
SELECT run_id, family, kind, outcome_codes.outcome, error_code, queries, marked
FROM (
    SELECT
        run_id, family, {kind} AS kind, outcome AS code, error_code,
        count(*) AS queries, count(marks) AS marked
    FROM {source.format(newest=_NEWEST if newest else "")}
    GROUP BY family, 3, outcome, error_code
) JOIN outcome_codes USING (code)
"""
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
WHERE rtt_us IS NOT NULL AND outcome = {ANSWERED}
GROUP BY family, version, 4
"""
        for source in SOURCES.values()
    )
    return f"""
SELECT
    run_id, family, {CLIENT} AS client, from_ms,
    round(from_ms + CASE WHEN from_ms < 10 THEN 0.1 WHEN from_ms < 100 THEN 1
        WHEN from_ms < 1000 THEN 10 ELSE 100 END, 1) AS below_ms,
    sum(answers) AS answers
FROM ({both})
GROUP BY run_id, family, 3, from_ms
"""


_STEP = """CASE
    WHEN rtt_us < 10000 THEN rtt_us / 100 / 10.0
    WHEN rtt_us < 100000 THEN rtt_us / 1000 * 1.0
    WHEN rtt_us < 1000000 THEN rtt_us / 10000 * 10.0
    ELSE rtt_us / 100000 * 100.0
END"""

# A query for a sample of info-hashes is one for contacts too, which is not counted twice.
COSTS = f"""
SELECT
    ?1 AS run_id, visits, swarm_samples, node_samples, handshakes,
    visits + node_samples + scraped AS asked, visited + sampled + replied AS answered,
    peers_tried,
    CASE WHEN told IS NULL THEN sent ELSE coalesce(sent, 0) + told END AS bytes_sent,
    CASE WHEN heard IS NULL THEN received ELSE coalesce(received, 0) + heard END AS bytes_received
FROM
    (SELECT count(*) AS visits, coalesce(sum(outcome = {ANSWERED}), 0) AS visited FROM visit_rows {OF_RUN}),
    (SELECT count(*) AS node_samples, coalesce(sum(outcome IN {RESPONDED}), 0) AS sampled
     FROM node_sample_rows WHERE run_id = ?1),
    (SELECT
        count(*) AS swarm_samples,
        coalesce(sum(nodes_asked), 0) AS scraped, coalesce(sum(nodes_answered), 0) AS replied,
        sum(bytes_sent) AS sent, sum(bytes_received) AS received
     FROM dht_samples WHERE run_id = ?1),
    (SELECT
        count(*) AS handshakes, coalesce(sum(peers_tried), 0) AS peers_tried,
        sum(bytes_sent) AS told, sum(bytes_received) AS heard
     FROM swarm_handshakes WHERE run_id = ?1)
"""

_COUNT_SAMPLERS = f"""
INSERT INTO run_support (run_id, bep, client, replies, capable)
SELECT run_id, 51, {CLIENT}, sum(replies), sum(capable)
FROM (
    SELECT run_id, version, count(*) AS replies, sum(outcome = {ANSWERED}) AS capable
    FROM node_sample_rows
    WHERE run_id = ? AND outcome IN ({ANSWERED}, {OUTCOME_CODES[Outcome.UNSUPPORTED]})
    GROUP BY version
)
GROUP BY 3
"""

_COUNT_FILTERS = """
INSERT INTO run_support (run_id, bep, client, replies, capable) VALUES (?, 33, ?, ?, ?)
ON CONFLICT (run_id, bep, client) DO UPDATE
SET replies = replies + excluded.replies, capable = capable + excluded.capable
"""


def make_rollups(connection: sqlite3.Connection, run_id: int) -> None:
    """Make the aggregates of a run; in an open transaction.  Costs some 4 us for each visit."""
    forget_rollups(connection, run_id)
    for table, sql in zip(TABLES, (outcomes_sql(), round_trips_sql(), COSTS), strict=True):
        connection.execute(f"INSERT INTO {table} {sql}", (run_id,))
    connection.execute(_COUNT_SAMPLERS, (run_id,))


def forget_rollups(connection: sqlite3.Connection, run_id: int) -> None:
    """Delete what is made at the end of a run, because it is resumed."""
    for table in TABLES:
        connection.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))
    connection.execute("DELETE FROM run_support WHERE run_id = ? AND bep = 51", (run_id,))


def count_filters(connection: sqlite3.Connection, run_id: int, replies: Iterable[Observation]) -> None:
    """Count, by client, the responses to scrapes with filters (BEP 33); in an open transaction."""
    answered: Counter[str] = Counter()
    capable: Counter[str] = Counter()
    found = Counter(
        [(reply.version, reply.has_filters) for reply in replies if reply.outcome is Outcome.ANSWERED]
    )
    for (version, has_filters), count in found.items():
        client = client_letters(version) or "unknown"
        answered[client] += count
        capable[client] += count * has_filters
    rows = [(run_id, client, count, capable[client]) for client, count in answered.items()]
    connection.executemany(_COUNT_FILTERS, rows)
