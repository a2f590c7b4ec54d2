"""The HTTP tracker of the gateway, asked as an ASGI application and by our own client."""

import socket
from dataclasses import replace
from ipaddress import ip_network
from urllib.parse import quote_from_bytes

import bencode2
import pytest

from dhtnode import Address, open_trackers, parse_tracker_url
from dhtnode.errors import AddressInUse, CannotListen
from dhtnode.gateway import GatewaySettings
from dhtnode.gateway_server import open_gateway
from dhtnode.gateway_server.http_server import HttpTracker
from dhtnode.trackers import SwarmCounts
from tests.gateway.test_gateway import SETTINGS, gateway_in
from tests.gateway_cores import LAN, LOOPBACK, NEIGHBOUR, STRANGER, SWARM, request

ID = quote_from_bytes(b"-XX0001-abcdefghijkl")
HASH = quote_from_bytes(SWARM)


async def ask(gateway, path, client=LAN, method="GET", headers=()):
    """Return the status and the body of an answer."""
    sent = []

    async def send(message):
        sent.append(message)

    path, _, query = path.partition("?")
    scope = {"type": "http", "path": path, "query_string": query.encode(), "method": method}
    await HttpTracker(gateway)({**scope, "client": (client, 5), "headers": list(headers)}, None, send)
    return sent[0]["status"], sent[1]["body"]


async def announce(gateway, more="", client=LAN, **how):
    path = f"/announce?info_hash={HASH}&peer_id={ID}&port=6881&left=9{more}"
    status, body = await ask(gateway, path, client, **how)
    assert status == 200
    return bencode2.bdecode(body)


async def test_announce_and_scrape(new_network, autojump_clock):
    network = new_network(21)
    async with network.open_nodes(12) as nodes, gateway_in(network, nodes) as gateway:
        await nodes[3].announce(SWARM, 4000)
        await gateway.announce(request(port=5), NEIGHBOUR)
        compact = await announce(gateway, "&ip=1.2.3.4&numwant=10")
        full = await announce(gateway, "&compact=0")
        short = await announce(gateway, "&compact=0&no_peer_id=1")
        _, scraped = await ask(gateway, f"/any/prefix/scrape?info_hash={HASH}")

    own = bytes((192, 168, 1, 6, 0, 5))
    found = bytes((*map(int, network.host(3).split(".")), 15, 160))
    assert compact[b"peers"] == own + found
    assert (compact[b"interval"], compact[b"min interval"]) == (1800, 900)
    assert compact[b"external ip"] == bytes((192, 168, 1, 5))
    assert full[b"peers"][0] == {b"ip": NEIGHBOUR.encode(), b"port": 5, b"peer id": request().peer_id}
    assert set(full[b"peers"][1]) == set(short[b"peers"][0]) == {b"ip", b"port"}
    counts = bencode2.bdecode(scraped)[b"files"][SWARM]
    assert counts[b"downloaders"] == counts[b"incomplete"] >= 2


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/", "GET", 404), ("/announce/x", "GET", 404), ("/announce", "POST", 405), ("/announce", "GET", 200)],
)
async def test_what_is_no_request_of_a_client_has_a_status(new_network, autojump_clock, path, method, status):
    network = new_network(22)
    async with network.open_nodes(2) as nodes, gateway_in(network, nodes) as gateway:
        assert (await ask(gateway, path, method=method))[0] == status


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/announce", b"an announce has one info_hash"),
        ("/announce?info_hash=short", b"an info_hash has 20 bytes"),
        (f"/announce?info_hash={HASH}&peer_id={ID}", b"no port"),
        (f"/announce?info_hash={HASH}&peer_id=x&port=1", b"a peer id has 20 bytes"),
        (f"/announce?info_hash={HASH}&peer_id={ID}&port=x", b"port is no number"),
        ("/scrape?" + "x" * 20_000, b"the query is too long"),
    ],
)
async def test_bad_request_is_told_why(new_network, autojump_clock, path, reason):
    network = new_network(23)
    async with network.open_nodes(2) as nodes, gateway_in(network, nodes) as gateway:
        assert bencode2.bdecode((await ask(gateway, path))[1]) == {b"failure reason": reason}


async def test_refusals_say_when_to_come_again(new_network, autojump_clock):
    network = new_network(24)
    settings = GatewaySettings(burst=1.0)
    async with network.open_nodes(2) as nodes, gateway_in(network, nodes, settings) as gateway:
        assert (await announce(gateway, client=STRANGER))[b"retry in"] == b"never"
        await announce(gateway, "&numwant=0")
        assert (await announce(gateway))[b"retry in"] == 1


async def test_only_a_proxy_that_is_named_is_believed(new_network, autojump_clock):
    network = new_network(25)
    forwarded = [(b"x-forwarded-for", b"1.2.3.4, 192.168.1.77")]
    async with network.open_nodes(2) as nodes, gateway_in(network, nodes) as gateway:
        refused = await announce(gateway, client=LOOPBACK, headers=forwarded)
        assert refused[b"failure reason"] == b"this proxy is not known here"
        assert gateway.statistics().peers == 0
    settings = replace(SETTINGS, proxies=(ip_network("127.0.0.0/8"),))
    async with network.open_nodes(2) as nodes, gateway_in(network, nodes, settings) as gateway:
        told = await announce(gateway, client=LOOPBACK, headers=forwarded)
        assert told[b"external ip"] == bytes((192, 168, 1, 77))


async def test_our_own_client_reads_what_is_served():
    pytest.importorskip("hypercorn", reason="the extra `gateway` is not installed")
    from dhtnode.testing import open_testnet

    settings = GatewaySettings(http=Address("127.0.0.1", 0))
    async with open_testnet(8) as testnet:
        testnet.place_swarm(SWARM, 3, 4)
        node = testnet.nodes[0]
        async with open_gateway(node, settings) as gateway, open_trackers() as trackers:
            ((protocol, url),) = gateway.listeners
            (asked,) = await trackers.announce(parse_tracker_url(url), SWARM, 7777, is_typed=True)
            assert (protocol, len(asked.answer.peers)) == ("http", 7)
            (asked,) = await trackers.scrape(parse_tracker_url(url), [SWARM], is_typed=True)
            assert isinstance(asked.answer.counts[SWARM], SwarmCounts)


async def test_address_or_certificate_that_cannot_be_used_is_told(new_network, autojump_clock, tmp_path):
    network = new_network(22)
    taken = socket.create_server((LOOPBACK, 0))
    port = taken.getsockname()[1]
    (tmp_path / "key").write_text("no key")
    of_files = {"tls": (tmp_path / "key", tmp_path / "key"), "http": Address(LOOPBACK, 0)}
    cases = [
        ({"http": Address(LOOPBACK, port)}, AddressInUse, f"{LOOPBACK}:{port} is in use"),
        ({"http": Address("192.0.2.1", 0)}, CannotListen, "cannot listen on 192.0.2.1:0"),
        (of_files, CannotListen, f"cannot use certificate {tmp_path}/key and key"),
    ]
    async with network.open_nodes(2) as nodes:
        for change, error, reason in cases:
            with pytest.raises(error, match=reason):
                async with open_gateway(nodes[0], replace(SETTINGS, **change)):
                    pass
    taken.close()
