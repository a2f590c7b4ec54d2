"""Reports on what keeps torrents alive: peers, trackers and web seeds; and on what peers tell."""

from crawler.reports.report import Report, any_run, whole

_ASKED = 2000  # of the newest rows of each kind: what was asked for of late

_LATELY = f"""lately AS (
    SELECT info_hash, max(at) AS at FROM (
        SELECT * FROM (SELECT info_hash, taken_at AS at FROM web_seed_checks WHERE {any_run()}
            ORDER BY id DESC LIMIT {_ASKED})
        UNION ALL
        SELECT * FROM (SELECT info_hash, taken_at FROM swarm_handshakes WHERE {any_run()}
            ORDER BY id DESC LIMIT {_ASKED})
        UNION ALL
        SELECT * FROM (SELECT info_hash, taken_at FROM swarm_samples WHERE source = 'dht'
            AND {any_run()} OR source = 'tracker' AND {any_run()}
            ORDER BY id DESC LIMIT {_ASKED})
    )
    GROUP BY info_hash ORDER BY at DESC LIMIT {_ASKED}
)"""

alive = Report(
    name="alive",
    place=17,
    page="torrents_alive_by_what",
    about="Tell which torrents are alive, and by what: peers, trackers or web seeds.",
    question="Which torrents are alive, and by what?",
    title="Torrents alive",
    text="By the newest of each source, none a week older than the newest of all. A torrent without peers"
    " is `alive` where a web seed is, and so is one whose seed hides it; `peers` have peers, and"
    " nothing tells of a seed; `dead` have none of it. `why` has what each source says. Where two of"
    " them say clearly different numbers of seeds, `disagree` names them. The two swarms of a hybrid"
    " torrent are one.",
    sql=f"""
WITH {_LATELY}
SELECT info_hash, state, why, disagree, newest, twin, name
FROM torrents_alive
WHERE info_hash IN (
    SELECT info_hash FROM lately
    UNION SELECT hybrid.info_hash FROM lately JOIN hybrid_torrents AS hybrid ON twin = lately.info_hash
)
ORDER BY state = 'alive' DESC, state = 'peers' DESC, state = 'unknown' DESC, dht_peers DESC, info_hash
LIMIT :limit
""",
)

seeds = Report(
    name="seeds",
    place=18,
    page="seeds_by_source",
    about="Tell how many seeds the DHT, handshakes and trackers say that swarms have, side by side.",
    question="How many seeds are there, and do the sources agree?",
    title="Seeds by source",
    text="The DHT counts peers that call themselves seeds; some clients never do. Peers that were contacted"
    " and have all (`met`) are seeds for sure, between `met` and `met_high`: the share of seeds among"
    " those that answer, which is too high rather than too low, of all peers. `hidden` may be seeds"
    " that hide it (BEP 16), `partial` have a part and want no more. Trackers count what they are told."
    " `disagree` names those whose intervals do not meet within a day.",
    sql=f"""
WITH {_LATELY}
SELECT
    info_hash, dht_at, dht_seeds AS dht, dht_seeds_low AS dht_low, dht_seeds_high AS dht_high, met_at,
    peers_met AS answered, seeds_met AS met, met_high, hidden_met AS hidden, partial_met AS partial,
    trackers_at, tracker_seeds_low AS trackers_low, tracker_seeds_high AS trackers_high,
    web_seeds_alive AS web, disagree, name
FROM swarm_seeds
WHERE info_hash IN (SELECT info_hash FROM lately)
    AND coalesce(dht_seeds, seeds_met, tracker_seeds_low) IS NOT NULL
ORDER BY disagree = '', max(coalesce(dht_seeds, 0), coalesce(seeds_met, 0)) DESC, info_hash
LIMIT :limit
""",
)

handshakes = Report(
    name="handshakes",
    place=19,
    page="what_peers_say",
    about="Tell what peers that were contacted say of themselves, the newest rounds first.",
    question="What do peers say of themselves?",
    title="Handshakes",
    text="Of the peers that were contacted over TCP: those that answered, those that closed without a word,"
    " as many do that want it encrypted; seeds, leechers, of these the partial seeds (BEP 21) and those"
    " that may be seeds that hide it (BEP 16); the share of seeds with its interval, for all of the"
    " latter being seeds; the share of the pieces that half of them have; those that exchange peers"
    " (BEP 11), take pieces back, help others through a NAT (BEP 55), or know version 2 (BEP 52).",
    units=dict.fromkeys(("seed_share", "share_low", "share_high", "median_share"), "%"),
    sql=f"""
SELECT
    taken_at, info_hash, peers_tried AS tried, peers_answered AS answered, closed, seeds, leechers,
    partial_seeds AS partial, superseeds AS hidden, unknown, round(100 * seed_share, 1) AS seed_share,
    round(100 * seed_share_low, 1) AS share_low, round(100 * seed_share_high, 1) AS share_high,
    round(100 * median_share, 1) AS median_share, pex, lt_donthave, holepunch, version_2, name
FROM swarm_handshakes JOIN swarms USING (info_hash)
WHERE {any_run()}
ORDER BY swarm_handshakes.id DESC
LIMIT :limit
""",
)

exchanges = Report(
    name="pex",
    place=20,
    page="peers_that_peers_name",
    about="Tell how many others peers name (BEP 11), and how many can be connected to at least.",
    question="Which others do peers name?",
    title="Exchanges of peers",
    text="Peers that know the exchange were asked which others they are connected to. `n_estimate` is how"
    " many hosts can be connected to, by how often each was named, between `n_low` and `n_high`: a lower"
    " bound, for peers with many connections are named more often. `dht` is the share of those named that the"
    " DHT has, with its interval; `seeds` and `reachable` are what is said of them. No address is kept.",
    units=dict.fromkeys(("dht", "dht_low", "dht_high", "seeds", "reachable"), "%"),
    sql=f"""
SELECT
    taken_at, info_hash, peers_asked AS asked, peers_told AS told, addresses_named AS named,
    distinct_addresses AS distinct_named, {whole("n_estimate n_low n_high")},
    round(100 * overlap, 1) AS dht, round(100 * overlap_low, 1) AS dht_low,
    round(100 * overlap_high, 1) AS dht_high,
    round(100.0 * seed_flags / nullif(distinct_addresses, 0), 1) AS seeds,
    round(100.0 * reachable_flags / nullif(distinct_addresses, 0), 1) AS reachable, name
FROM pex_rounds JOIN swarms USING (info_hash)
WHERE {any_run()}
ORDER BY pex_rounds.id DESC
LIMIT :limit
""",
)

web_seeds = Report(
    name="web-seeds",
    place=21,
    page="web_seeds_over_time",
    about="Tell which web seeds are alive, how often they were, and how fast they answer.",
    question="Which web seeds are alive?",
    title="Web seeds",
    text="The web seeds of torrent files and magnet links that were given, the newest check of each:"
    " `no-ranges` and `later` are alive, too. `alive` is the share of all checks; `wrong` counts those that"
    " found another length or another piece.",
    units={"alive": "%", "ms": "ms"},
    sql=f"""
SELECT
    host, kind, info_hash, max(checks.id) AS check_id, taken_at, outcome, status, count(*) AS checks,
    round(100.0 * sum(outcome IN ('alive', 'no-ranges', 'later')) / count(*), 1) AS alive,
    sum(coalesce(length_ok = 0, 0) OR coalesce(hash_ok = 0, 0)) AS wrong, round(avg(ms), 1) AS ms, name
FROM (
    SELECT * FROM web_seed_checks WHERE {any_run()} ORDER BY id DESC LIMIT 100000
) AS checks JOIN swarms USING (info_hash)
GROUP BY info_hash, url_hash
ORDER BY check_id DESC
LIMIT :limit
""",
    only_browsed=frozenset({"check_id"}),
)
