"""A lower bound is shown as one, wherever a size would be."""

import json
from itertools import islice
from math import inf
from random import Random

import pytest

from benchmarks.swarms.model import ModelSwarm, SwarmModel
from crawler.browse.plots import plot_swarm, plot_swarms
from crawler.db.connection import open_reading
from crawler.db.database import CrawlDatabase
from crawler.db.records.records import RunStatus
from crawler.reports import REPORTS
from crawler.reports.explain import explain_sample, explanation_lines, explanation_record
from dhtnode import InfoHash, SwarmMeasurement
from dhtnode.cli.console import scrape_record, scrape_text
from dhtnode.swarm import classify, estimate_swarm

T0 = "2026-11-30T12:00:00.000Z"
LATER = "2026-11-30T13:00:00.000Z"
SWARM = InfoHash(b"s" * 20)
EARLY = SwarmModel(announce=1.0, announce_next=1.0, capped=1.0, keeps="first", bep33=1.0, loss=0.0)


def measured(peers, taken_at=T0):
    """Return what 16 nodes say of a swarm, of which each keeps the first 500."""
    replies = list(islice(ModelSwarm(EARLY, peers, Random(1)).replies(), 16))
    for reply in replies:
        reply.rtt_ms = 12.5
    observations = classify(replies)
    return SwarmMeasurement(SWARM, estimate_swarm(observations), observations, 16, 16, 600, 5000, taken_at)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("bounds") / "swarms.db"
    with CrawlDatabase.open(path) as store:
        run_id = store.runs.begin("scrape", {}, "0.1", T0)
        store.write(run_id, [measured(100, T0), measured(2000, LATER)])
        store.runs.finish(run_id, RunStatus.FINISHED, T0)
    return path


def test_text_and_record_of_a_scrape_say_at_least():
    scrape = measured(2000)
    least = scrape.estimate.peers_low
    assert 470 <= least <= 500
    text = scrape_text(scrape)
    assert f" at least {least} peers: at least " in text
    assert " to " not in text
    record = json.loads(json.dumps(scrape_record(scrape)))
    assert (record["peers"], record["peers_low"], record["peers_high"]) == (least, least, None)
    assert (record["method"], record["saturated"]) == ("at-least", True)


def test_rows_have_no_upper_end_and_no_change(database):
    with CrawlDatabase.open(database) as store:
        latest = store.rows("latest_swarms")[0]
        first, second = store.rows("swarm_history")
        growth = store.rows("swarm_growth")[0]
        headline = next(row for row in store.rows("swarm_estimates") if row["high"] == inf)
    assert (latest["method"], latest["peers_high"], latest["seeds_high"]) == ("at-least", None, None)
    assert (first["change"], second["change"], second["change_per_hour"]) == (None, None, None)
    assert second["is_clear"] == 1  # it has more than before in any case
    assert (growth["change_per_day"], growth["change_per_day_high"]) == (None, None)
    assert headline["low"] == headline["estimate"] <= 500


def test_explanation_says_at_least_and_which_stores_are_full(database):
    with CrawlDatabase.open(database) as store:
        found = explain_sample(store.swarms, lambda swarms: swarms.latest_sample(SWARM))
    assert (found.differences, found.missing) == ((), None)
    text = "\n".join(explanation_lines(found))
    assert f"\n  at least {found.sample['peers']:.0f} peers\n" in text.split("Result, by at-least")[1]
    stores = sum(row["seeds_filter"] is not None for row in found.replies)
    assert text.count("; full: it may have left out peers") == stores > 8
    record = explanation_record(found)
    json.dumps(record, allow_nan=False)
    assert sum(reply["is_full"] for reply in record["replies"]) == stores
    assert all(reply["used"] and not reply["marks"] for reply in record["replies"])


def test_reports_and_plots_say_at_least(database):
    with open_reading(database) as db:
        row = REPORTS["swarms"].answer(db).records()[0]
        history = REPORTS["swarm"].answer(db, info_hash=SWARM.hex()).records()
        plots = [plot_swarms(db).svg, plot_swarm(db, SWARM.hex()).svg]
    assert (row["bound"], row["peers_high"]) == ("at least", None)
    assert [each["bound"] for each in history] == ["at least", ""]
    for svg in plots:
        assert f"at least {row['peers']} peers" in svg
        assert 'class="bound"' in svg
