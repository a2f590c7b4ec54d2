"""Questions about swarms: the largest, the history of one, and how many info-hashes there are."""

import sqlite3

from crawler.reports.report import LIMIT, NoAnswer, Report, check_run, columns, of_run, select


def swarms(db: sqlite3.Connection, *, run: int | None = None, limit: int = LIMIT) -> Report:
    """Tell which swarms are the largest, by the newest sample of each."""
    check_run(db, run)
    return Report(
        "swarms",
        f"Largest swarms{of_run(run)}",
        "Distinct addresses announced for each info-hash, between `peers_low` and `peers_high` in 95 of 100"
        " cases, and so for seeds and leechers; who left within 45 minutes still counts, who never announces"
        " does not. Only swarms that were measured are here, and an address may announce without taking part."
        " Saturated means: or more. A name is what peers say.",
        columns(
            "info_hash taken_at peers peers_low peers_high seeds seeds_low seeds_high"
            " leechers leechers_low leechers_high saturated method nodes_answered name"
        ),
        select(db, _RANKING if run is None else _RANKING_OF_RUN, limit, *(() if run is None else (run,))),
    )


def swarm(db: sqlite3.Connection, *, info_hash: str, run: int | None = None, limit: int = LIMIT) -> Report:
    """Tell how a swarm has changed: its samples, the newest first.

    `info_hash` is in lower-case hex.
    """
    check_run(db, run)
    rows = select(db, _HISTORY, info_hash, run, limit)
    if not rows:
        raise NoAnswer(f"{info_hash} was never measured{'' if run is None else f' in run {run}'}")
    return Report(
        "swarm",
        f"History of swarm {info_hash}{_named(db, info_hash)}{of_run(run)}",
        "Each row is a measurement. A change within the intervals is no change; a step where"
        " `nodes_answered` or `method` changes may be one of the measurement, not of the swarm.",
        columns(
            "taken_at peers peers_low peers_high seeds seeds_low seeds_high"
            " leechers leechers_low leechers_high saturated method nodes_asked nodes_answered"
            " nodes_with_filters distinct_peers run"
        ),
        rows,
    )


def _named(db: sqlite3.Connection, info_hash: str) -> str:
    """Return the name of a torrent for a title; it is from anybody."""
    found = select(db, "SELECT name FROM swarms WHERE info_hash = ? AND name IS NOT NULL", info_hash)
    return f", named {found[0][0]!r}" if found else ""


def methods(db: sqlite3.Connection, *, run: int | None = None, limit: int = LIMIT) -> Report:
    """Tell what each method says of the largest swarms, by the newest sample of each."""
    check_run(db, run)
    return Report(
        "methods",
        f"Methods side by side{of_run(run)}",
        "`peers` is the headline and `method` says where it is from; beside it, what `union`, `recapture`,"
        " `pair_ratio` and `chao2` say by themselves, and how many peers were named. `seed_share` is from the"
        " filters, `by_handshakes` from peers that were contacted over TCP, with its interval: few can be"
        " reached, and those are more often seeds.",
        columns(
            "info_hash taken_at method peers peers_low peers_high union recapture pair_ratio chao2 distinct"
            " seed_share:% by_handshakes:% by_handshakes_low:% by_handshakes_high:% name"
        ),
        select(db, _METHODS if run is None else _METHODS_OF_RUN, limit, *(() if run is None else (run,))),
    )


def discovery(db: sqlite3.Connection, *, run: int | None = None, limit: int = LIMIT) -> Report:
    """Tell how many info-hashes there are, from samples that nodes show (BEP 51)."""
    check_run(db, run)
    return Report(
        "discovery",
        f"Info-hashes by samples{of_run(run)}",
        "`coverage` is the chance that what a node shows next is known already; `chao1` a lower bound of the"
        " number of info-hashes; `horvitz-thompson` those that lie with the nodes sampled. None of them"
        " counts what lies only with clients that give no samples, and nobody vouches for an info-hash.",
        columns("run started_at family zone method estimate low high"),
        select(db, _DISCOVERY, run, limit),
    )


_NUMBERS = """
    CAST(round(peers) AS INTEGER), CAST(round(peers_low) AS INTEGER), CAST(round(peers_high) AS INTEGER),
    CAST(round(seeds) AS INTEGER), CAST(round(seeds_low) AS INTEGER), CAST(round(seeds_high) AS INTEGER),
    CAST(round(leechers) AS INTEGER), CAST(round(leechers_low) AS INTEGER),
    CAST(round(leechers_high) AS INTEGER), saturated, method
"""

# SQLite takes `peers` and `id` from the row with the latest time, all of it from one index: the plus
# keeps it from another one, which would send it through the table.
_LARGEST = """
WITH latest AS (SELECT info_hash, max(taken_at), peers, id FROM swarm_samples {} GROUP BY info_hash),
largest AS (SELECT id FROM latest WHERE peers IS NOT NULL ORDER BY peers DESC, info_hash LIMIT ?1)
"""
_RANK = f"""
{_LARGEST}
SELECT sample.info_hash, taken_at, {_NUMBERS}, nodes_answered, name
FROM largest
JOIN swarm_samples AS sample ON sample.id = largest.id
JOIN swarms ON swarms.info_hash = sample.info_hash
ORDER BY peers DESC, sample.info_hash
"""  # noqa: S608  # our own words
_RANKING = _RANK.format("")
_RANKING_OF_RUN = _RANK.format("WHERE +run_id = ?2")

_BY_METHOD = ", ".join(
    f"(SELECT CAST(round(estimate) AS INTEGER) FROM swarm_estimates"  # noqa: S608  # our own words
    f" WHERE sample_id = sample.id AND subject = 'peers' AND method = '{method}')"
    for method in ("union", "recapture", "pair-ratio", "chao2", "distinct")
)
_SIDE_BY_SIDE = f"""
{_LARGEST}
SELECT
    sample.info_hash, sample.taken_at, method, CAST(round(peers) AS INTEGER),
    CAST(round(peers_low) AS INTEGER), CAST(round(peers_high) AS INTEGER), {_BY_METHOD},
    round(100.0 * sample.seeds / nullif(sample.seeds + sample.leechers, 0), 1),
    round(100 * seed_share, 1), round(100 * seed_share_low, 1), round(100 * seed_share_high, 1), name
FROM largest
JOIN swarm_samples AS sample ON sample.id = largest.id
JOIN swarms ON swarms.info_hash = sample.info_hash
LEFT JOIN swarm_handshakes AS handshakes ON handshakes.id = (
    SELECT id FROM swarm_handshakes
    WHERE info_hash = sample.info_hash
    ORDER BY taken_at DESC, id DESC
    LIMIT 1
)
ORDER BY peers DESC, sample.info_hash
"""  # noqa: S608  # our own words
_METHODS = _SIDE_BY_SIDE.format("")
_METHODS_OF_RUN = _SIDE_BY_SIDE.format("WHERE +run_id = ?2")

_HISTORY = f"""
SELECT taken_at, {_NUMBERS}, nodes_asked, nodes_answered, nodes_with_filters, distinct_peers, run_id
FROM swarm_samples
WHERE info_hash = ?1 AND (?2 IS NULL OR run_id = ?2)
ORDER BY taken_at DESC, id DESC
LIMIT ?3
"""  # noqa: S608  # our own words

_DISCOVERY = """
SELECT
    runs.id, started_at, family, zone, method,
    round(estimate, iif(method = 'coverage', 4, 0)), round(low, iif(method = 'coverage', 4, 0)),
    round(high, iif(method = 'coverage', 4, 0))
FROM discovery_estimates JOIN runs ON runs.id = run_id
WHERE ?1 IS NULL OR run_id = ?1
ORDER BY runs.id DESC, family, discovery_estimates.id
LIMIT ?2
"""
