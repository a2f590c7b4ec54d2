"""The time to give a file to a swarm: the figure of the textbook, ends of intervals, and borders."""

from fractions import Fraction
from math import inf, isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.analysis import client_server_time, peer_to_peer_time

HOUR = 3600.0
FILE = 36e6  # bits, so that F/u is one hour
PEER = 1e4
SERVER = 10 * PEER
rates = st.floats(1, 1e9)
peers = st.one_of(st.just(inf), st.floats(1, 1e9))


@pytest.mark.parametrize(
    ("count", "server_hours", "peer_hours"),
    [
        (
            1,
            Fraction(1, 10),
            Fraction(1, 10),
        ),  # F/u_s is more than 1/11: no peer has what the server did not send
        (2, Fraction(2, 10), Fraction(2, 12)),
        (5, Fraction(5, 10), Fraction(5, 15)),
        (10, Fraction(1), Fraction(1, 2)),
        (30, Fraction(3), Fraction(3, 4)),
        (35, Fraction(7, 2), Fraction(7, 9)),
    ],
)
def test_figure_of_the_textbook(count, server_hours, peer_hours):
    """u_s = 10 u, F/u = 1 hour, d_min >= u_s: a line to 3.5 hours, and a curve that stays below one."""
    for slowest in (SERVER, 5 * SERVER, inf):
        assert client_server_time(count, FILE, SERVER, slowest) / HOUR == pytest.approx(float(server_hours))
        assert peer_to_peer_time(count, FILE, SERVER, PEER, slowest) / HOUR == pytest.approx(
            float(peer_hours)
        )


def test_slowest_download_bounds_both():
    assert client_server_time(2, FILE, SERVER, PEER) == peer_to_peer_time(2, FILE, SERVER, PEER, PEER) == HOUR


def test_peers_without_number():
    assert client_server_time(inf, FILE, SERVER) == inf
    assert peer_to_peer_time(inf, FILE, SERVER, PEER) == HOUR
    assert peer_to_peer_time(inf, FILE, SERVER, 0) == inf


def test_no_seed_never_ends_and_no_peer_takes_no_time():
    assert client_server_time(3, FILE, 0) == peer_to_peer_time(3, FILE, 0, PEER) == inf
    assert client_server_time(0, FILE, 0) == peer_to_peer_time(0, FILE, 0, PEER) == 0
    assert client_server_time(3, 0, 0) == peer_to_peer_time(3, 0, 0, 0) == 0


@given(peers, peers, rates, rates, rates, rates)
def test_ends_of_an_interval_bound_the_time(first, second, server, faster, peer, slowest):
    """More peers never take less time, a faster server never more, and help never hurts."""
    few, many = sorted((first, second))
    server, faster = sorted((server, faster))
    at_server = [
        client_server_time(few, FILE, faster, slowest),
        client_server_time(many, FILE, server, slowest),
    ]
    by_peers = [
        peer_to_peer_time(few, FILE, faster, peer, slowest),
        peer_to_peer_time(many, FILE, server, peer, slowest),
    ]
    assert not any(map(isnan, at_server + by_peers))
    assert at_server == sorted(at_server)
    assert by_peers == sorted(by_peers)
    assert by_peers[0] <= at_server[0]
    assert by_peers[1] <= max(FILE / peer, FILE / server, FILE / slowest)
