"""Nodes that hand out nodes which do not exist: told apart by what they alone returned, counted without."""

from collections import Counter
from random import Random

import pytest

from crawler.crawl.census import take_census
from crawler.crawl.census_progress import describe, record
from crawler.crawl.explanation import explain_census
from crawler.db.connection import GuardedConnection
from crawler.db.records.records import RunStatus
from crawler.settings import CrawlSettings
from crawler.synthetic.hostile import STYLES
from crawler.synthetic.memory import SyntheticMemoryNetwork
from crawler.synthetic.settings import SyntheticSettings
from dhtnode import Address, Family, NodeId
from tests.crawl.test_findings import SybilNetwork, open_crawl

pytestmark = pytest.mark.slow

T0 = "2025-06-01T12:00:00.000Z"
UNLIMITED = CrawlSettings(rate=0)


class InventingNetwork(SybilNetwork):
    """Let the nodes that were added name two of each other, and six new endpoints without a node."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._inventors = self._contacts

    def carry(self, data, source, destination, now):
        if destination in self.sybils:
            hosts = [bytes([96, *self._choice.randbytes(3)]) for _ in range(6)]
            self._contacts = [self._choice.randbytes(20) + host + b"\x1a\xe1" for host in hosts]
            self._contacts += self._choice.sample(self._inventors, 2)
        super().carry(data, source, destination, now)


def marked(store):
    return {row["address"] for row in store.rows("visits") if "invented-contacts" in (row["marks"] or "")}


async def test_nodes_that_alone_return_dead_ones_are_counted_apart(autojump_clock):
    """Plausible addresses and ids, so that nothing but their silence tells."""
    random, truth = Random(3), 300
    inventors = {Address(f"95.0.{host}.1", 6881): NodeId(random.randbytes(20)) for host in range(30)}
    settings = SyntheticSettings(nodes=truth, stale=0.3, seed=3)
    network = InventingNetwork(settings, inventors, seed=3, loss=0.02)
    async with open_crawl(network, bootstrap_nodes=list(inventors)) as (session, store):
        progress = await take_census(session, UNLIMITED, Random(3))
        store.runs.finish(session.run_id, RunStatus.FINISHED, T0)
        found = explain_census(GuardedConnection("a.db", store.connection), session.run_id, Random(9))
        names = marked(store)
        (row,) = store.rows("network_size")
    size = progress.findings.size(Family.IPV4, "crawl")
    without = progress.findings.size(Family.IPV4, "without inventors")
    assert names <= {address.host for address in inventors}
    assert len(names) >= 28
    assert (
        without.details["inventing"] == len(names) == size.details["answered"] - without.details["answered"]
    )
    assert without.low <= truth <= without.high
    assert size.low > truth
    assert (found.missing, found.differences) == (None, ())
    assert (row["inventing"], row["without_inventors"]) == (len(names), round(without.estimate))
    line = f"  {len(names)} that answered hand out nodes which do not exist; without them about "
    assert any(each.startswith(line) for each in describe(progress).splitlines())
    (printed,) = [each for each in record(progress)["sizes"] if each["method"] == "without inventors"]
    assert printed["inventing"] == len(names)


@pytest.mark.parametrize("loss", [0.0, 0.1])
async def test_honest_nodes_are_not_taken_for_inventors(autojump_clock, loss):
    """Nor are they where a third of all contacts is dead: others know these too."""
    settings = SyntheticSettings(nodes=600, stale=0.3, seed=8)
    network = SyntheticMemoryNetwork(settings, seed=8, loss=loss)
    async with open_crawl(network) as (session, store):
        progress = await take_census(session, UNLIMITED, Random(8))
        assert marked(store) == set()
    sizes = {each.method: each for each in progress.findings.sizes}
    assert sizes["without inventors"].estimate == sizes["crawl"].estimate
    assert sizes["without inventors"].details["inventing"] == 0
    assert not any("do not exist" in line for line in describe(progress).splitlines())


async def test_hostile_styles_that_invent_are_found_and_others_are_not(autojump_clock):
    settings = SyntheticSettings(nodes=800, stale=0.3, seed=5, hostile=0.25)
    network = SyntheticMemoryNetwork(settings, seed=5, loss=0.02)
    population, names = network.synthetic.population, ("honest", *STYLES)
    style_of = {
        population.address(population.ranks[number])[0]: names[population.styles[number]]
        for number in range(settings.nodes)
    }
    async with open_crawl(network) as (session, store):
        progress = await take_census(session, UNLIMITED, Random(5))
        styles = Counter(style_of[address] for address in marked(store))
        answered = Counter(
            style_of[row["address"]] for row in store.rows("visits") if row["outcome"] == "answered"
        )
    assert set(styles) <= {"bogus nodes", "flood"}
    assert styles["bogus nodes"] == answered["bogus nodes"] > 5
    assert styles["flood"] >= 0.8 * answered["flood"]
    size = progress.findings.size(Family.IPV4, "without inventors")
    assert size.details["inventing"] == styles.total()
