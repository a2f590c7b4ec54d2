"""Reports on nodes: how many there are, what they run, what they support, how they reply."""

from crawler.db import rollups
from crawler.reports.report import Report, any_run, one_run, whole

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def _name_of(client: str) -> str:
    """Return the column that has the name for the letters in a column."""
    return f"coalesce((SELECT name FROM client_names WHERE letters = {client}), {client}) AS client_name"


network_size = Report(
    name="network-size",
    place=1,
    summary_place=2,
    page="size_of_the_network",
    about="Tell how many nodes the network has: counts of each census and family, and estimates with"
    " intervals.",
    question="How many nodes are there?",
    title="Size of the network",
    text="Nodes that answered are what was counted; `estimate` counts hosts (`unit`), so that a few with many"
    " ports do not make a network large, and adds those that were missed, between `low` and `high` in 95 of"
    " 100 cases; `endpoints` is the same with each port counted. `by_second_walk` is a second count, from"
    " other ways in. `inventing` nodes hand out nodes that do not exist, and `without_inventors` is the"
    " estimate without them. `by_distances` is no second count: it is made of the ids that were counted, and"
    " `uniform_p` tells how often uniform ids would be as far off. Rows without a family count both together."
    " A node behind a NAT may be sighted and never answer; where `endpoints` is far above `estimate`, see"
    " `sybils`.",
    units=dict.fromkeys(
        (
            *("estimate", "low", "high", "endpoints", "by_second_walk", "inventing", "without_inventors"),
            "by_distances",
        ),
        "nodes",
    ),
    sql=f"""
SELECT
    run_counts.run_id AS run, runs.started_at, run_counts.family, sighted, answered_once AS answered,
    answered_twice, distinct_ids, distinct_ips, coalesce(crawl.zone, distances.zone) AS zone,
    crawl.unit, {whole("estimate low high", "crawl.")},
    CAST(round(endpoints.estimate) AS INTEGER) AS endpoints,
    CAST(round(second.estimate) AS INTEGER) AS by_second_walk,
    json_extract(without.details, '$.inventing') AS inventing,
    CAST(round(without.estimate) AS INTEGER) AS without_inventors,
    CAST(round(distances.estimate) AS INTEGER) AS by_distances,
    round(json_extract(distances.details, '$.p_value'), 4) AS uniform_p
FROM run_counts
JOIN runs ON runs.id = run_counts.run_id
LEFT JOIN size_estimates AS crawl ON
    crawl.run_id = runs.id AND crawl.family IS run_counts.family AND crawl.method = 'crawl'
LEFT JOIN size_estimates AS distances ON
    distances.run_id = runs.id AND distances.family IS run_counts.family AND distances.method = 'distances'
LEFT JOIN size_estimates AS second ON
    second.run_id = runs.id AND second.family IS run_counts.family AND second.method = 'second walk'
LEFT JOIN size_estimates AS without ON
    without.run_id = runs.id AND without.family IS run_counts.family AND without.method = 'without inventors'
LEFT JOIN size_estimates AS endpoints ON
    endpoints.run_id = runs.id AND endpoints.family IS run_counts.family AND endpoints.method = 'endpoints'
WHERE {any_run("run_counts.run_id")}
ORDER BY run_counts.run_id DESC, run_counts.family IS NULL, run_counts.family
LIMIT :limit
""",
)

clients = Report(
    name="clients",
    place=2,
    summary_place=3,
    about="Tell which clients the nodes of a census run, by the first two characters of their version.",
    question="What do the nodes run?",
    title="Clients of the nodes that answered",
    text="Clients name themselves, and any node may claim to be any of them; `unknown` sends no readable"
    " version. A run is counted when it ends. One client may run many nodes on one host.",
    run_of="run_clients",
    units={"share": "%", "rtt_mean": "ms"},
    sql=f"""
SELECT
    run_id, client, {_name_of("client")}, sum(nodes) AS nodes,
    round(100.0 * sum(nodes) / sum(sum(nodes)) OVER (), 2) AS share,
    round(sum(nodes * rtt_ms) / sum(nodes) FILTER (WHERE rtt_ms IS NOT NULL), 1) AS rtt_mean
FROM run_clients AS counted WHERE {one_run("run_clients")}
GROUP BY client
ORDER BY sum(counted.nodes) DESC, client
LIMIT :limit
""",
)

beps = Report(
    name="beps",
    place=3,
    page="support_of_beps",
    about="Tell which clients support scrapes (BEP 33), secure ids (BEP 42) and samples (BEP 51).",
    question="Which clients support BEP 33, BEP 42 and BEP 51?",
    title="Support of BEPs by client",
    text="Shares of what nodes show: for BEP 42 of the ids at public addresses in this run, for BEP 33 and"
    " BEP 51 of the replies to scrapes and to requests for samples in all runs. A client that does not answer"
    " when it does not know a method is missing from the latter, so its share is too high.",
    run_of="run_clients",
    units={"bep33": "%", "bep42": "%", "bep51": "%"},
    sql=f"""
WITH support AS (
    SELECT client, bep, sum(capable) AS capable, sum(replies) AS replies
    FROM run_support GROUP BY client, bep
),
census AS (
    SELECT client, sum(nodes) AS nodes, sum(conforming) AS conforming, sum(judged) AS judged
    FROM run_clients WHERE {one_run("run_clients")} GROUP BY client
),
named AS (SELECT client FROM census UNION SELECT client FROM support)
SELECT
    named.client, {_name_of("named.client")}, nodes,
    round(100.0 * scrapes.capable / scrapes.replies, 1) AS bep33, scrapes.replies AS bep33_replies,
    round(100.0 * conforming / nullif(judged, 0), 1) AS bep42, judged AS bep42_judged,
    round(100.0 * samples.capable / samples.replies, 1) AS bep51, samples.replies AS bep51_replies
FROM named
LEFT JOIN census ON census.client = named.client
LEFT JOIN support AS scrapes ON scrapes.client = named.client AND scrapes.bep = 33
LEFT JOIN support AS samples ON samples.client = named.client AND samples.bep = 51
ORDER BY nodes DESC, scrapes.replies DESC, named.client
LIMIT :limit
""",
)


def _quantile(share: float) -> str:
    """Return the column of a quantile: replies are taken to be spread evenly within a step."""
    # Only one step has the reply at this place among all of a client.
    return f"""
    round(max(from_ms + (below_ms - from_ms) * ({share} * total - (upto - answers)) / answers)
        FILTER (WHERE upto - answers < {share} * total AND {share} * total <= upto), 1)
        AS {_quantile_name(share)}"""


def _quantile_name(share: float) -> str:
    return f"p{round(100 * share):02d}"


round_trips = Report(
    name="round-trips",
    place=4,
    about="Tell how long answers take: quantiles of round-trip times by client.",
    question="How long do answers take?",
    title="Round-trip times by client",
    text="Times of answers that came in time: a slower node is a timeout and not in here, so the upper"
    " quantiles are too low. They are read from steps of 10 % or less. Our own line is in each of them.",
    run_of="run_round_trips",
    under_way=rollups.round_trips_sql(newest=True),
    units={_quantile_name(share): "ms" for share in QUANTILES},
    sql=f"""
WITH steps AS (
    SELECT run_id, client, from_ms, below_ms, sum(answers) AS answers
    FROM run_round_trips WHERE {one_run("run_round_trips")}
    GROUP BY client, from_ms, below_ms
),
ranked AS (
    SELECT
        *, sum(answers) OVER (PARTITION BY is_all, client ORDER BY from_ms) AS upto,
        sum(answers) OVER (PARTITION BY is_all, client) AS total
    FROM (
        SELECT *, 0 AS is_all FROM steps
        UNION ALL
        SELECT run_id, 'all', from_ms, below_ms, sum(answers), 1 FROM steps GROUP BY from_ms, below_ms
    )
)
SELECT run_id, client, {_name_of("client")}, total AS answers, {", ".join(map(_quantile, QUANTILES))}
FROM ranked
GROUP BY is_all, client
ORDER BY is_all DESC, total DESC, client
LIMIT :limit
""",
)

outcomes = Report(
    name="outcomes",
    place=5,
    summary_place=4,
    about="Tell how the queries of a census or a sampling ended: answers, timeouts, errors, lies.",
    question="How did the queries of a run end?",
    title="Outcomes of queries",
    text="A timeout is a node that is gone, behind a NAT, too slow, or not willing: which of them cannot be"
    " told. `marked` answers are suspect for what they hold.",
    run_of="run_outcomes",
    under_way=rollups.outcomes_sql(newest=True),
    units={"share": "%"},
    sql=f"""
SELECT
    run_id, kind, family, outcome, error_code, queries,
    round(100.0 * queries / sum(queries) OVER (PARTITION BY kind, family), 2) AS share,
    CAST(marked AS INTEGER) AS marked
FROM run_outcomes WHERE {one_run("run_outcomes")}
ORDER BY kind DESC, family, queries DESC
LIMIT :limit
""",
)

sybils = Report(
    name="sybils",
    place=6,
    summary_place=5,
    page="suspects",
    about="Tell which hosts, parts of the id space and ids have more nodes than chance would give them.",
    question="Where are more ids than chance would give?",
    title="Suspected Sybils",
    text="`observed` and `expected` are in the unit of the test, `explanation` is what they say."
    " An alarm is a reason to look, no proof: many nodes behind one NAT raise one too. An empty table says"
    " that none of these tests found any.",
    run_of="run_counts",
    sql=f"""
SELECT
    run_id, family, test, subject, round(observed, 3) AS observed, round(expected, 3) AS expected, p_value,
    explanation
FROM alarms WHERE {one_run("run_counts")} AND verdict = 'suspect'
ORDER BY p_value, alarms.observed DESC
LIMIT :limit
""",
)
