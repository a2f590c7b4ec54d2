"""All reports by name, and the calls that answer them from a database file."""

import importlib
import pkgutil
from pathlib import Path

from crawler.db.connection import open_reading
from crawler.reports import questions
from crawler.reports.report import LIMIT, Report, ReportAnswer
from dhtnode import public_info_hash
from dhtnode.arguments import check_type, check_whole

SUMMARY_ROWS = 5
MOST_ROWS = 2**63 - 1


def _find() -> dict[str, Report]:
    """Return the reports of all modules in `questions`, in the order of their places."""
    modules = pkgutil.iter_modules(questions.__path__, f"{questions.__name__}.")
    found = [
        value
        for module in modules
        for value in vars(importlib.import_module(module.name)).values()
        if isinstance(value, Report)
    ]
    return {each.name: each for each in sorted(found, key=lambda each: (each.place, each.name))}


REPORTS = _find()


def report(
    name: str, info_hash: str | None = None, *, db: str | Path, run: int | None = None, limit: int = LIMIT
) -> ReportAnswer:
    """Answer a question, one of `REPORTS`, from a crawl database that a crawl may be writing to.

    `run` is the number of a run, None for the newest that has an answer, or for all where they are shown
    side by side.  `info_hash`, in hex, is for the report `swarm` and no other.  Raises `DatabaseError`,
    `NoAnswer` for a run or a swarm that is not in the database, and `ValueError` for arguments that do
    not go together.
    """
    check_type("name", name, str)
    _check_bounds(run, limit)
    asked = find_report(name, info_hash is not None)
    values = {} if info_hash is None else {"info_hash": public_info_hash(info_hash).hex()}
    with open_reading(db) as connection:
        return asked.answer(connection, run=run, limit=limit, **values)


def _check_bounds(run: int | None, limit: int) -> None:
    if run is not None:
        check_whole("run", run, 0, MOST_ROWS)
    check_whole("limit", limit, -1, MOST_ROWS)


def find_report(name: str, has_info_hash: bool = False) -> Report:
    """Return a report; raise `ValueError` if there is none, or if it needs an info-hash and gets none."""
    found = REPORTS.get(name)
    if found is None:
        raise ValueError(f"there is no report {name!r}: --list names them all")
    if found.needs and not has_info_hash:
        raise ValueError("say which swarm, by its info-hash")
    if has_info_hash and not found.needs:
        raise ValueError(f"the report {name!r} takes no info-hash")
    return found


def report_summary(
    *, db: str | Path, run: int | None = None, limit: int = SUMMARY_ROWS
) -> list[ReportAnswer]:
    """Return the answers that a first look begins with, the top rows of each, and none without rows.

    Raises as `report` does.
    """
    _check_bounds(run, limit)
    first = [each for each in REPORTS.values() if each.summary_place]
    asked = sorted(first, key=lambda each: each.summary_place)
    with open_reading(db) as connection:
        answers = [each.answer(connection, run=run, limit=limit) for each in asked]
    return [answer for answer in answers if answer.rows]
