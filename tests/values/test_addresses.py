"""Addresses: compact forms, texts, and the one rule about which networks a socket may talk to."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode.addresses import (
    Address,
    Scope,
    check_listen,
    is_loopback_host,
    normalize_host,
    pack_host,
    parse_address,
    scope_of,
    split_host_port,
    unpack_host,
)
from tests.strategies import addresses

LOOPBACK, PRIVATE, PUBLIC = Scope

NOWHERE: tuple[Scope, ...] = ()
LOCAL = (LOOPBACK,)
INSIDE = (PRIVATE,)
ANYWHERE = (PRIVATE, PUBLIC)

# Protocol notes, section 13: the first and last address of every special network, and its neighbours.
ALLOWED_BY = {
    "0.0.0.0": NOWHERE,
    "0.255.255.255": NOWHERE,
    "1.0.0.0": ANYWHERE,
    "8.8.8.8": ANYWHERE,
    "9.255.255.255": ANYWHERE,
    "10.0.0.0": INSIDE,
    "10.255.255.255": INSIDE,
    "11.0.0.0": ANYWHERE,
    "100.63.255.255": ANYWHERE,
    "100.64.0.0": INSIDE,
    "100.127.255.255": INSIDE,
    "100.128.0.0": ANYWHERE,
    "126.255.255.255": ANYWHERE,
    "127.0.0.0": LOCAL,
    "127.0.0.1": LOCAL,
    "127.255.255.255": LOCAL,
    "128.0.0.0": ANYWHERE,
    "169.253.255.255": ANYWHERE,
    "169.254.0.0": NOWHERE,
    "169.254.255.255": NOWHERE,
    "169.255.0.0": ANYWHERE,
    "172.15.255.255": ANYWHERE,
    "172.16.0.0": INSIDE,
    "172.31.255.255": INSIDE,
    "172.32.0.0": ANYWHERE,
    "192.0.0.0": NOWHERE,
    "192.0.0.255": NOWHERE,
    "192.0.1.0": ANYWHERE,
    "192.0.2.0": NOWHERE,
    "192.0.2.255": NOWHERE,
    "192.0.3.0": ANYWHERE,
    "192.167.255.255": ANYWHERE,
    "192.168.0.0": INSIDE,
    "192.168.255.255": INSIDE,
    "192.169.0.0": ANYWHERE,
    "198.17.255.255": ANYWHERE,
    "198.18.0.0": NOWHERE,
    "198.19.255.255": NOWHERE,
    "198.20.0.0": ANYWHERE,
    "198.51.99.255": ANYWHERE,
    "198.51.100.0": NOWHERE,
    "198.51.100.255": NOWHERE,
    "198.51.101.0": ANYWHERE,
    "203.0.112.255": ANYWHERE,
    "203.0.113.0": NOWHERE,
    "203.0.113.255": NOWHERE,
    "203.0.114.0": ANYWHERE,
    "223.255.255.255": ANYWHERE,
    "224.0.0.0": NOWHERE,
    "239.255.255.255": NOWHERE,
    "240.0.0.0": NOWHERE,
    "255.255.255.255": NOWHERE,
    "::": NOWHERE,
    "::1": LOCAL,
    "::2": NOWHERE,
    "::7f00:1": NOWHERE,
    "::ffff:127.0.0.1": NOWHERE,
    "::ffff:10.0.0.1": NOWHERE,
    "::ffff:8.8.8.8": NOWHERE,
    "64:ff9b::808:808": NOWHERE,
    "2001::1": NOWHERE,  # Teredo of 255.255.255.254
    "2001:0:4136:e378:8000:63bf:f7f7:f7f7": ANYWHERE,  # of 8.8.8.8
    "2001:0:4136:e378:8000:63bf:80ff:fffe": NOWHERE,  # of 127.0.0.1
    "2001:0:4136:e378:8000:63bf:3f57:fefe": NOWHERE,  # of 192.168.1.1
    "2002:808:808::1": ANYWHERE,  # 6to4
    "2002:7f00:1::": NOWHERE,
    "2002:a00:1::1": NOWHERE,
    "2001:10::1": NOWHERE,
    "2001:db7:ffff::1": ANYWHERE,
    "2001:db8::": NOWHERE,
    "2001:db8:ffff::1": NOWHERE,
    "2001:db9::1": ANYWHERE,
    "2a00:1450::1": ANYWHERE,
    "3fff:ffff::1": ANYWHERE,
    "4000::1": NOWHERE,
    "fbff::1": NOWHERE,
    "fc00::1": INSIDE,
    "fdff:ffff::1": INSIDE,
    "fe80::1": NOWHERE,
    "febf::1": NOWHERE,
    "fec0::1": NOWHERE,
    "ff00::1": NOWHERE,
    "ff02::1": NOWHERE,
}


@given(st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16))
def test_host_bytes_survive_their_text(packed: bytes) -> None:
    host = unpack_host(packed)
    assert pack_host(host) == packed
    assert normalize_host(host) == host


@given(st.binary(min_size=15, max_size=15).map(b"\x20".__add__))
def test_global_host_has_the_text_that_the_kernel_gives_it(packed: bytes) -> None:
    """An answer is matched by the text of its source, so both texts must be the same."""
    assert unpack_host(packed) == socket.inet_ntop(socket.AF_INET6, packed)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("1.2.3.4:6881", Address("1.2.3.4", 6881)),
        ("0.0.0.0:0", Address("0.0.0.0", 0)),
        ("127.0.0.1:65535", Address("127.0.0.1", 65535)),
        ("[::1]:6881", Address("::1", 6881)),
        ("[2A00:0:0:0:0:0:0:1]:1", Address("2a00::1", 1)),
    ],
)
def test_address_is_read_from_text(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        ":80",
        "1.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:65536",
        "1.2.3.4:-1",
        "1.2.3.4:+1",
        "1.2.3.4: 1",
        "1.2.3.4:\u0661",
        "1.2.3.4:\u00b2",
        "1.2.3.4:" + "9" * 5000,
        "1.2.3:6881",
        "01.2.3.4:6881",
        "1.2.3.256:6881",
        "localhost:6881",
        "::1:6881",
        "2a00::1",
        "[::1]",
        "[::1]6881",
        "[::1:6881",
        "[]:6881",
        "[::g]:6881",
    ],
)
def test_text_that_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_address(text)


@given(addresses())
def test_written_address_reads_back(address: Address) -> None:
    assert parse_address(str(address)) == address


def test_host_may_be_a_name_where_names_are_resolved() -> None:
    assert split_host_port("router.example.org:6881") == ("router.example.org", 6881)


@pytest.mark.parametrize(("host", "scopes"), ALLOWED_BY.items())
def test_scope_decides_which_sockets_may_contact_an_address(host: str, scopes: tuple[Scope, ...]) -> None:
    assert tuple(scope for scope in Scope if scope.allows(Address(host, 6881))) == scopes


@pytest.mark.parametrize("host", ["8.8.8.8", "10.0.0.1", "127.0.0.1", "::1", "2a00::1"])
def test_port_zero_is_no_node(host: str) -> None:
    nowhere = Address(host, 0)
    assert not any(scope.allows(nowhere) or scope.allows_peer(nowhere) for scope in Scope)


@pytest.mark.parametrize(
    ("host", "scope"),
    [
        ("127.0.0.1", LOOPBACK),
        ("127.8.0.3", LOOPBACK),
        ("::1", LOOPBACK),
        ("10.0.0.1", PRIVATE),
        ("100.64.0.1", PRIVATE),
        ("192.168.1.1", PRIVATE),
        ("fd00::1", PRIVATE),
        ("0.0.0.0", PUBLIC),
        ("::", PUBLIC),
        ("8.8.8.8", PUBLIC),
        ("2a00::1", PUBLIC),
        ("169.254.1.1", PUBLIC),
        ("fe80::1", PUBLIC),
    ],
)
def test_scope_follows_from_what_a_socket_is_bound_to(host: str, scope: Scope) -> None:
    assert scope_of(host) is scope


@pytest.mark.parametrize(
    ("host", "scopes"),
    [
        ("198.18.0.7", (LOOPBACK,)),
        ("10.0.0.1", (LOOPBACK, PRIVATE)),
        ("8.8.8.8", (LOOPBACK, PRIVATE, PUBLIC)),
        ("2001:db8::7", (LOOPBACK,)),
        ("127.0.0.1", (LOOPBACK,)),
    ],
)
def test_loopback_stores_any_peer(host: str, scopes: tuple[Scope, ...]) -> None:
    """Test networks hold swarms of made-up peers; elsewhere peers obey the rule for nodes."""
    assert tuple(scope for scope in Scope if scope.allows_peer(Address(host, 1))) == scopes


@pytest.mark.parametrize(
    ("scope", "address", "host_key", "network_key"),
    [
        (PUBLIC, Address("8.9.10.11", 1), "8.9.10.11", "8.9.10"),
        (PRIVATE, Address("8.9.10.11", 1), "8.9.10.11", "8.9.10"),
        (PRIVATE, Address("10.9.10.11", 1), "10.9.10.11:1", "10.9.10.11:1"),
        (PUBLIC, Address("2a00:1:2:3:4::5", 1), "2a00:1:2:3:4::5", "2a00000100020003"),
        (LOOPBACK, Address("127.0.0.1", 1), "127.0.0.1:1", "127.0.0.1:1"),
        (LOOPBACK, Address("::1", 1), "[::1]:1", "[::1]:1"),
    ],
)
def test_diversity_counts_hosts_and_networks_but_endpoints_in_own_networks(
    scope: Scope, address: Address, host_key: str, network_key: str
) -> None:
    """One node per IP, one per /24 or /64; the nodes of a test network, or of a lab, share these."""
    assert (scope.host_key(address), scope.network_key(address)) == (host_key, network_key)


@pytest.mark.parametrize(
    "texts",
    [
        ["8.8.8.8:1"],
        ["8.8.8.8:1", "9.9.9.9:1", "[2a00::1]:1", "[2a00:1::1]:1"],
        ["8.8.8.8:1", "8.8.8.8:2", "192.168.1.1:1"],
        ["127.0.0.1:0", "127.0.0.1:0", "127.0.0.2:0"],  # any free ports
        ["0.0.0.0:1", "[::]:1"],
        ["0.0.0.0:1", "[2a00::1]:1"],
        ["0.0.0.0:1", "8.8.8.8:2"],
        ["127.0.0.1:1", "[2a00::1]:1"],  # the families are networks of their own
    ],
)
def test_addresses_that_go_together_may_be_listened_on(texts: list[str]) -> None:
    """Any number of each family (BEP 45)."""
    check_listen([parse_address(text) for text in texts])


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        ([], "give at least one address"),
        (["8.8.8.8:1", "[::1]:1", "8.8.8.8:1"], "8.8.8.8:1 is given twice"),
        (["0.0.0.0:1", "8.8.8.8:1"], "0.0.0.0:1 takes in 8.8.8.8:1"),
        (["[2a00::1]:1", "[::]:1"], "[::]:1 takes in [2a00::1]:1"),
        (["127.0.0.1:1", "8.8.8.8:1"], "127.0.0.1:1 and 8.8.8.8:1 are in different networks"),
        (["0.0.0.0:1", "127.0.0.1:2"], "0.0.0.0:1 and 127.0.0.1:2 are in different networks"),
    ],
)
def test_addresses_that_clash_are_told_in_one_line(texts: list[str], complaint: str) -> None:
    with pytest.raises(ValueError) as refused:
        check_listen([parse_address(text) for text in texts])
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "is_loopback"),
    [
        ("localhost", True),
        ("LocalHost:8001", True),
        ("127.0.0.1:8001", True),
        ("127.9.9.9", True),
        ("[::1]:8001", True),
        ("", False),
        (":8001", False),
        ("localhost.", False),
        ("localhost.example:8001", False),
        ("127.0.0.1.example", False),
        ("user@127.0.0.1", False),
        ("127.0.0.1:80:8001", False),
        ("127.1", False),
        ("2130706433", False),
        ("0.0.0.0:8001", False),
        ("10.0.0.1", False),
        ("\xff", False),
    ],
)
def test_host_of_a_request_is_loopback_or_it_is_not_for_us(text, is_loopback):
    assert is_loopback_host(text) is is_loopback
