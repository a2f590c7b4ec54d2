"""Questions about nodes: how many there are, what they run, what they support, how they answer."""

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence

from crawler.db import rollups
from crawler.reports.report import LIMIT, Report, Value, check_run, chosen_run, columns, of_run, select

NEWEST = 200_000  # rows of a run under way that are looked at: a second or two
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def network_size(db: sqlite3.Connection, *, run: int | None = None, limit: int = LIMIT) -> Report:
    """Tell how many nodes the network has: counts of each census and family, and estimates with intervals."""
    check_run(db, run)
    return Report(
        "network-size",
        f"Size of the network{of_run(run)}",
        "Nodes that answered are what was counted; `estimate` adds those that were missed, between `low` and"
        " `high` in 95 of 100 cases. Rows without a family count both together. A node behind a NAT may be"
        " sighted and never answer, and liars may be counted more than once: see `sybils`.",
        columns(
            "run started_at family sighted answered answered_twice distinct_ids distinct_ips zone"
            " estimate:nodes low:nodes high:nodes by_distances:nodes"
        ),
        select(db, _NETWORK_SIZE, run, limit),
    )


def clients(db: sqlite3.Connection, *, run: int | None = None, limit: int = LIMIT) -> Report:
    """Tell which clients the nodes of a census run, by the first two characters of their version."""
    run = chosen_run(db, run, of="run_clients")
    return Report(
        "clients",
        f"Clients of the nodes that answered{of_run(run)}",
        "Clients name themselves, and anybody may claim to be any of them; `unknown` sends no readable"
        " version. A run is counted when it ends. One client may run many nodes on one host.",
        columns("client nodes share:% rtt_mean:ms"),
        select(db, _CLIENTS, run, limit),
    )


def beps(db: sqlite3.Connection, *, run: int | None = None, limit: int = LIMIT) -> Report:
    """Tell which clients support scrapes (BEP 33), secure ids (BEP 42) and samples (BEP 51)."""
    run = chosen_run(db, run, of="run_clients")
    return Report(
        "beps",
        f"Support of BEPs by client{of_run(run)}",
        "Shares of what nodes show: for BEP 42 of the ids at public addresses in this run, for BEP 33 and"
        " BEP 51 of the replies to scrapes and to requests for samples in all runs. A client that is silent"
        " when it does not know a method is missing from the latter, so its share is too high.",
        columns("client nodes bep33:% bep33_replies bep42:% bep42_judged bep51:% bep51_replies"),
        select(db, _BEPS, run, limit),
    )


def round_trips(db: sqlite3.Connection, *, run: int | None = None, limit: int = LIMIT) -> Report:
    """Tell how long answers take: quantiles of round-trip times by client."""
    run = _newest_run(db, run, of="run_round_trips")
    ended = _has_ended(db, run)
    sql = _ROUND_TRIPS if ended else rollups.round_trips_sql(newest=True)
    return Report(
        "round-trips",
        f"Round-trip times by client{of_run(run)}{'' if ended else _UNDER_WAY}",
        "Times of answers that came in time: who is too slow is a timeout and not in here, so the upper"
        " quantiles are too low. They are read from steps of 10 % or less. Our own line is in each of them.",
        columns("client answers " + " ".join(f"p{round(100 * each):02d}:ms" for each in QUANTILES)),
        tuple(_quantile_rows(db, sql, (run,) if ended else (run, NEWEST))[:limit]),
    )


def outcomes(db: sqlite3.Connection, *, run: int | None = None, limit: int = LIMIT) -> Report:
    """Tell how the queries of a census or a sampling ended: answers, timeouts, errors, lies."""
    run = _newest_run(db, run, of="run_outcomes")
    ended = _has_ended(db, run)
    counted = "run_outcomes" if ended else f"({rollups.outcomes_sql(newest=True)})"
    return Report(
        "outcomes",
        f"Outcomes of queries{of_run(run)}{'' if ended else _UNDER_WAY}",
        "A timeout is a node that is gone, behind a NAT, too slow, or not willing: which of them cannot be"
        " told. `marked` answers are suspect for what they hold.",
        columns("kind family outcome error_code queries share:% marked"),
        select(db, _OUTCOMES.format(counted), run, NEWEST, limit),
    )


def sybils(db: sqlite3.Connection, *, run: int | None = None, limit: int = LIMIT) -> Report:
    """Tell which hosts, parts of the id space and ids have more nodes than chance would give them."""
    run = chosen_run(db, run, of="run_counts")
    return Report(
        "sybils",
        f"Suspected Sybils{of_run(run)}",
        "`observed` and `expected` are in the unit of the test, as docs/explanation/network_size.md says."
        " An alarm is a"
        " reason to look, no proof: many nodes behind one NAT raise one too. An empty table says that none"
        " of these tests found any.",
        columns("family test subject observed expected p_value"),
        select(db, _SYBILS, run, limit),
    )


_UNDER_WAY = f", under way: the newest {NEWEST} rows"

_NETWORK_SIZE = """
SELECT
    run_counts.run_id, runs.started_at, run_counts.family, sighted, answered_once, answered_twice,
    distinct_ids, distinct_ips, coalesce(crawl.zone, distances.zone),
    CAST(round(crawl.estimate) AS INTEGER), CAST(round(crawl.low) AS INTEGER),
    CAST(round(crawl.high) AS INTEGER), CAST(round(distances.estimate) AS INTEGER)
FROM run_counts
JOIN runs ON runs.id = run_counts.run_id
LEFT JOIN size_estimates AS crawl ON
    crawl.run_id = runs.id AND crawl.family IS run_counts.family AND crawl.method = 'crawl'
LEFT JOIN size_estimates AS distances ON
    distances.run_id = runs.id AND distances.family IS run_counts.family AND distances.method = 'distances'
WHERE ?1 IS NULL OR run_counts.run_id = ?1
ORDER BY run_counts.run_id DESC, run_counts.family IS NULL, run_counts.family
LIMIT ?2
"""

_CLIENTS = """
SELECT
    client, sum(nodes) AS counted, round(100.0 * sum(nodes) / sum(sum(nodes)) OVER (), 2),
    round(sum(nodes * rtt_ms) / sum(nodes) FILTER (WHERE rtt_ms IS NOT NULL), 1)
FROM run_clients WHERE run_id = ?
GROUP BY client
ORDER BY counted DESC, client
LIMIT ?
"""

_BEPS = """
WITH support AS (
    SELECT client, bep, sum(capable) AS capable, sum(replies) AS replies
    FROM run_support GROUP BY client, bep
),
census AS (
    SELECT client, sum(nodes) AS nodes, sum(conforming) AS conforming, sum(judged) AS judged
    FROM run_clients WHERE run_id = ?1 GROUP BY client
),
named AS (SELECT client FROM census UNION SELECT client FROM support)
SELECT
    named.client, nodes,
    round(100.0 * scrapes.capable / scrapes.replies, 1), scrapes.replies,
    round(100.0 * conforming / nullif(judged, 0), 1), judged,
    round(100.0 * samples.capable / samples.replies, 1), samples.replies
FROM named
LEFT JOIN census ON census.client = named.client
LEFT JOIN support AS scrapes ON scrapes.client = named.client AND scrapes.bep = 33
LEFT JOIN support AS samples ON samples.client = named.client AND samples.bep = 51
ORDER BY nodes DESC, scrapes.replies DESC, named.client
LIMIT ?2
"""

_ROUND_TRIPS = "SELECT * FROM run_round_trips WHERE run_id = ?"

_OUTCOMES = """
SELECT
    kind, family, outcome, error_code, queries,
    round(100.0 * queries / sum(queries) OVER (PARTITION BY kind, family), 2), CAST(marked AS INTEGER)
FROM {} AS counted WHERE run_id = ?1
ORDER BY kind DESC, family, queries DESC
LIMIT ?3
"""

_SYBILS = """
SELECT family, test, subject, round(observed, 3), round(expected, 3), p_value
FROM alarms WHERE run_id = ? AND verdict = 'suspect'
ORDER BY p_value, observed DESC
LIMIT ?
"""


def _newest_run(db: sqlite3.Connection, run: int | None, of: str) -> int | None:
    """Return the run to report on, one under way when none has ended that has rows in a table."""
    found = chosen_run(db, run, of)
    return chosen_run(db, None, "(SELECT id AS run_id FROM runs)") if found is None else found


def _has_ended(db: sqlite3.Connection, run: int | None) -> bool:
    return (
        run is None or db.execute("SELECT 1 FROM run_costs WHERE run_id = ?", (run,)).fetchone() is not None
    )


def _quantile_rows(db: sqlite3.Connection, sql: str, values: Sequence[object]) -> list[tuple[Value, ...]]:
    """Return a row for each client, that with most answers first, and one for all of them before."""
    steps: dict[str, Counter[tuple[float, float]]] = {}
    for _, _, client, low, high, answers in db.execute(sql, values):
        steps.setdefault(client, Counter())[low, high] += answers
    everybody = sum(steps.values(), Counter())
    ranked = sorted(steps.items(), key=lambda each: (-each[1].total(), each[0]))
    named = [("all", everybody), *ranked] if ranked else []
    return [
        (client, counted.total(), *(round(quantile(counted, share), 1) for share in QUANTILES))
        for client, counted in named
    ]


def quantile(steps: Mapping[tuple[float, float], int], share: float) -> float:
    """Return a quantile of what was counted in steps, each from a number to below another.

    Within a step values are taken to be spread evenly; there must be one value at least.
    """
    wanted = share * sum(steps.values())
    for (low, high), count in sorted(steps.items()):
        if wanted <= count:
            return low + (high - low) * wanted / count
        wanted -= count
    return max(high for _, high in steps)
