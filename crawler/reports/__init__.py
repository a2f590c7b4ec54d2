"""Named questions to a crawl database, one function each; commands and notebooks ask them.

    with open_reading("crawl.db") as db:
        report = clients(db)
    frame = pandas.DataFrame(report.records())

Each takes a connection as `open_reading` gives it and returns a `Report`.
"""

from collections.abc import Iterator
from sqlite3 import Connection

from crawler.db.reader import open_reading
from crawler.reports.nodes import beps, clients, network_size, outcomes, round_trips, sybils
from crawler.reports.report import LIMIT, Ask, Column, NoAnswer, Report, Value
from crawler.reports.runs import runs
from crawler.reports.swarms import discovery, methods, swarm, swarms
from crawler.reports.watch import dead, watched

__all__ = [
    "LIMIT",
    "QUESTIONS",
    "Column",
    "NoAnswer",
    "Report",
    "Value",
    "beps",
    "clients",
    "dead",
    "discovery",
    "methods",
    "network_size",
    "open_reading",
    "outcomes",
    "round_trips",
    "runs",
    "summary",
    "swarm",
    "swarms",
    "sybils",
    "watched",
]

QUESTIONS: dict[str, Ask] = {
    "network-size": network_size,
    "clients": clients,
    "beps": beps,
    "round-trips": round_trips,
    "outcomes": outcomes,
    "sybils": sybils,
    "swarms": swarms,
    "methods": methods,
    "watched": watched,
    "dead": dead,
    "discovery": discovery,
    "runs": runs,
}
"""All but `swarm`, which needs to know of which one."""

IN_SUMMARY = ("runs", "network-size", "clients", "outcomes", "sybils", "swarms", "watched", "discovery")
SUMMARY_ROWS = 5


def summary(db: Connection, *, run: int | None = None, limit: int = SUMMARY_ROWS) -> Iterator[Report]:
    """Yield the reports that a first look begins with, the top rows of each.

    Those with nothing to tell are left out.
    """
    for name in IN_SUMMARY:
        report = QUESTIONS[name](db, run=run, limit=limit)
        if report.rows:
            yield report
