"""What is done with a database after a crawl: explain one measurement, export all of it, delete from it."""

import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from crawler.core.session import new_random
from crawler.crawl import explanation
from crawler.crawl.explanation import CensusExplanation
from crawler.db.connection import DatabaseError, GuardedConnection, open_reading
from crawler.db.database import CrawlDatabase
from crawler.db.purge.orders import Orders, parse_node
from crawler.db.records.torrents import KnownTorrent
from crawler.db.swarm_measurements import SwarmRows
from crawler.db.torrents import MetadataRows
from crawler.reports import files
from crawler.reports.explain import Explanation, explain_sample
from crawler.reports.export import Exported, export_tables
from dhtnode import InfoHash, InvalidArgument, public_info_hash
from dhtnode.arguments import check_positive, check_type, check_whole, path_of, several, swarms_of

MOST_ROWS = 2**63 - 1
MOST_DAYS = 36_500


def explain(measurement: int | InfoHash, *, db: str | Path) -> Explanation | None:
    """Return how the numbers of a measurement came about, computed again; None if there is none.

    A measurement is given by its number, the latest one of a swarm by the info-hash.  Raises `DatabaseError`.
    """
    if isinstance(measurement, int):
        check_whole("measurement", measurement, 0, MOST_ROWS)
        number, info_hash = measurement, None
    else:
        number, info_hash = 0, public_info_hash(measurement)

    def find(swarms: SwarmRows) -> dict[str, Any] | None:
        return swarms.sample(number) if info_hash is None else swarms.latest_sample(info_hash)

    with open_reading(db) as connection:
        swarms = SwarmRows(GuardedConnection(str(db), connection))
        return explain_sample(swarms, find)


def explain_census(run: int, *, db: str | Path) -> CensusExplanation | None:
    """Return how the sizes of a census came about, counted again from its visits; None if there is none.

    Raises `DatabaseError`.
    """
    check_whole("run", run, 0, MOST_ROWS)
    with open_reading(db) as connection:
        return explanation.explain_census(GuardedConnection(str(db), connection), run, new_random())


def known_torrent(info_hash: InfoHash, *, db: str | Path) -> KnownTorrent | None:
    """Return what peers told of the torrent of a swarm, or None; raises `DatabaseError`."""
    wanted = public_info_hash(info_hash)
    with open_reading(db) as connection:
        return MetadataRows(GuardedConnection(str(db), connection)).known(wanted)


def export(
    folder: Path,
    *,
    db: str | Path,
    form: Literal["parquet", "csv", "csv.gz"] = "parquet",
    anonymize: bool = False,
    run: int | None = None,
) -> Iterator[Exported]:
    """Write all tables and views into a folder, of one run or of all, and yield each file when it is written.

    With `anonymize`, addresses become networks and ids pseudonyms, and small groups are left out.  Raises
    `DatabaseError`, `NoAnswer` for an unknown run, `NoParquet`, and `ExportError` for a file that is there
    already or cannot be written.
    """
    folder = path_of("folder", folder)
    check_type("form", form, str)
    if form not in ("parquet", "csv", "csv.gz"):
        raise InvalidArgument("a form is parquet, csv or csv.gz")
    if run is not None:
        check_whole("run", run, 0, MOST_ROWS)
    key = secrets.token_bytes(32) if anonymize else None
    chosen = files.parquet() if form == "parquet" else files.CSV if form == "csv" else files.CSV_GZIP
    with open_reading(db) as connection:
        yield from export_tables(connection, folder, chosen, run=run, key=key)


def purge(
    db: str | Path,
    *,
    filters_older: float | None = None,
    older: float | None = None,
    swarms: Sequence[InfoHash] = (),
    nodes: Sequence[str] = (),
    dry: bool = False,
) -> dict[str, int]:
    """Delete in one transaction, and return how many rows went from each table; with `dry`, only count.

    Deletes raw filters and whole runs that are older than so many days, all of some swarms, and all of
    `nodes`, each an address, a network or an id.  Raises `DatabaseError`, and `ValueError` for a node that is
    none of these.
    """
    for name, days in (("filters_older", filters_older), ("older", older)):
        if days is not None:
            check_positive(name, days, or_zero=True)
            if days > MOST_DAYS:
                raise InvalidArgument(f"{name} has {MOST_DAYS} days at most")
    found = [parse_node(node) for node in several("nodes", nodes)]
    orders = Orders(
        filters_older,
        older,
        tuple(swarms_of("swarms", swarms)),
        tuple(each for each in found if not isinstance(each, bytes)),
        tuple(each for each in found if isinstance(each, bytes)),
    )
    with CrawlDatabase.open(path_of("db", db)) as database:
        return database.purge.run(orders, time.time(), dry=dry)


def vacuum(db: str | Path) -> None:
    """Write the file again, so that nothing deleted is left in it; raises `DatabaseError`."""
    path = path_of("db", db)
    with CrawlDatabase.open(path) as database:
        if not database.purge.compact():
            raise DatabaseError(
                f"{db}: another process reads it, so traces may be left in {path.name}-wal;"
                " run it again later"
            )
