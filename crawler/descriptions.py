"""What every table, view and column of a crawl database holds, in words: for exports, pages and documents.

A test holds the descriptions against the real schema: a column without one fails, and so does one too many.
"""

from crawler.column_texts import ColumnText, TableText
from crawler.node_texts import NODE_TEXTS
from crawler.swarm_texts import SWARM_TEXTS

__all__ = ["TABLES", "ColumnText", "TableText"]

TABLES: dict[str, TableText] = {table.name: table for table in (*NODE_TEXTS, *SWARM_TEXTS)}
"""All tables and views but those of SQLite and sqlite-utils, by name."""
