"""The nodes that are measured, each in a process of its own on 127.0.0.1.

    python -m benchmarks.node.servers NAME [--network PORT] [--nodes 1000]

A server pings each node of the fake network whose port is given once, and says its address and the
size of its table in one JSON line.  It ends when its standard input closes.  Limits of what it
answers and stores are lifted.  Ours bears the id `SERVER_ID`, around which the network is dense;
libtorrent chooses its own, and has larger buckets: both come to a table of about 300 nodes.
Nodes of other projects in Python are in `benchmarks.node.rivals`.
"""

import argparse
import importlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import trio

from benchmarks.node.rivals import Ready, serve_aio_btdht, serve_btdht, serve_pythontorrentdht
from benchmarks.rpc.fake_network import SERVER_ID, host_of
from dhtnode import Address, Node, NodeId, NodeSettings, QueryError, open_node

_BOOTSTRAP_NODES = 3
_PINGS_AT_ONCE = 50
_SETTLE = 0.1  # seconds between two looks at libtorrent's table
_ENOUGH_LOOKS = 100

_LIFTED = 1e12

OUR_SETTINGS = NodeSettings(
    max_swarms=1_000_000,
    max_peers_per_swarm=100_000,
    max_peers=2_000_000,
    max_amplification=_LIFTED,
    host_rate=_LIFTED,
    host_burst=_LIFTED,
    network_rate=_LIFTED,
    network_burst=_LIFTED,
    reply_rate=_LIFTED,
    reply_burst=_LIFTED,
    behind_after=_LIFTED,
)

LIBTORRENT_SETTINGS: dict[str, Any] = {
    "listen_interfaces": "127.0.0.1:0",
    # Nothing leaves loopback.
    "dht_bootstrap_nodes": "",
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    # Bans an address for 5 minutes after 50 packets in 10 s otherwise.
    "dht_block_ratelimit": 1_000_000_000,
    # Leaves queries unanswered beyond 8,000 bytes per second otherwise.
    "dht_upload_rate_limit": 1_000_000_000,
    # Takes one node per /24 otherwise, and all nodes of the fake network are in few of them.
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_max_peers": 100_000,
    "dht_max_torrents": 1_000_000,
    "alert_mask": 0,
}


def _say_ready(address: Address, nodes: int) -> None:
    line = json.dumps({"host": address.host, "port": address.port, "nodes": nodes})
    print(line, file=sys.__stdout__, flush=True)


def serve_ours(contacts: Sequence[Address], ready: Ready) -> None:
    """Run our node until standard input closes."""
    try:
        # As the commands do; another checkout may have none.
        from dhtnode.net import NodeClock
    except ImportError:
        trio.run(_serve_ours, contacts, ready)
    else:
        trio.run(_serve_ours, contacts, ready, clock=NodeClock())


async def _serve_ours(contacts: Sequence[Address], ready: Ready) -> None:
    async with open_our_node(contacts, OUR_SETTINGS) as node:
        ready(node.addresses[0], node.statistics().sockets[0].nodes)
        await trio.lowlevel.wait_readable(sys.stdin)


@asynccontextmanager
async def open_our_node(contacts: Sequence[Address], settings: NodeSettings) -> AsyncIterator[Node]:
    """Run our node for the length of the block; when the block begins it has pinged all contacts once."""
    async with open_node(
        listen=["127.0.0.1:0"],
        bootstrap=[str(contact) for contact in contacts[:_BOOTSTRAP_NODES]],
        well_known=False,
        settings=settings,
        node_id=NodeId(SERVER_ID),
    ) as node:
        await node.wait_joined()

        async def ping(contact: Address) -> None:
            try:
                await node.ping(contact)
            except QueryError as error:
                print(f"{contact}: {error}", file=sys.stderr)

        for first in range(0, len(contacts), _PINGS_AT_ONCE):
            async with trio.open_nursery() as nursery:
                for contact in contacts[first : first + _PINGS_AT_ONCE]:
                    nursery.start_soon(ping, contact)
        yield node


def serve_libtorrent(contacts: Sequence[Address], ready: Ready) -> None:
    """Run a libtorrent session until standard input closes."""
    lt: Any = importlib.import_module("libtorrent")
    session = lt.session(LIBTORRENT_SETTINGS)
    while not session.listen_port() or not session.is_dht_running():
        time.sleep(_SETTLE)
    for first in range(0, len(contacts), _PINGS_AT_ONCE):
        for contact in contacts[first : first + _PINGS_AT_ONCE]:
            session.add_dht_node(tuple(contact))
        time.sleep(_SETTLE)
    nodes = _settled_table_size(session, lt)
    ready(Address("127.0.0.1", session.listen_port()), nodes)
    sys.stdin.read()


def _settled_table_size(session: Any, lt: Any) -> int:
    """Return the number of nodes in libtorrent's table when it has stopped growing."""
    sizes = [-2, -1]
    while (len(set(sizes[-5:])) > 1 or sizes[-1] == 0) and len(sizes) < _ENOUGH_LOOKS:
        session.post_dht_stats()
        time.sleep(_SETTLE)
        looks = [alert for alert in session.pop_alerts() if isinstance(alert, lt.dht_stats_alert)]
        sizes += [sum(bucket["num_nodes"] for bucket in look.routing_table) for look in looks]
    return sizes[-1]


@dataclass(frozen=True, slots=True)
class Server:
    """The way to run a server, and the package that it needs."""

    serve: Callable[[Sequence[Address], Ready], None]
    package: str
    module: str

    @property
    def installed(self) -> bool:
        """Tell whether its module is there."""
        return find_spec(self.module) is not None


SERVERS = {
    "ours": Server(serve_ours, "dhtnode", "dhtnode"),
    "libtorrent": Server(serve_libtorrent, "libtorrent", "libtorrent"),
    "pythontorrentdht": Server(serve_pythontorrentdht, "pythontorrentdht", "btpydht"),
    "btdht": Server(serve_btdht, "btdht", "btdht"),
    "aio-btdht": Server(serve_aio_btdht, "aio-btdht", "aiobtdht"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one server until standard input closes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.node.servers")
    parser.add_argument("server", choices=SERVERS)
    parser.add_argument("--network", type=int, help="port of the fake network")
    parser.add_argument("--nodes", type=int, default=1000, help="nodes in the fake network")
    options = parser.parse_args(arguments)
    nodes = options.nodes if options.network else 0
    contacts = [Address(host_of(number), options.network) for number in range(nodes)]
    with redirect_stdout(sys.stderr):  # some of them print; here only the one line may stand
        SERVERS[options.server].serve(contacts, _say_ready)


if __name__ == "__main__":
    main()
