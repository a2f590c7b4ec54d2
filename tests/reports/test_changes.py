"""The report on who came and who left, from filters that are written and then deleted."""

from random import Random

import pytest

from benchmarks.changes.model import ChangeModel, draw_change
from crawler import report
from crawler.db.database import CrawlDatabase
from crawler.db.records.records import utc_text
from dhtnode import InfoHash
from dhtnode.swarm import estimate_swarm
from tests.measurements import measurement_of

EPOCH = 1_700_000_000.0
HOUR = 3600.0
SWARM, ONCE = InfoHash(b"a" * 20), InfoHash(b"b" * 20)


def measured(info_hash, hour, observations):
    found = estimate_swarm(observations)
    sizes = {name: float(getattr(found, name)) for name in ("peers", "peers_low", "peers_high")}
    return measurement_of(info_hash, utc_text(EPOCH + hour * HOUR), observations, **sizes)


@pytest.fixture(scope="module")
def truth():
    return draw_change(ChangeModel(peers=100, leave=0.2, join=0.4, hours=2.0), Random(3))


@pytest.fixture
def path(tmp_path, truth):
    with CrawlDatabase.open(tmp_path / "crawl.db") as store:
        run_id = store.runs.begin("watch", {}, "0", utc_text(EPOCH))
        samples = [measured(SWARM, 0, truth.first), measured(SWARM, 2, truth.second)]
        store.write(run_id, [*samples, measured(ONCE, 0, truth.first)])
    return tmp_path / "crawl.db"


def test_arrivals_and_departures_are_computed_from_filters(path, truth):
    (row,) = report("changes", db=path).records()
    assert (row["info_hash"], row["hours"], row["name"]) == (SWARM.hex(), 2.0, None)
    assert row["nodes"] == len(
        {node.node_id for node in truth.first} & {node.node_id for node in truth.second}
    )
    assert row["arrivals_low"] <= truth.arrivals / 2 <= row["arrivals_high"]
    assert row["departures_low"] <= truth.departures / 2 <= row["departures_high"]
    assert row["change_low"] <= truth.after - truth.before <= row["change_high"]
    assert row["is_clear"] == 1


def test_without_filters_there_is_nothing_to_compare(path):
    with CrawlDatabase.open(path) as store:
        while store.purge.delete_old_filters(0.0, EPOCH + 3 * HOUR) is not None:
            pass
        assert store.rows("swarm_pairs") == []
    assert report("changes", db=path).records() == []


def test_a_size_that_is_a_lower_bound_tells_of_no_change(path):
    with CrawlDatabase.open(path) as store, store.connection:
        store.connection.execute("UPDATE swarm_samples SET peers_high = NULL")
    (row,) = report("changes", db=path).records()
    assert (row["nodes"] > 0, row["arrivals"], row["is_clear"]) == (True, None, None)
