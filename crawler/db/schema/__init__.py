"""The tables and views of a crawl database: their SQL, what each column holds, and how they are made."""

import re
from importlib.resources import files

__all__ = ["CLIENT", "FAMILY", "OF_RUN", "SHOWN_AS", "query_of", "read_sql"]

SHOWN_AS = {
    "node_rows": "nodes",
    "visit_rows": "visits",
    "reply_rows": "scrape_replies",
    "node_sample_rows": "node_samples",
    "tracker_sample_rows": "tracker_samples",
}
"""The view that shows the rows of a table that holds few bytes a row."""

OF_RUN = "WHERE id BETWEEN ?1 << 32 AND (?1 << 32) + 4294967295"
"""The condition for the rows of run `?1` in `visit_rows`, which lie together."""

FAMILY = "iif(host < '' OR NOT instr(host, ':'), 4, 6)"
"""The family of a row that has a host: a number, which is less than any text, or text."""

CLIENT = """iif(
    CAST(substr(version, 1, 2) AS TEXT) GLOB '[0-9A-Za-z][0-9A-Za-z]',
    CAST(substr(version, 1, 2) AS TEXT), 'unknown'
)"""
"""The client of a row that has a version, as `client_letters` says it, and unknown without a version."""


def query_of(view: str) -> str:
    """Return the query of a view without a condition, so that one on the columns of its table can follow."""
    code = re.sub(r" *-- .*", "", read_sql("views.sql"))
    return code.partition(f"CREATE VIEW {view} AS\n")[2].partition(";")[0]


def read_sql(name: str) -> str:
    """Return the text of schema.sql or views.sql."""
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
