"""Nodes of the synthetic network that lie about swarms, and that no estimate believes them."""

import pytest
from bencode2 import bdecode, bencode

from crawler.synthetic.hostile import STYLES
from crawler.synthetic.liars import COPIED, INFLATED, INVENTED, LIARS, PEERS_RETURNED
from crawler.synthetic.network import Network
from crawler.synthetic.settings import SyntheticSettings
from dhtnode import Address
from dhtnode.krpc import ScrapeFilter

NODES = 600
ASKER = Address("127.0.0.9", 4000)
SWARM, OTHER = b"s" * 20, b"o" * 20


@pytest.fixture(scope="module")
def network():
    return Network(SyntheticSettings(nodes=NODES, hostile=1.0))


def answers(network, style, name=b"get_peers", **arguments):
    number = list(STYLES).index(style) + 1
    liars = [each for each in range(NODES) if network.population.styles[each] == number]
    assert len(liars) > 10
    query = bencode({b"t": b"tt", b"y": b"q", b"q": name, b"a": {b"id": b"a" * 20} | arguments})
    sent = [
        network.answer(
            Address(*network.population.address(network.population.ranks[each])), query, ASKER, 0.0
        )
        for each in liars
    ]
    assert all(len(datagrams) == 1 for datagrams in sent)
    return [bdecode(data)[b"r"] for ((data, _),) in sent]


def told(network, style, info_hash=SWARM):
    return answers(network, style, info_hash=info_hash, scrape=1)


def sizes(results):
    return [
        (ScrapeFilter.from_bytes(each[b"BFsd"]) | ScrapeFilter.from_bytes(each[b"BFpe"])).estimate()
        for each in results
    ]


@pytest.mark.parametrize("style", LIARS)
def test_liars_are_honest_about_nodes(network, style):
    for each in answers(network, style, b"find_node", target=SWARM):
        assert each.keys() == {b"id", b"nodes"}


@pytest.mark.parametrize("style", LIARS)
def test_answers_of_liars_are_well_formed(network, style):
    for each in told(network, style):
        assert {b"id", b"token"} <= each.keys()
        assert list(each) == sorted(each)


def test_full_filters_are_full(network):
    assert all(each[b"BFsd"] == each[b"BFpe"] == b"\xff" * 256 for each in told(network, "full filter"))


def test_empty_filters_are_empty(network):
    assert set(sizes(told(network, "empty filters"))) == {0}


def test_inflated_filters_hold_thousands(network):
    assert all(size == pytest.approx(INFLATED, rel=0.15) for size in sizes(told(network, "inflated filter")))


def test_copied_filters_are_the_same_everywhere(network):
    copied = told(network, "copied filters") + told(network, "copied filters", OTHER)
    assert len({(each[b"BFsd"], each[b"BFpe"]) for each in copied}) == 1
    assert sizes(copied[:1])[0] == pytest.approx(COPIED, rel=0.1)


def test_invented_filters_are_new_each_time(network):
    invented = told(network, "invented filters") + told(network, "invented filters", OTHER)
    assert len({(each[b"BFsd"], each[b"BFpe"]) for each in invented}) == len(invented)
    assert all(INVENTED[0] * 0.9 < size < INVENTED[1] * 1.1 for size in sizes(invented))


def test_special_use_values_are_nowhere(network):
    for each in told(network, "special-use values"):
        assert PEERS_RETURNED[0] <= len(each[b"values"]) <= PEERS_RETURNED[1]
        assert {value[0] for value in each[b"values"]} <= {0, 10, 127, 240}


def test_invented_values_are_in_the_network_of_the_model(network):
    for each in told(network, "invented values"):
        assert PEERS_RETURNED[0] <= len(each[b"values"]) <= PEERS_RETURNED[1]
        assert {value[:2] for value in each[b"values"]} <= {b"\xc6\x12", b"\xc6\x13"}
