"""Combined samples in the database: which windows need one, what it is computed from, and its row.

A window is a span of time that begins at a multiple of its length since the epoch.  Each swarm that
more than one vantage has measured within a window has a combined sample there; the samples that it was
computed from stay as they are.
"""

import sqlite3
from collections.abc import Iterator

from crawler.db.connection import rows_of
from crawler.db.merge.combined_estimate import combine
from crawler.db.swarm_measurements import measurement_in

_ESTIMATE = (
    *("seeds", "leechers", "peers", "peers_low", "peers_high"),
    *("seeds_low", "seeds_high", "leechers_low", "leechers_high"),
    *("method", "saturated", "nodes_with_filters", "distinct_peers"),
)

# One scan of all samples, some 2 us each: so it does not matter how they got here, or whether some of
# them have been deleted since.
_LIST_WINDOWS = """
CREATE TEMP TABLE windows AS
WITH placed AS (
    SELECT
        dht_samples.id, info_hash, CAST(strftime('%s', taken_at) AS INTEGER) / :seconds AS number,
        coalesce(merged_runs.vantage, (SELECT identity FROM vantages WHERE is_here)) AS vantage
    FROM dht_samples LEFT JOIN merged_runs ON merged_runs.run_id = dht_samples.run_id
)
SELECT
    info_hash,
    strftime('%Y-%m-%dT%H:%M:%fZ', number * :seconds, 'unixepoch') AS window_start,
    strftime('%Y-%m-%dT%H:%M:%fZ', (number + 1) * :seconds, 'unixepoch') AS window_end,
    count(DISTINCT vantage) AS vantages,
    count(*) AS samples,
    max(id) AS newest_sample
FROM placed
GROUP BY info_hash, number
HAVING count(DISTINCT vantage) > 1
"""

_KEY = "(info_hash, window_start, window_end, samples, newest_sample)"
_FORGET = f"DELETE FROM combined_samples WHERE {_KEY} NOT IN (SELECT {_KEY[1:-1]} FROM temp.windows)"

_MISSING = """
SELECT * FROM temp.windows AS wanted
WHERE NOT EXISTS (
    SELECT 1 FROM combined_samples AS combined
    WHERE combined.info_hash = wanted.info_hash AND combined.window_start = wanted.window_start
)
ORDER BY info_hash, window_start
"""

_WITHIN = "info_hash = ? AND taken_at >= ? AND taken_at < ?"
_SAMPLES = f"SELECT * FROM dht_samples WHERE {_WITHIN}"
_REPLIES = "SELECT * FROM scrape_replies WHERE sample_id = ? AND outcome = 'answered'"

_COLUMNS = (
    *("info_hash", "window_start", "window_end", "vantages", "samples", "newest_sample"),
    *("nodes_answered", *_ESTIMATE),
)
_INSERT = f"INSERT INTO combined_samples ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"


def bring_up_to_date(connection: sqlite3.Connection, seconds: int) -> int:
    """Make the combined samples those of all samples and windows of so many seconds; in a transaction.

    Returns how many had to be computed, some 1 ms each.
    """
    connection.execute("DROP TABLE IF EXISTS temp.windows")
    connection.execute(_LIST_WINDOWS, {"seconds": seconds})
    connection.execute(_FORGET)
    cursor = connection.executemany(_INSERT, _combined(connection))
    connection.execute("DROP TABLE temp.windows")
    return cursor.rowcount


def _combined(connection: sqlite3.Connection) -> Iterator[tuple[object, ...]]:
    """Yield the rows that are missing."""
    for info_hash, start, end, *counts in connection.execute(_MISSING).fetchall():
        place = (info_hash, start, end)
        found = combine(
            [
                measurement_in(row, rows_of(connection, _REPLIES, row["id"]))
                for row in rows_of(connection, _SAMPLES, *place)
            ]
        )
        estimate = (getattr(found.estimate, column) for column in _ESTIMATE)
        yield (*place, *counts, found.nodes_answered, *estimate)
