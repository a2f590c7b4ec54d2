"""Where runs were made: the identity of each database, and what samples of several come to together.

A database is a *vantage*: one machine, or one place in the network, that crawled into it.  Its identity
is made with it, at random, and stays with its runs wherever they are merged.
"""

import json
from hashlib import blake2b
from secrets import token_hex

from sqlite_utils import Database

IDENTITY_BYTES = 16

_TABLES = (
    "CREATE TABLE vantages (identity TEXT PRIMARY KEY NOT NULL, is_here INTEGER NOT NULL)",
    # A run without a row here was made in this database.  Who deletes a run deletes its row.
    """
    CREATE TABLE merged_runs (
        run_id INTEGER PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
        vantage TEXT NOT NULL REFERENCES vantages (identity),
        number INTEGER NOT NULL
    )
    """,
    # `newest_sample` and `samples` tell whether a row still is what its samples come to.
    """
    CREATE TABLE combined_samples (
        info_hash TEXT NOT NULL REFERENCES swarms (info_hash) ON DELETE CASCADE,
        window_start TEXT NOT NULL,
        window_end TEXT NOT NULL,
        seeds REAL,
        leechers REAL,
        peers REAL,
        peers_low REAL,
        peers_high REAL,
        seeds_low REAL,
        seeds_high REAL,
        leechers_low REAL,
        leechers_high REAL,
        method TEXT NOT NULL,
        saturated INTEGER NOT NULL,
        vantages INTEGER NOT NULL,
        samples INTEGER NOT NULL,
        newest_sample INTEGER NOT NULL,
        nodes_answered INTEGER NOT NULL,
        nodes_with_filters INTEGER NOT NULL,
        distinct_peers INTEGER NOT NULL,
        PRIMARY KEY (info_hash, window_start)
    )
    """,
)

# One row for each run: in which database it was made, and which number it had there.
_RUN_VANTAGES = """
SELECT
    runs.id AS run_id, runs.command, runs.started_at, vantages.identity AS vantage,
    coalesce(merged_runs.number, runs.id) AS number, vantages.is_here
FROM runs
LEFT JOIN merged_runs ON merged_runs.run_id = runs.id
JOIN vantages ON CASE WHEN merged_runs.run_id IS NULL THEN is_here ELSE identity = merged_runs.vantage END
"""

# The newest window of each swarm that more than one vantage has measured.  Counts are rounded, as in
# `latest_swarms`.
_LATEST_COMBINED = """
SELECT
    swarms.info_hash,
    swarms.name,
    combined.window_start,
    combined.window_end,
    CAST(round(combined.seeds) AS INTEGER) AS seeds,
    CAST(round(combined.leechers) AS INTEGER) AS leechers,
    CAST(round(combined.peers) AS INTEGER) AS peers,
    CAST(round(combined.peers_low) AS INTEGER) AS peers_low,
    CAST(round(combined.peers_high) AS INTEGER) AS peers_high,
    CAST(round(combined.seeds_low) AS INTEGER) AS seeds_low,
    CAST(round(combined.seeds_high) AS INTEGER) AS seeds_high,
    CAST(round(combined.leechers_low) AS INTEGER) AS leechers_low,
    CAST(round(combined.leechers_high) AS INTEGER) AS leechers_high,
    combined.saturated,
    combined.method,
    combined.vantages,
    combined.samples,
    combined.nodes_answered,
    combined.nodes_with_filters,
    combined.distinct_peers
FROM swarms
JOIN combined_samples AS combined ON combined.info_hash = swarms.info_hash AND combined.window_start = (
    SELECT max(window_start) FROM combined_samples WHERE info_hash = swarms.info_hash
)
"""


def add_vantages(db: Database) -> None:
    """Add the tables and views about vantages, and the identity of this database."""
    for statement in _TABLES:
        db.conn.execute(statement)
    db.create_view("run_vantages", _RUN_VANTAGES)
    db.create_view("latest_combined", _LATEST_COMBINED)
    db.conn.execute("INSERT INTO vantages VALUES (?, 1)", (_new_identity(db),))


def _new_identity(db: Database) -> str:
    """Draw an identity; a database that is older than this table gets the same one every time.

    Such a file can be merged before anybody opens it for writing, and again afterwards.
    """
    columns = "command, started_at, version, settings, pid"
    first = db.conn.execute(f"SELECT {columns} FROM runs ORDER BY id LIMIT 1").fetchone()  # noqa: S608
    if first is None:
        return token_hex(IDENTITY_BYTES)
    return blake2b(json.dumps(first).encode(), digest_size=IDENTITY_BYTES).hexdigest()
