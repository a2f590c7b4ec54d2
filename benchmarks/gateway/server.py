"""A gateway with its limits lifted, in a process of its own on 127.0.0.1.

    python -m benchmarks.gateway.server

It says its port in one JSON line, and ends when its standard input closes.
"""

import json
import sys

import trio

from dhtnode import Address, open_node
from dhtnode.gateway import GatewaySettings
from dhtnode.gateway_server import Gateway, open_gateway
from dhtnode.net import NodeClock

_LIFTED = 1e12
_SETTINGS = GatewaySettings(
    udp=Address("127.0.0.1", 0),
    rate=_LIFTED,
    burst=_LIFTED,
    lookup_rate=_LIFTED,
    wait=0.1,
    # No lookup is made while the requests are counted: they are answered from the clients alone.
    empty_for=3600.0,
    fresh_for=3600.0,
    refresh_after=1e9,
    max_swarms_per_host=1_000_000,
    max_clients_per_host=1_000_000,
    max_peers_per_network=1_000_000,
)


async def _announce_no_one(_gateway: Gateway, _nursery: trio.Nursery) -> None:
    await trio.sleep_forever()


async def main() -> None:
    """Serve until standard input closes."""
    # All clients of a benchmark are on this machine, so each would be announced in the DHT.
    Gateway.keep_announcing = _announce_no_one  # type: ignore[method-assign]
    async with (
        open_node(listen=["127.0.0.1:0"], well_known=False) as node,
        open_gateway(node, _SETTINGS) as gateway,
    ):
        print(json.dumps({"url": gateway.listeners[0][1]}), flush=True)
        await trio.lowlevel.wait_readable(sys.stdin)


if __name__ == "__main__":
    trio.run(main, clock=NodeClock())
