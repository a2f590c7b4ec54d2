"""The small loops that keep a node alive: join, check, refresh, expire, save.

Each endpoint has loops of its own, so that trouble in one family never starves the other.  All of
them run until cancelled, in the nursery of the node.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import trio

from dhtnode.endpoint import Endpoint
from dhtnode.errors import StateFileError
from dhtnode.ids import NodeId
from dhtnode.peers import PeerStore
from dhtnode.snapshot import State, save_state

logger = logging.getLogger(__name__)

FIRST_RETRY = 1.0  # seconds after an attempt to join that found less than a bucket; doubled each time
LAST_RETRY = 300.0
RENEWAL_PAUSE = 15.0  # seconds before we join under another id; nodes of our kind look again after 10


async def keep_joined(endpoint: Endpoint, attempted: trio.Event) -> None:
    """Join, and join again while the table holds less than a bucket; `attempted` is set after the first try.

    Few contacts mean that the network was not there yet, that ours is gone, or that it is tiny: the
    pauses grow, so that none of these costs much.  Join also when our id has been renewed (BEP 42),
    because our neighbours are others then.
    """
    retry = FIRST_RETRY
    while True:
        own_id = endpoint.table.node_id
        await endpoint.join()
        attempted.set()
        await endpoint.look_around()
        if endpoint.is_short_of_nodes:
            await trio.sleep(retry)
            retry = min(LAST_RETRY, 2 * retry)
        else:
            retry = FIRST_RETRY
            endpoint.saved = []  # they have served: the table knows better now
            await _wait_until_worth_joining(endpoint, own_id)
        if endpoint.table.node_id != own_id:
            await trio.sleep(RENEWAL_PAUSE)


async def _wait_until_worth_joining(endpoint: Endpoint, own_id: NodeId) -> None:
    while not endpoint.is_short_of_nodes and endpoint.table.node_id == own_id:
        with trio.move_on_after(endpoint.settings.maintenance_period):
            await endpoint.wait_renewed()


async def keep_fresh(endpoint: Endpoint) -> None:
    """Ping silent nodes and refresh stale buckets, a few at a time; forget sources of long ago."""
    while True:
        await trio.sleep(endpoint.settings.maintenance_period)
        now = trio.current_time()
        endpoint.rpc.forget_silent(now)
        endpoint.check_silent(now)
        await endpoint.refresh(now)


async def keep_expiring(peers: PeerStore, period: float) -> None:
    """Drop peers whose time is over."""
    while True:
        await trio.sleep(period)
        peers.expire(trio.current_time())


async def keep_saved(path: Path, state: Callable[[], State], period: float) -> None:
    """Write the state file now and then; a disk that is full is reported and tried again."""
    while True:
        await trio.sleep(period)
        try:
            await trio.to_thread.run_sync(save_state, path, state())
        except StateFileError as error:
            logger.warning("%s", error)
