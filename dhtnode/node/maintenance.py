"""The small loops that keep a node alive: join, check, refresh, expire, save.

Each socket has loops of its own, so that trouble in one family never starves the other.  All of
them run until cancelled, in the nursery of the node.
"""

import logging
from collections.abc import Callable
from math import inf

import trio

from dhtnode.errors import StateFileError
from dhtnode.ids import NodeId
from dhtnode.node.socket_node import SocketNode
from dhtnode.node.state_file import SavedState, StateFile
from dhtnode.server.peer_store import PeerStore

logger = logging.getLogger(__name__)

FIRST_RETRY = 1.0  # seconds after an attempt to join that found less than a bucket; doubled each time
LAST_RETRY = 300.0
PROBE_PERIOD = 5.0  # seconds between two looks for a network, two pings each, while no node answers
UNSENT_PERIOD = 2.0  # the same when the ping could not leave this machine: then it costs nothing
SUSPENDED_AFTER = 60.0  # seconds without running after which others may have forgotten us
RENEWAL_PAUSE = 15.0  # seconds before we join under another id; nodes of our kind look again after 10


async def keep_joined(node: SocketNode, attempted: trio.Event) -> None:
    """Join, and join again when there is reason to; `attempted` is set after the first try.

    While the table holds less than a bucket, because the network is tiny or hardly there, the pauses
    grow, so that the attempts cost little.  While no node answers, two pings now and then find out
    when the network is back, and then we join at once.  Join also when our id has been renewed
    (BEP 42), because our neighbours are others then, and when we were suspended for long.
    """
    retry = FIRST_RETRY
    while True:
        own_id = node.table.node_id
        is_joined = await node.join()
        attempted.set()
        if not is_joined:
            is_back = await _find_network(node, retry)
            retry = FIRST_RETRY if is_back else min(LAST_RETRY, 2 * retry)
            continue
        await node.explore()
        if node.is_short_of_nodes:
            await _wait_until_worth_joining(node, own_id, retry)
            retry = min(LAST_RETRY, 2 * retry)
        else:
            retry = FIRST_RETRY
            # They have served: the table knows better now.
            node.saved = []
            await _wait_until_worth_joining(node, own_id, inf)
        if node.table.node_id != own_id:
            await trio.sleep(RENEWAL_PAUSE)


async def _find_network(node: SocketNode, limit: float) -> bool:
    """Ping until a node answers, and return True; False after `limit` seconds without an answer."""
    answered_at = node.rpc.reachability.answered_at
    with trio.move_on_after(limit):
        while node.rpc.reachability.answered_at == answered_at:
            answered = trio.Event()
            has_left = node.probe(answered.set)
            with trio.move_on_after(PROBE_PERIOD if has_left else UNSENT_PERIOD):
                await answered.wait()
    return node.rpc.reachability.answered_at > answered_at


async def _wait_until_worth_joining(node: SocketNode, own_id: NodeId, limit: float) -> None:
    """Wait until our id is another, no node answers any more, or we were suspended.

    Without a `limit` in seconds, also until the table has become short of nodes.
    """
    until = trio.current_time() + limit
    while node.table.node_id == own_id and not node.rpc.reachability.is_cut_off:
        next_look = min(until, trio.current_time() + node.settings.maintenance_period)
        with trio.move_on_at(next_look):
            await node.wait_renewed()
        now = trio.current_time()
        if now - next_look > SUSPENDED_AFTER:
            logger.info("%s: stood still for %.0f s", node.socket.address, now - next_look)
            return
        if now >= until or (limit == inf and node.is_short_of_nodes):
            return


async def keep_fresh(node: SocketNode) -> None:
    """Ping unresponsive nodes and refresh stale buckets, a few at a time; forget sources of long ago."""
    while True:
        await trio.sleep(node.settings.maintenance_period)
        now = trio.current_time()
        node.rpc.sources.expire(now)
        # While no node answers, checks would count failures against the wrong ones.
        if not node.rpc.reachability.is_cut_off:
            node.checks.ping_silent(now)
            await node.refresh(now)


async def keep_expiring(peers: PeerStore, period: float) -> None:
    """Drop peers whose time is over."""
    while True:
        await trio.sleep(period)
        peers.expire(trio.current_time())


async def keep_saved(file: StateFile, state: Callable[[], SavedState], period: float) -> None:
    """Write the state file now and then; a failure, such as a full disk, is logged and tried again."""
    while True:
        await trio.sleep(period)
        try:
            await trio.to_thread.run_sync(file.save, state())
        except StateFileError as error:
            logger.warning("%s", error)
