"""Deleting: what is old, what a request asks for, all of it and nothing else, and down to the bytes."""

import sqlite3
from contextlib import closing
from ipaddress import ip_network

import pytest

from crawler.db.database import CrawlDatabase
from crawler.db.purge.orders import Orders, parse_node
from crawler.db.purge.purge import without
from crawler.db.records.infohash_samples import NodeSample, NodeToSample, SampleBatch
from crawler.db.records.records import (
    CensusEvidence,
    CrawlBatch,
    Journal,
    RunStatus,
    SizeEstimate,
    SybilTestResult,
    utc_text,
)
from crawler.db.records.torrents import HandshakeBatch, Handshakes, HybridTorrent, KnownTorrent, PexCounts
from crawler.db.records.trackers import (
    KnownTracker,
    SwarmList,
    SwarmOverlap,
    SweepBatch,
    TrackerSweep,
    TrackerTurn,
)
from crawler.db.records.watched_swarms import GIVEN
from crawler.db.records.web_seeds import KnownSeed, SeedBatch, SeedCheck
from crawler.db.schema import SHOWN_AS
from crawler.zone import Zone
from dhtnode import Address, Family, InfoHash, NodeId
from dhtnode.outcomes import Outcome
from dhtnode.swarm import MethodEstimate, Observation
from tests.measurements import measurement_of
from tests.visits import visit_of

EPOCH = 1_700_000_000.0
DAY = 86_400.0
KEPT, GONE = InfoHash(b"keepthisswarm" + b"k" * 7), InfoHash(b"purgethisswarm" + b"p" * 6)
KEPT_NODE, GONE_NODE = NodeId(b"keepthisnode" + b"k" * 8), NodeId(b"purgethisnode" + b"p" * 7)
KEPT_HOST, GONE_HOST = "192.0.2.7", "198.51.100.99"
LEFT_ALONE = {
    "outcome_codes": "says what the numbers of outcomes stand for",
    "client_names": "says what the letters of clients stand for",
    "retention": "says how far deleting has come, and nothing about nodes or swarms",
    "files_taken_in": "says which rows were added later, and nothing about nodes or swarms",
    "run_leases": "says which processes write runs that are under way, and these stay",
    "_sqlite_migrations": "says which version of the tables this is",
}
LIST_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
FILTER = bytes(range(256))


def reply(node_id, host, mark=b"", rank=0):
    filled = FILTER[len(mark) :] + mark
    return Observation(node_id, Address(host, 6881), rank, filled, filled)


def sample(info_hash, at, *replies):
    estimates = (MethodEstimate("peers", "union", 3.0, 2.0, 4.0),)
    sizes = {"seeds": 1.0, "leechers": 2.0, "peers": 3.0, "peers_low": 2.0, "peers_high": 4.0}
    return measurement_of(info_hash, utc_text(at), replies, **sizes, distinct_peers=3, estimates=estimates)


def write_metadata(store, run_id, info_hash, at):
    counts = (9, 3, 3, 1, 2, 0, 0, 0.3, 0.1, 0.7)
    handshakes = Handshakes(info_hash, utc_text(at), *counts, {"qB": 3}, 1, 1)
    name = f"The name of {info_hash.hex()}"
    exchange = PexCounts(1, 1, 2, 2, 0, 0, *[None] * 6)
    store.write(run_id, [HandshakeBatch("test", handshakes, KnownTorrent(False, name, 1, 1, 1), exchange)])


def write_trackers(store, run_id, at):
    """Write a sweep of both swarms at two trackers, and that these are not to be asked again soon."""
    now, swarms, hosts = utc_text(at), sorted((KEPT, GONE)), (KEPT_HOST, GONE_HOST)
    urls = [f"udp://{host}:6969" for host in hosts]
    store.trackers.add(
        KnownTracker(url, "udp", host, "given", now) for url, host in zip(urls, hosts, strict=True)
    )
    sweeps = store.trackers.begin(
        run_id, [TrackerSweep(0, url, 4, host, now) for url, host in zip(urls, hosts, strict=True)]
    )
    samples = [
        (sweep.id, info_hash, int(1000 * at), 1, 2, 3, None) for sweep in sweeps for info_hash in swarms
    ]
    store.write(run_id, [SweepBatch(sweeps, samples)])
    numbers = (9, 9, 9, 9, 0.1, 0.5, 0.4, 0.6, 13.0, 12.0, 14.0)
    overlaps = [SwarmOverlap(info_hash, now, url, *numbers) for info_hash in swarms for url in urls]
    store.trackers.add_overlaps(run_id, overlaps)
    turns = [TrackerTurn(f"{host}:6969 udp", 0, 2, now, utc_text(at + 1800)) for host in hosts]
    store.trackers.take_turns(SwarmList(f"at {at}".encode(), swarms), turns)


def write_hybrids(store, at):
    """Write each swarm as that of a hybrid torrent, once by version 1 and once by version 2."""
    for info_hash, other in ((KEPT, b"1" * 20), (GONE, b"2" * 20)):
        both = [HybridTorrent(info_hash, InfoHash(other), "file", True)]
        both += [HybridTorrent(InfoHash(other[:19] + b"x"), info_hash, "magnet")]
        store.metadata.add_hybrids(both, utc_text(at))


def write_web_seeds(store, run_id, at):
    """Write a web seed of each swarm, at one of the hosts, and a check of it."""
    now = utc_text(at)
    for info_hash, host in ((KEPT, KEPT_HOST), (GONE, GONE_HOST)):
        seed = KnownSeed(info_hash, "0123456789abcdef", host, "ranges")
        store.web_seeds.meet([seed], now)
        check = SeedCheck(*seed, now, "alive", 206, True, None, 5.5, 16384)
        store.web_seeds.write(run_id, SeedBatch(check, None), utc_text(at + 60))


def write_combined(store, run_id, at):
    """Write what only a merge does: a run of another machine, and what both found together."""
    execute = store.connection.execute
    execute("INSERT OR IGNORE INTO vantages VALUES ('another', 0)")
    execute("INSERT INTO merged_runs VALUES (?, 'another', 7)", (run_id,))
    for info_hash in (KEPT, GONE):
        execute(
            "INSERT OR IGNORE INTO combined_samples (info_hash, window_start, window_end, method, saturated,"
            " vantages, samples, newest_sample, nodes_answered, nodes_with_filters, distinct_peers)"
            " VALUES (?, ?, ?, 'union', 0, 2, 1, 1, 8, 8, 3)",
            (info_hash.hex(), utc_text(at - 60), utc_text(at + 60)),
        )


def fill(store, at=EPOCH, mark=b""):
    """Write a run in which both nodes and both swarms are wherever they can be."""
    pairs = [(KEPT_NODE, KEPT_HOST), (GONE_NODE, GONE_HOST)]
    run_id = store.runs.begin("all", {}, "0.1", utc_text(at))
    replies = [reply(node_id, host, mark, rank) for rank, (node_id, host) in enumerate(pairs)]
    visits = [
        visit_of(node_id, Address(host, 6881), at, Outcome.ANSWERED, rtt_ms=5.5) for node_id, host in pairs
    ]
    samples = [
        NodeSample(
            node_id,
            Address(host, 6881),
            utc_text(at),
            Outcome.ANSWERED,
            samples=KEPT + GONE,
            next_at=utc_text(at + 60),
        )
        for node_id, host in pairs
    ]
    store.samples.lease([NodeToSample(node_id, Address(host, 6881)) for node_id, host in pairs], at)
    journal = Journal(Family.IPV4, GONE_NODE, b"")
    store.write(run_id, [sample(KEPT, at, *replies), sample(GONE, at, *replies)])
    store.write(run_id, [CrawlBatch(visits, journal), SampleBatch(samples, journal)])
    store.samples.aggregate()
    store.watch.replace_list([(KEPT, GIVEN), (GONE, GIVEN)], at, lambda count: (900.0, [at] * count))
    suspicions = [SybilTestResult(Family.IPV4, "hosts", host, 9.0, 1.0, 0.0, True, "") for _, host in pairs]
    size = SizeEstimate(Family.IPV4, "crawl", "hosts", 2.0, 1.0, 3.0, "whole")
    evidence = CensusEvidence(Family.IPV4, 2, 0, 2, 2, bytes(2), b"")
    store.visits.write_results(run_id, [size], suspicions, [evidence])
    store.samples.add_estimate(run_id, Family.IPV4, "chao1", (2.0, 2.0, 3.0), Zone(), {})
    for info_hash in (KEPT, GONE):
        write_metadata(store, run_id, info_hash, at)
    write_combined(store, run_id, at)
    write_trackers(store, run_id, at)
    write_web_seeds(store, run_id, at)
    write_hybrids(store, at)
    store.runs.finish(run_id, RunStatus.INTERRUPTED, utc_text(at))
    return run_id


def counts(store):
    names = [
        name
        for (name,) in store.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if not name.startswith(("sqlite_", "_sqlite"))
    ]
    names = [SHOWN_AS.get(name, name) for name in names]
    return {name: len(store.rows(name)) for name in names if store.rows(name)}


def dump(store):
    return "\n".join(
        str({k: v.hex() if isinstance(v, bytes) else v for k, v in row.items()})
        for name in counts(store)
        for row in store.rows(name)
    )


@pytest.fixture
def store():
    with CrawlDatabase.open(":memory:") as opened:
        yield opened


def test_all_of_a_swarm_goes(store):
    fill(store)
    before = counts(store)
    changed = store.purge.run(Orders(swarms=(GONE,)), EPOCH)

    assert changed == {
        "scrape_replies": 2,
        "swarm_estimates": 1,
        "swarm_samples": 1,
        "combined_samples": 1,
        "swarm_handshakes": 1,
        "pex_rounds": 1,
        "swarms": 1,
        "torrents": 1,
        "watched_swarms": 1,
        "node_samples": 2,
        "tracker_samples": 2,
        "source_overlaps": 2,
        "web_seeds": 1,
        "web_seed_checks": 1,
        "hybrid_torrents": 2,
    }
    assert GONE.hex() not in dump(store)
    # The places of the others in the list are as they were.
    ((swarms, _),) = store.trackers.turns(utc_text(EPOCH))
    assert (
        sorted(swarms, reverse=True)
        == [KEPT, bytes(20)]
        == [swarms[sorted((KEPT, GONE)).index(KEPT)], bytes(20)]
    )
    kept = ("visits", "nodes", "node_samples", "sample_turns", "runs", "alarms", "crawl_journal")
    kept = (*kept, "census_evidence")
    assert {name: counts(store)[name] for name in kept} == {name: before[name] for name in kept}
    assert [row["samples"] for row in store.rows("node_samples")] == [KEPT, KEPT]
    assert counts(store)["scrape_replies"] == 2


def test_every_table_can_be_deleted_from_or_is_named_with_a_reason(store):
    """Once all that is old goes, nothing is left but in those; a new table fails until it is thought of."""
    fill(store, EPOCH - 100 * DAY)
    names = {name for (name,) in store.connection.execute(LIST_TABLES)}
    filled = {name for name in names if store.rows(name)}
    assert names - filled - LEFT_ALONE.keys() == set()  # or this test would say nothing about them
    store.watch.replace_list([], EPOCH - 99 * DAY, lambda count: (900.0, []))
    store.purge.run(Orders(older=30), EPOCH)
    left = {name for name in names - LEFT_ALONE.keys() if store.rows(name)}
    assert left == {"vantages"}
    assert [row["is_here"] for row in store.rows("vantages")] == [1]


def test_every_table_about_swarms_or_nodes_is_found_by_its_columns(store):
    known = {"info_hash", "sample_id", "node_id", "host", "place", "subject", "run_id", "info_hashes"}
    elsewhere = {"runs", "vantages"}  # these are about neither
    for (table,) in store.connection.execute(LIST_TABLES).fetchall():
        columns = {row[1] for row in store.connection.execute(f"PRAGMA table_info({table})")}
        assert columns & known or table in LEFT_ALONE.keys() | elsewhere, table


def test_names_go_with_the_torrents_they_are_from(store):
    """The swarm was met again since; what peers told of it is as old as the run."""
    fill(store, EPOCH - 100 * DAY)
    store.watch.replace_list([], EPOCH, lambda count: (900.0, []))
    later = store.runs.begin("scrape", {}, "0.1", utc_text(EPOCH))
    store.write(later, [sample(KEPT, EPOCH, reply(KEPT_NODE, KEPT_HOST))])
    store.purge.run(Orders(older=30), EPOCH)
    assert [(row["info_hash"], row["name"]) for row in store.rows("swarms")] == [(KEPT.hex(), None)]
    assert "The name of" not in dump(store)


@pytest.mark.parametrize("text", [GONE_HOST, "198.51.100.0/24", GONE_NODE.hex()])
def test_all_of_a_node_goes(store, text):
    fill(store)
    node = parse_node(text)
    by_id = isinstance(node, bytes)
    orders = Orders(node_ids=(node,)) if by_id else Orders(networks=(node,))
    changed = store.purge.run(orders, EPOCH)
    once = dict.fromkeys(("nodes", "visits", "node_samples", "sample_turns"), 1)
    of_host = dict.fromkeys(("alarms", "trackers", "tracker_sweeps", "tracker_turns"), 1)
    of_host |= dict.fromkeys(("web_seeds", "web_seed_checks"), 1)
    of_host |= dict.fromkeys(("tracker_samples", "source_overlaps"), 2)
    assert changed == once | {"scrape_replies": 2, "crawl_journal": 2, "census_evidence": 1} | (
        {} if by_id else of_host
    )
    assert (GONE_NODE.hex() in dump(store), KEPT_NODE.hex() in dump(store)) == (False, True)
    assert (GONE_HOST in dump(store)) is by_id  # in an alarm about the host, which names no id
    assert counts(store)["swarm_samples"] == 2


def test_networks_of_an_anonymized_database_go_when_they_lie_within():
    """A /24 cannot be told to be the address asked for, but lies in the /16."""
    with CrawlDatabase.open(":memory:", anonymize=True) as store:
        fill(store)
        asked_for = ip_network(GONE_HOST)
        left_alone = store.purge.run(Orders(networks=(asked_for,)), EPOCH, dry=True)
        assert {"nodes", "visits", "sample_turns"}.isdisjoint(left_alone)
        changed = store.purge.run(Orders(networks=(ip_network("198.51.0.0/16"),)), EPOCH)
        assert (changed["nodes"], changed["sample_turns"], changed["scrape_replies"]) == (1, 1, 2)


def test_ipv6_places_are_found(store):
    store.samples.lease([NodeToSample(GONE_NODE, Address("2001:db8::1", 6881))], EPOCH)
    store.samples.lease([NodeToSample(KEPT_NODE, Address("2001:db9::1", 6881))], EPOCH)
    assert store.purge.run(Orders(networks=(ip_network("2001:db8::/32"),)), EPOCH) == {"sample_turns": 1}
    assert store.purge.run(Orders(networks=(ip_network("0.0.0.0/0"),)), EPOCH) == {}


def test_old_filters_go_and_numbers_stay(store):
    """Filters of 31 days ago, not of 29; a second time there is nothing to do."""
    fill(store, EPOCH - 31 * DAY)
    fill(store, EPOCH - 29 * DAY)
    numbers = [{key: row[key] for key in row if key != "id"} for row in store.rows("latest_swarms")]
    orders = Orders(filters_older=30)
    assert store.purge.run(orders, EPOCH) == {"scrape_replies": 4}
    kept = [row["peers_filter"] is not None for row in store.rows("scrape_replies")]
    assert kept == [False] * 4 + [True] * 4
    assert [row["rank"] for row in store.rows("scrape_replies")] == [0, 1] * 4
    assert numbers == [{key: row[key] for key in row if key != "id"} for row in store.rows("latest_swarms")]
    assert store.purge.run(orders, EPOCH) == {}


def test_filters_of_other_columns_and_tables_go_too(store):
    """Tokens too, and those that another version adds; one that must not be NULL becomes empty."""
    run = store.connection.execute
    run("CREATE TABLE estimates (sample_id INTEGER, unplaced_filter BLOB NOT NULL, peers REAL)")
    fill(store, EPOCH - 31 * DAY)
    run("UPDATE reply_rows SET named_tokens = x'0102', seeds_filter = NULL, peers_filter = NULL")
    run("INSERT INTO estimates VALUES (1, x'ff', 3), (2, x'', 4)")
    assert store.purge.run(Orders(filters_older=30), EPOCH) == {"scrape_replies": 4, "estimates": 1}
    assert {row["named_tokens"] for row in store.rows("scrape_replies")} == {None}
    assert [row["unplaced_filter"] for row in store.rows("estimates")] == [b"", b""]
    assert store.purge.run(Orders(swarms=(GONE,)), EPOCH)["estimates"] == 1


def test_retention_goes_on_where_it_was(store):
    """In steps, so that others can write in between; each day it looks at what has become old."""
    for day in range(5):
        fill(store, EPOCH + day * DAY)
    purge = store.purge

    def retain(now):
        steps = 0
        while purge.delete_old_filters(30, now) is not None:
            steps += 1
        return steps

    now = EPOCH + 32.5 * DAY
    assert purge.is_retention_due(now)
    assert retain(now) == 1
    with_filters = [row["sample_id"] for row in store.rows("scrape_replies") if row["peers_filter"]]
    assert sorted(set(with_filters)) == [7, 8, 9, 10]
    assert not purge.is_retention_due(now + 0.9 * DAY)
    assert purge.is_retention_due(now + 1.1 * DAY)
    assert purge.is_retention_due(now - DAY)  # the clock was set back
    store.connection.execute("UPDATE reply_rows SET peers_filter = x'01' WHERE sample_id = 1")
    retain(now + 1.1 * DAY)
    with_filters = {row["sample_id"] for row in store.rows("scrape_replies") if row["peers_filter"]}
    assert with_filters == {1, 9, 10}  # the first one was done with, and is not looked at again


def test_retention_takes_no_more_than_some_at_once(store, monkeypatch):
    monkeypatch.setattr("crawler.db.purge.purge.SAMPLES_AT_ONCE", 2)
    for _ in range(3):
        fill(store, EPOCH)
    steps = []
    while (cleared := store.purge.delete_old_filters(30, EPOCH + 40 * DAY)) is not None:
        steps.append(cleared)
    assert steps == [4, 4, 4]


def test_whole_runs_go_with_all_they_wrote(store):
    """Nodes and swarms too that no run has seen since; not what is watched, and not a run under way."""
    fill(store, EPOCH - 100 * DAY)
    store.watch.replace_list([(KEPT, GIVEN)], EPOCH, lambda count: (900.0, [EPOCH] * count))
    running = store.runs.begin("watch", {}, "0.1", utc_text(EPOCH - 100 * DAY))
    killed = store.runs.begin("watch", {}, "0.1", utc_text(EPOCH - 100 * DAY))
    store.write(killed, [sample(KEPT, EPOCH - DAY, reply(KEPT_NODE, KEPT_HOST))])
    store.connection.execute("UPDATE runs SET status = 'interrupted' WHERE id = ?", (killed,))
    changed = store.purge.run(Orders(older=30), EPOCH)

    assert changed["runs"] == 1
    assert [row["id"] for row in store.rows("runs")] == [running, killed]
    assert [row["info_hash"] for row in store.rows("swarms")] == [KEPT.hex()]
    assert [row["node_id"] for row in store.rows("nodes")] == [KEPT_NODE.hex()]
    assert [row["run_id"] for row in store.rows("swarm_samples")] == [killed]
    assert [row["sample_id"] for row in store.rows("scrape_replies")] == [3]
    for table in (
        "torrents",
        "visits",
        "node_samples",
        "alarms",
        "crawl_journal",
        "census_evidence",
        "run_counts",
        "run_clients",
    ):
        assert store.rows(table) == []
    assert store.rows("sample_turns") == []


def test_what_ends_after_the_cutoff_stays(store):
    cutoff = EPOCH - 30 * DAY
    for ended in (cutoff - 1, cutoff + 1):
        run_id = store.runs.begin("census", {}, "0.1", utc_text(cutoff - DAY))
        store.runs.finish(run_id, RunStatus.FINISHED, utc_text(ended))
    # A pause lasts six hours.
    store.samples.lease([NodeToSample(GONE_NODE, Address(GONE_HOST, 6881))], cutoff - 7 * 3600)
    store.samples.lease([NodeToSample(KEPT_NODE, Address(KEPT_HOST, 6881))], cutoff - 3600)
    store.purge.run(Orders(older=30), EPOCH)
    assert [row["id"] for row in store.rows("runs")] == [run_id]
    assert [row["node_id"] for row in store.rows("sample_turns")] == [KEPT_NODE.hex()]


def test_dry_run_counts_and_changes_nothing(store):
    fill(store, EPOCH - 100 * DAY)
    before = dump(store)
    orders = Orders(filters_older=1, swarms=(GONE,), networks=(ip_network(KEPT_HOST),))
    told = store.purge.run(orders, EPOCH, dry=True)
    assert dump(store) == before
    assert told == store.purge.run(orders, EPOCH)
    assert dump(store) != before


def test_keys_still_hold_afterwards(store):
    fill(store, EPOCH - 100 * DAY)
    fill(store, EPOCH)
    store.purge.run(Orders(older=30, swarms=(GONE,), networks=(ip_network(GONE_HOST),)), EPOCH)
    assert store.connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_nothing_is_left_in_the_bytes(tmp_path):
    path = tmp_path / "crawl.db"
    mark = b"THIS FILTER IS OLD"
    with CrawlDatabase.open(path) as store:
        fill(store, EPOCH - 100 * DAY, mark)
        fill(store, EPOCH)
        for number in range(200):  # rows before and behind, so that pages are shared and moved
            store.write(1, [sample(InfoHash(number.to_bytes(20, "big")), EPOCH, reply(KEPT_NODE, KEPT_HOST))])
        traces = (GONE, GONE.hex().encode(), GONE_NODE.hex().encode(), GONE_NODE, GONE_HOST.encode(), mark)
        found = [trace for trace in traces if trace in _bytes_of(tmp_path)]
        assert found == list(traces)

        orders = Orders(
            filters_older=30, swarms=(GONE,), networks=(ip_network(GONE_HOST),), node_ids=(GONE_NODE,)
        )
        store.purge.run(orders, EPOCH)
        assert store.purge.compact()
        assert [trace for trace in traces if trace in _bytes_of(tmp_path)] == []
    assert [trace for trace in traces if trace in _bytes_of(tmp_path)] == []
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _bytes_of(folder):
    return b"\n".join(path.read_bytes() for path in sorted(folder.iterdir()))


def test_reader_in_the_way_is_told(tmp_path):
    """While a reader has an old state, the log that holds it cannot be emptied."""
    path = tmp_path / "crawl.db"
    with CrawlDatabase.open(path, busy_timeout=0.05) as store:
        fill(store)
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM swarms").fetchone()
            store.purge.run(Orders(swarms=(GONE,)), EPOCH)
            assert not store.purge.compact()
            reader.execute("ROLLBACK")
        assert store.purge.compact()


def test_info_hash_is_cut_out_where_it_stands():
    """Only whole ones: the same bytes across two others are something else."""
    across = b"x" * 10 + GONE + b"y" * 10
    assert without(KEPT + GONE + KEPT + GONE, GONE) == KEPT + KEPT
    assert without(GONE, GONE) is None
    assert without(across, GONE) == across


@pytest.mark.parametrize("text", ["", "nonsense", "192.0.2.1/24", "300.1.1.1", "zz" * 20, "11" * 19])
def test_what_is_no_node_is_refused(text):
    with pytest.raises(ValueError, match="no IP address, network or node id"):
        parse_node(text)
