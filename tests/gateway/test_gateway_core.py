"""Who is served by the gateway, which peers it hands out, and when it looks a swarm up."""

from dataclasses import replace
from ipaddress import ip_network
from random import Random

import pytest

from dhtnode import Address, Family, InfoHash
from dhtnode.gateway import GatewayCore, GatewaySettings, Refusal, RefusalKind
from dhtnode.trackers import Event, SwarmCounts
from tests.gateway_cores import (
    LAN,
    LOOPBACK,
    NEIGHBOUR,
    STRANGER,
    SWARM,
    announce,
    look_up,
    new_core,
    request,
    told,
)

OTHER = InfoHash(bytes(20))


def test_clients_come_before_peers_of_the_dht():
    core = new_core()
    announce(core, LAN)
    look_up(core, *((f"45.9.9.{number}", 80) for number in range(100)))
    announce(core, NEIGHBOUR)

    assert told(core, LAN, wanted=1) == [(NEIGHBOUR, 6881)]
    assert len(told(core, LAN)) == 50
    assert len(told(core, LAN, wanted=200)) == 101


def test_asker_is_left_out_by_address_and_port():
    core = new_core()
    announce(core, LOOPBACK, 1)
    announce(core, LOOPBACK, 2)
    look_up(core, (LOOPBACK, 1), (LOOPBACK, 3))

    assert told(core, LOOPBACK, 1) == [(LOOPBACK, 2), (LOOPBACK, 3)]
    assert told(core, LOOPBACK, 2) == [(LOOPBACK, 1), (LOOPBACK, 3)]


def test_special_addresses_are_told_only_where_they_lead_anywhere():
    core = new_core(is_open=True)
    for host in (LOOPBACK, LAN, STRANGER):
        announce(core, host)
    look_up(core, ("45.9.9.9", 80), ("192.168.1.99", 80))
    public = [(STRANGER, 6881), ("45.9.9.9", 80)]

    assert told(core, "45.1.2.4") == sorted(public)
    assert told(core, NEIGHBOUR) == sorted([*public, (LAN, 6881), ("192.168.1.99", 80)])
    assert told(core, LOOPBACK, 9) == sorted([*public, (LAN, 6881), ("192.168.1.99", 80), (LOOPBACK, 6881)])


def test_public_host_is_told_once():
    core = new_core(is_open=True)
    announce(core, STRANGER, 1)
    announce(core, STRANGER, 2)
    look_up(core, (STRANGER, 3), ("45.9.9.9", 1), ("45.9.9.9", 2))

    assert [host for host, _ in told(core, LAN)] == [STRANGER, "45.9.9.9"]
    announce(core, STRANGER, 1, event=Event.STOPPED)
    assert (STRANGER, 2) in told(core, LAN)
    assert core.swarms.by_hash[SWARM].counts.leechers == 1


def test_counts_are_those_of_clients_and_of_the_dht():
    core = new_core()
    announce(core, LAN, 1, left=0)
    announce(core, LAN, 2)
    swarm = announce(core, LAN, 3, event=Event.PAUSED)
    assert swarm.counts == SwarmCounts(1, 2, 0, 1)
    core.on_measured(SWARM, swarm, 7.4, 3.6, 0.0)
    assert swarm.counts == SwarmCounts(8, 6, 0, 5)

    announce(core, LAN, 2, left=0, event=Event.COMPLETED)
    announce(core, LAN, 2, left=0, event=Event.COMPLETED)
    announce(core, LAN, 3, event=Event.NONE)
    assert swarm.counts == SwarmCounts(9, 5, 1, 5)
    assert core.scrape([SWARM, OTHER], core.clients.named(LAN)).counts == {
        SWARM: swarm.counts,
        OTHER: SwarmCounts(0, 0, 0, 0),
    }


def test_own_clients_are_not_counted_again_from_the_dht():
    core = new_core()
    announce(core, LOOPBACK, 1, left=0)
    swarm = announce(core, LOOPBACK, 2)
    core.on_measured(SWARM, swarm, 1.0, 5.0, 0.0)

    assert (swarm.counts.seeds, swarm.counts.leechers) == (1, 6)


def test_client_that_moves_is_recognised_by_its_key():
    core = new_core()
    for host in (LAN, NEIGHBOUR, "fc00::1"):
        core.announce(request(key=77), core.clients.named(host), 0.0)
    core.announce(request(key=0), core.clients.named("10.0.0.1"), 0.0)

    assert told(core, LOOPBACK) == [("10.0.0.1", 6881), (NEIGHBOUR, 6881), ("fc00::1", 6881)]


def test_one_lookup_serves_all_and_its_result_is_used_while_it_is_fresh():
    core = new_core()
    for number in range(20):
        announce(core, f"192.168.1.{number}")
    assert len(core.to_look_up) == 1
    look_up(core, ("45.9.9.9", 80), now=3.0)

    announce(core, LAN, now=302.9)
    assert not core.to_look_up
    announce(core, LAN, now=303.0)
    look_up(core, now=304.0)
    for due, after in ((364.0, 365.0), (485.0, 486.0), (726.0, 727.0), (1027.0, 1028.0)):
        announce(core, LAN, now=due - 0.1)
        assert not core.to_look_up
        announce(core, LAN, now=due)
        look_up(core, now=after)


def test_swarm_with_clients_is_looked_up_again_without_being_asked():
    core = new_core()
    announce(core, LAN)
    look_up(core, ("45.9.9.9", 80))
    core.sweep(899.0)
    assert not core.to_look_up
    core.sweep(900.0)
    assert list(core.to_look_up) == [SWARM]


def test_who_has_no_peers_comes_again_soon():
    core = new_core()
    swarm = announce(core, LAN)
    client = core.clients.named(LAN)
    assert core.is_awaited(swarm, request())
    assert not core.is_awaited(swarm, request(wanted=0))
    assert not core.is_awaited(swarm, request(event=Event.STOPPED))
    assert [core.answer(swarm, client, 6881, -1, 4.0).interval] == [60]

    look_up(core, ("45.9.9.9", 80), now=5.0)
    answer = core.answer(swarm, client, 6881, -1, 5.0)
    assert (answer.interval, answer.min_interval, answer.external_host) == (1800, 900, LAN)


def test_what_has_come_so_far_is_told():
    core = new_core()
    swarm = announce(core, LAN)
    swarm.on_found([Address("45.9.9.9", 80)])
    answer = core.answer(swarm, core.clients.named(LAN), 6881, -1, 4.0)

    assert (answer.peers, answer.interval) == ((("45.9.9.9", 80),), 60)


@pytest.mark.parametrize(
    ("host", "settings", "allowed"),
    [
        (LOOPBACK, {}, True),
        ("::1", {}, True),
        (LAN, {}, True),
        ("100.64.0.1", {}, True),
        ("fd00::1", {}, True),
        ("::ffff:10.0.0.1", {}, True),
        (STRANGER, {}, False),
        ("::ffff:45.1.2.3", {}, False),
        ("2a00::1", {}, False),
        (STRANGER, {"is_open": True}, True),
        (STRANGER, {"announce_for": (ip_network("45.1.0.0/16"),)}, True),
        ("0.0.0.0", {"is_open": True}, False),
        ("224.0.0.1", {"is_open": True}, False),
        ("no address", {"is_open": True}, False),
    ],
)
def test_who_may_ask(host, settings, allowed):
    core = new_core(**settings)
    if allowed:
        core.announce(request(), core.clients.named(host), 0.0)
    else:
        with pytest.raises(Refusal) as raised:
            core.announce(request(), core.clients.named(host), 0.0)
        assert (raised.value.kind, raised.value.retry_in) == (RefusalKind.NOT_ALLOWED, None)


def test_lists_say_what_is_served():
    core = new_core(deny=frozenset({OTHER}))
    client = core.clients.named(LAN)
    core.announce(request(), client, 0.0)
    with pytest.raises(Refusal, match="not tracked here"):
        core.announce(request(info_hash=OTHER), client, 0.0)

    core.change_lists(replace(core.settings, allow=frozenset({OTHER}), deny=frozenset()))
    assert core.swarms.peer_count == 0
    core.announce(request(info_hash=OTHER), client, 0.0)
    with pytest.raises(Refusal, match="not tracked here"):
        core.announce(request(), client, 0.0)


@pytest.mark.parametrize("changes", [{"port": 0}, {"port": 65536}, {"port": -1}, {"peer_id": b"short"}])
def test_impossible_request_is_refused(changes):
    core = new_core()
    with pytest.raises(Refusal) as raised:
        core.announce(request(**changes), core.clients.named(LAN), 0.0)
    assert raised.value.kind is RefusalKind.INVALID


def test_one_address_asks_five_times_a_second_after_twenty():
    core = GatewayCore(GatewaySettings(), Random(1), bytes(32), 0.0)
    client = core.clients.named(LAN)
    taken = [core.clients.takes(client, 0.0) for _ in range(30)]
    assert taken == [True] * 20 + [False] * 10
    later = [core.clients.takes(client, 1.0 + number / 1000) for number in range(10)]
    assert later == [True] * 5 + [False] * 5
    with pytest.raises(Refusal) as raised:
        core.take(client, 1.01)
    assert (raised.value.kind, raised.value.retry_in) == (RefusalKind.BUSY, 1)
    core.take(core.clients.named(NEIGHBOUR), 1.01)


def test_lookups_are_bounded_and_who_has_nothing_is_told_so():
    core = new_core(max_lookups=1)
    announce(core, LAN)
    with pytest.raises(Refusal) as raised:
        announce(core, LAN, info_hash=OTHER)
    assert raised.value.kind is RefusalKind.BUSY
    # With another client there is something to tell.
    announce(core, NEIGHBOUR, info_hash=OTHER)
    look_up(core, now=1.0)
    announce(core, LAN, info_hash=OTHER, now=1.0)
    assert list(core.to_look_up) == [OTHER]


@pytest.mark.parametrize(
    ("bounds", "clients"),
    [
        ({"max_swarms_per_host": 3}, [(LAN, 1, number) for number in range(4)]),
        ({"max_clients_per_host": 3}, [(LAN, number, 0) for number in range(1, 5)]),
        ({"max_peers_per_network": 3}, [(f"192.168.1.{number}", 1, number) for number in range(4)]),
        ({"max_peers_per_swarm": 3}, [(f"192.168.{number}.1", 1, 0) for number in range(4)]),
        ({"max_peers": 3}, [(f"192.168.{number}.1", 1, number) for number in range(4)]),
        ({"max_swarms": 3}, [(f"192.168.{number}.1", 1, number) for number in range(4)]),
    ],
)
def test_bounds_hold_and_what_is_over_them_is_counted(bounds, clients):
    core = new_core(**bounds)
    for host, port, swarm in clients[:3]:
        announce(core, host, port, info_hash=InfoHash(bytes([swarm]) * 20))
    host, port, swarm = clients[3]
    last = {"info_hash": InfoHash(bytes([swarm]) * 20)}
    with pytest.raises(Refusal) as raised:
        announce(core, host, port, **last)
    assert raised.value.kind is RefusalKind.BUSY
    assert [count for name, count in core.counts.items() if name.startswith("refused: too many")] == [1]
    assert core.swarms.peer_count == 3

    # Those that are there may come again, and when one has left there is room.
    announce(core, *clients[0][:2], info_hash=InfoHash(bytes([clients[0][2]]) * 20))
    for number in range(3):
        host, port, swarm = clients[number]
        announce(core, host, port, info_hash=InfoHash(bytes([swarm]) * 20), event=Event.STOPPED)
    core.to_look_up.clear()
    for swarm in core.swarms.by_hash.values():
        swarm.collecting = None
    core.sweep(0.0)
    announce(core, *clients[3][:2], **last)
    assert core.swarms.peer_count == 1


def test_only_clients_with_our_own_address_are_announced():
    core = new_core(is_open=True, announce_for=(ip_network("192.168.1.6/32"),))
    core.set_external(frozenset({"45.77.7.7"}), 0.0)
    for host, port in ((LOOPBACK, 1), ("::1", 2), (LAN, 3), (NEIGHBOUR, 4), (STRANGER, 5), ("45.77.7.7", 6)):
        announce(core, host, port)

    assert sorted(core.take_announces(0.0)) == [
        (SWARM, Family.IPV4, 1, False),
        (SWARM, Family.IPV4, 4, False),
        (SWARM, Family.IPV4, 6, False),
        (SWARM, Family.IPV6, 2, False),
    ]


def test_announces_are_renewed_while_the_client_is_there():
    core = new_core()
    announce(core, LOOPBACK, 1)
    assert core.take_announces(0.0) == [(SWARM, Family.IPV4, 1, False)]
    assert core.take_announces(899.0) == []
    announce(core, LOOPBACK, 1, now=899.0, left=0, event=Event.COMPLETED)
    assert core.take_announces(899.0) == [(SWARM, Family.IPV4, 1, True)]
    assert core.take_announces(1799.0) == [(SWARM, Family.IPV4, 1, True)]
    announce(core, LOOPBACK, 1, now=1800.0, event=Event.STOPPED)
    assert core.take_announces(5000.0) == []
    assert not core.announces_due


def test_clients_become_our_own_when_our_address_is_known():
    core = new_core(is_open=True)
    announce(core, STRANGER, 5)
    assert core.take_announces(0.0) == []
    core.set_external(frozenset({STRANGER}), 1.0)
    assert core.take_announces(1.0) == [(SWARM, Family.IPV4, 5, False)]
    core.set_external(frozenset({"45.1.2.9"}), 2.0)
    assert core.take_announces(5000.0) == []


def test_peer_id_of_a_client_is_known():
    core = new_core()
    core.announce(request(), core.clients.named(LAN), 0.0)
    found = [core.peer_id(SWARM, Address(LAN, port)) for port in (6881, 6882)]
    assert found == [request().peer_id, None]
