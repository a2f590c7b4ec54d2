"""Contacts that nodes return: which are used, which are counted once, and what is written about the rest."""

from random import Random

import pytest

from crawler.core.exclusion import Exclusion
from crawler.core.returned_contacts import LONGEST_WAIT, MANY, NewShare, ReturnedContacts
from crawler.core.visit import OpenVisit
from crawler.zone import Zone
from dhtnode import Address, Family, NodeId, Scope
from dhtnode.krpc import CompactContacts, Response

IPV4, IPV6 = Family.IPV4, Family.IPV6


class Facts:
    """A client that sends nothing."""

    def __init__(self, family=IPV4, scope=Scope.PUBLIC):
        self.family, self.scope = family, scope


class Scene:
    """A reader of contacts and its frontier."""

    def __init__(self, family=IPV4, *, scope=Scope.PUBLIC, zone=None, listed=()):
        self.family = family
        self.compact = CompactContacts(family, scope)
        excludes = Exclusion.read(listed).excludes if listed else None
        facts, zone = Facts(family, scope), zone or Zone()
        self.returned = ReturnedContacts(facts, 1000, zone, excludes, Random(1))
        self.frontier = self.returned.frontier

    def contact(self, host, node_id=bytes(20), port=1):
        return self.compact.write(node_id, self.compact.endpoint_of(Address(host, port)))

    def visit(self, number):
        host = f"20.0.0.{number}" if self.family is IPV4 else f"2a00::{number}"
        return OpenVisit(self.contact(host, bytes([number]) * 20), Address(host, 1), number)

    def answer(self, visit, *contacts, node_id=None):
        named = {"nodes" if self.family is IPV4 else "nodes6": b"".join(contacts)}
        return visit, Response(b"aaaa", NodeId(node_id or visit.node_id), **named)

    def record(self, visit, *contacts, **more):
        self.returned.note(*self.answer(visit, *contacts, **more))
        return self.returned.record(0.0)

    def queued(self):
        """Return the hosts that are to be visited."""
        taken = [contact for _, contact in self.frontier.take(0.0, 1000)]
        return [self.compact.address_of(int.from_bytes(each[20:], "big")).host for each in taken]


PUBLIC = {IPV4: ["44.0.0.1", "172.15.0.1", "172.32.0.1", "100.63.0.1"], IPV6: ["2a00::9", "2600:1::1"]}
SPECIAL = {
    IPV4: ["10.0.0.1", "127.0.0.1", "172.16.0.1", "100.64.0.1", "192.168.1.1", "224.0.0.1", "0.0.0.0"],
    IPV6: ["::1", "fe80::1", "fc00::1", "2001:db8::1", "ff02::1"],
}


@pytest.mark.parametrize("family", [IPV4, IPV6])
def test_only_contacts_that_may_be_visited_are_used(family):
    """Also those whose first octet does not tell, and none without a port."""
    scene = Scene(family)
    visit, hosts = scene.visit(1), [*PUBLIC[family], *SPECIAL[family]]
    scene.record(visit, *map(scene.contact, hosts), scene.contact(hosts[0], port=0))
    assert scene.queued() == PUBLIC[family]
    assert (visit.contacts, visit.new_contacts) == (len(hosts) + 1, len(PUBLIC[family]))
    assert visit.unusable == len(SPECIAL[family]) + 1
    assert scene.returned.add([(bytes(20), Address(SPECIAL[family][0], 1))]) == 0


def test_zone_and_exclusion_bound_what_is_added():
    scene = Scene(zone=Zone(0x5B, 8), listed=["44.0.0.0/24", "5b" * 20])
    inside, outside = b"\x5b" + bytes(19), b"\x5c" + bytes(19)
    visit = scene.visit(1)
    wanted = [("44.0.1.1", inside), ("44.0.1.2", outside), ("44.0.0.3", inside), ("44.0.1.4", b"\x5b" * 20)]
    scene.record(visit, *(scene.contact(host, node_id) for host, node_id in wanted))
    assert scene.returned.add((node_id, Address(host, 2)) for host, node_id in wanted) == 1
    assert scene.queued() == ["44.0.1.1", "44.0.1.1"]
    scene = Scene(zone=Zone(0x5B, 8))
    scene.record(scene.visit(1), *(scene.contact(host, node_id) for host, node_id in wanted))
    assert scene.queued() == ["44.0.1.1", "44.0.0.3", "44.0.1.4"]


def test_node_counts_once_for_each_contact_it_returns():
    """Its two answers overlap, and so do the contacts in one answer; the answers of others count too."""
    scene = Scene()
    first, second = scene.visit(1), scene.visit(2)
    one, two, three = (scene.contact(f"44.0.0.{number}") for number in (1, 2, 3))
    for answer in (scene.answer(first, one, two, one), scene.answer(second, two)):
        scene.returned.note(*answer)
    referrals = scene.returned.record(0.0)
    assert referrals.contacts.tolist() == [0, 1, 1]
    assert [each >> 24 for each in referrals.referrers.tolist()] == [1, 1, 2]
    assert scene.record(first, two, three).contacts.tolist() == [2]

    assert (first.new_contacts, second.new_contacts, first.contacts) == (3, 0, 5)
    scene.frontier.take(0.0, 3)
    assert scene.frontier.finish([0, 1, 2], [1, 1, 1]) == [1, 2, 1]
    assert (scene.returned.share.new, scene.returned.share.all) == (3, 6)


def test_word_of_a_node_under_a_wrong_id_is_not_counted():
    scene = Scene()
    referrals = scene.record(scene.visit(1), scene.contact("44.0.0.1"), node_id=b"x" * 20)
    assert referrals.contacts.tolist() == []
    assert [(each.referrers, each.in_halves) for each in scene.frontier.sightings()] == [(0, (False, False))]


def test_node_belongs_to_one_half():
    scene = Scene()
    for number in range(1, 41):
        visit = scene.visit(number)
        for answer in (1, 2):
            scene.record(visit, scene.contact(f"44.0.{number}.{answer}"))
    halves = {each.in_halves: count for each, count in scene.frontier.sightings().items()}
    assert halves.keys() == {(True, False), (False, True)}
    assert all(count % 2 == 0 for count in halves.values())


def test_of_too_many_contacts_the_first_64_usable_ones_are_read():
    scene = Scene(listed=["44.0.0.1"])
    visit = scene.visit(1)
    some = [scene.contact(f"44.0.0.{number}") for number in range(80)]
    scene.record(visit, scene.contact("10.0.0.1"), *some)
    assert visit.sorted_marks == ("oversized",)
    assert (visit.contacts, visit.unusable, visit.new_contacts) == (81, 1, 64)
    assert scene.queued() == [f"44.0.0.{number}" for number in (0, *range(2, 65))]


def test_answers_without_contacts_are_no_trouble():
    scene = Scene()
    visit = scene.visit(1)
    assert scene.record(visit).contacts.tolist() == []
    assert scene.record(visit, scene.contact("10.0.0.1")).contacts.tolist() == []
    assert visit.sorted_marks == ("unusable-contacts",)


def test_contact_too_close_to_the_target_is_marked():
    scene = Scene()
    visit = scene.visit(1)
    scene.record(visit, scene.contact("44.0.0.1", visit.target[:6] + bytes(14)))
    assert visit.sorted_marks == ("impossibly-close",)


def test_answers_are_recorded_when_many_or_old():
    scene, later = Scene(), 10.0 + LONGEST_WAIT
    returned, nodes = scene.returned, [scene.contact(f"44.0.0.{number}") for number in range(1, 3)]
    assert not returned.is_due(10.0, 0)
    returned.note(*scene.answer(scene.visit(1), nodes[0]))
    assert [returned.is_due(now, 0) for now in (later - 0.01, later + 0.01)] == [False, True]
    returned.record(10.0)
    assert not returned.is_due(10.0, 0)
    returned.note(*scene.answer(scene.visit(1), nodes[1]))
    assert [returned.is_due(now, 0) for now in (later - 0.01, later + 0.01)] == [False, True]
    assert [returned.is_due(10.0, ended) for ended in (MANY - 2, MANY - 1)] == [False, True]


def test_two_answers_of_a_node_recorded_at_once_count_once():
    scene = Scene()
    visit, contact = scene.visit(1), scene.contact("44.0.0.1")
    for _ in range(2):
        scene.returned.note(*scene.answer(visit, contact))
    assert scene.returned.record(0.0).contacts.tolist() == [0]
    assert (visit.contacts, visit.new_contacts) == (2, 1)


@pytest.mark.parametrize("bits", [0, 3])
def test_frontier_is_told_the_size_of_the_network(bits):
    """By the neighbours of some nodes, in a zone, with those of a fifth that invent closer ones."""
    random, members = Random(2), 4000
    scene = Scene(zone=Zone(0, bits))
    ids = sorted(random.getrandbits(160 - bits) for _ in range(members >> bits))
    for number in range(1, 101):
        own = random.choice(ids)
        closest = sorted(ids, key=lambda each: each ^ own)[:9] if number % 5 else range(own, own + 9)
        visit = OpenVisit(scene.contact("20.0.0.1", own.to_bytes(20, "big")), Address("20.0.0.1", 1), 1)
        scene.record(
            visit, *[scene.contact("44.0.0.1", each.to_bytes(20, "big"), each % 999 + 1) for each in closest]
        )
    assert members / 4 < scene.frontier.told_size << bits < members * 2


def test_neighbours_that_no_node_tells_are_of_no_size():
    scene = Scene()
    for number in range(1, 9):
        scene.record(scene.visit(number), *map(scene.contact, PUBLIC[IPV4]))
    assert scene.frontier.told_size == 0


def test_old_counts_of_new_contacts_fade_by_a_fifth():
    share = NewShare()
    share.all, share.new = 100.0, 10.0
    share.fade()
    assert (share.all, share.new) == (pytest.approx(80.0), pytest.approx(8.0))
