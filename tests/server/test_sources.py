"""What is remembered of sources: bounded, shared between the ports of a host, and the recent ones last."""

import pytest

from dhtnode.addresses import Address, Scope
from dhtnode.server.sources import MAX_SOURCES, RecentSources, Sources


def host(number: int) -> str:
    return f"21.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def test_sources_are_bounded() -> None:
    sources = Sources(Scope.PUBLIC)
    for number in range(3 * MAX_SOURCES):
        sources.get((host(number), 6881))
    assert 4096 <= len(sources) <= MAX_SOURCES == 8192
    assert len(sources._hosts) <= MAX_SOURCES


def test_source_that_keeps_coming_survives_a_flood() -> None:
    sources = Sources(Scope.PUBLIC)
    regular = sources.get(("31.0.0.1", 6881))
    silent = sources.get(("31.0.0.2", 6881))
    for number in range(3 * MAX_SOURCES):
        sources.get((host(number), 6881))
        if number % 1000 == 0:
            assert sources.get(("31.0.0.1", 6881)) is regular
    assert sources.get(("31.0.0.2", 6881)) is not silent


def test_flood_of_new_sources_does_not_take_the_proof_of_an_address() -> None:
    """A silent one is forgotten, but not that it has proven its address, while that holds."""
    sources = Sources(Scope.PUBLIC, lifetime=10.0)
    for number in range(3 * MAX_SOURCES):
        sources.get(("31.0.0.1", 6881 + number % 2)).proven_until = 900.0
        sources.get((host(number), 6881)).proven_until = 5.0
    for number in range(3 * MAX_SOURCES):
        sources.get((host(MAX_SOURCES * 3 + number), 6881))
    assert len(sources._proven) <= MAX_SOURCES
    sources.expire(10.0)
    assert set(sources._proven.values()) == {900.0}
    assert sources.get(("31.0.0.1", 6881)).proven_until == 900.0
    sources.expire(900.0)
    assert not sources._proven


def test_source_unheard_between_two_turns_is_forgotten() -> None:
    """Or a quiet node would fill its memory with addresses of last week."""
    sources = Sources(Scope.PUBLIC)
    regular, silent = sources.get(("31.0.0.1", 6881)), sources.get(("31.0.1.2", 6881))
    sources.next_generation()
    assert sources.get(("31.0.0.1", 6881)) is regular
    assert len(sources) == 2
    sources.next_generation()
    assert len(sources) == len(sources._hosts) == len(sources._networks) == 1
    assert sources.get(("31.0.0.1", 6881)) is regular
    assert sources.get(("31.0.1.2", 6881)) is not silent


def test_source_is_forgotten_after_one_to_two_lifetimes() -> None:
    sources = Sources(Scope.PUBLIC, lifetime=10.0)
    remembered = []
    for now in (0.0, 9.9, 10.0, 19.9, 20.0):
        sources.expire(now)
        remembered.append(len(sources))
        if not now:
            sources.get(("31.0.0.1", 6881))
    assert remembered == [0, 1, 1, 1, 0]


def test_meters_last_as_long_as_a_source_that_uses_them() -> None:
    """Or a persistent source would get another limit with a new port, now and then."""
    sources = Sources(Scope.PUBLIC)
    first = sources.get(("21.0.0.1", 1))
    for port in range(2, 9):
        sources.next_generation()
        assert sources.get(("21.0.0.1", 1)) is first
        assert sources.get(("21.0.0.1", port)).host is first.host
        assert sources.get(("21.0.0.2", port)).network is first.network


def test_sources_that_are_not_allowed_are_forgotten_alike() -> None:
    refused, own = Sources(Scope.PUBLIC), Sources(Scope.LOOPBACK)
    for sources, pair in ((refused, ("127.0.0.1", 1)), (own, ("127.0.0.1", 1))):
        source = sources.get(pair)
        sources.next_generation()
        assert sources.get(pair) is source
        sources.next_generation()
        sources.next_generation()
        assert len(sources) == 0


def test_remembered_value_is_made_once() -> None:
    made = []
    recent: RecentSources[int, object] = RecentSources(8, lambda key: made.append(key) or object())
    for _ in range(3):
        for key in range(5):  # more than one generation holds
            recent.get(key)
    assert made == [0, 1, 2, 3, 4]


def test_ports_of_a_host_and_hosts_of_a_network_share_their_meters() -> None:
    sources = Sources(Scope.PUBLIC)
    first, port, neighbour, stranger = (
        sources.get(pair) for pair in (("21.0.0.1", 1), ("21.0.0.1", 2), ("21.0.0.2", 1), ("21.0.1.1", 1))
    )
    assert first.host is port.host
    assert first.host is not neighbour.host
    assert first.network is port.network is neighbour.network
    assert first.network is not stranger.network


def test_addresses_of_an_ipv6_network_share_a_meter() -> None:
    sources = Sources(Scope.PUBLIC)
    first, second = sources.get(("2a00::1", 1)), sources.get(("2a00::2", 1))
    assert first.network is second.network


def test_each_endpoint_of_loopback_counts_for_itself() -> None:
    sources = Sources(Scope.LOOPBACK)
    first, second = sources.get(("127.0.0.1", 1)), sources.get(("127.0.0.1", 2))
    assert len({first.host, first.network, second.host, second.network}) == 4


@pytest.mark.parametrize("pair", [("21.0.0.9", 6881), ("127.0.0.1", 1), ("21.0.0.1", 0), ("10.0.0.1", 1)])
def test_address_outside_our_scope_or_our_own_is_not_allowed(pair: tuple[str, int]) -> None:
    """Nothing is sent there and nothing believed that comes from there."""
    assert not Sources(Scope.PUBLIC, {Address("21.0.0.9", 6881)}).get(pair).is_allowed


@pytest.mark.parametrize(
    ("pair", "head"),
    [
        (("21.0.0.1", 258), b"d2:ip6:\x15\0\0\1\1\2"),
        (("2a00::1", 1), b"d2:ip18:*\0" + b"\0" * 13 + b"\1\0\1"),
    ],
)
def test_source_knows_the_beginning_of_its_replies(pair: tuple[str, int], head: bytes) -> None:
    """The key `ip` with its compact address comes first (BEP 42)."""
    source = Sources(Scope.PUBLIC).get(pair)
    assert (source.head, source.packed_host) == (head, head.split(b":")[2][:-2])


@pytest.mark.parametrize("scope", [Scope.PUBLIC, Scope.LOOPBACK])
def test_forgiven_source_owes_nothing(scope: Scope) -> None:
    sources = Sources(scope)
    pairs = [("21.0.0.1", 1), ("127.0.0.1", 1)]
    for source in map(sources.get, pairs):
        source.host.used_until = source.network.used_until = 1e9
    sources.reset_meters()
    for source in map(sources.get, [*pairs, ("21.0.0.1", 2), ("21.0.0.2", 1)]):
        assert (source.host.used_until, source.network.used_until) == (float("-inf"), float("-inf"))
