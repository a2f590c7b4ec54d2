"""One blocking call, for scripts that have no event loop of their own."""

import sys
from collections.abc import Sequence

import trio

from dhtnode.addresses import Address
from dhtnode.api.arguments import Torrent
from dhtnode.api.open_node import open_node
from dhtnode.arguments import check_positive, check_whole
from dhtnode.errors import NotJoined
from dhtnode.ids import InfoHash
from dhtnode.metainfo import Metainfo, public_info_hash, read_swarm
from dhtnode.settings import NodeSettings


def find_peers(
    torrent: Torrent,
    *,
    limit: int | None = None,
    timeout: float = 30.0,
    bootstrap: Sequence[str] = (),
) -> list[Address]:
    """Return peers of a swarm, given by info-hash, magnet link or torrent file, without a tracker.

    Returns after the lookup, after `limit` peers, or after `timeout` seconds with the peers found by
    then.  An empty list means that no node knows of a peer.  Raises `InvalidArgument`, such as
    `InvalidInfoHash` for a text that is none, and `PrivateTorrent`, both before anything is sent, and
    `NotJoined` when no node answered at all.  It cannot be called from inside Trio.
    """
    if limit is not None:
        check_whole("limit", limit, 1, sys.maxsize)
    check_positive("timeout", timeout)
    read = read_swarm(torrent)
    wanted = public_info_hash(read)
    torrent_nodes = read.nodes if isinstance(read, Metainfo) else ()
    return trio.run(_find_peers, wanted, limit, timeout, bootstrap, torrent_nodes)


async def _find_peers(
    info_hash: InfoHash,
    limit: int | None,
    timeout: float,
    bootstrap: Sequence[str],
    torrent_nodes: Sequence[str] = (),
) -> list[Address]:
    found: list[Address] = []
    settings = NodeSettings(read_only=True)
    async with (
        open_node(bootstrap=bootstrap, torrent_nodes=torrent_nodes, settings=settings) as node,
        node.get_peers(info_hash) as peers,
    ):
        with trio.move_on_after(timeout):
            async for peer in peers:
                found.append(peer)
                if limit is not None and len(found) >= limit:
                    break
        if not peers.nodes_answered:
            trouble = node.bootstrap_trouble()
            raise NotJoined("; ".join([f"no node answered within {timeout:g} s", *trouble]))
    return found
