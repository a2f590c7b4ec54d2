"""The views that answer the questions about a census, as SQL; `schema` makes them.

They use nothing but SQLite, so that other programs can read them.
"""

# Three counts, uncorrected for nodes that the crawl missed, and beside them the estimates: `estimate`
# from the crawl with its 95 % interval, and the one from distances between ids.  IPv4 and IPv6 are two
# networks (BEP 32) and get a row each; a run that met both has at its end a third one, with a family of
# NULL, for both together.  Ids, endpoints and IPs are those of nodes that answered; in an anonymized
# database an IP is a prefix.  Answers 5 minutes apart tell an open node from one that a NAT lets
# through for a moment.  A run that has ended was counted then; one under way is counted now, which
# takes a while.
NETWORK_SIZE = """
WITH seen AS (
    SELECT
        runs.id AS run_id, node_id, address, port,
        CASE WHEN instr(address, ':') THEN 6 ELSE 4 END AS family,
        max(outcome = 'answered') AS answered,
        min(taken_at) FILTER (WHERE outcome = 'answered') AS first_answer,
        max(taken_at) FILTER (WHERE outcome = 'answered') AS last_answer
    FROM runs CROSS JOIN visits ON visits.run_id = runs.id
    WHERE runs.id NOT IN (SELECT run_id FROM run_counts)
    GROUP BY runs.id, node_id, address, port
),
counted AS (
    SELECT * FROM run_counts
    UNION ALL
    SELECT
        run_id,
        family,
        count(*),
        sum(answered),
        coalesce(sum(strftime('%s', last_answer) - strftime('%s', first_answer) >= 300), 0),
        count(DISTINCT node_id) FILTER (WHERE answered),
        count(DISTINCT address || ' ' || port) FILTER (WHERE answered),
        count(DISTINCT address) FILTER (WHERE answered)
    FROM seen
    GROUP BY run_id, family
)
SELECT
    counted.run_id,
    runs.started_at,
    counted.family,
    sighted,
    answered_once,
    answered_twice,
    distinct_ids,
    distinct_endpoints,
    distinct_ips,
    coalesce(crawl.zone, distances.zone) AS zone,
    CAST(round(crawl.estimate) AS INTEGER) AS estimate,
    CAST(round(crawl.low) AS INTEGER) AS low,
    CAST(round(crawl.high) AS INTEGER) AS high,
    CAST(round(distances.estimate) AS INTEGER) AS by_distances,
    CAST(round(distances.low) AS INTEGER) AS by_distances_low,
    CAST(round(distances.high) AS INTEGER) AS by_distances_high
FROM counted
JOIN runs ON runs.id = counted.run_id
LEFT JOIN size_estimates AS crawl ON
    crawl.run_id = counted.run_id AND crawl.family IS counted.family AND crawl.method = 'crawl'
LEFT JOIN size_estimates AS distances ON
    distances.run_id = counted.run_id AND distances.family IS counted.family
    AND distances.method = 'distances'
ORDER BY counted.run_id, counted.family IS NULL, counted.family
"""

# One row for each alarm, the least likely first.  The test says what a subject is: a host, the first
# bits of ids, or an id; docs/explanation/network_size.md says what is observed.  An alarm is a mark:
# nothing is deleted, and no count is changed by it.
SYBIL_SUSPECTS = """
SELECT alarms.run_id, runs.started_at, family, test, subject, observed, expected, p_value
FROM alarms JOIN runs ON runs.id = alarms.run_id
WHERE verdict = 'suspect'
ORDER BY alarms.run_id, p_value, observed DESC
"""

IS_SUSPECT_VISIT = "marks <> '' OR outcome IN ('wrong-id', 'foreign-source', 'malformed')"

# One row for each node of a run and thing that makes it suspect, with the number of visits that show
# it.  `mark` is a mark of the visit, or its outcome where that is a lie by itself.
SUSPECT_NODES = f"""
SELECT
    run_id, node_id, address, port,
    CASE WHEN instr(address, ':') THEN 6 ELSE 4 END AS family,
    mark, count(*) AS visits, max(taken_at) AS last_seen
FROM visits JOIN (
    SELECT 'flood' AS mark UNION ALL SELECT 'oversized' UNION ALL SELECT 'unusable-contacts'
    UNION ALL SELECT 'impossibly-close'
    UNION ALL SELECT 'wrong-id' UNION ALL SELECT 'foreign-source' UNION ALL SELECT 'malformed'
) ON outcome = mark OR instr(' ' || marks || ' ', ' ' || mark || ' ')
WHERE {IS_SUSPECT_VISIT}
GROUP BY run_id, node_id, address, port, mark
"""  # noqa: S608  # our own words

NO_SAMPLES = "CAST(NULL AS REAL)"


def client_census(bep51: str = NO_SAMPLES, of_replies: str = "") -> str:
    """Return the view of clients: one row for each run that has ended, and client in it.

    `nodes` answered, `share` is that of all of the run, `rtt_ms` the mean round-trip time.  `bep42` is
    the share of conforming ids among those that could be judged; `bep33` the share of nodes of this
    client that sent filters, among those that answered a scrape in any run; `bep51` is an expression
    for a row with a `client`, `of_replies` a condition that says which rows of a scrape count.  All three
    are NULL where nothing is known.  BEP 43 is not here: a
    node that keeps to it when it asks cannot be told from one that does not by its answers.
    """
    return f"""
WITH scraped AS (
    SELECT nodes.client, max(coalesce(seeds_filter, peers_filter) IS NOT NULL) AS has_filters
    FROM scrape_replies CROSS JOIN nodes USING (node_id, address, port)
    {of_replies}
    GROUP BY node_id, address, port
),
filters AS (
    SELECT coalesce(client, 'unknown') AS client, round(avg(has_filters), 4) AS share
    FROM scraped GROUP BY 1
),
clients AS (
    SELECT
        run_id, client, sum(nodes) AS nodes, sum(nodes * rtt_ms) / sum(nodes) AS rtt_ms,
        sum(conforming) AS conforming, sum(judged) AS judged
    FROM run_clients GROUP BY run_id, client
)
SELECT
    clients.run_id,
    clients.client,
    nodes,
    round(1.0 * nodes / sum(nodes) OVER (PARTITION BY clients.run_id), 4) AS share,
    round(rtt_ms, 1) AS rtt_ms,
    filters.share AS bep33,
    round(1.0 * conforming / nullif(judged, 0), 4) AS bep42,
    {bep51} AS bep51
FROM clients LEFT JOIN filters ON filters.client = clients.client
ORDER BY clients.run_id, nodes DESC, clients.client
"""  # noqa: S608  # our own words


# For the migration that makes `node_samples`: the share of nodes that answered with samples.
BEP51_BY_SAMPLES = """(
    SELECT round(avg(answered), 4) FROM (
        SELECT max(outcome = 'answered') AS answered
        FROM node_samples CROSS JOIN nodes USING (node_id, address, port)
        WHERE outcome IN ('answered', 'unsupported') AND coalesce(nodes.client, 'unknown') = clients.client
        GROUP BY node_id, address, port
    )
)"""
