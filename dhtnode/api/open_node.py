"""`open_node`: bind sockets, choose ids, run the tasks of a node, and close all of it."""

import random as random_module
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from types import NoneType

import trio

from dhtnode.addresses import (
    WILDCARDS,
    Address,
    Family,
    Scope,
    check_listen,
    normalize_host,
    scope_of,
    split_host_port,
)
from dhtnode.api.dual_stack import SocketNodes
from dhtnode.api.node import Node
from dhtnode.arguments import address_of, check_settings, check_type, check_whole, hosts_of, id_of, several
from dhtnode.errors import CannotListen
from dhtnode.ids import NodeId
from dhtnode.net.udp import DatagramSocket, open_udp_socket
from dhtnode.node.context import NodeContext, new_context
from dhtnode.node.maintenance import keep_expiring, keep_fresh, keep_joined, keep_saved
from dhtnode.node.node_ids import first_ids, spread_ids
from dhtnode.node.socket_node import SocketNode
from dhtnode.node.state_file import SavedState, StateFile
from dhtnode.nurseries import open_service_nursery
from dhtnode.settings import WELL_KNOWN_BOOTSTRAP, NodeSettings

_LOOPBACK = {Family.IPV4: Address("127.0.0.1", 0), Family.IPV6: Address("::1", 0)}


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
    machine has, or any port of loopback only, when every host in `bootstrap` is a loopback address.
    `bootstrap` holds `HOST:PORT` texts to join through; with `well_known` the public ones come
    last.  `torrent_nodes`, those that a torrent file lists, are tried after `bootstrap` and have no
    say in what is bound: they may be an attacker's.
    `state_file` keeps ids and contacts between runs.  `node_id` is that of the first address of
    each family, and stays in any case; other ids are renewed when they do not comply with BEP 42 at
    our address.  `sockets` and a seeded `random` serve tests.  Raises `AddressInUse`, `CannotListen`,
    `StateFileError`, `InvalidArgument` or another `ValueError`, and `RuntimeError` outside of Trio; then
    nothing is left open.
    """
    if not trio.lowlevel.in_trio_run():
        raise RuntimeError(
            "a node runs on Trio, and Trio is not running here: start the program with trio.run(main);"
            " under asyncio or in a notebook, await asyncio.to_thread(dhtnode.find_peers, info_hash)"
        )
    bootstrap = hosts_of("bootstrap", bootstrap)
    hosts = (*bootstrap, *hosts_of("torrent_nodes", torrent_nodes))
    settings = NodeSettings() if settings is None else settings
    check_settings(settings, NodeSettings)
    check_whole("port", port, 0, 65535)
    check_type("random", random, random_module.Random, NoneType)
    check_type("state_file", state_file, Path, str, NoneType)
    node_id = None if node_id is None else id_of("node_id", node_id)
    async with AsyncExitStack() as stack:
        file = None if state_file is None else stack.enter_context(StateFile(Path(state_file)))
        saved = (file and file.load()) or SavedState({})
        bound = list(sockets) if sockets is not None else _bind(listen, port, bootstrap)
        for socket in bound:
            stack.callback(socket.close)
        random_bytes = secrets.token_bytes if random is None else random.randbytes
        random = random or random_module.Random(secrets.randbits(256))
        context = new_context(settings, random, random_bytes, trio.current_time())
        last_hosts = WELL_KNOWN_BOOTSTRAP if well_known else ()
        async with _running(
            _socket_nodes(bound, node_id, context, saved, hosts, last_hosts), context, file
        ) as node:
            yield node


@asynccontextmanager
async def _running(
    socket_nodes: Sequence[SocketNode], context: NodeContext, file: StateFile | None
) -> AsyncIterator[Node]:
    settings, peers = context.settings, context.peers
    sockets = SocketNodes(socket_nodes)
    async with AsyncExitStack() as stack:
        if file is not None:
            # Saved last, when no task changes anything any more.
            stack.callback(lambda: file.save(node.state()))
        nursery = await stack.enter_async_context(open_service_nursery())
        node = Node(sockets, peers, context.items, nursery)
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


def _bind(
    listen: Sequence[str | Address] | None, port: int, bootstrap: Sequence[str]
) -> list[DatagramSocket]:
    """Bind what `listen` names; of the default addresses, as many as this machine has."""
    if listen is None:
        families = _loopback_families(bootstrap)
        wanted = [_LOOPBACK[family] for family in families]
        # BEP 32 and BEP 45 advise against wildcards: on a host with several addresses a reply may leave
        # from another than the query came to.  `listen` names those; a wildcard works wherever there is one.
        return _bind_all(wanted or [Address(host, port) for host in WILDCARDS], all_needed=False)
    addresses = [address_of(entry) for entry in several("listen", listen)]
    check_listen(addresses)
    return _bind_all(addresses, all_needed=True)


def _bind_all(addresses: Sequence[Address], *, all_needed: bool) -> list[DatagramSocket]:
    """Bind every address, or at least one of them if not all are needed, or leave nothing bound."""
    bound: list[DatagramSocket] = []
    failure: CannotListen | None = None
    with ExitStack() as undo:
        for address in addresses:
            try:
                bound.append(open_udp_socket(address))
            except CannotListen as error:  # no IPv6 on this machine, or no IPv4
                failure = error
            else:
                undo.callback(bound[-1].close)
        if failure is not None and (all_needed or not bound):
            raise failure
        undo.pop_all()
    return bound


def _loopback_families(bootstrap: Sequence[str]) -> list[Family]:
    """Return the families of the hosts to join through if all of them are loopback, else nothing."""
    hosts = [split_host_port(entry)[0] for entry in bootstrap]
    try:
        addresses = [
            Address("127.0.0.1" if host == "localhost" else normalize_host(host), 0) for host in hosts
        ]
    except ValueError:
        return []
    if any(scope_of(address.host) is not Scope.LOOPBACK for address in addresses):
        return []
    return sorted({address.family for address in addresses})


def _socket_nodes(
    sockets: Sequence[DatagramSocket],
    node_id: NodeId | None,
    context: NodeContext,
    saved: SavedState,
    hosts: Sequence[str],
    last_hosts: Sequence[str],
) -> list[SocketNode]:
    addresses, now = [socket.address for socket in sockets], trio.current_time()
    ids = (
        spread_ids(node_id, addresses)
        if node_id
        else first_ids(addresses, saved.node_ids, context.random_bytes)
    )
    made = []
    for socket, each_id in zip(sockets, ids, strict=True):
        last = () if scope_of(socket.address.host) is Scope.LOOPBACK else last_hosts
        made.append(SocketNode(socket, each_id, context, hosts=hosts, last_hosts=last, now=now))
        made[-1].is_id_fixed = node_id is not None
        made[-1].saved = saved.contacts_of(made[-1].family)
    return made
