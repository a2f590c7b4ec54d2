"""`open_node`: bind sockets, choose ids, run the tasks of a node, and close all of it."""

import random as random_module
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import NoneType

import trio

from dhtnode.addresses import Address, Scope
from dhtnode.api.binding import bind, look_around
from dhtnode.api.dual_stack import SocketNodes
from dhtnode.api.node import Node
from dhtnode.arguments import check_settings, check_type, check_whole, hosts_of, id_of
from dhtnode.ids import NodeId
from dhtnode.net.outgoing import THIS_PROGRAM, OutgoingBound
from dhtnode.net.udp import DatagramSocket
from dhtnode.node.context import NodeContext, new_context
from dhtnode.node.maintenance import keep_expiring, keep_fresh, keep_joined, keep_saved
from dhtnode.node.node_ids import first_ids, spread_ids
from dhtnode.node.socket_node import SocketNode
from dhtnode.node.state_file import SavedState, StateFile
from dhtnode.nurseries import open_service_nursery
from dhtnode.settings import WELL_KNOWN_BOOTSTRAP, NodeSettings


@asynccontextmanager
async def open_node(
    *,
    listen: Sequence[str | Address] | None = None,
    port: int = 0,
    bootstrap: Sequence[str] = (),
    torrent_nodes: Sequence[str] = (),
    well_known: bool = True,
    state_file: Path | str | None = None,
    settings: NodeSettings | None = None,
    node_id: NodeId | None = None,
    sockets: Sequence[DatagramSocket] | None = None,
    random: random_module.Random | None = None,
) -> AsyncIterator[Node]:
    """Open a node, run it for the length of the block, and close it without leaving anything behind.

    `listen` holds addresses to bind, any number in each family: to others each is a node with an id of
    its own (BEP 45).  By default these are `port` (0 for any free one) of each family that this
    machine has, or any port of loopback only, when every host in `bootstrap` is on loopback.
    `bootstrap` holds `HOST:PORT` texts to join through.  When one of them is in a private network, so
    is the node: it talks to private addresses too, which only nodes with such an address may name.
    With `well_known` the public ones come last, unless all of `bootstrap` is on loopback or private.
    `torrent_nodes`, those that a torrent file lists, are tried after `bootstrap` and have no say in
    what is bound: they may be an attacker's.
    `state_file` keeps ids and contacts between runs.  `node_id` is that of the first address of
    each family, and stays in any case; other ids are renewed when they do not comply with BEP 42 at
    our address.  `sockets` and a seeded `random` serve tests.  Raises `AddressInUse`, `CannotListen`,
    `StateFileError`, `InvalidArgument` or another `ValueError`, and `RuntimeError` outside of Trio; then
    nothing is left open.
    """
    _check_trio()
    bootstrap = hosts_of("bootstrap", bootstrap)
    torrent_nodes = hosts_of("torrent_nodes", torrent_nodes)
    settings = NodeSettings() if settings is None else settings
    check_settings(settings, NodeSettings)
    check_whole("port", port, 0, 65535)
    check_type("random", random, random_module.Random, NoneType)
    check_type("state_file", state_file, Path, str, NoneType)
    node_id = None if node_id is None else id_of("node_id", node_id)
    around = None if sockets is not None else await look_around(bootstrap)
    async with AsyncExitStack() as stack:
        file = None if state_file is None else stack.enter_context(StateFile(Path(state_file)))
        saved = (file and file.load()) or SavedState({})
        bound = list(sockets or ()) if around is None else bind(listen, port, around)
        for socket in bound:
            stack.callback(socket.close)
        # Sockets of a test may be on a network, and in a time, of their own.
        outgoing = THIS_PROGRAM if sockets is None else OutgoingBound(trio.current_time)
        context = _new_context(settings, random, outgoing)
        context.resolved.update(around.found if around else ())
        is_public = around is None or not around.is_own
        last_hosts = WELL_KNOWN_BOOTSTRAP if well_known and is_public else ()
        through = (bootstrap, torrent_nodes, last_hosts)
        socket_nodes = _socket_nodes(bound, node_id, context, saved, through)
        async with _running(socket_nodes, context, outgoing, file) as node:
            yield node


def _check_trio() -> None:
    if not trio.lowlevel.in_trio_run():
        raise RuntimeError(
            "a node runs on Trio, and Trio is not running here: start the program with trio.run(main);"
            " under asyncio or in a notebook, await asyncio.to_thread(dhtnode.find_peers, info_hash)"
        )


def _new_context(
    settings: NodeSettings, random: random_module.Random | None, outgoing: OutgoingBound
) -> NodeContext:
    random_bytes = secrets.token_bytes if random is None else random.randbytes
    random = random or random_module.Random(secrets.randbits(256))
    return new_context(settings, random, random_bytes, trio.current_time(), outgoing)


@asynccontextmanager
async def _running(
    socket_nodes: Sequence[SocketNode], context: NodeContext, outgoing: OutgoingBound, file: StateFile | None
) -> AsyncIterator[Node]:
    settings, peers = context.settings, context.peers
    sockets = SocketNodes(socket_nodes)
    async with AsyncExitStack() as stack:
        if file is not None:
            # Saved last, when no task changes anything any more.
            stack.callback(lambda: file.save(node.state()))
        nursery = await stack.enter_async_context(open_service_nursery())
        node = Node(sockets, peers, context.items, nursery, outgoing)
        for address, each in sockets.by_address.items():
            nursery.start_soon(each.serve, name=f"serve {address}")
            nursery.start_soon(keep_fresh, each, name=f"refresh {address}")
            # No other node is to know a read-only one, so its own neighbours do not matter.
            if not settings.read_only:
                nursery.start_soon(keep_joined, each, sockets.first_attempt(address), name=f"join {address}")
        nursery.start_soon(keep_expiring, peers, settings.maintenance_period, name="expire peers")
        if file is not None:
            # Saved now too, so that a path that cannot be written fails at once.
            file.save(node.state())
            nursery.start_soon(keep_saved, file, node.state, settings.save_period, name="save state")
        yield node


def _socket_nodes(
    sockets: Sequence[DatagramSocket],
    node_id: NodeId | None,
    context: NodeContext,
    saved: SavedState,
    through: tuple[Sequence[str], Sequence[str], Sequence[str]],
) -> list[SocketNode]:
    given, torrent_nodes, last_hosts = through
    addresses, now = [socket.address for socket in sockets], trio.current_time()
    ids = (
        spread_ids(node_id, addresses)
        if node_id
        else first_ids(addresses, saved.node_ids, context.random_bytes)
    )
    made = []
    for socket, each_id in zip(sockets, ids, strict=True):
        last = () if socket.scope is Scope.LOOPBACK else last_hosts
        socket_node = SocketNode(
            socket, each_id, context, hosts=given, torrent_hosts=torrent_nodes, last_hosts=last, now=now
        )
        socket_node.is_id_fixed = node_id is not None
        socket_node.saved = saved.contacts_of(socket_node.family)
        made.append(socket_node)
    return made
