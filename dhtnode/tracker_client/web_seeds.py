"""Web seeds asked over HTTP whether they have what a torrent is of (BEP 17, 19)."""

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha1
from types import ModuleType
from typing import Any, TypeAlias

import trio

from dhtnode import __version__
from dhtnode.addresses import Address, Scope, scope_of
from dhtnode.torrents import WebSeedKind, WebSeedOutcome, WebSeedRequest, judge, pause_asked
from dhtnode.tracker_client.client import MAX_REDIRECTS, TrackersMissing
from dhtnode.tracker_client.names import addresses_of
from dhtnode.tracker_client.pace import MAX_HOSTS, HostPace
from dhtnode.trackers import InvalidTrackerUrl, Outcome, TrackerError, TrackerUrl, parse_tracker_url

TIMEOUT = 20.0
"""Seconds for one answer."""

MAX_PAUSE_BYTES = 32
"""Bytes of the body of BEP 17 that tells how long to wait."""

Excluded: TypeAlias = Callable[[str, Address], bool]
"""Whether a host is to be left alone, by its name and its address."""

PAUSE = 10.0
"""Seconds from one request to a host to the next, but for hosts on loopback."""

BUFFER = 8192
"""Bytes of an answer that the system holds before we read on; it takes some more."""

_OUTCOMES = {
    Outcome.SILENT: WebSeedOutcome.SILENT,
    Outcome.NOT_PUBLIC: WebSeedOutcome.NOT_PUBLIC,
    Outcome.NO_SUCH_NAME: WebSeedOutcome.NO_SUCH_NAME,
    Outcome.UNREACHABLE: WebSeedOutcome.UNREACHABLE,
    Outcome.TLS: WebSeedOutcome.TLS,
}


@dataclass(frozen=True, slots=True)
class WebSeedCheck:
    """What became of asking one web seed: `seconds` it took, `received` bytes of the body that were read.

    `length_ok` and `hash_ok` say whether the length of the file and the hash of a piece are right; None where
    that was not found out.  `retry_after` are the seconds for which it wants to be left alone.
    """

    request: WebSeedRequest
    outcome: WebSeedOutcome
    reason: str
    status: int | None
    seconds: float
    received: int
    length_ok: bool | None = None
    hash_ok: bool | None = None
    retry_after: float | None = None


class WebSeeds:
    """A client of web seeds; to be had from `open_web_seeds`.

    A host has one connection at a time, and one request in ten seconds, redirects included, within the bound
    of all that this program sends.
    """

    def __init__(
        self, http: ModuleType, client: Any, excludes: Excluded, wall_clock: Callable[[], float]
    ) -> None:
        self._http = http
        self._client = client
        self._excludes = excludes
        self._wall_clock = wall_clock
        self._pace = HostPace()
        self._turns: dict[str, trio.Lock] = {}
        self._ready_at: OrderedDict[str, float] = OrderedDict()

    async def check(self, request: WebSeedRequest, *, is_local: bool = False) -> WebSeedCheck:
        """Ask a web seed for the bytes of a request, and return what it makes of it; raises nothing.

        No more than these are read, 64 KiB where the server sends more than it says.  Addresses in special
        networks are asked only if `is_local`, also after a redirect: the URL is a stranger's.
        """
        begun = trio.current_time()
        answer = _Answer(request, self._wall_clock())
        try:
            await self._ask(answer, parse_tracker_url(request.url), None if is_local else Scope.PUBLIC)
        except InvalidTrackerUrl as error:
            answer.fail(WebSeedOutcome.BAD_URL, str(error))
        except _Excluded:
            answer.fail(WebSeedOutcome.NOT_ASKED, "excluded")
        except TrackerError as error:
            answer.fail(_OUTCOMES.get(error.outcome, WebSeedOutcome.MALFORMED), error.reason)
        return WebSeedCheck(
            request,
            answer.outcome,
            answer.reason,
            answer.status,
            trio.current_time() - begun,
            answer.received,
            answer.length_ok,
            answer.hash_ok,
            answer.retry_after,
        )

    async def _ask(self, answer: "_Answer", url: TrackerUrl, scope: Scope | None) -> None:
        if url.scheme == "udp":
            raise InvalidTrackerUrl("no HTTP")
        for _ in range(1 + MAX_REDIRECTS):
            (address, *_) = await addresses_of(url, scope)
            if self._excludes(url.host, address):
                raise _Excluded
            async with self._turn(address.host):
                try:
                    async with self._http.open_response(
                        self._client, url, url.path, address, TIMEOUT, answer.headers
                    ) as response:
                        self._http.check_redirect(response, url)
                        self._pace.hear(address.host, over_http=True)
                        await answer.read(response)
                        return
                except self._http.Redirected as redirected:
                    url = redirected.url
        raise TrackerError(Outcome.MALFORMED, f"redirected more than {MAX_REDIRECTS} times")

    @asynccontextmanager
    async def _turn(self, host: str) -> AsyncIterator[None]:
        """Have a host to ourselves, once its pause is over."""
        turn = self._turns.setdefault(host, trio.Lock())
        try:
            async with turn:
                if scope_of(host) is not Scope.LOOPBACK:
                    await trio.sleep_until(self._ready_at.get(host, 0.0))
                await self._pace.wait_to_connect(host)
                try:
                    yield
                finally:
                    self._ready_at[host] = trio.current_time() + PAUSE
                    self._ready_at.move_to_end(host)
                    if len(self._ready_at) > MAX_HOSTS:
                        self._ready_at.popitem(last=False)
        finally:
            if not turn.locked():
                self._turns.pop(host, None)


class _Excluded(Exception):
    """What ends a check of a host that is to be left alone."""


class _Answer:
    """The answer to one request, as far as it has come."""

    def __init__(self, request: WebSeedRequest, now: float) -> None:
        self.request = request
        self._now = now
        self.headers = {"Accept-Encoding": "identity"}
        if request.first is not None:
            self.headers["Range"] = f"bytes={request.first}-{request.last}"
        self.outcome, self.reason = WebSeedOutcome.MALFORMED, ""
        self.status: int | None = None
        self.received = 0
        self.length_ok: bool | None = None
        self.hash_ok: bool | None = None
        self.retry_after: float | None = None

    def fail(self, outcome: WebSeedOutcome, reason: str) -> None:
        self.outcome, self.reason = outcome, reason

    async def read(self, response: Any) -> None:
        """Judge the head, and read the bytes that were asked for, if it promises these."""
        self.status = response.status_code
        headers = {name.lower(): value for name, value in response.headers.items()}
        self.outcome = judge(self.request, response.status_code, headers)
        if self.outcome is not WebSeedOutcome.ALIVE:
            self.reason = f"status {self.status}"
            self._note_length("content-length" in headers)
            if self.outcome is WebSeedOutcome.LATER:
                await self._read_pause(response, headers.get("retry-after"))
            return
        body = await _read_body(response, self.request.wanted)
        self.received = len(body)
        if self.received < self.request.wanted:
            self.fail(WebSeedOutcome.MALFORMED, f"{self.received} of {self.request.wanted} bytes came")
            return
        self._note_length(self.request.first is not None)
        if self.request.sha1 is not None:
            self.hash_ok = sha1(body[: self.request.wanted]).digest() == self.request.sha1  # noqa: S324  BEP 3
            if not self.hash_ok:
                self.fail(WebSeedOutcome.HASH_WRONG, "the piece has another hash")

    def _note_length(self, is_told: bool) -> None:
        if self.outcome is WebSeedOutcome.WRONG_LENGTH:
            self.length_ok = False
        elif self.outcome.is_alive and self.outcome is not WebSeedOutcome.LATER and is_told:
            self.length_ok = self.request.total is not None or None

    async def _read_pause(self, response: Any, told: str | None) -> None:
        """Read for how long to leave it alone: in the head, or in the body of an answer of BEP 17."""
        if told is None and self.request.kind is WebSeedKind.PIECES:
            body = await _read_body(response, MAX_PAUSE_BYTES)
            self.received, told = len(body), body[:MAX_PAUSE_BYTES].decode("latin-1")
        self.retry_after = None if told is None else pause_asked(told, self._now)


async def _read_body(response: Any, wanted: int) -> bytes:
    """Return the start of a body: as much as is wanted, if it comes, and what came with it."""
    body = bytearray()
    # Cancelled, and not left: httpx2 reads by generators in one another, which must end as well.
    with trio.CancelScope() as scope:
        async for part in response.aiter_raw():
            body += part
            if len(body) >= wanted:
                scope.cancel()
    return bytes(body)


@asynccontextmanager
async def open_web_seeds(
    excludes: Excluded = lambda *_: False, wall_clock: Callable[[], float] = time.time
) -> AsyncIterator[WebSeeds]:
    """Open a client of web seeds for the length of the block; raises `TrackersMissing` without httpx2.

    Hosts of which `excludes` returns True, for the name and the address, are left alone.
    """
    try:
        # Not above: it takes 0.4 s, and is an extra.
        from dhtnode.tracker_client import http_tracker
    except ImportError as error:
        raise TrackersMissing("web seeds need httpx2: install dhtnode[trackers]") from error
    client = http_tracker.HttpClient(f"dhtnode/{__version__}", receive_bytes=BUFFER)
    try:
        yield WebSeeds(http_tracker, client, excludes, wall_clock)
    finally:
        await client.aclose()
