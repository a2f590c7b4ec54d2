"""The views of swarms over time, as SQL; `schema` makes them, docs/reference/watch.md explains them.

They use nothing but SQLite, and no mathematical functions, which not every build of it has.  Asked
for one `info_hash`, each reads the samples of that swarm only.
"""

# One row for each sample, beside the one before it.  A change is clear when the two intervals do not
# meet: most others are noise.
SWARM_HISTORY = """
WITH series AS (
    SELECT
        id, info_hash, taken_at, peers, peers_low, peers_high, seeds, leechers, method, saturated,
        lag(taken_at) OVER earlier AS taken_before,
        lag(peers) OVER earlier AS peers_before,
        lag(peers_low) OVER earlier AS low_before,
        lag(peers_high) OVER earlier AS high_before
    FROM swarm_samples
    WHERE peers IS NOT NULL
    WINDOW earlier AS (PARTITION BY info_hash ORDER BY taken_at, id)
)
SELECT
    info_hash,
    taken_at,
    round(peers, 1) AS peers,
    peers_low,
    peers_high,
    round(seeds, 1) AS seeds,
    round(leechers, 1) AS leechers,
    method,
    saturated,
    round(24 * (julianday(taken_at) - julianday(taken_before)), 3) AS hours,
    round(peers - peers_before, 1) AS change,
    round((peers - peers_before) / nullif(peers_before, 0), 4) AS relative_change,
    round((peers - peers_before) / nullif(24 * (julianday(taken_at) - julianday(taken_before)), 0), 3)
        AS change_per_hour,
    peers_low > high_before OR peers_high < low_before AS is_clear,
    id AS sample_id
FROM series
"""

# One row for each swarm and UTC day with samples.  The change is that since the last sample before the
# day, or within the day when there is none.  Its interval reaches from the lowest last to the highest
# first size and the other way round: wider than 95 %.
SWARM_GROWTH = """
WITH series AS (
    SELECT
        id, info_hash, peers, peers_low, peers_high,
        substr(taken_at, 1, 10) AS day,
        julianday(taken_at) AS at,
        lag(peers) OVER earlier AS peers_before,
        lag(peers_low) OVER earlier AS low_before,
        lag(peers_high) OVER earlier AS high_before,
        lag(julianday(taken_at)) OVER earlier AS before
    FROM swarm_samples
    WHERE peers IS NOT NULL
    WINDOW earlier AS (PARTITION BY info_hash ORDER BY taken_at, id)
),
days AS (
    SELECT
        info_hash, day,
        row_number() OVER of_day AS number,
        count(*) OVER of_day AS samples,
        first_value(peers) OVER of_day AS first,
        last_value(peers) OVER of_day AS last,
        avg(peers) OVER of_day AS mean,
        last_value(peers_low) OVER of_day AS low,
        last_value(peers_high) OVER of_day AS high,
        last_value(at) OVER of_day AS ended,
        first_value(coalesce(peers_before, peers)) OVER of_day AS reference,
        first_value(coalesce(low_before, peers_low)) OVER of_day AS reference_low,
        first_value(coalesce(high_before, peers_high)) OVER of_day AS reference_high,
        first_value(coalesce(before, at)) OVER of_day AS began
    FROM series
    WINDOW of_day AS (
        PARTITION BY info_hash, day ORDER BY at, id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
    )
)
SELECT
    info_hash,
    day,
    samples,
    round(first, 1) AS first,
    round(last, 1) AS last,
    round(mean, 1) AS mean,
    round((last - reference) / nullif(ended - began, 0), 2) AS change_per_day,
    round((low - reference_high) / nullif(ended - began, 0), 2) AS change_per_day_low,
    round((high - reference_low) / nullif(ended - began, 0), 2) AS change_per_day_high
FROM days
WHERE number = 1
"""

# One row for each swarm that is clearly smaller now than at its peak.  The half-life is the time from
# the peak to the first sample at or below half of it, on the line between that sample and the one
# before.  It lies between the last sample before the first that may be below, by the ends of both
# intervals, and the first that must be.
SWARM_HALF_LIFE = """
WITH peaks AS (
    SELECT info_hash, taken_at AS peak_at, max(peers) AS peak, peers_low AS peak_low, peers_high AS peak_high
    FROM swarm_samples
    WHERE peers >= 0.5
    GROUP BY info_hash
),
crossings AS (
    SELECT
        peaks.*,
        (SELECT id FROM swarm_samples AS sample
         WHERE sample.info_hash = peaks.info_hash AND peers IS NOT NULL
         ORDER BY taken_at DESC, id DESC LIMIT 1) AS latest_id,
        (SELECT min(taken_at) FROM swarm_samples AS sample
         WHERE sample.info_hash = peaks.info_hash AND taken_at > peak_at AND peers <= peak / 2) AS half_at,
        (SELECT min(taken_at) FROM swarm_samples AS sample
         WHERE sample.info_hash = peaks.info_hash AND taken_at > peak_at AND peers_low <= peak_high / 2)
            AS earliest_at,
        (SELECT min(taken_at) FROM swarm_samples AS sample
         WHERE sample.info_hash = peaks.info_hash AND taken_at > peak_at AND peers_high <= peak_low / 2)
            AS latest_at
    FROM peaks
),
bracketed AS (
    SELECT
        crossings.*,
        (SELECT max(taken_at) FROM swarm_samples AS sample
         WHERE sample.info_hash = crossings.info_hash AND peers IS NOT NULL
            AND taken_at >= peak_at AND taken_at < earliest_at) AS low_at,
        (SELECT id FROM swarm_samples AS sample
         WHERE sample.info_hash = crossings.info_hash AND peers IS NOT NULL
            AND taken_at >= peak_at AND taken_at < half_at
         ORDER BY taken_at DESC, id DESC LIMIT 1) AS above_id,
        (SELECT id FROM swarm_samples AS sample
         WHERE sample.info_hash = crossings.info_hash AND taken_at = half_at AND peers <= peak / 2
         ORDER BY id LIMIT 1) AS below_id
    FROM crossings
)
SELECT
    bracketed.info_hash,
    round(peak, 1) AS peak,
    peak_at,
    round(latest.peers, 1) AS peers,
    latest.taken_at AS measured_at,
    round(24 * (
        julianday(above.taken_at) - julianday(peak_at)
        + (julianday(below.taken_at) - julianday(above.taken_at))
        * (above.peers - peak / 2) / (above.peers - below.peers)
    ), 2) AS half_life_hours,
    round(24 * (julianday(low_at) - julianday(peak_at)), 2) AS half_life_hours_low,
    round(24 * (julianday(latest_at) - julianday(peak_at)), 2) AS half_life_hours_high
FROM bracketed
JOIN swarm_samples AS latest ON latest.id = latest_id
LEFT JOIN swarm_samples AS above ON above.id = above_id
LEFT JOIN swarm_samples AS below ON below.id = below_id
WHERE latest.taken_at > peak_at AND latest.peers_high < peak_low
"""

# One row for each swarm whose last three measurements, or more, found nobody.  A measurement to which
# no node answered is none.
DEAD_SWARMS = """
WITH series AS (
    SELECT
        info_hash, taken_at, peers,
        max(taken_at) FILTER (WHERE peers >= 0.5) OVER (PARTITION BY info_hash) AS last_alive
    FROM swarm_samples
    WHERE peers IS NOT NULL
),
trailing AS (
    SELECT
        info_hash,
        last_alive,
        row_number() OVER of_swarm AS number,
        min(taken_at) OVER of_swarm AS empty_since,
        max(taken_at) OVER of_swarm AS measured_at,
        count(*) OVER of_swarm AS empty_samples
    FROM series
    WHERE last_alive IS NULL OR taken_at > last_alive
    WINDOW of_swarm AS (PARTITION BY info_hash)
)
SELECT
    trailing.info_hash,
    swarms.name,
    last_alive,
    empty_since,
    measured_at,
    empty_samples,
    round(julianday(measured_at) - julianday(empty_since), 2) AS empty_days
FROM trailing JOIN swarms ON swarms.info_hash = trailing.info_hash
WHERE number = 1 AND empty_samples >= 3
"""
