"""Reports on swarms: the largest, the history of one, and how many info-hashes there are."""

import sqlite3
from dataclasses import dataclass, replace

from crawler.reports.report import LIMIT, NoAnswer, Report, ReportAnswer, any_run, of_run, whole
from dhtnode.swarm import ESTIMATORS

_BOUND = "iif(peers_high IS NULL AND peers IS NOT NULL, 'at least', '') AS bound"
_SIZES = f"{_BOUND}, {whole('peers peers_low peers_high')}"
_NUMBERS = f"{_SIZES}, {whole('seeds seeds_low seeds_high leechers leechers_low leechers_high')}"

# SQLite takes `peers` and `id` from the row with the latest time, all of it from one index: the plus
# keeps it from another one, which would send it through the table.  Where the clock went back, the latest row
# is that with the highest number.
LATEST = f"""latest AS (
    SELECT
        info_hash, peers, id,
        max(iif((SELECT went_back FROM run_clock), printf('%020d', id), taken_at))
    FROM dht_samples
    WHERE {any_run("+run_id")}
    GROUP BY info_hash
)"""
# Of a hybrid torrent, the swarm that has more peers stands for both.
_ONCE = """
(nullif(:run, '') IS NOT NULL OR info_hash NOT IN (
    SELECT iif(larger = info_hash, twin, info_hash) FROM hybrid_swarms
    WHERE peers_v1 IS NOT NULL AND peers_v2 IS NOT NULL
))"""
_LARGEST = f"""
WITH {LATEST},
largest AS (
    SELECT id FROM latest WHERE peers IS NOT NULL AND {_ONCE} ORDER BY peers DESC, info_hash LIMIT :limit
)"""

# The ends of both swarms of a hybrid torrent together; seeds and leechers have no point between them.
_JOINED = (
    ", ".join(
        f"iif(joined.info_hash IS NULL, sample.{name}, joined.{name}) AS {name}"
        for name in ["peers_low", "peers_high", "seeds_low", "seeds_high", "leechers_low", "leechers_high"]
    )
    + ", sample.seeds, sample.leechers"
)

swarms = Report(
    name="swarms",
    place=7,
    summary_place=6,
    page="largest_swarms",
    about="Tell which swarms are the largest, by the newest sample of each.",
    question="Which swarms are the largest?",
    title="Largest swarms",
    text="Distinct addresses announced for each info-hash, between `peers_low` and `peers_high` in 95 of 100"
    " cases, and so for seeds and leechers; a peer that left within 45 minutes still counts, one that never"
    " announces does not. Only swarms that were measured are here, and an address may announce without"
    ' taking part. Where `bound` says "at least" stores are full, and the swarm has any number of peers more.'
    " Saturated means: more than a filter can tell. A name is what peers say. A torrent of both versions"
    " (BEP 52) is one row, with its `twin`: `peers`, `seeds` and `leechers` of the larger of its two swarms,"
    " from the most of the lower ends to the sum of the upper ends.",
    sql=f"""{_LARGEST}
, shown AS (
    SELECT
        sample.info_hash, sample.taken_at, sample.peers, saturated, method, nodes_answered, swarms.name,
        iif(joined.larger = joined.info_hash, joined.twin, joined.info_hash) AS twin, {_JOINED}
    FROM largest
    JOIN swarm_samples AS sample ON sample.id = largest.id
    JOIN swarms ON swarms.info_hash = sample.info_hash
    LEFT JOIN hybrid_swarms AS joined ON joined.larger = sample.info_hash AND nullif(:run, '') IS NULL
)
SELECT info_hash, taken_at, {_NUMBERS}, saturated, method, nodes_answered, twin, name
FROM shown
ORDER BY shown.peers DESC, info_hash
""",
)

_METHODS = [method.name for method in ESTIMATORS]
_BY_METHOD = ", ".join(
    f"""(
    SELECT CAST(round(estimate) AS INTEGER) FROM swarm_estimates
    WHERE sample_id = sample.id AND subject = 'peers' AND method = '{method}'
    ) AS "{method.replace("-", "_")}\""""
    for method in _METHODS
)

methods = Report(
    name="methods",
    place=8,
    about="Tell what each method says of the largest swarms, by the newest sample of each.",
    question="What does each method say of the largest swarms?",
    title="Methods side by side",
    text="`peers` is the headline and `method` says where it is from; beside it, what each method says by"
    f" itself: {', '.join(f'`{name}`' for name in _METHODS).replace('-', '_')}. `seed_share` is from the"
    " filters, `by_handshakes` from peers that were contacted over TCP, with its interval: few can be"
    " reached, and those are more often seeds.",
    units=dict.fromkeys(("seed_share", "by_handshakes", "by_handshakes_low", "by_handshakes_high"), "%"),
    sql=f"""{_LARGEST}
SELECT
    sample.info_hash, sample.taken_at, method, {_SIZES}, {_BY_METHOD},
    round(100.0 * sample.seeds / nullif(sample.seeds + sample.leechers, 0), 1) AS seed_share,
    round(100 * handshakes.seed_share, 1) AS by_handshakes,
    round(100 * seed_share_low, 1) AS by_handshakes_low,
    round(100 * seed_share_high, 1) AS by_handshakes_high, name
FROM largest
JOIN swarm_samples AS sample ON sample.id = largest.id
JOIN swarms ON swarms.info_hash = sample.info_hash
LEFT JOIN swarm_handshakes AS handshakes ON handshakes.id = (
    SELECT id FROM swarm_handshakes
    WHERE info_hash = sample.info_hash
    ORDER BY iif((SELECT went_back FROM run_clock), id, 0) DESC, taken_at DESC, id DESC
    LIMIT 1
)
ORDER BY sample.peers DESC, sample.info_hash
""",
)

discovery = Report(
    name="discovery",
    place=11,
    summary_place=8,
    page="info_hashes",
    about="Tell how many info-hashes there are, from samples that nodes show (BEP 51).",
    question="How many info-hashes are there?",
    title="Info-hashes by samples",
    text="`coverage` is the chance that what a node shows next is known already; `chao1` a lower bound of the"
    " number of info-hashes; `horvitz-thompson` an estimate, never below what was shown. An info-hash"
    " need not be that of a torrent.",
    sql=f"""
SELECT
    runs.id AS run, started_at, family, zone, method,
    round(estimate, iif(method = 'coverage', 4, 0)) AS estimate,
    round(low, iif(method = 'coverage', 4, 0)) AS low, round(high, iif(method = 'coverage', 4, 0)) AS high
FROM discovery_estimates JOIN runs ON runs.id = run_id
WHERE {any_run()}
ORDER BY runs.id DESC, family, discovery_estimates.id
LIMIT :limit
""",
)


@dataclass(frozen=True, slots=True)
class SwarmReport(Report):
    """A report on one swarm, whose info-hash in hex is the parameter `:info_hash` of the SQL."""

    def answer(
        self, db: sqlite3.Connection, *, run: int | None = None, limit: int = LIMIT, **values: str
    ) -> ReportAnswer:
        """Return the answer about a swarm; raises `NoAnswer` if it was never measured."""
        answer, records = self.ask(db, run, limit, values)
        if not records:
            in_run = "" if run is None else f" in run {run}"
            raise NoAnswer(f"{values['info_hash']} was never measured{in_run}")
        name = "" if records[0]["name"] is None else f", named {records[0]['name']!r}"
        return replace(answer, title=f"{self.title} {records[0]['info_hash']}{name}{of_run(run)}")


swarm = SwarmReport(
    name="swarm",
    place=13,
    page="history_of_a_swarm",
    about="Tell how a swarm has changed: its samples, the newest first.",
    question="How did one swarm change?",
    title="History of swarm",
    text="Each row is a measurement. A change within the intervals is no change; a step where"
    " `nodes_answered` or `method` changes may be one of the measurement, not of the swarm.",
    needs="info_hash",
    only_browsed=frozenset({"info_hash", "name", "sample_id"}),
    sql=f"""
SELECT
    info_hash, name, taken_at, {_NUMBERS}, saturated, method,
    nodes_asked, nodes_answered, nodes_with_filters, distinct_peers, run_id AS run, id AS sample_id
FROM dht_samples LEFT JOIN swarms USING (info_hash)
WHERE info_hash = coalesce(nullif(lower(:info_hash), ''), (
    SELECT info_hash FROM (SELECT info_hash, max(taken_at), peers FROM dht_samples GROUP BY info_hash)
    ORDER BY peers DESC LIMIT 1
)) AND {any_run()}
ORDER BY iif((SELECT went_back FROM run_clock), id, 0) DESC, taken_at DESC, id DESC
LIMIT :limit
""",
)
