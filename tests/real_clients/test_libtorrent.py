"""Our node among libtorrent clients: each side must find what the other one announced.

All on loopback.  The swarms need one address per peer, because filters count addresses: that test
uses 127.80.0.1 and further ones, which Linux has without being asked.
"""

from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_bytes
from socket import AF_INET6, SOCK_DGRAM, socket

import pytest
import trio

from dhtnode import Address, InfoHash, NodeSettings, open_node
from dhtnode.krpc import GetPeers, ScrapeFilter
from tests.commands import run_command
from tests.databases import rows
from tests.real_clients.libtorrent_network import (
    PATIENCE,
    info_hash_of,
    libtorrent_clients,
    libtorrent_network,
    magnet_of,
    table_sizes,
    tiny_torrent,
    until,
)

pytestmark = [pytest.mark.slow, pytest.mark.real_clients]

ROOT = Path(__file__).resolve().parents[2]
SEED_HOSTS = ["127.80.0.1", "127.81.0.1", "127.82.0.1"]
LEECHER_HOSTS = ["127.83.0.1", "127.84.0.1", "127.85.0.1", "127.86.0.1"]
OUR_PORT = 4711


def has_ipv6_loopback():
    """Tell whether this machine allows to listen on ::1."""
    try:
        with socket(AF_INET6, SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture(
    params=[
        "127.0.0.1",
        pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6_loopback(), reason="no ::1 here")),
    ]
)
def host(request):
    """Run a test in the IPv4 and in the IPv6 network."""
    return request.param


@asynccontextmanager
async def node_in(network, **settings):
    way_in = str(network[0].address)
    async with open_node(bootstrap=[way_in], settings=NodeSettings(**settings)) as node:
        await node.wait_joined()
        yield node


def start_swarm(clients, folder):
    """Let clients announce one torrent, as seeds or leechers by their addresses; return its info-hash."""
    (folder / "seeds").mkdir()
    (folder / "leechers").mkdir()
    complete = tiny_torrent(folder / "seeds", complete=True)
    empty = tiny_torrent(folder / "leechers", complete=False)
    for client in clients:
        client.take_part(complete if client.address.host in SEED_HOSTS else empty)
    return info_hash_of(complete)


@asynccontextmanager
async def network_with_swarm(folder):
    """Run a network in which some clients have announced one torrent; yield all, them, its info-hash."""
    async with libtorrent_network(*["127.0.0.1"] * 12, *SEED_HOSTS, *LEECHER_HOSTS) as network:
        peers = network[12:]
        info_hash = start_swarm(peers, folder)
        await until(lambda: times_announced(network, peers, info_hash) == 8)
        yield network, peers, info_hash


def times_announced(network, peers, info_hash):
    for client in network:
        client.poll()
    return min(sum(peer.address in client.announced_here[info_hash] for client in network) for peer in peers)


async def peers_found(node, info_hash, *, noseed=False):
    async with node.get_peers(info_hash, noseed=noseed) as peers:
        return {peer async for peer in peers}


async def test_node_joins_a_libtorrent_network_through_one_address(host):
    async with libtorrent_network(*[host] * 20) as network, node_in(network) as node:
        contacts = node.contacts()
        answers = [await node.ping(contact.address) for contact in contacts]
        assert len(contacts) >= 8
        assert {contact.address for contact in contacts} <= {client.address for client in network}
        assert [answer.node_id for answer in answers] == [contact.node_id for contact in contacts]
        assert {answer.version[:2] for answer in answers} == {b"LT"}
        assert node.statistics().sockets[0].good_nodes >= 8


async def test_clients_take_in_our_node_but_not_a_read_only_one():
    """Every client that a node asked holds it a few seconds later, unless it called itself read-only."""
    async with (
        libtorrent_network(*["127.0.0.1"] * 20) as network,
        node_in(network) as node,
        node_in(network, read_only=True) as reader,
    ):
        ids = {client.address: (await reader.ping(client.address)).node_id for client in network}
        asked = {contact.address for contact in node.contacts()}
        own_address = node.addresses[0]

        def holders(address):
            for client in network:
                client.poll()
                client.ask_live_nodes(ids[client.address])
            return {client.address for client in network if address in client.live_nodes}

        # Clients look over who asked them every 5 seconds.
        await until(lambda: asked <= holders(own_address))

        assert {client.live_nodes.get(own_address) for client in network} - {None} == {node.node_id}
        assert holders(reader.addresses[0]) == set()
        assert reader.statistics().sockets[0].counts.get("queries received", 0) == 0


async def test_lookup_finds_what_a_client_announced(host, tmp_path):
    info_hash = InfoHash(token_bytes(20))
    async with libtorrent_network(*[host] * 20) as network:
        announcer = network[-1]
        announcer.take_part(magnet_of(info_hash, tmp_path))
        await until(lambda: times_announced(network, [announcer], info_hash) == 8)
        async with node_in(network) as node:
            found = await peers_found(node, info_hash)
    assert found == {announcer.address}


async def test_clients_find_what_we_announced(host):
    info_hash = InfoHash(token_bytes(20))
    async with libtorrent_network(*[host] * 20) as network, node_in(network) as node:
        announcement = await node.announce(info_hash, OUR_PORT)
        asker = network[-1]
        asker.ask_peers(info_hash)
        await until(lambda: asker.poll() or asker.found[info_hash])
        assert len(announcement.announced_to) == 8
        assert announcement.not_taken == 0
        assert asker.found[info_hash] == {Address(host, OUR_PORT)}


async def test_scrape_counts_the_seeds_and_leechers_of_a_swarm(tmp_path):
    """The filters give the numbers; lists of peers would not fit into the bytes of a measurement."""
    async with network_with_swarm(tmp_path) as (network, peers, info_hash), node_in(network) as node:
        scrape = await node.scrape(info_hash)
        assert scrape.estimate.method == "union"
        assert scrape.estimate.seeds == len(SEED_HOSTS)
        assert scrape.estimate.leechers == len(LEECHER_HOSTS)
        assert scrape.estimate.peers == len(peers)
        assert scrape.nodes_answered == scrape.estimate.nodes_with_filters == 8


async def test_lookup_leaves_out_seeds_when_asked_to(tmp_path):
    """With `noseed` libtorrent returns leechers only, without it all peers (BEP 33)."""
    async with network_with_swarm(tmp_path) as (network, peers, info_hash), node_in(network) as node:
        all_peers = await peers_found(node, info_hash)
        leechers = await peers_found(node, info_hash, noseed=True)
        assert all_peers == {peer.address for peer in peers}
        assert leechers == {peer.address for peer in peers if peer.address.host in LEECHER_HOSTS}


async def test_our_store_counts_a_swarm_as_clients_announced_it(tmp_path):
    """Seeds and leechers announce to us; our own filters and peers are right, and so are our tokens.

    They are 7, so that we are always among the 8 closest: clients count themselves.
    """
    async with (
        libtorrent_network(*SEED_HOSTS, *LEECHER_HOSTS) as network,
        node_in(network) as node,
        node_in(network, read_only=True) as reader,
    ):
        own_address = node.addresses[0]
        for client in network:
            client.meet(own_address)
        await until(lambda: table_sizes(network)[0] == len(network))
        info_hash = start_swarm(network, tmp_path)
        await until(lambda: node.statistics().peers.peers == len(network))

        answer = (await reader.query(GetPeers(info_hash, scrape=True), own_address)).response

        assert round(ScrapeFilter.from_bytes(answer.seeds_filter).estimate()) == len(SEED_HOSTS)
        assert round(ScrapeFilter.from_bytes(answer.peers_filter).estimate()) == len(LEECHER_HOSTS)
        assert set(answer.peers()) == {client.address for client in network}


async def test_scrape_command_writes_the_same_numbers(tmp_path):
    """`dhtcrawl scrape` prints what `Node.scrape` finds, and adds a row to the time series."""
    database = tmp_path / "crawl.db"
    async with network_with_swarm(tmp_path) as (network, peers, info_hash):
        options = ["--db", str(database), "--bootstrap", str(network[0].address), "--json"]
        command = ("dhtcrawl", "scrape", *options, info_hash.hex())
        done = await trio.to_thread.run_sync(run_command, *command)

    assert done.status == 0, done.stderr
    [printed] = done.records
    assert printed["seeds"] == len(SEED_HOSTS)
    assert printed["leechers"] == len(LEECHER_HOSTS)
    assert printed["peers"] == len(peers)
    assert printed["peers_low"] <= len(peers) <= printed["peers_high"]
    measured = rows(database, "SELECT info_hash, seeds, leechers, peers FROM swarm_samples")
    assert measured == [(info_hash.hex(), len(SEED_HOSTS), len(LEECHER_HOSTS), len(peers))]


async def test_clients_find_one_another_through_our_node_alone(host, tmp_path):
    info_hash = InfoHash(token_bytes(20))
    async with (
        open_node(listen=[str(Address(host, 0))]) as node,
        libtorrent_clients(*[host] * 10, bootstrap=str(node.addresses[0])) as clients,
    ):
        announcer, *seekers = clients
        announcer.take_part(magnet_of(info_hash, tmp_path))
        with trio.fail_after(PATIENCE):
            while not (table_sizes(clients)[0] >= 5 and all(seeker.found[info_hash] for seeker in seekers)):
                announcer.announce_again()  # the first one came too early to reach a node
                for seeker in seekers:
                    seeker.ask_peers(info_hash)
                await trio.sleep(0.5)

        assert {peer for seeker in seekers for peer in seeker.found[info_hash]} == {announcer.address}
        assert await peers_found(node, info_hash) == {announcer.address}
