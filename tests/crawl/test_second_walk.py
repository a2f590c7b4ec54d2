"""A second walk from other ways in: what it costs, what it tells, and that the rows give it again."""

from random import Random

import pytest

from crawler.core.exclusion import Area
from crawler.crawl.census import take_census
from crawler.crawl.census_progress import describe, record
from crawler.crawl.explanation import explain_census
from crawler.crawl.explanation_text import explanation_lines
from crawler.crawl.second_walk import part_of
from crawler.db.connection import GuardedConnection
from crawler.db.records.records import RunStatus
from crawler.settings import CrawlSettings
from crawler.synthetic.memory import SyntheticMemoryNetwork
from crawler.synthetic.settings import SyntheticSettings
from crawler.zone import Zone
from dhtnode import Family
from tests.crawl.test_findings import open_crawl

pytestmark = pytest.mark.slow

T0 = "2025-06-01T12:00:00.000Z"
UNLIMITED = CrawlSettings(rate=0)


@pytest.mark.parametrize(
    ("zone", "nodes", "bits"),
    [(Zone(), 10, 1), (Zone(), 799, 1), (Zone(), 802, 2), (Zone(), 10**6, 12), (Zone(5, 3), 4000, 7)],
)
def test_part_has_so_many_nodes_or_half_of_all(zone, nodes, bits):
    part = part_of(zone, nodes, 400, Random(1))
    assert (part.bits, part.prefix >> part.bits - zone.bits) == (bits, zone.prefix)


def network_of(nodes, seed, loss):
    return SyntheticMemoryNetwork(SyntheticSettings(nodes=nodes, stale=0.3, seed=seed), seed=seed, loss=loss)


@pytest.mark.parametrize(("zone", "nodes"), [(Zone(), 500), (Zone(1, 1), 800)])
async def test_it_sees_what_the_first_walk_has_lost(autojump_clock, zone, nodes):
    """One datagram in ten is lost: a node in thirty looks dead to the first, and not to the second."""
    network = network_of(nodes, 4, 0.1)
    async with open_crawl(network) as (session, store):
        progress = await take_census(session, UNLIMITED, Random(4), Area(zone), second_walk=200)
        store.runs.finish(session.run_id, RunStatus.FINISHED, T0)
        found = explain_census(GuardedConnection("a.db", store.connection), session.run_id, Random(9))
        (row,) = store.rows("network_size")
        visits = len(store.rows("visits"))
    size = progress.findings.size(Family.IPV4, "second walk")
    details, counted = size.details, progress.findings.size(Family.IPV4, "counted")
    assert details["recaptured"] < details["control"] <= 250
    assert details["part"].startswith("1" if zone.bits else "")
    assert counted.estimate < size.estimate
    assert size.low <= nodes <= size.high
    assert details["queries"] == progress.second_walk_queries == record(progress)["second_walk_queries"]
    # Those that it asks are in a part, and its queries are no visits.
    assert details["queries"] < 5 * details["control"]
    assert visits == sum(progress.outcomes.values())
    assert (found.missing, found.differences) == (None, ())
    assert any("second walk: from other ways in" in line for line in explanation_lines(found))
    assert any("by a second walk" in line for line in describe(progress).splitlines())
    assert row["by_second_walk_low"] <= row["by_second_walk"] <= row["by_second_walk_high"]


async def test_changed_visits_are_seen_in_the_second_walk_too(autojump_clock):
    async with open_crawl(network_of(200, 6, 0.0)) as (session, store):
        await take_census(session, UNLIMITED, Random(6), second_walk=200)
        store.runs.finish(session.run_id, RunStatus.FINISHED, T0)
        store.connection.execute("UPDATE visit_rows SET outcome = 1 WHERE outcome = 0 AND id % 2")
        found = explain_census(GuardedConnection("a.db", store.connection), session.run_id, Random(9))
    assert "second walk of IPv4" in found.differences


@pytest.mark.parametrize(("nodes", "second_walk"), [(200, 0), (8, 400)])
async def test_none_where_it_is_not_wanted_or_would_tell_nothing(autojump_clock, nodes, second_walk):
    async with open_crawl(network_of(nodes, 6, 0.0)) as (session, store):
        progress = await take_census(session, UNLIMITED, Random(6), second_walk=second_walk)
        assert progress.second_walk_queries == 0
        assert progress.findings.size(Family.IPV4, "second walk") is None
        assert not any("second walk" in line for line in describe(progress).splitlines())
        (row,) = store.rows("census_evidence")
        assert (row["second_part"], row["second_nodes"], row["second_walk_queries"]) == (None, None, None)
