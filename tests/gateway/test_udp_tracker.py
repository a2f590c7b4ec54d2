"""The packets of the gateway over UDP, read by our own client's side; no answer amplifies."""

import json
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode import Address, Family, InfoHash
from dhtnode.gateway import UdpTracker
from dhtnode.trackers import Event, SwarmCounts, TrackerError
from dhtnode.trackers.udp_packets import (
    pack_announce,
    pack_connect,
    pack_scrape,
    read_announce,
    read_connect,
    read_scrape,
)
from tests.gateway_cores import LAN, LOOPBACK, NEIGHBOUR, SWARM, announce, look_up, new_core, request

SOURCE = Address(LAN, 40_000)
VECTORS = json.loads((Path(__file__).parents[1] / "vectors/bep15_udp_tracker.json").read_text())


def ask(tracker, packet, source=SOURCE, now=0.0):
    replies = tracker.answer([(packet, source)], now)
    assert all(destination == source for _, destination in replies)
    return replies[0][0] if replies else None


def connection(tracker, source=SOURCE, now=0.0):
    return read_connect(ask(tracker, pack_connect(1), source, now))


def with_swarm():
    core = new_core()
    announce(core, NEIGHBOUR, 5)
    look_up(core, ("45.9.9.9", 80))
    return core, UdpTracker(core, Family.IPV4)


def test_client_is_told_the_peers_and_counted():
    _, tracker = with_swarm()
    good = connection(tracker)
    answer = read_announce(ask(tracker, pack_announce(good, 9, request(left=0))), Family.IPV4)
    assert sorted(answer.peers) == [(NEIGHBOUR, 5), ("45.9.9.9", 80)]
    assert (answer.interval, answer.seeds, answer.leechers) == (1800, 1, 1)
    # What brings no news takes the short way, and is told the same.
    again = read_announce(
        ask(tracker, pack_announce(good, 9, request(left=0, event=Event.NONE))), Family.IPV4
    )
    assert (sorted(again.peers), again.seeds, again.leechers) == (sorted(answer.peers), 1, 1)

    row = read_scrape(
        ask(tracker, pack_scrape(good, 3, [SWARM, InfoHash(bytes(20))])), [SWARM, InfoHash(bytes(20))]
    )
    assert list(row.counts.values()) == [SwarmCounts(1, 1, 0), SwarmCounts(0, 0, 0)]


def test_short_way_renews_as_the_long_one_does():
    core, tracker = with_swarm()
    good = connection(tracker)
    ask(tracker, pack_announce(good, 9, request()))
    renewed = connection(tracker, now=1700.0)
    core.swarms.by_hash[SWARM].lookup_due = 1e9
    ask(tracker, pack_announce(renewed, 9, request(event=Event.NONE)), now=1700.0)
    core.sweep(5000.0)
    assert (LAN, 6881) in [(peer.host, 6881) for peer in core.swarms.by_hash[SWARM].peers.values()]
    core.sweep(1700.0 + 3600.0)
    assert not core.swarms.by_hash.get(SWARM) or not core.swarms.by_hash[SWARM].peers


def test_event_pauses_and_options_are_passed_over():
    core, tracker = with_swarm()
    packet = pack_announce(connection(tracker), 9, request(event=Event.PAUSED), b"/announce?token=1" * 20)
    assert read_announce(ask(tracker, packet), Family.IPV4).leechers == 2
    assert core.swarms.by_hash[SWARM].counts.partial_seeds == 1


def test_connection_id_is_good_for_two_to_three_minutes_and_for_one_address():
    _, tracker = with_swarm()
    good = connection(tracker, now=59.0)
    for now in (59.0, 179.9):
        assert ask(tracker, pack_scrape(good, 3, [SWARM]), now=now)[3] == 2
    for packet_now, source in ((180.0, SOURCE), (59.0, Address(NEIGHBOUR, 40_000))):
        answer = ask(tracker, pack_scrape(good, 3, [SWARM]), source, packet_now)
        with pytest.raises(TrackerError, match="connection id"):
            read_scrape(answer, [SWARM])


def test_no_port_and_other_refusals_are_told():
    _, tracker = with_swarm()
    good = connection(tracker)
    with pytest.raises(TrackerError, match="no port"):
        read_announce(ask(tracker, pack_announce(good, 9, request(port=0))), Family.IPV4)


def test_answers_fit_a_packet_of_1200_bytes():
    core = new_core()
    announce(core, LOOPBACK, 1)
    look_up(core, *((f"45.{high}.9.{low}", 80) for high in range(3) for low in range(100)))
    tracker = UdpTracker(core, Family.IPV4)
    good = connection(tracker)
    for wanted, told in ((-1, 50), (0, 0), (7, 7), (196, 196), (2**31 - 1, 196), (-(2**31), 50)):
        packet = ask(tracker, pack_announce(good, 9, request(wanted=wanted)))
        assert (len(read_announce(packet, Family.IPV4).peers), len(packet) <= 1200) == (told, True)
    asked = good.to_bytes(8, "big") + bytes.fromhex("00000002 00000003") + SWARM * 200
    packet = ask(tracker, asked)
    assert (len(packet), packet[8:20], packet[-12:]) == (1196, packet[20:32], packet[8:20])


def test_ipv6_has_peers_of_its_own_size():
    core = new_core()
    announce(core, "fd00::5", 5)
    look_up(core, *((f"2a00::{number:x}", 80) for number in range(1, 100)), ("45.9.9.9", 80))
    tracker, source = UdpTracker(core, Family.IPV6), Address("fd00::6", 1)
    good = connection(tracker, source)
    packet = ask(tracker, pack_announce(good, 9, request(wanted=200)), source)
    answer = read_announce(packet, Family.IPV6)
    assert (len(answer.peers), len(packet) <= 1200) == (65, True)
    assert ("fd00::5", 5) in answer.peers


def test_first_answer_waits_for_the_lookup_at_most_four_seconds():
    core = new_core()
    tracker = UdpTracker(core, Family.IPV4)
    good = connection(tracker)
    assert ask(tracker, pack_announce(good, 9, request())) is None
    assert ask(tracker, pack_announce(good, 10, request(port=5)), Address(LAN, 2), 1.0) is None
    assert tracker.overdue(3.9) == []
    ((first, to),) = tracker.overdue(4.0)
    answer = read_announce(first, Family.IPV4)
    assert (to, answer.peers, answer.interval) == (SOURCE, ((LAN, 5),), 60)

    look_up(core, ("45.9.9.9", 80), now=4.5)
    ((second, to),) = tracker.ready(SWARM, 4.5)
    assert (to, second[4:8]) == (Address(LAN, 2), (10).to_bytes(4, "big"))
    assert sorted(read_announce(second, Family.IPV4).peers) == [(LAN, 6881), ("45.9.9.9", 80)]
    assert tracker.ready(SWARM, 5.0) == tracker.overdue(100.0) == []


def test_packets_of_the_vectors_are_read():
    core, tracker = with_swarm()
    good = connection(tracker).to_bytes(8, "big")
    for packet in VECTORS["packets"]:
        if packet["direction"] == "client->tracker":
            data = bytes.fromhex(packet["hex"])
            is_connect = packet["name"].startswith("connect")
            answer = ask(tracker, data if is_connect else good + data[8:])
            assert answer is None or answer[:4] == data[8:12]
            assert answer is None or answer[4:8] == data[12:16]
            core.to_look_up.clear()


packets = st.one_of(
    st.binary(max_size=400),
    st.builds(
        lambda head, action, rest: head + action.to_bytes(4, "big") + rest,
        st.sampled_from([bytes(8), bytes.fromhex("0000041727101980"), b"12345678"]),
        st.integers(0, 4),
        st.binary(max_size=600),
    ),
)


@given(
    packets, st.sampled_from([SOURCE, Address(LOOPBACK, 1), Address("45.1.2.3", 4), Address("45.1.2.3", 0)])
)
def test_no_answer_is_longer_than_its_request_without_a_good_connection_id(packet, source):
    _, tracker = with_swarm()
    answer = ask(tracker, packet, source)
    assert answer is None or len(answer) <= len(packet)


@given(st.binary(max_size=1500), st.integers(0, 4))
def test_nothing_that_a_client_sends_raises(rest, action):
    _, tracker = with_swarm()
    good = connection(tracker).to_bytes(8, "big")
    answer = ask(tracker, good + action.to_bytes(4, "big") + rest)
    assert answer is None or len(answer) <= 1200


def test_connection_ids_differ_by_address_and_cannot_be_told_from_another():
    _, tracker = with_swarm()
    random = Random(3)
    ids = {connection(tracker, Address(f"10.0.{random.randrange(256)}.{low}", 1)) for low in range(256)}
    assert len(ids) == 256
