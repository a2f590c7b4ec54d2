"""Views of swarms over time made anew, so that the first rows come at once; `schema` makes them.

They have the columns and the meaning of those in `swarm_views` that they take the place of, and read what
they need of each swarm by an index, where windows over all samples would be sorted first.
"""

from crawler.db import swarm_views

_SAME_DAY = """
    day.info_hash = first.info_hash AND day.peers IS NOT NULL
    AND day.taken_at >= substr(first.taken_at, 1, 10) AND day.taken_at < substr(first.taken_at, 1, 10) || 'U'
"""  # a time is a day, a T, and the time of day

# One row for each swarm and UTC day with samples, read from the first sample of the day.
SWARM_GROWTH = f"""
SELECT
    first.info_hash,
    substr(first.taken_at, 1, 10) AS day,
    (SELECT count(*) FROM swarm_samples AS day WHERE {_SAME_DAY}) AS samples,
    round(first.peers, 1) AS first,
    round(last.peers, 1) AS last,
    round((SELECT avg(day.peers) FROM swarm_samples AS day WHERE {_SAME_DAY}), 1) AS mean,
    round((last.peers - coalesce(before.peers, first.peers))
        / nullif(julianday(last.taken_at) - julianday(coalesce(before.taken_at, first.taken_at)), 0), 2)
        AS change_per_day,
    round((last.peers_low - coalesce(before.peers_high, first.peers_high))
        / nullif(julianday(last.taken_at) - julianday(coalesce(before.taken_at, first.taken_at)), 0), 2)
        AS change_per_day_low,
    round((last.peers_high - coalesce(before.peers_low, first.peers_low))
        / nullif(julianday(last.taken_at) - julianday(coalesce(before.taken_at, first.taken_at)), 0), 2)
        AS change_per_day_high
FROM swarm_samples AS first
JOIN swarm_samples AS last ON last.id = (
    SELECT day.id FROM swarm_samples AS day WHERE {_SAME_DAY} ORDER BY day.taken_at DESC, day.id DESC LIMIT 1
)
LEFT JOIN swarm_samples AS before ON before.id = (
    SELECT earlier.id FROM swarm_samples AS earlier
    WHERE earlier.info_hash = first.info_hash AND earlier.peers IS NOT NULL
        AND earlier.taken_at < substr(first.taken_at, 1, 10)
    ORDER BY earlier.taken_at DESC, earlier.id DESC LIMIT 1
)
WHERE first.peers IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM swarm_samples AS day
    WHERE {_SAME_DAY} AND (day.taken_at, day.id) < (first.taken_at, first.id)
)
ORDER BY first.info_hash, first.taken_at
"""  # noqa: S608  # our own words

# One row for each swarm whose last three measurements, or more, found nobody.
DEAD_SWARMS = """
WITH latest AS (
    SELECT
        info_hash, name,
        (SELECT max(taken_at) FROM swarm_samples AS sample
         WHERE sample.info_hash = swarms.info_hash AND peers >= 0.5) AS last_alive
    FROM swarms
    WHERE (
        SELECT peers FROM swarm_samples AS sample
        WHERE sample.info_hash = swarms.info_hash AND peers IS NOT NULL
        ORDER BY taken_at DESC, id DESC LIMIT 1
    ) < 0.5
),
trailing AS (
    SELECT
        latest.info_hash, name, last_alive,
        min(taken_at) AS empty_since, max(taken_at) AS measured_at, count(*) AS empty_samples
    FROM latest CROSS JOIN swarm_samples AS sample ON sample.info_hash = latest.info_hash
    WHERE peers IS NOT NULL AND taken_at > coalesce(last_alive, '')
    GROUP BY latest.info_hash
)
SELECT
    *, round(julianday(measured_at) - julianday(empty_since), 2) AS empty_days
FROM trailing
WHERE empty_samples >= 3
"""

# As before, but the peak of each swarm is looked up in turn; of two that are the same, the first counts.
_PEAKS_OF_ALL = """
    SELECT info_hash, taken_at AS peak_at, max(peers) AS peak, peers_low AS peak_low, peers_high AS peak_high
    FROM swarm_samples
    WHERE peers >= 0.5
    GROUP BY info_hash
"""
_PEAKS_IN_TURN = """
    SELECT
        swarms.info_hash, sample.taken_at AS peak_at, sample.peers AS peak,
        sample.peers_low AS peak_low, sample.peers_high AS peak_high
    FROM swarms CROSS JOIN swarm_samples AS sample ON sample.id = (
        SELECT id FROM swarm_samples
        WHERE info_hash = swarms.info_hash AND peers >= 0.5
        ORDER BY peers DESC, taken_at, id LIMIT 1
    )
"""
SWARM_HALF_LIFE = swarm_views.SWARM_HALF_LIFE.replace(_PEAKS_OF_ALL, _PEAKS_IN_TURN)
