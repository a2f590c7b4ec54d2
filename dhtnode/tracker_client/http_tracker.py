"""HTTP trackers, asked by httpx2 at an address that was checked (BEP 3, 48).

The connection goes to the address that was found for the name, and to no other: the name is not resolved
again.  Answers are read as they come, and bounded after they are unpacked.
"""

from __future__ import annotations

import logging
import socket
import ssl
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import trio

from dhtnode.addresses import Address
from dhtnode.trackers.messages import Outcome, TrackerError, malformed
from dhtnode.trackers.urls import InvalidTrackerUrl, TrackerUrl, parse_tracker_url

CONNECT_TIMEOUT = 10.0
"""Seconds to connect, and for each part of an answer."""

PIECE = 1 << 18  # bytes unpacked at once

MAX_NAMES = 256
"""Hosts whose connections over TLS are kept; beyond, those of the one used longest ago are closed."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TOO_LONG = frozenset({413, 414, 431})
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


class Redirected(Exception):
    """The answer of a tracker that is somewhere else."""

    def __init__(self, url: TrackerUrl) -> None:
        super().__init__(url)
        self.url = url


class HttpClient:
    """The connections that all requests share; to be closed by `aclose`.

    A transport and no client of httpx2: that one keeps cookies, and logs the whole of each URL.
    """

    def __init__(self, agent: str, *, receive_bytes: int | None = None) -> None:
        """Name ourselves; the system holds `receive_bytes` of a connection that were not read, or its own."""
        self._tls = httpx2.create_ssl_context(trust_env=False)
        self._transports: dict[str, httpx2.AsyncHTTPTransport] = {}
        self._users: Counter[str] = Counter()
        self._headers = {"User-Agent": agent, "Accept-Encoding": "gzip", "Accept": "*/*"}
        self._options = (
            [(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)] if receive_bytes is not None else None
        )
        timeout = httpx2.Timeout(CONNECT_TIMEOUT).as_dict()
        self._extensions: dict[str, Any] = {"timeout": timeout}
        # What it logs for its developers has the headers of redirects.
        logging.getLogger("httpcore2").setLevel(logging.INFO)

    async def aclose(self) -> None:
        """Close all connections."""
        for transport in self._transports.values():
            await transport.aclose()

    @asynccontextmanager
    async def get(
        self, url: TrackerUrl, target: str, address: Address, headers: Mapping[str, str]
    ) -> AsyncIterator[httpx2.Response]:
        """Send a GET, with more headers, and yield the response, whose body has yet to come."""
        request = httpx2.Request(
            "GET",
            f"{url.scheme}://{address}{target}",
            headers={**self._headers, "Host": url.origin, **headers},
            extensions=self._extensions | {"sni_hostname": url.host},
        )
        # A connection is kept for its address, and was verified for one name.
        name = url.host if url.scheme == "https" else ""
        transport = await self._transport(name)
        self._users[name] += 1
        try:
            response = await transport.handle_async_request(request)
            response.request = request
            try:
                yield response
            finally:
                await response.aclose()
        finally:
            self._users[name] -= 1

    async def _transport(self, name: str) -> httpx2.AsyncHTTPTransport:
        transport = self._transports.pop(name, None)
        if transport is None:
            transport = httpx2.AsyncHTTPTransport(
                verify=self._tls, trust_env=False, socket_options=self._options
            )
        self._transports[name] = transport
        idle = [each for each in self._transports if each != name and not self._users[each]]
        if len(self._transports) > MAX_NAMES and idle:
            del self._users[idle[0]]
            await self._transports.pop(idle[0]).aclose()
        return transport


async def stream(
    client: HttpClient,
    url: TrackerUrl,
    target: str,
    address: Address,
    most: int,
    take: Callable[[bytes], Awaitable[None]],
    timeout: float,
) -> None:
    """Have `take` awaited with the body of the answer to a GET, part by part, unpacked.

    The body has `most` bytes at most, and takes `timeout` seconds.  Raises `TrackerError`, or `Redirected`
    for an answer that leads elsewhere.
    """
    async with open_response(client, url, target, address, timeout) as response:
        _check_status(response, url)
        await _read_body(response, most, take)


@asynccontextmanager
async def open_response(
    client: HttpClient,
    url: TrackerUrl,
    target: str,
    address: Address,
    timeout: float,
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[httpx2.Response]:
    """Send a GET for a target to an address of a URL, and yield the answer, of which the head was read.

    Raises `TrackerError`, also for what the body raises of httpx2, or after the seconds of the timeout.
    """
    try:
        with trio.fail_after(timeout):
            async with client.get(url, target, address, headers or {}) as response:
                yield response
    except trio.TooSlowError as error:
        raise TrackerError(Outcome.SILENT) from error
    except httpx2.TimeoutException as error:
        raise TrackerError(Outcome.SILENT) from error
    except httpx2.ConnectError as error:
        raise TrackerError(*_reason_of(error)) from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise malformed(str(error) or type(error).__name__) from error


def check_redirect(response: httpx2.Response, url: TrackerUrl) -> None:
    """Raise `Redirected` if an answer leads elsewhere, or `TrackerError` where that is nowhere to go."""
    if response.status_code in _REDIRECTS and "location" in response.headers:
        raise Redirected(_target_of(response.headers["location"], url))


def _check_status(response: httpx2.Response, url: TrackerUrl) -> None:
    check_redirect(response, url)
    status = response.status_code
    if status in _TOO_LONG:
        raise TrackerError(Outcome.TOO_LONG, f"status {status}")
    if status != 200:
        raise TrackerError(Outcome.HTTP, f"status {status}")


def _target_of(location: str, url: TrackerUrl) -> TrackerUrl:
    """Return where a redirect leads: never from https to http."""
    try:
        there = parse_tracker_url(str(httpx2.URL(str(url)).join(location)))
    except (InvalidTrackerUrl, httpx2.InvalidURL) as error:
        raise malformed("redirected to what is no URL") from error
    if there.scheme == "udp" or (url.scheme == "https" and there.scheme != "https"):
        raise malformed(f"redirected to {there.scheme}")
    return there


async def _read_body(response: httpx2.Response, most: int, take: Callable[[bytes], Awaitable[None]]) -> None:
    packing = response.headers.get("content-encoding", "").strip().lower()
    if packing not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise malformed(f"packed as {packing[:20]}")
    left, reader = most, zlib.decompressobj(_GZIP_OR_ZLIB)
    failure: TrackerError | None = None
    try:
        async for part in response.aiter_raw():
            try:
                for whole in [part] if packing in ("", "identity") else _unpacked(reader, part):
                    left -= len(whole)
                    if left < 0:
                        raise malformed(f"more than {most} bytes")
                    await take(whole)
            except TrackerError as error:
                # Closed first: a generator of httpx2 that is left before its end is never closed.
                failure = error
                await response.aclose()
    except (httpx2.HTTPError, httpx2.StreamError):
        if failure is None:
            raise
    if failure is not None:
        raise failure


def _unpacked(reader: zlib._Decompress, part: bytes) -> Iterator[bytes]:
    """Yield what a part of a packed body holds, piece by piece: it may be a thousand times as long."""
    try:
        while part:
            yield reader.decompress(part, PIECE)
            part = reader.unconsumed_tail
    except zlib.error as error:
        raise malformed("not packed as it says") from error


def _reason_of(error: BaseException) -> tuple[Outcome, str]:
    """Return whether a connection failed for its certificate, or was not made at all."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return Outcome.TLS, getattr(cause, "verify_message", "") or str(cause)
        cause = cause.__cause__ or cause.__context__
    return Outcome.UNREACHABLE, str(error)
