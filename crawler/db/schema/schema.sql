-- The tables of a crawl database.  They hold observations; views.sql holds questions about them.
--
-- No column holds the address of a peer: `address` and `port` always belong to a node.
--
-- A comment above a table says what its rows are.  `groups` is a condition that holds for rows about 10 nodes or
-- more; what is `not exported` is of use to the crawler alone.  A comment behind a column says what it holds,
-- after these words in brackets, as far as they apply:
--
--   time    UTC text `YYYY-MM-DDTHH:MM:SS.sssZ`, which sorts as time does;
--   flag    0 or 1;
--   json    an object as text;
--   ms, s, h, d, B, nodes, peers, peers/h, peers/d    the unit;
--   !never    not exported, whatever is asked for;
--   !host, !id, !port, !version, !client, !subject, !tracker    changed when an export is anonymized.
--
-- A `family` is 4 or 6, NULL for both together.  Ids and info-hashes are lower-case hex.
--
-- Tables of millions of rows, named `..._rows`, hold few bytes a row; views.sql has a view of each for readers, with
-- the same values as text.  In them an id is its 20 bytes, a time is in milliseconds since the epoch, a round trip in
-- microseconds, and an outcome the number that `outcome_codes` has for it.  A `host` is a number for an IPv4 address, and
-- text for all else: an IPv6 address, or in an anonymized database a /24 or /48.  There an id is a pseudonym, and a
-- port is 0.

-- One row for each invocation of the crawler: who wrote the other rows, when, with which settings.
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,                 -- Number of the run.
    command TEXT NOT NULL,                  -- The command that ran.
    started_at TEXT NOT NULL,               -- [time] When the run began.
    finished_at TEXT,                       -- [time] When it ended; NULL while it runs, or when its end was not seen.
    status TEXT NOT NULL,                   -- running, finished or interrupted.
    version TEXT NOT NULL,                  -- The version of this software.
    settings TEXT NOT NULL,                 -- [json] The settings it ran with.
    pid INTEGER NOT NULL                    -- The number of the process that began it.
);

-- One row for each run that is under way: the process that owns it.
-- not exported
CREATE TABLE run_leases (
    run_id INTEGER PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE, -- The run that wrote the row (runs.id).
    pid INTEGER NOT NULL,                   -- The number of its process, as it sees it.
    machine TEXT NOT NULL,                  -- [!never] The name of the machine or container.
    boot TEXT NOT NULL,                     -- [!never] What tells this start of the machine from all others; empty where unknown.
    process_start INTEGER NOT NULL,         -- When the process began, in ticks since then.
    renewed_at TEXT NOT NULL                -- [time] When it last showed that it is there.
);

-- One row for each database whose runs are here.
--
-- A database is a vantage: one machine, or one place in the network, that crawled into it.  Its identity stays
-- with its runs wherever they are merged.
CREATE TABLE vantages (
    identity TEXT PRIMARY KEY NOT NULL,     -- Its identity, drawn at random when it was made.
    is_here INTEGER NOT NULL                -- [flag] Whether it is this one.
);
INSERT INTO vantages (identity, is_here) VALUES (lower(hex(randomblob(16))), 1);

-- One row for each run that came from another database.
--
-- A run without a row here was made in this database.
CREATE TABLE merged_runs (
    run_id INTEGER PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE, -- The run that wrote the row (runs.id).
    vantage TEXT NOT NULL REFERENCES vantages (identity), -- Where it was made (vantages.identity).
    number INTEGER NOT NULL                 -- The number that it had there.
);

-- One row for each way that a query can end.
CREATE TABLE outcome_codes (
    code INTEGER PRIMARY KEY,               -- What stands for it in tables of many rows.
    outcome TEXT NOT NULL,                  -- Its name.
    is_lie INTEGER NOT NULL                 -- [flag] Whether it makes the node suspect by itself.
);
INSERT INTO outcome_codes (code, outcome, is_lie) VALUES
    (0, 'answered', 0), (1, 'timeout', 0), (2, 'error', 0), (3, 'wrong-id', 1), (4, 'foreign-source', 1),
    (5, 'malformed', 1), (6, 'not-sent', 0), (7, 'unsupported', 0), (8, 'not-due', 0);

-- What `nodes` shows, in few bytes.
-- not exported
CREATE TABLE node_rows (
    node_id BLOB NOT NULL,                  -- [!id] The id of the node.
    host BLOB NOT NULL,                     -- [!host] The host of the node, a number for IPv4.
    port INTEGER NOT NULL,                  -- [!port] The UDP port of the node.
    first_seen INTEGER NOT NULL,            -- [ms] When it was first queried.
    last_seen INTEGER NOT NULL,             -- [ms] When it was last queried.
    last_answer INTEGER,                    -- [ms] When it last answered.
    version BLOB,                           -- [!version] What the node sends as `v`: its client and version.
    PRIMARY KEY (node_id, host, port)
) WITHOUT ROWID;
-- With the time, though its being there is all that counts, or every node would be looked up.
CREATE INDEX idx_node_rows_version ON node_rows (version, last_answer) WHERE last_answer IS NOT NULL;

-- What `visits` shows, in few bytes.
-- not exported
--
-- The rows of a run lie together, which takes the place of an index.  No key to `node_rows`: checking it would cost a
-- look-up in the largest index for every visit.
CREATE TABLE visit_rows (
    id INTEGER PRIMARY KEY,                 -- The number of the run times 2^32, plus that of the visit in its run.
    node_id BLOB NOT NULL,                  -- [!id] The id of the node.
    host BLOB NOT NULL,                     -- [!host] The host of the node, a number for IPv4.
    port INTEGER NOT NULL,                  -- [!port] The UDP port of the node.
    taken_at INTEGER NOT NULL,              -- [ms] When it was measured.
    outcome INTEGER NOT NULL,               -- How the query ended (outcome_codes.code).
    error_code INTEGER,                     -- The code of the error that the node answered with.
    rtt_us INTEGER,                         -- Time from the query to its answer.
    version BLOB,                           -- [!version] What the node sends as `v`: its client and version.
    conforms INTEGER,                       -- [flag] Whether the id is secure for the address (BEP 42).
    contacts INTEGER NOT NULL,              -- Contacts that the node returned.
    unusable INTEGER NOT NULL,              -- Contacts it returned with addresses that may not be queried.
    new_contacts INTEGER NOT NULL,          -- Those of them that had not been heard of before.
    referrers INTEGER NOT NULL,             -- Nodes that had returned this one when it was queried.
    marks TEXT,                             -- What makes the answer suspect, words with spaces between; NULL for nothing.
    is_verification INTEGER NOT NULL,       -- [flag] Whether it had answered before.
    run_id INTEGER AS (id >> 32),           -- The run that wrote the row (runs.id).
    is_suspect INTEGER AS (marks IS NOT NULL OR outcome IN (3, 4, 5)) -- [flag] Whether it has marks, or is a lie (outcome_codes.is_lie).
);
CREATE INDEX idx_visit_rows_verified ON visit_rows (run_id, node_id, host, port) WHERE is_verification;
-- Few visits are suspect, so that this index costs nearly nothing.
CREATE INDEX idx_visit_rows_suspect ON visit_rows (run_id, node_id, host, port) WHERE is_suspect;

-- What an interrupted census is resumed from; deleted when it is finished.
-- not exported
CREATE TABLE crawl_journal (
    id INTEGER PRIMARY KEY,                 -- Number of the row.
    run_id INTEGER NOT NULL REFERENCES runs (id), -- The run that wrote the row (runs.id).
    family INTEGER NOT NULL,                -- IPv4 (4) or IPv6 (6), which are two networks; NULL for both together.
    contacts BLOB NOT NULL,                 -- [!never] Endpoints met since the last row, as the crawler keeps them.
    changes BLOB NOT NULL,                  -- [!never] What became of endpoints since the last row.
    namings BLOB NOT NULL,                  -- [!never] How far the nodes are that returned endpoints since the last row.
    second_queries INTEGER NOT NULL,        -- Queries since the last row to nodes that had just answered.
    second_answers INTEGER NOT NULL,        -- Answers to them.
    queries INTEGER NOT NULL,               -- All queries since the last row.
    dropped INTEGER NOT NULL,               -- Contacts since the last row that there was no room for.
    seconds REAL NOT NULL                   -- [s] How long the crawl went on since the last row.
);

-- One row for each census and family in it: what its sizes follow from, beside the visits.
-- not exported
--
-- Some 3 bytes a node.  The visits meant are those of the family that are no verification, in the order of their
-- numbers.  An anonymized census has none: hosts and ids are not told apart in it.
CREATE TABLE census_evidence (
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE, -- The run that wrote the row (runs.id).
    family INTEGER NOT NULL,                -- IPv4 (4) or IPv6 (6), which are two networks; NULL for both together.
    sighted INTEGER NOT NULL,               -- Endpoints returned by others, whether they were visited or not.
    held INTEGER NOT NULL,                  -- Those that were not visited, because too many like them responded.
    second_queries INTEGER NOT NULL,        -- Queries to nodes that had just answered.
    second_answers INTEGER NOT NULL,        -- Answers to them.
    known BLOB NOT NULL,                    -- [!never] A byte for each visit: 4 times the nodes that returned the endpoint by the end, up to 5, and which halves of the crawl these are of, 32 and 64.
    namings BLOB NOT NULL,                  -- [!never] Of nodes that few others far from them returned: the place of the visit, and the distances to five such, 32 bits each.
    alone BLOB NOT NULL,                    -- [!never] Of endpoints that one node alone returned and that never answered: the place of the visit, and the distance to that node, 32 bits each.
    second_part TEXT,                       -- The part of the id space, bits, of a second walk; NULL for none.
    second_nodes BLOB,                      -- [!never] The nodes that answered it, compact contacts, without those that it began at.
    second_walk_queries INTEGER             -- The queries that it took.
);
CREATE INDEX idx_census_evidence_run_id ON census_evidence (run_id);

-- One row for each run that has ended, and family in it: nodes counted, those missed not added.
-- groups: answered_once >= 10
CREATE TABLE run_counts (
    run_id INTEGER NOT NULL REFERENCES runs (id), -- The run that wrote the row (runs.id).
    family INTEGER,                         -- IPv4 (4) or IPv6 (6), which are two networks; NULL for both together.
    sighted INTEGER NOT NULL,               -- Nodes returned by others, whether they answered or not.
    answered_once INTEGER NOT NULL,         -- Nodes that answered.
    answered_twice INTEGER NOT NULL,        -- Nodes that answered twice, at least 5 minutes apart.
    distinct_ids INTEGER NOT NULL,          -- Different ids of nodes that answered.
    distinct_endpoints INTEGER NOT NULL,    -- Different addresses with ports of nodes that answered.
    distinct_ips INTEGER NOT NULL           -- Different addresses of nodes that answered; prefixes if anonymized.
);
CREATE INDEX idx_run_counts_run_id ON run_counts (run_id);

-- One row for each run that has ended, family and client in it.
-- groups: nodes >= 10
CREATE TABLE run_clients (
    run_id INTEGER REFERENCES runs (id),    -- The run that wrote the row (runs.id).
    family INTEGER,                         -- IPv4 (4) or IPv6 (6), which are two networks; NULL for both together.
    client TEXT,                            -- [!client] The first two characters of the version, or unknown (client_names.letters).
    nodes INTEGER NOT NULL,                 -- Nodes of this client that answered.
    rtt_ms REAL,                            -- [ms] Mean round-trip time, of the fastest answer of each node.
    conforming INTEGER NOT NULL,            -- Secure ids (BEP 42).
    judged INTEGER NOT NULL,                -- Ids that can be judged by their address.
    PRIMARY KEY (run_id, family, client)
);

-- One row for each run, family and method: how many nodes the network has.
CREATE TABLE size_estimates (
    run_id INTEGER NOT NULL REFERENCES runs (id), -- The run that wrote the row (runs.id).
    family INTEGER,                         -- IPv4 (4) or IPv6 (6), which are two networks; NULL for both together.
    method TEXT NOT NULL,                   -- How: counted, crawl (the headline), distances (a test that ids are uniform, no second count), chapman; second walk (which share of the nodes of a second walk the crawl counted); without inventors, as crawl without nodes that hand out nodes which do not exist; endpoints, as crawl; so far, of a census that was cut.
    unit TEXT NOT NULL,                     -- What is counted: hosts (IPv4 addresses, IPv6 /64), or endpoints.
    estimate REAL NOT NULL,                 -- [nodes] Hosts or endpoints of the whole network.
    low REAL,                               -- Lower end of the 95 % interval; NULL where the method has none to trust.
    high REAL,                              -- Upper end of the 95 % interval; may be infinite.
    zone TEXT NOT NULL,                     -- The part of the id space that was looked at, bits or "whole"; the number is for all of it.
    details TEXT NOT NULL                   -- [json] What the number was computed from.
);
CREATE INDEX idx_size_estimates_run_id ON size_estimates (run_id);

-- One row for each test that raised an alarm, or that was requested: ids beyond chance.
CREATE TABLE alarms (
    run_id INTEGER NOT NULL REFERENCES runs (id), -- The run that wrote the row (runs.id).
    family INTEGER NOT NULL,                -- IPv4 (4) or IPv6 (6), which are two networks; NULL for both together.
    test TEXT NOT NULL,                     -- Which test: ids on one host, ids in one zone, dispersion of zones, closeness, prefixes, nodes that one other returned.
    subject TEXT NOT NULL,                  -- [!subject] What the test is about: a host, the first bits of ids, or an id.
    observed REAL NOT NULL,                 -- What was found, in the unit of the test.
    expected REAL NOT NULL,                 -- What chance would give, in the same unit.
    p_value REAL NOT NULL,                  -- How often honest nodes would look like this or worse.
    verdict TEXT NOT NULL,                  -- suspect or inconspicuous.
    explanation TEXT NOT NULL               -- What that says, in words.
);
CREATE INDEX idx_alarms_run_id ON alarms (run_id);

-- One row for each run that has ended, family, kind and outcome: how queries ended.
-- groups: queries >= 10
CREATE TABLE run_outcomes (
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE, -- The run that wrote the row (runs.id).
    family INTEGER NOT NULL,                -- IPv4 (4) or IPv6 (6), which are two networks; NULL for both together.
    kind TEXT NOT NULL,                     -- visit (of a census), verification (a second visit), or sample (BEP 51).
    outcome TEXT NOT NULL,                  -- How the query ended: answered, timeout, error, wrong-id, foreign-source, malformed, ...
    error_code INTEGER,                     -- The code of the error that the node answered with.
    queries INTEGER NOT NULL,               -- How many ended so; a visit counts once, whatever number of packets it took.
    marked INTEGER NOT NULL                 -- Those of them with marks.
);
CREATE INDEX idx_run_outcomes_run_id ON run_outcomes (run_id);

-- One row for each run that has ended, family, client and step of time: answers that took so long.
-- groups: (run_id, family, client) IN (SELECT run_id, family, client FROM run_round_trips GROUP BY 1, 2, 3 HAVING sum(answers) >= 10)
CREATE TABLE run_round_trips (
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE, -- The run that wrote the row (runs.id).
    family INTEGER NOT NULL,                -- IPv4 (4) or IPv6 (6), which are two networks; NULL for both together.
    client TEXT NOT NULL,                   -- [!client] The first two characters of the version, or unknown (client_names.letters).
    from_ms REAL NOT NULL,                  -- [ms] The shortest time of the step.
    below_ms REAL NOT NULL,                 -- [ms] The time that the step ends before, 10 % more or less than that.
    answers INTEGER NOT NULL                -- Answers with such a round-trip time.
);
CREATE INDEX idx_run_round_trips_run_id ON run_round_trips (run_id);

-- One row for each run, BEP and client: what clients support, by their replies.
-- groups: replies >= 10
CREATE TABLE run_support (
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE, -- The run that wrote the row (runs.id).
    bep INTEGER NOT NULL,                   -- 33 (scrapes) or 51 (samples of info-hashes).
    client TEXT NOT NULL,                   -- [!client] The first two characters of the version, or unknown (client_names.letters).
    replies INTEGER NOT NULL,               -- Replies that could show it.
    capable INTEGER NOT NULL,               -- Those of them with filters, or with samples.
    PRIMARY KEY (run_id, bep, client)
);

-- One row for each run that has ended: what it did and what it cost.
CREATE TABLE run_costs (
    run_id INTEGER PRIMARY KEY NOT NULL REFERENCES runs (id) ON DELETE CASCADE, -- The run that wrote the row (runs.id).
    visits INTEGER NOT NULL,                -- Rows in visits.
    swarm_samples INTEGER NOT NULL,         -- Rows in swarm_samples, those of trackers left out.
    node_samples INTEGER NOT NULL,          -- Rows in node_samples.
    handshakes INTEGER NOT NULL,            -- Rows in swarm_handshakes.
    asked INTEGER NOT NULL,                 -- Nodes queried, each visit, sample and scrape; one to four queries each.
    answered INTEGER NOT NULL,              -- Those that answered.
    peers_tried INTEGER NOT NULL,           -- Peers contacted over TCP.
    bytes_sent INTEGER,                     -- [B] Bytes sent by scrapes and handshakes; NULL where there were none.
    bytes_received INTEGER                  -- [B] Bytes received by scrapes and handshakes; NULL where there were none.
);

-- One row for each info-hash ever met.
CREATE TABLE swarms (
    info_hash TEXT PRIMARY KEY,             -- The info-hash of the swarm, 40 hex digits.
    first_seen TEXT NOT NULL,               -- [time] When it was first met.
    last_seen TEXT NOT NULL,                -- [time] When it was last met.
    source TEXT,                            -- How it came to be known: the command line, a sample (BEP 51), a list.
    name TEXT                               -- The name of the torrent, where it is known; any peer may have chosen it.
);

-- One row for each measurement of a swarm: a time series, never overwritten.
CREATE TABLE swarm_samples (
    id INTEGER PRIMARY KEY,                 -- Number of the row.
    run_id INTEGER NOT NULL REFERENCES runs (id), -- The run that wrote the row (runs.id).
    info_hash TEXT NOT NULL REFERENCES swarms (info_hash), -- The info-hash of the swarm, 40 hex digits.
    taken_at TEXT NOT NULL,                 -- [time] When it was measured.
    seeds REAL,                             -- Peers that say they have all (BEP 33), estimated; NULL where no node tells of roles.
    leechers REAL,                          -- Peers that do not, estimated; NULL where no node tells of roles.
    peers REAL,                             -- Distinct addresses announced, seeds and leechers together, estimated; those of the larger family where there are two; of trackers the longest list.
    peers_low REAL,                         -- Lower end of the 95 % interval of peers; of trackers the longest list.
    peers_high REAL,                        -- Upper end of the 95 % interval of peers; where there are two families, of the sum of both; NULL where peers is a lower bound; of trackers the sum of all lists.
    method TEXT NOT NULL,                   -- How the number of peers came about: union, pair-ratio, chao2, distinct, at-least, none; tracker.
    saturated INTEGER NOT NULL,             -- [flag] Whether stores are full, or there are more peers than a filter can tell.
    nodes_asked INTEGER NOT NULL,           -- Nodes queried for the swarm; trackers, where these were asked.
    nodes_answered INTEGER NOT NULL,        -- Those of them that answered.
    nodes_with_filters INTEGER,             -- Those of them that sent filters (BEP 33).
    distinct_peers INTEGER,                 -- Different peers that nodes listed by address, counted and not kept.
    queries INTEGER,                        -- Queries about it, without those that were sent again; of a huge swarm up to 20 to each node.
    bytes_sent INTEGER,                     -- [B] Bytes sent for it, without IP and UDP headers.
    bytes_received INTEGER,                 -- [B] Bytes received for it, without IP and UDP headers.
    seeds_low REAL,                         -- Lower end of the 95 % interval of seeds.
    seeds_high REAL,                        -- Upper end of the 95 % interval of seeds; NULL for no end.
    leechers_low REAL,                      -- Lower end of the 95 % interval of leechers.
    leechers_high REAL,                     -- Upper end of the 95 % interval of leechers; NULL for no end.
    overlap REAL,                           -- Hosts that are in filters of seeds and of other peers both, estimated.
    coverage REAL,                          -- The share of the swarm that nodes listed (Good-Turing), from 0 to 1.
    silent_share REAL,                      -- The most of the peers whose client never says that it seeds, from 0 to 1, by handshakes of the database; NULL if there are none.  The intervals of seeds and leechers leave room for them.
    source TEXT NOT NULL DEFAULT 'dht'      -- Who was asked: dht, the nodes near the info-hash, or tracker; no view mixes them but swarm_sources.
);
CREATE INDEX idx_swarm_samples_run_id ON swarm_samples (run_id);
-- The ranking of swarms is read from this index alone.
CREATE INDEX idx_swarm_samples_latest ON swarm_samples (info_hash, source, taken_at, peers, run_id);

-- What `scrape_replies` shows, in few bytes.
-- not exported
CREATE TABLE reply_rows (
    sample_id INTEGER NOT NULL REFERENCES swarm_samples (id), -- The measurement (swarm_samples.id).
    node_id BLOB NOT NULL,                  -- [!id] The id of the node.
    host BLOB NOT NULL,                     -- [!host] The host of the node, a number for IPv4.
    port INTEGER NOT NULL,                  -- [!port] The UDP port of the node.
    rank INTEGER NOT NULL,                  -- Place of the node by distance to the info-hash among those queried, 0 the closest.
    outcome INTEGER NOT NULL,               -- How the query ended (outcome_codes.code).
    asked_at INTEGER,                       -- [ms] When the node was queried.
    rtt_us INTEGER,                         -- Time from the query to its answer.
    version BLOB,                           -- [!version] What the node sends as `v`: its client and version.
    values_count INTEGER,                   -- Peers that the node listed by address; the addresses are not kept.
    marks TEXT,                             -- What makes the answer suspect, words with spaces between; NULL for nothing.
    seeds_filter BLOB,                      -- [!never] The filter of seeds, 256 bytes (BEP 33).
    peers_filter BLOB,                      -- [!never] The filter of other peers, 256 bytes (BEP 33).
    named_tokens BLOB,                      -- [!never] Numbers of 3 bytes for the hosts it listed, drawn for this sample alone.
    named_filter BLOB,                      -- [!never] The bits of these hosts, 256 bytes, as a filter has them.
    unplaced_filter BLOB,                   -- [!never] The bits of those of them that no filter of seeds holds.
    is_full INTEGER NOT NULL DEFAULT 0      -- [flag] Whether its store may be full: near a cap of clients (500, 2048, 6000 peers), or one that several nodes have by what their lists repeat; then it may have left out peers.
);
CREATE INDEX idx_reply_rows_sample_id ON reply_rows (sample_id);

-- What `node_samples` shows, in few bytes.
-- not exported
CREATE TABLE node_sample_rows (
    id INTEGER PRIMARY KEY,                 -- Number of the row.
    run_id INTEGER NOT NULL REFERENCES runs (id), -- The run that wrote the row (runs.id).
    node_id BLOB NOT NULL,                  -- [!id] The id of the node.
    host BLOB NOT NULL,                     -- [!host] The host of the node, a number for IPv4.
    port INTEGER NOT NULL,                  -- [!port] The UDP port of the node.
    taken_at INTEGER NOT NULL,              -- [ms] When it was measured.
    outcome INTEGER NOT NULL,               -- How the query ended (outcome_codes.code).
    error_code INTEGER,                     -- The code of the error that the node answered with.
    rtt_us INTEGER,                         -- Time from the query to its answer.
    version BLOB,                           -- [!version] What the node sends as `v`: its client and version.
    num INTEGER,                            -- How many info-hashes the node says it stores.
    interval INTEGER,                       -- [s] The pause that it asks for.
    returned INTEGER NOT NULL,              -- Info-hashes in its sample.
    new INTEGER,                            -- Those of them not known before; NULL until they are in swarms.
    next_at INTEGER,                        -- [ms] When it may be queried again.
    contacts INTEGER NOT NULL,              -- Contacts that the node returned.
    new_contacts INTEGER NOT NULL,          -- Those of them that had not been heard of before.
    marks TEXT,                             -- What makes the answer suspect, words with spaces between; NULL for nothing.
    samples BLOB                            -- The info-hashes, 20 bytes each, one after the other.
);
CREATE INDEX idx_node_sample_rows_run_id ON node_sample_rows (run_id);

-- When each node may be queried for a sample again.
-- not exported
--
-- By endpoint, because ids change easily.
CREATE TABLE sample_turns (
    place TEXT PRIMARY KEY NOT NULL,        -- [!never] Address and port of the node, or prefix and pseudonym in an anonymized database.
    node_id TEXT NOT NULL,                  -- [!id] The id of the node, 40 hex digits.
    family INTEGER NOT NULL,                -- IPv4 (4) or IPv6 (6), which are two networks; NULL for both together.
    asked_at TEXT NOT NULL,                 -- [time] When it was last queried.
    next_at TEXT NOT NULL,                  -- [time] When it may be queried again.
    interval INTEGER,                       -- [s] The pause that it asked for.
    chances INTEGER NOT NULL DEFAULT 0      -- Timeouts left before it is not queried any more.
) WITHOUT ROWID;
CREATE INDEX idx_sample_turns_next_at ON sample_turns (next_at) WHERE chances > 0;

-- One row for each run of samples, family and method: how many info-hashes there are.
CREATE TABLE discovery_estimates (
    id INTEGER PRIMARY KEY,                 -- Number of the row.
    run_id INTEGER NOT NULL REFERENCES runs (id), -- The run that wrote the row (runs.id).
    family INTEGER NOT NULL,                -- IPv4 (4) or IPv6 (6), which are two networks; NULL for both together.
    method TEXT NOT NULL,                   -- How: coverage (a share from 0 to 1), chao1 (a lower bound), horvitz-thompson.
    estimate REAL NOT NULL,                 -- Info-hashes, or the share of them.
    low REAL NOT NULL,                      -- Lower end of the 95 % interval.
    high REAL NOT NULL,                     -- Upper end of the 95 % interval; may be infinite.
    zone TEXT NOT NULL,                     -- The part of the id space that was looked at, bits or "whole"; the number is for all of it.
    details TEXT NOT NULL                   -- [json] What the number was computed from.
);

-- One row for each measurement, subject and method: what each method says of the same replies.
CREATE TABLE swarm_estimates (
    sample_id INTEGER NOT NULL REFERENCES swarm_samples (id), -- The measurement (swarm_samples.id).
    subject TEXT NOT NULL,                  -- [!subject] What is estimated: peers, seeds or leechers.
    method TEXT NOT NULL,                   -- How the number came about.
    estimate REAL NOT NULL,                 -- What the method says.
    low REAL NOT NULL,                      -- Lower end of the 95 % interval.
    high REAL NOT NULL                      -- Upper end of the 95 % interval; may be infinite.
);
CREATE INDEX idx_swarm_estimates_sample_id ON swarm_estimates (sample_id);

-- One row for each torrent learned from peers (BEP 9); of a private one no more than that it is.
CREATE TABLE torrents (
    info_hash TEXT PRIMARY KEY REFERENCES swarms (info_hash), -- The info-hash of the swarm, 40 hex digits.
    run_id INTEGER NOT NULL REFERENCES runs (id), -- The run that wrote the row (runs.id).
    fetched_at TEXT NOT NULL,               -- [time] When it was first learned.
    is_private INTEGER NOT NULL,            -- [flag] Whether it is private (BEP 27): then its peers are not contacted.
    name TEXT,                              -- The name of the torrent, where it is known; any peer may have chosen it.
    size INTEGER,                           -- [B] All its files together.
    files INTEGER,                          -- Its files.
    pieces INTEGER                          -- Its pieces.
);

-- One row for each time that peers of a swarm were contacted over TCP: what they said of themselves.
CREATE TABLE swarm_handshakes (
    id INTEGER PRIMARY KEY,                 -- Number of the row.
    run_id INTEGER NOT NULL REFERENCES runs (id), -- The run that wrote the row (runs.id).
    info_hash TEXT NOT NULL REFERENCES swarms (info_hash), -- The info-hash of the swarm, 40 hex digits.
    taken_at TEXT NOT NULL,                 -- [time] When it was measured.
    peers_named INTEGER NOT NULL,           -- Peers whose addresses were known; these are not kept.
    peers_tried INTEGER NOT NULL,           -- Peers that were contacted.
    peers_answered INTEGER NOT NULL,        -- Those of them that spoke.
    seeds INTEGER NOT NULL,                 -- Those that said they have all.
    leechers INTEGER NOT NULL,              -- Those that said they do not.
    unknown INTEGER NOT NULL,               -- Those that did not say.
    upload_only INTEGER NOT NULL,           -- Those that want nothing more (BEP 21), seeds or not.
    partial_seeds INTEGER NOT NULL,         -- Leechers that have a part and want no more (BEP 21).
    superseeds INTEGER NOT NULL,            -- Leechers that may be seeds that hide it (BEP 16).
    superseed_score REAL,                   -- How much speaks for that, the mean of them: 1 is the least, 3 the most; NULL without any.
    seeds_high INTEGER NOT NULL,            -- Upper end of the seeds that answered: all superseeds being seeds.
    seed_share REAL,                        -- Seeds among those that said what they are, from 0 to 1.
    seed_share_low REAL,                    -- Lower end of its 95 % interval (Wilson).
    seed_share_high REAL,                   -- Upper end of its 95 % interval (Wilson), all superseeds being seeds.
    median_share REAL,                      -- The share of the pieces that half of the peers have at least.
    lt_donthave INTEGER NOT NULL,           -- Peers that can say which pieces they have no more.
    holepunch INTEGER NOT NULL,             -- Peers that help others through a NAT (BEP 55).
    pex INTEGER NOT NULL,                   -- Peers that tell of other peers (BEP 11).
    version_2 INTEGER NOT NULL,             -- Peers that know version 2 (BEP 52).
    lt_tex INTEGER NOT NULL,                -- Peers that tell of trackers (BEP 28).
    tracker_lists INTEGER NOT NULL,         -- Different lists of trackers that these have, by their hashes.
    trackers_named INTEGER NOT NULL,        -- URLs of trackers that they named, each once.
    trackers_kept INTEGER NOT NULL,         -- Those of them that are in trackers: 20 at most.
    closed INTEGER NOT NULL,                -- Peers that closed the connection without a word, as those do that want it encrypted.
    refused INTEGER NOT NULL,               -- Addresses whose host refused the connection: gone, or peers that speak uTP alone.
    other_protocol INTEGER NOT NULL,        -- Addresses whose first bytes are not those of BEP 3: other services, or what is encrypted.
    in_both_families INTEGER NOT NULL,      -- Peers that answered over IPv4 and over IPv6 under one id: one peer each, that is stored as two.
    clients TEXT NOT NULL,                  -- [json] How many of them named which client, by two letters (client_names.letters).
    bytes_sent INTEGER NOT NULL,            -- [B] Bytes sent for it, without IP and UDP headers.
    bytes_received INTEGER NOT NULL         -- [B] Bytes received for it, without IP and UDP headers.
);
CREATE INDEX idx_swarm_handshakes_info_hash_taken_at ON swarm_handshakes (info_hash, taken_at);

-- One row for each time that peers of a swarm were asked which others they are connected to (BEP 11).
--
-- Counts alone: no address that a peer names is ever written.
CREATE TABLE pex_rounds (
    id INTEGER PRIMARY KEY,                 -- Number of the row.
    run_id INTEGER NOT NULL REFERENCES runs (id), -- The run that wrote the row (runs.id).
    info_hash TEXT NOT NULL REFERENCES swarms (info_hash), -- The info-hash of the swarm, 40 hex digits.
    taken_at TEXT NOT NULL,                 -- [time] When it was measured.
    peers_asked INTEGER NOT NULL,           -- Peers that know the exchange, and were asked.
    peers_told INTEGER NOT NULL,            -- Those of them that named others in time.
    addresses_named INTEGER NOT NULL,       -- Addresses that they named, over all of them.
    distinct_addresses INTEGER NOT NULL,    -- How many of these are different.
    seed_flags INTEGER NOT NULL,            -- Those said to be seeds, by the one that named them last.
    reachable_flags INTEGER NOT NULL,       -- Those said to take connections.
    overlap REAL,                           -- Share of their hosts that nodes of the DHT told of, from 0 to 1.
    overlap_low REAL,                       -- Lower end of its 95 % interval.
    overlap_high REAL,                      -- Upper end of its 95 % interval.
    n_estimate REAL,                        -- Hosts that can be connected to, by how often each was named: a lower bound.
    n_low REAL,                             -- Lower end of its 95 % interval.
    n_high REAL                             -- Upper end of its 95 % interval.
);
CREATE INDEX idx_pex_rounds_info_hash_taken_at ON pex_rounds (info_hash, taken_at);

-- One row for each torrent of both versions (BEP 52), which has a swarm under each of its info-hashes.
CREATE TABLE hybrid_torrents (
    info_hash TEXT PRIMARY KEY NOT NULL,    -- The info-hash of version 1, 40 hex digits.
    twin TEXT NOT NULL,                     -- The info-hash of version 2, cut to 40 hex digits.
    first_seen TEXT NOT NULL,               -- [time] When it came to be known.
    source TEXT NOT NULL,                   -- Who says so: file, magnet (a link, which nothing proves), or peers.
    is_consistent INTEGER                   -- [flag] Whether both versions name the same files; NULL where that is not known.
);
CREATE INDEX idx_hybrid_torrents_twin ON hybrid_torrents (twin);

-- One row for each web seed of a torrent file or magnet link that the user gave (BEP 17, 19).
--
-- Of a URL only its host is kept, and a hash that tells it from others.
CREATE TABLE web_seeds (
    info_hash TEXT NOT NULL REFERENCES swarms (info_hash), -- The info-hash of the swarm, 40 hex digits; of a hybrid torrent that of version 1.
    url_hash TEXT NOT NULL,                 -- [!never] The start of the SHA-256 of its URL, 16 hex digits.
    host TEXT NOT NULL,                     -- [!tracker] The name in its URL, or the address; empty where it has none.
    kind TEXT NOT NULL,                     -- ranges: files by ranges of bytes (BEP 19); pieces: pieces by a script (BEP 17).
    first_seen TEXT NOT NULL,               -- [time] When it came to be known.
    next_at TEXT,                           -- [time] When a watch may ask it again; while it is asked, when that is given up.
    not_before TEXT,                        -- [time] When it may be asked again, where it asked for a pause.
    PRIMARY KEY (info_hash, url_hash)
) WITHOUT ROWID;

-- One row for each time that a web seed was asked whether it has what its torrent is of.
CREATE TABLE web_seed_checks (
    id INTEGER PRIMARY KEY,                 -- Number of the row.
    run_id INTEGER NOT NULL REFERENCES runs (id), -- The run that wrote the row (runs.id).
    info_hash TEXT NOT NULL REFERENCES swarms (info_hash), -- The info-hash of the swarm, 40 hex digits; of a hybrid torrent that of version 1.
    url_hash TEXT NOT NULL,                 -- [!never] Which of its web seeds (web_seeds.url_hash).
    host TEXT NOT NULL,                     -- [!tracker] The name in its URL, or the address; empty where it has none.
    kind TEXT NOT NULL,                     -- ranges: files by ranges of bytes (BEP 19); pieces: pieces by a script (BEP 17).
    taken_at TEXT NOT NULL,                 -- [time] When it was measured.
    outcome TEXT NOT NULL,                  -- What became of it: alive, no-ranges, later, wrong-length, hash-wrong, gone, refused, silent, ...
    status INTEGER,                         -- The status of its answer; NULL where none came.
    length_ok INTEGER,                      -- [flag] Whether the file there is as long as it should be; NULL where that was not told.
    hash_ok INTEGER,                        -- [flag] Whether a piece had the right hash; NULL where none was asked for.
    ms REAL,                                -- [ms] Time from the request to the end, waiting for the turn of its host included; NULL where it was not asked.
    bytes INTEGER NOT NULL                  -- [B] Bytes of the body that were read.
);
CREATE INDEX idx_web_seed_checks_info_hash_taken_at ON web_seed_checks (info_hash, taken_at);

-- One row for each tracker that was ever to be asked, by the URL to announce to.
--
-- Never a URL that looks as if it carried the key of a user, and none of a private torrent.
CREATE TABLE trackers (
    url TEXT PRIMARY KEY NOT NULL,          -- [!tracker] The URL of the tracker, to announce to.
    scheme TEXT NOT NULL,                   -- udp, http or https.
    host TEXT NOT NULL,                     -- [!tracker] The name in the URL, or the address.
    source TEXT NOT NULL,                   -- How it came to be known: given on the command line, list, torrent, or peer; the last are never asked unless the user says so.
    first_seen TEXT NOT NULL,               -- [time] When it came to be known.
    last_answer TEXT,                       -- [time] When it last answered.
    batch INTEGER,                          -- How many info-hashes it takes at once, where it has shown that.
    silences INTEGER NOT NULL DEFAULT 0,    -- Sweeps in a row that it left without any answer.
    not_before TEXT,                        -- [time] When it may be asked again, where it asked for a pause or was silent too often.
    full_not_before TEXT,                   -- [time] When it may be asked for all that it has again.
    marks TEXT                              -- What makes its counts suspect (its last sweep), words with spaces between; NULL for nothing.
);

-- One row for each tracker and family in a run: how it was asked, and what it came to.
CREATE TABLE tracker_sweeps (
    id INTEGER PRIMARY KEY,                 -- Number of the row.
    run_id INTEGER NOT NULL REFERENCES runs (id), -- The run that wrote the row (runs.id).
    url TEXT NOT NULL REFERENCES trackers (url) ON DELETE CASCADE, -- [!tracker] The URL of the tracker (trackers.url).
    family INTEGER,                         -- IPv4 (4) or IPv6 (6); NULL where it was not connected to.
    host TEXT,                              -- [!host] The address that was asked; NULL where none was, and in an anonymized database.
    started_at TEXT NOT NULL,               -- [time] When it began.
    finished_at TEXT,                       -- [time] When it ended; NULL while it runs, or when its end was not seen.
    outcome TEXT,                           -- How it ended: answered, partial, silent, refused, denied, http-404, ...; NULL as long as that is open.
    reason TEXT,                            -- The error or the warning that it sent.
    asked INTEGER NOT NULL,                 -- Swarms that it was asked for.
    listed INTEGER NOT NULL,                -- Those of them that it listed; over UDP, those that it answered for.
    nonzero INTEGER NOT NULL,               -- Those of them with any number but 0.
    not_due INTEGER NOT NULL,               -- Swarms that it was not asked for, because it was a short time before.
    requests INTEGER NOT NULL,              -- Packets sent to it, or requests over HTTP.
    answers INTEGER NOT NULL,               -- Those that it answered.
    errors INTEGER NOT NULL,                -- Those that it answered with an error, or with what is none of its answers.
    rtt_ms REAL,                            -- [ms] Mean time from a request to its answer.
    canary_hits INTEGER NOT NULL,           -- Made-up info-hashes for which it named peers.
    bytes_sent INTEGER NOT NULL,            -- [B] Bytes sent for it, without IP, UDP and TCP headers.
    bytes_received INTEGER NOT NULL,        -- [B] Bytes received for it, without IP, UDP and TCP headers.
    marks TEXT                              -- What makes its counts suspect, words with spaces between; NULL for nothing.
);
CREATE INDEX idx_tracker_sweeps_run_id ON tracker_sweeps (run_id);
CREATE INDEX idx_tracker_sweeps_url ON tracker_sweeps (url);

-- What `tracker_samples` shows, in few bytes.
-- not exported
--
-- Swarms are asked for in the order of their info-hashes, so that rows are added at the end of their sweep.
CREATE TABLE tracker_sample_rows (
    sweep_id INTEGER NOT NULL REFERENCES tracker_sweeps (id) ON DELETE CASCADE, -- The sweep (tracker_sweeps.id).
    info_hash BLOB NOT NULL,                -- The info-hash of the swarm.
    taken_at INTEGER NOT NULL,              -- [ms] When it was measured.
    seeds INTEGER NOT NULL,                 -- Peers that have all, as the tracker says.
    leechers INTEGER NOT NULL,              -- Peers that do not, as the tracker says.
    downloaded INTEGER,                     -- Downloads that were completed, as the tracker says; NULL where it does not.
    downloaders INTEGER,                    -- Leechers that want all (BEP 21), as the tracker says; NULL where it does not.
    PRIMARY KEY (sweep_id, info_hash)
) WITHOUT ROWID;

-- Which swarms each tracker was asked for a short time ago.
-- not exported
--
-- Written before the requests leave, so that no end of the process has it asked too often.
CREATE TABLE tracker_turns (
    place TEXT NOT NULL,                    -- [!never] Address, port and protocol of the tracker, or its URL in an anonymized database.
    list BLOB NOT NULL,                     -- [!never] The list of swarms that it was asked for (tracker_lists.digest).
    first INTEGER NOT NULL,                 -- The place of the first of them in that list.
    last INTEGER NOT NULL,                  -- The place behind the last of them.
    asked_at TEXT NOT NULL,                 -- [time] When they were asked for.
    next_at TEXT NOT NULL,                  -- [time] When they may be asked for again.
    PRIMARY KEY (place, list, first)
) WITHOUT ROWID;
CREATE INDEX idx_tracker_turns_next_at ON tracker_turns (next_at);

-- The lists of swarms that trackers were asked for a short time ago.
-- not exported
CREATE TABLE tracker_lists (
    digest BLOB PRIMARY KEY NOT NULL,       -- [!never] What tells it from other lists.
    info_hashes BLOB NOT NULL,              -- [!never] The info-hashes in their order, 20 bytes each.
    made_at TEXT NOT NULL                   -- [time] When it was made.
);

-- One row for each time that addresses of a tracker were held against the filters of a measurement (BEP 33).
--
-- The tracker named them to a peer that announced itself; they are kept nowhere.  A filter holds addresses
-- and no ports, and what passes it by chance is taken off.
CREATE TABLE source_overlaps (
    id INTEGER PRIMARY KEY,                 -- Number of the row.
    run_id INTEGER NOT NULL REFERENCES runs (id), -- The run that wrote the row (runs.id).
    info_hash TEXT NOT NULL REFERENCES swarms (info_hash), -- The info-hash of the swarm, 40 hex digits.
    taken_at TEXT NOT NULL,                 -- [time] When it was measured.
    sample_id INTEGER NOT NULL REFERENCES swarm_samples (id), -- The measurement that has the filters (swarm_samples.id).
    url TEXT REFERENCES trackers (url) ON DELETE CASCADE, -- [!tracker] The URL of the tracker (trackers.url); NULL for all that are believed together.
    listed INTEGER NOT NULL,                -- Peers that it says it has; of all together, the least that they can have.
    listed_high INTEGER NOT NULL,           -- The most that they can have.
    peers_named INTEGER NOT NULL,           -- Different addresses that it named, counted and not kept.
    passed INTEGER NOT NULL,                -- Those of them that are in the filters of all nodes.
    false_positives REAL NOT NULL,          -- The share of all other addresses that is in them by chance, from 0 to 1.
    overlap REAL NOT NULL,                  -- The share of its peers that the DHT has, from 0 to 1.
    overlap_low REAL NOT NULL,              -- Lower end of the 95 % interval of overlap.
    overlap_high REAL NOT NULL,             -- Upper end of the 95 % interval of overlap.
    n_estimate REAL NOT NULL,               -- [peers] Peers in the DHT or at the tracker, each once.
    n_low REAL NOT NULL,                    -- [peers] Lower end of the 95 % interval of n_estimate.
    n_high REAL                             -- [peers] Upper end of the 95 % interval of n_estimate; NULL where the size in the DHT has none.
);
CREATE INDEX idx_source_overlaps_sample_id ON source_overlaps (sample_id);
CREATE INDEX idx_source_overlaps_run_id ON source_overlaps (run_id);
CREATE INDEX idx_source_overlaps_url ON source_overlaps (url);

-- One row for each swarm on the list of `dhtcrawl watch`, and what its next measurement depends on.
CREATE TABLE watched_swarms (
    info_hash TEXT PRIMARY KEY NOT NULL,    -- The info-hash of the swarm, 40 hex digits.
    source TEXT NOT NULL,                   -- Where it came from: given on the command line, list, or sample for those discovered.
    since TEXT NOT NULL,                    -- [time] When it came onto the list.
    removed_at TEXT,                        -- [time] When it was taken off; NULL while it is watched.
    next_at TEXT NOT NULL,                  -- [time] When it is due.
    interval REAL NOT NULL,                 -- [s] The time between two measurements, before jitter and the budget.
    tried_at TEXT,                          -- [time] When it was last tried.
    measured_at TEXT,                       -- [time] When it was last measured.
    peers REAL,                             -- What was found then.
    peers_low REAL,                         -- Lower end of the 95 % interval of peers.
    peers_high REAL,                        -- Upper end of the 95 % interval of peers; NULL where peers is a lower bound.
    empties INTEGER NOT NULL DEFAULT 0,     -- Measurements without a peer in a row.
    failures INTEGER NOT NULL DEFAULT 0,    -- Measurements in a row without a response.
    failure TEXT                            -- Why the last measurement failed; NULL if it did not.
) WITHOUT ROWID;
CREATE INDEX idx_watched_swarms_due ON watched_swarms (next_at) WHERE removed_at IS NULL;
CREATE INDEX idx_watched_swarms_tried_at ON watched_swarms (tried_at);

-- One row for each file of rows that a process could not write, and another has taken in.
-- not exported
CREATE TABLE files_taken_in (
    name TEXT PRIMARY KEY                   -- [!never] Its name.
);

-- How far the deletion of old filters has come.
-- not exported
CREATE TABLE retention (
    task TEXT PRIMARY KEY,                  -- What is deleted.
    done_to INTEGER,                        -- The last sample that was done with (swarm_samples.id).
    done_at TEXT                            -- [time] When it was last through.
);

-- One row for each swarm and window of time in which several vantages have measured it.
--
-- `newest_sample` and `samples` tell whether a row still is what its samples amount to.
CREATE TABLE combined_samples (
    info_hash TEXT NOT NULL REFERENCES swarms (info_hash) ON DELETE CASCADE, -- The info-hash of the swarm, 40 hex digits.
    window_start TEXT NOT NULL,             -- [time] The beginning of the window of time.
    window_end TEXT NOT NULL,               -- [time] Its end.
    seeds REAL,                             -- Peers that say they have all (BEP 33), estimated; NULL where no node tells of roles.
    leechers REAL,                          -- Peers that do not, estimated; NULL where no node tells of roles.
    peers REAL,                             -- Distinct addresses announced, seeds and leechers together, estimated.
    peers_low REAL,                         -- Lower end of the 95 % interval of peers.
    peers_high REAL,                        -- Upper end of the 95 % interval of peers; NULL where peers is a lower bound.
    seeds_low REAL,                         -- Lower end of the 95 % interval of seeds.
    seeds_high REAL,                        -- Upper end of the 95 % interval of seeds; NULL for no end.
    leechers_low REAL,                      -- Lower end of the 95 % interval of leechers.
    leechers_high REAL,                     -- Upper end of the 95 % interval of leechers; NULL for no end.
    method TEXT NOT NULL,                   -- How the number came about.
    saturated INTEGER NOT NULL,             -- [flag] Whether stores are full, or there are more peers than a filter can tell.
    vantages INTEGER NOT NULL,              -- Databases that have measured the swarm within it.
    samples INTEGER NOT NULL,               -- Their measurements.
    newest_sample INTEGER NOT NULL,         -- The newest of them (swarm_samples.id).
    nodes_answered INTEGER NOT NULL,        -- Those of them that answered.
    nodes_with_filters INTEGER NOT NULL,    -- Those of them that sent filters (BEP 33).
    distinct_peers INTEGER NOT NULL,        -- Different peers that nodes listed by address, counted and not kept.
    PRIMARY KEY (info_hash, window_start)
);

-- One row for each client whose name is known here: what the two letters in a `client` stand for.
CREATE TABLE client_names (
    letters TEXT PRIMARY KEY NOT NULL,      -- The first two characters of its version, or of its peer id (BEP 20).
    name TEXT NOT NULL                      -- Its name as users know it.
);
