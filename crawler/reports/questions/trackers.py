"""Reports on trackers: what each knows and how it answers, and how they compare with the DHT."""

from crawler.reports.report import Report, any_run

APART = 600  # seconds between two samples that are compared, at most
MOST_PAIRS = 20_000  # of the newest tracker samples
MOST_SWEEPS = 200  # the newest: a few million rows, some seconds

_CLASSES = """CASE
    WHEN dht.peers < 10 THEN '1-9' WHEN dht.peers < 100 THEN '10-99' WHEN dht.peers < 1000 THEN '100-999'
    ELSE '1000 and more' END"""

_OF_TRACKERS = f"""
    SELECT * FROM swarm_samples WHERE source = 'tracker' AND {any_run()} ORDER BY id DESC LIMIT {MOST_PAIRS}
"""

trackers = Report(
    name="trackers",
    place=14,
    page="quality_of_trackers",
    about="Tell what each tracker knows, how fast it answers, and whether it invents.",
    question="What do the trackers know, and which of them lie?",
    title="Trackers",
    text="`listed` and `nonzero` are shares of the swarms that a tracker was asked for: over UDP what it does"
    " not know is listed as empty. `overlap` is the share of its peers that the DHT has, mean over swarms,"
    " where a peer here was announced to it (`--announce`). A tracker with marks is left out of all that"
    " trackers say together, but for `utf8-keys`, and of those that mirror each other one counts.",
    units={"answered": "%", "listed": "%", "nonzero": "%", "overlap": "%", "rtt": "ms"},
    sql=f"""
SELECT
    url, count(*) AS sweeps,
    round(100.0 * sum(outcome IN ('answered', 'partial')) / count(*), 1) AS answered,
    sum(asked) AS asked,
    round(100.0 * sum(listed) / nullif(sum(asked) FILTER (WHERE answers > 0), 0), 1) AS listed,
    round(100.0 * sum(nonzero) / nullif(sum(asked) FILTER (WHERE answers > 0), 0), 1) AS nonzero,
    (SELECT round(100 * avg(overlap), 1) FROM source_overlaps
     WHERE source_overlaps.url = sweeps.url AND {any_run("source_overlaps.run_id")}) AS overlap,
    round(sum(rtt_ms * answers) / nullif(sum(answers) FILTER (WHERE rtt_ms IS NOT NULL), 0), 1) AS rtt,
    sum(canary_hits) AS canary_hits,
    coalesce((
        SELECT group_concat(word, ' ') FROM (
            SELECT DISTINCT words.value AS word
            FROM tracker_sweeps AS marked
            JOIN json_each('["' || replace(marked.marks, ' ', '","') || '"]') AS words
            WHERE marked.url = sweeps.url AND {any_run("marked.run_id")}
            ORDER BY word
        )
    ), '') AS marks,
    (SELECT coalesce(reason, outcome) FROM tracker_sweeps AS failed
     WHERE failed.url = sweeps.url AND outcome NOT IN ('answered', 'partial') AND {any_run("failed.run_id")}
     ORDER BY id DESC LIMIT 1) AS last_trouble
FROM tracker_sweeps AS sweeps
WHERE {any_run()}
GROUP BY url
ORDER BY sum(nonzero) DESC, url
LIMIT :limit
""",
)

swarm_sources = Report(
    name="swarm-sources",
    place=15,
    page="sources_of_swarms",
    about="Tell what the DHT and trackers say of the same swarms, side by side.",
    question="What do the DHT and trackers say of the same swarms?",
    title="Swarms by both sources",
    text="The newest measurement of each source. Each has a part of the peers: where both were asked within"
    " 10 minutes there are between `at_least` and `at_most`. Where trackers named addresses (`--announce`),"
    " they were held against the filters of the DHT: `overlap` is the share of them that the DHT has, and `n`"
    " how many peers there are, each once, between `n_low` and `n_high` in 95 of 100 cases. A filter holds"
    " addresses without ports: peers behind one address are one, while a tracker counts them all.",
    units={"overlap": "%"},
    sql=f"""
WITH shown AS (
    SELECT info_hash, max(peers) AS most FROM ({_OF_TRACKERS})
    GROUP BY info_hash ORDER BY most DESC, info_hash LIMIT :limit
)
SELECT
    info_hash, dht_at, dht_peers, dht_low, dht_high, trackers_at, trackers, trackers_low, trackers_high,
    ratio, larger, at_least, at_most, round(100 * overlap, 1) AS overlap, n, n_low, n_high, name
FROM shown JOIN swarm_sources USING (info_hash)
ORDER BY most DESC, info_hash
""",
)

sources = Report(
    name="sources",
    place=16,
    page="sources_by_day",
    about="Tell how trackers compare with the DHT: by day, tracker and size of the swarms.",
    question="Do trackers know more peers than the DHT?",
    title="The DHT and trackers by day",
    text="Each swarm counts once a day, where both were asked within 10 minutes; `swarms` were compared, by"
    " their size in the DHT. `ratio` is the median of what a tracker lists, by the peers in the DHT: of all"
    " that are believed together (`all`), the longest list. `apart` are the swarms whose two intervals do not"
    " meet. A tracker lists peers for 30 to 60 minutes after their last announce, a node for 30 to 45.",
    units={"apart": "%"},
    sql=f"""
WITH found AS (
    SELECT
        info_hash, taken_at, run_id, id, peers, peers_low, peers_high,
        (SELECT id FROM (
            SELECT dht.id AS id, min(abs(julianday(dht.taken_at) - julianday(said.taken_at)))
            FROM dht_samples AS dht
            WHERE dht.info_hash = said.info_hash
                AND dht.taken_at >= strftime('%Y-%m-%dT%H:%M:%fZ', said.taken_at, '-{APART} seconds')
                AND dht.taken_at <= strftime('%Y-%m-%dT%H:%M:%fZ', said.taken_at, '+{APART} seconds')
                AND dht.peers >= 0.5
        )) AS dht_id
    FROM ({_OF_TRACKERS}) AS said
),
pairs AS (
    SELECT
        found.*, substr(found.taken_at, 1, 10) AS day, {_CLASSES} AS size, dht.peers AS dht_peers,
        dht.peers_low AS dht_low, dht.peers_high AS dht_high,
        row_number() OVER (PARTITION BY found.info_hash, substr(found.taken_at, 1, 10) ORDER BY found.id DESC)
            AS place
    FROM found JOIN swarm_samples AS dht ON dht.id = dht_id
),
once AS MATERIALIZED (SELECT * FROM pairs WHERE place = 1),
each AS (
    SELECT day, 'all' AS tracker, size, peers / dht_peers AS ratio,
        peers_low > dht_high OR peers_high < dht_low AS is_apart
    FROM once
    UNION ALL
    SELECT day, sweep.url, size, (said.seeds + said.leechers) / dht_peers,
        said.seeds + said.leechers > dht_high OR said.seeds + said.leechers < dht_low
    FROM (SELECT * FROM tracker_sweeps WHERE {any_run()} ORDER BY id DESC LIMIT {MOST_SWEEPS}) AS sweep
    CROSS JOIN tracker_sample_rows AS said ON said.sweep_id = sweep.id
    JOIN once ON once.info_hash = lower(hex(said.info_hash)) AND once.run_id = sweep.run_id
        AND abs(said.taken_at / 86400000.0 + 2440587.5 - julianday(once.taken_at)) <= {APART} / 86400.0
),
ranked AS (
    SELECT
        *, row_number() OVER (PARTITION BY day, tracker, size ORDER BY ratio) AS place,
        count(*) OVER (PARTITION BY day, tracker, size) AS swarms
    FROM each
)
SELECT
    day, tracker, size, swarms,
    round(avg(ratio) FILTER (WHERE place IN ((swarms + 1) / 2, (swarms + 2) / 2)), 3) AS ratio,
    round(100.0 * sum(coalesce(is_apart, 0)) / swarms, 1) AS apart
FROM ranked
GROUP BY day, tracker, size
ORDER BY day DESC, tracker <> 'all', tracker, size
LIMIT :limit
""",
)
