"""The nodes that one run has visited, in a temporary table with one row for the visits to each.

The visits are grouped once for all that read them by node: `node_rows`, and the counts of the run.  The table
is on disk, in order of ids; nothing here holds more than a few rows in memory, whatever the size of the run.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from crawler.db.nodes import upsert_nodes
from crawler.db.records.records import ANSWERED
from crawler.db.schema import CLIENT, FAMILY, OF_RUN
from dhtnode import Family

_MAKE_NODES = """
CREATE TEMP TABLE run_nodes (
    node_id BLOB, host BLOB, port INTEGER, family INTEGER,
    first_seen INTEGER, last_seen INTEGER, first_answer INTEGER, last_answer INTEGER,
    version BLOB, rtt_us INTEGER, conforms INTEGER,
    PRIMARY KEY (node_id, host, port)
) WITHOUT ROWID
"""

_FILL_NODES = f"""
INSERT INTO run_nodes
SELECT
    node_id, host, port, {FAMILY},
    min(taken_at), max(taken_at),
    min(iif(outcome = {ANSWERED}, taken_at, NULL)), max(iif(outcome = {ANSWERED}, taken_at, NULL)),
    max(version), min(rtt_us), max(conforms)
FROM visit_rows
{OF_RUN}
GROUP BY node_id, host, port
ORDER BY node_id, host, port
"""

_MAKE_HOSTS = """
CREATE TEMP TABLE run_hosts AS
SELECT min(family) AS family, host, count(DISTINCT port) AS endpoints, count(DISTINCT node_id) AS ids
FROM run_nodes
WHERE last_answer IS NOT NULL
GROUP BY host
"""

# In the order of the key of `node_rows`, which grows page by page then and not all over.
_ADD_NODES = upsert_nodes("""
SELECT node_id, host, port, first_seen, last_seen, last_answer, version
FROM run_nodes
WHERE true  -- or what follows is read as part of a join
ORDER BY node_id, host, port
""")

_INDEXES = "SELECT name, sql FROM sqlite_master WHERE tbl_name = 'node_rows' AND type = 'index' AND sql <> ''"

# A family of NULL stands for both.
_COUNT = """
INSERT INTO run_counts (
    run_id, family, sighted, answered_once, answered_twice, distinct_ids, distinct_endpoints, distinct_ips
)
SELECT
    ?1, ?2, count(*), count(last_answer),
    coalesce(sum(last_answer - first_answer >= 300000), 0),
    (SELECT count(DISTINCT node_id) FROM run_nodes
     WHERE last_answer IS NOT NULL AND (?2 IS NULL OR family = ?2)),
    (SELECT coalesce(sum(endpoints), 0) FROM run_hosts WHERE ?2 IS NULL OR family = ?2),
    (SELECT count(*) FROM run_hosts WHERE ?2 IS NULL OR family = ?2)
FROM run_nodes
WHERE ?2 IS NULL OR family = ?2
HAVING count(*) > 0
"""

_COUNT_CLIENTS = f"""
INSERT INTO run_clients (run_id, family, client, nodes, rtt_ms, conforming, judged)
SELECT
    ?, family, {CLIENT},
    sum(nodes), sum(all_rtt_us) / 1000.0 / sum(timed), sum(conforming), sum(judged)
FROM (
    SELECT
        family, version, count(*) AS nodes, sum(rtt_us) AS all_rtt_us, count(rtt_us) AS timed,
        coalesce(sum(conforms), 0) AS conforming, count(conforms) AS judged
    FROM run_nodes
    WHERE last_answer IS NOT NULL
    GROUP BY family, version
)
GROUP BY 2, 3
"""


def make_run_nodes(connection: sqlite3.Connection, run_id: int) -> None:
    """Group the visits of a run by node, in temporary tables; in an open transaction.

    Does nothing where that was done last, and `forget_run_nodes` was not called since.  Costs some 3 us for
    each visit.
    """
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS grouped_run (run_id INTEGER)")
    if connection.execute("SELECT 1 FROM temp.grouped_run WHERE run_id = ?", (run_id,)).fetchone():
        return
    connection.execute("DELETE FROM temp.grouped_run")
    connection.execute("DROP TABLE IF EXISTS temp.run_nodes")
    connection.execute("DROP TABLE IF EXISTS temp.run_hosts")
    connection.execute(_MAKE_NODES)
    connection.execute(_FILL_NODES, (run_id,))
    connection.execute(_MAKE_HOSTS)
    # Rolled back together with the other temporary tables, where the transaction is.
    connection.execute("INSERT INTO temp.grouped_run VALUES (?)", (run_id,))


def count_nodes(connection: sqlite3.Connection, run_id: int) -> None:
    """Bring `node_rows` and the counts of a run up to date; in an open transaction."""
    make_run_nodes(connection, run_id)
    with _indexed_afterwards(connection):
        connection.execute(_ADD_NODES)
    forget_counts(connection, run_id)
    families = [int(family) for family in Family if _has_nodes(connection, family)]
    for counted in families if len(families) < 2 else (*families, None):
        connection.execute(_COUNT, (run_id, counted))
    connection.execute(_COUNT_CLIENTS, (run_id,))


@contextmanager
def _indexed_afterwards(connection: sqlite3.Connection) -> Iterator[None]:
    """Make the index of `node_rows` after the first nodes have come: it is smaller and quicker then."""
    has_nodes = connection.execute("SELECT 1 FROM node_rows LIMIT 1").fetchone()
    indexes = [] if has_nodes else connection.execute(_INDEXES).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    yield
    for _, sql in indexes:
        connection.execute(sql)


def forget_run_nodes(connection: sqlite3.Connection) -> None:
    """Let the visits of a run be grouped again when they are next needed: some were added."""
    connection.execute("DROP TABLE IF EXISTS temp.grouped_run")


def forget_counts(connection: sqlite3.Connection, run_id: int) -> None:
    """Delete the counts of a run, because it is resumed."""
    connection.execute("DELETE FROM run_counts WHERE run_id = ?", (run_id,))
    connection.execute("DELETE FROM run_clients WHERE run_id = ?", (run_id,))


def _has_nodes(connection: sqlite3.Connection, family: Family) -> bool:
    sql = "SELECT 1 FROM run_nodes WHERE family = ? LIMIT 1"
    return connection.execute(sql, (int(family),)).fetchone() is not None
