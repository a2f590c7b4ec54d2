"""The HTTP tracker of the gateway: an ASGI application, served by hypercorn."""

import ssl
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeAlias

import trio

from dhtnode.addresses import Address
from dhtnode.errors import CannotListen
from dhtnode.gateway.clients import is_in
from dhtnode.gateway.http_messages import MAX_SCRAPED, HttpQuery, write_announce, write_refusal, write_scrape
from dhtnode.gateway.refusals import Refusal, RefusalKind
from dhtnode.gateway_server.gateway import Gateway
from dhtnode.net.binding import listen_on

Send: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[None]]
Receive: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]

_HEADERS = [(b"content-type", b"text/plain")]


class HttpTracker:
    """The application: announces and scrapes under any prefix."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request; failures have status 200, for clients read nothing else."""
        if scope["type"] == "lifespan":
            for stage in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{stage}.complete"})
        if scope["type"] != "http":
            return
        name = scope["path"].rpartition("/")[2]
        if name not in ("announce", "scrape"):
            await _respond(send, 404, b"only announce and scrape are here\n")
        elif scope["method"] not in ("GET", "HEAD"):
            await _respond(send, 405, b"only GET\n")
        else:
            await _respond(send, 200, await self._answer(name, scope))

    async def _answer(self, name: str, scope: Mapping[str, Any]) -> bytes:
        try:
            host, query = self._client(scope), HttpQuery(scope["query_string"])
            return await (self._announce if name == "announce" else self._scrape)(query, host)
        except Refusal as refusal:
            return write_refusal(refusal)

    async def _announce(self, query: HttpQuery, host: str) -> bytes:
        request = query.announce()
        answer = await self._gateway.announce(request, host)
        with_peers6 = self._gateway.has_both_families or any(":" in peer.host for peer in answer.peers)

        def peer_id(peer: Address) -> bytes | None:
            return self._gateway.peer_id(request.info_hash, peer)

        return write_announce(answer, query, peer_id, with_peers6=with_peers6)

    async def _scrape(self, query: HttpQuery, host: str) -> bytes:
        await trio.lowlevel.checkpoint()
        return write_scrape(self._gateway.scrape(query.info_hashes[:MAX_SCRAPED], host))

    def _client(self, scope: Mapping[str, Any]) -> str:
        """Return the address of the client, or what a proxy says of it that we are to believe."""
        host = str(scope["client"][0]) if scope.get("client") else ""
        told = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        if not told:
            return host
        # Else all clients of a proxy that was not named would be on loopback, and be announced.
        if not _is_address(host) or not is_in(host, self._gateway.settings.proxies):
            raise Refusal(RefusalKind.NOT_ALLOWED, "this proxy is not known here")
        return str(told[-1].decode("latin-1").rpartition(",")[2].strip())


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


async def _respond(send: Send, status: int, body: bytes) -> None:
    headers = [*_HEADERS, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def serve_http(
    gateway: Gateway, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve HTTP at the address of the settings, until cancelled."""
    # An extra, and slow to import.
    from hypercorn.config import Config
    from hypercorn.trio import serve

    config, settings = Config(), gateway.settings
    assert settings.http is not None  # noqa: S101  for mypy
    config.accesslog = config.errorlog = None
    config.loglevel = "CRITICAL"
    if settings.tls is not None:
        _check_certificate(*settings.tls)
        config.certfile, config.keyfile = map(str, settings.tls)
    # Bound here, so that a failure is told as for all other sockets.
    bound = listen_on(settings.http, config.backlog)
    host, port = bound.getsockname()[:2]
    scheme = "http" if settings.tls is None else "https"
    config.bind = [f"fd://{bound.detach()}"]
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, HttpTracker(gateway), config)
        gateway.listeners.append(("http", f"{scheme}://{Address(host, port)}/announce"))
        task_status.started()


def _check_certificate(certificate: Path, key: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except OSError as error:  # that of TLS is one, too
        reason = error.strerror or str(error)
        raise CannotListen(f"cannot use certificate {certificate} and key {key}: {reason}") from error
