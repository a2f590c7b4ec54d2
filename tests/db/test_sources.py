"""Measurements by trackers beside those by nodes of the DHT: nothing that speaks of the DHT may mix them."""

import re
import sqlite3
from contextlib import closing
from itertools import product
from pathlib import Path

import pytest

from crawler.browse.queries import QUERIES
from crawler.db import rollups
from crawler.db.connection import open_reading
from crawler.db.database import CrawlDatabase
from crawler.db.merge.merge import merge
from crawler.db.records.records import RunStatus
from crawler.db.schema import read_sql
from crawler.db.schema.columns import TABLES
from crawler.reports import REPORTS
from tests.databases import rows
from tests.small_database import LARGE, SCRAPE, SMALL, make_database, swarm_sample, time_text

OF_BOTH = {
    *("newest_of_swarms", "swarm_sources", "swarm-sources", "sources_of_swarms", "sources", "sources_by_day"),
    *("swarm_seeds", "seeds", "seeds_by_source", "torrents_alive", "alive", "torrents_alive_by_what"),
}
"""What is there to show both."""

BY_TRACKERS = """
INSERT INTO swarm_samples (
    run_id, info_hash, taken_at, seeds, leechers, peers, peers_low, peers_high, method, saturated,
    nodes_asked, nodes_answered, bytes_sent, bytes_received, source
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'tracker', 0, 3, 3, 1000, 1000, 'tracker')
"""
WATCHED = """
INSERT INTO watched_swarms (info_hash, source, since, next_at, interval, measured_at, peers, empties)
VALUES (?, 'given', ?, ?, 600, ?, ?, ?)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a database in which one watched swarm shrinks and another one is dead."""
    found = tmp_path / "small.db"
    make_database(found)
    with CrawlDatabase.open(found) as store:
        run_id = store.runs.begin("watch", {}, "0.1.0", time_text(400))
        samples = [(LARGE, 90_000, 300.0), *((SMALL, 90_000 * day, 0.0) for day in (1, 2, 3))]
        store.write(run_id, [swarm_sample(*each) for each in samples])
        for info_hash, peers, empties in ((LARGE, 300, 0), (SMALL, 0, 3)):
            now = time_text(270_000)
            store.connection.execute(WATCHED, (info_hash.hex(), time_text(0), now, now, peers, empties))
        store.runs.finish(run_id, RunStatus.FINISHED, time_text(270_001))
    return found


def add_trackers(path: Path) -> None:
    """Add what trackers say, before, between and after all other measurements, in their runs."""
    with closing(sqlite3.connect(path)) as connection:
        for info_hash, at, peers in product((LARGE, SMALL), (-50, 100, 150, 90_000, 900_000), (0.0, 5e4)):
            high = 3 * peers
            row = (SCRAPE, info_hash.hex(), time_text(at), peers / 2, peers / 2, peers, peers, high)
            connection.execute(BY_TRACKERS, row)
        for (run_id,) in connection.execute("SELECT run_id FROM run_costs").fetchall():
            rollups.make_rollups(connection, run_id)
        connection.commit()


def all_answers(path: Path) -> dict[str, object]:
    """Return what every report, view and query of the browser says of a database."""
    found: dict[str, object] = {}
    with open_reading(path) as db:
        for name, report in REPORTS.items():
            given = {report.needs: LARGE.hex()} if report.needs else {}
            found[f"report {name}"] = report.answer(db, limit=100, **given).rows
            found[f"report {name} of a run"] = report.answer(db, run=SCRAPE, limit=100, **given).rows
        values = dict.fromkeys(("run", "sample_id", "node_id", "client", "info_hash"), "")
        for name, query in QUERIES.items():
            found[f"query {name}"] = db.execute(query.sql, values | {"limit": 100, "newest": 100}).fetchall()
    for (name,) in rows(path, "SELECT name FROM sqlite_master WHERE type = 'view'"):
        found[f"view {name}"] = rows(path, f"SELECT * FROM {name}")
    found["costs"] = rows(path, "SELECT * FROM run_costs")
    with CrawlDatabase.open(path) as store:
        found["latest"] = [store.swarms.latest_sample(each) for each in (LARGE, SMALL)]
        found["watched"] = store.watch.watched()
    return {name: answer for name, answer in found.items() if not OF_BOTH & set(name.split())}


def test_trackers_change_no_answer_about_the_dht(path):
    """A tracker that knows 50,000 peers says nothing about how many are in the DHT."""
    before = all_answers(path)
    assert before["view swarm_half_life"]
    assert before["view dead_swarms"]
    assert before["report watched"]
    add_trackers(path)
    assert len(rows(path, "SELECT 1 FROM swarm_samples WHERE source = 'tracker'")) == 20
    after = all_answers(path)
    assert {name for name in before if before[name] != after[name]} == set()


def test_samples_of_trackers_are_not_combined_with_those_of_nodes(tmp_path):
    """Two vantages measure a swarm in one window: one of them asked trackers only."""
    for name in ("a", "b"):
        with CrawlDatabase.open(tmp_path / name) as store:
            run_id = store.runs.begin("scrape", {}, "0.1.0", time_text(0))
            store.write(run_id, [swarm_sample(LARGE, 10, 50.0)])
            store.runs.finish(run_id, RunStatus.FINISHED, time_text(20))
    with closing(sqlite3.connect(tmp_path / "b")) as connection:
        connection.execute("UPDATE swarm_samples SET source = 'tracker'")
        connection.commit()
    merge(tmp_path / "all", [tmp_path / "a", tmp_path / "b"])
    assert sorted(rows(tmp_path / "all", "SELECT source FROM swarm_samples")) == [("dht",), ("tracker",)]
    assert rows(tmp_path / "all", "SELECT * FROM combined_samples") == []


def test_views_and_queries_read_samples_of_the_dht():
    """The table has both sources: what reads it does so by a number, which another query has found."""
    by_number = r"(?:AS (\w+) )?(?:ON (?:\1\.)?id = |WHERE id = )"
    read = re.compile(rf"(?:FROM|JOIN) swarm_samples(?! (?:{by_number}|WHERE source = ))")
    texts = {"views": re.sub(r"--.*", "", read_sql("views.sql"))}
    for name, query in QUERIES.items():
        texts[name] = query.sql
    # Each of these says itself which source it reads.
    of_both = r"CREATE VIEW (dht_samples|newest_of_swarms) AS.*?;\n"
    texts["views"] = re.sub(of_both, "", texts["views"], flags=re.DOTALL)
    for name, text in texts.items():
        assert not read.search(text), name


def test_dht_samples_have_every_column_of_samples():
    columns = {each.name for each in TABLES["swarm_samples"].columns}
    assert {each.name for each in TABLES["dht_samples"].columns} == columns
