"""Swarm sizes from scrape replies: simulated swarms of known size, all with fixed seeds."""

from array import array
from functools import reduce
from math import exp, log
from operator import or_
from random import Random
from statistics import fmean, pstdev

import pytest

from dhtnode.addresses import Address, pack_host, unpack_host
from dhtnode.ids import NodeId
from dhtnode.krpc.compact import pack_address
from dhtnode.krpc.scrape_filter import FILTER_BITS, ScrapeFilter, host_mask
from dhtnode.swarm import estimate_swarm
from dhtnode.swarm.capture_recapture import ListedHosts, chao2, darroch, pair_ratio
from dhtnode.swarm.filter_size import Interval, relative_error, union_interval, zero_bits_after
from dhtnode.swarm.replies import Reply, observe
from dhtnode.swarm.seeds import seeds_and_leechers

EMPTY = ScrapeFilter()
FULL = ScrapeFilter((1 << FILTER_BITS) - 1)
NODES = 8


def reply(*, seeds=None, peers=None, values=(), host="203.0.113.1"):
    packed = [None if each is None else each.to_bytes() for each in (seeds, peers)]
    return Reply(NodeId(bytes(20)), Address(host, 6881), 0, *packed, tuple(map(pack_address, values)))


def estimated(replies):
    return estimate_swarm(observe(replies))


def stores_reply(masks):
    return reply(seeds=EMPTY, peers=ScrapeFilter(reduce(or_, masks, 0)))


def names_reply(hosts):
    return reply(values=[Address(host, 6881) for host in hosts])


def random_filter(count, random):
    """Return the filter of `count` addresses; two random words stand for each SHA-1."""
    bits = 0
    for word in array("H", random.randbytes(4 * count)):
        bits |= 1 << word % FILTER_BITS
    return ScrapeFilter(bits)


def random_masks(count, random):
    return [1 << random.randrange(FILTER_BITS) | 1 << random.randrange(FILTER_BITS) for _ in range(count)]


def random_hosts(count, random):
    return [
        unpack_host(number.to_bytes(4, "big")) for number in random.sample(range(1 << 24, 1 << 31), count)
    ]


def filter_of(hosts):
    return ScrapeFilter.of(pack_host(host) for host in hosts)


def reached(peers, rank, random):
    """Return the peers whose announce reached the node of this rank: 95 % to 60 % of them."""
    return [peer for peer in peers if random.random() < 0.95 - 0.05 * rank]


def set_bits_distribution(count):
    """Return the chance of each number of set bits after `count` addresses, exactly."""
    chances = [1.0]
    for _ in range(2 * count):
        following = [0.0] * (len(chances) + 1)
        for bits, chance in enumerate(chances):
            following[bits] += chance * bits / FILTER_BITS
            following[bits + 1] += chance * (1 - bits / FILTER_BITS)
        chances = following
    return chances


def coverage(count, estimates):
    return fmean(
        found.peers_low <= count and (found.peers_high is None or count <= found.peers_high)
        for found in estimates
    )


# Moments and the error of one filter


@pytest.mark.parametrize("count", [1, 2, 10, 30])
def test_moments_of_zero_bits_are_exact(count):
    chances = set_bits_distribution(count)
    mean = sum(chance * (FILTER_BITS - bits) for bits, chance in enumerate(chances))
    variance = sum(chance * (FILTER_BITS - bits - mean) ** 2 for bits, chance in enumerate(chances))
    moments = zero_bits_after(count)
    assert moments.mean == pytest.approx(mean, rel=1e-9)
    assert moments.variance == pytest.approx(variance, rel=1e-4)


def test_moments_hold_for_a_filter_that_is_in_use():
    """What 300 more addresses do to a filter of 700 agrees with simulation."""
    random = Random(1)
    used = random_filter(700, random)
    zeros = [(used | random_filter(300, random)).zero_bits for _ in range(2000)]
    moments = zero_bits_after(300, used.zero_bits)
    assert moments.mean == pytest.approx(fmean(zeros), abs=1)
    assert moments.variance**0.5 == pytest.approx(pstdev(zeros), rel=0.05)


# measurement-methods.md 2c: relative standard error in percent, by formula and simulated
ERROR_TABLE = [
    (100, 1.58, 1.60),
    (500, 1.70, 1.73),
    (1000, 1.86, 1.87),
    (2000, 2.29, 2.28),
    (4000, 3.79, 3.86),
]


@pytest.mark.parametrize(("count", "by_formula", "simulated"), ERROR_TABLE)
def test_error_of_a_filter_is_as_published(count, by_formula, simulated):
    """The formula and our own simulation reproduce the table; the estimate is not biased."""
    random = Random(count)
    readings = [random_filter(count, random).estimate() / count for _ in range(500)]
    assert 100 * relative_error(count) == pytest.approx(by_formula, abs=0.02)
    assert 100 * pstdev(readings) == pytest.approx(simulated, rel=0.1)
    assert fmean(readings) == pytest.approx(1, abs=0.2 * relative_error(count))


# The union and its interval


@pytest.mark.parametrize(
    ("zero_bits", "low", "high"),
    [(2046, 1, 1), (2008, 20, 21), (1857, 97, 103), (771, 964, 1038), (109, 2831, 3181)],
)
def test_ends_of_a_union_are_those_of_the_exact_moments(zero_bits, low, high):
    found = union_interval(ScrapeFilter((1 << 2048 - zero_bits) - 1), EMPTY, 0)
    assert (found.low, found.high) == (low, high)


@pytest.mark.parametrize("count", [*range(1, 41), 60, 80])
def test_interval_of_a_small_swarm_covers_it(count):
    """Computed over every outcome, not simulated: the truth is inside in 95 % of cases and more."""
    too_high = too_low = 0.0
    for bits, chance in enumerate(set_bits_distribution(count)):
        found = union_interval(ScrapeFilter((1 << bits) - 1), EMPTY, 0)
        too_high += chance * (found.low > count)
        too_low += chance * (found.high < count)
    assert too_high + too_low <= 0.05
    assert too_high <= 0.025  # what was seen was there: the lower end is the surer one


@pytest.mark.parametrize("count", [1, 2, 3, 5, 10, 20, 50, 100, 250, 500, 1000, 2000])
def test_interval_of_one_filter_covers_the_swarm(count):
    """From one peer to thousands, at least 93 of 100 printed intervals hold the truth."""
    random = Random(count)
    found = [estimated([reply(peers=random_filter(count, random))]) for _ in range(300)]
    assert coverage(count, found) >= 0.93
    assert fmean(estimate.by("union").estimate for estimate in found) == pytest.approx(count, rel=0.006)
    assert all(
        estimate.peers_low <= estimate.peers
        and (estimate.is_at_least or estimate.peers <= estimate.peers_high)
        for estimate in found
    )


def test_single_bit_is_a_peer():
    """Both hashes of one address may fall on one bit; half a peer is not reported as none."""
    found = estimated([reply(peers=ScrapeFilter(1))])
    assert (found.peers_low, found.peers, found.peers_high) == (1, 1, 1)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_tiny_swarm_is_one_number(count):
    found = estimated([reply(peers=ScrapeFilter((1 << 2 * count) - 1))])
    assert (found.peers_low, found.peers, found.peers_high) == (count, count, count)


def test_interval_has_the_width_of_the_error():
    """Around 1000 peers it spans twice 1.96 standard errors, within a tenth."""
    found = estimated([reply(peers=random_filter(1000, Random(5)))])
    width = found.peers_high - found.peers_low
    assert width == pytest.approx(2 * 1.96 * relative_error(1000) * 1000, rel=0.1)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 10, 50, 200, 1000])
def test_interval_covers_a_swarm_that_reaches_nodes_unevenly(count):
    random = Random(count)
    found = []
    for _ in range(120 if count < 1000 else 60):
        peers = random_masks(count, random)
        found.append(estimated([stores_reply(reached(peers, rank, random)) for rank in range(NODES)]))
    assert coverage(count, found) >= 0.9
    assert fmean(estimate.peers for estimate in found) == pytest.approx(count, rel=0.01)


# Seeds and leechers


def test_seeds_and_leechers_are_estimated_apart():
    random = Random(6)
    seeds = [random_filter(150, random) for _ in range(2)]
    leechers = [random_filter(400, random) for _ in range(2)]
    found = estimated([reply(seeds=s, peers=p) for s, p in zip(seeds, leechers, strict=True)])
    assert found.seeds == pytest.approx(300, rel=0.06)
    assert found.leechers == pytest.approx(800, rel=0.06)
    assert found.peers == pytest.approx(1100, rel=0.06)


def test_peer_that_is_seed_here_and_leecher_there_counts_once():
    both = random_filter(200, Random(7))
    found = estimated([reply(seeds=both, peers=EMPTY), reply(seeds=EMPTY, peers=both)])
    assert found.seeds == found.leechers == found.peers == round(both.estimate())


def test_named_peer_in_a_seed_filter_is_no_leecher():
    """A node without BEP 33 does not know who seeds; the other nodes do (BEP 33)."""
    hosts = random_hosts(30, Random(8))
    filters = reply(seeds=filter_of(hosts[:20]), peers=filter_of(hosts[20:]))
    found = estimated([filters, names_reply(hosts)])
    assert (found.seeds, found.leechers, found.peers) == (20, 10, 30)


def test_interval_of_a_part_is_wider_by_its_share_of_what_is_unsure():
    """Of 90 peers in the filters, 30 are seeds; whether 40 more are there is known to within 20."""
    hosts = random_hosts(90, Random(3))
    observations = observe([reply(seeds=filter_of(hosts[:30]), peers=filter_of(hosts[30:]))])
    whole, seen = Interval(130.0, 100.0, 1000.0), observations[0].told
    sure, unsure = (seeds_and_leechers(observations, whole, seen, 40.0, width) for width in (0.0, 20.0))
    for one, other, part in (
        (sure.seeds, unsure.seeds, observations[0].seeds_filter),
        (sure.leechers, unsure.leechers, observations[0].peers_filter),
    ):
        share = ScrapeFilter.from_bytes(part).estimate() / seen.estimate()
        for end in ("low", "high"):
            squares = [(getattr(each, end) - each.estimate) ** 2 for each in (one, other)]
            assert squares[1] - squares[0] == pytest.approx((20 * share) ** 2)


def test_named_peers_in_no_filter_are_split_like_the_others():
    """Whether a peer seeds has nothing to do with which node heard of it (not so BEP 33)."""
    hosts = random_hosts(60, Random(8))
    filters = reply(seeds=filter_of(hosts[:30]), peers=filter_of(hosts[30:40]))
    found = estimated([filters, names_reply(hosts)])
    assert (found.seeds, found.leechers, found.peers) == (45, 15, 60)
    assert found.seeds_low < 45 < found.seeds_high <= 60
    assert found.leechers_low < 15 < found.leechers_high


def test_share_of_nothing_is_not_certain():
    """None of 40 peers in filters is a seed: of 60 more, 0 to 3 may be, as half a peer of 41 tells."""
    hosts = random_hosts(100, Random(8))
    filters = reply(seeds=EMPTY, peers=filter_of(hosts[:40]))
    found = estimated([filters, names_reply(hosts)])
    assert (found.seeds_low, found.seeds, found.seeds_high) == (0, 0, 3)
    assert (found.leechers_low, found.leechers, found.leechers_high) == (96, 100, 100)


def test_empty_filters_say_nothing_about_roles():
    """A node that knows no peer does not make 60 named peers neither seeds nor leechers."""
    found = estimated([reply(seeds=EMPTY, peers=EMPTY), names_reply(random_hosts(60, Random(8)))])
    assert found.peers == 60
    assert_roles_are_unknown(found)


def assert_roles_are_unknown(found, seeds=0, leechers=0):
    """Assert that each part is from what lone filters hold to all peers."""
    assert (found.seeds, found.leechers, found.overlap) == (None, None, None)
    assert (found.seeds_low, found.leechers_low) == (seeds, leechers)
    assert found.seeds_high == found.leechers_high == found.peers_high
    rows = {(each.subject, each.method) for each in found.estimates}
    assert not rows & {("seeds", "headline"), ("leechers", "headline")}


def test_roles_of_peers_that_were_only_named_are_unknown():
    """Without a filter every peer may be a seed: BEP 33 calls them leechers, and so does no node."""
    assert_roles_are_unknown(estimated([names_reply(random_hosts(60, Random(8)))]))


@pytest.mark.parametrize("part", ["seeds", "peers"])
def test_lone_filter_bounds_a_role_from_below(part):
    hosts = random_hosts(60, Random(8))
    found = estimated([reply(**{part: filter_of(hosts[:20])}), names_reply(hosts)])
    low = min(found.seeds_low or 60, found.leechers_low or 60)
    assert 17 <= low <= 20
    assert_roles_are_unknown(found, **{"seeds" if part == "seeds" else "leechers": low})


def test_roles_in_an_empty_swarm_are_known():
    found = estimated([reply()])
    assert (found.seeds, found.leechers, found.peers) == (0, 0, 0)
    assert (found.seeds_high, found.leechers_high) == (0, 0)


def test_intervals_leave_room_for_seeds_that_do_not_say_it():
    """A quarter of 200 peers has a client that never sends `seed`: these may all seed, or none of them."""
    hosts = random_hosts(200, Random(8))
    replies = [reply(seeds=filter_of(hosts[:50]), peers=filter_of(hosts[50:])), names_reply(hosts)]
    plain = estimate_swarm(observe(replies))
    roomy = estimate_swarm(observe(replies), silent_share=0.25)
    assert (plain.silent_share, roomy.silent_share) == (None, 0.25)
    assert (roomy.seeds, roomy.seeds_low) == (plain.seeds, plain.seeds_low)
    assert (roomy.leechers, roomy.leechers_high) == (plain.leechers, plain.leechers_high)
    assert roomy.seeds_high == plain.seeds_high + 50
    assert roomy.leechers_low == plain.leechers_low - 50
    whole = estimate_swarm(observe(replies), silent_share=1.0)
    assert (whole.seeds_high, whole.leechers_low) == (200, 0)


def test_lone_filter_is_enough():
    """A node that sent only one of the two filters counts as one with filters."""
    found = estimated([reply(seeds=filter_of(["192.0.2.1"]))])
    assert (found.seeds, found.seeds_low, found.peers, found.nodes_with_filters) == (1, 1, 1, 1)


# Stores that keep only part of the swarm


def test_pair_ratio_sees_through_stores_that_keep_500():
    """Eight nodes keep 500 of 3000 peers each: the overlap tells, the union cannot."""
    random = Random(9)
    found = []
    for _ in range(40):
        peers = random_masks(3000, random)
        found.append(estimated([stores_reply(random.sample(peers, 500)) for _ in range(NODES)]))
    assert all(estimate.by("pair-ratio") and estimate.method != "union" for estimate in found)
    assert all(estimate.by("union").high < 2700 for estimate in found)
    assert all(abs(estimate.peers - 3000) < 450 for estimate in found)
    assert fmean(estimate.peers for estimate in found) == pytest.approx(3000, rel=0.03)
    assert coverage(3000, found) >= 0.9


def test_interval_holds_between_complete_and_cut_stores():
    """At 1500 peers the union misses 4 %: too little for a test of intervals, enough to be wrong."""
    random = Random(10)
    found = []
    for _ in range(60):
        peers = random_masks(1500, random)
        stores = [reached(peers, rank, random) for rank in range(NODES)]
        found.append(estimated([stores_reply(random.sample(store, 500)) for store in stores]))
    assert fmean(estimate.by("union").estimate for estimate in found) < 0.97 * 1500
    assert fmean(estimate.peers for estimate in found) == pytest.approx(1500, rel=0.01)
    assert coverage(1500, found) >= 0.88


@pytest.mark.parametrize("count", [20, 200])
def test_headline_is_not_biased_by_choosing_the_higher_estimate(count):
    random = Random(count)
    found = []
    for _ in range(150):
        peers = random_masks(count, random)
        found.append(estimated([stores_reply(reached(peers, rank, random)) for rank in range(NODES)]))
    over_union = fmean(estimate.peers - estimate.by("union").estimate for estimate in found)
    assert over_union < 0.001 * count
    assert fmean(estimate.method == "union" for estimate in found) > 0.9


@pytest.mark.parametrize(
    ("listed", "method", "peers"),
    [
        (98, "chao2", 100.031),  # 0.042 undetected peers by the overlap: less than `UNLIKELY`
        (97, "union", 100.096),
        (95, "union", 100.278),
        (93, "recapture", 100.570),  # more than `UNDETECTED_AT_LEAST`
    ],
)
def test_few_undetected_peers_do_not_change_the_name_of_the_method(listed, method, peers):
    """Two nodes that name all they store, of 100 peers in all: (100 - n)^2 / (2n - 100) are on neither."""
    found = estimated(two_lists(listed))
    assert (found.method, found.distinct_peers) == (method, 100)
    assert found.by("headline").estimate == pytest.approx(peers, abs=0.001)


def two_lists(listed):
    hosts = random_hosts(100, Random(3))
    return [
        reply(seeds=EMPTY, peers=filter_of(some), values=[Address(host, 1) for host in some])
        for some in (hosts[:listed], hosts[-listed:])
    ]


def test_upper_end_alone_has_five_per_cent_where_the_lower_one_is_certain():
    found = estimated(two_lists(90)).by("headline")
    whole = darroch(100, [90, 90])
    spread = exp(1.96 * whole.deviation / whole.estimate)
    half_width = whole.estimate * (spread - 1 / spread) / 2
    assert (found.low, found.estimate) == (100, pytest.approx(101.25))
    assert found.high == pytest.approx(101.25 + half_width * 1.645 / 1.96)


@pytest.mark.parametrize(("count", "method"), [(3000, "recapture"), (9000, "pair-ratio")])
def test_headline_goes_by_the_name_of_what_has_more_weight_in_it(count, method):
    random = Random(count)
    peers = random_masks(count, random)
    assert estimated([stores_reply(random.sample(peers, 500)) for _ in range(NODES)]).method == method


@pytest.mark.parametrize(("count", "saturated"), [(4500, False), (9000, True)])
def test_headline_above_5000_is_marked(count, saturated):
    random = Random(count)
    peers = random_masks(count, random)
    found = estimated([stores_reply(random.sample(peers, 500)) for _ in range(NODES)])
    assert (found.saturated, found.is_at_least) == (saturated, False)


def test_pair_ratio_never_lowers_what_was_seen():
    """Peers that only some nodes are told of depress the overlap; the union stays."""
    random = Random(12)
    common, rare = random_masks(100, random), random_masks(100, random)
    found = estimated([stores_reply(common + rare[20 * i : 20 * i + 20]) for i in range(5)])
    assert found.by("pair-ratio") is not None
    assert found.by("pair-ratio").estimate < 170
    assert found.method == "union"
    assert found.peers == pytest.approx(200, rel=0.05)


def test_nodes_of_two_families_are_not_compared():
    random = Random(21)
    replies = []
    for host in ("203.0.113.1", "2a00::1"):
        swarm = random_masks(300, random)
        for _ in range(NODES):
            stored = ScrapeFilter(reduce(or_, [mask for mask in swarm if random.random() < 0.9], 0))
            replies.append(reply(seeds=EMPTY, peers=stored, host=host))
    found = estimated(replies)
    assert found.method == "union"
    assert found.peers_low <= 600 <= found.peers_high


def test_identical_stores_agree_with_their_union():
    store = random_filter(400, Random(13))
    found = estimated([reply(peers=store)] * NODES)
    assert found.by("pair-ratio") is not None
    assert found.by("pair-ratio").estimate == pytest.approx(found.by("union").estimate)
    assert found.by("union").estimate == pytest.approx(store.estimate())
    assert found.method == "union"


def test_disjoint_stores_have_no_pair_ratio():
    """Without overlap the swarm could be of any size: the union stands, as a lower bound."""
    stores = [ScrapeFilter(0b1111 << 4 * node) for node in range(NODES)]
    found = estimated([reply(peers=store) for store in stores])
    assert found.by("pair-ratio") is None
    assert (found.method, found.peers) == ("union", 16)


def test_pair_ratio_needs_overlap_without_any_one_node():
    stores = [ScrapeFilter(0b001111), ScrapeFilter(0b110000), ScrapeFilter(0b111111)]
    assert pair_ratio(stores) is None


def test_pair_ratio_ignores_stores_that_hold_nothing():
    random = Random(14)
    peers = random_masks(300, random)
    stores = [ScrapeFilter(reduce(or_, random.sample(peers, 200))) for _ in range(3)]
    assert pair_ratio([stores[0], stores[1], EMPTY]) is None
    assert pair_ratio([stores[0], EMPTY, stores[1], stores[2]]) == pair_ratio(stores) is not None


def test_overlap_by_chance_is_no_pair_ratio():
    random = Random(21)
    found = [pair_ratio([random_filter(50, random) for _ in range(NODES)]) for _ in range(300)]
    assert fmean(interval is not None for interval in found) < 0.03


def test_pair_ratio_reaches_swarms_far_above_the_stores():
    """Eight nodes that keep 500 each still tell a swarm of 12,000, where filters fill up."""
    random = Random(22)
    peers = random_masks(12_000, random)
    found = pair_ratio([ScrapeFilter(reduce(or_, random.sample(peers, 500))) for _ in range(NODES)])
    assert found is not None
    assert 8000 < found.low < 12_000 < found.high < 20_000


# Peers named one by one


def test_named_peers_alone_are_corrected_for_unseen_ones():
    """Nodes without filters name 60 peers each of 300: Chao2 finds the rest."""
    random = Random(15)
    hosts = random_hosts(300, random)
    found = [estimated([names_reply(random.sample(hosts, 60)) for _ in range(NODES)]) for _ in range(60)]
    assert {(estimate.method, estimate.nodes_with_filters) for estimate in found} == {("chao2", 0)}
    assert all(estimate.distinct_peers < 280 for estimate in found)
    assert fmean(estimate.peers for estimate in found) == pytest.approx(300, rel=0.03)
    assert coverage(300, found) >= 0.9


def test_lists_from_stores_of_unknown_size_bound_no_large_swarm():
    """Stores that keep the first 500 list a random part of these, however many peers there are."""
    random = Random(15)
    hosts = random_hosts(500, random)
    found = estimated([names_reply(random.sample(hosts, 100)) for _ in range(NODES)])
    assert found.by("chao2").low < 500 < found.by("chao2").high
    assert (found.method, found.peers_high, found.saturated) == ("at-least", None, True)
    assert found.peers == found.peers_low == found.distinct_peers < 500


def test_one_node_that_names_peers_gives_a_lower_bound():
    found = estimated([names_reply(["192.0.2.1", "192.0.2.2", "2001:db8::1"])])
    assert (found.method, found.by("chao2")) == ("distinct", None)
    assert (found.peers_low, found.peers, found.peers_high) == (3, 3, 3)
    assert (found.distinct_peers, found.leechers, found.seeds) == (3, None, None)


def test_ports_of_one_host_are_one_peer():
    values = [Address("192.0.2.1", port) for port in (1, 2, 3)]
    found = estimated([reply(values=values)])
    assert (found.distinct_peers, found.peers) == (1, 1)


def test_named_peers_missing_from_filters_are_added():
    seen = random_hosts(40, Random(16))
    others = [f"2001:db8::{number:x}" for number in range(25)]
    found = estimated([reply(seeds=EMPTY, peers=filter_of(seen)), names_reply(others)])
    assert found.peers == pytest.approx(65, abs=1)
    assert found.peers_low >= 25
    assert found.method == "union"


def test_peers_that_are_all_named_are_counted_not_estimated():
    hosts = random_hosts(1000, Random(12))
    assert filter_of(hosts).estimate() > 1010  # so much would be read from the filter
    found = estimated([reply(peers=filter_of(hosts)), names_reply(hosts)])
    assert found.by("union").estimate == 1000
    assert (found.peers_low, found.peers, found.distinct_peers) == (1000, 1000, 1000)
    assert_roles_are_unknown(found, leechers=found.leechers_low)


@pytest.mark.parametrize("count", [3, 30, 300, 1500])
def test_interval_covers_a_swarm_seen_by_filters_and_lists(count):
    """Half of the nodes send filters, half name up to 100 peers: both count."""
    random = Random(count)
    found = []
    for _ in range(60):
        hosts = random_hosts(count, random)
        stores = [reached(hosts, rank, random) for rank in range(NODES)]
        with_filters = [reply(seeds=EMPTY, peers=filter_of(store)) for store in stores[::2]]
        with_lists = [names_reply(random.sample(store, min(100, len(store)))) for store in stores[1::2]]
        found.append(estimated(with_filters + with_lists))
    assert coverage(count, found) >= 0.9
    assert all(estimate.peers_low >= estimate.distinct_peers for estimate in found)
    assert all(estimate.nodes_with_filters == 4 for estimate in found)


def test_chao2_is_the_published_formula():
    """Three nodes, Q1 = 4, Q2 = 2, one host seen by all: 7 + 2/3 * 4*3 / (2*3)."""
    found = chao2(ListedHosts.of([{"a", "b", "x", "y", "z"}, {"c", "x", "z"}, {"d", "y", "z"}]))
    assert found is not None
    assert found.estimate == pytest.approx(7 + 2 / 3 * 12 / 6)
    assert 7 < found.low < found.estimate < found.high


def test_chao2_of_lists_that_agree_is_their_length():
    assert chao2(ListedHosts.of([{"a", "b"}, {"a", "b"}])) == Interval(2, 2, 2)


def test_chao2_without_a_host_named_twice_has_an_interval():
    """f1 = 3 and f2 = 0 on two nodes: 3 + (1/2) 3 * 2 / 2 = 4.5, the variance by EstimateS, equation 8."""
    found = chao2(ListedHosts.of([{"a", "b"}, {"c"}]))
    variance = 0.5 * 3 * 2 / 2 + 0.25 * 3 * 5**2 / 4 - 0.25 * 3**4 / (4 * 4.5)
    spread = exp(1.96 * log(1 + variance / 1.5**2) ** 0.5)
    assert found == pytest.approx((4.5, 3 + 1.5 / spread, 3 + 1.5 * spread))


def test_chao2_takes_the_variance_of_the_corrected_form():
    """f1 = 4 and f2 = 2 on three nodes: by EstimateS, equation 6."""
    found = chao2(ListedHosts.of([{"a", "b", "c", "x"}, {"x", "d", "y"}, {"y"}]))
    unseen = 2 / 3 * 4 * 3 / (2 * 3)
    variance = (2 / 3) * 4 * 3 / (2 * 3) + (2 / 3) ** 2 * (4 * 7**2 / (4 * 9) + 16 * 2 * 9 / (4 * 81))
    spread = exp(1.96 * log(1 + variance / unseen**2) ** 0.5)
    assert found == pytest.approx((6 + unseen, 6 + unseen / spread, 6 + unseen * spread))


# Nothing, and too much


def test_no_replies_say_nothing():
    found = estimated([])
    assert (found.method, found.peers, found.peers_low, found.peers_high) == ("none", 0, 0, 0)
    assert (found.by("union"), found.by("pair-ratio"), found.by("chao2")) == (Interval(0, 0, 0), None, None)


def test_nodes_without_contacts_return_none():
    found = estimated([reply(), reply()])
    assert (found.method, found.peers, found.nodes_with_filters) == ("none", 0, 0)


def test_empty_filters_mean_no_peer():
    found = estimated([reply(seeds=EMPTY, peers=EMPTY)] * NODES)
    assert (found.method, found.nodes_with_filters, found.saturated) == ("union", NODES, False)
    assert (found.peers, found.peers_low, found.peers_high) == (0, 0, 0)


def test_full_filter_is_at_least_what_it_can_tell():
    found = estimated([reply(seeds=EMPTY, peers=FULL)])
    assert (found.method, found.saturated) == ("at-least", True)
    assert 5000 < found.peers == found.peers_low < 7000
    assert found.peers_high is found.leechers_high is None


@pytest.mark.parametrize(("count", "saturated"), [(3500, False), (6500, True)])
def test_saturation_is_marked(count, saturated):
    """Above 5000 a filter has too few zero bits to be trusted."""
    found = estimated([reply(peers=random_filter(count, Random(count)))])
    assert found.saturated is saturated


def test_large_swarm_found_through_overlap_is_marked_saturated():
    random = Random(18)
    peers = random_masks(9000, random)
    found = estimated([stores_reply(random.sample(peers, 500)) for _ in range(NODES)])
    assert found.by("union").estimate < 5000 < found.peers
    assert (found.method != "union", found.saturated) == (True, True)


def test_more_named_peers_than_a_filter_can_hold_are_still_counted():
    """A list is no filter: 9000 named peers are 9000, whatever bits they share."""
    hosts = random_hosts(9000, Random(19))
    found = estimated([names_reply(hosts)])
    assert (found.peers, found.peers_low, found.distinct_peers) == (9000, 9000, 9000)


def test_masks_of_hosts_and_random_masks_are_alike():
    """The simulations above draw random bits; those of real addresses spread as evenly."""
    random = Random(20)
    hosts = [pack_host(host) for host in random_hosts(1000, random)]
    assert ScrapeFilter.of(hosts).estimate() == pytest.approx(1000, rel=0.06)
    assert {host_mask(host).bit_count() for host in hosts} <= {1, 2}
