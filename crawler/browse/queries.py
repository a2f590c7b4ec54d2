"""The canned queries: the questions of the reports as SQL that a reader may change in the browser.

Each reads what is counted at the end of a run, or an index, so that it answers within the time limit on
millions of rows.  A parameter that is left empty stands for the newest run or the largest swarm.
"""

from dataclasses import dataclass

MOST_ROWS = 500


@dataclass(frozen=True, slots=True)
class CannedQuery:
    """Hold a question, what its answer says, and the SQL; parameters are written `:name`."""

    name: str
    title: str
    text: str
    sql: str


def _newest(table: str) -> str:
    """Return the condition for rows of run `:run`, by default the newest that has rows in a table."""
    return f"run_id = coalesce(nullif(:run, ''), (SELECT max(run_id) FROM {table}))"  # noqa: S608  # our own


def _whole(names: str) -> str:
    """Return columns as whole numbers; what is not finite becomes NULL."""
    return ", ".join(
        f"iif({name} < 1e15, CAST(round({name}) AS INTEGER), NULL) AS {name}" for name in names.split()
    )


_SIZES = _whole("peers peers_low peers_high seeds leechers")
_LATEST = "SELECT info_hash, max(taken_at), peers, id FROM swarm_samples GROUP BY info_hash"
_LARGEST = f"(SELECT info_hash FROM ({_LATEST}) ORDER BY peers DESC LIMIT 1)"  # noqa: S608  # our own words

_QUERIES = (
    CannedQuery(
        "size_of_the_network",
        "How many nodes are there?",
        "Nodes that answered are what was counted; the estimate adds those that were missed, between low and"
        " high in 95 of 100 cases. Rows without a family count both together.",
        f"""
SELECT
    run_counts.run_id, runs.started_at, run_counts.family, sighted, answered_once, answered_twice,
    method, zone, {_whole("estimate low high")}
FROM run_counts
JOIN runs ON runs.id = run_counts.run_id
LEFT JOIN size_estimates AS size ON size.run_id = runs.id AND size.family IS run_counts.family
ORDER BY run_counts.run_id DESC, run_counts.family, method
""",  # noqa: S608  # our own words
    ),
    CannedQuery(
        "clients",
        "What do the nodes run?",
        "Clients name themselves, and anybody may claim to be any of them; unknown sends no readable one.",
        f"""
SELECT
    run_id, client, sum(nodes) AS nodes,
    round(100.0 * sum(nodes) / sum(sum(nodes)) OVER (), 2) AS share_percent,
    round(sum(nodes * rtt_ms) / sum(nodes) FILTER (WHERE rtt_ms IS NOT NULL), 1) AS rtt_mean_ms
FROM run_clients WHERE {_newest("run_clients")}
GROUP BY client
ORDER BY nodes DESC, client
""",  # noqa: S608  # our own words
    ),
    CannedQuery(
        "support_of_beps",
        "Which clients support BEP 33, BEP 42 and BEP 51?",
        "Shares from 0 to 1 of what nodes show: BEP 42 in this run, BEP 33 and BEP 51 in all runs.",
        f"""
SELECT run_id, client, nodes, bep33, bep42, bep51
FROM client_census WHERE {_newest("run_clients")}
ORDER BY nodes DESC, client
""",  # noqa: S608  # our own words
    ),
    CannedQuery(
        "outcomes",
        "How did the queries of a run end?",
        "A timeout is a node that is gone, behind a NAT, too slow or not willing: which cannot be told.",
        f"""
SELECT
    run_id, kind, family, outcome, error_code, queries,
    round(100.0 * queries / sum(queries) OVER (PARTITION BY kind, family), 2) AS share_percent,
    CAST(marked AS INTEGER) AS marked
FROM run_outcomes WHERE {_newest("run_outcomes")}
ORDER BY kind DESC, family, queries DESC
""",  # noqa: S608  # our own words
    ),
    CannedQuery(
        "round_trips",
        "How long do answers take?",
        "The share of answers of a client that took less than so many ms. Who is too slow is not in here.",
        f"""
SELECT
    run_id, client, below_ms, answers,
    round(1.0 * sum(answers) OVER (PARTITION BY client ORDER BY below_ms)
        / sum(answers) OVER (PARTITION BY client), 4) AS share_below
FROM (
    SELECT run_id, client, below_ms, sum(answers) AS answers
    FROM run_round_trips WHERE {_newest("run_round_trips")}
    GROUP BY client, below_ms
)
ORDER BY client, below_ms
""",  # noqa: S608  # our own words
    ),
    CannedQuery(
        "suspects",
        "Where are more ids than chance would give?",
        "An alarm is a reason to look, no proof: many nodes behind one NAT raise one too.",
        f"""
SELECT run_id, family, test, subject, round(observed, 3) AS observed, round(expected, 3) AS expected, p_value
FROM alarms WHERE verdict = 'suspect' AND {_newest("run_counts")}
ORDER BY p_value, observed DESC
LIMIT {MOST_ROWS}
""",  # noqa: S608  # our own words
    ),
    CannedQuery(
        "largest_swarms",
        "Which swarms are the largest?",
        "By the newest measurement of each. Distinct addresses announced, with 95 % intervals; an address may"
        " announce without taking part. Saturated means: or more.",
        f"""
WITH latest AS ({_LATEST}),
largest AS (SELECT id FROM latest WHERE peers IS NOT NULL ORDER BY peers DESC, info_hash LIMIT {MOST_ROWS})
SELECT
    sample.info_hash, name, taken_at, {_SIZES}, saturated, method,
    nodes_answered
FROM largest
JOIN swarm_samples AS sample ON sample.id = largest.id
JOIN swarms ON swarms.info_hash = sample.info_hash
ORDER BY sample.peers DESC, sample.info_hash
""",  # noqa: S608  # our own words
    ),
    CannedQuery(
        "history_of_a_swarm",
        "How did one swarm change?",
        "Each row is a measurement, the newest first. A change within the intervals is no change; a step"
        " where nodes_answered or method changes may be one of the measurement, not of the swarm.",
        f"""
SELECT
    info_hash, taken_at, {_SIZES}, saturated, method,
    nodes_asked, nodes_answered, nodes_with_filters, distinct_peers, run_id, id AS sample_id
FROM swarm_samples WHERE info_hash = coalesce(nullif(lower(:info_hash), ''), {_LARGEST})
ORDER BY taken_at DESC, id DESC
LIMIT {MOST_ROWS}
""",  # noqa: S608  # our own words
    ),
    CannedQuery(
        "replies_of_a_sample",
        "Who said what about a swarm, in one measurement?",
        "One row for each node that was asked, the closest first: by the number of the measurement.",
        """
SELECT
    sample_id, rank, node_id, address, port, values_count, version, rtt_ms, marks
FROM scrape_replies
WHERE sample_id = coalesce(nullif(:sample_id, ''), (SELECT max(sample_id) FROM scrape_replies))
ORDER BY rank
""",
    ),
    CannedQuery(
        "visits_of_a_node",
        "When was one node visited in a run, and what came of it?",
        "By its id, 40 hex digits, which several nodes at several addresses may have. All"
        " visits of the run are looked through; those of all runs, where there are millions, take too long.",
        f"""
SELECT
    id, run_id, node_id, address, port, taken_at, outcome, error_code, rtt_ms, version, contacts,
    is_verification, marks
FROM visits
WHERE {_newest("visits")} AND node_id = lower(:node_id)
ORDER BY id DESC
LIMIT {MOST_ROWS}
""",  # noqa: S608  # our own words
    ),
    CannedQuery(
        "nodes_of_a_client",
        "Which nodes run a client?",
        "By the two characters of its name. Only nodes that ever answered.",
        f"""
SELECT node_id, address, port, family, version, first_seen, last_seen, last_answer
FROM nodes
WHERE client = coalesce(nullif(:client, ''), 'LT') AND last_answer IS NOT NULL
LIMIT {MOST_ROWS}
""",  # noqa: S608  # our own words
    ),
    CannedQuery(
        "info_hashes",
        "How many info-hashes are there?",
        "From samples that nodes show (BEP 51): coverage is a share, chao1 a lower bound, horvitz-thompson"
        " those that lie with the nodes sampled.",
        """
SELECT run_id, started_at, family, zone, method, estimate, low, high
FROM discovery_estimates JOIN runs ON runs.id = run_id
ORDER BY run_id DESC, family, discovery_estimates.id
""",
    ),
    CannedQuery(
        "runs_and_costs",
        "What did each run do, and what did it cost?",
        "Counted when a run ends. Bytes are those of scrapes: a census does not count its own.",
        """
SELECT
    runs.id AS run_id, command, started_at, status,
    round((julianday(finished_at) - julianday(started_at)) * 86400, 1) AS seconds,
    visits, swarm_samples, node_samples, asked, answered, bytes_sent, bytes_received
FROM runs LEFT JOIN run_costs ON run_costs.run_id = runs.id
ORDER BY runs.id DESC
""",
    ),
)

QUERIES: dict[str, CannedQuery] = {query.name: query for query in _QUERIES}
