"""`open_gateway`: the tasks and sockets of a gateway on a node, for the length of a block."""

import secrets
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from random import Random

import trio

from dhtnode.api.node import Node
from dhtnode.arguments import check_type
from dhtnode.gateway import GatewayCore, GatewaySettings
from dhtnode.gateway_server.gateway import Gateway
from dhtnode.gateway_server.http_server import serve_http
from dhtnode.gateway_server.udp_server import UdpServer
from dhtnode.net.udp import open_udp_socket
from dhtnode.nurseries import open_service_nursery


@asynccontextmanager
async def open_gateway(
    node: Node, settings: GatewaySettings, *, random: Random | None = None
) -> AsyncIterator[Gateway]:
    """Serve clients that only speak to trackers with peers from the DHT, for the length of the block.

        async with open_node() as node, open_gateway(node, settings) as gateway: ...

    What the settings give an address for is served.  The gateway announces in the DHT only clients whose
    public address is that of the node: nodes store the address that an announce comes from.  A seeded
    `random` serves tests.  Raises `AddressInUse`, `CannotListen` and `InvalidArgument`.
    """
    check_type("settings", settings, GatewaySettings)
    check_type("node", node, Node)
    random = random or Random(secrets.randbits(256))
    core = GatewayCore(settings, random, secrets.token_bytes(32), trio.current_time())
    gateway = Gateway(node, core)
    with ExitStack() as closing:
        sockets = []
        if settings.udp is not None:
            sockets.append(open_udp_socket(settings.udp))
            closing.callback(sockets[0].close)
        async with open_service_nursery() as nursery:
            nursery.start_soon(gateway.keep_looking_up, nursery, name="gateway lookups")
            nursery.start_soon(gateway.keep_sweeping, name="gateway expiry")
            nursery.start_soon(gateway.keep_announcing, nursery, name="gateway announces")
            for socket in sockets:
                server = UdpServer(gateway, socket)
                gateway.listeners.append(("udp", f"udp://{socket.address}/announce"))
                gateway.on_lookup_end.append(server.answer_waiting)
                nursery.start_soon(server.serve, name="gateway udp")
            if settings.http is not None:
                await nursery.start(serve_http, gateway)
            yield gateway
