"""Pings to silent nodes: who gets one, when the next one follows, and when it is over."""

import trio
from trio.testing import MockClock

from dhtnode.addresses import Address, Contact
from dhtnode.ids import as_id
from dhtnode.krpc.codec import encode
from dhtnode.krpc.messages import Error, Query, Response
from dhtnode.settings import NodeSettings
from tests.net.test_packet_path import Bench

SETTINGS = NodeSettings()
CHECK_AFTER, GOOD_FOR, BAD_AFTER = SETTINGS.check_after, SETTINGS.good_for, SETTINGS.bad_after


def contact_of(number: int) -> Contact:
    return Contact(as_id(number + 1), Address(f"21.3.{number}.1", 6881))


class Checking:
    """An endpoint that pings, with nodes that answer only when a test says so."""

    def __init__(self, nodes: int = 1) -> None:
        self.bench = Bench()
        self.endpoint = self.bench.endpoint
        self.table = self.endpoint.table
        self.contacts = [contact_of(number) for number in range(nodes)]
        for contact in self.contacts:
            self.table.responded(contact, trio.current_time())

    def take_pings(self) -> list[Query]:
        """Return the pings sent since the last look."""
        sent = [message for message, _ in self.bench.socket.sent if isinstance(message, Query)]
        self.bench.socket.sent.clear()
        return sent

    async def check(self) -> list[Query]:
        self.endpoint.checks.ping_silent(trio.current_time())
        return self.take_pings()

    async def give_up(self) -> list[Query]:
        """Wait until what is under way has been waited for long enough, and return the pings that follow."""
        await trio.sleep(self.endpoint.rpc.times.timeout)
        self.endpoint.rpc.end_overdue(trio.current_time())
        return self.take_pings()

    def answer(self, ping: Query, contact: Contact) -> None:
        self.receive(Response(ping.transaction_id, contact.node_id), contact)

    def refuse(self, ping: Query, contact: Contact) -> None:
        self.receive(Error(ping.transaction_id, 204, "no"), contact)

    def receive(self, message: Response | Error, contact: Contact) -> None:
        self.bench.receive(encode(message), contact.address)

    def is_good(self, contact: Contact) -> bool:
        """Return whether a node would be handed out."""
        info = self.table.get(contact.address)
        return info is not None and trio.current_time() < info.good_until


async def test_unheard_node_is_pinged_before_it_stops_being_good(autojump_clock: MockClock) -> None:
    """After half of the time, and only then; its answer makes it good for as long again."""
    checking = Checking()
    (contact,) = checking.contacts
    await trio.sleep(CHECK_AFTER - 1)
    assert await checking.check() == []
    await trio.sleep(1)
    (ping,) = await checking.check()
    assert checking.is_good(contact)
    checking.answer(ping, contact)
    await trio.sleep(CHECK_AFTER - 1)
    assert await checking.check() == []
    assert checking.is_good(contact)


async def test_lost_ping_is_followed_by_another_at_once(autojump_clock: MockClock) -> None:
    checking = Checking()
    (contact,) = checking.contacts
    await trio.sleep(CHECK_AFTER)
    await checking.check()
    (second,) = await checking.give_up()
    assert not checking.is_good(contact)
    checking.answer(second, contact)
    assert checking.is_good(contact)
    assert await checking.give_up() == []
    assert await checking.check() == []


async def test_node_that_never_answers_is_pinged_until_it_is_bad(autojump_clock: MockClock) -> None:
    checking = Checking()
    (contact,) = checking.contacts
    await trio.sleep(CHECK_AFTER)
    assert len(await checking.check()) == 1
    following = [len(await checking.give_up()) for _ in range(BAD_AFTER + 1)]
    assert following == [1] * (BAD_AFTER - 1) + [0, 0]
    assert checking.table.get(contact.address).bad
    assert await checking.check() == []
    assert checking.table.contacts(include_bad=True) == [contact]


async def test_node_that_left_a_lookup_waiting_is_pinged_in_the_next_round(autojump_clock: MockClock) -> None:
    checking = Checking(nodes=3)
    silent = checking.contacts[1]
    checking.table.failed(silent.address, trio.current_time())
    (ping,) = await checking.check()
    assert not checking.is_good(silent)
    checking.answer(ping, silent)
    assert checking.is_good(silent)
    assert await checking.check() == []


async def test_node_that_refuses_pings_fails_once_a_round(autojump_clock: MockClock) -> None:
    """Nothing was lost, so there is no reason to ask again at once."""
    checking = Checking()
    (contact,) = checking.contacts
    await trio.sleep(CHECK_AFTER)
    for failures in range(1, BAD_AFTER + 1):
        (ping,) = await checking.check()
        checking.refuse(ping, contact)
        assert checking.table.get(contact.address).failures == failures
        assert checking.take_pings() == []
    assert checking.table.get(contact.address).bad


async def test_losing_our_own_network_loses_no_node(autojump_clock: MockClock) -> None:
    """It is not their silence: all are kept, and good again as soon as they answer."""
    checking = Checking(nodes=8)
    await trio.sleep(CHECK_AFTER)
    await checking.check()
    while await checking.give_up():
        pass
    assert checking.table.contacts() == checking.contacts
    for contact in checking.contacts:
        checking.table.responded(contact, trio.current_time())
    assert all(map(checking.is_good, checking.contacts))


async def test_few_are_pinged_at_once(autojump_clock: MockClock) -> None:
    checking = Checking()
    for number in range(20):  # five in each of four buckets
        node_id = as_id(1 << 159 | 1 << (155 + number // 5) | number)
        checking.table.responded(Contact(node_id, contact_of(100 + number).address), trio.current_time())
    await trio.sleep(CHECK_AFTER)
    assert len(await checking.check()) == 16


async def test_sources_unheard_for_long_are_forgotten(autojump_clock: MockClock) -> None:
    """At the earliest after `good_for` seconds: so long an address counts as proven."""
    checking = Checking()
    sources, now = checking.endpoint.rpc.sources, trio.current_time()
    sources.expire(now)
    for number in range(10):
        checking.receive(Error(b"aa", 204, "no"), contact_of(number))
    sources.expire(now + GOOD_FOR)
    sources.expire(now + 2 * GOOD_FOR - 1)
    assert len(sources) == 10
    checking.receive(Error(b"aa", 204, "no"), contact_of(3))
    sources.expire(now + 2 * GOOD_FOR)
    assert len(sources) == 1
