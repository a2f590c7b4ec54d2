"""Peers of many swarms contacted, a few swarms at once, and their replies recorded.

Swarms whose peers are known wait in a queue of bounded length.  Measuring them goes on meanwhile, and
a swarm for which the queue has no capacity is counted and left for another day.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import trio

from crawler.db.records.records import utc_text
from crawler.db.records.torrents import (
    HandshakeBatch,
    Handshakes,
    KnownTorrent,
    PexCounts,
    hybrid_of,
    known_of,
)
from crawler.db.writer import Writer
from crawler.torrents.named_peers import Compare
from crawler.torrents.peers import PeerClient
from crawler.torrents.seed_share import KEPT_PEERS, handshakes_of
from dhtnode import Address, DhtError, InfoHash, Node
from dhtnode.nurseries import open_service_nursery

MAX_WAITING = 1000
"""Swarms whose peers wait to be contacted, each with `KEPT_PEERS` addresses: 30 MB."""


@dataclass(slots=True)
class FetchTally:
    """Counts of swarms: wanted, and ended with a known torrent, private, nameless still, never contacted."""

    wanted: int = 0
    named: int = 0
    private: int = 0
    nameless: int = 0
    no_room: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Fetched:
    """The outcome of one swarm; of a private torrent there are no handshakes."""

    info_hash: InfoHash
    torrent: KnownTorrent | None
    handshakes: Handshakes | None
    exchange: PexCounts | None = None


class _Waiting(NamedTuple):
    info_hash: InfoHash
    peers: Sequence[Address]
    compare: Compare | None


class Fetcher:
    """A queue of swarms whose peers are contacted; made by `open_fetcher`."""

    def __init__(
        self,
        client: PeerClient,
        writer: Writer,
        run_id: int,
        on_fetched: Callable[[Fetched], None],
        tally: FetchTally,
        source: str,
        wall_clock: Callable[[], float],
    ) -> None:
        self.tally = tally
        self._client = client
        self._writer = writer
        self._run_id = run_id
        self._on_fetched = on_fetched
        self._source = source
        self._wall_clock = wall_clock
        self._send, self._receive = trio.open_memory_channel[_Waiting](MAX_WAITING)
        self._working = 0
        self._is_idle = trio.Event()

    def offer(self, info_hash: InfoHash, peers: Sequence[Address], compare: Compare | None = None) -> None:
        """Queue the first `KEPT_PEERS` of these peers; when too many swarms wait, only count it.

        `compare` holds the peers that these name against what the DHT told.
        """
        try:
            self._send.send_nowait(_Waiting(info_hash, tuple(peers[:KEPT_PEERS]), compare))
        except trio.WouldBlock:
            self.tally.no_room += 1

    async def run(self) -> None:
        """Contact peers until `finish` is called and nothing waits."""
        self._working += 1
        try:
            async for info_hash, peers, compare in self._receive:
                await self.fetch(info_hash, peers, compare=compare)
        finally:
            self._working -= 1
            if not self._working:
                self._is_idle.set()

    async def finish(self) -> None:
        """Accept nothing more, and wait until all that was offered is done."""
        self._send.close()
        await self._is_idle.wait()

    async def fetch(
        self,
        info_hash: InfoHash,
        peers: Sequence[Address],
        returned: int | None = None,
        compare: Compare | None = None,
    ) -> None:
        """Contact peers of one swarm now, and record what they reply; raises `DatabaseError`.

        The metadata is asked for once: after that it is known.  Peers of a torrent known to be private
        are left alone.
        """
        if await self.leaves_alone(info_hash):
            return
        known = await self._known(info_hash)
        contact = await self._client.contact_peers(
            info_hash,
            peers,
            returned=returned,
            pieces=None if known is None else known.pieces,
            wants_metadata=known is None,
            compare=compare,
        )
        torrent = known if contact.info is None else known_of(contact.info)
        handshakes = handshakes_of(contact, utc_text(self._wall_clock()))
        # In the buffer first, which no cancellation empties.
        hints = () if contact.trackers is None else contact.trackers.urls
        self._writer.put_nowait(
            HandshakeBatch(
                *(self._source, handshakes, torrent, contact.exchange, hints), hybrid=hybrid_of(contact.info)
            )
        )
        await self._writer.call(lambda _: None)
        is_private = torrent is not None and torrent.is_private
        exchange = None if is_private else contact.exchange
        self._end(Fetched(info_hash, torrent, None if is_private else handshakes, exchange))

    async def leaves_alone(self, info_hash: InfoHash) -> bool:
        """Return whether a torrent is known to be private; if so, that is its outcome."""
        known = await self._known(info_hash)
        if known is None or not known.is_private:
            return False
        self._end(Fetched(info_hash, known, None))
        return True

    async def _known(self, info_hash: InfoHash) -> KnownTorrent | None:
        return await self._writer.call_at_once(lambda store: store.metadata.known(info_hash))

    def _end(self, fetched: Fetched) -> None:
        if fetched.torrent is None:
            self.tally.nameless += 1
        elif fetched.torrent.is_private:
            self.tally.private += 1
        else:
            self.tally.named += 1
        self._on_fetched(fetched)


@asynccontextmanager
async def open_fetcher(
    client: PeerClient,
    writer: Writer,
    run_id: int,
    on_fetched: Callable[[Fetched], None],
    *,
    tally: FetchTally | None = None,
    source: str = "given",
    wall_clock: Callable[[], float] = time.time,
) -> AsyncIterator[Fetcher]:
    """Contact peers for as long as the block lasts, and until all that was offered in it is done.

    A block that ends by an exception does not wait.  `on_fetched` gets the outcome of each swarm.
    """
    fetcher = Fetcher(client, writer, run_id, on_fetched, tally or FetchTally(), source, wall_clock)
    async with open_service_nursery() as nursery:
        for number in range(client.settings.swarms_at_once):
            nursery.start_soon(fetcher.run, name=f"contact peers {number}")
        yield fetcher
        await fetcher.finish()


async def look_up_and_fetch(
    node: Node,
    fetcher: Fetcher,
    info_hashes: Iterable[InfoHash],
    *,
    at_once: int,
    random: Random,
    on_failure: Callable[[InfoHash, DhtError], None],
) -> None:
    """Look up the peers of each swarm and contact them, `at_once` swarms at a time.

    The peers of a torrent that is known to be private are not looked up (BEP 27).
    """
    places = trio.Semaphore(at_once)

    async def fetch(info_hash: InfoHash) -> None:
        try:
            if not await fetcher.leaves_alone(info_hash):
                peers, returned = await look_up_peers(node, info_hash, random)
                await fetcher.fetch(info_hash, peers, returned)
        except DhtError as error:
            fetcher.tally.failed += 1
            on_failure(info_hash, error)
        finally:
            places.release()

    async with trio.open_nursery() as nursery:
        for info_hash in info_hashes:
            await places.acquire()
            nursery.start_soon(fetch, info_hash)


async def look_up_peers(node: Node, info_hash: InfoHash, random: Random) -> tuple[list[Address], int]:
    """Return `KEPT_PEERS` peers at most, drawn from all that nodes return, and how many these were."""
    kept: list[Address] = []
    count = 0
    async with node.get_peers(info_hash) as peers:
        async for peer in peers:
            count += 1
            if len(kept) < KEPT_PEERS:
                kept.append(peer)
            elif (place := random.randrange(count)) < KEPT_PEERS:
                kept[place] = peer
    random.shuffle(kept)
    return kept, count
