"""`open_trackers`: ask trackers for swarms, politely, over UDP and HTTP."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from types import ModuleType
from typing import Generic, TypeVar

import trio

from dhtnode import __version__
from dhtnode.addresses import Address, Family, Scope, scope_of
from dhtnode.arguments import check_whole, id_of
from dhtnode.errors import DhtError
from dhtnode.ids import InfoHash
from dhtnode.tracker_client.local_search import (
    LocalSearch,
    LocalTrackers,
    check_external_host,
)
from dhtnode.tracker_client.names import Dns, addresses_of
from dhtnode.tracker_client.pace import HostPace, SweepPace
from dhtnode.tracker_client.udp_tracker import UdpTracker
from dhtnode.trackers import http_messages
from dhtnode.trackers.batches import ScrapeBatches
from dhtnode.trackers.dns_preferences import allowed_urls
from dhtnode.trackers.messages import (
    PEER_ID_PREFIX,
    AnnounceAnswer,
    AnnounceRequest,
    Event,
    Outcome,
    ScrapeAnswer,
    TrackerError,
)
from dhtnode.trackers.udp_packets import MAX_SCRAPED, MAX_SCRAPED_IPV6
from dhtnode.trackers.urls import TrackerUrl, parse_tracker_url

T = TypeVar("T")

MAX_REDIRECTS = 3
MAX_OPEN = 256
"""UDP trackers whose socket is kept open; beyond, the one that was used longest ago is closed."""

MAX_LOCAL = 16
"""External addresses whose local trackers are kept in mind."""

MAX_TRACKER_IDS = 1000
"""Ids that trackers asked to have back; of more, none is kept."""

WHOLE_TIMEOUT = 30.0
"""Seconds for an answer over HTTP."""


class TrackersMissing(DhtError):
    """A package that HTTP trackers, or names in the DNS, need: it comes with the extra `trackers`."""


@dataclass(frozen=True, slots=True)
class Asked(Generic[T]):
    """What one address of a tracker said: an answer, or the error in its place; `rtt` is in seconds."""

    url: TrackerUrl
    address: Address
    answer: T | None
    error: TrackerError | None
    rtt: float

    @property
    def outcome(self) -> Outcome:
        """Return how it ended."""
        return Outcome.ANSWERED if self.error is None else self.error.outcome


class Trackers:
    """A client of trackers; to be had from `open_trackers`.

    Every host is asked once in 1.25 s, twice at once, and within the bound of all that this program sends.
    A name whose DNS says where its trackers are is asked there only (BEP 34).  Addresses in special networks
    are refused, unless the URL was typed by the user: then `is_typed`.
    """

    def __init__(
        self, stack: AsyncExitStack, dns: Dns, random: Random, sweep_pace: SweepPace | None = None
    ) -> None:
        self._stack = stack
        self._dns = dns
        self._random = random
        self._pace = HostPace()
        self._http_pace = sweep_pace or self._pace
        self._udp: dict[Address, UdpTracker] = {}
        self._local: dict[str, tuple[LocalTrackers, float]] = {}
        self._tracker_ids: dict[tuple[TrackerUrl, Address, InfoHash], bytes] = {}
        self._http: ModuleType | None = None
        self._http_client: object = None
        self._peer_id = PEER_ID_PREFIX + secrets.token_bytes(12)
        self._key = secrets.randbits(32)

    async def scrape(
        self, url: str | TrackerUrl, info_hashes: Sequence[InfoHash], *, is_typed: bool = False
    ) -> list[Asked[ScrapeAnswer]]:
        """Ask a tracker how large some swarms are, at each family that its name has.

        Returns one entry for each address.  Raises `TrackerError` if there is none to ask.
        """
        wanted = tuple(dict.fromkeys(InfoHash(id_of("info_hashes", each)) for each in info_hashes))

        async def ask(here: TrackerUrl, address: Address) -> ScrapeAnswer:
            if here.scheme == "udp":
                most = MAX_SCRAPED if address.family is Family.IPV4 else MAX_SCRAPED_IPV6
                return await self._in_batches(self._udp_tracker(address).scrape, wanted, most)

            async def scrape_batch(batch: tuple[InfoHash, ...]) -> ScrapeAnswer:
                target = http_messages.scrape_target(here, batch)
                body, _ = await self.fetch(here, target, address, http_messages.MAX_SCRAPE_BYTES, is_typed)
                return http_messages.read_scrape(body, batch)

            return await self._in_batches(scrape_batch, wanted, http_messages.FIRST_BATCH)

        return await self._everywhere(url, ask, is_typed)

    async def find(self, url: TrackerUrl, *, is_typed: bool = False) -> tuple[TrackerUrl, list[Address]]:
        """Return where a tracker is asked: by its DNS (BEP 34), and an address of each family of its name.

        Raises `TrackerError` where there is none to ask.
        """
        places = allowed_urls(url, await self._dns.preferences(url.host))
        if not places:
            raise TrackerError(Outcome.DENIED, f"{url.host} says that no tracker is there")
        return places[0], await addresses_of(places[0], None if is_typed else Scope.PUBLIC, self._dns)

    async def announce(
        self,
        url: str | TrackerUrl,
        info_hash: InfoHash,
        port: int,
        *,
        event: Event = Event.STARTED,
        tracker_id: bytes = b"",
        is_typed: bool = False,
    ) -> list[Asked[AnnounceAnswer]]:
        """Announce to a tracker a peer here that has nothing yet; it hands our address to others.

        Send `Event.STOPPED` when that peer is gone.  A `tracker id` of an answer is sent back.  Returns one
        entry for each address of the tracker.
        """
        swarm = InfoHash(id_of("info_hash", info_hash))
        check_whole("port", port, least=1, most=65535)
        request = AnnounceRequest(swarm, self._peer_id, port, self._key, event)

        async def ask(here: TrackerUrl, address: Address) -> AnnounceAnswer:
            if here.scheme == "udp":
                return await self._udp_tracker(address).announce(request, here.url_data)
            place = here, address, swarm
            again = tracker_id or self._tracker_ids.get(place, b"")
            target = http_messages.announce_target(here, replace(request, tracker_id=again))
            body, _ = await self.fetch(here, target, address, http_messages.MAX_ANNOUNCE_BYTES, is_typed)
            answer = http_messages.read_announce(body)
            if answer.tracker_id and (place in self._tracker_ids or len(self._tracker_ids) < MAX_TRACKER_IDS):
                self._tracker_ids[place] = answer.tracker_id
            return answer

        return await self._everywhere(url, ask, is_typed)

    async def find_local(
        self, external_host: str, is_public_suffix: Callable[[str], bool] | None = None
    ) -> LocalTrackers:
        """Return the trackers that our network announces in the DNS (BEP 22), in the order to try them.

        `external_host` is the address that others see us at.  The owner of its reverse zone learns that it
        was asked.  Takes up to 10 s; what was found is kept as long as its DNS says, a day at most.
        `is_public_suffix` is asked of names of two labels or more; by default it knows the list of Mozilla.
        Raises `InvalidArgument`, and `TrackersMissing` without the packages for it.
        """
        host, now = check_external_host(external_host), trio.current_time()
        if not self._dns.is_known:
            raise TrackersMissing("local trackers need dnspython: install dhtnode[trackers]")
        known, until = self._local.get(host, (None, now))
        if known is not None and now < until:
            await trio.lowlevel.checkpoint()
            return known
        search = LocalSearch(self._dns, self._random, is_public_suffix or public_suffixes())
        await search.run(host)
        found = LocalTrackers(tuple(search.urls), tuple(search.asked))
        if found.urls and (host in self._local or len(self._local) < MAX_LOCAL):
            self._local[host] = found, now + search.seconds
        return found

    async def _everywhere(
        self, text: str | TrackerUrl, ask: Callable[[TrackerUrl, Address], Awaitable[T]], is_typed: bool
    ) -> list[Asked[T]]:
        url = text if isinstance(text, TrackerUrl) else parse_tracker_url(text)
        here, addresses = await self.find(url, is_typed=is_typed)
        asked: dict[Address, Asked[T]] = {}

        async def ask_one(address: Address) -> None:
            begun = trio.current_time()
            answer, error = None, None
            try:
                answer = await ask(here, address)
            except TrackerError as caught:
                error = caught
            asked[address] = Asked(here, address, answer, error, trio.current_time() - begun)

        async with trio.open_nursery() as nursery:
            for address in addresses:
                nursery.start_soon(ask_one, address)
        return [asked[address] for address in addresses]

    async def _in_batches(
        self,
        scrape: Callable[[tuple[InfoHash, ...]], Awaitable[ScrapeAnswer]],
        wanted: tuple[InfoHash, ...],
        most: int,
    ) -> ScrapeAnswer:
        """Ask for some swarms after the others, fewer at once where a tracker takes no more."""
        batches = ScrapeBatches(wanted, most)
        while batch := batches.next_batch():
            try:
                batches.add(batch, await scrape(batch))
            except TrackerError as error:
                if not batches.shrink(batch, error):
                    raise
        return batches.answer()

    def _udp_tracker(self, address: Address) -> UdpTracker:
        tracker = self._udp.pop(address, None) or UdpTracker(address, self._pace)
        self._udp[address] = tracker
        if len(self._udp) > MAX_OPEN:
            oldest = next((each for each, other in self._udp.items() if not other.is_busy), None)
            if oldest is not None:
                self._udp.pop(oldest).close()
        return tracker

    async def fetch(
        self, url: TrackerUrl, target: str, address: Address, most: int, is_typed: bool
    ) -> tuple[bytes, float]:
        """Get an answer over HTTP of so many bytes at most, and return it with the seconds that it took."""
        parts = list[bytes]()

        async def take(part: bytes) -> None:
            parts.append(part)
            await trio.lowlevel.checkpoint()

        seconds = await self.stream(url, target, address, most, is_typed, take)
        return b"".join(parts), seconds

    async def stream(
        self,
        url: TrackerUrl,
        target: str,
        address: Address,
        most: int,
        is_typed: bool,
        take: Callable[[bytes], Awaitable[None]],
        timeout: float = WHOLE_TIMEOUT,
    ) -> float:
        """Get an answer over HTTP, wherever redirects lead, each place checked as the first was.

        Returns how many seconds the last request took.
        """
        http = self._http_module()
        query = target.partition("?")[2]
        for _ in range(1 + MAX_REDIRECTS):
            await self._http_pace.wait_to_connect(address.host)
            begun = trio.current_time()
            try:
                await http.stream(self._http_client, url, target, address, most, take, timeout)
            except http.Redirected as redirected:
                url = redirected.url
                target = url.path if "?" in url.path else f"{url.path}?{query}"
                address = await self._redirected(url, address, is_typed=is_typed)
            else:
                self._http_pace.hear(address.host, over_http=True)
                return trio.current_time() - begun
        raise TrackerError(Outcome.MALFORMED, f"redirected more than {MAX_REDIRECTS} times")

    async def _redirected(self, url: TrackerUrl, source: Address, *, is_typed: bool) -> Address:
        """Return the address of where a tracker sends us, which its DNS must allow, as of any (BEP 34).

        What the user typed may be in a private network, and may lead on in there: but not from outside.
        """
        if url not in allowed_urls(url, await self._dns.preferences(url.host)):
            raise TrackerError(Outcome.DENIED, f"{url.host} says that no tracker is there")
        scope = scope_of(source.host) if is_typed else Scope.PUBLIC
        return (await addresses_of(url, scope, self._dns))[0]

    def prepare_http(self) -> None:
        """Load what HTTP trackers need, which takes 0.4 s once; raises `TrackersMissing`."""
        self._http_module()

    def _http_module(self) -> ModuleType:
        if self._http is None:
            # Not above: UDP does without.
            try:
                from dhtnode.tracker_client import http_tracker
            except ImportError as error:
                raise TrackersMissing("HTTP trackers need httpx2: install dhtnode[trackers]") from error
            client = http_tracker.HttpClient(f"dhtnode/{__version__}")
            self._stack.push_async_callback(client.aclose)
            self._http, self._http_client = http_tracker, client
        return self._http

    def close_sockets(self) -> None:
        """Close what UDP trackers were asked through."""
        for tracker in self._udp.values():
            tracker.close()


@cache
def public_suffixes() -> Callable[[str], bool]:
    """Return what knows of a domain whether it is open to all; raises `TrackersMissing`.  Takes 0.1 s."""
    try:
        from publicsuffixlist import PublicSuffixList
    except ImportError as error:
        raise TrackersMissing("local trackers need publicsuffixlist: install dhtnode[trackers]") from error
    known: Callable[[str], bool] = PublicSuffixList().is_public
    return known


@asynccontextmanager
async def open_trackers(
    *,
    name_servers: Iterable[Address] = (),
    random: Random | None = None,
    sweep_pace: SweepPace | None = None,
) -> AsyncIterator[Trackers]:
    """Open a client of trackers for the length of the block, and leave nothing open behind.

    `name_servers` are asked in place of those of the system; a seeded `random` serves tests.  With
    `sweep_pace`, HTTP trackers are asked at that pace.
    """
    async with AsyncExitStack() as stack:
        dns = Dns(tuple(name_servers))
        trackers = Trackers(stack, dns, random or Random(secrets.randbits(64)), sweep_pace)
        stack.callback(trackers.close_sockets)
        yield trackers
