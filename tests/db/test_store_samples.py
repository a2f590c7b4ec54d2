"""What nodes store, by their samples: which count, and which are closest to a target."""

import pytest

from crawler.db.database import CrawlDatabase
from crawler.db.records.infohash_samples import NodeSample
from crawler.db.records.records import utc_text
from crawler.zone import Zone
from dhtnode import Address, Family, NodeId
from dhtnode.outcomes import Outcome

ALICE, BOB, CAROL = (NodeId(bytes([number]) * 20) for number in (1, 2, 3))


@pytest.fixture
def store():
    with CrawlDatabase.open(":memory:") as opened:
        for began in (0, 100):
            opened.runs.begin("sample", {}, "0.1", utc_text(began))
        yield opened


def write(store, run_id, node_id, host, num=1, **fields):
    fields = {"outcome": Outcome.ANSWERED, "samples": b"s" * 20} | fields
    sample = NodeSample(node_id, Address(host, 6881), utc_text(0), num=num, **fields)
    store.samples.write(run_id, [sample])


def stores(store):
    return store.samples.stores(2, Family.IPV4, Zone())


def shares(store):
    """Return what share of its store each node shows, by the first byte of its id."""
    return {node.node_id[0]: node.share for node in stores(store).closest(bytes(20), 99)}


def test_incredible_claims_are_left_out(store):
    write(store, 2, ALICE, "192.0.2.1", 100_000)
    write(store, 2, BOB, "192.0.2.2", 100_001)
    assert shares(store) == {1: pytest.approx(1 / 100_000)}


def test_samples_of_other_runs_count_while_they_are_valid(store):
    write(store, 1, ALICE, "192.0.2.1", 7, next_at=utc_text(101))
    write(store, 1, BOB, "192.0.2.2", 8, next_at=utc_text(99))
    write(store, 2, CAROL, "192.0.2.3", 9, outcome=Outcome.TIMEOUT, samples=b"")
    assert shares(store) == {1: pytest.approx(1 / 7)}


def test_all_samples_of_an_endpoint_count(store):
    """What none of them shows is hidden; the last id is that of the node."""
    write(store, 2, ALICE, "192.0.2.1", 4)
    write(store, 2, BOB, "192.0.2.1", 2, samples=b"t" * 20)
    (node,) = stores(store).closest(bytes(20), 99)
    assert (node.node_id, node.shown) == (BOB, {b"s" * 20, b"t" * 20})
    assert node.share == pytest.approx(1 - 3 / 4 * 1 / 2)


def test_size_is_what_was_returned_if_the_node_says_less(store):
    write(store, 2, ALICE, "192.0.2.1", None, samples=b"s" * 60)
    assert shares(store) == {1: 1.0}


def test_each_info_hash_of_the_zone_is_shown_once(store):
    write(store, 2, ALICE, "192.0.2.1", 2, samples=b"s" * 20 + b"\xf0" * 20)
    write(store, 2, BOB, "192.0.2.2", 1)
    found = stores(store)
    assert found.count_shown(Zone()) == 2
    assert {found.shown(number)[0] for number in (1, 2)} == {b"s" * 20, b"\xf0" * 20}
    assert found.count_shown(Zone(0b1, 1)) == 1
    assert found.shown(1)[0] == b"\xf0" * 20
    assert found.shown(1)[1].node_id == ALICE


def test_closest_are_those_by_the_metric_within_the_zone(store):
    for number in range(1, 200):
        node_id = NodeId(bytes([number]) + bytes(19))
        write(store, 2, node_id, f"192.0.2.{number}")
    target = bytes([77]) * 20
    whole = store.samples.stores(2, Family.IPV4, Zone()).closest(target, 8)
    expected = sorted(range(1, 200), key=lambda number: number ^ 77)[:8]
    half = store.samples.stores(2, Family.IPV4, Zone(1, 1)).closest(target, 200)
    assert [node.node_id[0] for node in whole] == expected
    assert {node.node_id[0] for node in half} == set(range(128, 200))
