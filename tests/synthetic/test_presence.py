"""Nodes of a synthetic network that come and go: by the law of the settings, the same each time."""

import csv
from dataclasses import replace
from math import exp, gamma
from random import Random
from statistics import mean

import pytest
from bencode2 import bencode

from crawler.synthetic.network import Network
from crawler.synthetic.presence import ANNOUNCE_PERIOD, RESIDENTS
from crawler.synthetic.settings import SyntheticSettings
from crawler.synthetic.truth import COLUMNS, write_end
from dhtnode import Address

HOUR = 3600.0
ASKER = Address("127.0.0.1", 4000)
SETTINGS = SyntheticSettings(nodes=2000, session=4 * HOUR, session_shape=0.6, absence=6 * HOUR, swarms=5)
PING = bencode({b"a": {b"id": b"asker" * 4}, b"q": b"ping", b"t": b"tt", b"y": b"q"})


@pytest.fixture(scope="module")
def network():
    return Network(SETTINGS)


def complete(presence, until):
    """Return the sessions that began after the beginning, and long before the time looked at."""
    stays = [stay for number in range(SETTINGS.nodes) for stay in presence.stays(number, until)]
    return [stay for stay in stays if stay.arrived > 0]


def test_the_share_present_is_the_same_at_all_times(network):
    """Four hours of ten, from the beginning on: within 4.5 standard deviations."""
    presence = network.presence
    assert presence.share == 0.4
    for now in (0.0, HOUR, 30 * HOUR, 200 * HOUR):
        present = sum(presence.is_present(number, now) for number in range(SETTINGS.nodes))
        assert abs(present - 800) < 4.5 * (2000 * 0.4 * 0.6) ** 0.5


def test_sessions_follow_the_law(network):
    lengths = [stay.departed - stay.arrived for stay in complete(network.presence, 100 * HOUR)]
    scale = 4 * HOUR / gamma(1 + 1 / 0.6)
    assert len(lengths) > 15_000
    assert mean(lengths) == pytest.approx(4 * HOUR, rel=0.06)
    for time in (0.2 * HOUR, HOUR, 5 * HOUR, 20 * HOUR):
        share = sum(length > time for length in lengths) / len(lengths)
        assert share == pytest.approx(exp(-((time / scale) ** 0.6)), abs=0.016)


def test_nodes_present_at_the_beginning_are_within_long_sessions(network):
    """Length-biased: elapsed and remaining time have the mean E[L^2] / 2 E[L]."""
    stays = [stay for number in range(SETTINGS.nodes) for stay in network.presence.stays(number, 1.0)]
    at_hand = [stay for stay in stays if stay.arrived <= 0]
    expected = 4 * HOUR * gamma(1 + 2 / 0.6) / gamma(1 + 1 / 0.6) ** 2 / 2
    assert len(at_hand) > 700
    for part in (-mean(stay.arrived for stay in at_hand), mean(stay.departed for stay in at_hand)):
        assert part == pytest.approx(expected, rel=0.35)  # 4 standard errors


def test_order_of_questions_changes_nothing(network):
    other, random = Network(SETTINGS).presence, Random(1)
    times = [random.uniform(0, 100 * HOUR) for _ in range(50)]
    for number in range(100):
        found = {time: other.is_present(number, time) for time in sorted(times, reverse=True)}
        assert found == {time: network.presence.is_present(number, time) for time in times}
        for stay in network.presence.stays(number, 100 * HOUR):
            for time in times:
                if stay.arrived <= time < stay.departed:
                    assert found[time]


def test_absent_node_does_not_answer():
    network = Network(SETTINGS)
    population = network.population
    network.begun_at = 1000.0
    for number in range(40):
        address = Address(*population.address(population.ranks[number]))
        for hours in range(0, 60, 7):
            replies = network.answer(address, PING, ASKER, 1000.0 + hours * HOUR)
            assert bool(replies) == network.presence.is_present(number, hours * HOUR)
    assert network.counts["to the absent"] > 0 < network.counts["replies"]
    for hours in range(100):
        answers = [network.answer(way, PING, ASKER, hours * HOUR) for way in network.bootstrap_nodes()]
        assert [len(each) for each in answers] == [1] * RESIDENTS


def test_swarms_are_announced_to_nodes_that_are_there(network):
    population, presence = network.population, network.presence
    later = 50 * HOUR + 100
    announced_at = later // ANNOUNCE_PERIOD * ANNOUNCE_PERIOD
    for place in range(5):
        target = network.swarms.swarm(place).info_hash
        there = [
            rank
            for rank, number in enumerate(population.numbers)
            if population.is_honest(number) and presence.is_present(number, announced_at)
        ]
        there.sort(key=lambda rank: population.prefixes[rank] ^ int.from_bytes(target[:8], "big"))
        assert network.swarms.holders(place, later) == tuple(there[:16])
        assert network.swarms.holders(place, 0.0) != tuple(there[:16])
        assert place in network.swarms.at(there[0], later)
        assert network.swarms.stored(place, there[0], later) is not None


def test_no_node_leaves_without_a_session():
    network = Network(SyntheticSettings(nodes=50))
    assert not network.presence.nodes_leave
    assert network.presence.share == 1.0
    assert all(network.presence.is_present(number, 1e9) for number in range(50))
    assert [network.presence.stays(number, 1e9) for number in range(50)] == [[]] * 50


def test_truth_lists_the_sessions(tmp_path, network):
    (tmp_path / "truth").mkdir()
    write_end(network, 10 * HOUR, tmp_path / "truth")

    with (tmp_path / "truth" / "sessions.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == COLUMNS["sessions"]
    number = 17
    rank = network.population.ranks[number]
    mine = [row[3:] for row in rows if row[0] == network.population.node_id(rank).hex()]
    assert mine == [
        [str(round(stay.arrived, 3)), str(round(stay.departed, 3))]
        for stay in network.presence.stays(number, 10 * HOUR)
    ]
    assert {float(row[3]) < 10 * HOUR and float(row[4]) > 0 for row in rows} == {True}


@pytest.mark.parametrize("half_life", [0.0, 5 * HOUR])
def test_truth_lists_the_sizes_of_swarms(tmp_path, half_life):
    """One row for each size that a swarm had; one only where none changes."""
    network = Network(replace(SETTINGS, swarms=20, largest=400, half_life=half_life))
    (tmp_path / "truth").mkdir()
    write_end(network, 10 * HOUR, tmp_path / "truth")

    with (tmp_path / "truth" / "swarm_sizes.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == COLUMNS["swarm_sizes"]
    assert len(rows) == 20 if not half_life else len(rows) > 60
    for place, swarm in enumerate(network.swarms):
        mine = [(float(row[1]), *map(int, row[2:])) for row in rows if row[0] == swarm.info_hash.hex()]
        assert mine[0] == (0.0, swarm.seeds, swarm.leechers, swarm.peers)
        for now in (100.0, 3 * HOUR, 10 * HOUR):
            then = network.swarms.swarm(place, now)
            assert [row for row in mine if row[0] <= now][-1][1:] == (then.seeds, then.leechers, then.peers)
