"""The views that answer questions about swarms, as SQL; `schema` makes them.

They use nothing but SQLite, so that other programs can read them.
"""

# Counts are rounded: the digits behind the point of an estimate mislead.  The table keeps them.
# All intervals are of 95 %.
LATEST_SWARMS = """
SELECT
    swarms.info_hash,
    swarms.name,
    sample.taken_at,
    CAST(round(sample.seeds) AS INTEGER) AS seeds,
    CAST(round(sample.seeds_low) AS INTEGER) AS seeds_low,
    CAST(round(sample.seeds_high) AS INTEGER) AS seeds_high,
    CAST(round(sample.leechers) AS INTEGER) AS leechers,
    CAST(round(sample.leechers_low) AS INTEGER) AS leechers_low,
    CAST(round(sample.leechers_high) AS INTEGER) AS leechers_high,
    CAST(round(sample.peers) AS INTEGER) AS peers,
    CAST(round(sample.peers_low) AS INTEGER) AS peers_low,
    CAST(round(sample.peers_high) AS INTEGER) AS peers_high,
    sample.saturated,
    sample.method,
    sample.nodes_asked,
    sample.nodes_answered,
    sample.nodes_with_filters,
    sample.distinct_peers,
    round(sample.coverage, 4) AS coverage,
    sample.id AS sample_id
FROM swarms
JOIN swarm_samples AS sample ON sample.id = (
    SELECT id FROM swarm_samples
    WHERE info_hash = swarms.info_hash
    ORDER BY taken_at DESC, peers DESC, id DESC
    LIMIT 1
)
"""
