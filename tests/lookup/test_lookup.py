"""Lookups over networks that exist only as dictionaries: what they find, and what liars cannot do."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dhtnode.addresses import Address, Contact, Scope
from dhtnode.bep42 import is_compliant, reserved_slots, secure_id
from dhtnode.ids import ZERO_ID, as_id, distance, random_id, shared_prefix_bits
from dhtnode.lookup.candidates import Candidates, CandidateState
from dhtnode.lookup.lookup import Lookup
from dhtnode.lookup.subtrees import SubtreeQuery

TARGET = ZERO_ID  # so that an id, read as a number, is its distance
OWN = as_id(1 << 159)


def address(number: int, port: int = 6881) -> Address:
    """Return an address alone in its /24."""
    return Address(f"21.{number >> 8}.{number & 255}.1", port)


def at(number: int, host: int | None = None) -> Contact:
    """Return the contact at a distance from the target, on the host of the same number or another."""
    return Contact(as_id(number), address(number if host is None else host))


def number_of(one: Address) -> int:
    """Return the number of the node at an address."""
    return int(one.host.split(".")[1]) << 8 | int(one.host.split(".")[2])


def is_at(host: str, one: Address) -> bool:
    return one.host.startswith(host)


def contact_at(host: str, *numbers: int) -> Contact:
    """Return a contact of a host, close to the target, at an endpoint of its own."""
    number = sum(each << 8 * place for place, each in enumerate(numbers)) + 1
    place = Address(f"{host}{number:x}", 6881) if ":" in host else Address(host, 1000 + number)
    return Contact(as_id(number), place)


def new_lookup(
    *,
    width: int = 8,
    parallelism: int = 5,
    query_limit: int = 200,
    attempts: int = 1,
    scope: Scope = Scope.PUBLIC,
) -> Lookup:
    return Lookup(
        TARGET, OWN, scope, width=width, parallelism=parallelism, query_limit=query_limit, attempts=attempts
    )


def query_all(lookup: Lookup) -> list[Address]:
    asked = []
    while (taken := lookup.take_next()) is not None:
        asked.append(taken)
    return asked


def answer_subtree_queries(lookup: Lookup) -> list[SubtreeQuery]:
    asked = []
    while (query := lookup.take_subtree_query()) is not None:
        asked.append(query)
        lookup.on_subtree_response(query, [])
    return asked


@dataclass
class Network:
    """Nodes that know each other: what each answers, and which of them are dead."""

    contacts: list[Contact]
    tables: dict[Address, list[Contact]]
    dead: set[Address] = field(default_factory=set)
    reply: int = 8

    def answer(self, asked: Address, target: bytes) -> list[Contact]:
        return sorted(self.tables[asked], key=lambda contact: distance(contact.node_id, target))[: self.reply]

    def closest(self, target: bytes, count: int = 8) -> list[Contact]:
        alive = [contact for contact in self.contacts if contact.address not in self.dead]
        return sorted(alive, key=lambda contact: distance(contact.node_id, target))[:count]

    def run(self, lookup: Lookup, start: Iterable[Contact]) -> None:
        ids = {contact.address: contact.node_id for contact in self.contacts}
        lookup.add_contacts(start)
        asked: list[Address] = []
        while not lookup.is_finished:
            asked.extend(query_all(lookup))
            while (query := lookup.take_subtree_query()) is not None:
                lookup.on_subtree_response(query, self.answer(query.address, query.target))
            if not asked:
                continue
            current = asked.pop(0)
            if current in self.dead:
                lookup.on_failure(current)
            else:
                lookup.on_response(current, ids[current], self.answer(current, lookup.target))


def new_network(size: int, random: Random) -> Network:
    """Return nodes with buckets as in BEP 5: up to 8 random contacts for each length of common prefix."""
    contacts = [Contact(random_id(random), address(number)) for number in range(size)]
    tables: dict[Address, list[Contact]] = {}
    for owner in contacts:
        buckets: dict[int, list[Contact]] = {}
        for other in random.sample(contacts, size):
            bucket = buckets.setdefault(shared_prefix_bits(owner.node_id, other.node_id), [])
            if other is not owner and len(bucket) < 8:
                bucket.append(other)
        tables[owner.address] = [contact for bucket in buckets.values() for contact in bucket]
    return Network(contacts, tables)


@pytest.mark.parametrize("seed", range(5))
def test_lookup_finds_the_true_closest(seed: int) -> None:
    random = Random(seed)
    network = new_network(300, random)
    target = random_id(random)
    lookup = Lookup(target, OWN, Scope.PUBLIC)
    network.run(lookup, random.sample(network.contacts, 3))
    assert lookup.closest() == network.closest(target)
    assert lookup.queries == lookup.answers < 60


@pytest.mark.parametrize("seed", range(5))
def test_lookup_finds_the_closest_live_nodes_among_dead_ones(seed: int) -> None:
    random = Random(seed)
    network = new_network(300, random)
    network.dead = {contact.address for contact in random.sample(network.contacts, 100)}
    network.reply = 12  # so that 8 of those named are alive, as where tables are reserved fresh
    target = random_id(random)
    lookup = Lookup(target, OWN, Scope.PUBLIC)
    network.run(lookup, network.closest(OWN, 16))
    assert lookup.closest() == network.closest(target)


def test_lookup_in_a_tiny_network_ends_with_all_nodes() -> None:
    network = new_network(5, Random(1))
    lookup = new_lookup()
    network.run(lookup, network.contacts[:1])
    assert lookup.closest() == network.closest(TARGET)


def test_lookup_without_candidates_is_finished() -> None:
    lookup = new_lookup()
    assert (lookup.take_next(), lookup.is_finished, lookup.closest()) == (None, True, [])


def test_closest_are_queried_first_within_the_parallelism() -> None:
    lookup = new_lookup(parallelism=3)
    lookup.add_contacts([at(n) for n in (50, 10, 40, 20, 30)])
    asked = query_all(lookup)
    assert asked == [address(10), address(20), address(30)]
    assert (lookup.queries, lookup.is_finished) == (3, False)


def test_lookup_ends_when_the_closest_have_answered() -> None:
    lookup = new_lookup(width=2, parallelism=3)
    lookup.add_contacts([at(n) for n in (10, 20, 30, 40)])
    query_all(lookup)
    lookup.on_response(address(10), as_id(10), [])
    before = lookup.is_finished
    lookup.on_response(address(20), as_id(20), [])
    assert (before, lookup.is_finished) == (False, True)
    assert lookup.closest() == [at(10), at(20)]


def test_failed_node_gives_way_to_the_next_closest() -> None:
    lookup = new_lookup(width=1, parallelism=1)
    lookup.add_contacts([at(10), at(20)])
    query_all(lookup)
    lookup.on_failure(address(10))
    assert query_all(lookup) == [address(20)]
    lookup.on_response(address(20), as_id(20), [])
    answer_subtree_queries(lookup)
    assert (lookup.is_finished, lookup.closest()) == (True, [at(20)])


def test_stalled_query_frees_its_slot() -> None:
    lookup = new_lookup(parallelism=1)
    lookup.add_contacts([at(10), at(20), at(30)])
    query_all(lookup)
    lookup.on_stall(address(10))
    lookup.on_stall(address(10))
    assert (query_all(lookup), lookup.is_finished) == ([address(20)], False)


def test_late_answer_still_counts() -> None:
    lookup = new_lookup(width=2, parallelism=1)
    lookup.add_contacts([at(10), at(20), at(30)])
    query_all(lookup)
    lookup.on_stall(address(10))
    query_all(lookup)
    counted = lookup.on_response(address(10), as_id(10), [at(5)])
    assert (counted, query_all(lookup), lookup.closest()) == (True, [], [at(10)])
    lookup.on_response(address(20), as_id(20), [])
    assert query_all(lookup) == [address(5)]


def test_answer_without_a_query_is_ignored() -> None:
    lookup = new_lookup(parallelism=1)
    lookup.add_contacts([at(10), at(20)])
    query_all(lookup)
    lookup.on_response(address(10), as_id(10), [])
    counted = [lookup.on_response(at(n).address, as_id(n), [at(1)]) for n in (99, 20, 10)]
    lookup.on_failure(address(10))
    lookup.on_failure(address(99))
    lookup.on_stall(address(99))
    assert counted == [False, False, False]
    assert (lookup.answers, lookup.closest(), query_all(lookup)) == (1, [at(10)], [address(20)])


def test_node_that_moves_towards_the_target_is_not_found() -> None:
    lookup = new_lookup()
    lookup.add_contacts([at(10)])
    query_all(lookup)
    counted = lookup.on_response(address(10), as_id(9), [at(5)])
    assert (counted, lookup.closest(), query_all(lookup), lookup.is_finished) == (False, [], [], True)


def test_node_returned_under_a_false_id_is_found_under_its_own() -> None:
    lookup = new_lookup()
    lookup.add_contacts([at(1)])
    query_all(lookup)
    lookup.on_response(address(1), as_id(1), [Contact(as_id(2), address(10))])
    query_all(lookup)
    counted = lookup.on_response(address(10), as_id(10), [])
    assert (counted, lookup.closest()) == (True, [at(1), at(10)])


def test_closest_of_several_ids_claimed_for_an_address_is_tried() -> None:
    lookup = new_lookup(parallelism=1)
    lookup.add_contacts([at(1)])
    query_all(lookup)
    lookup.on_response(address(1), as_id(1), [Contact(as_id(1000), address(10)), at(20), at(10)])
    assert query_all(lookup) == [address(10)]


def test_wanted_id_is_not_taken_over_by_another_address() -> None:
    lookup = new_lookup(parallelism=1)
    lookup.add_contacts([at(10), at(20)])
    query_all(lookup)
    lookup.on_response(address(10), as_id(10), [at(20, host=66), at(10, host=67)])
    assert query_all(lookup) == [address(20)]


def test_known_address_does_not_get_a_second_id() -> None:
    lookup = new_lookup(parallelism=1)
    lookup.add_contacts([at(10), at(20)])
    query_all(lookup)
    lookup.on_response(address(10), as_id(10), [at(1, host=20)])
    assert query_all(lookup) == [address(20)]
    assert lookup.on_response(address(20), as_id(20), [])


@pytest.mark.parametrize(
    "useless",
    [
        Contact(OWN, address(5)),
        Contact(as_id(5), Address("127.0.0.1", 6881)),
        Contact(as_id(5), Address("10.0.0.1", 6881)),
        Contact(as_id(5), Address("21.0.0.5", 0)),
        Contact(as_id(5), Address("fe80::1", 6881)),
    ],
    ids=str,
)
def test_contacts_that_must_not_be_queried_are_skipped(useless: Contact) -> None:
    lookup = new_lookup(parallelism=1)
    lookup.add_contacts([at(10)])
    lookup.add_bootstrap_nodes([useless.address] if useless.node_id != OWN else [])
    query_all(lookup)
    lookup.on_response(address(10), as_id(10), [useless])
    assert (query_all(lookup), lookup.is_finished) == ([], True)


def test_node_that_answers_under_our_own_id_does_not_count() -> None:
    lookup = new_lookup()
    lookup.add_bootstrap_nodes([address(7)])
    query_all(lookup)
    assert not lookup.on_response(address(7), OWN, [at(10)])
    assert (lookup.closest(), lookup.is_finished) == ([], True)


def test_one_network_is_queried_once() -> None:
    """A /24 may be one attacker, so its second address is left out even when it is closer."""
    lookup = new_lookup(parallelism=1)
    neighbour = Contact(as_id(5), Address("21.0.10.77", 6881))
    lookup.add_contacts([at(10), at(20)])
    query_all(lookup)
    lookup.on_response(address(10), as_id(10), [neighbour])
    assert query_all(lookup) == [address(20)]
    lookup.on_response(address(20), as_id(20), [])
    assert (lookup.is_finished, lookup.closest()) == (True, [at(10), at(20)])


def test_network_gets_another_chance_when_its_node_failed() -> None:
    lookup = new_lookup(parallelism=1)
    neighbour = Contact(as_id(15), Address("21.0.10.77", 6881))
    lookup.add_contacts([at(10), neighbour])
    query_all(lookup)
    lookup.on_failure(address(10))
    assert (lookup.is_finished, query_all(lookup)) == (False, [neighbour.address])


@pytest.mark.parametrize("attempts", [1, 2, 5])
@pytest.mark.parametrize("host", ["45.66.77.88", "2a00:1:2:3::"])
def test_host_that_is_silent_is_sent_few_queries_at_whatever_ports(host: str, attempts: int) -> None:
    """All liars name it, each time in front of all others; over IPv6 at any address of its /64."""
    lookup = new_lookup(attempts=attempts)
    lookup.add_contacts(map(at, range(10_000, 10_040)))
    sent = 0
    for _ in range(400):
        for one in query_all(lookup):
            if not is_at(host, one):
                near = [contact_at(host, sent, number) for number in range(8)]
                lookup.on_response(one, as_id(number_of(one)), near)
                continue
            sent += 1
            lookup.on_stall(one)
            lookup.on_timeout(one)
        answer_subtree_queries(lookup)
    assert lookup.is_finished
    assert len(lookup.closest()) == 8
    assert sent == max(2, attempts)


def test_networks_do_not_matter_on_loopback() -> None:
    lookup = new_lookup(scope=Scope.LOOPBACK)
    contacts = [Contact(as_id(n), Address("127.0.0.1", n)) for n in (10, 20, 30)]
    lookup.add_contacts(contacts)
    assert query_all(lookup) == [contact.address for contact in contacts]


def test_source_of_invented_contacts_is_rejected() -> None:
    lookup = new_lookup(parallelism=1)
    lookup.add_contacts([at(1000), at(2000)])
    query_all(lookup)
    lookup.on_response(address(1000), as_id(1000), [at(n) for n in range(1, 17)])
    asked = []
    while (taken := lookup.take_next()) is not None and taken != address(2000):
        asked.append(taken)
        lookup.on_failure(taken)
    assert asked == [address(n) for n in range(1, 5)]
    lookup.on_response(address(2000), as_id(2000), [])
    assert (lookup.is_finished, lookup.closest()) == (True, [at(1000), at(2000)])


def test_contact_that_an_honest_node_returned_too_is_queried() -> None:
    lookup = new_lookup(parallelism=1)
    lookup.add_contacts([at(1000), at(2000)])
    query_all(lookup)
    lookup.on_response(address(1000), as_id(1000), [at(n) for n in (1, 2, 3, 4, 500)])
    for number in (1, 2, 3, 4):
        query_all(lookup)
        lookup.on_failure(address(number))
    query_all(lookup)
    lookup.on_response(address(2000), as_id(2000), [at(500)])
    assert query_all(lookup) == [address(500)]


def test_source_with_a_live_contact_is_not_rejected() -> None:
    lookup = new_lookup(parallelism=1)
    lookup.add_contacts([at(1000)])
    query_all(lookup)
    lookup.on_response(address(1000), as_id(1000), [at(n) for n in range(1, 10)])
    query_all(lookup)
    lookup.on_response(address(1), as_id(1), [])
    for number in range(2, 9):
        assert query_all(lookup) == [address(number)]
        lookup.on_failure(address(number))
    assert query_all(lookup) == [address(9)]


def test_only_the_closest_contacts_of_one_response_count() -> None:
    lookup = new_lookup(width=2, parallelism=100)
    lookup.add_contacts([at(1000)])
    query_all(lookup)
    lookup.on_response(address(1000), as_id(1000), [at(n) for n in range(300, 0, -1)])
    assert len(lookup._candidates) == 5
    assert query_all(lookup) == [address(n) for n in (1, 2)]
    for number in (1, 2):
        lookup.on_failure(address(number))
    assert query_all(lookup) == [address(n) for n in (3, 4)]
    for number in (3, 4):
        lookup.on_failure(address(number))
    assert lookup.is_finished


def test_all_of_our_own_contacts_may_be_tried() -> None:
    lookup = new_lookup()
    lookup.add_contacts([at(n) for n in range(1, 101)])
    while (taken := lookup.take_next()) is not None:
        if taken == address(100):
            lookup.on_response(taken, as_id(100), [])
        else:
            lookup.on_failure(taken)
    assert (lookup.is_finished, lookup.closest()) == (True, [at(100)])


def test_bootstrap_nodes_are_queried_when_no_contacts_are_known() -> None:
    lookup = new_lookup(parallelism=2)
    lookup.add_bootstrap_nodes([address(7), address(8), address(9), address(7)])
    asked = query_all(lookup)
    counted = lookup.on_response(address(7), as_id(700), [at(10)])
    assert (asked, counted) == ([address(7), address(8)], True)
    assert query_all(lookup) == [address(10)]
    assert lookup.closest() == [Contact(as_id(700), address(7))]


def test_bootstrap_nodes_are_left_alone_once_enough_nodes_have_answered() -> None:
    lookup = new_lookup(width=2, parallelism=1)
    lookup.add_contacts([at(10), at(20)])
    lookup.add_bootstrap_nodes([address(7)])
    for number in (10, 20):
        query_all(lookup)
        lookup.on_response(address(number), as_id(number), [])
    assert (query_all(lookup), lookup.is_finished) == ([], True)


def test_lookup_is_not_finished_while_a_bootstrap_node_is_left() -> None:
    lookup = new_lookup(parallelism=1)
    lookup.add_contacts([at(10)])
    lookup.add_bootstrap_nodes([address(7)])
    query_all(lookup)
    lookup.on_failure(address(10))
    assert (lookup.is_finished, query_all(lookup)) == (False, [address(7)])


def test_false_id_does_not_spoil_a_bootstrap_node() -> None:
    lookup = new_lookup(parallelism=1)
    lookup.add_contacts([at(1000)])
    lookup.add_bootstrap_nodes([address(7)])
    query_all(lookup)
    lookup.on_response(address(1000), as_id(1000), [at(1, host=7)])
    asked = query_all(lookup)
    counted = lookup.on_response(address(7), as_id(700), [at(10)])
    assert (asked, counted, query_all(lookup)) == ([address(7)], True, [address(10)])


def test_two_bootstrap_nodes_with_one_id_count_once() -> None:
    lookup = new_lookup()
    lookup.add_bootstrap_nodes([address(7), address(8)])
    query_all(lookup)
    counted = [lookup.on_response(address(n), as_id(700), []) for n in (7, 8)]
    assert (counted, lookup.closest()) == ([True, False], [Contact(as_id(700), address(7))])


def test_query_limit_ends_a_lookup_that_never_gets_nearer() -> None:
    lookup = new_lookup(query_limit=30)
    lookup.add_contacts([at(10_000)])
    number = 10_000
    while not lookup.is_finished:
        asked = query_all(lookup)
        for one in asked:
            number -= 1
            lookup.on_response(one, as_id(number + 1), [at(number)])
    assert (lookup.queries, len(lookup.closest())) == (30, 8)


def test_query_limit_waits_for_queries_in_flight() -> None:
    lookup = new_lookup(query_limit=2)
    lookup.add_contacts([at(10), at(20), at(30)])
    asked = query_all(lookup)
    states = [lookup.is_finished]
    for number in (10, 20):
        lookup.on_response(address(number), as_id(number), [])
        states.append(lookup.is_finished)
    assert (asked, states) == ([address(10), address(20)], [False, False, True])


def test_candidates_are_bounded() -> None:
    lookup = new_lookup(parallelism=1)
    lookup.add_contacts([at(1 << 150, host=60_000)])
    query_all(lookup)
    lookup.on_response(address(60_000), as_id(1 << 150), [at(50_000)])
    for number in range(100):
        (asked,) = query_all(lookup)
        base = 50_000 - 17 * number
        lookup.on_response(asked, as_id(base), [at(base - n) for n in range(17, 1, -1)])
    assert len(lookup._candidates._by_distance) == 400


BEHAVIOURS = ("answer", "answer late", "time out", "time out late", "use another id", "use our id")
POOL = 40


@dataclass(frozen=True)
class Plan:
    """The behaviour of one address: what it does when queried, and the contacts that it returns."""

    behaviour: str
    names: list[tuple[int, int]]


PLANS = st.lists(
    st.builds(
        Plan,
        st.sampled_from(BEHAVIOURS),
        st.lists(st.tuples(st.integers(1, POOL), st.integers(0, POOL - 1)), max_size=12),
    ),
    min_size=POOL,
    max_size=POOL,
)


def any_address(number: int) -> Address:
    """Return one of a few addresses: some share a network, some are not allowed."""
    if number % 10 == 9:
        return Address("127.0.0.1", 6881 + number)
    return Address(f"21.0.{number // 2}.{number % 2}", 6881)


def run(lookup: Lookup, plans: Sequence[Plan], random: Random) -> dict[Address, bytes]:
    """Play the plans in random order until nothing more can happen; return address and id of each answer."""
    numbers = {any_address(number): number for number in range(POOL)}
    answered: dict[Address, bytes] = {}
    under_way: list[Address] = []
    while True:
        under_way.extend(query_all(lookup))
        if (query := lookup.take_subtree_query()) is not None:
            named = plans[numbers[query.address]].names
            if random.random() < 0.5:
                lookup.on_subtree_timeout(query)
            else:
                lookup.on_subtree_response(
                    query, [Contact(as_id(one), any_address(host)) for one, host in named]
                )
            continue
        if not under_way:
            return answered
        asked = under_way.pop(random.randrange(len(under_way)))
        plan = plans[numbers[asked]]
        if "late" in plan.behaviour and random.random() < 0.5:
            lookup.on_stall(asked)
            under_way.append(asked)
            continue
        if "time out" in plan.behaviour:
            lookup.on_stall(asked)
            lookup.on_timeout(asked)
            continue
        node_id = {"use another id": as_id(POOL + 1), "use our id": OWN}.get(
            plan.behaviour, as_id(numbers[asked] + 1)
        )
        named = [Contact(as_id(one), any_address(host)) for one, host in plan.names]
        if lookup.on_response(asked, node_id, named):
            answered[asked] = node_id


@pytest.mark.slow
@settings(max_examples=60)
@given(PLANS, st.integers(1, 8), st.integers(1, 6), st.integers(1, 30), st.integers(1, 4), st.data())
def test_every_lookup_ends_with_contacts_that_answered(
    plans: list[Plan], width: int, parallelism: int, query_limit: int, attempts: int, data: st.DataObject
) -> None:
    lookup = new_lookup(width=width, parallelism=parallelism, query_limit=query_limit, attempts=attempts)
    numbers = st.lists(st.integers(0, POOL - 1), max_size=10)
    lookup.add_contacts([Contact(as_id(n + 1), any_address(n)) for n in data.draw(numbers)])
    lookup.add_bootstrap_nodes([any_address(n) for n in data.draw(numbers)])

    answered = run(lookup, plans, Random(data.draw(st.integers(0, 2**32))))

    found = lookup.closest()
    assert lookup.is_finished
    assert lookup.queries <= query_limit
    assert lookup.answers == len(answered)
    assert {contact.address: contact.node_id for contact in found}.items() <= answered.items()
    assert [contact.node_id for contact in found] == sorted(answered.values())[:width]
    assert len({contact.node_id for contact in found}) == len(found)
    assert all(Scope.PUBLIC.allows(contact.address) and contact.node_id != OWN for contact in found)


@settings(max_examples=40)
@given(st.integers(1, 3), st.integers(1, 6), st.integers(0, 2**32))
def test_attempts_and_parallelism_are_bounded(attempts: int, parallelism: int, seed: int) -> None:
    lookup = new_lookup(parallelism=parallelism, attempts=attempts)
    lookup.add_contacts([Contact(as_id(n + 1), any_address(n)) for n in range(POOL)])
    waiting: set[Address] = set()
    asked: list[Address] = []
    random = Random(seed)
    for _ in range(4 * POOL):
        if (taken := lookup.take_next()) is not None:
            asked.append(taken)
            waiting.add(taken)
        assert len(waiting) <= parallelism
        event = random.choice(("nothing", "stall", "fail"))
        if waiting and event != "nothing":
            one = random.choice(sorted(waiting))
            waiting.discard(one)
            (lookup.on_stall if event == "stall" else lookup.on_failure)(one)

    assert max(Counter(asked).values()) <= attempts


def secure(number: int) -> Contact:
    """Return a contact whose id goes with its address (BEP 42), somewhere far from the target."""
    where = Address(f"31.0.{number}.1", 6881)
    return Contact(secure_id(where.host, bytes([number]) * 20), where)


def finished_lookup(contacts: Sequence[Contact], reserved: int) -> Lookup:
    """Return a lookup in which all nodes answered without contacts."""
    lookup = Lookup(TARGET, OWN, Scope.PUBLIC, reserved=reserved)
    ids = {contact.address: contact.node_id for contact in contacts}
    lookup.add_contacts(contacts)
    while not lookup.is_finished:
        for asked in query_all(lookup):
            lookup.on_response(asked, ids[asked], [])
    return lookup


def test_reserved_slots_go_to_the_closest_compliant_nodes() -> None:
    liars = [at(number) for number in range(1, 21)]
    honest = sorted((secure(number) for number in range(20)), key=lambda contact: contact.node_id)
    lookup = finished_lookup([*liars, *honest], reserved=4)
    assert lookup.closest() == [*liars[:4], *honest[:4]]
    assert lookup.queries == 8  # no node was queried that could not count


def test_reserved_slots_without_compliant_nodes_go_to_the_next() -> None:
    others = [at(number) for number in range(1, 21)]
    assert finished_lookup(others, reserved=4).closest() == others[:8]
    assert finished_lookup([*others, secure(1)], reserved=4).closest() == [*others[:7], secure(1)]
    assert finished_lookup([*others, secure(1)], reserved=0).closest() == others[:8]


def test_only_nodes_that_take_a_slot_leave_the_next_to_the_compliant() -> None:
    candidates = Candidates(TARGET, OWN, Scope.PUBLIC, width=4, reserved=2)
    candidates.add([*map(at, (1, 2, 3)), secure(1)], None)

    def ranked() -> list[int]:
        order = [*map(address, (1, 2, 3)), secure(1).address]
        return [order.index(each.address) for each in candidates.ranked(CandidateState.ANSWERED)]

    assert ranked() == [0, 1, 2, 3]
    for number in (1, 2):
        candidates.get(address(number)).state = CandidateState.ANSWERED  # type: ignore[union-attr]
    assert ranked() == [0, 1, 3, 2]


def test_preference_changes_nothing_where_enough_nodes_are_compliant() -> None:
    contacts = [secure(number) for number in range(40)]
    assert finished_lookup(contacts, reserved=4).closest() == finished_lookup(contacts, reserved=0).closest()


@pytest.mark.parametrize(("share", "reserved"), [(0.0, 0), (0.1, 0), (0.3, 2), (0.5, 4), (1.0, 4)])
def test_no_more_slots_are_reserved_than_can_be_filled(share: float, reserved: int) -> None:
    assert reserved_slots(8, share) == reserved


@given(
    st.lists(st.integers(1, 60), unique=True, max_size=30),
    st.lists(st.integers(0, 60), unique=True, max_size=30),
    st.integers(0, 8),
    st.randoms(use_true_random=False),
)
def test_any_lookup_fills_its_slots(
    others: list[int], honest: list[int], reserved: int, random: Random
) -> None:
    contacts = [*map(at, others), *map(secure, honest)]
    ids = {contact.address: contact.node_id for contact in contacts}
    lookup = Lookup(TARGET, OWN, Scope.PUBLIC, reserved=reserved)
    lookup.add_contacts(contacts)
    alive: list[Contact] = []
    while not lookup.is_finished:
        for asked in query_all(lookup):
            if random.random() < 0.3:
                lookup.on_failure(asked)
            else:
                lookup.on_response(asked, ids[asked], [])
                alive.append(Contact(ids[asked], asked))
        answer_subtree_queries(lookup)

    found = lookup.closest()
    secured = [contact for contact in found if is_compliant(contact.node_id, contact.address.host)]
    available = [contact for contact in alive if is_compliant(contact.node_id, contact.address.host)]
    assert found == sorted(found, key=lambda contact: contact.node_id)
    assert set(found) <= set(alive)
    assert len(secured) >= min(reserved, len(available))
    assert len(found) == min(8, len(alive))


def test_bootstrap_nodes_come_first_when_many_contacts_timed_out() -> None:
    lookup = new_lookup(parallelism=1)
    lookup.add_contacts([at(number) for number in range(1, 30)])
    asked = []
    for _ in range(12):
        lookup.add_bootstrap_nodes([address(200)])
        asked += query_all(lookup)
        lookup.on_failure(asked[-1])
    assert asked.index(address(200)) == 9  # the width of the lookup is 8
