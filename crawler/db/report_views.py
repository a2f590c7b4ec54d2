"""Views made anew over rollups and indexes, so that the first rows come at once; `schema` makes them.

They have the columns and the meaning of those in `views` and `schema` that they take the place of.
"""

from crawler.db.views import IS_SUSPECT_VISIT

# One row for each run that has ended, and client in it.  `nodes` answered, `share` is that of all of the
# run, `rtt_ms` the mean round-trip time.  `bep42` is the share of conforming ids among those that could
# be judged; `bep33` that of replies with filters among the replies to scrapes in all runs; `bep51` that of
# samples among the answers to requests for them in all runs.  NULL where nothing is known.
CLIENT_CENSUS = """
WITH support AS (
    SELECT
        client,
        round(avg(1.0 * capable / replies) FILTER (WHERE bep = 33), 4) AS bep33,
        round(avg(1.0 * capable / replies) FILTER (WHERE bep = 51), 4) AS bep51
    FROM (
        SELECT client, bep, sum(capable) AS capable, sum(replies) AS replies
        FROM run_support GROUP BY client, bep
    )
    GROUP BY client
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
    support.bep33,
    round(1.0 * conforming / nullif(judged, 0), 4) AS bep42,
    support.bep51
FROM clients LEFT JOIN support ON support.client = clients.client
ORDER BY clients.run_id, nodes DESC, clients.client
"""

# As before, from an index alone.
CLIENT_VERSIONS = """
SELECT
    coalesce(client, 'unknown') AS client,
    sum(nodes) AS nodes,
    round(1.0 * sum(nodes) / sum(sum(nodes)) OVER (), 4) AS share,
    count(DISTINCT version) AS versions
FROM (
    SELECT client, version, count(*) AS nodes
    FROM nodes WHERE last_answer IS NOT NULL
    GROUP BY client, version
)
GROUP BY coalesce(client, 'unknown')
ORDER BY nodes DESC, client
"""

MARKS = (
    *("flood", "oversized", "unusable-contacts", "impossibly-close"),
    *("wrong-id", "foreign-source", "malformed"),
)


def suspect_nodes() -> str:
    """Return the view: as before, but read in the order of an index, so that it can stop early."""
    shown = [f"outcome = '{mark}' OR instr(' ' || marks || ' ', ' {mark} ')" for mark in MARKS]
    counted = ", ".join(
        f"count(*) FILTER (WHERE {shows}) AS visits_{n}, max(taken_at) FILTER (WHERE {shows}) AS last_{n}"
        for n, shows in enumerate(shown)
    )
    visits = " ".join(f"WHEN {n} THEN visits_{n}" for n in range(len(MARKS)))
    last = " ".join(f"WHEN {n} THEN last_{n}" for n in range(len(MARKS)))
    numbered = " UNION ALL ".join(f"SELECT {n} AS n, '{mark}' AS mark" for n, mark in enumerate(MARKS))
    return f"""
SELECT
    run_id, node_id, address, port, iif(instr(address, ':'), 6, 4) AS family, mark,
    CASE n {visits} END AS visits, CASE n {last} END AS last_seen
FROM (
    SELECT run_id, node_id, address, port, {counted}
    FROM visits WHERE {IS_SUSPECT_VISIT} GROUP BY run_id, node_id, address, port
)
CROSS JOIN ({numbered})
WHERE CASE n {visits} END > 0
"""  # noqa: S608  # our own words
