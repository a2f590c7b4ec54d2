"""Items among libtorrent clients: put by one side and got by the other (BEP 44, BEP 46)."""

import json
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_bytes

import pytest

from dhtnode import ImmutableItem, MutableItem, Target, mutable_target, open_node
from tests.real_clients.libtorrent_network import libtorrent_clients, libtorrent_network, table_sizes, until

pytestmark = [pytest.mark.slow, pytest.mark.real_clients]

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
KEY = json.loads((VECTORS / "ed25519_rfc8032.json").read_text())["vectors"][0]
EXPANDED, PUBLIC_KEY = bytes.fromhex(KEY["expanded"]), bytes.fromhex(KEY["public"])
SALTS = [b"", b"salt"]


@asynccontextmanager
async def node_among_clients():
    """Run twelve clients and one of our nodes, joined through the first of them."""
    async with (
        libtorrent_network(*["127.0.0.1"] * 12) as network,
        open_node(bootstrap=[str(network[0].address)]) as node,
    ):
        await node.wait_joined()
        yield network, node


@asynccontextmanager
async def clients_around_our_nodes():
    """Run ten nodes of ours and two clients: of the eight closest to anything, six are ours at least."""
    async with open_node(listen=["127.0.0.1:0"]) as first:
        way_in = str(first.addresses[0])
        async with _more_nodes([way_in], 9) as nodes, libtorrent_clients(*["127.0.0.1"] * 2) as clients:
            for client in clients:
                for node in (first, *nodes):
                    client.meet(node.addresses[0])
            await until(lambda: table_sizes(clients)[0] >= 10)
            yield clients, [first, *nodes]


@asynccontextmanager
async def _more_nodes(through, count):
    if not count:
        yield []
        return
    async with open_node(bootstrap=through) as node, _more_nodes(through, count - 1) as others:
        await node.wait_joined()
        yield [node, *others]


async def got(client, count=1):
    await until(lambda: client.poll() or len(client.items_got) >= count)
    return client.items_got


async def test_client_gets_the_immutable_item_that_we_put():
    async with node_among_clients() as (network, node):
        value = {b"list": [1, b"two"], b"nonce": token_bytes(8)}
        item = ImmutableItem.of(value)
        stored = await node.put_item(item)
        network[-1].get(item.target())
        assert (len(stored.stored_at), stored.not_taken) == (8, 0)
        assert await got(network[-1]) == [(item.target(), value)]


async def test_we_get_the_immutable_item_that_a_client_put():
    async with node_among_clients() as (network, node):
        value = [b"value", {b"nonce": token_bytes(8)}]
        target = Target(network[-1].put(value))
        await until(lambda: network[-1].poll() or network[-1].items_put)
        found = await node.get_item(target, count=True)
        assert (found.item, found.forged) == (ImmutableItem.of(value), 0)
        assert found.copies >= 7


@pytest.mark.parametrize("salt", SALTS)
async def test_client_gets_the_mutable_item_that_we_put(salt):
    async with node_among_clients() as (network, node):
        for seq in (3, 7):
            item = MutableItem.sign(EXPANDED, b"number %d" % seq, seq=seq, salt=salt)
            stored = await node.put_item(item)
            assert (len(stored.stored_at), stored.conflicts) == (8, 0)
        reader = network[-1]
        reader.get_signed(PUBLIC_KEY, salt)
        await until(lambda: reader.poll() or any(entry[-1] for entry in reader.items_got))
        assert reader.items_got[-1] == (PUBLIC_KEY, salt, 7, b"number 7", True)


@pytest.mark.parametrize("salt", SALTS)
async def test_we_get_the_mutable_item_that_a_client_put(salt):
    """And replace it, with `cas`; one that is not newer, or comes too late, is refused by libtorrent."""
    async with node_among_clients() as (network, node):
        target = mutable_target(PUBLIC_KEY, salt)
        network[-1].put_signed(EXPANDED, PUBLIC_KEY, b"theirs", salt)
        await until(lambda: network[-1].poll() or network[-1].items_put)
        found = await node.get_item(target, salt=salt)
        theirs = found.item

        assert (theirs.decoded(), theirs.public_key, theirs.salt) == (b"theirs", PUBLIC_KEY, salt)
        ours = MutableItem.sign(EXPANDED, b"ours", seq=theirs.seq + 1, salt=salt)
        late = MutableItem.sign(EXPANDED, b"late", seq=theirs.seq + 2, salt=salt)
        replaced = await node.put_item(ours, cas=theirs.seq)
        refused = await node.put_item(late, cas=theirs.seq)

        assert (replaced.conflicts, replaced.current, len(replaced.stored_at)) == (0, theirs, 8)
        assert (refused.stored_at, refused.current) == ((), ours)
        assert (await node.get_item(target, salt=salt)).item == ours


async def test_client_reads_and_writes_at_our_nodes():
    async with clients_around_our_nodes() as (clients, nodes):
        writer, reader = clients
        value = b"immutable " + token_bytes(8)
        target = writer.put(value)
        writer.put_signed(EXPANDED, PUBLIC_KEY, b"mutable", b"salt")
        await until(lambda: writer.poll() or writer.items_put >= 12)
        reader.get(target)
        reader.get_signed(PUBLIC_KEY, b"salt")
        await until(lambda: reader.poll() or any(entry[-1] is True for entry in reader.items_got))
        await until(lambda: reader.poll() or (target, value) in reader.items_got)

        kept = [node.statistics().items for node in nodes]
        assert sum(store.items for store in kept) >= 12
        assert sum(store.refused for store in kept) == 0
        signed = [entry for entry in reader.items_got if entry[-1] is True]
        assert [entry[3] for entry in signed] == [b"mutable"]


async def test_mutable_torrent_is_found_at_clients():
    """We point a key to an info-hash; clients keep that, read it, and the link leads there (BEP 46)."""
    async with node_among_clients() as (network, node):
        info_hash = token_bytes(20)
        item = MutableItem.sign(EXPANDED, {b"ih": info_hash}, seq=1)
        await node.put_item(item)
        resolved = await node.resolve_torrent(f"magnet:?xs=urn:btpk:{PUBLIC_KEY.hex()}")
        network[-1].get_signed(PUBLIC_KEY, b"")
        assert (resolved.info_hash, resolved.item) == (info_hash, item)
        assert (await got(network[-1]))[0][3] == {b"ih": info_hash}
