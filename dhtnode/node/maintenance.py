"""The small loops that keep a node alive: join, check, refresh, expire, save.

Each endpoint has loops of its own, so that trouble in one family never starves the other.  All of
them run until cancelled, in the nursery of the node.
"""

import logging
from collections.abc import Callable
from math import inf
from pathlib import Path

import trio

from dhtnode.errors import StateFileError
from dhtnode.ids import NodeId
from dhtnode.node.socket_node import SocketNode
from dhtnode.node.state_file import SavedState, save_state
from dhtnode.server.peer_store import PeerStore

logger = logging.getLogger(__name__)

FIRST_RETRY = 1.0  # seconds after an attempt to join that found less than a bucket; doubled each time
LAST_RETRY = 300.0
PROBE_PERIOD = 5.0  # seconds between two looks for a network, two pings each, while nobody answers
UNSENT_PERIOD = 2.0  # the same when the ping could not leave this machine: then it costs nobody anything
STOOD_STILL_AFTER = 60.0  # seconds without running after which others may have forgotten us
RENEWAL_PAUSE = 15.0  # seconds before we join under another id; nodes of our kind look again after 10


async def keep_joined(endpoint: SocketNode, attempted: trio.Event) -> None:
    """Join, and join again when there is reason to; `attempted` is set after the first try.

    While the table holds less than a bucket, because the network is tiny or hardly there, the pauses
    grow, so that none of the attempts costs much.  While nobody answers at all, two pings now and
    then find out when the network is back, and then we join at once.  Join also when our id has been
    renewed (BEP 42), because our neighbours are others then, and when we have stood still for long.
    """
    retry = FIRST_RETRY
    while True:
        own_id = endpoint.table.node_id
        is_joined = await endpoint.join()
        attempted.set()
        if not is_joined:
            is_back = await _find_network(endpoint, retry)
            retry = FIRST_RETRY if is_back else min(LAST_RETRY, 2 * retry)
            continue
        await endpoint.look_around()
        if endpoint.is_short_of_nodes:
            await _wait_until_worth_joining(endpoint, own_id, retry)
            retry = min(LAST_RETRY, 2 * retry)
        else:
            retry = FIRST_RETRY
            endpoint.saved = []  # they have served: the table knows better now
            await _wait_until_worth_joining(endpoint, own_id, inf)
        if endpoint.table.node_id != own_id:
            await trio.sleep(RENEWAL_PAUSE)


async def _find_network(endpoint: SocketNode, limit: float) -> bool:
    """Ping until somebody answers, and return True; False after `limit` seconds without an answer."""
    answered_at = endpoint.rpc.reachability.answered_at
    with trio.move_on_after(limit):
        while endpoint.rpc.reachability.answered_at == answered_at:
            answered = trio.Event()
            has_left = endpoint.probe(answered.set)
            with trio.move_on_after(PROBE_PERIOD if has_left else UNSENT_PERIOD):
                await answered.wait()
    return endpoint.rpc.reachability.answered_at > answered_at


async def _wait_until_worth_joining(endpoint: SocketNode, own_id: NodeId, limit: float) -> None:
    """Wait until our id is another, nobody answers any more, or we have stood still.

    Without a `limit` in seconds, also until the table has become short of nodes.
    """
    until = trio.current_time() + limit
    while endpoint.table.node_id == own_id and not endpoint.rpc.reachability.is_cut_off:
        next_look = min(until, trio.current_time() + endpoint.settings.maintenance_period)
        with trio.move_on_at(next_look):
            await endpoint.wait_renewed()
        now = trio.current_time()
        if now - next_look > STOOD_STILL_AFTER:
            logger.info("%s: stood still for %.0f s", endpoint.socket.address, now - next_look)
            return
        if now >= until or (limit == inf and endpoint.is_short_of_nodes):
            return


async def keep_fresh(endpoint: SocketNode) -> None:
    """Ping silent nodes and refresh stale buckets, a few at a time; forget sources of long ago.

    While nobody answers, the first two would cost packets and blame the wrong ones.
    """
    while True:
        await trio.sleep(endpoint.settings.maintenance_period)
        now = trio.current_time()
        endpoint.rpc.sources.expire(now)
        if not endpoint.rpc.reachability.is_cut_off:
            endpoint.checks.ping_silent(now)
            await endpoint.refresh(now)


async def keep_expiring(peers: PeerStore, period: float) -> None:
    """Drop peers whose time is over."""
    while True:
        await trio.sleep(period)
        peers.expire(trio.current_time())


async def keep_saved(path: Path, state: Callable[[], SavedState], period: float) -> None:
    """Write the state file now and then; a disk that is full is reported and tried again."""
    while True:
        await trio.sleep(period)
        try:
            await trio.to_thread.run_sync(save_state, path, state())
        except StateFileError as error:
            logger.warning("%s", error)
