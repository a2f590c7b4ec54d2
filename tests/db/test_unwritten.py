"""Rows that could not be written: handed over to a file, and taken in once by the next process."""

import pickle
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from crawler.db.connection import DatabaseBusy, DatabaseFull
from crawler.db.database import CrawlDatabase, DatabaseError
from crawler.db.records.infohash_samples import NodeSample, NodeToSample, SampleBatch
from crawler.db.records.records import CrawlBatch, Journal, RunStatus, utc_text
from crawler.db.records.torrents import HandshakeBatch, Handshakes, HybridTorrent, KnownTorrent, PexCounts
from crawler.db.unwritten import files
from dhtnode import Address, Family, InfoHash, NodeId
from dhtnode.addresses import pack_host
from dhtnode.outcomes import Outcome
from dhtnode.swarm import MethodEstimate, Observation
from dhtnode.trackers import parse_tracker_url
from tests.databases import rows
from tests.measurements import measurement_of
from tests.visits import visit_of

NOW = 1_750_000_000.0
ALICE, HERE = NodeId(b"a" * 20), Address("192.0.2.7", 6881)
SWARM = InfoHash(b"s" * 20)
NAMED = PexCounts(1, 1, 2, 2, 0, 0, *[None] * 6)
HINT = parse_tracker_url("udp://tracker.example:6969")
HYBRID = HybridTorrent(SWARM, InfoHash(b"t" * 20), "peers")
JOURNAL = Journal(Family.IPV6, b"contacts", b"changes")
VISIT = visit_of(ALICE, HERE, NOW, Outcome.ANSWERED, marks=("flood",), version=b"LT\x02\x01")
SAMPLE = NodeSample(ALICE, HERE, utc_text(NOW), Outcome.ANSWERED, samples=SWARM, next_at=utc_text(NOW + 60))
TORRENT = KnownTorrent(False, "name", 1, 2, 3)
HANDSHAKES = Handshakes(SWARM, utc_text(NOW), 9, 8, 7, 3, 2, 2, 1, 0.6, 0.2, 0.9, {"LT": 7}, 100, 200)
OBSERVATION = Observation(
    ALICE,
    HERE,
    0,
    bytes(256),
    bytes(256),
    values_count=3,
    host_hashes=frozenset({b"h" * 8}),
    asked_at=utc_text(NOW),
)


def measurement():
    made = measurement_of(SWARM, utc_text(NOW), (OBSERVATION,), seeds=1.0, leechers=2.0)
    return replace(
        made, estimate=replace(made.estimate, estimates=(MethodEstimate("peers", "union", 1.0, 0.5, 3.0),))
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "crawl.db"


def begin(store):
    return store.runs.begin("census", {}, "0.1", utc_text(NOW))


def batch(number, journal=JOURNAL):
    visit = visit_of(number.to_bytes(20, "big"), HERE, NOW, Outcome.ANSWERED)
    return CrawlBatch([visit], journal)


def hand_over(path, *records):
    """Have a process hand rows over and end without a word to the database; return the file."""
    with CrawlDatabase.open(path) as store:
        return store.hand_over(begin(store), records)


def test_all_kinds_of_rows_come_back_as_they_were(path):
    records = [
        VISIT,
        CrawlBatch([VISIT], JOURNAL),
        SampleBatch([SAMPLE], JOURNAL),
        HandshakeBatch("given", HANDSHAKES, TORRENT),
        HandshakeBatch("given", HANDSHAKES, TORRENT, NAMED, (HINT,), HYBRID),
        measurement(),
    ]
    assert files.read(hand_over(path, *records)) == files.HandedOver(1, 0, records)


def test_file_is_for_its_owner_alone_and_whole(path, tmp_path):
    handed = hand_over(path, batch(1))
    assert handed.stat().st_mode & 0o777 == 0o600
    assert {each.name for each in tmp_path.iterdir()} == {"crawl.db", handed.name}


def test_rows_are_taken_in_with_their_journal_and_the_run_goes_on(path):
    hand_over(path, batch(1), batch(2))
    with CrawlDatabase.open(path) as store:
        run = store.runs.resume("census", {})
        assert run is not None
        assert list(store.runs.journals(run.id)) == [JOURNAL, JOURNAL]
        assert [row["node_id"][-1] for row in store.rows("visits")] == ["1", "2"]


def test_run_that_was_counted_without_them_is_counted_again(path):
    with CrawlDatabase.open(path) as store:
        run_id = begin(store)
        store.write(run_id, [batch(1)])
        store.hand_over(run_id, [batch(2)])
        store.runs.finish(run_id, RunStatus.INTERRUPTED, utc_text(NOW))
        assert [row["sighted"] for row in store.rows("run_counts")] == [1]
    with CrawlDatabase.open(path) as store:
        assert [row["sighted"] for row in store.rows("run_counts")] == [2]


def test_file_is_taken_in_once_whatever_happens(path):
    """Killed after the transaction, a process leaves the file; another may come at the same time."""
    handed = hand_over(path, batch(1))
    content = handed.read_bytes()
    CrawlDatabase.open(path).close()
    assert not handed.exists()
    handed.write_bytes(content)
    CrawlDatabase.open(path).close()
    assert not handed.exists()
    assert rows(path, "SELECT count(*) FROM visits") == [(1,)]


def test_journals_of_a_run_that_has_gone_on_are_left_out(path, tmp_path, monkeypatch):
    """The file was elsewhere meanwhile: its visits count, and no journal comes out of order."""
    handed = hand_over(path, batch(1))
    away = handed.rename(tmp_path / "away")
    with CrawlDatabase.open(path) as store:
        store.write(1, [batch(2, JOURNAL._replace(contacts=b"later"))])
    away.rename(handed)
    with CrawlDatabase.open(path) as store:
        assert [journal.contacts for journal in store.runs.journals(1)] == [b"later"]
        assert len(store.rows("visits")) == 2


def test_rows_of_a_deleted_run_are_gone(path):
    handed = hand_over(path, batch(1))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM run_leases")
        connection.execute("DELETE FROM runs")
    CrawlDatabase.open(path).close()
    assert not handed.exists()
    assert rows(path, "SELECT count(*) FROM visits") == [(0,)]


def test_where_the_disk_is_full_the_file_goes_to_another(path, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    write = files._write_whole

    def without_room(part, content):
        write(part, content[:10])
        if part.parent == tmp_path:
            raise OSError(28, "No space left on device")
        write(part.with_suffix(".again"), content)
        part.with_suffix(".again").replace(part)

    monkeypatch.setattr(files, "_write_whole", without_room)
    handed = hand_over(path, batch(1))
    assert handed.parent == elsewhere
    assert {each.name for each in tmp_path.iterdir()} == {"crawl.db", "elsewhere"}
    handed.rename(tmp_path / handed.name)
    CrawlDatabase.open(path).close()
    assert rows(path, "SELECT count(*) FROM visits") == [(1,)]


def test_anonymized_rows_come_back_without_their_nodes(path, tmp_path):
    """Whatever command takes them in writes what the one that measured them would have written."""
    sampled_again = SAMPLE._replace(next_at=utc_text(NOW + 90), taken_at=utc_text(NOW + 1))
    records = [
        VISIT,
        CrawlBatch([VISIT], JOURNAL),
        SampleBatch([SAMPLE, sampled_again], JOURNAL),
        HandshakeBatch("given", HANDSHAKES, TORRENT),
        measurement(),
    ]
    tables = ("visit_rows", "node_sample_rows", "sample_turns", "reply_rows", "node_rows", "swarm_samples")
    with CrawlDatabase.open(tmp_path / "as-measured.db", anonymize=True) as store:
        (tmp_path / "crawl.db.key").write_bytes((tmp_path / "as-measured.db.key").read_bytes())
        lease = [NodeToSample(ALICE, HERE)]
        run_id = begin(store)
        store.samples.lease(lease, NOW)
        store.write(run_id, records)
        expected = {table: store.rows(table) for table in tables}
    with CrawlDatabase.open(path, anonymize=True) as store:
        store.samples.lease(lease, NOW)
        handed = store.hand_over(begin(store), records)
    told = (ALICE, HERE.host.encode(), pack_host(HERE.host), b"h" * 8, JOURNAL.contacts)
    assert not any(each in handed.read_bytes() for each in told)
    with CrawlDatabase.open(path) as store:
        assert {table: store.rows(table) for table in tables} == expected
        assert store.rows("crawl_journal") == []
        assert store.runs.resume("census", {}) is None


def test_files_of_another_database_are_left_alone(tmp_path):
    handed = hand_over(tmp_path / "a[b]*.db", batch(1))
    for name in ("ab.db", "a[b]*.db2", "xa[b]*.db", "ab]x.db"):
        CrawlDatabase.open(tmp_path / name).close()
    assert handed.exists()
    CrawlDatabase.open(tmp_path / "a[b]*.db").close()
    assert not handed.exists()


class _Harm:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize(
    "content",
    [b"", b"text\n", pickle.dumps(_Harm()), pickle.dumps((1, 0, [_Harm()])), pickle.dumps(Random(1))],
    ids=["empty", "text", "function", "inner", "class"],
)
def test_file_of_another_hand_is_one_line_and_has_nothing_run(path, tmp_path, content, capsys):
    CrawlDatabase.open(path).close()
    planted = tmp_path / "crawl.db-unwritten-00000000"
    planted.write_bytes(content)
    with pytest.raises(DatabaseError, match=r"that cannot be read, .*; move it away$") as refused:
        CrawlDatabase.open(path)
    assert "\n" not in str(refused.value)
    assert capsys.readouterr().out == ""
    assert planted.read_bytes() == content


def test_errors_that_pass_are_told_from_others(path):
    with CrawlDatabase.open(path, busy_timeout=0.01) as store, closing(sqlite3.connect(path)) as other:
        run_id = begin(store)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusy):
            store.write(run_id, [VISIT])
        other.rollback()
        (pages,) = store.connection.execute("PRAGMA page_count").fetchone()
        store.connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(DatabaseFull):
            store.write(run_id, [batch(number) for number in range(5000)])
        store.connection.execute("PRAGMA max_page_count = 1000000")
        store.write(run_id, [VISIT])
        assert len(store.rows("visits")) == 1
