"""Peers that trackers name to one that announces itself: held against the filters of the DHT, and forgotten.

The peer that is announced has nothing, is no seed, and says goodbye before anything else is done.  No tracker
is told of it for the same swarm again before 30 minutes, or what it asks for, have passed, over restarts too.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

import trio

from crawler.db.records.records import utc_text
from crawler.db.records.trackers import (
    KnownTracker,
    SwarmOverlap,
    TrackerTurn,
)
from crawler.db.writer import Writer
from crawler.trackers.due_swarms import PAUSE, DueSwarms, list_of, turns_of
from crawler.trackers.known_urls import Wanted
from crawler.trackers.overlaps import NamedPeers, overlaps_of, without_empty_claims
from dhtnode import InfoHash, SwarmMeasurement
from dhtnode.addresses import Address, Scope, pack_host
from dhtnode.tracker_client import Trackers
from dhtnode.trackers import AnnounceAnswer, Event, TrackerError

PATIENCE = 30.0
"""Seconds for the answers of all trackers about one swarm."""

GOODBYE = 10.0
"""Seconds to tell all of them that our peer is gone."""

AT_ONCE = 8
"""Swarms that are announced at the same time: slow trackers do not hold up all others."""

MOST_PEERS = 1000
"""Addresses of one list that are held against filters."""


class Announcer:
    """Announces to trackers for the sake of the peers that they name, one swarm after the other."""

    def __init__(
        self,
        client: Trackers,
        writer: Writer,
        run_id: int,
        port: int,
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Announce a peer at `port`."""
        self._client = client
        self._writer = writer
        self._run_id = run_id
        self._port = port
        self._wall_clock = wall_clock

    async def compare(
        self,
        places: Sequence[Wanted],
        measured: Sequence[SwarmMeasurement],
        on_overlap: Callable[[SwarmOverlap], None] = lambda _: None,
    ) -> None:
        """Announce each swarm to each tracker that is due, and record and tell how far they overlap."""
        swarms = {each.info_hash: each for each in measured}
        new = [place.first_seen(self._now()) for place in places]
        known = await self._writer.call(lambda store: store.trackers.meet(new))
        due = await self._due(self._willing(places, known), list(swarms))
        # Those that invent peers are compared by themselves only.
        distrusted = await self._writer.call(lambda store: store.trackers.distrusted())
        named = dict[InfoHash, list[NamedPeers]]()
        limiter = trio.CapacityLimiter(AT_ONCE)

        async def ask(info_hash: InfoHash) -> None:
            async with limiter:
                named[info_hash] = await self._announce(due[info_hash], info_hash)

        async with trio.open_nursery() as nursery:
            for info_hash in due:
                if due[info_hash]:
                    nursery.start_soon(ask, info_hash)
        most = Counter[str]()
        for each in chain.from_iterable(named.values()):
            most[each.url] = max(most[each.url], each.peers)
        for info_hash, lists in named.items():
            believed = without_empty_claims(lists, most)
            overlaps = overlaps_of(swarms[info_hash], believed, distrusted, self._now())
            await self._write(overlaps)
            for overlap in overlaps:
                on_overlap(overlap)

    async def _write(self, overlaps: Sequence[SwarmOverlap]) -> None:
        if overlaps:
            await self._writer.call(lambda store: store.trackers.add_overlaps(self._run_id, overlaps))

    def _willing(self, places: Iterable[Wanted], known: dict[str, KnownTracker]) -> list[Wanted]:
        """Return the trackers that have not asked for a pause that lasts."""
        now = self._now()
        return [place for place in places if (known[str(place.url)].not_before or "") <= now]

    async def _due(
        self, places: Sequence[Wanted], swarms: Sequence[InfoHash]
    ) -> dict[InfoHash, list[Wanted]]:
        """Return where each swarm may be announced, once it is recorded that it will be."""
        now = self._wall_clock()
        ordered = list_of(swarms)
        earlier = await self._writer.call(lambda store: list(store.trackers.turns(utc_text(now))))
        places_due = DueSwarms(ordered.info_hashes, earlier, now)
        due: dict[InfoHash, list[Wanted]] = {info_hash: [] for info_hash in swarms}
        turns = list[TrackerTurn]()
        for place in places:
            numbers = places_due.of(_turn_of(place))
            turns += turns_of(_turn_of(place), numbers, utc_text(now))
            for number in numbers:
                due[ordered.info_hashes[number]].append(place)
        if turns:
            await self._writer.call(lambda store: store.trackers.take_turns(ordered, turns))
        return due

    async def _pause(self, place: Wanted, info_hash: InfoHash, seconds: float) -> None:
        """Record that a tracker wants to hear of a swarm no sooner."""
        now = self._wall_clock()
        turn = TrackerTurn(_turn_of(place), 0, 1, utc_text(now), utc_text(now + seconds))
        await self._writer.call(lambda store: store.trackers.take_turns(list_of([info_hash]), [turn]))

    async def _announce(self, places: Sequence[Wanted], info_hash: InfoHash) -> list[NamedPeers]:
        """Announce a swarm to trackers at the same time, and when all have answered say goodbye."""
        named = list[NamedPeers]()
        try:
            with trio.move_on_after(PATIENCE):
                async with trio.open_nursery() as nursery:
                    for place in places:
                        nursery.start_soon(self._ask, place, info_hash, named)
        finally:
            with trio.move_on_after(GOODBYE, shield=True):
                async with trio.open_nursery() as nursery:
                    for place in places:
                        nursery.start_soon(self._say_goodbye, place, info_hash)
        return named

    async def _ask(self, place: Wanted, info_hash: InfoHash, named: list[NamedPeers]) -> None:
        try:
            found = await self._client.announce(place.url, info_hash, self._port, is_typed=place.is_typed)
        except TrackerError:
            return
        for asked in found:
            if asked.answer is not None:
                named.append(self._named(place, asked.answer))
                pause = max(asked.answer.min_interval or 0, 0)
                if pause > PAUSE:
                    await self._pause(place, info_hash, pause)

    def _named(self, place: Wanted, answer: AnnounceAnswer) -> NamedPeers:
        """Return the hosts that a tracker named, without our own peer, which it counts."""
        scope = None if place.is_typed else Scope.PUBLIC
        others = [peer for peer in answer.peers if not self._is_ours(peer, answer)]
        hosts = [pack_host(peer.host) for peer in others if scope is None or scope.allows(peer)]
        counted = (answer.seeds or 0) + (answer.leechers or 0) - 1
        return NamedPeers(str(place.url), max(counted, 0), len(others), frozenset(hosts[:MOST_PEERS]))

    def _is_ours(self, peer: Address, answer: AnnounceAnswer) -> bool:
        """Return whether an address may be that of our peer: others at this port are few."""
        return peer.port == self._port and answer.external_host in (None, peer.host)

    async def _say_goodbye(self, place: Wanted, info_hash: InfoHash) -> None:
        try:
            await self._client.announce(
                place.url, info_hash, self._port, event=Event.STOPPED, is_typed=place.is_typed
            )
        except TrackerError:
            return

    def _now(self) -> str:
        return utc_text(self._wall_clock())


def _turn_of(place: Wanted) -> str:
    """Return what stands for a tracker where its turns are: a host first, by which it can be deleted."""
    url = place.url
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{host}:{url.port} announce {url.scheme}{url.path}"
