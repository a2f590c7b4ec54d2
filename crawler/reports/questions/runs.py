"""The report on the runs themselves: what each did, when, and what it cost."""

import sqlite3

from crawler.db import rollups
from crawler.reports.report import Report, Row, any_run, select

MOST_COUNTED = 500_000  # rows of a run under way: a second or two

_COSTS = (
    *("visits", "swarm_samples", "node_samples", "handshakes"),
    *("asked", "answered", "peers_tried", "bytes_sent", "bytes_received"),
)
_ROWS = """
SELECT
    (SELECT count(*) FROM visits WHERE run_id = :run),
    (SELECT count(*) FROM dht_samples WHERE run_id = :run),
    (SELECT count(*) FROM node_samples WHERE run_id = :run),
    (SELECT count(*) FROM swarm_handshakes WHERE run_id = :run)
"""


def _with_costs(db: sqlite3.Connection, row: Row) -> Row:
    """Return a run with its costs; of one under way all are counted now, or its rows alone if many."""
    known = len(row) - len(_COSTS)
    if row[known] is not None:
        return row
    _, (counts,) = select(db, _ROWS, run=row[0])
    if sum(int(count or 0) for count in counts) > MOST_COUNTED:
        return (*row[:known], *counts, *row[known + len(counts) :])
    _, (costs,) = select(db, rollups.COSTS.replace("?1", ":run"), run=row[0])
    return (*row[:known], *costs[1:])


runs = Report(
    name="runs",
    place=12,
    summary_place=1,
    page="runs_and_costs",
    about="Tell what each run did and what it cost: queries, bytes, seconds, rows.",
    question="What did each run do, and what did it cost?",
    title="Runs, the newest first",
    text="`asked` counts nodes asked, again or for another swarm too; each took one to four queries."
    " `peers_tried` counts peers contacted over TCP. Bytes are those of scrapes and handshakes: a census,"
    " a run of samples and the lookups of `metadata` do not count their own. `seconds` are from the first"
    " start to the end, pauses of an interrupted run included, and empty where the end was not recorded. Of a"
    " large run under way only rows are counted.",
    units={"seconds": "s", "bytes_sent": "B", "bytes_received": "B"},
    sql=f"""
SELECT
    id AS run, command, started_at, status,
    round((julianday(finished_at) - julianday(started_at)) * 86400, 1) AS seconds, {", ".join(_COSTS)}
FROM runs LEFT JOIN run_costs ON run_costs.run_id = runs.id
WHERE {any_run("runs.id")}
ORDER BY runs.id DESC
LIMIT :limit
""",
    complete=_with_costs,
)
