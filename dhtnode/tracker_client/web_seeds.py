"""Web seeds asked over HTTP whether they have what a torrent is of (BEP 17, 19)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import trio

from dhtnode import __version__
from dhtnode.addresses import Scope
from dhtnode.torrents import WebSeedOutcome, WebSeedRequest, judge
from dhtnode.tracker_client.client import MAX_REDIRECTS, TrackersMissing
from dhtnode.tracker_client.names import addresses_of
from dhtnode.tracker_client.pace import HostPace
from dhtnode.trackers import InvalidTrackerUrl, Outcome, TrackerError, TrackerUrl, parse_tracker_url

TIMEOUT = 20.0
"""Seconds for one answer."""

_OUTCOMES = {
    Outcome.SILENT: WebSeedOutcome.SILENT,
    Outcome.NOT_PUBLIC: WebSeedOutcome.NOT_PUBLIC,
    Outcome.NO_SUCH_NAME: WebSeedOutcome.NO_SUCH_NAME,
    Outcome.UNREACHABLE: WebSeedOutcome.UNREACHABLE,
    Outcome.TLS: WebSeedOutcome.TLS,
}


@dataclass(frozen=True, slots=True)
class WebSeedCheck:
    """What became of asking one web seed: `seconds` it took, `received` bytes of the body that were read."""

    request: WebSeedRequest
    outcome: WebSeedOutcome
    reason: str
    status: int | None
    seconds: float
    received: int


class WebSeeds:
    """A client of web seeds; to be had from `open_web_seeds`.

    A host has one connection at a time, in the pace of trackers: of a host that has not answered yet, that is
    one connection in ten seconds.
    """

    def __init__(self, http: ModuleType, client: Any) -> None:
        self._http = http
        self._client = client
        self._pace = HostPace()
        self._hosts: dict[str, trio.Lock] = {}

    async def check(self, request: WebSeedRequest, *, is_local: bool = False) -> WebSeedCheck:
        """Ask a web seed for the bytes of a request, and return what it makes of it; raises nothing.

        At most 16 KiB are read.  Addresses in special networks are asked only if `is_local`, also after a
        redirect: the URL is a stranger's.
        """
        begun = trio.current_time()
        answer = _Answer(request)
        try:
            await self._ask(answer, parse_tracker_url(request.url), None if is_local else Scope.PUBLIC)
        except InvalidTrackerUrl as error:
            answer.fail(WebSeedOutcome.BAD_URL, str(error))
        except TrackerError as error:
            answer.fail(_OUTCOMES.get(error.outcome, WebSeedOutcome.MALFORMED), error.reason)
        return WebSeedCheck(
            request,
            answer.outcome,
            answer.reason,
            answer.status,
            trio.current_time() - begun,
            answer.received,
        )

    async def _ask(self, answer: "_Answer", url: TrackerUrl, scope: Scope | None) -> None:
        if url.scheme == "udp":
            raise InvalidTrackerUrl("no HTTP")
        for _ in range(1 + MAX_REDIRECTS):
            (address, *_) = await addresses_of(url, scope)
            async with self._hosts.setdefault(address.host, trio.Lock()):
                await self._pace.wait_to_connect(address.host)
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


class _Answer:
    """The answer to one request, as far as it has come."""

    def __init__(self, request: WebSeedRequest) -> None:
        self.request = request
        self.headers = {"Accept-Encoding": "identity"}
        if request.first is not None:
            self.headers["Range"] = f"bytes={request.first}-{request.last}"
        self.outcome, self.reason = WebSeedOutcome.MALFORMED, ""
        self.status: int | None = None
        self.received = 0

    def fail(self, outcome: WebSeedOutcome, reason: str) -> None:
        self.outcome, self.reason = outcome, reason

    async def read(self, response: Any) -> None:
        """Judge the head, and read the bytes that were asked for, if it promises these."""
        self.status = response.status_code
        headers = {name.lower(): value for name, value in response.headers.items()}
        self.outcome = judge(self.request, response.status_code, headers)
        if self.outcome is not WebSeedOutcome.ALIVE:
            self.reason = f"status {self.status}"
            return
        # Cancelled, and not left: httpx2 reads by generators in one another, which must end as well.
        with trio.CancelScope() as scope:
            async for part in response.aiter_raw():
                self.received += len(part)
                if self.received > self.request.wanted:
                    scope.cancel()
        if self.received < self.request.wanted:
            self.fail(WebSeedOutcome.MALFORMED, f"{self.received} of {self.request.wanted} bytes came")


@asynccontextmanager
async def open_web_seeds() -> AsyncIterator[WebSeeds]:
    """Open a client of web seeds for the length of the block; raises `TrackersMissing` without httpx2."""
    try:
        # Not above: it takes 0.4 s, and is an extra.
        from dhtnode.tracker_client import http_tracker
    except ImportError as error:
        raise TrackersMissing("web seeds need httpx2: install dhtnode[trackers]") from error
    client = http_tracker.HttpClient(f"dhtnode/{__version__}")
    try:
        yield WebSeeds(http_tracker, client)
    finally:
        await client.aclose()
