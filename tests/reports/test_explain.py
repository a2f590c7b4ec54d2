"""How a number came about: the rows tell it, and what was tampered with or purged is noticed."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from itertools import product

import pytest

from crawler.db.database import CrawlDatabase, DatabaseError
from crawler.db.records.records import RunStatus
from crawler.db.swarm_measurements import observation_in
from crawler.reports.explain import explain_sample, explanation_lines, explanation_record
from dhtnode import Address, InfoHash, NodeId
from dhtnode.krpc import ScrapeFilter
from dhtnode.krpc.compact import pack_address
from dhtnode.outcomes import Outcome
from dhtnode.swarm import Observation, Reply, SwarmMeasurement, estimate_swarm
from dhtnode.swarm.replies import observe
from tests.commands import run_command

T0 = "2025-06-01T12:00:00.000Z"
SWARM = InfoHash(b"\x01" * 20)
KEY = b"key"
LEFT_OUT = 2  # the place of a liar


def peers(first, last):
    return tuple(Address(f"198.51.100.{number}", 6881) for number in range(first, last + 1))


def filter_of(addresses):
    return ScrapeFilter.of(bytes(map(int, address.host.split("."))) for address in addresses).to_bytes()


def reply_of(number, named, *, filters=True):
    half = len(named) // 2
    return Reply(
        NodeId(bytes([number]) * 20),
        Address(f"192.0.2.{number}", 6881),
        number - 1,
        filter_of(named[:half]) if filters else None,
        filter_of(named[half:]) if filters else None,
        tuple(map(pack_address, named)),
        version=b"LT\x02\x10",
        rtt_ms=12.5,
        marks=("invented",) if number - 1 == LEFT_OUT else (),
        asked_at=T0,
    )


REPLIES = (
    reply_of(1, peers(1, 20)),
    reply_of(2, peers(5, 30), filters=False),
    reply_of(3, peers(100, 180)),
    reply_of(4, peers(1, 28)),
    reply_of(5, ()),
)
SILENT = Observation(NodeId(b"s" * 20), Address("2001:db8::1", 1), 5, outcome=Outcome.TIMEOUT, asked_at=T0)


OBSERVATIONS = observe(REPLIES, KEY)


def sample():
    """Return a measurement with a reply that was left out, and a node that did not answer."""
    estimate = estimate_swarm([each for each in OBSERVATIONS if each.is_believed])
    observations = (*OBSERVATIONS, SILENT)
    return SwarmMeasurement(SWARM, estimate, observations, 6, 5, 600, 5000, T0, "given")


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "swarms.db"
    with CrawlDatabase.open(path) as store:
        run_id = store.runs.begin("scrape", {}, "0.1", T0)
        store.write(run_id, [sample()])
        store.runs.finish(run_id, RunStatus.FINISHED, T0)
    return path


def change(database, statement):
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement)


def explained(database, number=1):
    with CrawlDatabase.open(database) as store:
        return explain_sample(store.swarms, lambda swarms: swarms.sample(number))


def test_rows_give_the_same_evidence_back(database):
    with CrawlDatabase.open(database) as store:
        rows = store.swarms.replies(1)
    found, given = [observation_in(row) for row in rows], [*OBSERVATIONS, SILENT]
    # Hosts have other names, and each the same one at all nodes.
    pairs = [(one.host_hashes, other.host_hashes) for one, other in product(found, found)]
    assert [len(one & other) for one, other in pairs] == [
        len(one.host_hashes & other.host_hashes) for one, other in product(given, given)
    ]
    nothing = frozenset[bytes]()
    assert [replace(each, host_hashes=nothing) for each in found] == [
        replace(each, host_hashes=nothing) for each in given
    ]


def test_number_computed_again_is_the_same(database):
    found = explained(database)
    assert (found.missing, found.differences) == (None, ())
    assert found.again.peers == found.sample["peers"] == 30
    assert found.again.distinct_peers == 30


def test_text_has_each_reply_and_how_the_number_came_about(database):
    text = "\n".join(explanation_lines(explained(database)))
    assert text.startswith(f"sample 1 of run 1: {SWARM.hex()}, {T0}\n6 nodes asked, 5 answered, 3 with")
    lines = text.splitlines()
    assert "  1. 010101010101 at 192.0.2.1:6881, asked 12:00:00.000Z (12.5 ms, libtorrent):" in lines[4]
    assert "filters of about 10 seeds and about 10 leechers, 20 peers listed" in lines[4]
    assert "no filters, 26 peers listed" in lines[5]
    assert lines[6].endswith("left out: invented")
    assert lines[8].endswith("about 0 seeds and about 0 leechers, no peers listed")
    assert lines[9] == "  6. 737373737373 at [2001:db8::1]:1, asked 12:00:00.000Z: timed out"
    assert "  30 peers (" in text
    assert text.endswith("Computed again from these rows it is the same.")


@pytest.mark.parametrize(
    ("statement", "wrong"),
    [
        ("UPDATE swarm_samples SET peers = 31", "peers"),
        ("UPDATE swarm_samples SET seeds_high = 1000", "seeds_high"),
        ("UPDATE swarm_samples SET coverage = 0.125", "coverage"),
        ("UPDATE swarm_estimates SET high = high + 1 WHERE method = 'union'", "peers by union"),
        ("DELETE FROM swarm_estimates WHERE method = 'chao2'", "peers by chao2"),
        ("UPDATE reply_rows SET marks = NULL", "peers"),
        ("UPDATE reply_rows SET named_tokens = x'00' WHERE rank = 0", "replies"),
        ("UPDATE reply_rows SET peers_filter = x'00' WHERE rank = 0", "replies"),
        ("UPDATE reply_rows SET named_tokens = x'ffffff' WHERE rank = 1", "distinct_peers"),
    ],
)
def test_what_does_not_agree_is_named(database, statement, wrong):
    change(database, statement)
    found = explained(database)
    assert wrong in found.differences
    assert ("a row is damaged" if wrong == "replies" else wrong) in "\n".join(explanation_lines(found))


@pytest.mark.parametrize(
    ("statement", "wrong"),
    [
        ("UPDATE reply_rows SET host = x'ff00'", "scrape_replies is damaged: its address"),
        ("UPDATE reply_rows SET values_count = 'many'", "scrape_replies is damaged: its values_count"),
        ("UPDATE reply_rows SET seeds_filter = 7", "scrape_replies is damaged: its seeds_filter"),
        ("UPDATE swarm_samples SET seeds_low = 'x'", "swarm_samples is damaged: its seeds_low"),
        ("UPDATE swarm_samples SET nodes_asked = 0.5", "swarm_samples is damaged: its nodes_asked"),
        ("UPDATE swarm_samples SET method = x'00'", "swarm_samples is damaged: its method"),
        ("UPDATE swarm_estimates SET low = 'nan'", "swarm_estimates is damaged: its low"),
    ],
)
def test_values_of_other_kinds_are_refused_in_one_line(database, statement, wrong):
    """SQLite lets them pass, and the database may be from elsewhere."""
    change(database, statement)
    with pytest.raises(DatabaseError, match=wrong):
        explained(database)


@pytest.mark.parametrize("column", ["overlap", "seeds_high", "peers_low", "leechers"])
def test_missing_number_is_no_obstacle(database, column):
    change(database, f"UPDATE swarm_samples SET {column} = NULL")
    assert explanation_lines(explained(database))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE reply_rows SET seeds_filter = NULL, peers_filter = NULL",
        "UPDATE reply_rows SET named_tokens = NULL, named_filter = NULL, unplaced_filter = NULL",
        "DELETE FROM reply_rows",
    ],
)
def test_purged_filters_are_no_disagreement(database, statement):
    """The number stays, and it is said why it cannot be computed again."""
    change(database, statement)
    found = explained(database)
    assert (found.again, found.differences) == (None, ())
    assert "\n".join(explanation_lines(found)).endswith(
        "cannot be computed again: the raw filters were purged."
    )
    assert explanation_record(found)["agrees"] is None


def test_sample_of_an_older_version_is_shown_as_it_is(database):
    change(database, "UPDATE swarm_samples SET coverage = NULL, overlap = NULL, seeds_low = NULL")
    found = explained(database)
    assert "recorded before all that it takes was kept" in "\n".join(explanation_lines(found))
    assert found.differences == ()


def test_estimates_of_other_kinds_do_not_disturb(database):
    change(database, "INSERT INTO swarm_estimates VALUES (1, 'seeds', 'handshakes', 12, 10, 15)")
    found = explained(database)
    assert found.differences == ()
    assert "seeds by handshakes: 12.0 (10.0 to 15.0)" in "\n".join(explanation_lines(found))


def test_command_explains_the_latest_sample_of_a_swarm(database):
    with CrawlDatabase.open(database) as store:
        later = replace(sample(), taken_at="2025-06-02T12:00:00.000Z")
        store.write(store.runs.begin("scrape", {}, "0.1", T0), [later])
    text = run_command("dhtcrawl", "explain", "--db", database, SWARM.hex())
    record = run_command("dhtcrawl", "explain", "--db", database, "1", "--json")

    assert (text.status, text.stderr) == (0, "")
    assert text.stdout.startswith("sample 2 of run 2")
    (told,) = record.records
    assert (record.status, told["agrees"], told["sample"]["id"]) == (0, True, 1)
    assert [reply["used"] for reply in told["replies"]] == [True, True, False, True, True, False]
    assert told["replies"][0]["seeds_filter"] == "about 10"
    assert told["replies"][2]["reason"] == "invented"
    assert "named_tokens" not in json.dumps(told)


@pytest.mark.parametrize(
    ("statement", "argument", "status", "complaint"),
    [
        ("UPDATE swarm_samples SET peers = 31", "1", 1, "sample 1: computed again it differs in peers"),
        ("DELETE FROM runs WHERE id = 99", "7", 1, "has no sample 7"),
        ("DELETE FROM runs WHERE id = 99", "ab" * 20, 1, f"has no sample {'ab' * 20}"),
        ("DELETE FROM runs WHERE id = 99", "xyz", 2, "'xyz' is not an info-hash"),
    ],
)
def test_what_cannot_be_explained_is_one_line(database, statement, argument, status, complaint):
    change(database, statement)
    ended = run_command("dhtcrawl", "explain", "--db", database, argument)
    assert ended.status == status
    assert complaint in ended.error


def test_small_difference_is_one(database):
    change(database, "UPDATE swarm_samples SET peers = peers + 0.00001 WHERE id = 1")
    assert explained(database).differences == ("peers",)
