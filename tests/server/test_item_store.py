"""The store of items: what replaces what, what has to go, and what is refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode.items import ImmutableItem, MutableItem
from dhtnode.server.item_store import ITEM_BYTES, ItemStore, Refusal
from dhtnode.settings import NodeSettings

SEED = bytes(range(32))
ALICE, BOB, CAROL, DAVE = (f"21.0.0.{number}" for number in range(1, 5))
LIFETIME = 7200.0


def new_store(**limits):
    return ItemStore(NodeSettings(**limits))


def note(number):
    """Return an immutable item, the same for a number, each of the same size."""
    return ImmutableItem.of(b"note %06d" % number)


def letter(seq, text=b"text", salt=b""):
    return MutableItem.sign(SEED, text, seq=seq, salt=salt)


def fill(store, host, numbers, now=0.0):
    assert [store.put(note(number), host, now) for number in numbers] == [None] * len(numbers)


def kept(store, numbers, now=0.0):
    return [number for number in numbers if store.get(note(number).target(), now) is not None]


@pytest.mark.parametrize("item", [note(1), letter(1), letter(1, salt=b"salt")])
def test_item_is_kept_for_two_hours_after_it_was_last_put(item):
    store = new_store()
    store.put(item, ALICE, 0.0)
    store.put(item, BOB, 7000.0)
    assert store.get(item.target(), 7000.0 + LIFETIME - 1) == item
    assert store.get(item.target(), 7000.0 + LIFETIME) is None
    statistics = store.statistics(7000.0 + LIFETIME)
    assert (statistics.items, statistics.owners, statistics.bytes, statistics.expired) == (0, 0, 0, 1)


@pytest.mark.parametrize(
    ("put", "cas", "refusal"),
    [
        (letter(4), None, Refusal.OLD_SEQ),
        (letter(5, b"other"), None, Refusal.OLD_SEQ),
        (letter(5), None, None),
        (letter(6), None, None),
        (letter(6), 5, None),
        (letter(5), 5, None),
        (letter(6), 4, Refusal.CAS_MISMATCH),
        (letter(4), 4, Refusal.CAS_MISMATCH),
        (letter(4), 5, Refusal.OLD_SEQ),
        (replace(letter(6), value=b"i1e"), None, Refusal.BAD_SIGNATURE),
        (replace(letter(4), value=b"i1e"), 9, Refusal.BAD_SIGNATURE),
        (letter(1, salt=b"elsewhere"), 9, None),
    ],
)
def test_mutable_item_gives_way_to_a_newer_one(put, cas, refusal):
    """Never to an older, never to a forged one; `cas` is compared where there is something (BEP 44)."""
    store, first = new_store(), letter(5)
    store.put(first, ALICE, 0.0)
    assert store.put(put, BOB, 1.0, cas=cas) is refusal
    current = first if refusal or put.salt else put
    assert store.get(first.target(), 1.0) == current
    assert store.refusals.reasons.total() == (refusal is not None)


def test_refused_item_does_not_renew_what_is_there():
    """Or a stranger could keep an item alive by putting nonsense."""
    store, first = new_store(), letter(5)
    store.put(first, ALICE, 0.0)
    store.put(letter(4), BOB, 7000.0)
    store.put(letter(5, b"other"), BOB, 7000.0)
    assert store.get(first.target(), LIFETIME) is None


def test_item_put_again_unchanged_costs_no_signature():
    store = new_store(signature_rate=1.0)
    outcomes = [store.put(letter(1), ALICE, 0.0) for _ in range(50)]
    assert (outcomes, store.statistics(0.0).signatures_checked) == ([None] * 50, 1)


def test_signatures_are_checked_at_a_limited_rate():
    """They cost more than all the rest: a flood of forged items must not stop the node."""
    store = new_store(signature_rate=5.0)
    outcomes = [store.put(forged(number), f"22.0.{number}.1", 0.0) for number in range(20)]
    assert outcomes == [Refusal.BAD_SIGNATURE] * 5 + [Refusal.BUSY] * 15
    assert store.statistics(0.0).signatures_checked == 5
    assert store.put(note(1), BOB, 0.0) is None
    assert store.put(letter(1), BOB, 1.0) is None


def forged(number):
    return replace(letter(1), salt=b"%d" % number)


@pytest.mark.parametrize("host", ["23.0.{}.1", "23.0.0.{}", "2a00:{}::1"])
def test_few_addresses_with_bad_signatures_leave_the_checks_to_others(host):
    """Five of them at 50 puts a second; each honest item is stored at once."""
    store = new_store()
    for tick in range(1000):
        now = tick / 50
        for number in range(5):
            assert store.put(forged(5 * tick + number), host.format(number + 1), now) is not None
        if not tick % 10:
            assert store.put(letter(1, salt=b"%d" % tick), f"24.0.{tick // 10}.1", now) is None
    statistics = store.statistics(20.0)
    assert statistics.signatures_checked == 100 + 5 * 2  # one each, and one more after ten seconds
    assert statistics.reasons == {
        "bad signature": 10,
        "too many signatures to check from one address": 4990,
    }
    networks = {each.network for each in statistics.refused_most}
    expected = {host.format(number).rpartition(".")[0] + ".0/24" for number in range(1, 6)}
    assert networks == expected or ":" in host
    assert sum(each.times for each in statistics.refused_most) == 4990


def test_good_signatures_of_one_address_or_network_use_up_no_more_than_their_share():
    store = new_store(
        max_items=10**6, max_items_per_host=10**6, max_items_per_network=10**6, max_item_bytes=10**9
    )
    for tick in range(500):
        now = tick / 10
        for number in range(20):
            store.put(letter(1, salt=b"%d %d" % (tick, number)), f"23.0.0.{number % 10}", now)
        assert store.put(letter(1, salt=b"%d" % tick), f"24.{tick // 200}.{tick % 200}.1", now) is None
    checked = store.statistics(now).signatures_checked - 500
    assert 40 * 50 <= checked <= 40 * 50 + 128
    assert store.put(letter(2, salt=b"a"), "23.0.0.1", now) is Refusal.BUSY_WITH_NETWORK


def test_one_address_has_a_bounded_share():
    store = new_store(max_items_per_host=3)
    fill(store, ALICE, range(3))
    assert not store.has_capacity(note(3).target(), ALICE, 0.0)
    assert store.put(note(3), ALICE, 0.0) is Refusal.OWNER_IS_FULL
    assert store.has_capacity(note(2).target(), ALICE, 0.0)
    assert store.put(note(2), ALICE, 0.0) is None
    assert store.has_capacity(note(3).target(), BOB, 0.0)
    assert store.has_capacity(note(3).target(), ALICE, LIFETIME)


def test_addresses_of_one_ipv6_network_share():
    store = new_store(max_items_per_host=2)
    fill(store, "2a00::1", [0])
    fill(store, "2a00::2:0:0:1", [1])
    assert store.put(note(2), "2a00::ffff", 0.0) is Refusal.OWNER_IS_FULL
    assert store.put(note(2), "2a00:0:0:1::1", 0.0) is None


@pytest.mark.parametrize("host", ["23.0.0.{}", "2a00:0:0:{}::1"])
def test_one_network_has_a_bounded_share_and_each_of_its_hosts_a_part_of_the_rest(host):
    store, taken = new_store(max_items_per_host=30, max_items_per_network=100), []
    for number in range(1, 40):
        puts = [store.put(note(100 * number + each), host.format(number), 0.0) for each in range(40)]
        taken.append(puts.count(None))
    assert (taken[:5], sum(taken)) == ([20, 16, 13, 10, 8], 100)
    assert set(store.statistics(0.0).reasons) == {"too many from one network"}
    assert not store.has_capacity(note(5).target(), host.format(99), 0.0)
    assert store.put(note(5), host.format(99), 0.0) is Refusal.NETWORK_IS_FULL
    fill(store, BOB, [5])
    networks = {(refused.network, refused.reason) for refused in store.statistics(0.0).refused_most}
    assert networks in [
        {("23.0.0.0/24", "too many from one network")},
        {("2a00::/48", "too many from one network")},
    ]


def test_full_store_takes_from_the_network_that_has_most_and_there_from_the_host_that_has_most():
    store = new_store(max_items=9)
    for number in range(4):
        fill(store, f"23.0.0.{number}", [number])
    fill(store, "23.0.0.9", [10, 11])
    fill(store, "24.0.0.1", [20, 21, 22])
    fill(store, "25.0.0.1", [30])
    assert kept(store, range(30)) == [0, 1, 2, 3, 11, 20, 21, 22]
    fill(store, "25.0.0.1", [31])
    assert store.put(note(32), "24.0.0.1", 0.0) is Refusal.STORE_IS_FULL
    assert kept(store, range(40)) == [1, 2, 3, 11, 20, 21, 22, 30, 31]
    assert store.put(note(33), "23.0.0.8", 0.0) is Refusal.STORE_IS_FULL


def test_flood_from_one_network_leaves_its_neighbours_a_share():
    """In its own network too: the host that has most gives way."""
    store = new_store(max_items=100, max_items_per_host=100, max_items_per_network=10_000)
    fill(store, "23.0.0.1", range(100))
    fill(store, "23.0.0.2", range(200, 250))
    fill(store, "24.0.0.1", range(300, 350))
    assert store.put(note(999), "24.0.0.1", 0.0) is Refusal.STORE_IS_FULL
    assert len(kept(store, range(300, 350))) == 50
    assert len(kept(store, range(200, 250))) == 25
    assert store.statistics(0.0).items == 100


def test_item_put_again_by_another_still_belongs_to_the_first():
    """Or an owner could take over items, and wash them out together with its own."""
    store = new_store(max_items_per_host=2)
    fill(store, ALICE, [0, 1])
    fill(store, BOB, [0, 1])
    assert store.put(note(2), ALICE, 0.0) is Refusal.OWNER_IS_FULL
    assert store.put(note(2), BOB, 0.0) is None


def test_full_store_takes_from_the_owner_that_has_most():
    """The oldest of the largest owner goes; no other owner loses anything."""
    store = new_store(max_items=6)
    fill(store, ALICE, [0])
    fill(store, BOB, [10, 11, 12, 13])
    fill(store, CAROL, [20])
    fill(store, BOB, [10])  # renewed, so 11 is the one to expire first
    fill(store, DAVE, [30])
    assert kept(store, range(31)) == [0, 10, 12, 13, 20, 30]
    assert store.statistics(0.0).displaced == 1


def test_full_store_refuses_an_owner_that_would_have_as_much():
    store = new_store(max_items=3)
    for number, host in enumerate((ALICE, BOB, CAROL)):
        fill(store, host, [number])
    assert not store.has_capacity(note(3).target(), DAVE, 0.0)
    assert store.put(note(3), DAVE, 0.0) is Refusal.STORE_IS_FULL
    assert store.put(note(3), ALICE, 0.0) is Refusal.STORE_IS_FULL
    assert kept(store, range(4)) == [0, 1, 2]


def test_bytes_are_bounded_like_items():
    store = new_store(max_item_bytes=4 * ITEM_BYTES + 200)
    fill(store, ALICE, [0, 1, 2, 3])
    large = ImmutableItem.of(b"x" * 900)
    assert store.put(large, BOB, 0.0) is None
    statistics = store.statistics(0.0)
    assert (statistics.displaced, kept(store, range(4))) == (2, [2, 3])
    assert statistics.bytes == 3 * ITEM_BYTES + len(large.value) + 2 * len(note(0).value)
    assert new_store(max_item_bytes=ITEM_BYTES).put(note(0), ALICE, 0.0) is Refusal.STORE_IS_FULL


def test_item_that_grows_needs_room_as_a_new_one_does():
    """It may push out an owner that has more, and none that has as little; what was there stays."""
    store, grown = new_store(max_item_bytes=3 * ITEM_BYTES + 300), letter(2, b"x" * 500)
    fill(store, BOB, [0])
    store.put(letter(1), ALICE, 0.0)
    fill(store, CAROL, [1])
    assert store.put(grown, ALICE, 1.0) is Refusal.STORE_IS_FULL
    assert store.get(grown.target(), 1.0) == letter(1)
    store = new_store(max_item_bytes=3 * ITEM_BYTES + 300)
    fill(store, BOB, [0, 1])
    store.put(letter(1), ALICE, 0.0)
    assert store.put(grown, ALICE, 1.0) is None
    assert (kept(store, range(2)), store.get(grown.target(), 1.0)) == ([1], grown)


def test_store_that_can_hold_nothing_refuses_everything():
    for limits in ({"max_item_bytes": ITEM_BYTES}, {"max_items": 0}):
        assert new_store(**limits).put(note(0), ALICE, 0.0) is Refusal.STORE_IS_FULL
    assert new_store(max_items_per_host=0).put(note(0), ALICE, 0.0) is Refusal.OWNER_IS_FULL


HOSTS = st.integers(0, 5).map("21.0.0.{}".format)


@given(st.lists(st.tuples(st.integers(0, 25), HOSTS, st.sampled_from([0.0, 10.0, 5000.0])), max_size=60))
def test_limits_hold_whatever_is_put(puts):
    limits = {"max_items": 8, "max_items_per_host": 4, "max_item_bytes": 7 * ITEM_BYTES}
    store, now, refused = new_store(**limits), 0.0, 0

    for number, host, pause in puts:
        now += pause
        promised = store.has_capacity(note(number).target(), host, now)
        refusal = store.put(note(number), host, now)
        refused += refusal is not None
        assert (refusal is None) <= promised
        statistics = store.statistics(now)
        present = kept(store, range(26), now)
        size = ITEM_BYTES + len(note(0).value)
        assert len(present) == statistics.items <= 8
        assert statistics.bytes == size * statistics.items <= 7 * ITEM_BYTES
        assert statistics.refused == refused
        assert statistics.owners <= min(6, statistics.items)


def test_rate_of_signatures_can_be_changed():
    store = new_store(signature_rate=5.0)

    def outcomes(now):
        put = [store.put(forged(number), f"22.{int(now)}.{number}.1", now) for number in range(9)]
        return put.count(Refusal.BAD_SIGNATURE)

    before = outcomes(0.0)
    store.change_rate(2.0, 0.0)
    assert (before, outcomes(1e-3), outcomes(10.0)) == (5, 0, 2)
