"""The tables and views of a crawl database, one migration per change, and how rows enter them.

A migration that has been released is never edited: a later one changes what it made.  A database
that holds one we do not know was made by a newer version and is not for us to write.  Tables hold
observations; views hold the questions that most readers ask first.

No column holds the address of a peer.  `address` and `port` always belong to a node.
"""

from sqlite_utils import Database, Migrations

from crawler.db import (
    history_views,
    metadata_tables,
    report_views,
    rollups,
    sample_views,
    swarm_views,
    vantages,
    views,
)

migrations = Migrations("crawler")


def is_of_another_program(db: Database) -> bool:
    """Return whether the database has tables, and none of our migrations made them."""
    return bool(db.table_names()) and not migrations.applied(db)


def unknown_migrations(db: Database) -> set[str]:
    """Return the names of applied migrations that this version does not have."""
    with Database(memory=True, execute_plugins=False) as empty:
        known = {migration.name for migration in migrations.pending(empty)}
    return {migration.name for migration in migrations.applied(db)} - known


def bring_up_to_date(db: Database) -> None:
    """Apply all pending migrations, or none when one fails; the connection must be in autocommit.

    Of two processes that create a database together the second waits for the first, and then
    finds nothing left to do.
    """
    if not migrations.pending(db):
        return
    db.conn.execute("BEGIN IMMEDIATE")
    try:
        migrations.apply(db)
        db.conn.execute("COMMIT")
    finally:
        db.conn.rollback()  # does nothing after a COMMIT


@migrations()
def m001_runs(db: Database) -> None:
    """Add the runs: who wrote the rows, when, and with which settings."""
    db.table("runs").create(
        {
            "id": int,
            "command": str,
            "started_at": str,
            "finished_at": str,
            "status": str,
            "version": str,
            "settings": str,  # JSON
            "pid": int,  # tells a run under way from one that was killed
        },
        pk="id",
        not_null={"command", "started_at", "status", "version", "settings", "pid"},
    )


@migrations()
def m002_swarms(db: Database) -> None:
    """Add the swarms, their time series, and the replies each sample was computed from."""
    _create_swarms(db)
    _create_swarm_samples(db)
    _create_scrape_replies(db)


def _create_swarms(db: Database) -> None:
    db.table("swarms").create(
        {"info_hash": str, "first_seen": str, "last_seen": str, "source": str, "name": str},
        pk="info_hash",
        not_null={"first_seen", "last_seen"},
    )


def _create_swarm_samples(db: Database) -> None:
    samples = db.table("swarm_samples").create(
        {
            "id": int,
            "run_id": int,
            "info_hash": str,
            "taken_at": str,
            "seeds": float,
            "leechers": float,
            "peers": float,
            "peers_low": float,
            "peers_high": float,
            "method": str,
            "saturated": int,
            "nodes_asked": int,
            "nodes_answered": int,
            "nodes_with_filters": int,
            "distinct_peers": int,
            "bytes_sent": int,
            "bytes_received": int,
        },
        pk="id",
        not_null={"run_id", "info_hash", "taken_at", "method", "saturated", "nodes_asked", "nodes_answered"},
        foreign_keys=[("run_id", "runs", "id"), ("info_hash", "swarms", "info_hash")],
    )
    samples.create_index(["info_hash", "taken_at"])
    samples.create_index(["run_id"])


def _create_scrape_replies(db: Database) -> None:
    replies = db.table("scrape_replies").create(
        {
            "sample_id": int,
            "node_id": str,
            "address": str,
            "port": int,
            "rank": int,
            "seeds_filter": bytes,
            "peers_filter": bytes,
            "values_count": int,
            "version": str,  # hex
            "rtt_ms": float,
            "marks": str,  # words with spaces between
        },
        not_null={"sample_id", "node_id", "address", "port", "rank"},
        foreign_keys=[("sample_id", "swarm_samples", "id")],
    )
    replies.create_index(["sample_id"])


@migrations()
def m003_nodes(db: Database) -> None:
    """Add the nodes and every visit to them.

    A node is an id at an endpoint: one id at two endpoints is two nodes, and so is the reverse,
    because deciding which of them lies is up to the reader of the data.
    """
    _create_nodes(db)
    _create_visits(db)


def _create_nodes(db: Database) -> None:
    db.table("nodes").create(
        {
            "node_id": str,
            "address": str,
            "port": int,
            "family": int,  # 4 or 6
            "first_seen": str,
            "last_seen": str,
            "last_answer": str,
            "version": str,  # hex
            "client": str,
        },
        pk=("node_id", "address", "port"),
        not_null={"family", "first_seen", "last_seen"},
    )


def _create_visits(db: Database) -> None:
    visits = db.table("visits").create(
        {
            "id": int,
            "run_id": int,
            "node_id": str,
            "address": str,
            "port": int,
            "taken_at": str,
            "outcome": str,
            "rtt_ms": float,
            "version": str,  # hex
            "contacts": int,
            "new_contacts": int,
            "referrers": int,
        },
        pk="id",
        not_null={"run_id", "node_id", "address", "port", "taken_at", "outcome"},
        # No key to `nodes`: the store writes both sides in one transaction, and checking costs a
        # look-up in the largest index for every visit.
        foreign_keys=[("run_id", "runs", "id")],
    )
    visits.create_index(["run_id"])


@migrations()
def m004_views(db: Database) -> None:
    """Add the views that answer the first questions."""
    db.create_view("latest_swarms", LATEST_SWARMS)
    db.create_view("client_versions", CLIENT_VERSIONS)
    db.create_view("network_size", NETWORK_SIZE)


@migrations()
def m005_crawls(db: Database) -> None:
    """Add to the visits what a census learns, and the journal by which it is resumed."""
    visits = db.table("visits")
    for column, kind in (("error_code", int), ("conforms", int), ("unusable", int), ("marks", str)):
        visits.add_column(column, kind)
    visits.add_column("is_verification", int, not_null_default=0)
    db.execute("CREATE INDEX idx_visits_verified ON visits (run_id, node_id, port) WHERE is_verification")
    db.table("crawl_journal").create(
        {"id": int, "run_id": int, "family": int, "contacts": bytes, "changes": bytes},
        pk="id",
        not_null={"run_id", "family", "contacts", "changes"},
        foreign_keys=[("run_id", "runs", "id")],
    )


@migrations()
def m006_findings(db: Database) -> None:
    """Add what a run ends with: counts, sizes with intervals, alarms, and the views of them."""
    # A family of NULL stands for both together, wherever it may be NULL.
    _create_run_counts(db)
    _create_size_estimates(db)
    _create_alarms(db)
    # Few visits are suspect, so an index of them costs nearly nothing.
    db.execute(f"CREATE INDEX idx_visits_suspect ON visits (run_id) WHERE {views.IS_SUSPECT_VISIT}")
    db.create_view("network_size", views.NETWORK_SIZE, replace=True)
    db.create_view("sybil_suspects", views.SYBIL_SUSPECTS)
    db.create_view("suspect_nodes", views.SUSPECT_NODES)
    db.create_view("client_census", views.client_census())


def _create_run_counts(db: Database) -> None:
    counts = ("sighted", "answered_once", "answered_twice")
    distinct = ("distinct_ids", "distinct_endpoints", "distinct_ips")
    db.table("run_counts").create(
        {"run_id": int, "family": int} | dict.fromkeys((*counts, *distinct), int),
        not_null={"run_id", *counts, *distinct},
        foreign_keys=[("run_id", "runs", "id")],
    ).create_index(["run_id"])
    db.table("run_clients").create(
        {
            "run_id": int,
            "family": int,
            "client": str,
            "nodes": int,
            "rtt_ms": float,  # mean
            "conforming": int,  # of those judged: with an address that BEP 42 is about
            "judged": int,
        },
        pk=("run_id", "family", "client"),
        not_null={"nodes", "conforming", "judged"},
        foreign_keys=[("run_id", "runs", "id")],
    )


def _create_size_estimates(db: Database) -> None:
    db.table("size_estimates").create(
        {
            "run_id": int,
            "family": int,
            "method": str,
            "estimate": float,
            "low": float,
            "high": float,
            "zone": str,  # bits, or "whole"
            "details": str,  # JSON
        },
        not_null={"run_id", "method", "estimate", "zone", "details"},
        foreign_keys=[("run_id", "runs", "id")],
    ).create_index(["run_id"])


def _create_alarms(db: Database) -> None:
    db.table("alarms").create(
        {
            "run_id": int,
            "family": int,
            "test": str,
            "subject": str,
            "observed": float,
            "expected": float,
            "p_value": float,
            "verdict": str,
        },
        not_null={"run_id", "family", "test", "subject", "observed", "expected", "p_value", "verdict"},
        foreign_keys=[("run_id", "runs", "id")],
    ).create_index(["run_id"])


@migrations()
def m007_samples(db: Database) -> None:
    """Add the samples of info-hashes (BEP 51), whose turn it is when, and what follows from them."""
    _create_node_samples(db)
    _create_sample_turns(db)
    db.table("discovery_estimates").create(
        {
            "id": int,
            "run_id": int,
            "family": int,  # 4 or 6
            "method": str,
            "estimate": float,
            "low": float,
            "high": float,
            "zone": str,
            "details": str,  # JSON
        },
        pk="id",
        not_null={"run_id", "family", "method", "estimate", "low", "high", "zone", "details"},
        foreign_keys=[("run_id", "runs", "id")],
    )
    db.create_view("client_census", views.client_census(views.BEP51_BY_SAMPLES), replace=True)


def _create_node_samples(db: Database) -> None:
    samples = db.table("node_samples").create(
        {
            "id": int,
            "run_id": int,
            "node_id": str,
            "address": str,
            "port": int,
            "family": int,  # 4 or 6
            "taken_at": str,
            "outcome": str,
            "error_code": int,
            "rtt_ms": float,
            "version": str,  # hex
            "num": int,
            "interval": int,
            "returned": int,
            "new": int,  # not known before; NULL until the sample is in `swarms`
            "next_at": str,
            "contacts": int,
            "new_contacts": int,
            "marks": str,  # words with spaces between
            "samples": bytes,  # info-hashes of 20 bytes, one after the other
        },
        pk="id",
        not_null={"run_id", "node_id", "address", "port", "family", "taken_at", "outcome", "returned"},
        foreign_keys=[("run_id", "runs", "id")],
    )
    samples.create_index(["run_id"])


def _create_sample_turns(db: Database) -> None:
    """Add the times at which nodes may be asked again, by endpoint: ids change easily.

    In an anonymized database the place is the prefix, the port and the id.
    """
    db.conn.execute("""
        CREATE TABLE sample_turns (
            place TEXT PRIMARY KEY NOT NULL,
            node_id TEXT NOT NULL,
            family INTEGER NOT NULL,
            asked_at TEXT NOT NULL,
            next_at TEXT NOT NULL,
            interval INTEGER,
            chances INTEGER NOT NULL DEFAULT 0
        ) WITHOUT ROWID
    """)
    db.conn.execute("CREATE INDEX idx_sample_turns_next_at ON sample_turns (next_at) WHERE chances > 0")


@migrations()
def m008_estimates(db: Database) -> None:
    """Add all methods side by side, and to the replies what a number is computed again from."""
    samples, replies = db.table("swarm_samples"), db.table("scrape_replies")
    for column in ("seeds_low", "seeds_high", "leechers_low", "leechers_high", "overlap", "coverage"):
        samples.add_column(column, float)
    replies.add_column("outcome", str, not_null_default="answered")  # only such had rows before
    for column, kind in (("asked_at", str), ("family", int)):
        replies.add_column(column, kind)
    for column in ("named_tokens", "named_filter", "unplaced_filter"):
        replies.add_column(column, bytes)
    db.execute("UPDATE scrape_replies SET family = CASE WHEN instr(address, ':') THEN 6 ELSE 4 END")
    estimates = db.table("swarm_estimates").create(
        {"sample_id": int, "subject": str, "method": str, "estimate": float, "low": float, "high": float},
        not_null={"sample_id", "subject", "method", "estimate", "low", "high"},
        foreign_keys=[("sample_id", "swarm_samples", "id")],
    )
    estimates.create_index(["sample_id"])
    db.create_view("latest_swarms", sample_views.LATEST_SWARMS, replace=True)
    census = views.client_census(views.BEP51_BY_SAMPLES, "WHERE scrape_replies.outcome = 'answered'")
    db.create_view("client_census", census, replace=True)


@migrations()
def m009_watch(db: Database) -> None:
    """Add the swarms that are watched, what was purged of old samples, and the views of swarms over time."""
    db.conn.execute("""
        CREATE TABLE watched_swarms (
            info_hash TEXT PRIMARY KEY NOT NULL,
            source TEXT NOT NULL,
            since TEXT NOT NULL,
            removed_at TEXT,
            next_at TEXT NOT NULL,
            interval REAL NOT NULL,
            tried_at TEXT,
            measured_at TEXT,
            peers REAL,
            peers_low REAL,
            peers_high REAL,
            empties INTEGER NOT NULL DEFAULT 0,
            failures INTEGER NOT NULL DEFAULT 0,
            failure TEXT
        ) WITHOUT ROWID
    """)
    db.conn.execute(
        "CREATE INDEX idx_watched_swarms_due ON watched_swarms (next_at) WHERE removed_at IS NULL"
    )
    db.conn.execute("CREATE INDEX idx_watched_swarms_tried_at ON watched_swarms (tried_at)")
    db.table("retention").create({"task": str, "done_to": int, "done_at": str}, pk="task")
    db.create_view("swarm_history", swarm_views.SWARM_HISTORY)
    db.create_view("swarm_growth", swarm_views.SWARM_GROWTH)
    db.create_view("swarm_half_life", swarm_views.SWARM_HALF_LIFE)
    db.create_view("dead_swarms", swarm_views.DEAD_SWARMS)


@migrations()
def m010_metadata(db: Database) -> None:
    """Add what peers told: the torrents, and who of a swarm said to be a seed."""
    metadata_tables.create_tables(db)


@migrations()
def m011_reports(db: Database) -> None:
    """Add what reports read in place of millions of rows, and views that do likewise."""
    rollups.make_tables(db.conn)
    db.create_view("client_versions", report_views.CLIENT_VERSIONS, replace=True)
    db.create_view("client_census", report_views.CLIENT_CENSUS, replace=True)
    db.create_view("suspect_nodes", report_views.suspect_nodes(), replace=True)


@migrations()
def m012_merge(db: Database) -> None:
    """Add where runs of other databases came from, and what samples of several come to together."""
    vantages.add_vantages(db)


@migrations()
def m013_browse(db: Database) -> None:
    """Make views of swarms over time anew, so that a page of them does not wait for all samples."""
    db.create_view("swarm_growth", history_views.SWARM_GROWTH, replace=True)
    db.create_view("dead_swarms", history_views.DEAD_SWARMS, replace=True)
    db.create_view("swarm_half_life", history_views.SWARM_HALF_LIFE, replace=True)


# Counts are rounded: the digits behind the point of an estimate mislead.  The table keeps them.
LATEST_SWARMS = """
SELECT
    swarms.info_hash,
    swarms.name,
    sample.taken_at,
    CAST(round(sample.seeds) AS INTEGER) AS seeds,
    CAST(round(sample.leechers) AS INTEGER) AS leechers,
    CAST(round(sample.peers) AS INTEGER) AS peers,
    CAST(round(sample.peers_low) AS INTEGER) AS peers_low,
    CAST(round(sample.peers_high) AS INTEGER) AS peers_high,
    sample.saturated,
    sample.method,
    sample.nodes_asked,
    sample.nodes_answered,
    sample.nodes_with_filters,
    sample.distinct_peers
FROM swarms
JOIN swarm_samples AS sample ON sample.id = (
    SELECT id FROM swarm_samples
    WHERE info_hash = swarms.info_hash
    ORDER BY taken_at DESC, id DESC
    LIMIT 1
)
"""

# Only nodes that answered: a version in a packet nobody asked for proves little.
CLIENT_VERSIONS = """
SELECT
    coalesce(client, 'unknown') AS client,
    count(*) AS nodes,
    round(1.0 * count(*) / sum(count(*)) OVER (), 4) AS share,
    count(DISTINCT version) AS versions
FROM nodes
WHERE last_answer IS NOT NULL
GROUP BY coalesce(client, 'unknown')
ORDER BY nodes DESC, client
"""

# Counts only, uncorrected for nodes that the crawl missed.  IPv4 and IPv6 are two networks
# (BEP 32) and get a row each.  Ids, endpoints and IPs are those of nodes that answered; in an
# anonymized database an IP is a prefix.  Answers 5 minutes apart tell an open node from one that
# a NAT lets through for a moment.
NETWORK_SIZE = """
WITH seen AS (
    SELECT
        run_id, node_id, address, port,
        max(outcome = 'answered') AS answered,
        min(taken_at) FILTER (WHERE outcome = 'answered') AS first_answer,
        max(taken_at) FILTER (WHERE outcome = 'answered') AS last_answer
    FROM visits
    GROUP BY run_id, node_id, address, port
)
SELECT
    run_id,
    runs.started_at,
    CASE WHEN instr(address, ':') THEN 6 ELSE 4 END AS family,
    count(*) AS sighted,
    sum(answered) AS answered_once,
    coalesce(sum(strftime('%s', last_answer) - strftime('%s', first_answer) >= 300), 0) AS answered_twice,
    count(DISTINCT node_id) FILTER (WHERE answered) AS distinct_ids,
    count(DISTINCT address || ' ' || port) FILTER (WHERE answered) AS distinct_endpoints,
    count(DISTINCT address) FILTER (WHERE answered) AS distinct_ips
FROM seen JOIN runs ON runs.id = seen.run_id
GROUP BY run_id, 3
ORDER BY run_id, 3
"""

INSERT_RUN = """
INSERT INTO runs (command, started_at, status, version, settings, pid) VALUES (?, ?, ?, ?, ?, ?)
"""

# Runs of other databases are none of ours: their processes are elsewhere, and they left no journal.
_MADE_HERE = "id NOT IN (SELECT run_id FROM merged_runs)"
LAST_RUN = f"SELECT * FROM runs WHERE command = ? AND {_MADE_HERE} ORDER BY id DESC LIMIT 1"  # noqa: S608
RUNS_UNDER_WAY = f"SELECT id, pid FROM runs WHERE status = 'running' AND {_MADE_HERE}"  # noqa: S608

# Of those that have answered, whoever has not been asked again since.
ANSWERED = """
SELECT id, node_id, address, port, taken_at FROM visits AS visit
WHERE run_id = ? AND id > ? AND outcome = 'answered' AND NOT is_verification
    AND (instr(address, ':') > 0) = ?
    AND NOT EXISTS (
        SELECT 1 FROM visits
        WHERE is_verification AND run_id = visit.run_id AND node_id = visit.node_id
            AND port = visit.port AND address = visit.address
    )
ORDER BY id
LIMIT ?
"""

INSERT_JOURNAL = "INSERT INTO crawl_journal (run_id, family, contacts, changes) VALUES (?, ?, ?, ?)"

# Times are text that sorts as time does, so min() and max() of two are the earlier and the later.
# Records may come out of order, and an old one must not turn a clock back.
UPSERT_SWARM = """
INSERT INTO swarms (info_hash, first_seen, last_seen, source, name) VALUES (?1, ?2, ?2, ?3, ?4)
ON CONFLICT (info_hash) DO UPDATE SET
    first_seen = min(first_seen, excluded.first_seen),
    last_seen = max(last_seen, excluded.last_seen),
    source = coalesce(source, excluded.source),
    name = coalesce(name, excluded.name)
"""

INTO_NODES = """
INSERT INTO nodes (node_id, address, port, family, first_seen, last_seen, last_answer, version, client)
"""

OR_KEEP_KNOWN = """
ON CONFLICT (node_id, address, port) DO UPDATE SET
    first_seen = min(first_seen, excluded.first_seen),
    last_seen = max(last_seen, excluded.last_seen),
    last_answer = coalesce(max(last_answer, excluded.last_answer), last_answer, excluded.last_answer),
    version = coalesce(excluded.version, version),
    client = coalesce(excluded.client, client)
"""

UPSERT_NODE = f"""
{INTO_NODES}
VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8)
{OR_KEEP_KNOWN}
"""  # our own text
