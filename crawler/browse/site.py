"""The whole site as an object: Datasette over one database, and the addresses of its pages."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datasette.app import Datasette
from datasette.database import Database
from datasette.plugins import pm

from crawler.browse import pages
from crawler.browse.connection import open_blind
from crawler.browse.metadata import COUNT_LIMIT_MS, DATABASE, SETTINGS, metadata_of
from crawler.browse.queries import QUERIES
from crawler.db.connection import open_reading
from crawler.db.schema.columns import TABLES

HERE = Path(__file__).parent


class BlindDatabase(Database):  # type: ignore[misc]  # Datasette has no types
    """A database of Datasette that is read through `open_blind`, and counted for a moment only."""

    def connect(self, write: bool = False) -> sqlite3.Connection:
        """Open a connection to read with; there is none to write with."""
        if write:
            raise sqlite3.OperationalError("a crawl database is only read here")
        connection = open_blind(Path(self.path))
        self._all_file_connections.append(connection)
        return connection

    async def execute(self, sql: str, *args: Any, **options: Any) -> Any:
        """Run a query; a count of all rows stops after a moment, and a page tells what went wrong."""
        options["log_sql_errors"] = False
        if sql.startswith("select count(*) from "):
            options.setdefault("custom_time_limit", COUNT_LIMIT_MS)
        return await super().execute(sql, *args, **options)


def make_site(path: Path) -> Datasette:
    """Return the site of a database, to be closed with `close_site`.

    Raises `DatabaseError` if it is no crawl database of this version.
    """
    with open_reading(path) as db:
        metadata = metadata_of(db)
    if not pm.has_plugin("crawler.browse"):
        pm.register(pages, name="crawler.browse")
        # It prints tracebacks with all variables on stdout, and waits for ever when nothing reads there.
        pm.unregister(name="datasette.handle_exception")
    site = Datasette(
        [],
        metadata=metadata,
        settings=SETTINGS,
        template_dir=str(HERE / "templates"),
        static_mounts=[(pages.STYLE, str(HERE / "static"))],
    )
    site.remove_database("_memory")  # it comes unasked where no files are given
    site.add_database(BlindDatabase(site, path=str(path)), name=DATABASE)
    return site


def close_site(site: Datasette) -> None:
    """Close the connections and threads of a site."""
    site.executor.shutdown()
    for database in site.databases.values():
        database.close()


def page_paths(path: Path) -> Iterator[str]:
    """Yield the path of each page, with values from the database where a query asks for some."""
    with open_reading(path) as db:
        info_hash = _first(db, "SELECT info_hash FROM dht_samples ORDER BY id DESC LIMIT 1")
        node_id = _first(db, "SELECT lower(hex(node_id)) FROM visit_rows ORDER BY id DESC LIMIT 1")
    yield from ("/", f"/{DATABASE}", pages.PLOTS)
    if info_hash:
        yield f"{pages.PLOTS}/swarm/{info_hash}"
    for table in TABLES.values():
        if table.exported:
            yield f"/{DATABASE}/{table.name}"
    values = {"info_hash": info_hash, "node_id": node_id}
    for query in QUERIES.values():
        given = [f"{name}={value}" for name, value in values.items() if value and f":{name}" in query.sql]
        yield f"/{DATABASE}/{query.name}" + (f"?{'&'.join(given)}" if given else "")


def _first(db: sqlite3.Connection, sql: str) -> str:
    found = db.execute(sql).fetchone()
    return str(found[0]) if found else ""
