"""What nodes of a synthetic network keep of swarms: early comers or a random part, of peers that differ."""

from itertools import pairwise
from statistics import mean

import pytest

from crawler.synthetic.network import Network
from crawler.synthetic.settings import SyntheticSettings, read_announcers
from crawler.synthetic.swarms import CLOSEST
from dhtnode.krpc import ScrapeFilter
from tests.synthetic.test_model import ask, result

PEERS = 2000


def network_of(**settings):
    usual = {"nodes": 60, "swarms": 1, "largest": PEERS, "announce": 1.0, "bep33": 1.0}
    return Network(SyntheticSettings(**(usual | settings)))


def stores_of(network, place=0):
    """Return the hosts in each of the 8 stores closest to a swarm."""
    ranks = network.swarms.holders(place)[:CLOSEST]
    return [{peer[:4] for peer in network.swarms.stored(place, rank).peers} for rank in ranks]


def shared_by_two(stores):
    """Return the mean share of a store that the next one has too."""
    return mean(len(one & other) / len(one) for one, other in pairwise(stores))


@pytest.mark.parametrize(
    ("settings", "size", "shared"),
    [
        ({"cap": 500}, 500, 0.25),
        ({"cap": 500, "keeps": "first"}, 500, 1.0),
        ({"cap": 500, "keeps": "first", "disorder": 1000.0}, 500, 0.25),
        ({"cap": 0, "keeps": "first"}, PEERS, 1.0),
        ({"cap": 0}, PEERS, 1.0),
    ],
)
def test_full_stores_keep_what_came_first_or_a_random_part(settings, size, shared):
    stores = stores_of(network_of(capped=1.0, **settings))
    assert [len(store) for store in stores] == [size] * CLOSEST
    assert shared_by_two(stores) == pytest.approx(shared, abs=0.03)


def test_first_means_less_the_later_nodes_may_hear_of_a_peer():
    shared = [
        shared_by_two(stores_of(network_of(capped=1.0, keeps="first", disorder=disorder)))
        for disorder in (0.0, 0.2, 1.0, 5.0)
    ]
    assert shared == sorted(shared, reverse=True)
    assert shared[0] == 1.0
    assert shared[-1] < 0.5


def test_nodes_differ_in_their_caps():
    network = network_of(nodes=400, capped=0.5, cap=100, cap_others=300, swarms=30, sizes="same")
    sizes = [len(store) for place in range(30) for store in stores_of(network, place)]
    assert set(sizes) == {100, 300}
    assert 80 < sizes.count(100) < 160


@pytest.mark.parametrize(
    ("announcers", "chance", "both"),
    [
        ("equal", 0.9, 0.81),
        ("uniform", 0.45, 0.27),
        ("beta:2,1", 0.6, 0.405),
        ("two-classes:0.5,0.2", 0.54, 0.4212),
        ("lognormal:0", 0.54, 0.2916),
    ],
)
def test_peers_differ_in_how_often_they_are_heard_of(announcers, chance, both):
    """By the first and the second moment of their chances: those of one peer are the same at all nodes."""
    stores = stores_of(network_of(announce=0.9, announcers=announcers, capped=1.0, cap=0))
    assert mean(map(len, stores)) / PEERS == pytest.approx(chance, abs=0.03)
    assert mean(len(one & other) for one, other in pairwise(stores)) / PEERS == pytest.approx(both, abs=0.03)


@pytest.mark.parametrize(
    "text",
    ["", "even", "beta", "beta:1", "beta:0,1", "beta:a,b", "equal:1", "lognormal:-1", "two-classes:2,0.1"],
)
def test_announcers_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match="announcers"):
        SyntheticSettings(announcers=text)


def test_equal_announcers_need_no_draw():
    assert read_announcers("equal") is None


@pytest.mark.parametrize(("field", "value"), [("keeps", "last"), ("sizes", "large")])
def test_words_that_are_none_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        SyntheticSettings(**{field: value})


@pytest.mark.parametrize(
    ("sizes", "expected"), [("zipf", [100, 50, 33]), ("log", [100, 10, 1]), ("same", [100] * 3)]
)
def test_sizes_of_swarms_follow_a_law(sizes, expected):
    network = network_of(swarms=3, largest=100, sizes=sizes)
    assert sorted((swarm.peers for swarm in network.swarms), reverse=True) == expected


def named_by_one_node(windows, queries=20):
    """Return the lists that a node returns to different queries, and the order of its store."""
    network = network_of(capped=1.0, windows=windows)
    rank = network.swarms.holders(0)[0]
    number = network.population.numbers[rank]
    (swarm,) = network.swarms
    lists = [
        result(network, number, "get_peers", info_hash=swarm.info_hash, t=b"%02d" % query)[b"values"]
        for query in range(queries)
    ]
    return lists, network.swarms.stored(0, rank).peers


def test_windows_are_next_to_each_other_in_the_store():
    lists, store = named_by_one_node(1.0)
    for named in lists:
        places = [store.index(peer) for peer in named]
        assert {(other - one) % len(store) for one, other in pairwise(places)} == {1}
    assert len({named[0] for named in lists}) > 10


def test_other_lists_are_random_choices():
    lists, store = named_by_one_node(0.0)
    assert all(len(set(named)) == len(named) for named in lists)
    steps = {
        (store.index(other) - store.index(one)) % len(store)
        for named in lists
        for one, other in pairwise(named)
    }
    assert len(steps) > 100


def filters_of(network, place=0):
    rank = network.swarms.holders(place)[0]
    info_hash = network.swarms.info_hash(place)
    number = network.population.numbers[rank]
    told = result(network, number, "get_peers", info_hash=info_hash, scrape=1)
    return [round(ScrapeFilter.from_bytes(told[key]).estimate()) for key in (b"BFsd", b"BFpe") if key in told]


def test_shared_stores_tell_of_hosts_of_both_families():
    usual = {"largest": 400, "capped": 1.0, "dual_stack": 0.5}
    apart, together = (sum(filters_of(network_of(shared_stores=share, **usual))) for share in (0.0, 1.0))
    assert apart == pytest.approx(400, rel=0.08)
    assert together == pytest.approx(600, rel=0.08)


def test_silent_seeds_are_stored_as_leechers():
    network = network_of(largest=400, capped=1.0, silent_seeds=1.0)
    (swarm,) = network.swarms
    stored = network.swarms.stored(0, network.swarms.holders(0)[0])
    assert swarm.seeds > 0
    assert (len(stored.seeds), len(stored.leechers)) == (0, 400)


def test_same_settings_make_the_same_stores():
    settings = {"keeps": "first", "disorder": 1.0, "announcers": "beta:2,1", "dual_stack": 0.3, "capped": 1.0}
    one, other = (network_of(**settings) for _ in range(2))
    assert stores_of(one) == stores_of(other)
    assert stores_of(one) != stores_of(network_of(seed=2, **settings))


def test_announced_peers_are_returned_with_those_of_the_model():
    network = network_of(largest=3, capped=1.0)
    rank = network.swarms.holders(0)[0]
    number, info_hash = network.population.numbers[rank], network.swarms.info_hash(0)
    before = result(network, number, "get_peers", info_hash=info_hash)
    ask(network, number, "announce_peer", info_hash=info_hash, port=9000, token=before[b"token"])
    after = result(network, number, "get_peers", info_hash=info_hash)
    peers = set(network.swarms.stored(0, rank).peers)
    assert set(after[b"values"]) == peers | {bytes((127, 0, 0, 1)) + (9000).to_bytes(2, "big")}
