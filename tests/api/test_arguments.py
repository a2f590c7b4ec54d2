"""Wrong arguments of the public calls: one kind of error before anything is sent, and the node lives on."""

import asyncio
import gc
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import trio

import dhtnode
from dhtnode import Address, ImmutableItem, InvalidArgument, InvalidInfoHash, MutableItem, Node, NodeSettings
from dhtnode.api.arguments import check_method
from dhtnode.krpc.messages import AnnouncePeer, FindNode, Get, GetPeers, Ping, Put, SampleInfohashes
from dhtnode.testing import MemoryNetwork
from dhtnode.testing.memory_network import PORT
from tests.virtual_time import call

ID = b"i" * 20
SHA256 = b"v" * 32
HUGE = 10**5000
ITEM = ImmutableItem.of(b"x")
NOWHERE = "127.0.0.1:9"


class Hostile:
    """A value of which every use raises."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    __bool__ = __len__ = __iter__ = __index__ = __fspath__ = __call__ = None  # type: ignore[assignment]


NOT_TEXT = [None, True, 0, HUGE, 1.5, math.nan, [], [ID], (), {}, set(), object(), Hostile(), range(20)]
NOT_BYTES = ["", "\0", "\ud800", "x", "5" * 39, "g" * 40, "\u0661" * 40, bytearray(ID), memoryview(ID)]
NOT_ID = [b"", ID[:3], ID[1:], ID + b"i", SHA256]
NO_ID = [*NOT_TEXT, *NOT_BYTES, *NOT_ID]
NO_SWARM = [*NO_ID, "magnet:?", "\0.torrent", dhtnode.Metainfo("n", None, None), object]
NO_ADDRESS = [
    *NOT_TEXT, *NOT_BYTES, *NOT_ID, "1.2.3.4", "1.2.3.4:x", "1.2.3.4:65536", "1.2.3.4:" + "9" * 5000, "a:1",
    ("a", 1), ("1.2.3.4", "1"), ("1.2.3.4", True), ("1.2.3.4", -1), ("1.2.3.4", HUGE), (None, None),
    "[::1%lo]:1",
]  # fmt: skip
NO_PORT = [None, True, 0, -1, 65536, HUGE, 1.0, "1", b"1", [], Hostile()]
NO_SEQ = [True, -1, 2**63, HUGE, 1.0, math.nan, "1", b"1", [], Hostile()]
NO_ITEM = [*NO_ID, NodeSettings(), ImmutableItem]
NO_SECONDS = [None, True, 0, -1, 0.0, math.nan, -math.inf, HUGE, "1", b"1", [], Hostile()]
NO_METHOD = [
    *NO_ID, Ping, FindNode, *map(FindNode, NO_ID), *map(GetPeers, NO_ID), *map(SampleInfohashes, NO_ID),
    *map(Get, NO_ID), FindNode(ID, {4}), FindNode(ID, frozenset({5})), GetPeers(ID, noseed="no"),
    *(AnnouncePeer(ID, port, b"t") for port in NO_PORT), AnnouncePeer(ID, 1, b"t", seed=Hostile()),
    *(AnnouncePeer(ID, 1, token) for token in (None, "", b"")), AnnouncePeer(ID, 1, b"t", "yes"),
    Get(ID, seq=-1), Get(ID, padding=HUGE),
    *(Put(item, b"t") for item in NO_ITEM), Put(ITEM, b"t", cas=HUGE),
]  # fmt: skip
NO_SETTINGS = [*NO_ID, *(
    replace(NodeSettings(), **{field.name: value})
    for field in fields(NodeSettings) if field.name != "read_only"
    for value in (None, 0, -1, math.nan, math.inf, 10**13, 1e13, "1", True)
), NodeSettings(bucket_size=1.5)]  # fmt: skip


CALLS: dict[str, tuple[list[Any], Callable[[Node, Any], Awaitable[object]]]] = {
    "ping": (NO_ADDRESS, lambda node, wrong: node.ping(wrong)),
    "query": (NO_METHOD, lambda node, wrong: node.query(wrong, "100.0.0.1:1")),
    "query an address": (NO_ADDRESS, lambda node, wrong: node.query(Ping(), wrong)),
    "sample_infohashes": (NO_ADDRESS, lambda node, wrong: node.sample_infohashes(wrong)),
    "sample_infohashes near": (NO_ID[1:], lambda node, wrong: node.sample_infohashes("100.0.0.1:1", wrong)),
    "find_node": (NO_ID, lambda node, wrong: node.find_node(wrong)),
    "get_peers": (NO_SWARM, lambda node, wrong: _peers(node, wrong)),
    "announce": (NO_SWARM, lambda node, wrong: node.announce(wrong, 1)),
    "announce at a port": (NO_PORT, lambda node, wrong: node.announce(ID, wrong)),
    "scrape": (NO_SWARM, lambda node, wrong: node.scrape(wrong)),
    "get_item": (NO_ID, lambda node, wrong: node.get_item(wrong)),
    "get_item with salt": ([*NOT_TEXT, *NOT_BYTES, b"s" * 65], lambda node, it: node.get_item(ID, salt=it)),
    "get_item newer": (NO_SEQ, lambda node, wrong: node.get_item(ID, newer_than=wrong)),
    "put_item": (NO_ITEM, lambda node, wrong: node.put_item(wrong)),
    "put_item over": (NO_SEQ, lambda node, wrong: node.put_item(ITEM, cas=wrong)),
    "keep_item": (NO_ITEM, lambda node, wrong: node.keep_item(wrong)),
    "keep_item for": (NO_SECONDS, lambda node, wrong: node.keep_item(ITEM, interval=wrong)),
    "resolve_torrent": (NO_ID, lambda node, wrong: node.resolve_torrent(wrong)),
    "resolve": (NO_ID, lambda node, wrong: node.resolve(wrong)),
}  # fmt: skip


async def _peers(node: Node, torrent: Any) -> list[dhtnode.Address]:
    async with node.get_peers(torrent) as peers:
        return [peer async for peer in peers]


@asynccontextmanager
async def pair(network: MemoryNetwork) -> AsyncIterator[Node]:
    """Open two nodes, and return the second."""
    async with network.open_nodes(2) as (_, node):
        yield node


@pytest.mark.parametrize(("wrongs", "operation"), CALLS.values(), ids=CALLS)
async def test_wrong_argument_raises_before_anything_is_sent(
    new_network, autojump_clock, monkeypatch, wrongs, operation
):
    monkeypatch.setattr("trio.to_thread.run_sync", call_now)
    network = new_network(1)
    async with pair(network) as node:
        sent = network.statistics().sent
        for wrong in wrongs:
            with pytest.raises(ValueError) as raised:
                await operation(node, wrong)
            assert len(str(raised.value).splitlines()) == 1
            assert len(str(raised.value)) < 300
            assert network.statistics().sent == sent
        assert await node.find_node(ID)


async def call_now(function: Callable[..., object], *args: object) -> object:
    return await call(function, *args, limiter=None)


async def test_wrong_argument_of_a_plain_call_raises(new_network, autojump_clock):
    network = new_network(1)
    async with pair(network) as node:
        address, sent = Address(network.host(0), PORT), network.statistics().sent
        plain = [
            *((node.send_query, (wrong, address, print)) for wrong in NO_METHOD),
            *((node.send_query, (Ping(), wrong, print)) for wrong in NO_ADDRESS),
            *((node.send_query, (Ping(), address, wrong)) for wrong in (None, 1, "print", object())),
            *((node.forget, (wrong,)) for wrong in NO_ID),
            *((node.change_limits, (wrong,)) for wrong in NO_SETTINGS),
        ]
        for function, arguments in plain:
            with pytest.raises(InvalidArgument):
                function(*arguments)
        assert network.statistics().sent == sent
        assert await node.find_node(ID)


async def test_id_may_be_given_in_hex(new_network, autojump_clock):
    async with pair(new_network(1)) as node:
        assert [each.node_id for each in await node.find_node(ID.hex())]
        assert (await node.get_item(ID.hex())).target == ID


async def test_swarm_is_given_as_commands_take_it(new_network, autojump_clock, tmp_path, monkeypatch):
    monkeypatch.setattr("trio.to_thread.run_sync", call_now)
    info = b"d6:lengthi1e4:name1:a12:piece lengthi1e6:pieces20:" + b"p" * 20 + b"e"
    file = tmp_path / "a.TORRENT"
    file.write_bytes(b"d4:info" + info + b"e")
    metainfo = dhtnode.read_torrent(str(file))
    (info_hash,) = metainfo.info_hashes
    link = f"magnet:?xt=urn:btih:{info_hash.hex()}"
    async with pair(new_network(1)) as node:
        for given in (info_hash, info_hash.hex(), link, metainfo, file, str(file)):
            assert dhtnode.public_info_hash(given) == info_hash
            assert (await node.announce(given, 1)).info_hash == info_hash
            assert (await node.scrape(given)).info_hash == info_hash
            assert len(await _peers(node, given)) == 1


async def test_whole_hash_of_version_2_is_refused_with_a_way_out():
    metainfo = dhtnode.Metainfo("a", None, SHA256)
    with pytest.raises(InvalidInfoHash, match=r"20 bytes, not 32.*`Metainfo\.info_hashes`"):
        dhtnode.public_info_hash(metainfo.info_hash_v2)
    assert dhtnode.public_info_hash(metainfo) == SHA256[:20]


@pytest.mark.parametrize("failing", [KeyError("mine"), OSError("mine")], ids=repr)
async def test_callback_that_fails_ends_nothing(autojump_clock, failing):
    network = MemoryNetwork(seed=1)
    called = []

    def on_done(result: object, _now: float) -> None:
        called.append(result)
        raise failing

    async with pair(network) as node:
        for number in (0, 99):
            node.send_query(Ping(), Address(network.host(number), PORT), on_done)
        await trio.sleep(60)
        assert len(called) == 2
        assert await node.find_node(ID)
    assert network.totals()["internal errors"] == 2


async def test_lookup_that_fails_for_whatever_reason_fails_its_reader_and_not_the_node(
    new_network, autojump_clock, monkeypatch
):
    async def fail(*_: object) -> None:
        raise MemoryError("mine")

    async with pair(new_network(1)) as node:
        with monkeypatch.context() as patched:
            patched.setattr("dhtnode.api.node.lookup_in_all_families", fail)
            with pytest.raises(MemoryError, match="mine"):
                await _peers(node, ID)
        assert await node.find_node(ID)


@pytest.mark.parametrize(
    ("name", "wrongs"),
    {
        "listen": [
            1,
            "1.2.3.4:1",
            b"",
            [1],
            ["x"],
            [None],
            [("127.0.0.1", "1")],
            [("127.0.0.1", HUGE)],
            Hostile(),
        ],
        "port": [-1, 65536, "1", None, 1.0, HUGE, True],
        "bootstrap": [1, NOWHERE, b"x", [1], [b"a:1"], ["a"], ["a:0"], [None], None, ["::1:5"], Hostile()],
        "torrent_nodes": [1, NOWHERE, [1], ["a:0"], None],
        "state_file": [1, b"x", [], True, Hostile()],
        "settings": NO_SETTINGS[1:],
        "node_id": NO_ID[1:],
        "random": [1, "x", Hostile()],
    }.items(),
)
async def test_wrong_argument_opens_no_node(name, wrongs):
    before = open_sockets()
    for wrong in wrongs:
        given = {"bootstrap": [NOWHERE], "well_known": False, name: wrong}
        with pytest.raises(ValueError):
            async with dhtnode.open_node(**given):
                pass
    assert open_sockets() == before


@pytest.mark.parametrize(
    ("name", "wrongs"),
    {
        "torrent": NO_SWARM,
        "limit": [0, -1, True, 1.5, "1", HUGE, Hostile()],
        "timeout": NO_SECONDS,
        "bootstrap": [1, NOWHERE, [1], ["a"], ["a:0"], None],
    }.items(),
)
def test_wrong_argument_finds_no_peers(name, wrongs):
    for wrong in wrongs:
        given = {"torrent": ID, "timeout": 0.01, "bootstrap": [NOWHERE], name: wrong}
        with pytest.raises(ValueError):
            dhtnode.find_peers(given.pop("torrent"), **given)


@pytest.mark.parametrize(
    "make",
    [
        *(lambda wrong=wrong: ImmutableItem(wrong) for wrong in [*NOT_TEXT, "1:x", b"x", b"1:x" * 400]),
        *(lambda wrong=wrong: ImmutableItem.of(wrong) for wrong in (None, 1.5, object(), {1: 2}, "\ud800")),
        *(lambda wrong=wrong: MutableItem.sign(wrong, b"x", seq=1) for wrong in [*NO_ID[:-1], b"k" * 31]),
        *(lambda wrong=wrong: MutableItem.sign(SHA256, b"x", seq=wrong) for wrong in [None, *NO_SEQ]),
        *(
            lambda wrong=wrong: MutableItem.sign(SHA256, b"x", seq=1, salt=wrong)
            for wrong in [*NOT_TEXT, b"s" * 65]
        ),
        *(lambda wrong=wrong: MutableItem(wrong, 1, b"1:x", bytes(64)) for wrong in NO_ID if wrong != SHA256),
        *(lambda wrong=wrong: MutableItem(SHA256, 1, b"1:x", wrong) for wrong in NO_ID),
        *(lambda wrong=wrong: dhtnode.mutable_target(wrong) for wrong in NOT_TEXT),
        *(lambda wrong=wrong: dhtnode.mutable_target(SHA256, wrong) for wrong in NOT_TEXT),
        *(lambda wrong=wrong: dhtnode.public_key_of(wrong) for wrong in NO_ID if wrong != SHA256),
        *(lambda wrong=wrong: dhtnode.parse_address(wrong) for wrong in NO_ADDRESS),
        *(lambda wrong=wrong: dhtnode.read_torrent(wrong) for wrong in [*NOT_TEXT, b"x", "\0"]),
    ],
)
def test_wrong_value_is_not_made(make):
    with pytest.raises(ValueError):
        make()


@pytest.mark.parametrize(
    "method", [Ping(), FindNode(ID), GetPeers(ID, noseed=True), AnnouncePeer(ID, 1, b"t")]
)
def test_right_method_passes(method):
    check_method(method)


def test_node_outside_of_trio_says_so_and_opens_nothing():
    """As in a notebook, which runs on asyncio, and keeps the traceback."""
    kept = []

    async def cell() -> None:
        try:
            async with dhtnode.open_node(bootstrap=[NOWHERE]):
                pass
        except RuntimeError as error:
            kept.append(error)

    before = open_sockets()
    asyncio.run(cell())
    gc.collect()
    assert "a node runs on Trio" in str(kept[0])
    assert "asyncio.to_thread(dhtnode.find_peers" in str(kept[0])
    assert open_sockets() == before


def open_sockets() -> int:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("open files are read in /proc")
    return sum(is_socket(each) for each in folder.iterdir())


def is_socket(descriptor: Path) -> bool:
    try:
        return descriptor.readlink().name.startswith("socket:")
    except OSError:
        return False
