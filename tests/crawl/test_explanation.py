"""The sizes of a census from its rows alone: the same, step by step, or not where rows were changed."""

import json
from random import Random

import pytest

from crawler.core.exclusion import Area
from crawler.crawl.census import take_census
from crawler.crawl.explanation import explain_census
from crawler.crawl.explanation_text import explanation_lines, explanation_record
from crawler.db.connection import GuardedConnection
from crawler.db.database import CrawlDatabase
from crawler.db.purge.orders import Orders, parse_node
from crawler.db.records.records import CensusEvidence, RunStatus, SizeEstimate, epoch_seconds
from crawler.settings import CrawlSettings
from crawler.synthetic.memory import SyntheticMemoryNetwork
from crawler.synthetic.settings import SyntheticSettings
from crawler.zone import Zone
from dhtnode import Address, Family, NodeId
from dhtnode.outcomes import Outcome
from tests.commands import run_command
from tests.crawl.test_findings import EndlessNetwork, SybilNetwork, open_crawl
from tests.visits import visit_of

pytestmark = pytest.mark.slow

T0 = "2025-06-01T12:00:00.000Z"
UNLIMITED = CrawlSettings(rate=0)
WHOLE = Zone()


def explained(store, run_id=1):
    return explain_census(GuardedConnection("a.db", store.connection), run_id, Random(9))


async def crawled(network, store, session, zone=WHOLE):
    progress = await take_census(session, UNLIMITED, Random(1), Area(zone))
    store.runs.finish(session.run_id, RunStatus.FINISHED, T0)
    return progress


def plain(nodes=300, seed=1):
    settings = SyntheticSettings(nodes=nodes, stale=0.3, seed=seed)
    return SyntheticMemoryNetwork(settings, seed=seed, loss=0.05), ()


def crowded():
    """Return a network with hosts of many ports, one of which is to stand for each."""
    random = Random(13)
    crowd = {
        Address(f"95.0.0.{host}", 1000 + port): NodeId(random.randbytes(20))
        for host in range(6)
        for port in range(24)
    }
    settings = SyntheticSettings(nodes=200, stale=0.3, seed=13)
    return SybilNetwork(settings, crowd, seed=13, loss=0.05), list(crowd)[:12]


def endless():
    random = Random(17)
    known = {Address(f"95.0.{host}.1", 6881): NodeId(random.randbytes(20)) for host in range(4)}
    return EndlessNetwork(SyntheticSettings(nodes=150, seed=17), known, seed=17), list(known)


@pytest.mark.parametrize(
    ("make", "zone"), [(plain, Zone()), (plain, Zone(1, 1)), (crowded, Zone()), (endless, Zone())]
)
async def test_rows_give_the_sizes_that_were_recorded(autojump_clock, make, zone):
    network, through = make()
    async with open_crawl(network, bootstrap_nodes=list(through)) as (session, store):
        progress = await crawled(network, store, session, zone)
        found = explained(store)
        (kept,) = store.rows("census_evidence")
        visits = len(store.rows("visits"))
    assert (found.missing, found.differences) == (None, ())
    assert {each.method for each in found.again} == {each.method for each in progress.findings.sizes}
    assert (kept["held"] > 0) is (make is endless)
    # A byte for each visit, and little more.
    assert len(kept["known"]) == visits
    assert len(kept["namings"]) <= 4 * visits
    lines = explanation_lines(found)
    assert lines[-1] == "Counted again from the rows it is the same."
    crawl = progress.findings.size(Family.IPV4, "crawl")
    (line,) = [line for line in lines if line.startswith("  IPv4, crawl:")]
    assert f"{crawl.estimate:.1f}, {crawl.low:.1f} to {crawl.high:.1f} hosts" in line
    assert line.endswith("; the same")
    record = json.loads(json.dumps(explanation_record(found)))
    assert (record["agrees"], record["differences"]) == (True, [])
    assert record["families"][0]["counts"]["answered"] == crawl.details["answered"]
    assert len(record["families"][0]["steps"]) >= 9


async def test_what_was_changed_is_named(autojump_clock):
    network, _ = plain(nodes=100)
    async with open_crawl(network) as (session, store):
        await crawled(network, store, session)
        store.connection.execute("UPDATE size_estimates SET estimate = estimate + 1 WHERE method = 'chapman'")
        assert explained(store).differences == ("chapman of IPv4",)
        store.connection.execute("DELETE FROM size_estimates WHERE method = 'chapman'")
        assert explained(store).differences == ("chapman of IPv4",)
        store.connection.execute(
            "UPDATE visit_rows SET outcome = 1"
            " WHERE id = (SELECT id FROM visit_rows WHERE outcome = 0 LIMIT 1)"
        )
        found = explained(store)
        assert {"counted of IPv4", "crawl of IPv4", "endpoints of IPv4"} <= set(found.differences)
        assert any("it differs: 9" in line for line in explanation_lines(found))
        store.connection.execute("DELETE FROM visit_rows WHERE id = (SELECT max(id) FROM visit_rows)")
        found = explained(store)
        assert "a row is damaged (it has " in found.missing
        assert found.differences


async def test_a_census_that_is_not_whole_says_why_it_is_not_counted_again(autojump_clock):
    network, _ = plain(nodes=60)
    async with open_crawl(network) as (session, store):
        await crawled(network, store, session)
        (address,) = {row["address"] for row in store.rows("visits")[:1]}
        store.purge.run(Orders(networks=(parse_node(address),)), epoch_seconds(T0))
        assert "was deleted" in explained(store).missing
        cut = store.runs.begin("census", {}, "0.1", T0)
        size = SizeEstimate(Family.IPV4, "so far", "endpoints", 9.0, 8.0, 12.0, "whole")
        store.visits.write_results(cut, [size], ())
        store.runs.finish(cut, RunStatus.INTERRUPTED, T0)
        found = explained(store, cut)
        assert "did not come to its end" in found.missing
        assert any("so far: 9.0, 8.0 to 12.0 endpoints" in line for line in explanation_lines(found))
        assert explanation_record(found)["agrees"] is None
        empty = store.runs.begin("census", {}, "0.1", T0)
        store.runs.finish(empty, RunStatus.FINISHED, T0)
        assert explained(store, empty).missing == "no node answered it"
        assert explained(store, store.runs.begin("scrape", {}, "0.1", T0)) is None
        assert explained(store, 99) is None


def test_anonymized_census_keeps_no_evidence(tmp_path):
    path = tmp_path / "a.db"
    evidence = CensusEvidence(Family.IPV4, 1, 0, 1, 1, b"\x04", b"")
    size = SizeEstimate(Family.IPV4, "crawl", "hosts", 1.0, 1.0, 2.0, "whole")
    with CrawlDatabase.open(path, anonymize=True) as store:
        run_id = store.runs.begin("census", {}, "0.1", T0)
        visit = visit_of(bytes(20), Address("192.0.2.1", 1), epoch_seconds(T0), Outcome.ANSWERED, rtt_ms=5.0)
        store.write(run_id, [visit])
        store.visits.write_results(run_id, [size], (), [evidence])
        store.runs.finish(run_id, RunStatus.FINISHED, T0)
        assert store.rows("census_evidence") == []
    ended = run_command("dhtcrawl", "explain", "--db", path, "--census", run_id)
    assert (ended.status, ended.stderr) == (0, "")
    assert "It cannot be counted again: it is anonymized" in ended.stdout
    ended = run_command("dhtcrawl", "explain", "--db", path, "--census", run_id, "--json")
    assert ended.records[0]["missing"].startswith("it is anonymized")


@pytest.mark.parametrize(
    "options", [("--census", "7"), ("--census", "0"), ("--census", "x"), ("1", "--census", "1"), ()]
)
def test_bad_run_is_one_line(tmp_path, options):
    path = tmp_path / "a.db"
    CrawlDatabase.open(path).__exit__(None, None, None)
    ended = run_command("dhtcrawl", "explain", "--db", path, *options)
    assert (ended.status > 0, ended.stdout, ended.stderr.count("\n")) == (True, "", 1)
