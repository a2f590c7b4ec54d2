"""Trackers at a public address that lead elsewhere, and traps in the networks where they lead.

    unshare --user --map-root-user --net python -m tests.tracker_client.public_trackers

To be run in a network namespace of its own.  Prints one JSON object: how each request ended, and what
reached the traps.
"""

import json
import socket
import subprocess
from functools import partial
from typing import Any

import click
import trio

from dhtnode import DhtError, InfoHash, open_trackers
from tests.tracker_client.fake_trackers import response

PUBLIC = "44.0.0.1"
TRAPS = ("127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "::1")
PORT = 6969
SWARM = InfoHash(bytes(20))


class Resolver(trio.abc.HostnameResolver):
    """A resolver by which `trap-N.example` is at the trap of that number, and `public.example` is public."""

    async def getaddrinfo(self, host: Any, port: Any, family: int = 0, *_: Any) -> Any:
        name = host if isinstance(host, str) else host.decode()
        found = TRAPS[int(name[5])] if name.startswith("trap-") else PUBLIC
        kind = socket.AF_INET6 if ":" in found else socket.AF_INET
        place = (found, port, 0, 0) if ":" in found else (found, port)
        return [(kind, socket.SOCK_DGRAM, 17, "", place)] if family in (0, kind) else []

    async def getnameinfo(self, *_: Any) -> Any:
        raise NotImplementedError


async def main() -> dict[str, Any]:
    trio.socket.set_custom_hostname_resolver(Resolver())
    trapped: list[str] = []
    locations = [f"http://{f'[{host}]' if ':' in host else host}:{PORT}/announce" for host in TRAPS]
    locations += [f"http://trap-{number}.example:{PORT}/announce" for number in range(len(TRAPS))]
    asked = iter(locations * 2)

    async def redirect(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(response(b"", "302 Found", Location=next(asked)))
        await stream.aclose()

    async def trap(host: str, stream: trio.SocketStream) -> None:
        trapped.append(host)
        await stream.aclose()

    async def trap_packets(host: str) -> None:
        kind = trio.socket.AF_INET6 if ":" in host else trio.socket.AF_INET
        with trio.socket.socket(kind, trio.socket.SOCK_DGRAM) as udp:
            await udp.bind((host, PORT))
            await udp.recvfrom(2048)
            trapped.append(host)

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_tcp, redirect, PORT, host=PUBLIC))
        for host in TRAPS:
            await nursery.start(partial(trio.serve_tcp, partial(trap, host), PORT, host=host))
            nursery.start_soon(trap_packets, host)
        outcomes = await ask(locations)
        nursery.cancel_scope.cancel()
    return {"redirected": outcomes[0], "named": outcomes[1], "trapped": trapped}


async def no_wait(*_: Any) -> None:
    await trio.lowlevel.checkpoint()


async def ask(locations: list[str]) -> tuple[list[str], list[str]]:
    """Ask the public tracker as often as it has places to lead to, typed and not; then those places."""
    redirected, named = list[str](), list[str]()
    async with open_trackers() as trackers:
        # How often a host may be asked is tested elsewhere.
        trackers._pace._wait = no_wait  # type: ignore[method-assign]
        for number in range(2 * len(locations)):
            is_typed = number < len(locations)
            (found,) = await trackers.scrape(
                f"http://public.example:{PORT}/announce", [SWARM], is_typed=is_typed
            )
            redirected.append(str(found.outcome))
        for location in locations:
            for url in (location, location.replace("http:", "udp:"), location.replace("http:", "https:")):
                try:
                    await trackers.scrape(url, [SWARM])
                except DhtError as error:
                    named.append(str(error).partition(":")[0])
    return redirected, named


if __name__ == "__main__":
    for each in (PUBLIC, *TRAPS[1:4]):
        subprocess.run(["ip", "addr", "add", f"{each}/32", "dev", "lo"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    click.echo(json.dumps(trio.run(main)))
