"""The one blocking call: peers of a swarm for a script without an event loop."""

import select
import threading

import pytest

from dhtnode import Address, InfoHash, InvalidInfoHash, Metainfo, NotJoined, PrivateTorrent, find_peers
from tests.commands import FakeNode, running_testnet, swarm_option

HASH = InfoHash(bytes(range(20)))
EMPTY = InfoHash(bytes(range(1, 21)))
PEERS = 20


@pytest.fixture(scope="module")
def bootstrap():
    with running_testnet(10, *swarm_option(HASH.hex(), 5, PEERS - 5)) as network:
        yield network.bootstrap


@pytest.mark.parametrize(
    "wanted", [HASH, HASH.hex(), f"magnet:?xt=urn:btih:{HASH.hex()}&dn=x", "AAAQEAYEAUDAOCAJBIFQYDIOB4IBCEQT"]
)
def test_peers_are_found_by_every_name_of_a_swarm(bootstrap, wanted):
    """An info-hash as bytes, hex, base32 or a magnet link leads to the same peers, each once."""
    found = find_peers(wanted, bootstrap=bootstrap)
    assert len(found) == len(set(found)) == PEERS
    assert all(isinstance(peer, Address) and peer.host.startswith("198.1") for peer in found)


def test_torrent_file_names_a_swarm_and_bootstrap_nodes(bootstrap):
    torrent = Metainfo("a", HASH, None, nodes=tuple(bootstrap))
    with FakeNode() as silent:
        assert len(find_peers(torrent, bootstrap=[str(silent.address)])) == PEERS


def test_private_torrent_is_refused_before_anything_is_sent():
    with FakeNode() as silent:
        with pytest.raises(PrivateTorrent):
            find_peers(Metainfo("a", HASH, None, is_private=True), bootstrap=[str(silent.address)])
        assert not select.select([silent], [], [], 0)[0]


@pytest.mark.parametrize(
    ("limit", "count"), [(1, 1), (5, 5), (PEERS, PEERS), (PEERS + 5, PEERS), (None, PEERS)]
)
def test_limit_is_the_most_that_is_returned(bootstrap, limit, count):
    assert len(find_peers(HASH, limit=limit, bootstrap=bootstrap)) == count


def test_limit_of_none_at_all_is_refused(bootstrap):
    """Who wants no peers need not call, and is told so."""
    with pytest.raises(ValueError, match="limit 0"):
        find_peers(HASH, limit=0, bootstrap=bootstrap)


def test_swarm_without_peers_is_an_empty_list(bootstrap):
    assert find_peers(EMPTY, bootstrap=bootstrap) == []


@pytest.mark.parametrize("text", ["", "x", "magnet:?dn=nothing", "5d41402abc4b2a76b9719d911017c592aabbccd"])
def test_text_that_names_no_swarm_is_refused(text):
    with pytest.raises(InvalidInfoHash):
        find_peers(text, bootstrap=["127.0.0.1:1"])


@pytest.mark.parametrize("text", ["", "127.0.0.1", "127.0.0.1:70000", "::1:6881"])
def test_bootstrap_that_is_no_host_and_port_is_refused(text):
    with pytest.raises(ValueError, match=r"HOST:PORT|brackets"):
        find_peers(HASH, bootstrap=[text])


def test_network_that_does_not_answer_is_told_from_an_empty_swarm():
    with FakeNode() as silent, pytest.raises(NotJoined, match="no node answered"):
        find_peers(HASH, bootstrap=[str(silent.address)])


def test_time_that_runs_out_without_a_peer_is_a_failure():
    with FakeNode() as silent, pytest.raises(NotJoined, match=r"within 0\.2 s"):
        find_peers(HASH, timeout=0.2, bootstrap=[str(silent.address)])


def test_time_that_runs_out_returns_what_has_come():
    with FakeNode(b"a" * 20) as helpful, FakeNode(b"b" * 20) as silent:

        def help_once():
            query, asker = helpful.receive()
            values = (bytes([198, 51, 100, 7, 26, 225]),)
            helpful.respond(query, asker, silent.contact, values=values, token=b"t")

        thread = threading.Thread(target=help_once)
        thread.start()
        found = find_peers(HASH, timeout=1.0, bootstrap=[str(helpful.address)])
        thread.join(30)
    assert found == [Address("198.51.100.7", 6881)]
