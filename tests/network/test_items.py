"""Items that one node puts and another gets, beside nodes that forge, forget and compete (BEP 44, 46)."""

from dataclasses import replace
from random import Random

import pytest
import trio

from dhtnode import (
    Family,
    ImmutableItem,
    InvalidInfoHash,
    MutableItem,
    NodeSettings,
    NotJoined,
    QueryRefused,
    distance,
    mutable_target,
)
from dhtnode.items import public_key_of
from dhtnode.krpc import Get, Put
from dhtnode.krpc.codec import decode_untrusted
from dhtnode.krpc.messages import Query
from dhtnode.testing import MemoryNetwork
from tests.network.scenes import closest_ids, host_of, sleep_minutes

pytestmark = pytest.mark.slow

SEED = bytes(range(32))
PUBLIC_KEY = public_key_of(SEED)
SALT = b"salt"
NOTE = ImmutableItem.of({b"a": [b"note", 1]})
INFO_HASH = b"mnopqrstuvwxyz123456"


def letter(seq, text=b"text"):
    return MutableItem.sign(SEED, text, seq=seq, salt=SALT)


LETTERS = mutable_target(PUBLIC_KEY, SALT)


def kept_by(nodes, target=LETTERS):
    found = [node.items.get(target, trio.current_time()) for node in nodes]
    return [item for item in found if item is not None]


def far_first(nodes, target=LETTERS):
    """Return nodes so that those in front are no keepers: the closest to a target are the same for them."""
    return sorted(nodes, key=lambda node: distance(node.node_id, target), reverse=True)


async def read(node):
    return (await node.get_item(LETTERS, salt=SALT)).item


@pytest.mark.parametrize("size", [0, 100, 600, 996])
@pytest.mark.parametrize("kind", ["immutable", "mutable"])
async def test_item_is_kept_by_the_closest_and_found_by_others(autojump_clock, new_network, size, kind):
    """At the 8 truly closest nodes; every lookup gets the same bytes."""
    value = b"v" * size
    item = MutableItem.sign(SEED, value, seq=1) if kind == "mutable" else ImmutableItem.of(value)

    async with new_network(seed=1).open_nodes(20) as nodes:
        nodes = far_first(nodes, item.target())
        stored = await nodes[3].put_item(item)
        found = await nodes[9].get_item(item.target(), count=True)

        assert [contact.node_id for contact in stored.stored_at] == closest_ids(
            nodes, item.target(), nodes[3]
        )
        assert (stored.conflicts, stored.not_taken, stored.current) == (0, 0, None)
        assert (found.item, found.forged) == (item, 0)
        assert found.copies == 8
        assert len(kept_by(nodes, item.target())) == 8


async def test_immutable_item_ends_the_lookup(autojump_clock, new_network):
    """It cannot be newer elsewhere, unless the copies are to be counted."""
    async with new_network(seed=1).open_nodes(40) as nodes:
        await nodes[3].put_item(NOTE)
        quick = await nodes[9].get_item(NOTE.target())
        whole = await nodes[9].get_item(NOTE.target(), count=True)
        assert quick.item == whole.item == NOTE
        assert quick.nodes_answered < whole.nodes_answered


async def test_item_that_no_node_has_is_not_found(autojump_clock, new_network):
    network = new_network(seed=1)
    async with network.open_nodes(10) as nodes:
        found = await nodes[3].get_item(LETTERS, salt=SALT)
        assert (found.item, found.copies, found.forged) == (None, 0, 0)
        assert found.nodes_answered >= 8
    async with network.open_node(50) as alone:
        with pytest.raises(NotJoined, match=r"a query for an item \(BEP 44\)"):
            await alone.get_item(LETTERS)
        with pytest.raises(NotJoined, match=r"a query for an item \(BEP 44\)"):
            await alone.put_item(NOTE)


async def test_items_of_one_key_live_apart_by_salt(autojump_clock, new_network):
    """The salt is needed to read, too: the signature is over it."""
    async with new_network(seed=1).open_nodes(20) as nodes:
        nodes = far_first(nodes)
        plain = MutableItem.sign(SEED, b"plain", seq=1)
        await nodes[1].put_item(plain)
        await nodes[2].put_item(letter(1))
        without = await nodes[3].get_item(LETTERS)
        assert await read(nodes[4]) == letter(1)
        assert (await nodes[5].get_item(plain.target())).item == plain
        assert (without.item, without.copies, without.forged, without.other_salt) == (None, 0, 0, 8)


async def test_newer_letter_replaces_the_older(autojump_clock, new_network):
    async with new_network(seed=1).open_nodes(20) as nodes:
        nodes = far_first(nodes)
        await nodes[1].put_item(letter(1))
        newer = await nodes[2].put_item(letter(2))
        older = await nodes[3].put_item(letter(1))
        assert (newer.current, newer.conflicts, len(newer.stored_at)) == (letter(1), 0, 8)
        assert (older.current, older.conflicts, older.stored_at) == (letter(2), 8, ())
        assert await read(nodes[4]) == letter(2)
        assert kept_by(nodes) == [letter(2)] * 8


async def test_newest_letter_wins_when_few_have_it(autojump_clock, new_network):
    async with new_network(seed=1).open_nodes(20) as nodes:
        nodes = far_first(nodes)
        await nodes[1].put_item(letter(1))
        nodes[-1].items.put(letter(2), "21.0.0.1", trio.current_time())
        found = await nodes[2].get_item(LETTERS, salt=SALT)
        await nodes[2].put_item(found.item)
        assert (found.item, found.copies) == (letter(2), 1)
        assert kept_by(nodes) == [letter(2)] * 8


async def test_reader_that_has_it_already_gets_nothing(autojump_clock, new_network):
    """But learns who keeps it by the `seq` (BEP 44)."""
    async with new_network(seed=1).open_nodes(12) as nodes:
        await nodes[1].put_item(letter(5))
        same = await nodes[2].get_item(LETTERS, salt=SALT, newer_than=5)
        newer = await nodes[2].get_item(LETTERS, salt=SALT, newer_than=4)
        assert (same.item, newer.item) == (None, letter(5))


async def test_forged_items_are_passed_over(autojump_clock, new_network):
    async with new_network(seed=1).open_nodes(20) as nodes:
        nodes = far_first(nodes)
        await nodes[1].put_item(letter(3))
        for node in nodes[-6:]:
            node.items._items[LETTERS] = replace(
                node.items._items[LETTERS], item=replace(letter(3), seq=9, value=b"6:forged")
            )
        reader = nodes[2]

        found = await reader.get_item(LETTERS, salt=SALT)
        stored = await reader.put_item(letter(4))

        assert (found.item, found.forged) == (letter(3), 6)
        assert (stored.current, stored.conflicts, len(stored.stored_at)) == (letter(3), 6, 2)
        assert await read(reader) == letter(4)


@pytest.mark.parametrize(
    ("wrong", "cas", "code"),
    [
        (replace(letter(6), signature=bytes(64)), None, 206),
        (letter(4), None, 302),
        (letter(5, b"other"), None, 302),
        (letter(6), 4, 301),
    ],
)
async def test_node_says_why_it_takes_no_item(autojump_clock, new_network, wrong, cas, code):
    """A put by hand sees the codes of BEP 44."""
    async with new_network(seed=1).open_nodes(2) as (server, client):
        address = server.addresses[0]
        await client.put_item(letter(5))
        token = (await client.query(Get(LETTERS), address)).response.token
        with pytest.raises(QueryRefused) as refusal:
            await client.query(Put(wrong, token, cas), address)
        assert refusal.value.code == code
        assert kept_by([server]) == [letter(5)]


async def test_of_two_writers_one_learns_that_it_was_late(autojump_clock, new_network):
    """Both read 1 and write 2 in its place; `cas` tells the second, whose text is nowhere (BEP 44)."""
    async with new_network(seed=1).open_nodes(20) as nodes:
        nodes = far_first(nodes)
        await nodes[1].put_item(letter(1))
        first = await nodes[2].put_item(letter(2, b"first"), cas=1)
        second = await nodes[3].put_item(letter(3, b"second"), cas=1)
        again = await nodes[3].put_item(letter(3, b"second"), cas=second.current.seq)
        assert (len(first.stored_at), first.conflicts) == (8, 0)
        assert (second.stored_at, second.conflicts, second.current) == ((), 8, letter(2, b"first"))
        assert (len(again.stored_at), again.conflicts) == (8, 0)
        assert await read(nodes[4]) == letter(3, b"second")


async def test_writers_at_the_same_time_share_the_nodes(autojump_clock, new_network):
    async with new_network(seed=1).open_nodes(20) as nodes:
        nodes = far_first(nodes)
        await nodes[1].put_item(letter(1))
        outcomes = []

        async def write(node, text):
            outcomes.append(await node.put_item(letter(2, text), cas=1))

        async with trio.open_nursery() as nursery:
            for node, text in ((nodes[2], b"one"), (nodes[3], b"two")):
                nursery.start_soon(write, node, text)

        stored = [{contact.address for contact in outcome.stored_at} for outcome in outcomes]
        assert not stored[0] & stored[1]
        assert all(outcome.conflicts + len(outcome.stored_at) == 8 for outcome in outcomes)
        assert sum(outcome.conflicts for outcome in outcomes) == 8
        texts = [item.decoded() for item in kept_by(nodes) if item.seq == 2]
        assert sorted(map(texts.count, (b"one", b"two"))) == sorted(map(len, stored))


class PutsOnTheWire(MemoryNetwork):
    """Carry datagrams, and keep the `cas` of each put by the host that it goes to."""

    def __init__(self, **options):
        super().__init__(**options)
        self.cas = {}

    def carry(self, data, source, destination, now):
        message = decode_untrusted(data, Family.IPV4)
        if isinstance(message, Query) and isinstance(message.method, Put):
            self.cas[destination.host] = message.method.cas
        super().carry(data, source, destination, now)


async def test_cas_is_not_sent_to_a_node_that_has_nothing(autojump_clock, new_network):
    """It has nothing to compare with: the item gets there, too (BEP 44)."""
    network = new_network(1, PutsOnTheWire)
    async with network.open_nodes(20) as nodes:
        nodes = far_first(nodes)
        await nodes[1].put_item(letter(1))
        nodes[-1].items._remove(LETTERS)
        network.cas.clear()
        outcome = await nodes[1].put_item(letter(2), cas=1)
        assert (len(outcome.stored_at), outcome.conflicts, outcome.not_taken) == (8, 0, 0)
        assert network.cas == {host_of(node): 1 for node in nodes[-8:-1]} | {host_of(nodes[-1]): None}


async def test_item_expires_after_two_hours_unless_it_is_put_again(autojump_clock, new_network):
    async with new_network(seed=1).open_nodes(12) as nodes:
        await nodes[1].put_item(letter(1))
        await nodes[2].put_item(NOTE)
        await sleep_minutes(60)
        await nodes[3].put_item((await nodes[3].get_item(LETTERS, salt=SALT)).item)
        await sleep_minutes(61)
        assert await read(nodes[4]) == letter(1)
        assert (await nodes[4].get_item(NOTE.target())).item is None
        await sleep_minutes(60)
        assert await read(nodes[4]) is None


async def test_item_is_kept_alive_for_as_long_as_a_node_puts_it(autojump_clock, new_network):
    network = new_network(seed=1)
    async with network.open_nodes(10) as nodes, trio.open_nursery() as nursery:
        async with network.open_node(40, through=nodes[0].addresses) as writer:
            await writer.wait_joined()
            await writer.put_item(letter(1))
            nursery.start_soon(nodes[5].keep_item, letter(1))
            await sleep_minutes(90)
            await writer.put_item(letter(2))
        await sleep_minutes(3 * 60)
        assert await read(nodes[7]) == letter(2)
        nursery.cancel_scope.cancel()


async def test_item_is_not_put_again_while_there_are_plenty(autojump_clock, new_network):
    """More than 8 copies, among them all the closest (BEP 44, "Expiration")."""
    network = new_network(seed=1)
    async with network.open_nodes(40) as nodes:
        start = trio.current_time()
        for node in nodes:
            node.items.put(letter(1), "21.0.0.1", start)
        # Who knows the closest asks no others; a newcomer asks a ninth node, to be led there.
        through = far_first(nodes)[0].addresses
        settings = NodeSettings(read_only=True)  # or its own upkeep would make it known everywhere
        async with network.open_node(60, through=through, settings=settings) as newcomer:
            spared = await newcomer.put_item(letter(1), if_needed=True)

            assert (len(spared.stored_at), spared.conflicts, spared.not_taken) == (8, 0, 0)
            assert {node.items._items[LETTERS].expires_at for node in nodes} == {start + 7200.0}

            for node in nodes:
                if node.node_id not in {contact.node_id for contact in spared.stored_at}:
                    node.items._remove(LETTERS)
            needed = await newcomer.put_item(letter(1), if_needed=True)

        assert needed.stored_at == spared.stored_at
        assert all(item.expires_at > start + 7200.0 for node in nodes for item in node.items._items.values())


async def test_mutable_torrent_leads_to_its_info_hash(autojump_clock, new_network):
    """To the newest one that the key has signed (BEP 46)."""
    link = f"magnet:?xs=urn:btpk:{PUBLIC_KEY.hex()}&s={SALT.hex()}"
    other = Random(1).randbytes(20)
    async with new_network(seed=1).open_nodes(12) as nodes:
        assert await nodes[2].resolve_torrent(link) is None

        for seq, value in enumerate((INFO_HASH, other)):
            await nodes[1].put_item(letter(seq, {b"ih": value}))
            found = await nodes[2].resolve_torrent(link)
            assert (found.info_hash, found.item) == (value, letter(seq, {b"ih": value}))

        await nodes[1].put_item(letter(5, b"no torrent any more"))
        assert await nodes[2].resolve_torrent(link) is None
        with pytest.raises(InvalidInfoHash):
            await nodes[2].resolve_torrent(f"magnet:?xt=urn:btih:{other.hex()}")


async def test_items_are_seen_in_the_statistics(autojump_clock, new_network):
    async with new_network(seed=1).open_nodes(2) as (server, client):
        await client.put_item(letter(5))
        token = (await client.query(Get(LETTERS), server.addresses[0])).response.token
        with pytest.raises(QueryRefused):
            await client.query(Put(letter(4), token), server.addresses[0])
        before = server.statistics().items
        await sleep_minutes(121)
        after = server.statistics().items
        assert (before.items, before.refused, before.expired, before.signatures_checked) == (1, 1, 0, 2)
        assert (after.items, after.bytes, after.expired) == (0, 0, 1)
