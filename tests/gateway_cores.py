"""A gateway without a network, and requests to it."""

from dataclasses import replace
from random import Random

from dhtnode import Address, InfoHash
from dhtnode.gateway import GatewayCore, GatewaySettings
from dhtnode.trackers import AnnounceRequest, Event

SWARM = InfoHash(bytes(range(20)))
LOOPBACK, LAN, NEIGHBOUR, STRANGER = "127.0.0.1", "192.168.1.5", "192.168.1.6", "45.1.2.3"


def new_core(now=0.0, **changes):
    settings = GatewaySettings(rate=1e9, burst=1e9, lookup_rate=1e9, **changes)
    return GatewayCore(settings, Random(7), bytes(range(32)), now)


def request(**changes):
    made = AnnounceRequest(SWARM, b"-XX0001-abcdefghijkl", 6881, 0, Event.STARTED, 1000, -1)
    return replace(made, **changes)


def announce(core, host, port=6881, now=0.0, **changes):
    """Announce a client of its own, and return the swarm."""
    peer_id = f"{host} {port}".encode().ljust(20, b"-")[:20]
    lifetime = changes.pop("lifetime", None)
    asked = request(port=port, peer_id=peer_id, **changes)
    return core.announce(asked, core.clients.named(host), now, lifetime)


def look_up(core, *peers, now=0.0, info_hash=SWARM):
    """End the lookup that is wanted, with these peers of the DHT."""
    assert core.to_look_up.popleft() == info_hash
    swarm = core.swarms.by_hash[info_hash]
    swarm.on_found(Address(host, port) for host, port in peers)
    core.end_lookup(swarm, now)


def told(core, host, port=6881, wanted=-1, now=0.0, info_hash=SWARM):
    """Return the peers that a client is told, as host and port, sorted."""
    swarm = core.swarms.by_hash[info_hash]
    return sorted(core.answer(swarm, core.clients.named(host), port, wanted, now).peers)
