"""Questions about the runs themselves: what each did, when, and what it cost."""

import sqlite3

from crawler.db import rollups
from crawler.reports.report import LIMIT, Report, Value, check_run, columns, of_run, select

MOST_COUNTED = 500_000  # rows of a run under way: a second or two


def runs(db: sqlite3.Connection, *, run: int | None = None, limit: int = LIMIT) -> Report:
    """Tell what each run did and what it cost: queries, bytes, seconds, rows."""
    check_run(db, run)
    return Report(
        "runs",
        f"Runs, the newest first{of_run(run)}",
        "`asked` counts nodes asked, again or for another swarm too; each took one to four queries."
        " `peers_tried` counts peers contacted over TCP. Bytes are those of scrapes and handshakes: a census,"
        " a run of samples and the lookups of `metadata` do not count their own. `seconds` are from the first"
        " start to the end, pauses of an interrupted run included, and empty where nobody saw the end. Of a"
        " large run under way only rows are counted.",
        columns(
            "run command started_at status seconds:s visits swarm_samples node_samples handshakes"
            " asked answered peers_tried bytes_sent:B bytes_received:B"
        ),
        tuple(map(tuple, (_row(db, row) for row in select(db, _RUNS, run, limit)))),
    )


def _row(db: sqlite3.Connection, row: tuple[Value, ...]) -> tuple[Value, ...]:
    """Return a run with its costs; of one under way all are counted now, or its rows alone if many."""
    found = select(db, "SELECT * FROM run_costs WHERE run_id = ?", row[0])
    if not found:
        (counts,) = select(db, _ROWS, row[0])
        is_small = sum(int(count or 0) for count in counts) <= MOST_COUNTED
        found = select(db, rollups.COSTS, row[0]) if is_small else ((row[0], *counts, *[None] * 5),)
    return (*row, *found[0][1:])


_RUNS = """
SELECT
    id, command, started_at, status,
    round((julianday(finished_at) - julianday(started_at)) * 86400, 1)
FROM runs
WHERE ?1 IS NULL OR id = ?1
ORDER BY id DESC
LIMIT ?2
"""

_ROWS = """
SELECT
    (SELECT count(*) FROM visits WHERE run_id = ?1),
    (SELECT count(*) FROM swarm_samples WHERE run_id = ?1),
    (SELECT count(*) FROM node_samples WHERE run_id = ?1),
    (SELECT count(*) FROM swarm_handshakes WHERE run_id = ?1)
"""
