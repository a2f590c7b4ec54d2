"""Reports on the swarms on a watch: how they grow, and which have died."""

from crawler.reports.report import Report, whole

_OF_RUN = """
removed_at IS NULL AND (nullif(:run, '') IS NULL OR EXISTS (
    SELECT 1 FROM dht_samples AS sample
    WHERE sample.info_hash = watched.info_hash AND run_id = CAST(:run AS INTEGER)
))
"""

# The views are read for the swarms that are shown only: asked for one swarm they read no other.
_CHANGES = ", ".join(
    f"""(
    SELECT change_per_day{end} FROM swarm_growth AS growth
    WHERE growth.info_hash = shown.info_hash AND day = shown.day
    ) AS change{end}"""
    for end in ("", "_low", "_high")
)

_OF_DEAD = ", ".join(
    f"""coalesce((
    SELECT {column} FROM dead_swarms AS dead WHERE dead.info_hash = shown.info_hash
    ), {otherwise}) AS {name}"""
    for column, name, otherwise in (
        ("last_alive", "last_alive", "NULL"),
        ("empty_since", "empty_since", "NULL"),
        ("measured_at", "measured_at", "shown.measured_at"),
        ("empty_samples", "empty_samples", "NULL"),
        ("empty_days", "empty", "NULL"),
    )
)

watched = Report(
    name="watched",
    place=9,
    summary_place=7,
    about="Tell how the watched swarms grow and shrink, the largest first.",
    question="How do the watched swarms grow?",
    title="Watched swarms",
    text="`change` is that of the last day with a measurement, by the day; its interval is wider than 95 %,"
    " and where it holds 0 the swarm may not have changed. `half_life` is the time from the peak to half"
    " of it, and empty while a swarm has more. `interval` is how long a swarm waits for its next turn,"
    " before jitter and the budget. Dead swarms are in `dead`.",
    units=dict.fromkeys(("change", "change_low", "change_high"), "peers/d")
    | {"half_life": "h", "interval": "s"},
    sql=f"""
WITH shown AS (
    SELECT
        watched.*, name, (
            SELECT substr(taken_at, 1, 10) FROM dht_samples AS sample
            WHERE sample.info_hash = watched.info_hash AND sample.peers IS NOT NULL
            ORDER BY iif((SELECT went_back FROM run_clock), id, 0) DESC, taken_at DESC LIMIT 1
        ) AS day
    FROM watched_swarms AS watched LEFT JOIN swarms USING (info_hash)
    WHERE {_OF_RUN} AND empties < 3
    ORDER BY watched.peers DESC, info_hash
    LIMIT :limit
)
SELECT
    info_hash, measured_at, {whole("peers peers_low peers_high")}, {_CHANGES},
    (SELECT half_life_hours FROM swarm_half_life AS life WHERE life.info_hash = shown.info_hash) AS half_life,
    round(interval) AS interval, next_at, failures, name
FROM shown
ORDER BY shown.peers DESC, info_hash
""",
)

dead = Report(
    name="dead",
    place=10,
    about="Tell which watched swarms have died, those that died last first.",
    question="Which watched swarms have died?",
    title="Dead swarms",
    text="Swarms on the watch whose last three measurements, or more, found no peer. They are measured"
    " rarely, so the time of death is uncertain: between `last_alive` and `empty_since`. A swarm may come"
    " back.",
    units={"empty": "d"},
    sql=f"""
SELECT
    info_hash, {_OF_DEAD}, next_at, name
FROM (
    SELECT watched.*, name FROM watched_swarms AS watched LEFT JOIN swarms USING (info_hash)
    WHERE {_OF_RUN} AND empties >= 3
    ORDER BY empties, measured_at DESC, info_hash
    LIMIT :limit
) AS shown
ORDER BY empties, shown.measured_at DESC, info_hash
""",
)
