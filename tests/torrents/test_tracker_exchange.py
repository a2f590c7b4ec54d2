"""Tracker exchange: what peers name is read, kept as hints, and neither sent nor asked (BEP 28)."""

from hashlib import sha1
from random import Random

import pytest
import trio

from crawler.db.database import CrawlDatabase
from crawler.db.records.torrents import HandshakeBatch, SwarmContact
from crawler.db.records.trackers import GIVEN, OF_PEER, KnownTracker
from crawler.db.trackers import MOST_HINTS, add_hints
from crawler.torrents import handshakes_of
from crawler.torrents.peerwire.frames import BadPeer
from crawler.torrents.peerwire.tracker_exchange import MAX_URL_BYTES, MAX_URLS, read_trackers_untrusted
from crawler.torrents.tracker_hints import MAX_HINTS, TrackerHints
from crawler.trackers.known_urls import choose
from dhtnode import Address, InfoHash
from dhtnode.bencode import encode
from dhtnode.trackers import parse_tracker_url
from tests.fake_peers import ALL, Peer, Swarm, extended
from tests.torrents.test_named_peers import INFO, INFO_HASH, ask

NOW = "2024-01-01T00:00:00.000Z"
FINGERPRINT = bytes(range(20))


def message(*urls):
    return encode({b"added": list(urls)})


def url(number):
    return b"udp://t%d.example:6969/announce" % number


def test_urls_of_a_message_are_bounded_and_the_rest_is_left_out():
    longest = b"http://a.example/" + b"x" * (MAX_URL_BYTES - 17)
    assert read_trackers_untrusted(message(url(1), 5, [], longest, longest + b"x", b"", url(2))) == [
        url(1),
        longest,
        url(2),
    ]
    many = [url(number) for number in range(MAX_URLS + 1)]
    assert read_trackers_untrusted(message(*many)) == many[:MAX_URLS]
    for empty in ({}, {b"added": b"udp://a:1"}, {b"dropped": [url(1)]}):
        assert read_trackers_untrusted(encode(empty)) == []


@pytest.mark.parametrize("data", [b"", b"le", b"i1e", b"d", b"l" * 9000, message(b"x" * 65537)])
def test_what_is_no_exchange_is_refused(data):
    with pytest.raises(BadPeer):
        read_trackers_untrusted(data)


def taken(*lists):
    hints = TrackerHints()
    for each in lists:
        hints.add(each)
    return hints.taken(Random(1))


def test_hints_are_urls_without_keys_of_the_public_network():
    told = taken(
        [
            url(1),
            b"HTTPS://B.example/announce",
            b"wss://c.example",
            b"http://d.i2p/announce",
            b"http://e.example/0123456789abcdef0123456789abcdef/announce",
            b"http://f.example/announce?passkey=x",
            b"http://user:word@g.example/announce",
            b"udp://192.168.1.1:80",
            b"http://[::1]:80/announce",
            b"udp://t1.example:6969/announce ",
            b"\xff\xfe",
            b"file:///etc/passwd",
        ]
    )
    assert list(map(str, told.urls)) == [url(1).decode(), "https://b.example/announce"]
    assert told.named == 12
    assert told.left_out == {
        "other protocol": 2,
        "looks like a key": 2,
        "in a private network": 2,
        "no URL of a tracker": 3,
        "repeated": 1,
    }
    assert taken() is None


def test_few_hints_are_kept_and_one_peer_has_no_more_say_than_others():
    told = taken([url(number) for number in range(50)], [url(90), url(91)])
    assert len(told.urls) == MAX_HINTS == 20
    assert {parse_tracker_url(url(number).decode()) for number in (90, 91)} < set(told.urls)
    assert told.left_out == {"enough others": 32}


class Naming(Peer):
    """A peer that names trackers under the number that BEP 10 has us give, and has a list of them."""

    urls = ()
    times = 1

    async def __call__(self, stream):
        self.extra = {b"m": {b"ut_metadata": 5, b"lt_tex": 9}, b"tr": self.fingerprint}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._name, stream)
            await super().__call__(stream)
            nursery.cancel_scope.cancel()

    fingerprint = FINGERPRINT

    async def _name(self, stream):
        await trio.sleep(1)
        await stream.send_all(self.times * extended(3, {b"added": list(self.urls)}))


async def swarm_of(nursery, *peers):
    swarm = Swarm(nursery)
    for number, peer in enumerate(peers):
        swarm.peers[Address(f"45.0.0.{number + 1}", 6881)] = peer
    return swarm, list(swarm.peers)


async def contacted(*peers, **settings):
    async with trio.open_nursery() as nursery:
        swarm, addresses = await swarm_of(nursery, *peers)
        contact = await ask(swarm, addresses, **settings)
        nursery.cancel_scope.cancel()
    return contact


def naming(*urls, **more):
    peer = Naming(INFO_HASH, ALL, INFO)
    peer.urls = urls
    vars(peer).update(more)
    return peer


async def test_trackers_that_peers_name_are_told_and_none_is_named_to_them(autojump_clock):
    peers = [naming(url(1), url(2)), naming(url(2)), naming(fingerprint=b"short")]
    contact = await contacted(*peers)
    assert set(contact.trackers.urls) == {parse_tracker_url(url(n).decode()) for n in (1, 2)}
    counts = handshakes_of(contact, NOW)
    assert (counts.lt_tex, counts.tracker_lists, counts.trackers_named) == (3, 1, 2)
    for peer in peers:
        assert url(1) not in peer.received
        assert b"\x14\x09" not in peer.received


async def test_third_message_ends_the_connection(autojump_clock):
    contact = await contacted(naming(url(1), times=3), naming(url(1), times=2))
    assert contact.failures == {"floods with exchanges of trackers": 1}


async def test_nothing_is_kept_of_a_private_torrent(autojump_clock):
    info = encode({b"length": 5, b"name": b"a", b"piece length": 16384, b"pieces": b"p" * 20, b"private": 1})
    private = InfoHash(sha1(info).digest())  # noqa: S324  BEP 3
    peer = Naming(private, ALL, info)
    peer.urls = (url(1),)
    async with trio.open_nursery() as nursery:
        swarm, addresses = await swarm_of(nursery, peer)
        contact = await ask(swarm, addresses, info_hash=private)
        nursery.cancel_scope.cancel()
    assert contact.info.is_private
    assert contact.trackers is None


@pytest.fixture
def store(tmp_path):
    with CrawlDatabase.open(tmp_path / "crawl.db") as opened:
        assert opened.runs.begin("metadata", {}, "0", NOW) == 1
        yield opened


def urls(*numbers):
    return tuple(parse_tracker_url(url(number).decode()) for number in numbers)


def test_hints_are_stored_as_such_and_never_asked_unrequested(store):
    store.trackers.add([KnownTracker(str(urls(1)[0]), "udp", "t1.example", GIVEN, NOW)])
    contact = SwarmContact(INFO_HASH, None, 1, 1, ())
    store.write(1, [HandshakeBatch("given", handshakes_of(contact, NOW), None, None, urls(1, 2))])
    assert [row["trackers_kept"] for row in store.rows("swarm_handshakes")] == [2]
    known = store.trackers.known()
    assert {each.host: each.source for each in known} == {"t1.example": GIVEN, "t2.example": OF_PEER}
    assert [each.url.host for each in choose(known, {})[0]] == ["t1.example"]
    assert len(choose(known, {}, takes_hints=True)[0]) == 2
    named, _ = choose(known, {GIVEN: [str(urls(2)[0])]})
    assert [(each.url.host, each.source) for each in named] == [("t2.example", GIVEN), ("t1.example", GIVEN)]
    store.trackers.meet(each.first_seen(NOW) for each in named)
    assert {each.source for each in store.trackers.known()} == {GIVEN}


def test_hints_in_a_database_are_bounded(store):
    with store.trackers._db.transaction():
        kept = add_hints(store.trackers._db, urls(*range(MOST_HINTS + 5)), NOW)
        again = add_hints(store.trackers._db, urls(0, MOST_HINTS + 7), NOW)
    assert (kept, again, len(store.trackers.known())) == (MOST_HINTS, 1, MOST_HINTS)
