"""Marks of distrust: liars get them, honest nodes do not."""

from dataclasses import replace
from functools import reduce
from operator import or_
from random import Random

import pytest

from benchmarks.swarms.__main__ import drawn_size, measure
from benchmarks.swarms.liars import random_filter
from benchmarks.swarms.model import ModelSwarm, SwarmModel, reply_of
from crawler.synthetic.memory import SyntheticMemoryNetwork
from crawler.synthetic.settings import SyntheticSettings
from dhtnode.addresses import Address
from dhtnode.ids import InfoHash
from dhtnode.krpc.compact import pack_address
from dhtnode.krpc.scrape_filter import ScrapeFilter, host_mask
from dhtnode.swarm.joint_estimate import estimate_swarm
from dhtnode.swarm.replies import observe
from dhtnode.swarm.store_overlap import NodeStore, lone_store, outlier_stores
from dhtnode.swarm.trust_marks import Mark, classify, marks_of, meaning_of

EMPTY = ScrapeFilter()
FULL = ScrapeFilter((1 << 2048) - 1)


def honest(peers, seed=1, **model):
    source = ModelSwarm(SwarmModel(**model), peers, Random(f"{peers} {seed}")).replies()
    return [next(source) for _ in range(8)]


def marks(replies):
    return tuple(node.marks for node in classify(replies))


def marks_of_last(replies, liar):
    *others, last = marks([*replies, liar])
    assert not any(others)
    return last


def test_mark_in_a_database_has_a_meaning():
    assert {meaning_of(mark.value) for mark in Mark} == {mark.meaning for mark in Mark}
    assert meaning_of("impossible-count") == "sent a filter with every bit set, which no store fills"
    assert meaning_of("bribed") == "bribed"


def test_marks_that_were_set_before_are_kept_in_order():
    replies = honest(40)
    replies[7] = replace(replies[7], marks=("foreign-source", "wrong-id"))
    assert marks(replies) == ((),) * 7 + (("wrong-id", "foreign-source"),)


def test_lists_of_another_length_are_refused():
    with pytest.raises(ValueError, match="zip"):
        marks_of(observe(honest(40)), [()] * 7)


@pytest.mark.parametrize("peers", [1, 3, 40, 400, 3000])
def test_full_filter_is_impossible(peers):
    """No store holds as many peers as it takes to set every bit."""
    found = marks_of_last(honest(peers), reply_of(9, EMPTY, FULL, ()))
    assert "impossible-count" in found


def test_seeds_that_are_leechers_are_marked():
    invented = random_filter(40, Random(1))
    a_few = ScrapeFilter(invented.bits & ~random_filter(1500, Random(2)).bits)
    assert "seeds-are-leechers" in marks([reply_of(9, invented, invented, ())])[0]
    assert marks([reply_of(9, invented | a_few, a_few, ())]) == ((),)


def test_seeds_share_bits_with_many_leechers_by_chance():
    random = Random(1)
    replies = [reply_of(9, random_filter(12, random), random_filter(3000, random), ()) for _ in range(50)]
    assert {marks([reply]) for reply in replies} == {((),)}


def test_names_that_are_not_in_the_filters_are_marked():
    teller = next(reply for reply in honest(40) if reply.peers and reply.seeds_filter)
    assert marks([teller]) == ((),)
    others = random_filter(20, Random(3)).to_bytes()
    assert marks([replace(teller, seeds_filter=others, peers_filter=bytes(256))]) == (
        ("names-others-than-it-stores",),
    )


@pytest.mark.parametrize("host", ["10.0.0.{}", "127.0.0.{}", "100.64.0.{}", "240.0.0.{}"])
def test_special_use_addresses_are_marked(host):
    special = tuple(Address(host.format(number), 1) for number in range(1, 30))
    replies = honest(60, bep33=0.0)
    assert "special-use-addresses" in marks_of_last(replies, reply_of(9, None, None, special))
    leaking = replace(replies[-1], peers=(*replies[-1].peers, pack_address(special[0])))
    assert marks([*replies[:-1], leaking]) == ((),) * 8


@pytest.mark.parametrize(("special", "marked"), [(4, False), (5, True)])
def test_half_of_the_listed_peers_may_not_be_special(special, marked):
    hosts = [f"10.0.0.{number}" if number < special else f"21.0.0.{number}" for number in range(10)]
    reply = reply_of(9, None, None, tuple(Address(host, 1) for host in hosts))
    assert (marks([reply]) == (("special-use-addresses",),)) is marked


def test_on_loopback_every_address_serves():
    values = tuple(Address(f"198.18.0.{number}", 1) for number in range(20))
    reply = reply_of(9, None, None, values)
    here = replace(reply, address=Address("127.0.0.9", 1))
    at_home = replace(here, peers=(pack_address(Address("10.0.0.1", 1)),))
    assert marks([reply]) == marks([here]) == marks([at_home]) == ((),)


@pytest.mark.parametrize(
    ("peers", "hosts"), [(1, 60), (5, 500), (40, 60), (40, 3000), (400, 60), (400, 3000), (3000, 500)]
)
def test_invented_store_is_unknown_to_the_others(peers, hosts):
    liar = reply_of(
        9, random_filter(hosts // 3, Random(hosts)), random_filter(hosts, Random(f"leechers {hosts}")), ()
    )
    assert marks_of_last(honest(peers, 2), liar) == ("unknown-to-the-others",)


@pytest.mark.parametrize("peers", [20, 100, 400])
def test_padded_store_is_unknown_to_the_others(peers):
    """Half of it is true; the other half only this node knows."""
    replies = honest(peers, bep33=1.0, capped=0.0)
    stored = observe(replies)[0].stored
    liar = reply_of(9, EMPTY, stored | random_filter(peers, Random(4)), ())
    assert marks_of_last(replies, liar) == ("unknown-to-the-others",)


@pytest.mark.parametrize("hosts", [3, 7])
def test_few_peers_that_no_other_node_knows_are_marked(hosts):
    """Two nodes have the filter of one tiny swarm; the six others know nearly all of this one."""
    replies = honest(80, bep33=1.0, capped=0.0, loss=0.0)[:6]
    liars = [reply_of(20 + number, random_filter(hosts, Random(hosts)), EMPTY, ()) for number in range(2)]
    assert marks([*replies, *liars]) == ((),) * 6 + (("copied-filters",),) * 2
    assert marks_of_last(replies, liars[0]) == ("unknown-to-the-others",)


def test_few_peers_that_the_others_know_are_no_reason_for_a_mark():
    replies = honest(80, bep33=1.0, capped=0.0, loss=0.0)
    known = [peer for reply in replies for peer in reply.peers][:3]
    few = ScrapeFilter(reduce(or_, (host_mask(peer[:-2]) for peer in known)))
    assert not any(marks([*replies, reply_of(20, EMPTY, few, ())]))


def test_store_too_large_to_be_compared_is_seen_to_be_padded():
    """2500 of a swarm of 2800, and as many invented: its unions with the others are full."""
    replies = honest(2800, bep33=1.0, capped=0.0, room=6000, loss=0.0)
    padded = observe(replies)[0].stored | random_filter(2500, Random(1))
    assert marks_of_last(replies[1:], reply_of(20, EMPTY, padded, ())) == ("unknown-to-the-others",)


def test_copies_of_another_swarm_are_one_witness():
    replies = honest(400, bep33=1.0, capped=0.0)[:5]
    copied = random_filter(100, Random(5))
    liars = [reply_of(20 + number, copied, EMPTY, ()) for number in range(3)]
    assert marks([*replies, *liars]) == ((),) * 5 + (("copied-filters",),) * 3


@pytest.mark.parametrize("peers", [1, 3, 10, 100, 400])
def test_equal_stores_are_no_sign_of_copying(peers):
    assert marks(honest(peers, announce=1.0, bep33=1.0, capped=0.0, loss=0.0)) == ((),) * 8


@pytest.mark.parametrize("seed", range(40))
def test_node_with_leechers_only_does_not_outvote_the_others(seed):
    random = Random(seed)
    hosts = [host_mask(random.randbytes(4)) for _ in range(600)]
    stores = []
    for number in range(12):
        told = [place for place in range(600) if random.random() < (0.9 if number < 8 else 0.1)]
        shown = random.sample(told, min(50, len(told)))
        is_part = number % 3 > 0 and number < 8
        if is_part:
            shown += [place for place in told if place >= 470]
        bits = reduce(or_, (hosts[place] for place in shown))
        stores.append(NodeStore(bits, len(set(shown)), is_part))
    invented = reduce(or_, (host_mask(random.randbytes(4)) for _ in range(200)))

    assert outlier_stores(stores) == frozenset()
    assert outlier_stores([*stores, NodeStore(invented, 200)]) == {12}


@pytest.mark.parametrize(("peers", "judged"), [(19, True), (21, False)])
def test_equal_stores_are_several_witnesses_below_twenty_peers(peers, judged):
    store, *liars = (random_filter(size, Random(size)) for size in (peers, 60, 61, 62))
    equal = [reply_of(rank, EMPTY, store, ()) for rank in range(3)]
    others = [reply_of(rank + 3, EMPTY, liar, ()) for rank, liar in enumerate(liars)]
    assert store.estimate() == pytest.approx(peers, abs=0.5)
    expected = ("unknown-to-the-others",) if judged else ()
    assert marks([*equal, *others]) == ((),) * 3 + (expected,) * 3


def test_stores_with_half_of_the_usual_overlap_are_asked_about_the_others():
    """Two of eight pad their stores with 29 per cent, each with other peers; both are told."""
    random = Random(0)
    hosts = [host_mask(random.randbytes(4)) for _ in range(200)]
    stores = []
    for number in range(8):
        some = random.sample(hosts, 100)
        if number < 2:
            some += [host_mask(random.randbytes(4)) for _ in range(40)]
        stores.append(NodeStore(reduce(or_, some), len(some)))
    assert outlier_stores(stores) == {0, 1}


def test_store_of_which_half_is_invented_is_told_where_all_are_cut():
    """It shares half as much with the others as they do; what it alone has proves nothing there."""
    random = Random(1)
    hosts = [host_mask(random.randbytes(4)) for _ in range(3000)]
    told = [random.sample(hosts, 500) for _ in range(8)]
    told[3][250:] = [host_mask(random.randbytes(4)) for _ in range(250)]
    assert outlier_stores([NodeStore(reduce(or_, some), 500) for some in told]) == {3}


def test_two_stores_outvote_a_third():
    random = Random(1)
    hosts, invented = ([host_mask(random.randbytes(4)) for _ in range(60)] for _ in range(2))
    told = [hosts[:50], hosts[10:], invented]
    assert outlier_stores([NodeStore(reduce(or_, some), len(some)) for some in told]) == {2}


def test_two_liars_among_stores_of_leechers_are_told():
    """No other store is complete, so the leechers have to be held against each other after all."""
    random = Random(3)
    (leecher,) = (host_mask(random.randbytes(4)) for _ in range(1))
    liars = [reduce(or_, (host_mask(random.randbytes(4)) for _ in range(size))) for size in (3000, 400)]
    stores = [NodeStore(leecher, 1, True)] * 5 + [NodeStore(liars[0], 3000), NodeStore(liars[1], 400)]
    assert outlier_stores(stores) == {5, 6}


def test_stores_without_overlap_are_not_judged():
    replies = [reply_of(rank, random_filter(50, Random(rank)), EMPTY, ()) for rank in range(3)]
    assert marks(replies) == ((),) * 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "largest", "most"),
    [
        ({}, 3000, 0.0),
        ({"reach": "beta"}, 3000, 0.0),
        ({"capped": 0.0, "room": 100_000}, 9000, 0.002),
        ({"keeps": "first", "capped": 1.0}, 4000, 0.002),
        ({"keeps": "first"}, 4000, 0.01),
    ],
)
def test_honest_nodes_get_no_marks(model, largest, most):
    """Whether peers are alike or not, whatever stores keep, and however large they are."""
    random = Random(f"honest {model}")
    found = [measure(SwarmModel(**model), drawn_size(largest, random, 30), random) for _ in range(40)]
    assert sum(each.honest_marked for each in found) <= most * sum(each.asked for each in found)


def test_estimate_withstands_one_liar_in_five():
    """Most are marked, and the median error of swarms of all sizes stays within 10 %."""
    random = Random(11)
    found = [measure(SwarmModel(hostile=0.2), drawn_size(3000, random), random, probe=0.3) for _ in range(80)]
    errors = sorted(abs(each.estimate.peers / each.peers - 1) for each in found)
    assert errors[len(errors) // 2] <= 0.1
    assert sum(each.liars_marked for each in found) > 0.6 * sum(each.liars for each in found)
    assert sum(each.honest_marked for each in found) <= 1
    assert {mark for each in found for mark in each.marks} <= set(Mark)


async def test_a_node_leaves_out_what_it_marks(autojump_clock):
    """A third of the nodes lie, about swarms too: the sizes that `scrape` returns are near the truth."""
    settings = SyntheticSettings(nodes=400, hostile=0.3, swarms=12, largest=300, capped=0.0, seed=4)
    network = SyntheticMemoryNetwork(settings, seed=4)
    found, errors = set(), []
    async with network.open_node(0, through=network.synthetic.bootstrap_nodes()) as node:
        for swarm in network.synthetic.swarms:
            scrape = await node.scrape(InfoHash(swarm.info_hash))
            found.update(*(node.marks for node in scrape.observations))
            errors.append(abs(scrape.estimate.peers - swarm.peers) / swarm.peers)
    assert {"impossible-count", "unknown-to-the-others"} <= found <= set(Mark)
    assert sorted(errors)[len(errors) // 2] < 0.05


def test_lone_store_is_the_one_that_alone_has_peers_of_its_own():
    known = [0b1111, 0b0111, 0b1111, 0b1110]
    assert lone_store([*known, 0b110000]) == 4
    assert lone_store([*known[:2], 0b110000]) is None  # two others may both have missed them
    assert lone_store([*known, 0b110000, 0b1000000]) is None
    assert lone_store([*known, 0b110000, 0b110000]) is None
    assert lone_store([*known, 0]) is None


def test_interval_of_a_tiny_swarm_holds_with_and_without_a_store_that_is_alone():
    """Five nodes know four peers; one has three more, or ten times as many, which may be true or not."""
    masks = [0b11 << 2 * peer for peer in range(60)]
    for count, peers in ((3, 7), (40, 4)):
        stores = [ScrapeFilter(reduce(or_, masks[:4]))] * 5 + [ScrapeFilter(reduce(or_, masks[: 4 + count]))]
        replies = [reply_of(rank, EMPTY, store, ()) for rank, store in enumerate(stores)]
        found = estimate_swarm(observe(replies))
        assert (found.peers_low, found.peers) == (4, peers)
        assert found.peers_high == pytest.approx(4 + count, abs=2)
        assert found.leechers_low == 4
