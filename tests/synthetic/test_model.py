"""The model of a whole DHT: the same each time, true to its shares, and as hard to crawl as measured ones."""

import math
from collections import Counter
from random import Random

import pytest
from bencode2 import BencodeDecodeError, bdecode, bencode

from crawler.synthetic.hostile import FLOOD, STYLES
from crawler.synthetic.kinds import KINDS, SHARES
from crawler.synthetic.network import Network
from crawler.synthetic.population import CONTACT_BYTES, Population, secure_prefix
from crawler.synthetic.settings import SyntheticSettings
from crawler.synthetic.swarms import CLOSEST, HOLDERS, PEER_LIFETIME, Announced
from crawler.synthetic.tables import WIDTH, Tables
from dhtnode import Address
from dhtnode.krpc import ScrapeFilter

ASKER = Address("127.0.0.1", 4000)
OWN_ID = b"asker" * 4
TARGET = bytes(range(20))


def ask(network, number, method, now=1.0, t=b"tt", **arguments):
    named = {name.encode(): value for name, value in arguments.items()}
    query = {b"a": {b"id": OWN_ID} | named, b"q": method.encode(), b"t": t, b"y": b"q"}
    return network.answer(address_of(network, number), bencode(query), ASKER, now)


def result(network, number, method, **arguments):
    ((data, source),) = ask(network, number, method, **arguments)
    fields = bdecode(data)
    assert bencode(fields) == data, "keys in the order of bencode"
    assert source == address_of(network, number)
    assert fields[b"t"] == arguments.get("t", b"tt")
    return fields[b"r"]


def address_of(network, number):
    return Address(*network.population.address(network.population.ranks[number]))


def contacts(packed):
    assert len(packed) % CONTACT_BYTES == 0
    return [packed[at : at + CONTACT_BYTES] for at in range(0, len(packed), CONTACT_BYTES)]


def of_kind(network, name):
    kind = [each.name for each in KINDS].index(name)
    return next(
        number
        for number, each in enumerate(network.population.kinds)
        if each == kind and network.population.is_honest(number)
    )


def is_near(count, total, share):
    """Tell whether a count is within 4 standard deviations of a share."""
    return abs(count - total * share) <= 4 * math.sqrt(total * share * (1 - share)) + 1e-9


def crawl(network, *targets, seed=1):
    """Return the share of live nodes found with these targets for each, starting from 8 of them."""
    population, tables, random = network.population, network.tables, Random(seed)
    alive = [rank for rank, number in enumerate(population.numbers) if population.is_alive(number)]
    seen = set(random.sample(alive, 8))
    waiting = list(seen)
    while waiting:
        rank = waiting.pop()
        if not population.is_alive(population.numbers[rank]):
            continue
        for target in targets:
            wanted = population.prefixes[rank] if target == "own" else random.getrandbits(64)
            new = set(tables.known(rank, wanted)) - seen
            seen |= new
            waiting += new
    return len(seen.intersection(alive)) / len(alive)


@pytest.fixture(scope="module")
def network():
    return Network(SyntheticSettings(nodes=3000, stale=0.3, swarms=200, largest=3000))


@pytest.fixture(scope="module")
def large():
    """Make a network of 20,000 live nodes, 30 % of the contacts stale."""
    return Network(SyntheticSettings(nodes=20_000, stale=0.3))


def test_same_seed_same_network():
    settings = SyntheticSettings(nodes=300, stale=0.2, hostile=0.3, swarms=20, largest=100)
    first, second = Network(settings), Network(settings)
    assert first.population.contacts == second.population.contacts
    assert list(first.swarms) == list(second.swarms)
    for number in range(300):
        for method, name in (("find_node", "target"), ("get_peers", "info_hash")):
            for target in (TARGET, first.swarms.info_hash(number % 20)):
                asked = {name: target, "scrape": 1}
                assert ask(first, number, method, **asked) == ask(second, number, method, **asked)


def test_other_seed_other_network():
    one, other = (Population(SyntheticSettings(nodes=100, seed=seed), 0) for seed in (1, 2))
    assert not set(contacts(one.contacts)) & set(contacts(other.contacts))


def test_every_member_has_one_address_and_one_place():
    """Addresses avoid 127.0.0.x and the last; ranks are in the order of ids."""
    population = Population(SyntheticSettings(nodes=5000, stale=0.5), 0)
    packed = contacts(population.contacts)

    assert packed == sorted(packed)
    assert len({each[20:24] for each in packed}) == population.members == 10_000
    for rank, each in enumerate(packed):
        host = int.from_bytes(each[21:24], "big")
        assert each[20] == 127
        assert 255 < host < 0xFFFFFF
        assert population.number_at(host) == population.numbers[rank]
        assert population.ranks[population.numbers[rank]] == rank
        assert each[:8] == population.prefixes[rank].to_bytes(8, "big")
    assert population.number_at(1) is None


@pytest.mark.parametrize("nodes", [1, 2, 7, 9, 40])
def test_nodes_of_small_networks_know_all_others(nodes):
    network = Network(SyntheticSettings(nodes=nodes))
    packed = contacts(network.population.contacts)
    for number in range(nodes):
        own = network.population.ranks[number]
        named = contacts(result(network, number, "find_node", target=packed[own][:20])[b"nodes"])
        assert len(named) == min(nodes - 1, WIDTH) == len(set(named))
        assert packed[own] not in named
        if nodes <= WIDTH + 1:
            order = sorted(named, key=lambda each: int.from_bytes(each[:20], "big") ^ _number(packed[own]))
            assert named == order


def _number(contact):
    return int.from_bytes(contact[:20], "big")


def test_answers_are_the_closest_of_the_table(network):
    """What is named for a target are 8 contacts of the table, none of the others closer."""
    random = Random(5)
    population = network.population
    for _ in range(300):
        rank = random.randrange(population.members)
        table = set(network.tables.entries(rank))
        near = population.prefixes[rank] ^ random.getrandbits(random.randint(1, 64))
        for target in (random.getrandbits(64), population.prefixes[rank], near):
            named = set(network.tables.known(rank, target))
            farthest = max(population.prefixes[each] ^ target for each in named)

            assert len(named) == WIDTH
            assert named <= table
            assert rank not in named
            assert all(population.prefixes[each] ^ target >= farthest for each in table - named)


def test_buckets_hold_8_and_small_parts_whole(network):
    """Of the part that shares n bits: 8, or when it has no more members than that, all who live."""
    population = network.population
    for rank in range(0, population.members, 97):
        own = population.prefixes[rank]
        held = Counter(
            (population.prefixes[each] ^ own).bit_length() for each in network.tables.entries(rank)
        )
        there, alive = Counter(), Counter()
        for each, prefix in enumerate(population.prefixes):
            there[(prefix ^ own).bit_length()] += each != rank
            alive[(prefix ^ own).bit_length()] += each != rank and network.population.is_alive(
                population.numbers[each]
            )
        for bits, count in there.items():
            if count > WIDTH:
                assert held[bits] == WIDTH
            else:
                assert alive[bits] <= held[bits] <= count


def test_share_of_dead_contacts_is_that_asked_for(large):
    """Far away; of its dead neighbours a node has forgotten half."""
    random = Random(2)
    population = large.population
    named = [
        each
        for _ in range(4000)
        for each in large.tables.known(random.randrange(population.members), random.getrandbits(64))
    ]
    near = [each for rank in range(4000) for each in large.tables.known(rank, population.prefixes[rank])]
    dead, dead_near = (
        sum(not population.is_alive(population.numbers[each]) for each in group) / len(group)
        for group in (named, near)
    )

    assert abs(dead - 0.3) < 0.03
    assert abs(dead_near - 0.15 / 0.85) < 0.03


@pytest.mark.slow
def test_two_targets_find_nearly_all_where_random_ones_do_not(large):
    """As simulations of heavy-tailed tables showed: 99 to 100 %, against 30 to 84 %."""
    assert crawl(large, "own", "random") >= 0.995
    assert 0.45 < crawl(large, "random") < 0.70
    assert 0.65 < crawl(large, "random", "random", "random", "random") < 0.84


def test_presence_in_tables_has_a_heavy_tail(large):
    """The most prominent hundredth is in more tables than the less prominent half together."""
    random = Random(3)
    population = large.population
    named = Counter(
        each
        for _ in range(20_000)
        for each in large.tables.known(random.randrange(population.members), random.getrandbits(64))
    )
    counts = sorted((named[rank] for rank in range(population.members)), reverse=True)
    assert sum(counts[: len(counts) // 100]) > sum(counts[len(counts) // 2 :])


@pytest.mark.parametrize("feature", ["bep33", "bep42", "bep51", "capped"])
def test_shares_of_features_are_those_asked_for(feature):
    population = Population(SyntheticSettings(nodes=4000, **{feature: 0.4}), 0)
    assert is_near(sum(population.has(feature, number) for number in range(4000)), 4000, 0.4)


def test_shares_of_kinds_and_styles_are_those_asked_for():
    """Every kind and every style occurs, each as often as it should."""
    population = Population(SyntheticSettings(nodes=20_000, hostile=0.2), len(STYLES))
    kinds, styles = Counter(population.kinds), Counter(population.styles)
    assert math.isclose(sum(SHARES), 1)
    assert all(is_near(kinds[kind], 20_000, share) for kind, share in enumerate(SHARES))
    assert is_near(styles[0], 20_000, 0.8)
    assert styles.keys() == set(range(len(STYLES) + 1))
    assert all(is_near(styles[style + 1], 20_000, 0.2 / len(STYLES)) for style in range(len(STYLES)))


@pytest.mark.parametrize(
    ("host", "last", "first"),
    [
        ("124.31.75.21", 1, "5fbfbf"),
        ("21.75.31.124", 86, "5a3ce9"),
        ("65.23.51.170", 22, "a5d432"),
        ("84.124.73.14", 65, "1b0321"),
        ("43.213.53.83", 90, "e56f6c"),
    ],
)
def test_secure_ids_are_those_of_bep_42(host, last, first):
    """The vectors of the BEP: 21 bits of each id are told by its address and last byte."""
    packed = int.from_bytes(bytes(map(int, host.split("."))), "big")
    assert secure_prefix(packed, last) == int(first, 16) >> 3


def test_ids_of_bep_42_nodes_follow_from_their_addresses():
    population = Population(SyntheticSettings(nodes=2000, bep42=0.5), 0)
    for rank, number in enumerate(population.numbers):
        node_id = population.node_id(rank)
        bound = secure_prefix(int.from_bytes(population.packed_host(rank), "big"), node_id[-1])
        assert (int.from_bytes(node_id[:3], "big") >> 3 == bound) == population.has("bep42", number)


def test_dead_nodes_and_unknown_addresses_do_not_answer(network):
    before = Counter(network.counts)
    assert ask(network, 3000, "ping") == []
    stranger = next(host for host in range(256, 9999) if network.population.number_at(host) is None)
    assert network.answer(network.address(stranger), b"", ASKER, 0.0) == []
    assert network.counts - before == {"to the dead": 1, "to no node": 1}


@pytest.mark.parametrize(
    "data", [b"", b"de", b"i1e", b"d1:y1:qe", b"d1:t1:a1:y1:re", b"l" * 2000, b"\xff" * 50]
)
def test_what_is_no_query_is_not_answered(network, data):
    assert network.answer(address_of(network, 0), data, ASKER, 0.0) == []


ODD = (b"", b"x" * 20, b"y" * 19, 0, -1, 1, 1 << 70, [], [b"n4"], {}, {b"a": []})


def test_odd_arguments_raise_nothing():
    """Whatever the values, there is an answer or none; half of the nodes are hostile."""
    network = Network(SyntheticSettings(nodes=60, hostile=0.5, swarms=5))
    random = Random(4)
    names = (b"id", b"target", b"info_hash", b"port", b"implied_port", b"token", b"scrape", b"seed")
    methods = (b"ping", b"find_node", b"get_peers", b"announce_peer", b"sample_infohashes", b"vote", 1, [])
    for _ in range(4000):
        query = {
            b"a": {name: random.choice(ODD) for name in names if random.random() < 0.8},
            b"q": random.choice(methods),
            b"t": random.choice((b"tt", b"", b"t" * 300)),
            b"y": b"q",
        }
        if random.random() < 0.1:
            query[random.choice(list(query))] = random.choice(ODD)
        data = bytearray(bencode(query))
        if random.random() < 0.3:
            data[random.randrange(len(data))] = random.randrange(256)
        network.answer(address_of(network, random.randrange(60)), bytes(data), ASKER, random.random())

    assert network.counts.keys() >= {"no query", "not answered", "errors", "replies", "lies", "query unknown"}


@pytest.mark.parametrize("name", [kind.name for kind in KINDS])
def test_replies_are_those_of_the_kind(network, name):
    number, kind = of_kind(network, name), KINDS[[each.name for each in KINDS].index(name)]
    ((data, _),) = ask(network, number, "ping", t=b"")
    pong = bdecode(data)

    assert pong.pop(b"r") == {b"id": network.population.node_id(network.population.ranks[number])}
    assert pong.pop(b"v", None) == kind.version
    assert (b"ip" in pong) == kind.tells_ip
    assert pong.pop(b"ip", b"\x7f\0\0\1\x0f\xa0") == b"\x7f\0\0\1\x0f\xa0"
    assert pong == {b"t": b"", b"y": b"r"}

    unknown = ask(network, number, "vote")
    if kind.unknown is None:
        assert unknown == []
    else:
        assert bdecode(unknown[0][0])[b"e"][0] == kind.unknown
    for method, arguments in (("find_node", {}), ("get_peers", {"info_hash": b"x"}), ("announce_peer", {})):
        ((refusal, _),) = ask(network, number, method, **arguments)
        assert bdecode(refusal)[b"e"][0] == 203


def test_announced_peer_is_returned_until_its_time_is_over(network):
    number = of_kind(network, "transmission")
    token = result(network, number, "get_peers", info_hash=TARGET)[b"token"]
    named = {"info_hash": TARGET, "port": 7000, "token": token}
    ((refusal, _),) = ask(network, number, "announce_peer", **named | {"token": b"wrong"})
    assert bdecode(refusal)[b"e"][0] == 203
    assert result(network, number, "announce_peer", **named).keys() == {b"id"}
    peers = result(network, number, "get_peers", info_hash=TARGET)[b"values"]
    assert peers == [b"\x7f\0\0\1" + (7000).to_bytes(2, "big")]
    assert b"values" not in result(network, number, "get_peers", info_hash=TARGET, now=2 + PEER_LIFETIME)
    assert len(network.announced) == 0


def test_announced_peers_are_bounded():
    held = Announced(limit=2)
    for peer in (b"1", b"2", b"3", b"1"):
        held.store(0, TARGET, peer, 0.0, seed=peer == b"1")
    assert (len(held), held.dropped) == (2, 1)
    assert held.peers(0, TARGET, 1.0) == ([b"1"], [b"2"])


def test_swarms_are_zipf_and_found_by_info_hash(network):
    swarms = list(network.swarms)
    assert sorted((swarm.peers for swarm in swarms), reverse=True) == [3000 // n for n in range(1, 201)]
    assert [network.swarms.find(swarm.info_hash) for swarm in swarms] == list(range(200))
    assert network.swarms.find(TARGET) is None


def test_peers_are_announced_to_the_closest_honest_nodes():
    """To each of the first 8 with one chance, to the next 8 with another, up to what a node stores."""
    settings = SyntheticSettings(
        nodes=500, stale=0.3, hostile=0.2, swarms=3, largest=1200, announce=0.8, announce_next=0.2
    )
    network = Network(settings)
    population = network.population
    for place, swarm in enumerate(network.swarms):
        honest = [
            rank for rank in range(population.members) if population.is_honest(population.numbers[rank])
        ]
        target = int.from_bytes(swarm.info_hash[:8], "big")
        honest.sort(key=lambda rank: population.prefixes[rank] ^ target)
        assert network.swarms.holders(place) == tuple(honest[:HOLDERS])
        all_peers = set()
        for position, rank in enumerate(honest[: HOLDERS + 4]):
            stored = network.swarms.stored(place, rank)
            if position >= HOLDERS:
                assert stored is None
                continue
            all_peers.update(stored.peers)
            limit = KINDS[population.kinds[population.numbers[rank]]].max_peers
            chance = 0.8 if position < CLOSEST else 0.2
            if swarm.peers * chance + 200 < limit:
                assert is_near(len(stored.peers), swarm.peers, chance)
            else:
                assert len(stored.peers) <= limit
        assert swarm.peers * 0.99 <= len(all_peers) <= swarm.peers
        assert len({peer[:4] for peer in all_peers}) == len(all_peers)
        assert all(peer[0] == 198 and peer[1] in (18, 19) for peer in all_peers)


def test_filters_stand_for_the_peers_stored(network):
    answered = Counter()
    for place, swarm in enumerate(network.swarms):
        if not 100 < swarm.peers < 2000:
            continue
        for rank in network.swarms.holders(place)[:CLOSEST]:
            number = network.population.numbers[rank]
            kind = KINDS[network.population.kinds[number]]
            stored = network.swarms.stored(place, rank)
            told = result(network, number, "get_peers", info_hash=swarm.info_hash, scrape=1)
            answered[kind.name] += 1
            assert (b"BFpe" in told) == kind.has_filters
            assert (b"values" in told) == (kind.name != "libtorrent")
            assert len(told.get(b"values", [])) <= kind.max_values
            assert set(told.get(b"values", [])) <= set(stored.peers)
            for key, peers in ((b"BFpe", stored.leechers), (b"BFsd", stored.seeds)):
                if key in told:
                    estimate = ScrapeFilter.from_bytes(told[key]).estimate()
                    assert abs(estimate - len(peers)) <= 5 + 0.1 * len(peers)
    assert answered["libtorrent"] > 10 < answered.total() - answered["libtorrent"]


def test_capped_nodes_store_500_peers():
    network = Network(SyntheticSettings(nodes=50, swarms=1, largest=5000, capped=1.0))
    sizes = [len(network.swarms.stored(0, rank).peers) for rank in network.swarms.holders(0)[:CLOSEST]]
    assert sizes == [500] * CLOSEST


def test_swarms_fade_grow_or_stay():
    """Half the peers, half as many again, or as many, a half-life later; told by those who store them."""
    network = Network(SyntheticSettings(nodes=50, swarms=300, largest=30_000, half_life=7200.0, announce=1.0))
    swarms, growth = network.swarms, Counter()
    for place in range(300):
        begins, ends = swarms.swarm(place), swarms.swarm(place, 7200.0 + 1799.0)
        ratio = min((0.5, 1.0, 1.5), key=lambda ratio: abs(ends.peers - ratio * begins.peers))
        assert abs(ends.peers - ratio * begins.peers) <= 0.5
        assert ends.seeds / ends.peers == pytest.approx(
            begins.seeds / begins.peers, abs=0.5 / ends.peers + 0.01
        )
        growth[ratio] += 1
        if begins.peers < 300:
            stored = swarms.stored(place, swarms.holders(place, 7300.0)[0], 7300.0)
            assert (len(stored.seeds), len(stored.leechers)) == (ends.seeds, ends.leechers)
    assert all(70 < growth[ratio] < 130 for ratio in (0.5, 1.0, 1.5))
    assert all(each.peers >= 1 for each in (swarms.swarm(place, 1e9) for place in range(300)))


def test_samples_are_stable_for_an_interval_and_early_calls_are_counted():
    """A sample names swarms that the node stores, at most 20; `num` is how many there are."""
    network = Network(SyntheticSettings(nodes=30, swarms=100, largest=50, bep51=1.0, interval=60))
    stored = {
        number: {
            swarm.info_hash
            for place, swarm in enumerate(network.swarms)
            if network.swarms.stored(place, network.population.ranks[number])
        }
        for number in range(30)
    }
    drawn = {}
    for number in range(30):
        for now in (60.0, 119.0, 200.0):
            told = result(network, number, "sample_infohashes", target=TARGET, now=now)
            shown = [told[b"samples"][at : at + 20] for at in range(0, len(told[b"samples"]), 20)]
            drawn[number, now] = shown
            assert (told[b"interval"], told[b"num"]) == (60, len(stored[number]))
            assert len(set(shown)) == len(shown) == min(20, len(stored[number]))
            assert set(shown) <= stored[number]

    assert all(drawn[number, 60.0] == drawn[number, 119.0] for number in range(30))
    assert any(drawn[number, 60.0] != drawn[number, 200.0] for number in range(30))
    assert network.counts["sampled too early"] == 30


def test_nodes_without_bep_51_give_no_samples():
    network = Network(SyntheticSettings(nodes=20, bep51=0.0))
    for number in range(20):
        replies = ask(network, number, "sample_infohashes", target=TARGET)
        assert [bdecode(data)[b"e"][0] for data, _ in replies] in ([], [203], [204])


@pytest.fixture(scope="module")
def hostile():
    return Network(SyntheticSettings(nodes=400, hostile=1.0))


def lies(network, style):
    """Yield what the nodes of one style send when asked for contacts, and their address."""
    number = list(STYLES).index(style) + 1
    liars = [each for each in range(400) if network.population.styles[each] == number]
    assert len(liars) > 10
    for liar in liars:
        address = address_of(network, liar)
        yield liar, address, ask(network, liar, "find_node", target=TARGET)


def is_dictionary(data):
    try:
        return isinstance(bdecode(data), dict)
    except BencodeDecodeError:
        return False


def test_garbage_is_no_dictionary(hostile):
    for _, address, ((data, source),) in lies(hostile, "garbage"):
        assert source == address
        assert not is_dictionary(data)


def test_truncated_replies_end_early(hostile):
    for _, address, ((data, source),) in lies(hostile, "truncated"):
        assert (source, data[:1]) == (address, b"d")
        assert not is_dictionary(data)


def test_wrong_ids_are_not_those_of_the_nodes(hostile):
    for number, _, ((data, _),) in lies(hostile, "wrong id"):
        told = bdecode(data)[b"r"]
        assert told[b"id"] != hostile.population.node_id(hostile.population.ranks[number])
        assert len(told[b"nodes"]) == WIDTH * CONTACT_BYTES


def test_foreign_sources_are_addresses_without_a_node(hostile):
    for _, address, ((data, source),) in lies(hostile, "foreign source"):
        assert source != address
        assert is_unused(hostile, source)
        assert bdecode(data)[b"y"] == b"r"


def is_unused(network, address):
    a, b, c, d = map(int, address.host.split("."))
    return a == 127 and network.population.number_at(b << 16 | c << 8 | d) is None


def test_bogus_nodes_exist_nowhere(hostile):
    true = set(contacts(hostile.population.contacts))
    special = close = 0
    for _, _, ((data, _),) in lies(hostile, "bogus nodes"):
        for named in contacts(bdecode(data)[b"r"][b"nodes"]):
            assert named not in true
            if named[:12] == TARGET[:12]:
                close += 1
                assert named[20] == 127
            else:
                special += 1
    assert close > 20 < special


def test_floods_are_bounded(hostile):
    for _, _, replies in lies(hostile, "flood"):
        assert FLOOD[0] <= len(replies) <= FLOOD[1]
        assert len(bdecode(replies[0][0])[b"r"][b"nodes"]) == WIDTH * CONTACT_BYTES
        assert all(bdecode(data)[b"t"] == b"tt" for data, _ in replies)


def test_refusals_have_every_code(hostile):
    """Those of BEP 5."""
    codes = {bdecode(data)[b"e"][0] for _, _, ((data, _),) in lies(hostile, "errors")}
    assert codes == {201, 202, 203, 204}


def test_oversized_lists_fit_into_a_datagram(hostile):
    true = set(contacts(hostile.population.contacts))
    for _, _, ((data, _),) in lies(hostile, "oversized"):
        named = contacts(bdecode(data)[b"r"][b"nodes"])
        assert len(named) >= 300
        assert set(named) <= true
        assert len(data) <= 65507


def test_malformed_replies_are_of_many_forms(hostile):
    sent = [data for _, _, ((data, _),) in lies(hostile, "malformed")]
    assert len({data[:40] for data in sent}) > 5
    assert any(b"2:tt" in data for data in sent)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"nodes": 0}, "nodes: 0"),
        ({"nodes": 1 << 24}, "nodes"),
        ({"nodes": 9_000_000, "stale": 0.6}, "nodes and stale contacts together"),
        ({"stale": 1.0}, "stale"),
        ({"hostile": -0.1}, "hostile"),
        ({"bep33": 1.1}, "bep33"),
        ({"announce": float("nan")}, "announce"),
        ({"largest": 200_000}, "largest"),
    ],
)
def test_impossible_networks_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        SyntheticSettings(**options)


def test_tables_do_not_depend_on_earlier_queries(large):
    again = Tables(large.population)
    ranks = range(0, large.population.members, 1001)
    assert [again.entries(rank) for rank in reversed(ranks)] == [
        large.tables.entries(rank) for rank in reversed(ranks)
    ]
