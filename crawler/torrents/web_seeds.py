"""Web seeds of torrent files and magnet links that the user gave, asked once or again and again.

Full URLs are in memory only.  Of a torrent that is private no seed is asked.  When each was asked last lies
in the database, so that a watch goes on where it was.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from urllib.parse import urlsplit

import trio

from crawler.db.records.records import utc_text
from crawler.db.records.web_seeds import KnownSeed, SeedBatch, SeedCheck
from crawler.db.writer import Writer
from crawler.settings import WebSeedOptions
from dhtnode import InfoHash, Magnet, TorrentDetails, WebSeeds, parse_magnet
from dhtnode.torrents import (
    NoRequest,
    WebSeedKind,
    WebSeedOutcome,
    WebSeedRequest,
    http_seed_request,
    magnet_seed_request,
    piece_request,
    web_seed_request,
)

AT_ONCE = 8
"""Web seeds that are asked at once, each of another host."""

HOUR = 3600.0  # seconds

POLL = 60.0
"""Seconds between two looks at which is due."""

MOST_SEEDS = 10_000
"""Web seeds of all torrents together; more are left out."""


@dataclass(frozen=True, slots=True)
class GivenSeed:
    """A web seed of a torrent that the user gave, and what asks it, or why it is not asked."""

    known: KnownSeed
    name: str
    url: str
    request: WebSeedRequest | NoRequest


@dataclass(frozen=True, slots=True)
class CheckedSeed:
    """What became of a check; `reason` says more about it."""

    seed: GivenSeed
    check: SeedCheck
    reason: str

    @property
    def is_alive(self) -> bool:
        """Return whether a swarm without peers is alive by this seed."""
        return WebSeedOutcome(self.check.outcome).is_alive


def given_seeds(
    torrents: Iterable[TorrentDetails | Magnet], *, verifies: bool = False
) -> Iterator[GivenSeed]:
    """Yield the web seeds of torrents, with `verifies` to be asked for a whole piece where that can be."""
    for said in torrents:
        if isinstance(said, Magnet):
            for url in said.web_seeds:
                request = _request_of(partial(magnet_seed_request, url, said))
                yield _given(said.info_hash, said.name, url, WebSeedKind.RANGES, request)
        elif not said.metainfo.is_private:
            yield from _seeds_of(said, verifies=verifies)


def _seeds_of(details: TorrentDetails, *, verifies: bool) -> Iterator[GivenSeed]:
    info_hash, name = details.metainfo.info_hashes[0], details.metainfo.name

    def by_ranges(url: str) -> WebSeedRequest:
        return (verifies and piece_request(url, details)) or web_seed_request(url, details)

    for url in details.metainfo.web_seeds:
        yield _given(info_hash, name, url, WebSeedKind.RANGES, _request_of(partial(by_ranges, url)))
    for url in details.metainfo.http_seeds:
        request = _request_of(partial(http_seed_request, url, details))
        yield _given(info_hash, name, url, WebSeedKind.PIECES, request)


def _request_of(make: Callable[[], WebSeedRequest]) -> WebSeedRequest | NoRequest:
    try:
        return make()
    except NoRequest as error:
        return error


def _given(
    info_hash: InfoHash, name: str, url: str, kind: WebSeedKind, request: WebSeedRequest | NoRequest
) -> GivenSeed:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        host = ""
    url_hash = sha256(url.encode("utf-8", "replace")).hexdigest()[:16]
    return GivenSeed(KnownSeed(info_hash, url_hash, host[:255], str(kind)), name, url, request)


class SeedChecker:
    """Checks of web seeds, each of which is told, and written where there is a database."""

    def __init__(
        self,
        client: WebSeeds,
        writer: Writer | None,
        run_id: int,
        on_check: Callable[[CheckedSeed], None],
        *,
        is_local: bool = False,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Ask by a client; seeds in special networks are asked only if `is_local`."""
        self.writer = writer
        self.wall_clock = wall_clock
        self._client = client
        self._run_id = run_id
        self._on_check = on_check
        self._is_local = is_local

    async def check_all(self, seeds: Sequence[GivenSeed]) -> None:
        """Ask each seed once, but those that asked for a pause that is not over."""
        paused: set[tuple[str, str]] = set()
        if self.writer is not None and seeds:
            now, known = self.wall_clock(), [seed.known for seed in seeds]
            await self.writer.call_at_once(lambda store: store.web_seeds.meet(known, utc_text(now)))
            paused = await self.writer.call_at_once(lambda store: store.web_seeds.paused(now))
        places = trio.CapacityLimiter(AT_ONCE)

        async def check(seed: GivenSeed) -> None:
            async with places:
                await self.check(seed)

        async with trio.open_nursery() as nursery:
            for seed in seeds:
                if (seed.known.info_hash.hex(), seed.known.url_hash) not in paused:
                    nursery.start_soon(check, seed)

    async def check(self, seed: GivenSeed, every: float | None = None) -> None:
        """Ask a seed now; a watch asks it again after so many seconds."""
        known, taken_at = seed.known, utc_text(self.wall_clock())
        if isinstance(seed.request, NoRequest):
            reason, pause = str(seed.request), None
            row = SeedCheck(*known, taken_at, str(seed.request.outcome))
        else:
            told = await self._client.check(seed.request, is_local=self._is_local)
            reason, pause = told.reason, told.retry_after
            row = SeedCheck(
                *known,
                taken_at,
                outcome=str(told.outcome),
                status=told.status,
                length_ok=told.length_ok,
                hash_ok=told.hash_ok,
                ms=round(1000 * told.seconds, 1),
                bytes=told.received,
            )
        if self.writer is not None:
            now = self.wall_clock()
            batch = SeedBatch(row, None if pause is None else utc_text(now + pause))
            next_at = None if every is None else utc_text(now + every)
            await self.writer.call_at_once(lambda store: store.web_seeds.write(self._run_id, batch, next_at))
        self._on_check(CheckedSeed(seed, row, reason))


class SeedWatch:
    """Web seeds that are asked again and again, each after so many seconds."""

    def __init__(
        self,
        checker: SeedChecker,
        writer: Writer,
        asked: WebSeedOptions,
        say: Callable[[str], None],
        *,
        once: bool,
    ) -> None:
        """Begin with no seed; with `once`, those due now are asked, and that is all.

        `say` gets single lines for a user.
        """
        self._checker = checker
        self._writer = writer
        self._every = HOUR * asked.every
        self._verifies = asked.verifies
        self._say = say
        self._once = once
        self._seeds: dict[KnownSeed, GivenSeed] = {}
        self._listed: dict[KnownSeed, GivenSeed] = {}  # those of a list that may change
        self._hosts: set[str] = set()  # that are being asked
        self._freed = trio.Event()
        self.has_ended = trio.Event()

    async def take_links(self, links: Iterable[str]) -> None:
        """Watch the seeds of the magnet links of a list, in place of those listed before."""
        await self.add(map(parse_magnet, links), listed=True)

    async def add(self, torrents: Iterable[TorrentDetails | Magnet], *, listed: bool = False) -> None:
        """Watch the seeds of more torrents, or with `listed`, these in place of those listed before."""
        kept = self._seeds if listed else self._seeds | self._listed
        given = given_seeds(torrents, verifies=self._verifies)
        found = {seed.known: seed for seed in given if seed.known not in kept}
        taken = dict(list(found.items())[: max(0, MOST_SEEDS - len(kept))])
        now = utc_text(self._checker.wall_clock())
        await self._writer.call_at_once(lambda store: store.web_seeds.meet(list(taken), now))
        if listed:
            self._listed = taken
        else:
            self._seeds |= taken
        if len(found) > len(taken):
            self._say(f"{len(found) - len(taken)} web seeds are left out: there are too many")

    async def run(self) -> None:
        """Ask seeds as they are due, a few at once, for ever, or with `once` while any is."""
        places = trio.Semaphore(AT_ONCE)

        async def check(seed: GivenSeed) -> None:
            try:
                await self._checker.check(seed, self._every)
            finally:
                self._hosts.discard(seed.known.host)
                places.release()
                self._freed.set()

        async with trio.open_nursery() as nursery:
            while True:
                await places.acquire()
                self._freed = trio.Event()
                seed = await self._claim()
                if seed is not None:
                    self._hosts.add(seed.known.host)
                    nursery.start_soon(check, seed)
                    continue
                places.release()
                if self._once and not self._hosts:
                    break
                # One that is due may be at a host that is being asked.
                with trio.move_on_after(POLL):
                    await self._freed.wait()
        self.has_ended.set()

    async def _claim(self) -> GivenSeed | None:
        watched, hosts, now = self._seeds | self._listed, set(self._hosts), self._checker.wall_clock()
        found = await self._writer.call_at_once(
            lambda store: store.web_seeds.claim(watched, hosts, now, self._every)
        )
        return None if found is None else watched[found]
