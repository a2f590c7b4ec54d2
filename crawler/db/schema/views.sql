-- The views of a crawl database: the questions that most readers ask first.
--
-- They use nothing but SQLite, and no mathematical functions, which not every build of it has: other programs
-- read them.  Asked for one `info_hash`, those about swarms read the samples of that swarm only.
--
-- A comment behind a column says what it holds, as in schema.sql.  A column without one means the same as the
-- first column of that name in an exported table, or else in a view, or else in a table.

-- One row for each node ever met: an id at an address and port.
--
-- One id at two endpoints is two nodes, and so is the reverse: deciding which of them lies is up to the reader
-- of the data.
CREATE VIEW nodes AS
SELECT
    lower(hex(node_id)) AS node_id,         -- [text !id] The id of the node, 40 hex digits; a pseudonym in an anonymized database.
    iif(typeof(host) <> 'integer', host,
        (host >> 24) || '.' || (host >> 16 & 255) || '.' || (host >> 8 & 255) || '.' || (host & 255))
        AS address,                         -- [text !host] The IP address of the node; a /24 or /48 in an anonymized database.
    port,                                   -- [integer !port] The UDP port of the node; 0 in an anonymized database.
    iif(instr(host, ':'), 6, 4) AS family,
    strftime('%Y-%m-%dT%H:%M:%fZ', first_seen / 1000.0, 'unixepoch')
        AS first_seen,                      -- [time] When it was first queried.
    strftime('%Y-%m-%dT%H:%M:%fZ', last_seen / 1000.0, 'unixepoch')
        AS last_seen,                       -- [time] When it was last queried.
    strftime('%Y-%m-%dT%H:%M:%fZ', last_answer / 1000.0, 'unixepoch')
        AS last_answer,                     -- [time] When it last answered.
    iif(version IS NULL, NULL, lower(hex(version)))
        AS version,                         -- [text !version] What the node sends as `v`, in hex: the client and its version.
    CASE
        WHEN version IS NULL THEN NULL
        WHEN CAST(substr(version, 1, 2) AS TEXT) GLOB '[0-9A-Za-z][0-9A-Za-z]'
        THEN CAST(substr(version, 1, 2) AS TEXT) ELSE 'unknown'
    END
        AS client                           -- [text !client] The first two characters of the version, or unknown (client_names.letters).
FROM node_rows;

-- One row for each visit of a census to a node, with or without a response.
CREATE VIEW visits AS
SELECT
    visit_rows.id & 4294967295
        AS id,                              -- [integer] Number of the visit in its run.
    runs.id AS run_id,
    lower(hex(node_id)) AS node_id,
    iif(typeof(host) <> 'integer', host,
        (host >> 24) || '.' || (host >> 16 & 255) || '.' || (host >> 8 & 255) || '.' || (host & 255))
        AS address,
    port,
    strftime('%Y-%m-%dT%H:%M:%fZ', taken_at / 1000.0, 'unixepoch')
        AS taken_at,
    (SELECT outcome_codes.outcome FROM outcome_codes WHERE code = visit_rows.outcome)
        AS outcome,
    rtt_us / 1000.0 AS rtt_ms,              -- [number ms] Time from the query to its answer.
    iif(visit_rows.version IS NULL, NULL, lower(hex(visit_rows.version)))
        AS version,                         -- [text !version] What the node sends as `v`, in hex: the client and its version.
    contacts,
    new_contacts,
    referrers,                              -- [integer] Nodes that had returned this one when it was queried; 5 stands for five and more.
    error_code,
    conforms,                               -- [flag] Whether the id is secure for the address (BEP 42); NULL where that cannot be judged.
    unusable,
    coalesce(marks, '') AS marks,           -- [text] What makes the answer suspect, words with spaces between; empty for nothing.
    is_verification                         -- [flag] Whether it had answered before, and was queried only to see if it still is there.
FROM runs CROSS JOIN visit_rows ON visit_rows.id BETWEEN runs.id << 32 AND (runs.id << 32) + 4294967295;

-- One row for each node queried for a swarm, with or without a response: what a measurement came from.
CREATE VIEW scrape_replies AS
SELECT
    sample_id,
    lower(hex(node_id)) AS node_id,
    iif(typeof(host) <> 'integer', host,
        (host >> 24) || '.' || (host >> 16 & 255) || '.' || (host >> 8 & 255) || '.' || (host & 255))
        AS address,
    port,
    rank,
    seeds_filter,
    peers_filter,
    values_count,
    iif(version IS NULL, NULL, lower(hex(version)))
        AS version,                         -- [text !version] What the node sends as `v`, in hex: the client and its version.
    rtt_us / 1000.0 AS rtt_ms,              -- [number ms] Time from the query to its answer.
    coalesce(marks, '') AS marks,
    (SELECT outcome_codes.outcome FROM outcome_codes WHERE code = reply_rows.outcome)
        AS outcome,
    strftime('%Y-%m-%dT%H:%M:%fZ', asked_at / 1000.0, 'unixepoch')
        AS asked_at,                        -- [time] When the node was queried.
    iif(instr(host, ':'), 6, 4) AS family,
    named_tokens,
    named_filter,
    unplaced_filter,
    is_full
FROM reply_rows;

-- One row for each request for a sample of info-hashes (BEP 51).
CREATE VIEW node_samples AS
SELECT
    id,
    run_id,
    lower(hex(node_id)) AS node_id,
    iif(typeof(host) <> 'integer', host,
        (host >> 24) || '.' || (host >> 16 & 255) || '.' || (host >> 8 & 255) || '.' || (host & 255))
        AS address,
    port,
    iif(instr(host, ':'), 6, 4) AS family,
    strftime('%Y-%m-%dT%H:%M:%fZ', taken_at / 1000.0, 'unixepoch')
        AS taken_at,
    (SELECT outcome_codes.outcome FROM outcome_codes WHERE code = node_sample_rows.outcome)
        AS outcome,
    error_code,
    rtt_us / 1000.0 AS rtt_ms,              -- [number ms] Time from the query to its answer.
    iif(version IS NULL, NULL, lower(hex(version)))
        AS version,                         -- [text !version] What the node sends as `v`, in hex: the client and its version.
    num,
    interval,                               -- [integer s] The pause that it asks for.
    returned,
    new,
    strftime('%Y-%m-%dT%H:%M:%fZ', next_at / 1000.0, 'unixepoch')
        AS next_at,                         -- [time] When it may be queried again.
    contacts,
    new_contacts,
    coalesce(marks, '') AS marks,
    samples                                 -- [bytes] The info-hashes, 20 bytes each, one after the other.
FROM node_sample_rows;

-- One row for each measurement of a swarm by nodes of the DHT: what every other view means by a sample.
-- not exported
CREATE VIEW dht_samples AS
SELECT
    id,
    run_id,
    info_hash,
    taken_at,
    seeds,
    leechers,
    peers,
    peers_low,
    peers_high,
    method,
    saturated,
    nodes_asked,
    nodes_answered,
    nodes_with_filters,
    distinct_peers,
    queries,
    bytes_sent,
    bytes_received,
    seeds_low,
    seeds_high,
    leechers_low,
    leechers_high,
    overlap,
    coverage,
    silent_share,
    source
FROM swarm_samples WHERE source = 'dht';

-- One row: whether the clock has gone back between two runs of this database.
-- not exported
--
-- Then times do not say which of two rows is newer, and their numbers do.
CREATE VIEW run_clock AS
SELECT
    count(*) > 0 AS went_back               -- [flag] Whether a run began at an earlier time than the one before it.
FROM (
    SELECT started_at < lag(started_at) OVER (ORDER BY id) AS is_earlier
    FROM runs WHERE id NOT IN (SELECT run_id FROM merged_runs)
)
WHERE is_earlier;

-- One row for each run: in which database it was made, and which number it had there.
CREATE VIEW run_vantages AS
SELECT
    runs.id AS run_id,
    runs.command,
    runs.started_at,
    vantages.identity AS vantage,
    coalesce(merged_runs.number, runs.id) AS number,
    vantages.is_here                        -- [flag] Whether that is this database.
FROM runs
LEFT JOIN merged_runs ON merged_runs.run_id = runs.id
JOIN vantages ON CASE WHEN merged_runs.run_id IS NULL THEN is_here ELSE identity = merged_runs.vantage END;

-- One row for each run and family: three counts of nodes, and estimates that add those missed.
-- groups: answered_once >= 10
--
-- Counts are uncorrected for nodes that the crawl missed.  IPv4 and IPv6 are two networks (BEP 32) and get a
-- row each.  Ids, endpoints and IPs are those of nodes that answered; in an anonymized database an IP is a
-- prefix.  Answers 5 minutes apart tell an open node from one that a NAT lets through for a moment.
-- Runs under way have no row in `run_counts` yet: their visits are counted here.
CREATE VIEW network_size AS
WITH seen AS (
    SELECT
        runs.id AS run_id, node_id, host, port,
        iif(instr(host, ':'), 6, 4) AS family,
        max(outcome = 0) AS answered,
        min(taken_at) FILTER (WHERE outcome = 0) AS first_answer,
        max(taken_at) FILTER (WHERE outcome = 0) AS last_answer
    FROM runs CROSS JOIN visit_rows ON visit_rows.id BETWEEN runs.id << 32 AND (runs.id << 32) + 4294967295
    WHERE runs.id NOT IN (SELECT run_id FROM run_counts)
    GROUP BY runs.id, node_id, host, port
),
counted AS (
    SELECT * FROM run_counts
    UNION ALL
    SELECT
        run_id,
        family,
        count(*),
        sum(answered),
        coalesce(sum(last_answer - first_answer >= 300000), 0),
        count(DISTINCT node_id) FILTER (WHERE answered),
        count(DISTINCT host || ' ' || port) FILTER (WHERE answered),
        count(DISTINCT host) FILTER (WHERE answered)
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
    crawl.unit,                             -- [text] What estimates count: hosts (IPv4 addresses, IPv6 /64), or endpoints.
    CAST(round(crawl.estimate) AS INTEGER) AS estimate, -- [integer nodes] Hosts or endpoints of the whole network, from the crawl.
    CAST(round(crawl.low) AS INTEGER) AS low, -- [integer nodes] Lower end of the 95 % interval of estimate.
    CAST(round(crawl.high) AS INTEGER) AS high, -- [integer nodes] Upper end of the 95 % interval of estimate.
    CAST(round(endpoints.estimate) AS INTEGER) AS endpoints, -- [integer nodes] Endpoints of the whole network, from the crawl.
    CAST(round(endpoints.low) AS INTEGER) AS endpoints_low, -- [integer nodes] Lower end of the 95 % interval of endpoints.
    CAST(round(endpoints.high) AS INTEGER) AS endpoints_high, -- [integer nodes] Upper end of the 95 % interval of endpoints.
    CAST(round(second.estimate) AS INTEGER)
        AS by_second_walk,                  -- [integer nodes] Hosts or endpoints, from the share of the nodes of a second walk that were counted.
    CAST(round(second.low) AS INTEGER)
        AS by_second_walk_low,              -- [integer nodes] Lower end of the 95 % interval of by_second_walk.
    CAST(round(second.high) AS INTEGER)
        AS by_second_walk_high,             -- [integer nodes] Upper end of the 95 % interval of by_second_walk.
    json_extract(without.details, '$.inventing') AS inventing, -- [integer nodes] Nodes that answered and hand out nodes which do not exist; NULL where that is not known.
    CAST(round(without.estimate) AS INTEGER)
        AS without_inventors,               -- [integer nodes] As estimate, without these.
    CAST(round(without.low) AS INTEGER)
        AS without_inventors_low,           -- [integer nodes] Lower end of the 95 % interval of without_inventors.
    CAST(round(without.high) AS INTEGER)
        AS without_inventors_high,          -- [integer nodes] Upper end of the 95 % interval of without_inventors.
    CAST(round(distances.estimate) AS INTEGER)
        AS by_distances,                    -- [integer nodes] Hosts or endpoints, by how densely the ids that were counted lie: a test that ids are uniform.
    CAST(round(distances.low) AS INTEGER)
        AS by_distances_low,                -- [integer nodes] Lower end of the 95 % interval of by_distances.
    CAST(round(distances.high) AS INTEGER)
        AS by_distances_high,               -- [integer nodes] Upper end of the 95 % interval of by_distances.
    json_extract(distances.details, '$.p_value') AS uniform_p -- [number] How often uniform ids would be as far from their own density; NULL where families are joined.
FROM counted
JOIN runs ON runs.id = counted.run_id
LEFT JOIN size_estimates AS crawl ON
    crawl.run_id = counted.run_id AND crawl.family IS counted.family AND crawl.method = 'crawl'
LEFT JOIN size_estimates AS distances ON
    distances.run_id = counted.run_id AND distances.family IS counted.family
    AND distances.method = 'distances'
LEFT JOIN size_estimates AS second ON
    second.run_id = counted.run_id AND second.family IS counted.family AND second.method = 'second walk'
LEFT JOIN size_estimates AS without ON
    without.run_id = counted.run_id AND without.family IS counted.family
    AND without.method = 'without inventors'
LEFT JOIN size_estimates AS endpoints ON
    endpoints.run_id = counted.run_id AND endpoints.family IS counted.family
    AND endpoints.method = 'endpoints'
ORDER BY counted.run_id, counted.family IS NULL, counted.family;

-- The alarms whose verdict is suspect, the least likely first; a mark, no proof.
--
-- The test says what a subject is: a host, the first bits of ids, or an id; docs/explanation/network_size.md
-- says what is observed.  An alarm is a mark: nothing is deleted.
CREATE VIEW sybil_suspects AS
SELECT
    alarms.run_id,
    runs.started_at,
    family,
    test,
    subject,
    observed,
    expected,
    p_value,
    explanation
FROM alarms JOIN runs ON runs.id = alarms.run_id
WHERE verdict = 'suspect'
ORDER BY alarms.run_id, p_value, observed DESC;

-- One row for each node of a run, and mark or outcome that makes it suspect.
--
-- Nodes are read in the order of an index, so that the first ones come at once.  Whatever words `marks`
-- hold are split here: no list of marks has to be kept.
CREATE VIEW suspect_nodes AS
WITH suspects AS (
    SELECT run_id, node_id, host, port
    FROM visit_rows
    WHERE is_suspect
    GROUP BY run_id, node_id, host, port
)
SELECT
    run_id,
    lower(hex(node_id)) AS node_id,
    iif(typeof(host) <> 'integer', host,
        (host >> 24) || '.' || (host >> 16 & 255) || '.' || (host >> 8 & 255) || '.' || (host & 255))
        AS address,
    port,
    iif(instr(host, ':'), 6, 4) AS family,
    json_extract(found.value, '$[0]')
        AS mark,                            -- [text] The mark, or the outcome where that is a lie by itself.
    json_extract(found.value, '$[1]')
        AS visits,                          -- [integer] Visits that show it.
    strftime('%Y-%m-%dT%H:%M:%fZ', json_extract(found.value, '$[2]') / 1000.0, 'unixepoch')
        AS last_seen                        -- [time] When the last of them was.
FROM suspects CROSS JOIN json_each((
    SELECT json_group_array(json_array(mark, visits, last_seen))
    FROM (
        SELECT word.value AS mark, count(DISTINCT visit.id) AS visits, max(taken_at) AS last_seen
        FROM visit_rows AS visit
        LEFT JOIN outcome_codes ON code = visit.outcome AND is_lie
        CROSS JOIN json_each(
            '['
            || replace(json_quote(trim(coalesce(marks, '') || ' ' || coalesce(outcome_codes.outcome, ''))), ' ', '","')
            || ']'
        ) AS word
        WHERE is_suspect AND visit.run_id = suspects.run_id AND visit.node_id = suspects.node_id
            AND visit.host = suspects.host AND visit.port = suspects.port
        GROUP BY word.value
    )
)) AS found;

-- One row for each client of the nodes that ever answered.
-- groups: nodes >= 10
--
-- Only nodes that answered: a version in an unsolicited packet proves little.  Read from an index alone.
CREATE VIEW client_versions AS
SELECT
    client,
    coalesce((SELECT client_names.name FROM client_names WHERE letters = client), client)
        AS client_name,                     -- [text !client] The name of the client; its two letters where it is not known.
    sum(nodes) AS nodes,                    -- [integer] Nodes of this client.
    round(1.0 * sum(nodes) / sum(sum(nodes)) OVER (), 4) AS share, -- [number] Their share of all, from 0 to 1.
    count(DISTINCT version) AS versions     -- [integer] Different versions among them.
FROM (
    SELECT iif(name GLOB '[0-9A-Za-z][0-9A-Za-z]', name, 'unknown') AS client, version, nodes
    FROM (
        SELECT CAST(substr(version, 1, 2) AS TEXT) AS name, version, count(*) AS nodes
        FROM node_rows WHERE last_answer IS NOT NULL
        GROUP BY version
    )
)
GROUP BY client
ORDER BY nodes DESC, client;

-- One row for each run that has ended, and client in it: how many, how fast, what they support.
-- groups: nodes >= 10
--
-- `nodes` answered, `share` is that of all of the run.  Shares are NULL where nothing is known.  BEP 43 is not
-- here: by its answers, a node that obeys it cannot be told from one that does not.
CREATE VIEW client_census AS
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
    coalesce((SELECT client_names.name FROM client_names WHERE letters = clients.client), clients.client)
        AS client_name,
    nodes,
    round(1.0 * nodes / sum(nodes) OVER (PARTITION BY clients.run_id), 4)
        AS share,                           -- [number] Their share of all of the run, from 0 to 1.
    round(rtt_ms, 1) AS rtt_ms,             -- [number ms] Mean round-trip time.
    support.bep33,                          -- [number] Share of replies with filters among its replies to scrapes, in all runs.
    round(1.0 * conforming / nullif(judged, 0), 4)
        AS bep42,                           -- [number] Share of secure ids, among those that can be judged.
    support.bep51                           -- [number] Share of samples among its answers to requests for them, in all runs.
FROM clients LEFT JOIN support ON support.client = clients.client
ORDER BY clients.run_id, nodes DESC, clients.client;

-- The numbers of the newest rows of each swarm; NULL where there is none.
--
-- Newest is what was taken last; where the clock went back between two runs, what was written last.
CREATE VIEW newest_of_swarms AS
SELECT
    info_hash,
    name,
    iif((SELECT went_back FROM run_clock),
        (SELECT max(id) FROM swarm_samples WHERE info_hash = swarms.info_hash AND source = 'dht'),
        (SELECT id FROM swarm_samples WHERE info_hash = swarms.info_hash AND source = 'dht'
         ORDER BY taken_at DESC, peers DESC, id DESC LIMIT 1))
        AS dht_id,                          -- [integer] Its newest measurement in the DHT, in swarm_samples.
    iif((SELECT went_back FROM run_clock),
        (SELECT max(id) FROM swarm_samples WHERE info_hash = swarms.info_hash AND source = 'tracker'),
        (SELECT id FROM swarm_samples WHERE info_hash = swarms.info_hash AND source = 'tracker'
         ORDER BY taken_at DESC, peers DESC, id DESC LIMIT 1))
        AS tracker_id,                      -- [integer] The newest of trackers, in swarm_samples.
    iif((SELECT went_back FROM run_clock),
        (SELECT max(id) FROM swarm_handshakes WHERE info_hash = swarms.info_hash),
        (SELECT id FROM swarm_handshakes WHERE info_hash = swarms.info_hash
         ORDER BY taken_at DESC, id DESC LIMIT 1))
        AS handshakes_id                    -- [integer] The newest round of handshakes, in swarm_handshakes.
FROM swarms;

-- The newest measurement of each swarm; counts are rounded.
--
-- The digits behind the point of an estimate mislead; the table keeps them.  All intervals are of 95 %.
CREATE VIEW latest_swarms AS
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
    sample.method,                          -- [text] How the number came about.
    sample.nodes_asked,
    sample.nodes_answered,
    sample.nodes_with_filters,
    sample.distinct_peers,
    round(sample.coverage, 4) AS coverage,
    sample.id AS sample_id
FROM newest_of_swarms AS swarms JOIN swarm_samples AS sample ON sample.id = dht_id;

-- The newest measurement of each swarm that has peers in both families, with what handshakes within a day tell.
--
-- A peer with an address in each is in both counts. Those that answered over both under one id count once: the
-- whole has so many fewer than the sum. No handshake tells that a peer has one address alone, so the lower end
-- stays that of the larger family.
CREATE VIEW swarm_families AS
WITH joint AS (
    SELECT
        latest.info_hash, latest.sample_id, latest.taken_at, latest.peers_low, latest.peers_high,
        (SELECT estimate FROM swarm_estimates WHERE sample_id = latest.sample_id AND method = 'ipv4') AS ipv4,
        (SELECT estimate FROM swarm_estimates WHERE sample_id = latest.sample_id AND method = 'ipv6') AS ipv6,
        (
            SELECT max(in_both_families) FROM swarm_handshakes
            WHERE info_hash = latest.info_hash
                AND abs(julianday(swarm_handshakes.taken_at) - julianday(latest.taken_at)) <= 1
        ) AS in_both
    FROM latest_swarms AS latest
)
SELECT
    info_hash,
    sample_id,
    taken_at,                               -- [time] When it was measured.
    round(ipv4, 1) AS ipv4,                 -- [number peers] Peers with an IPv4 address.
    round(ipv6, 1) AS ipv6,                 -- [number peers] Peers with an IPv6 address.
    in_both,                                -- [integer] Peers seen in both: the most that handshakes of a day told of; NULL without any.
    peers_low,                              -- [integer] Lower end of the 95 % interval of all peers, each counted once.
    max(peers_high - coalesce(in_both, 0), peers_low)
        AS peers_high                       -- [integer] Upper end of it, without the peers seen in both; NULL for a lower bound.
FROM joint
WHERE ipv4 IS NOT NULL AND ipv6 IS NOT NULL;

-- Each torrent that is known with the newest handshakes of its swarm.
--
-- Private torrents have no handshakes.
CREATE VIEW torrent_swarms AS
SELECT
    torrents.info_hash,
    torrents.name,
    torrents.size,
    torrents.files,
    torrents.is_private,
    torrents.fetched_at,
    handshakes.taken_at,                    -- [time] When its peers were contacted.
    handshakes.peers_tried,                 -- [integer] Peers that were contacted.
    handshakes.peers_answered,
    handshakes.seeds,                       -- [integer] Peers that said they have all.
    handshakes.leechers,                    -- [integer] Peers that said they do not.
    handshakes.unknown,                     -- [integer] Peers that did not say.
    handshakes.partial_seeds,               -- [integer] Leechers that have a part and want no more (BEP 21).
    handshakes.superseeds,                  -- [integer] Leechers that may be seeds that hide it (BEP 16).
    handshakes.seeds_high,                  -- [integer] Upper end of the seeds: all superseeds being seeds.
    handshakes.median_share,
    handshakes.seed_share,
    handshakes.seed_share_low,
    handshakes.seed_share_high
FROM torrents
LEFT JOIN swarm_handshakes AS handshakes ON handshakes.id = (
    SELECT handshakes_id FROM newest_of_swarms AS newest WHERE newest.info_hash = torrents.info_hash
);

-- One row for each measurement of a swarm, beside the one before it.
--
-- A change is clear when the two intervals do not meet: most others are noise.
-- Where the clock went back, rows are in the order of their numbers, and a time that would be below 0 is unknown.
CREATE VIEW swarm_history AS
WITH series AS (
    SELECT
        id, info_hash, taken_at, peers, peers_low, peers_high, seeds, leechers, method, saturated,
        nullif(max(julianday(taken_at) - julianday(lag(taken_at) OVER earlier), 0), 0) AS days,
        lag(peers) OVER earlier AS peers_before,
        lag(peers_low) OVER earlier AS low_before,
        lag(peers_high) OVER earlier AS high_before,
        peers_high IS NOT NULL AND lag(peers_high IS NOT NULL) OVER earlier AS is_size
    FROM dht_samples
    WHERE peers IS NOT NULL
    WINDOW earlier AS (PARTITION BY info_hash ORDER BY iif((SELECT went_back FROM run_clock), id, 0), taken_at, id)
)
SELECT
    info_hash,
    taken_at,
    round(peers, 1) AS peers,
    peers_low,
    peers_high,
    round(seeds, 1) AS seeds,
    round(leechers, 1) AS leechers,
    method,                                 -- [text] How the number came about.
    saturated,
    round(24 * days, 3) AS hours,           -- [number h] Time since the measurement before.
    round(iif(is_size, peers - peers_before, NULL), 1)
        AS change,                          -- [number peers] Difference to the measurement before; NULL if one of them is a lower bound.
    round(iif(is_size, peers - peers_before, NULL) / nullif(peers_before, 0), 4)
        AS relative_change,                 -- [number] The difference as a share of the size before.
    round(iif(is_size, peers - peers_before, NULL) / (24 * days), 3)
        AS change_per_hour,                 -- [number peers/h] The difference by the hour.
    iif(peers_before IS NULL, NULL, coalesce(peers_low > high_before, 0) OR coalesce(peers_high < low_before, 0))
        AS is_clear,                        -- [flag] Whether the two intervals do not meet; most other changes are noise.
    id AS sample_id
FROM series;

-- One row for each measurement whose filters can be compared with those of the one before it that kept any.
--
-- Where the clock went back, rows are in the order of their numbers, and a time that would be below 0 is unknown.
CREATE VIEW swarm_pairs AS
WITH series AS (
    SELECT
        id, info_hash, taken_at,
        lag(id) OVER earlier AS sample_before,
        lag(taken_at) OVER earlier AS taken_before
    FROM dht_samples
    WHERE nodes_with_filters > 0 AND EXISTS (
        SELECT 1 FROM reply_rows
        WHERE sample_id = dht_samples.id AND (seeds_filter IS NOT NULL OR peers_filter IS NOT NULL)
    )
    WINDOW earlier AS (PARTITION BY info_hash ORDER BY iif((SELECT went_back FROM run_clock), id, 0), taken_at, id)
)
SELECT
    info_hash,
    taken_before,                           -- [time] When the earlier of the two was made.
    taken_at,
    round(24 * nullif(max(julianday(taken_at) - julianday(taken_before), 0), 0), 3)
        AS hours,                           -- [number h] Time between the two.
    (
        SELECT count(*) FROM reply_rows AS now JOIN reply_rows AS before USING (node_id, host, port)
        WHERE now.sample_id = series.id AND before.sample_id = sample_before
            AND now.marks IS NULL AND before.marks IS NULL
            AND coalesce(now.seeds_filter, now.peers_filter) IS NOT NULL
            AND coalesce(before.seeds_filter, before.peers_filter) IS NOT NULL
    ) AS nodes,                             -- [integer] Nodes that sent filters both times, and are believed.
    sample_before,                          -- [integer] The number of the earlier one (swarm_samples.id).
    id AS sample_id
FROM series
WHERE sample_before IS NOT NULL;

-- One row for each swarm and day (UTC) on which it was measured.
--
-- The change is that since the last sample before the day, or within the day when there is none.  Its interval
-- reaches from the lowest last to the highest first size and the other way round: wider than 95 %.
-- Where the clock went back, rows are in the order of their numbers, and a change over a time below 0 is unknown.
-- Rows are read by an index, each from the first sample of its day: a time is a day, a T, and the time of day.
CREATE VIEW swarm_growth AS
SELECT
    first.info_hash,
    substr(first.taken_at, 1, 10) AS day,   -- [text] The day, YYYY-MM-DD.
    (SELECT count(*) FROM dht_samples AS day
     WHERE day.info_hash = first.info_hash AND day.peers IS NOT NULL
        AND day.taken_at >= substr(first.taken_at, 1, 10) AND day.taken_at < substr(first.taken_at, 1, 10) || 'U'
    ) AS samples,                           -- [integer] Measurements of the day.
    round(first.peers, 1) AS first,         -- [number peers] The first of them.
    round(last.peers, 1) AS last,           -- [number peers] The last of them.
    round((
        SELECT avg(day.peers) FROM dht_samples AS day
        WHERE day.info_hash = first.info_hash AND day.peers IS NOT NULL
        AND day.taken_at >= substr(first.taken_at, 1, 10) AND day.taken_at < substr(first.taken_at, 1, 10) || 'U'
    ), 1) AS mean,                          -- [number peers] Their mean.
    round(iif(
            last.peers_high IS NULL OR iif(before.id, before.peers_high, first.peers_high) IS NULL,
            NULL, last.peers - coalesce(before.peers, first.peers))
        / nullif(max(julianday(last.taken_at) - julianday(coalesce(before.taken_at, first.taken_at)), 0), 0), 2)
        AS change_per_day,                  -- [number peers/d] Change since the last measurement before the day, by the day.
    round((last.peers_low - iif(before.id, before.peers_high, first.peers_high))
        / nullif(max(julianday(last.taken_at) - julianday(coalesce(before.taken_at, first.taken_at)), 0), 0), 2)
        AS change_per_day_low,              -- [number peers/d] Lower end of its interval, which is wider than 95 % would be.
    round((last.peers_high - coalesce(before.peers_low, first.peers_low))
        / nullif(max(julianday(last.taken_at) - julianday(coalesce(before.taken_at, first.taken_at)), 0), 0), 2)
        AS change_per_day_high              -- [number peers/d] Upper end of its interval, which is wider than 95 % would be.
FROM dht_samples AS first
JOIN swarm_samples AS last ON last.id = (
    SELECT day.id FROM dht_samples AS day
    WHERE day.info_hash = first.info_hash AND day.peers IS NOT NULL
        AND day.taken_at >= substr(first.taken_at, 1, 10) AND day.taken_at < substr(first.taken_at, 1, 10) || 'U'
    ORDER BY iif((SELECT went_back FROM run_clock), day.id, 0) DESC, day.taken_at DESC, day.id DESC LIMIT 1
)
LEFT JOIN swarm_samples AS before ON before.id = iif(
    (SELECT went_back FROM run_clock),
    (SELECT max(id) FROM dht_samples AS earlier
     WHERE earlier.info_hash = first.info_hash AND earlier.peers IS NOT NULL AND earlier.id < first.id),
    (SELECT earlier.id FROM dht_samples AS earlier
     WHERE earlier.info_hash = first.info_hash AND earlier.peers IS NOT NULL
        AND earlier.taken_at < substr(first.taken_at, 1, 10)
     ORDER BY earlier.taken_at DESC, earlier.id DESC LIMIT 1)
)
WHERE first.peers IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM dht_samples AS day
    WHERE day.info_hash = first.info_hash AND day.peers IS NOT NULL
        AND day.taken_at >= substr(first.taken_at, 1, 10) AND day.taken_at < substr(first.taken_at, 1, 10) || 'U'
        AND iif((SELECT went_back FROM run_clock), day.id < first.id, (day.taken_at, day.id) < (first.taken_at, first.id))
)
ORDER BY first.info_hash, iif((SELECT went_back FROM run_clock), first.id, 0), first.taken_at;

-- One row for each swarm that is clearly smaller now than at its peak.
--
-- The half-life is the time from the peak to the first sample at or below half of it, on the line between that
-- sample and the one before.  It lies between the last sample before the first that may be below, by the ends
-- of both intervals, and the first that must be.  Of two peaks that are the same, the first counts.
CREATE VIEW swarm_half_life AS
WITH peaks AS (
    SELECT
        swarms.info_hash, sample.taken_at AS peak_at, sample.peers AS peak,
        sample.peers_low AS peak_low, sample.peers_high AS peak_high
    FROM swarms CROSS JOIN swarm_samples AS sample ON sample.id = (
        SELECT id FROM dht_samples
        WHERE info_hash = swarms.info_hash AND peers >= 0.5
        ORDER BY peers DESC, taken_at, id LIMIT 1
    )
),
crossings AS (
    SELECT
        peaks.*,
        iif((SELECT went_back FROM run_clock),
            (SELECT max(id) FROM dht_samples AS sample
             WHERE sample.info_hash = peaks.info_hash AND peers IS NOT NULL),
            (SELECT id FROM dht_samples AS sample
             WHERE sample.info_hash = peaks.info_hash AND peers IS NOT NULL
             ORDER BY taken_at DESC, id DESC LIMIT 1)) AS latest_id,
        (SELECT min(taken_at) FROM dht_samples AS sample
         WHERE sample.info_hash = peaks.info_hash AND taken_at > peak_at AND peers <= peak / 2) AS half_at,
        (SELECT min(taken_at) FROM dht_samples AS sample
         WHERE sample.info_hash = peaks.info_hash AND taken_at > peak_at AND peers_low <= peak_high / 2)
            AS earliest_at,
        (SELECT min(taken_at) FROM dht_samples AS sample
         WHERE sample.info_hash = peaks.info_hash AND taken_at > peak_at AND peers_high <= peak_low / 2)
            AS latest_at
    FROM peaks
),
bracketed AS (
    SELECT
        crossings.*,
        (SELECT max(taken_at) FROM dht_samples AS sample
         WHERE sample.info_hash = crossings.info_hash AND peers IS NOT NULL
            AND taken_at >= peak_at AND taken_at < earliest_at) AS low_at,
        (SELECT id FROM dht_samples AS sample
         WHERE sample.info_hash = crossings.info_hash AND peers IS NOT NULL
            AND taken_at >= peak_at AND taken_at < half_at
         ORDER BY taken_at DESC, id DESC LIMIT 1) AS above_id,
        (SELECT id FROM dht_samples AS sample
         WHERE sample.info_hash = crossings.info_hash AND taken_at = half_at AND peers <= peak / 2
         ORDER BY id LIMIT 1) AS below_id
    FROM crossings
)
SELECT
    bracketed.info_hash,
    round(peak, 1) AS peak,                 -- [number peers] The largest size measured.
    peak_at,                                -- [time] When that was.
    round(latest.peers, 1) AS peers,        -- [number] The size at the newest measurement.
    latest.taken_at AS measured_at,         -- [time] When that was made.
    round(iif(peak_high IS NULL, NULL, 24) * (
        julianday(above.taken_at) - julianday(peak_at)
        + (julianday(below.taken_at) - julianday(above.taken_at))
        * (above.peers - peak / 2) / (above.peers - below.peers)
    ), 2)
        AS half_life_hours,                 -- [number h] From the peak to half of it; NULL if it is larger than that still.
    round(24 * (julianday(low_at) - julianday(peak_at)), 2)
        AS half_life_hours_low,             -- [number h] The least that the intervals allow.
    round(24 * (julianday(latest_at) - julianday(peak_at)), 2)
        AS half_life_hours_high             -- [number h] The most that they allow; NULL for no end.
FROM bracketed
JOIN swarm_samples AS latest ON latest.id = latest_id
LEFT JOIN swarm_samples AS above ON above.id = above_id
LEFT JOIN swarm_samples AS below ON below.id = below_id
WHERE latest.taken_at > peak_at AND latest.peers_high < peak_low;

-- One row for each swarm whose last three measurements, or more, found no peers.
--
-- Where the clock went back, rows are in the order of their numbers, and a time below 0 is unknown.
CREATE VIEW dead_swarms AS
WITH latest AS (
    SELECT
        info_hash, name,
        iif((SELECT went_back FROM run_clock),
            (SELECT max(id) FROM dht_samples AS sample
             WHERE sample.info_hash = swarms.info_hash AND peers >= 0.5),
            (SELECT id FROM dht_samples AS sample
             WHERE sample.info_hash = swarms.info_hash AND peers >= 0.5
             ORDER BY taken_at DESC, id DESC LIMIT 1)) AS alive_id
    FROM swarms
    WHERE (SELECT peers FROM dht_samples AS newest WHERE newest.id = iif((SELECT went_back FROM run_clock),
            (SELECT max(id) FROM dht_samples AS sample
             WHERE sample.info_hash = swarms.info_hash AND peers IS NOT NULL),
            (SELECT id FROM dht_samples AS sample
             WHERE sample.info_hash = swarms.info_hash AND peers IS NOT NULL
             ORDER BY taken_at DESC, id DESC LIMIT 1))) < 0.5
),
trailing AS (
    SELECT
        latest.info_hash, name, alive.taken_at AS last_alive,
        min(sample.taken_at) AS earliest, max(sample.taken_at) AS newest,
        min(sample.id) AS first_id, max(sample.id) AS last_id, count(*) AS empty_samples
    FROM latest
    LEFT JOIN swarm_samples AS alive ON alive.id = alive_id
    CROSS JOIN dht_samples AS sample ON sample.info_hash = latest.info_hash
    WHERE sample.peers IS NOT NULL AND iif((SELECT went_back FROM run_clock),
        sample.id > coalesce(alive_id, 0), sample.taken_at > coalesce(alive.taken_at, ''))
    GROUP BY latest.info_hash
),
ordered AS (
    SELECT
        trailing.*,
        iif((SELECT went_back FROM run_clock), (SELECT taken_at FROM swarm_samples WHERE id = first_id), earliest) AS empty_since,
        iif((SELECT went_back FROM run_clock), (SELECT taken_at FROM swarm_samples WHERE id = last_id), newest) AS measured_at
    FROM trailing
)
SELECT
    info_hash,
    name,
    last_alive,                             -- [time] When a peer was last there; NULL for never.
    empty_since,                            -- [time] The first of the measurements without a peer.
    measured_at,                            -- [time] The last of them.
    empty_samples,                          -- [integer] How many there are.
    iif(measured_at >= empty_since, round(julianday(measured_at) - julianday(empty_since), 2), NULL)
        AS empty_days                       -- [number d] The time between the first and the last of them.
FROM ordered
WHERE empty_samples >= 3;

-- The newest combined sample of each swarm; counts are rounded.
CREATE VIEW latest_combined AS
SELECT
    swarms.info_hash,
    swarms.name,
    combined.window_start,
    combined.window_end,
    CAST(round(combined.seeds) AS INTEGER) AS seeds,
    CAST(round(combined.leechers) AS INTEGER) AS leechers,
    CAST(round(combined.peers) AS INTEGER) AS peers,
    CAST(round(combined.peers_low) AS INTEGER) AS peers_low,
    CAST(round(combined.peers_high) AS INTEGER) AS peers_high,
    CAST(round(combined.seeds_low) AS INTEGER) AS seeds_low,
    CAST(round(combined.seeds_high) AS INTEGER) AS seeds_high,
    CAST(round(combined.leechers_low) AS INTEGER) AS leechers_low,
    CAST(round(combined.leechers_high) AS INTEGER) AS leechers_high,
    combined.saturated,
    combined.method,                        -- [text] How the number came about.
    combined.vantages,
    combined.samples,                       -- [integer] Their measurements.
    combined.nodes_answered,
    combined.nodes_with_filters,
    combined.distinct_peers
FROM swarms
JOIN combined_samples AS combined ON combined.info_hash = swarms.info_hash AND combined.window_start = (
    SELECT max(window_start) FROM combined_samples WHERE info_hash = swarms.info_hash
);

-- One row for each swarm that a tracker gave a number other than 0 for, in each sweep: a time series.
--
-- What it does not know and what is empty cannot be told apart over UDP: both are counted in the sweep.
CREATE VIEW tracker_samples AS
SELECT
    sweep_id,
    lower(hex(info_hash)) AS info_hash,     -- [text] The info-hash of the swarm, 40 hex digits.
    strftime('%Y-%m-%dT%H:%M:%fZ', taken_at / 1000.0, 'unixepoch')
        AS taken_at,                        -- [time] When it was measured.
    seeds,                                  -- [integer] Peers that have all, as the tracker says.
    leechers,                               -- [integer] Peers that do not, as the tracker says.
    downloaded,                             -- [integer] Downloads that were completed, as the tracker says; NULL where it does not.
    downloaders                             -- [integer] Leechers that want all (BEP 21), as the tracker says; NULL where it does not.
FROM tracker_sample_rows;

-- One row for each swarm that was measured: what the DHT and what trackers say, the newest of both side by side.
--
-- Each has a part of the peers.  Where they were asked within 10 minutes, there are `at_least` as many as the one
-- has that has more, and `at_most` as many as both have.  Addresses that trackers named tell how many there are,
-- each once: then `n` stands between `n_low` and `n_high`.
CREATE VIEW swarm_sources AS
SELECT
    newest.info_hash,
    newest.name,
    dht.taken_at AS dht_at,                 -- [time] When nodes of the DHT were asked.
    CAST(round(dht.peers) AS INTEGER)
        AS dht_peers,                       -- [integer peers] Peers in the DHT.
    CAST(round(dht.peers_low) AS INTEGER)
        AS dht_low,                         -- [integer peers] Lower end of the 95 % interval of dht_peers.
    CAST(round(dht.peers_high) AS INTEGER)
        AS dht_high,                        -- [integer peers] Upper end of the 95 % interval of dht_peers; NULL for no end.
    trackers.taken_at AS trackers_at,       -- [time] When trackers were asked.
    trackers.nodes_answered AS trackers,    -- [integer] Trackers that answered, each address once.
    CAST(trackers.peers_low AS INTEGER)
        AS trackers_low,                    -- [integer peers] Peers of the longest list of a tracker that is believed.
    CAST(trackers.peers_high AS INTEGER)
        AS trackers_high,                   -- [integer peers] Peers of all such lists together.
    round(1440 * abs(julianday(trackers.taken_at) - julianday(dht.taken_at)), 1)
        AS minutes,                         -- [number] Minutes between both.
    iif(abs(julianday(trackers.taken_at) - julianday(dht.taken_at)) <= 10.0 / 1440,
        round(trackers.peers_low / nullif(dht.peers, 0), 3), NULL)
        AS ratio,                           -- [number] Peers of the longest list by those of the DHT; NULL where they are 10 minutes apart.
    CASE
        WHEN abs(julianday(trackers.taken_at) - julianday(dht.taken_at)) > 10.0 / 1440 THEN NULL
        WHEN trackers.peers_low > dht.peers_high THEN 'tracker'
        WHEN dht.peers_low > trackers.peers_high THEN 'dht'
        WHEN trackers.id IS NOT NULL AND dht.peers IS NOT NULL THEN 'neither'
    END
        AS larger,                          -- [text] Who has clearly more, beyond both intervals: tracker, dht or neither.
    iif(abs(julianday(trackers.taken_at) - julianday(dht.taken_at)) <= 10.0 / 1440,
        CAST(round(max(dht.peers_low, trackers.peers_low)) AS INTEGER), NULL)
        AS at_least,                        -- [integer peers] The fewest peers that there can be.
    iif(abs(julianday(trackers.taken_at) - julianday(dht.taken_at)) <= 10.0 / 1440,
        CAST(round(dht.peers_high + trackers.peers_high) AS INTEGER), NULL)
        AS at_most,                         -- [integer peers] The most peers that there can be; NULL for no end.
    round(overlaps.overlap, 3) AS overlap,
    round(overlaps.overlap_low, 3) AS overlap_low,
    round(overlaps.overlap_high, 3) AS overlap_high,
    CAST(round(overlaps.n_estimate) AS INTEGER)
        AS n,                               -- [integer peers] Peers in either, each once, where the overlap is known.
    CAST(round(overlaps.n_low) AS INTEGER)
        AS n_low,                           -- [integer peers] Lower end of the 95 % interval of n.
    CAST(round(overlaps.n_high) AS INTEGER)
        AS n_high                           -- [integer peers] Upper end of the 95 % interval of n; NULL for no end.
FROM newest_of_swarms AS newest
LEFT JOIN swarm_samples AS dht ON dht.id = dht_id
LEFT JOIN swarm_samples AS trackers ON trackers.id = tracker_id
LEFT JOIN source_overlaps AS overlaps ON overlaps.id = (
    SELECT max(id) FROM source_overlaps WHERE sample_id = dht_id AND url IS NULL
)
WHERE dht_id IS NOT NULL OR tracker_id IS NOT NULL;

-- One row for each tracker: how it answered, how much it knows, and whether it is to be believed.
--
-- Shares are of the swarms that it was asked for in the sweeps that it answered.  Over UDP what it does not know
-- is listed as empty.
CREATE VIEW tracker_quality AS
SELECT
    trackers.url,
    count(sweeps.id) AS sweeps,             -- [integer] Sweeps that had it to ask, each address once.
    coalesce(sum(sweeps.outcome IN ('answered', 'partial')), 0)
        AS answered,                        -- [integer] Those of them in which it answered.
    coalesce(sum(sweeps.asked), 0) AS asked, -- [integer] Swarms that it was asked for.
    round(1.0 * sum(sweeps.listed) / nullif(sum(sweeps.asked) FILTER (WHERE answers > 0), 0), 4)
        AS listed_share,                    -- [number] The share of them that it listed, from 0 to 1.
    round(1.0 * sum(sweeps.nonzero) / nullif(sum(sweeps.asked) FILTER (WHERE answers > 0), 0), 4)
        AS nonzero_share,                   -- [number] The share of them for which it gave a number other than 0.
    round(1.0 * sum(sweeps.answers) / nullif(sum(sweeps.requests), 0), 4)
        AS answer_share,                    -- [number] The share of requests that it answered.
    round(sum(sweeps.rtt_ms * sweeps.answers) / nullif(sum(sweeps.answers) FILTER (WHERE sweeps.rtt_ms IS NOT NULL), 0), 1)
        AS rtt_ms,                          -- [number ms] Mean time from a request to its answer.
    coalesce(sum(sweeps.canary_hits), 0)
        AS canary_hits,                     -- [integer] Made-up info-hashes for which it named peers.
    (SELECT round(avg(overlap), 4) FROM source_overlaps WHERE source_overlaps.url = trackers.url)
        AS overlap,                         -- [number] The share of its peers that the DHT has, mean over swarms.
    trackers.batch,
    trackers.last_answer,
    trackers.not_before,
    coalesce(trackers.marks, '') AS marks
FROM trackers LEFT JOIN tracker_sweeps AS sweeps ON sweeps.url = trackers.url
GROUP BY trackers.url;

-- One row for each torrent of both versions (BEP 52) whose swarms were measured: both swarms as one.
--
-- A client may be in one of them or in both, and nothing tells which: of a number there are as many as the larger
-- swarm has at least, and as many as both have at most.
CREATE VIEW hybrid_swarms AS
WITH newest AS (
    SELECT
        hybrid.*,
        (SELECT dht_id FROM newest_of_swarms AS one WHERE one.info_hash = hybrid.info_hash) AS one_id,
        (SELECT dht_id FROM newest_of_swarms AS two WHERE two.info_hash = hybrid.twin) AS two_id
    FROM hybrid_torrents AS hybrid
)
SELECT
    hybrid.info_hash,
    hybrid.twin,
    (SELECT max(name) FROM swarms WHERE swarms.info_hash IN (hybrid.info_hash, hybrid.twin)) AS name,
    iif(hybrid.is_consistent = 0, 'inconsistent-hybrid', '')
        AS marks,                           -- [text] inconsistent-hybrid: its versions name different files.
    max(coalesce(one.taken_at, ''), coalesce(two.taken_at, ''))
        AS taken_at,                        -- [time] When one of them was measured last.
    CAST(round(one.peers) AS INTEGER)
        AS peers_v1,                  -- [integer peers] Peers in the swarm of version 1.
    CAST(round(two.peers) AS INTEGER)
        AS peers_v2,                  -- [integer peers] Peers in the swarm of version 2.
    CAST(round(max(coalesce(one.peers, two.peers), coalesce(two.peers, one.peers))) AS INTEGER)
        AS peers,                           -- [integer peers] Peers of the larger of both.
    CAST(round(max(coalesce(one.peers_low, two.peers_low), coalesce(two.peers_low, one.peers_low))) AS INTEGER)
        AS peers_low,                       -- [integer peers] The fewest peers that it can have.
    CAST(round(iif(one_id IS NULL, 0, one.peers_high) + iif(two_id IS NULL, 0, two.peers_high)) AS INTEGER)
        AS peers_high,                      -- [integer peers] The most peers that it can have; NULL for no end.
    CAST(round(max(coalesce(one.seeds_low, two.seeds_low), coalesce(two.seeds_low, one.seeds_low))) AS INTEGER)
        AS seeds_low,                       -- [integer peers] The fewest seeds that it can have.
    CAST(round(iif(one_id IS NULL, 0, one.seeds_high) + iif(two_id IS NULL, 0, two.seeds_high)) AS INTEGER)
        AS seeds_high,                      -- [integer peers] The most seeds that it can have; NULL for no end.
    CAST(round(max(coalesce(one.leechers_low, two.leechers_low), coalesce(two.leechers_low, one.leechers_low))) AS INTEGER)
        AS leechers_low,                    -- [integer peers] The fewest leechers that it can have.
    CAST(round(iif(one_id IS NULL, 0, one.leechers_high) + iif(two_id IS NULL, 0, two.leechers_high)) AS INTEGER)
        AS leechers_high,                   -- [integer peers] The most leechers that it can have; NULL for no end.
    iif(coalesce(one.peers, -1) >= coalesce(two.peers, -1), hybrid.info_hash, hybrid.twin)
        AS larger                           -- [text] The info-hash under which it has more peers.
FROM newest AS hybrid
LEFT JOIN swarm_samples AS one ON one.id = one_id
LEFT JOIN swarm_samples AS two ON two.id = two_id
WHERE one_id IS NOT NULL OR two_id IS NOT NULL;

-- One row for each swarm: what the DHT, handshakes, trackers and web seeds say of its seeds, the newest of each.
--
-- The DHT counts peers that call themselves seeds (BEP 33), which not every client does. Handshakes meet seeds that
-- can be connected to: so many there are at least; their share of all peers in the DHT is the most. Where two of
-- them were asked within a day, and their intervals do not meet, they disagree.
CREATE VIEW swarm_seeds AS
WITH told AS (
    SELECT
        newest.info_hash, newest.name,
        dht.taken_at AS dht_at, CAST(round(dht.peers) AS INTEGER) AS dht_peers,
        CAST(round(dht.seeds) AS INTEGER) AS dht_seeds, CAST(round(dht.seeds_low) AS INTEGER) AS dht_seeds_low,
        CAST(round(dht.seeds_high) AS INTEGER) AS dht_seeds_high,
        met.taken_at AS met_at, met.peers_answered AS peers_met, met.seeds AS seeds_met,
        met.superseeds AS hidden_met, met.partial_seeds AS partial_met,
        max(CAST(round(met.seed_share_high * dht.peers_high) AS INTEGER), met.seeds + met.superseeds) AS met_high,
        trackers.taken_at AS trackers_at, CAST(trackers.peers_low AS INTEGER) AS tracker_peers,
        CAST(trackers.seeds_low AS INTEGER) AS tracker_seeds_low,
        CAST(trackers.seeds_high AS INTEGER) AS tracker_seeds_high
    FROM newest_of_swarms AS newest
    LEFT JOIN swarm_samples AS dht ON dht.id = dht_id
    LEFT JOIN swarm_handshakes AS met ON met.id = handshakes_id
    LEFT JOIN swarm_samples AS trackers ON trackers.id = tracker_id
)
SELECT
    told.info_hash,
    told.name,
    dht_at,                                 -- [time] When nodes of the DHT were asked.
    dht_peers,                              -- [integer peers] Peers in the DHT.
    dht_seeds,                              -- [integer peers] Those of them that call themselves seeds.
    dht_seeds_low,                          -- [integer peers] Lower end of the 95 % interval of dht_seeds.
    dht_seeds_high,                         -- [integer peers] Upper end of the 95 % interval of dht_seeds; NULL for no end.
    met_at,                                 -- [time] When peers were contacted.
    peers_met,                              -- [integer peers] Peers that answered.
    seeds_met,                              -- [integer peers] Those of them that have all: so many seeds there are at least.
    hidden_met,                             -- [integer peers] Those that may be seeds that hide it (BEP 16).
    partial_met,                            -- [integer peers] Those that have a part and want no more (BEP 21).
    met_high,                               -- [integer peers] The most seeds by handshakes: the upper end of their share, of the upper end of the peers in the DHT.
    trackers_at,                            -- [time] When trackers were asked.
    tracker_peers,                          -- [integer peers] Peers of the longest list of a tracker that is believed.
    tracker_seeds_low,                      -- [integer peers] Seeds that the tracker with the most of them lists.
    tracker_seeds_high,                     -- [integer peers] Seeds of all trackers that are believed together.
    (SELECT max(taken_at) FROM web_seed_checks WHERE info_hash = told.info_hash)
        AS web_at,                          -- [time] When a web seed was asked.
    (SELECT count(DISTINCT url_hash) FROM web_seed_checks WHERE info_hash = told.info_hash)
        AS web_seeds_asked,                 -- [integer] Web seeds that were ever asked.
    (SELECT count(*) FROM web_seed_checks AS made
     WHERE info_hash = told.info_hash AND outcome IN ('alive', 'no-ranges', 'later') AND id = (
        SELECT max(id) FROM web_seed_checks AS other
        WHERE other.info_hash = made.info_hash AND other.url_hash = made.url_hash
     )) AS web_seeds_alive,                 -- [integer] Those of them that were alive when they were asked last.
    iif(abs(julianday(met_at) - julianday(dht_at)) <= 1,
        CASE
            WHEN seeds_met > dht_seeds_high THEN 'handshakes above dht; '
            WHEN dht_seeds_low > met_high THEN 'dht above handshakes; '
            ELSE ''
        END, '')
    || iif(abs(julianday(trackers_at) - julianday(dht_at)) <= 1,
        CASE
            WHEN tracker_seeds_low > dht_seeds_high THEN 'trackers above dht; '
            WHEN dht_seeds_low > tracker_seeds_high THEN 'dht above trackers; '
            ELSE ''
        END, '')
    || iif(abs(julianday(trackers_at) - julianday(met_at)) <= 1,
        CASE
            WHEN tracker_seeds_low > met_high THEN 'trackers above handshakes; '
            WHEN seeds_met > tracker_seeds_high THEN 'handshakes above trackers; '
            ELSE ''
        END, '') AS disagree                -- [text] Which of them say clearly more seeds than which, each with a semicolon; empty where none do.
FROM told;

-- One row for each torrent that anything is known of: whether it is alive, and by what.
--
-- alive: a seed, one that hides it, or a web seed has all of it. peers: there are peers, and nothing tells of a
-- seed. dead: the DHT was asked, and there is neither. unknown: nothing was measured that could tell. What is more
-- than a week older than the newest does not count. The two swarms of a hybrid torrent (BEP 52) are one: of a
-- number there are as many as the larger one has at least, and as many as both have at most.
CREATE VIEW torrents_alive AS
WITH one AS (
    SELECT seeds.*, hybrid.twin
    FROM swarm_seeds AS seeds LEFT JOIN hybrid_torrents AS hybrid ON hybrid.info_hash = seeds.info_hash
    WHERE NOT EXISTS (
        SELECT 1 FROM hybrid_torrents AS other
        JOIN swarms AS v1 ON v1.info_hash = other.info_hash
        WHERE other.twin = seeds.info_hash
    )
),
two AS MATERIALIZED (SELECT * FROM swarm_seeds WHERE info_hash IN (SELECT twin FROM hybrid_torrents)),
both AS (
    SELECT
        one.info_hash, one.twin, coalesce(one.name, two.name) AS name,
        max(coalesce(one.dht_at, ''), coalesce(two.dht_at, '')) AS dht_at,
        max(coalesce(one.met_at, ''), coalesce(two.met_at, '')) AS met_at,
        max(coalesce(one.trackers_at, ''), coalesce(two.trackers_at, '')) AS trackers_at,
        max(coalesce(one.web_at, ''), coalesce(two.web_at, '')) AS web_at,
        max(coalesce(one.dht_peers, 0), coalesce(two.dht_peers, 0)) AS dht_peers,
        max(coalesce(one.dht_seeds, 0), coalesce(two.dht_seeds, 0)) AS dht_seeds,
        max(coalesce(one.dht_seeds_low, 0), coalesce(two.dht_seeds_low, 0)) AS dht_seeds_low,
        iif(one.dht_at IS NULL, 0, one.dht_seeds_high) + iif(two.dht_at IS NULL, 0, two.dht_seeds_high)
            AS dht_seeds_high,
        max(coalesce(one.seeds_met, 0), coalesce(two.seeds_met, 0)) AS seeds_met,
        max(coalesce(one.hidden_met, 0), coalesce(two.hidden_met, 0)) AS hidden_met,
        max(coalesce(one.peers_met, 0), coalesce(two.peers_met, 0)) AS peers_met,
        max(coalesce(one.tracker_peers, 0), coalesce(two.tracker_peers, 0)) AS tracker_peers,
        max(coalesce(one.tracker_seeds_low, 0), coalesce(two.tracker_seeds_low, 0)) AS tracker_seeds_low,
        coalesce(one.tracker_seeds_high, 0) + coalesce(two.tracker_seeds_high, 0) AS tracker_seeds_high,
        one.web_seeds_asked + coalesce(two.web_seeds_asked, 0) AS web_seeds_asked,
        one.web_seeds_alive + coalesce(two.web_seeds_alive, 0) AS web_seeds_alive,
        one.disagree || coalesce(two.disagree, '') AS disagree
    FROM one LEFT JOIN two ON two.info_hash = one.twin
),
fresh AS (
    SELECT
        both.*,
        strftime('%Y-%m-%dT%H:%M:%fZ', max(dht_at, met_at, trackers_at, web_at), '-7 days') AS since
    FROM both
),
evidence AS (
    SELECT
        fresh.*,
        dht_at >= since AND dht_peers >= 1 AS has_dht, dht_at >= since AND dht_seeds >= 1 AS has_dht_seeds,
        met_at >= since AND peers_met >= 1 AS has_met, met_at >= since AND seeds_met >= 1 AS has_seeds_met,
        met_at >= since AND hidden_met >= 1 AS has_hidden,
        trackers_at >= since AND tracker_peers >= 1 AS has_trackers,
        trackers_at >= since AND tracker_seeds_low >= 1 AS has_tracker_seeds,
        web_at >= since AND web_seeds_alive >= 1 AS has_web
    FROM fresh
)
SELECT
    info_hash,
    twin,
    name,
    CASE
        WHEN has_dht_seeds OR has_seeds_met OR has_hidden OR has_tracker_seeds OR has_web THEN 'alive'
        WHEN has_dht OR has_met OR has_trackers THEN 'peers'
        WHEN dht_at >= since THEN 'dead'
        ELSE 'unknown'
    END AS state,                           -- [text] alive, peers, dead or unknown.
    iif(has_dht_seeds,
        'DHT: ' || dht_seeds || ' seeds' || coalesce(
            ' (' || dht_seeds_low || ' to ' || dht_seeds_high || '); ', ' (at least ' || dht_seeds_low || '); '),
        iif(has_dht, 'DHT: ' || dht_peers || ' peers, none a seed; ', iif(dht_at >= since, 'DHT: no peer; ', '')))
    || iif(has_seeds_met, 'met: ' || seeds_met || ' seeds; ',
        iif(has_met AND NOT has_hidden, 'met: ' || peers_met || ' peers, none a seed; ', ''))
    || iif(has_hidden, 'met: ' || hidden_met || ' that may hide that they seed; ', '')
    || iif(has_tracker_seeds,
        'trackers: ' || tracker_seeds_low || ' to ' || tracker_seeds_high || ' seeds; ',
        iif(has_trackers, 'trackers: ' || tracker_peers || ' peers, none a seed; ', ''))
    || iif(web_at >= since,
        'web seeds: ' || web_seeds_alive || ' of ' || web_seeds_asked || ' alive; ', '')
        AS why,                             -- [text] What each of them says, each with a semicolon.
    dht_peers,
    nullif(max(dht_at, met_at, trackers_at, web_at), '')
        AS newest,                          -- [time] When it was asked for last, in any way.
    nullif(dht_at, '') AS dht_at,
    nullif(met_at, '') AS met_at,
    nullif(trackers_at, '') AS trackers_at,
    nullif(web_at, '') AS web_at,
    disagree
FROM evidence
WHERE max(dht_at, met_at, trackers_at, web_at) > '';
