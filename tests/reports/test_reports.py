"""Named questions to a database: what they answer, and that they need not read it all."""

import sqlite3
from contextlib import closing

import pytest

from crawler.db import rollups
from crawler.db.connection import open_reading
from crawler.db.database import CrawlDatabase
from crawler.db.records.records import RunStatus
from crawler.reports import REPORTS, NoAnswer, report_summary
from crawler.reports.report import select
from tests.small_database import CENSUS, LARGE, SAMPLE, SCRAPE, SMALL, make_database, time_text, visits

NAMES = [name for name, report in REPORTS.items() if not report.needs]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("database") / "small.db"
    make_database(path)
    return path


@pytest.fixture
def db(database):
    with open_reading(database) as connection:
        yield connection


def answer(db, name, **bounds):
    return REPORTS[name].answer(db, **bounds).rows


def test_size_of_the_network_stands_beside_its_counts(db):
    assert answer(db, "network-size") == (
        (CENSUS, time_text(0), 4, 20, 14, 0, 14, 14, "whole", "hosts", 15, 14, 18, *[None] * 6),
    )


def test_clients_are_ranked(db):
    """The share is that of nodes that answered; who only lied or was silent is no node of a client."""
    assert answer(db, "clients") == (
        ("LT", "libtorrent", 12, 85.71, 25.5),
        ("UT", "uTorrent", 2, 14.29, 400.0),
    )


def test_support_is_told_with_what_it_rests_on(db):
    """A share without the number behind it says little; nothing known is no zero."""
    assert answer(db, "beps") == (
        ("LT", "libtorrent", 12, 100.0, 4, 50.0, 12, 78.6, 14),
        ("UT", "uTorrent", 2, 0.0, 4, 50.0, 2, None, None),
    )


def test_round_trips_are_quantiles_of_answers(db):
    rows = answer(db, "round-trips", run=CENSUS)
    assert [row[:3] for row in rows] == [("all", "all", 14), ("LT", "libtorrent", 12), ("UT", "uTorrent", 2)]
    assert rows[1][3:] == (20.6, 23.0, 26.0, 29.0, 31.4, 31.9)


def test_outcomes_are_shares_of_each_kind(db):
    assert answer(db, "outcomes", run=CENSUS) == (
        ("visit", 4, "answered", None, 14, 70.0, 1),
        ("visit", 4, "timeout", None, 5, 25.0, 0),
        ("visit", 4, "wrong-id", None, 1, 5.0, 0),
    )
    assert answer(db, "outcomes")[0] == ("sample", 4, "answered", None, 11, 78.57, 0)


def test_suspects_are_listed(db):
    assert answer(db, "sybils") == ((4, "ids on one host", "20.0.3.203", 40.0, 1.0, 1e-9, "40 ids"),)


def test_swarms_are_ranked_by_their_newest_sample(db):
    ranked = [(row[0], row[3]) for row in answer(db, "swarms")]
    assert ranked == [(LARGE.hex(), 800), (SMALL.hex(), 7)]
    assert answer(db, "swarms", limit=1)[0][0] == LARGE.hex()
    assert answer(db, "swarms", run=CENSUS) == ()


def test_ranking_reads_no_row_that_it_does_not_show(db):
    statements = []
    db.set_trace_callback(statements.append)
    for run in (None, SCRAPE):
        REPORTS["swarms"].answer(db, run=run)
    db.set_trace_callback(None)
    ranking = [each for each in statements if "WITH latest" in each]
    assert len(ranking) == 2
    for statement in ranking:
        plan = " ".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}"))
        assert "SCAN swarm_samples USING COVERING INDEX idx_swarm_samples_latest" in plan


def test_history_of_a_swarm_begins_with_the_newest(db):
    report = REPORTS["swarm"].answer(db, info_hash=LARGE.hex())
    assert [row[:5] for row in report.rows] == [
        (time_text(200), "", 800, 798, 802),
        (time_text(100), "", 900, 898, 902),
    ]


def test_discovery_has_no_number_for_infinity(db):
    assert [row[4:] for row in answer(db, "discovery")] == [
        ("coverage", 0.9123, 0.9, 0.92),
        ("chao1", 50.0, 40.0, None),
    ]


def test_runs_tell_what_they_cost(db):
    assert [row[:2] + row[3:] for row in answer(db, "runs")] == [
        (SAMPLE, "sample", "finished", 1.0, 0, 0, 14, 0, 14, 14, 0, None, None),
        (SCRAPE, "scrape", "finished", 130.5, 0, 4, 0, 0, 32, 8, 0, 400, 3600),
        (CENSUS, "census", "finished", 60.0, 20, 0, 0, 0, 20, 14, 0, None, None),
    ]


def test_run_under_way_is_told_of_by_its_newest_rows(tmp_path):
    path = tmp_path / "crawl.db"
    with CrawlDatabase.open(path) as store:
        run_id = store.runs.begin("census", {}, "0.1.0", time_text(0))
        store.write(run_id, visits())
        with open_reading(path) as db:
            before = [REPORTS[name].answer(db) for name in ("outcomes", "round-trips", "runs")]
        store.runs.finish(run_id, RunStatus.FINISHED, time_text(9))
    with open_reading(path) as db:
        after = [REPORTS[name].answer(db) for name in ("outcomes", "round-trips", "runs")]

    assert [report.rows for report in before[:2]] == [report.rows for report in after[:2]]
    assert "under way" in before[0].title
    assert "under way" not in after[0].title
    assert [before[2].rows[0][3], after[2].rows[0][3]] == ["running", "finished"]
    assert before[2].rows[0][5:] == after[2].rows[0][5:]


def test_large_run_under_way_tells_its_rows_only(tmp_path, monkeypatch):
    """What else it came to would take too long to count."""
    monkeypatch.setattr("crawler.reports.questions.runs.MOST_COUNTED", 19)
    path = tmp_path / "crawl.db"
    with CrawlDatabase.open(path) as store:
        store.write(store.runs.begin("census", {}, "0.1.0", time_text(0)), visits())
    with open_reading(path) as db:
        assert answer(db, "runs")[0][5:] == (20, 0, 0, 0, None, None, None, None, None)


@pytest.mark.parametrize("name", NAMES)
def test_question_has_a_title_a_text_and_a_column_for_each_value(db, name):
    report = REPORTS[name].answer(db)
    assert report.name == name
    assert report.title
    assert report.text.endswith(".")
    assert [list(record.values()) for record in report.records()] == [list(row) for row in report.rows]


@pytest.mark.parametrize("name", NAMES)
def test_question_to_a_database_without_runs_has_no_rows(tmp_path, name):
    with CrawlDatabase.open(tmp_path / "new.db"):
        pass
    with open_reading(tmp_path / "new.db") as db:
        assert REPORTS[name].answer(db).rows == ()
    assert report_summary(db=tmp_path / "new.db") == []


@pytest.mark.parametrize("name", NAMES)
def test_unknown_run_has_no_answer(db, name):
    with pytest.raises(NoAnswer, match="there is no run 9"):
        REPORTS[name].answer(db, run=9)


def test_unknown_swarm_has_no_answer(db):
    with pytest.raises(NoAnswer, match="never measured"):
        REPORTS["swarm"].answer(db, info_hash="cc" * 20)
    with pytest.raises(NoAnswer, match="never measured in run 1"):
        REPORTS["swarm"].answer(db, info_hash=LARGE.hex(), run=CENSUS)


def test_summary_leaves_out_what_has_nothing_to_tell(database):
    """Of a run of scrapes there are swarms only, and its costs."""
    assert [report.name for report in report_summary(db=database, run=SCRAPE)] == ["runs", "swarms"]


@pytest.mark.parametrize(
    ("steps", "name", "value"),
    [
        ([(10.0, 11.0, 4)], "p50", 10.5),
        ([(10.0, 11.0, 1), (20.0, 21.0, 3)], "p25", 11.0),
        ([(20.0, 21.0, 3), (10.0, 11.0, 1)], "p99", 20.99),
        ([(100.0, 110.0, 10)], "p05", 100.5),
    ],
)
def test_quantile_of_counted_steps(steps, name, value):
    with closing(sqlite3.connect(":memory:")) as connection:
        columns = "run_id, family, client, from_ms, below_ms, answers"
        connection.execute(f"CREATE TABLE run_round_trips ({columns})")
        connection.execute("CREATE TABLE client_names (letters, name)")
        rows = [(1, 4, client, *step) for step in steps for client in ("LT", "all")]
        connection.executemany("INSERT INTO run_round_trips VALUES (?, ?, ?, ?, ?, ?)", rows)
        _, answered = select(connection, REPORTS["round-trips"].sql, run=1, limit=9)
    total = sum(count for _, _, count in steps)
    place = ["run_id", "client", "client_name", "answers", "p05", "p25", "p50", "p75", "p95", "p99"].index(
        name
    )
    assert [(row[1], row[3]) for row in answered] == [("all", 2 * total), ("LT", total), ("all", total)]
    assert [row[place] for row in answered] == pytest.approx([value] * 3, abs=0.051)


def contents(path):
    with closing(sqlite3.connect(path)) as connection:
        tables = (*rollups.TABLES, "run_support")
        return {name: sorted(connection.execute(f"SELECT * FROM {name}"), key=str) for name in tables}


def test_rollups_of_a_run_go_with_it(tmp_path):
    path = tmp_path / "crawl.db"
    make_database(path)
    before = contents(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        tables = ("visit_rows", "run_counts", "run_clients", "size_estimates", "alarms", "reply_rows")
        for table in (*tables, "swarm_samples", "node_sample_rows", "discovery_estimates", "runs"):
            connection.execute(f"DELETE FROM {table}")
    assert all(before.values())
    assert not any(contents(path).values())
