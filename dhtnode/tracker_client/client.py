"""`open_trackers`: ask trackers for swarms, politely, over UDP and HTTP."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random
from types import ModuleType
from typing import Generic, TypeVar

import trio

from dhtnode import __version__
from dhtnode.addresses import Address, Scope
from dhtnode.arguments import check_whole, id_of
from dhtnode.errors import DhtError
from dhtnode.ids import InfoHash
from dhtnode.tracker_client.names import Dns, addresses_of
from dhtnode.tracker_client.pace import HostPace
from dhtnode.tracker_client.udp_tracker import UdpTracker
from dhtnode.trackers import http_messages
from dhtnode.trackers.batches import ScrapeBatches
from dhtnode.trackers.dns_preferences import allowed_urls
from dhtnode.trackers.local_trackers import SrvRecord, in_order, reverse_name, service_names
from dhtnode.trackers.messages import (
    PEER_ID_PREFIX,
    AnnounceAnswer,
    AnnounceRequest,
    Event,
    Outcome,
    ScrapeAnswer,
    TrackerError,
)
from dhtnode.trackers.udp_packets import MAX_SCRAPED
from dhtnode.trackers.urls import TrackerUrl, parse_tracker_url

T = TypeVar("T")

MAX_REDIRECTS = 3
MAX_OPEN = 256
"""UDP trackers whose socket is kept open; beyond, the one that was used longest ago is closed."""

LOCAL_TIMEOUT = 10.0
"""Seconds for all questions about a local tracker."""


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

    def __init__(self, stack: AsyncExitStack, dns: Dns, random: Random) -> None:
        self._stack = stack
        self._dns = dns
        self._random = random
        self._pace = HostPace()
        self._udp: dict[Address, UdpTracker] = {}
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
                return await self._in_batches(self._udp_tracker(address).scrape, wanted, MAX_SCRAPED)

            async def scrape_batch(batch: tuple[InfoHash, ...]) -> ScrapeAnswer:
                target = http_messages.scrape_target(here, batch)
                body = await self._fetch(here, target, address, http_messages.MAX_SCRAPE_BYTES, is_typed)
                return http_messages.read_scrape(body, batch)

            return await self._in_batches(scrape_batch, wanted, http_messages.FIRST_BATCH)

        return await self._everywhere(url, ask, is_typed)

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

        Send `Event.STOPPED` when that peer is gone.  Returns one entry for each address of the tracker.
        """
        swarm = InfoHash(id_of("info_hash", info_hash))
        check_whole("port", port, least=1, most=65535)
        request = AnnounceRequest(swarm, self._peer_id, port, self._key, event, tracker_id=tracker_id)

        async def ask(here: TrackerUrl, address: Address) -> AnnounceAnswer:
            if here.scheme == "udp":
                return await self._udp_tracker(address).announce(request, here.url_data)
            target = http_messages.announce_target(here, request)
            body = await self._fetch(here, target, address, http_messages.MAX_ANNOUNCE_BYTES, is_typed)
            return http_messages.read_announce(body)

        return await self._everywhere(url, ask, is_typed)

    async def find_local(
        self, external_host: str, is_public_suffix: Callable[[str], bool]
    ) -> list[TrackerUrl]:
        """Return the trackers that our network announces in the DNS (BEP 22), in the order to try them.

        `external_host` is the address that others see us at.  The owner of its reverse zone learns that it
        was asked.  Takes up to 10 s.
        """
        found = list[SrvRecord]()
        with trio.move_on_after(LOCAL_TIMEOUT):
            name = await self._dns.name_of(reverse_name(external_host))
            for service in service_names(name or "", is_public_suffix):
                found = in_order(await self._dns.services(service), self._random)
                if found:
                    break
        return [parse_tracker_url(f"http://{each.target.rstrip('.')}:{each.port}/announce") for each in found]

    async def _everywhere(
        self, text: str | TrackerUrl, ask: Callable[[TrackerUrl, Address], Awaitable[T]], is_typed: bool
    ) -> list[Asked[T]]:
        url = text if isinstance(text, TrackerUrl) else parse_tracker_url(text)
        places = allowed_urls(url, await self._dns.preferences(url.host))
        if not places:
            raise TrackerError(Outcome.DENIED, f"{url.host} says that no tracker is there")
        here = places[0]
        addresses = await addresses_of(here, None if is_typed else Scope.PUBLIC)
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

    async def _fetch(
        self, url: TrackerUrl, target: str, address: Address, most: int, is_typed: bool
    ) -> bytes:
        """Get an answer over HTTP, wherever redirects lead, each place checked as the first was."""
        http = self._http_module()
        query = target.partition("?")[2]
        for _ in range(1 + MAX_REDIRECTS):
            await self._pace.wait_to_connect(address.host)
            try:
                body: bytes = await http.fetch(self._http_client, url, target, address, most)
            except http.Redirected as redirected:
                url = redirected.url
                target = url.path if "?" in url.path else f"{url.path}?{query}"
                (address, *_) = await addresses_of(url, None if is_typed else Scope.PUBLIC)
            else:
                self._pace.hear(address.host, over_http=True)
                return body
        raise TrackerError(Outcome.MALFORMED, f"redirected more than {MAX_REDIRECTS} times")

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


@asynccontextmanager
async def open_trackers(
    *, name_servers: Iterable[Address] = (), random: Random | None = None
) -> AsyncIterator[Trackers]:
    """Open a client of trackers for the length of the block, and leave nothing open behind.

    `name_servers` are asked in place of those of the system; a seeded `random` serves tests.
    """
    async with AsyncExitStack() as stack:
        trackers = Trackers(stack, Dns(tuple(name_servers)), random or Random(secrets.randbits(64)))
        stack.callback(trackers.close_sockets)
        yield trackers
