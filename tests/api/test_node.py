"""Whole nodes on real sockets of this machine: what a program that uses the library sees."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from random import Random

import pytest
import trio

from dhtnode import (
    Address,
    AddressInUse,
    BadResponse,
    CannotListen,
    Contact,
    Family,
    InfoHash,
    InvalidInfoHash,
    Metainfo,
    Node,
    NodeSettings,
    NotJoined,
    PrivateTorrent,
    QueryNotSent,
    distance,
    find_peers,
    open_node,
)
from dhtnode.krpc import Ping
from dhtnode.krpc.messages import Response
from dhtnode.net.udp import open_udp_socket
from dhtnode.node.state_file import SavedState, load_state, save_state
from dhtnode.settings import VERSION_TAG
from dhtnode.testing.testnet import Testnet, open_testnet

LOCALHOST = {Family.IPV4: "127.0.0.1", Family.IPV6: "::1"}
DUAL_STACK = [Address(host, 0) for host in LOCALHOST.values()]
SWARM = b"s" * 20
SIZE = 12


@pytest.fixture
async def testnet() -> AsyncIterator[Testnet]:
    """Run a network on 127.0.0.1."""
    async with open_testnet(SIZE, seed=1) as testnet:
        yield testnet


@pytest.fixture
async def node(testnet: Testnet) -> AsyncIterator[Node]:
    async with open_node(bootstrap=testnet.bootstrap) as node:
        await node.wait_joined()
        yield node


def closest(testnet: Testnet, target: bytes) -> list[Contact]:
    """Return the 8 nodes that are truly closest."""
    contacts = [Contact(node.node_id, node.addresses[0]) for node in testnet.nodes]
    return sorted(contacts, key=lambda contact: distance(contact.node_id, target))[:8]


async def peers_of(node: Node, *, noseed: bool = False) -> set[Address]:
    """Return what a lookup for the swarm yields until it ends."""
    async with node.get_peers(SWARM, noseed=noseed) as peers:
        return {peer async for peer in peers}


async def test_ping_returns_the_node_that_is_there(testnet: Testnet, node: Node) -> None:
    other = testnet.nodes[5]
    found = await node.ping(str(other.addresses[0]))
    assert (found.node_id, found.address, found.version) == (other.node_id, other.addresses[0], VERSION_TAG)
    assert found.external_address == node.addresses[0]


async def test_query_of_ones_own_choice_is_answered(testnet: Testnet, node: Node) -> None:
    other = testnet.nodes[5]
    outcomes = []
    done = trio.Event()

    def on_done(outcome: object, _now: float) -> None:
        outcomes.append(outcome)
        done.set()

    waited = await node.query(Ping(), other.addresses[0])
    sent = node.send_query(Ping(), other.addresses[0], on_done)
    await done.wait()

    assert (sent is not None, len(outcomes)) == (True, 1)
    for answer in (waited, outcomes[0]):
        expected = Response(
            answer.response.transaction_id,
            other.node_id,
            external_address=node.addresses[0],
            version=VERSION_TAG,
        )
        assert answer.response == expected


@pytest.mark.parametrize("host", LOCALHOST.values())
async def test_find_node_finds_the_true_closest(host: str) -> None:
    async with (
        open_testnet(SIZE, seed=2, host=host) as testnet,
        open_node(bootstrap=testnet.bootstrap) as node,
    ):
        found = await node.find_node(SWARM)
        assert [Contact(one.node_id, one.address) for one in found if one.node_id != node.node_id] == closest(
            testnet, SWARM
        )


@pytest.mark.parametrize("host", LOCALHOST.values())
async def test_announced_peer_is_found_by_others(host: str) -> None:
    """The 8 closest nodes take it, and every lookup of the swarm gets it."""
    async with (
        open_testnet(SIZE, seed=3, host=host) as testnet,
        open_node(bootstrap=testnet.bootstrap) as alice,
        open_node(bootstrap=testnet.bootstrap, settings=NodeSettings(read_only=True)) as bob,
    ):
        announcement = await alice.announce(SWARM, 7000)
        assert (announcement.port, announcement.not_taken) == (7000, 0)
        assert set(announcement.announced_to) == set(closest(testnet, SWARM))
        assert await peers_of(bob) == {Address(host, 7000)}


async def test_seed_is_left_out_for_seeds(testnet: Testnet, node: Node) -> None:
    """Announced as a seed, hidden from who asks for none (BEP 33)."""
    await node.announce(SWARM, 7000, seed=True)
    found = [await peers_of(testnet.nodes[0], noseed=noseed) for noseed in (False, True)]
    assert found == [{Address("127.0.0.1", 7000)}, set()]


async def test_implied_port_is_the_one_we_send_from(testnet: Testnet, node: Node) -> None:
    await node.announce(SWARM, 7000, implied_port=True)
    assert await peers_of(testnet.nodes[0]) == {node.addresses[0]}


async def test_scrape_measures_a_swarm_of_known_size(testnet: Testnet, node: Node) -> None:
    """To a few percent: each of the 8 closest nodes holds another share of it."""
    swarm = testnet.place_swarm(SWARM, seeds=120, leechers=80)
    scrape = await node.scrape(SWARM)
    estimate = scrape.estimate
    assert estimate.peers == pytest.approx(swarm.peers, rel=0.15)
    assert (estimate.saturated, scrape.nodes_answered, estimate.nodes_with_filters) == (False, 8, 8)
    asked = {Contact(node.node_id, node.address) for node in scrape.observations}
    assert asked == set(closest(testnet, SWARM))


async def test_unknown_swarm_is_empty(testnet: Testnet, node: Node) -> None:
    scrape = await node.scrape(SWARM)
    assert (await peers_of(node), scrape.estimate.peers) == (set(), 0)


async def test_lookup_ends_when_the_reader_leaves(testnet: Testnet, node: Node) -> None:
    testnet.place_swarm(SWARM, seeds=20, leechers=20)
    async with node.get_peers(SWARM) as peers:
        first = await anext(peers)
    await trio.testing.wait_all_tasks_blocked()
    assert first.host.startswith("198.1")
    assert [endpoint.pending for endpoint in node.statistics().sockets] == [0]


async def test_node_on_both_families_looks_in_both(testnet: Testnet) -> None:
    async with (
        open_node(listen=DUAL_STACK) as first,
        open_node(listen=DUAL_STACK, bootstrap=[str(address) for address in first.addresses]) as second,
    ):
        await second.wait_joined()
        announcement = await second.announce(SWARM, 7000)
        assert await peers_of(second) == {Address(host, 7000) for host in LOCALHOST.values()}
        assert {contact.address for contact in announcement.announced_to} == set(first.addresses)
        assert {one.address for one in await second.find_node(SWARM)} == set(first.addresses)


async def test_blocking_call_finds_peers(testnet: Testnet, node: Node) -> None:
    """For scripts without an event loop: here in a thread, while the network runs."""
    await node.announce(SWARM, 7000)
    found = await trio.to_thread.run_sync(partial(find_peers, SWARM.hex(), bootstrap=testnet.bootstrap))
    assert found == [Address("127.0.0.1", 7000)]


async def test_blocking_call_stops_at_its_limit(testnet: Testnet) -> None:
    testnet.place_swarm(SWARM, seeds=20, leechers=20)
    found = await trio.to_thread.run_sync(partial(find_peers, SWARM, limit=3, bootstrap=testnet.bootstrap))
    assert (len(found), len(set(found))) == (3, 3)


def test_blocking_call_refuses_what_is_no_info_hash() -> None:
    with pytest.raises(InvalidInfoHash):
        find_peers("ubuntu.iso")


async def test_lonely_node_says_that_it_has_not_joined() -> None:
    """Every operation that needs others tells so, each in the same way."""
    async with open_node(listen=["127.0.0.1:0"]) as node:
        await node.wait_joined()
        for operation in (node.find_node, node.scrape, partial(node.announce, port=7000)):
            with pytest.raises(NotJoined):
                await operation(SWARM)
        with pytest.raises(NotJoined):
            await peers_of(node)
        assert node.contacts() == []


@pytest.mark.parametrize("port", [-1, 0, 65536])
async def test_announce_of_an_impossible_port_is_the_callers_mistake(port: int) -> None:
    async with open_node(listen=["127.0.0.1:0"]) as node:
        with pytest.raises(ValueError, match=r"1\.\.65535"):
            await node.announce(SWARM, port)


async def test_address_that_cannot_be_asked_is_told() -> None:
    async with open_node(listen=["127.0.0.1:0"]) as node:
        for address in ("[::1]:6881", "8.8.8.8:6881", "127.0.0.1:0"):
            with pytest.raises(QueryNotSent):
                await node.ping(address)
        with pytest.raises(ValueError, match="not an IP address"):
            await node.ping("localhost:6881")


async def test_name_is_resolved_to_an_address_that_can_be_queried(testnet: Testnet, node: Node) -> None:
    (host, port), *_ = testnet.nodes[0].addresses
    assert await node.resolve(f"localhost:{port}") == (host, port)
    with pytest.raises(NotJoined, match="no such host"):
        await node.resolve("[2001:db8::1]:6881")
    with pytest.raises(ValueError, match="not HOST:PORT"):
        await node.resolve("localhost")


async def test_node_that_answers_nonsense_is_told() -> None:
    async with open_node(listen=["127.0.0.1:0"]) as node, trio.open_nursery() as nursery:
        stranger = open_udp_socket(Address("127.0.0.1", 0))

        async def answer_nonsense() -> None:
            await stranger.wait_readable()
            data, source = stranger.receive_nowait()
            at = data.index(b"1:t4:")
            stranger.send_nowait(b"d1:rde" + data[at : at + 9] + b"1:y1:re", source)

        nursery.start_soon(answer_nonsense)
        with pytest.raises(BadResponse):
            await node.ping(stranger.address)
        stranger.close()


async def test_state_is_kept_over_two_runs(testnet: Testnet, tmp_path: Path) -> None:
    path = tmp_path / "node.json"
    async with open_node(bootstrap=testnet.bootstrap, state_file=path) as node:
        await node.wait_joined()
        first = node.node_id, set(node.contacts())
    async with open_node(listen=["127.0.0.1:0"], state_file=path) as node:
        await node.wait_joined()
        second = node.node_id, set(node.contacts())
    assert second[0] == first[0]
    assert min(len(first[1]), len(second[1])) >= 8
    assert first[1] | second[1] <= {Contact(node.node_id, node.addresses[0]) for node in testnet.nodes}


SEVERAL = [Address(host, 0) for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3")]


async def test_several_addresses_are_several_nodes(testnet: Testnet, tmp_path: Path) -> None:
    path = tmp_path / "node.json"
    async with open_node(listen=SEVERAL, bootstrap=testnet.bootstrap, state_file=path) as several:
        await several.wait_joined()
        first = {address.host: node_id for address, node_id in several.node_ids.items()}
        for address, node_id in several.node_ids.items():
            found = await testnet.nodes[3].ping(address)
            assert (found.node_id, found.address) == (node_id, address)
        tables = [endpoint.nodes for endpoint in several.statistics().sockets]
        told = await several.announce(b"m" * 20, 7000, every_address=True)
        async with testnet.nodes[5].get_peers(b"m" * 20) as peers:
            assert {peer async for peer in peers} == {Address(address.host, 7000) for address in SEVERAL}

    assert len(set(first.values())) == 3
    assert min(tables) >= 8
    assert len(told.announced_to) == 3 * 8
    async with open_node(listen=SEVERAL[::-1], state_file=path) as again:
        await again.wait_joined()
        assert {address.host: node_id for address, node_id in again.node_ids.items()} == first
        assert len(again.contacts()) >= 8


async def test_what_was_saved_does_not_win_over_what_is_seen(testnet: Testnet, tmp_path: Path) -> None:
    path = tmp_path / "node.json"
    (changed, *others) = (Contact(node.node_id, node.addresses[0]) for node in testnet.nodes)
    save_state(
        path,
        SavedState(
            {Address("127.0.0.1", 1): b"n" * 20}, (Contact(b"old id".ljust(20), changed.address), *others)
        ),
    )

    async with open_node(listen=["127.0.0.1:0"], state_file=path) as node:
        await node.wait_joined()

    saved = load_state(path).contacts
    assert len(saved) >= 8
    assert set(saved) <= {changed, *others}


async def test_damaged_state_does_not_keep_a_node_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "node.json"
    path.write_text("{")
    async with open_node(listen=["127.0.0.1:0"], state_file=path) as node:
        assert load_state(path) == SavedState(node.node_ids)
    assert (tmp_path / "node.json.unreadable-1").read_text() == "{"


async def test_closed_node_leaves_nothing_behind(testnet: Testnet) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with open_node(bootstrap=testnet.bootstrap) as node:
        address = node.addresses[0]
    after = trio.lowlevel.current_statistics().tasks_living
    open_udp_socket(address).close()
    assert after == tasks


async def test_error_in_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_node(listen=["127.0.0.1:0"]):
            raise ZeroDivisionError


async def test_busy_port_is_told() -> None:
    async with open_node(listen=["127.0.0.1:0"]) as node:
        free = open_udp_socket(Address("::1", 0))
        free.close()
        with pytest.raises(AddressInUse):
            async with open_node(listen=[free.address, node.addresses[0]]):
                pass
        open_udp_socket(free.address).close()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"listen": []}, ValueError),
        ({"listen": ["127.0.0.1:5", "127.0.0.1:5"]}, ValueError),
        ({"listen": ["127.0.0.1:0", "8.8.8.8:0"]}, ValueError),
        ({"listen": ["localhost:0"]}, ValueError),
        ({"listen": ["8.8.8.8:0"]}, CannotListen),
        ({"listen": ["127.0.0.1:0"], "bootstrap": ["no port"]}, ValueError),
    ],
)
async def test_node_that_cannot_be_opened_says_why(options: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        async with open_node(**options):
            pass


async def test_seeded_nodes_have_the_same_id() -> None:
    ids = []
    for _ in range(2):
        async with open_node(listen=["127.0.0.1:0"], random=Random(7)) as node:
            ids.append(node.node_id)
    assert ids[0] == ids[1]


async def test_private_torrent_is_refused_before_anything_is_sent(node: Node) -> None:
    """Whether its peers are asked for, counted, or one is told (BEP 27)."""
    private = Metainfo("a", InfoHash(SWARM), None, is_private=True)
    (before,) = (one.counts["queries sent"] for one in node.statistics().sockets)
    with pytest.raises(PrivateTorrent):
        async with node.get_peers(private):
            pass
    with pytest.raises(PrivateTorrent):
        await node.announce(private, 1)
    with pytest.raises(PrivateTorrent):
        await node.scrape(private)
    (after,) = (one.counts["queries sent"] for one in node.statistics().sockets)
    assert after == before


async def test_public_torrent_stands_for_its_info_hash(node: Node, testnet: Testnet) -> None:
    torrent = Metainfo("a", InfoHash(SWARM), None)
    announced = await node.announce(torrent, 7)
    async with node.get_peers(torrent) as peers:
        found = [peer async for peer in peers]
    measured = await node.scrape(torrent)
    assert (announced.info_hash, len(announced.announced_to)) == (SWARM, 8)
    assert found == [Address("127.0.0.1", 7)]
    assert (measured.info_hash, measured.estimate.peers) == (SWARM, 1)
