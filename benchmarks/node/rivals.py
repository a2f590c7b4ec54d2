"""Other nodes in Python that `benchmarks.node` measures beside ours; none of them is a dependency.

Each function runs one until standard input closes, as those in `benchmarks.node.servers` do: on 127.0.0.1,
with the contacts in its table, limits on loopback lifted through documented settings.  What had to be
done besides to get right answers out of it, and no more, stands at its function.  How to install them
is in docs/reference/benchmarks.md.
"""

import asyncio
import importlib
import socket
import sys
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from benchmarks.rpc.fake_network import SERVER_ID
from dhtnode import Address

Ready = Callable[[Address, int], None]
"""Is called once, with the address of a server and the size of its table."""

_CONTACTS_AT_ONCE = 50
_SETTLE = 0.1  # seconds between two looks at a table
_ENOUGH_LOOKS = 100


def serve_pythontorrentdht(contacts: Sequence[Address], ready: Ready) -> None:
    """Run a node of pythontorrentdht, which is btdht translated to plain Python."""
    _serve_btdht("btpydht", contacts, ready)


def serve_btdht(contacts: Sequence[Address], ready: Ready) -> None:
    """Run a node of btdht, whose code is Cython."""
    _serve_btdht("btdht", contacts, ready)


def _serve_btdht(module: str, contacts: Sequence[Address], ready: Ready) -> None:
    # By default it ignores all that comes from loopback and from private networks.
    node = importlib.import_module(module).DHT(bind_ip="127.0.0.1", id=SERVER_ID, ignored_net=[], debuglvl=-1)
    contact = node.bootstarp  # this is how they spell it
    # With an empty table it would ask well-known hosts.  Nothing leaves loopback.
    node.bootstarp = _nothing
    node.start()
    for first in range(0, len(contacts), _CONTACTS_AT_ONCE):
        contact([tuple(each) for each in contacts[first : first + _CONTACTS_AT_ONCE]])
        time.sleep(_SETTLE)
    nodes = _settled(lambda: node.root.stats()[1]) if contacts else 0
    ready(Address("127.0.0.1", node.bind_port), nodes)
    sys.stdin.read()


def _nothing() -> None:
    pass


def _settled(good_nodes: Callable[[], int]) -> int:
    """Return the number of nodes in a table that has stopped growing."""
    sizes = [-2, -1]
    while (len(set(sizes[-5:])) > 1 or sizes[-1] == 0) and len(sizes) < _ENOUGH_LOOKS:
        time.sleep(_SETTLE)
        sizes.append(good_nodes())
    return sizes[-1]


def serve_aio_btdht(contacts: Sequence[Address], ready: Ready) -> None:
    """Run a node of aio-btdht.

    It was written for Python 3.9 at most, whose asyncio functions took a loop.  It refuses every
    announce_peer, because its schema of the arguments forgets the port; here the schema has it.
    """
    asyncio.run(_serve_aio_btdht(contacts, ready))


async def _serve_aio_btdht(contacts: Sequence[Address], ready: Ready) -> None:
    schemas: Any = importlib.import_module("aiobtdht.schemas")
    dht: Any = importlib.import_module("aiobtdht.dht")
    krpc: Any = importlib.import_module("aiokrpc.server")
    dht.asyncio = krpc.asyncio = _asyncio_with_loop_arguments()
    loop, port = asyncio.get_running_loop(), _free_port()
    server = importlib.import_module("aioudp").UDPServer()
    server.run("127.0.0.1", port, loop)
    node = dht.DHT(int.from_bytes(SERVER_ID, "big"), server, loop)
    node.register_callback(
        node.announce_peer,
        arg_schema=schemas.ANNOUNCE_PEER_ARGS | {"port": {"type": "integer", "required": True}},
        result_schema=schemas.ANNOUNCE_PEER_RESULT,
    )
    for first in range(0, len(contacts), _CONTACTS_AT_ONCE):
        await node.bootstrap([tuple(each) for each in contacts[first : first + _CONTACTS_AT_ONCE]])
    nodes = len(node.routing_table[node.id, len(contacts)])
    ready(Address("127.0.0.1", port), nodes)
    closed = asyncio.Event()
    loop.add_reader(sys.stdin, closed.set)
    await closed.wait()


def _asyncio_with_loop_arguments() -> SimpleNamespace:
    """Return what stands in asyncio, with three functions that take a loop and ignore it."""

    def without_loop(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments, loop=None: function(*arguments)  # noqa: ARG005

    changed = {name: without_loop(getattr(asyncio, name)) for name in ("gather", "wait_for", "Queue")}
    return SimpleNamespace(**vars(asyncio) | changed)


def _free_port() -> int:
    """Return a port that is free now: aio-btdht does not tell which one it was given."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        port: int = opened.getsockname()[1]
    return port
