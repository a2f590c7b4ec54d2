"""Questions about the swarms on a watch: how they grow, and which have died."""

import sqlite3

from crawler.reports.report import LIMIT, Report, Value, check_run, columns, of_run, select


def watched(db: sqlite3.Connection, *, run: int | None = None, limit: int = LIMIT) -> Report:
    """Tell how the watched swarms grow and shrink, the largest first."""
    check_run(db, run)
    rows = select(db, _WATCHED, limit, run)
    return Report(
        "watched",
        f"Watched swarms{of_run(run)}",
        "`change` is that of the last day with a measurement, by the day; its interval is wider than 95 %,"
        " and where it holds 0 the swarm may not have changed. `half_life` is the time from the peak to half"
        " of it, and empty while a swarm has more. `interval` is how long a swarm waits for its next turn,"
        " before jitter and the budget. Dead swarms are in `dead`.",
        columns(
            "info_hash measured_at peers peers_low peers_high change:peers/d change_low:peers/d"
            " change_high:peers/d half_life:h interval:s next_at failures name"
        ),
        tuple(_with_change(db, row) for row in rows),
    )


def dead(db: sqlite3.Connection, *, run: int | None = None, limit: int = LIMIT) -> Report:
    """Tell which watched swarms have died, those that died last first."""
    check_run(db, run)
    rows = select(db, _DEAD, limit, run)
    return Report(
        "dead",
        f"Dead swarms{of_run(run)}",
        "Swarms on the watch whose last three measurements, or more, found nobody. They are measured rarely,"
        " so the time of death is uncertain: between `last_alive` and `empty_since`. A swarm may come back.",
        columns("info_hash last_alive empty_since measured_at empty_samples empty:d next_at name"),
        tuple(_with_end(db, row) for row in rows),
    )


def _with_change(db: sqlite3.Connection, row: tuple[Value, ...]) -> tuple[Value, ...]:
    """Put the last change and the half-life into a row: a view that is asked for one swarm reads no other."""
    change = select(db, _CHANGE, row[0]) or ((None, None, None),)
    half_life = select(db, _HALF_LIFE, row[0]) or ((None,),)
    return (*row[:5], *change[0], *half_life[0], *row[5:])


def _with_end(db: sqlite3.Connection, row: tuple[Value, ...]) -> tuple[Value, ...]:
    """Put into a row when the swarm was last alive."""
    (end,) = select(db, _END, row[0]) or ((None, None, row[1], None, None),)
    return (row[0], *end, *row[2:])


_OF_RUN = """
removed_at IS NULL AND (?2 IS NULL OR EXISTS (
    SELECT 1 FROM swarm_samples AS sample WHERE sample.info_hash = watched.info_hash AND run_id = ?2
))
"""

_WATCHED = f"""
SELECT
    watched.info_hash, measured_at, CAST(round(peers) AS INTEGER),
    CAST(round(peers_low) AS INTEGER), CAST(round(peers_high) AS INTEGER),
    round(interval), next_at, failures, name
FROM watched_swarms AS watched LEFT JOIN swarms USING (info_hash)
WHERE {_OF_RUN} AND empties < 3
ORDER BY peers DESC, watched.info_hash
LIMIT ?1
"""  # noqa: S608  # our own words

_DEAD = f"""
SELECT watched.info_hash, measured_at, next_at, name
FROM watched_swarms AS watched LEFT JOIN swarms USING (info_hash)
WHERE {_OF_RUN} AND empties >= 3
ORDER BY empties, measured_at DESC, watched.info_hash
LIMIT ?1
"""  # noqa: S608  # our own words

_CHANGE = """
SELECT change_per_day, change_per_day_low, change_per_day_high FROM swarm_growth
WHERE info_hash = ? ORDER BY day DESC LIMIT 1
"""

_HALF_LIFE = "SELECT half_life_hours FROM swarm_half_life WHERE info_hash = ?"

_END = """
SELECT last_alive, empty_since, measured_at, empty_samples, empty_days FROM dead_swarms WHERE info_hash = ?
"""
