"""What every table, view and column of a crawl database holds, in words: for exports, pages and documents.

A test holds the descriptions against the real schema: a column without one fails, and so does one too many.
"""

from crawler.db.columns.format import ColumnText, TableText
from crawler.db.columns.nodes import NODE_TEXTS
from crawler.db.columns.swarms import SWARM_TEXTS

__all__ = ["TABLES", "ColumnText", "TableText"]

TABLES: dict[str, TableText] = {table.name: table for table in (*NODE_TEXTS, *SWARM_TEXTS)}
"""All tables and views but those of SQLite and sqlite-utils, by name."""
