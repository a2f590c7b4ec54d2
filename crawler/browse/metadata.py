"""What Datasette is told about a crawl database: texts, facets, orders, and what it does not show."""

import re
import sqlite3
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from crawler.browse.queries import QUERIES
from crawler.db.schema.columns import TABLES

DATABASE = "crawl"
"""The name of the database in addresses, whatever its file is called."""

LARGE = 100_000  # rows; what has more is neither counted by value nor sorted on its first page
FACETS = ("outcome", "client", "family", "method", "status", "kind", "verdict", "test", "command", "mark")
MOST_FACETS = 4  # of a table
ORDERS = {
    "latest_swarms": "peers",
    "client_versions": "nodes",
    "run_clients": "nodes",
    "swarm_history": "taken_at",
    "swarms": "last_seen",
    "nodes": "last_seen",
}
"""By which columns tables and views are sorted, the largest first; others by their newest rows."""

UNITS = {"B": "bytes", "ms": "milliseconds", "s": "seconds"}

LABELS = {"swarms": "info_hash", "runs": "command"}
"""What stands for a row where others refer to it; not the name of a torrent, which may be anything."""

SETTINGS: dict[str, Any] = {
    "default_page_size": 50,
    "max_returned_rows": 1000,
    "sql_time_limit_ms": 1500,
    "facet_time_limit_ms": 200,
    "suggest_facets": False,  # asks every column of every table whether it is worth it
    "allow_download": False,  # the file holds filters, which tell of peers
    "num_sql_threads": 3,
    "truncate_cells_html": 200,
}
COUNT_LIMIT_MS = 200

_FRONT = """
<p>What <code>dhtcrawl</code> has recorded: in <a href="/-/plots"><strong>plots</strong></a>, as answers to
questions, and as tables, each of which says what its columns mean.
No address of a peer is kept here, and filters that were made from them are not shown.</p>
"""


def metadata_of(db: sqlite3.Connection) -> dict[str, Any]:
    """Return the metadata of an open database; costs a few milliseconds for each table."""
    large = large_tables(db)
    names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")]
    tables = {name: _table(db, name, is_large=name in large) for name in names}
    queries = {
        query.name: {
            "title": query.title,
            "description": query.text,
            "sql": query.sql.strip(),
            "hide_sql": True,  # until asked for: the answer comes first
        }
        for query in QUERIES.values()
    }
    return {
        "title": "A crawl of the BitTorrent DHT",
        "description_html": _front(),
        "databases": {DATABASE: {"title": "Questions and tables", "tables": tables, "queries": queries}},
    }


def _front() -> str:
    """Return the front page: what there is, in a line each."""
    questions = "".join(_item(query.name, query.title, "") for query in QUERIES.values())
    tables = "".join(_item(each.name, each.name, each.meaning) for each in TABLES.values() if each.exported)
    return f"{_FRONT}<h2>Questions</h2><ul>{questions}</ul><h2>Tables and views</h2><ul>{tables}</ul>"


def _item(name: str, title: str, meaning: str) -> str:
    text = f": {escape(meaning)}" if meaning else ""
    return f'<li><a href="/{DATABASE}/{name}">{escape(title)}</a>{text}</li>'


def large_tables(db: sqlite3.Connection) -> frozenset[str]:
    """Return the tables with more than `LARGE` rows, and the views that read them."""
    found = db.execute("SELECT name, type, sql FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
    large = {name for name, kind, _ in found if kind == "table" and _is_large(db, name)}
    words = re.compile(rf"\b({'|'.join(map(re.escape, large))})\b") if large else None
    views = {name for name, kind, sql in found if kind == "view" and words and words.search(sql)}
    return frozenset(large | views)


def _is_large(db: sqlite3.Connection, name: str) -> bool:
    sql = f'SELECT count(*) FROM (SELECT 1 FROM "{name}" LIMIT {LARGE + 1})'
    return int(db.execute(sql).fetchone()[0]) > LARGE


def _table(db: sqlite3.Connection, name: str, *, is_large: bool) -> dict[str, Any]:
    described = TABLES.get(name)
    if described is None or not described.exported:  # of use to the crawler, or to SQLite, alone
        return {"hidden": True, "allow": False}
    told: dict[str, Any] = {
        "title": name.replace("_", " ").capitalize(),
        "description": described.meaning,
        "columns": {
            column.name: _column_text(column.meaning, column.unit, is_shown=column.privacy != "never")
            for column in described.columns
        },
    }
    if name in LABELS:
        told["label_column"] = LABELS[name]
    return told | (_of_large(db, name) if is_large else _of_small(name, list(told["columns"])))


def _column_text(meaning: str, unit: str, *, is_shown: bool) -> str:
    plain = meaning.replace("`", "")
    if not is_shown:
        return f"{plain} Not shown."
    return f"{plain} In {UNITS.get(unit, unit)}." if unit else plain


def _of_small(table: str, names: Sequence[str]) -> dict[str, Any]:
    facets = [name for name in FACETS if name in names][:MOST_FACETS]
    order = ORDERS.get(table) or _first(names, ("id", "run_id", "sample_id"))
    return ({"facets": facets} if facets else {}) | ({"sort_desc": order} if order else {})


def _of_large(db: sqlite3.Connection, name: str) -> dict[str, Any]:
    """Offer the orders that an index gives: others would take longer than a query may."""
    indexed = {
        columns[0]
        for _, index, _, _, is_partial in db.execute(f'PRAGMA index_list("{name}")').fetchall()
        if not is_partial
        for columns in [[row[2] for row in db.execute(f'PRAGMA index_info("{index}")')]]
        if columns[0] is not None
    }
    keys = {row[1] for row in db.execute(f'PRAGMA table_info("{name}")') if row[5] == 1}
    told: dict[str, Any] = {"sortable_columns": sorted(indexed | keys)}
    return told | ({"sort_desc": "id"} if "id" in keys else {})


def _first(names: Iterable[str], wanted: Iterable[str]) -> str | None:
    return next((name for name in wanted if name in set(names)), None)
