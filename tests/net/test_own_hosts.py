"""The addresses of this machine, as the kernel lists them."""

from pathlib import Path

from dhtnode.net.own_hosts import own_hosts

ROUTES = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
Local:
  +-- 0.0.0.0/0 3 0 5
     |-- 45.0.0.0
        /8 host LOCAL
     |-- 127.0.0.1
        /32 host LOCAL
        |-- 192.0.2.2
           /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
"""
SIX = """00000000000000000000000000000001 01 80 10 80       lo
2a000001000200030000000000000004 02 40 00 80     eth0
"""


def test_addresses_of_interfaces_are_read_and_no_networks(tmp_path: Path) -> None:
    (tmp_path / "fib_trie").write_text(ROUTES)
    assert own_hosts(tmp_path) == {"127.0.0.1", "192.0.2.2"}
    (tmp_path / "if_inet6").write_text(SIX)
    assert own_hosts(tmp_path) == {"127.0.0.1", "192.0.2.2", "::1", "2a00:1:2:3::4"}


def test_system_that_does_not_tell_has_none(tmp_path: Path) -> None:
    assert own_hosts(tmp_path) == frozenset()
