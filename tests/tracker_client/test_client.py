"""Trackers are asked over both protocols, and what they do wrong ends nothing."""

import gzip
import logging
import shutil
import socket
import ssl
import subprocess
import zlib
from contextlib import suppress
from functools import partial
from random import Random
from urllib.parse import unquote_to_bytes

import pytest
import trio
import trio.testing

from dhtnode import Address, InfoHash
from dhtnode.addresses import Scope
from dhtnode.net.outgoing import OutgoingBound
from dhtnode.tracker_client import http_tracker, open_trackers, udp_tracker
from dhtnode.tracker_client import pace as pace_module
from dhtnode.tracker_client.names import addresses_of
from dhtnode.trackers import Event, Outcome, SwarmCounts, TrackerError, parse_tracker_url
from tests.tracker_client.fake_trackers import UdpTracker, response, serving_http, serving_udp

HASHES = [InfoHash(bytes([number]) * 20) for number in range(1, 201)]
X, Y = HASHES[:2]
COUNTS = {X: SwarmCounts(11, 19, 13772), Y: SwarmCounts(1, 2, 3)}


def row(info_hash, counts):
    seeds, leechers, downloaded = counts.seeds, counts.leechers, counts.downloaded
    return b"20:%sd8:completei%de10:downloadedi%de10:incompletei%dee" % (
        info_hash,
        seeds,
        downloaded,
        leechers,
    )


def files(counts):
    return b"d5:filesd" + b"".join(row(*each) for each in sorted(counts.items())) + b"ee"


@pytest.fixture
async def trackers():
    async with open_trackers(random=Random(1)) as client:
        yield client


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(udp_tracker, "PATIENCE", (0.05, 5.0))


async def one(asking):
    (asked,) = await asking
    return asked


async def test_udp_tracker_is_scraped(trackers):
    tracker = UdpTracker({X: (11, 13772, 19)})
    async with serving_udp(tracker) as url:
        asked = await one(trackers.scrape(url, [X, Y, X], is_typed=True))
        again = await one(trackers.scrape(url, [Y], is_typed=True))
    assert asked.answer.counts == {X: COUNTS[X], Y: SwarmCounts(0, 0, 0)}
    assert (asked.outcome, again.answer.counts[Y].is_zero) == (Outcome.ANSWERED, True)
    assert tracker.heard == [0, 2, 2]  # one connection id serves both


async def test_swarms_beyond_what_a_tracker_takes_are_asked_for_again(trackers):
    tracker = UdpTracker({each: (number, 0, 1) for number, each in enumerate(HASHES)}, most=50)
    async with serving_udp(tracker) as url:
        asked = await one(trackers.scrape(url, HASHES, is_typed=True))
    assert asked.answer.counts == {each: SwarmCounts(number, 1, 0) for number, each in enumerate(HASHES)}
    assert not asked.answer.is_cut
    assert tracker.heard == [0, 2, 2, 2, 2]


async def test_tracker_that_answers_for_no_swarm_at_all(trackers):
    async with serving_udp(UdpTracker(most=0)) as url:
        asked = await one(trackers.scrape(url, [X], is_typed=True))
    assert (asked.answer.counts, asked.answer.is_cut) == ({}, True)


async def test_packet_that_is_lost_is_sent_again(trackers, impatient):
    tracker = UdpTracker({X: (1, 2, 3)}, silent_for=1)
    async with serving_udp(tracker) as url:
        asked = await one(trackers.scrape(url, [X], is_typed=True))
    assert (asked.answer.counts[X], tracker.heard) == (SwarmCounts(1, 3, 2), [0, 0, 2])


async def test_silent_tracker(trackers, monkeypatch):
    monkeypatch.setattr(udp_tracker, "PATIENCE", (0.01, 0.01))
    tracker = UdpTracker(silent_for=9)
    async with serving_udp(tracker) as url:
        asked = await one(trackers.scrape(url, [X], is_typed=True))
    assert (asked.answer, asked.outcome, tracker.heard) == (None, Outcome.SILENT, [0, 0])


async def test_connection_id_that_is_refused_is_renewed_once(trackers):
    tracker = UdpTracker(refuses_ids=1)
    async with serving_udp(tracker) as url:
        asked = await one(trackers.scrape(url, [X], is_typed=True))
    assert (asked.outcome, tracker.heard) == (Outcome.ANSWERED, [0, 2, 0, 2])


async def test_tracker_that_takes_no_connection_id_is_left_alone_for_ten_minutes(trackers, monkeypatch):
    """Trackers ban a host that sends wrong ones: two in a row are all that leaves."""
    tracker, pause = UdpTracker({X: (11, 13772, 19)}, refuses_ids=2), udp_tracker.REFUSED_PAUSE
    async with serving_udp(tracker) as url:
        asked = [await one(trackers.scrape(url, [X], is_typed=True)) for _ in range(2)]
        (announced,) = await trackers.announce(url, X, 7000, is_typed=True)
        assert tracker.heard == [0, 2, 0, 2]
        assert [each.outcome for each in (*asked, announced)] == [
            Outcome.REFUSED,
            Outcome.LATER,
            Outcome.LATER,
        ]
        assert pause - 60 < asked[1].error.retry_after <= pause == 600
        (kept,) = trackers._udp.values()
        kept._left_alone_until -= pause
        asked = await one(trackers.scrape(url, [X], is_typed=True))
    assert (asked.answer.counts, tracker.heard[4:]) == ({X: COUNTS[X]}, [0, 2])


async def test_answer_to_another_action_is_none(trackers):
    """One with the right transaction id may be forged; it counts as none."""
    tracker = UdpTracker({X: (11, 13772, 19)})
    tracker.before = lambda answer: (1).to_bytes(4, "big") + answer[4:]
    async with serving_udp(tracker) as url:
        asked = await one(trackers.scrape(url, [X], is_typed=True))
    assert asked.answer.counts == {X: COUNTS[X]}


async def test_tracker_id_is_sent_back(trackers):
    """To the tracker that gave it, of its swarm; the last one counts."""
    seen = []

    def respond(target, _):
        seen.append(target.partition("trackerid=")[2])
        return response(b"d8:intervali60e5:peers0:10:tracker id3:n%%%de" % len(seen))

    async with serving_http(respond) as origin:
        for swarm in (X, X, Y):
            await trackers.announce(f"{origin}/announce", swarm, 7000, is_typed=True)
        await trackers.announce(f"{origin}/announce", X, 7000, event=Event.STOPPED, is_typed=True)
    assert seen == ["", "n%251", "", "n%252"]


async def test_scrape_that_is_too_long_in_words(trackers):
    def respond(target, _):
        told = b"d14:failure reason19:GET string too longe"
        return response(told if target.count("info_hash") > 10 else files(COUNTS))

    async with serving_http(respond) as origin:
        asked = await one(trackers.scrape(f"{origin}/announce", HASHES[:20], is_typed=True))
    assert asked.answer.counts == COUNTS


@pytest.mark.parametrize(
    ("source", "location", "is_typed", "outcome"),
    [
        ("44.0.0.1", "http://127.0.0.1/a", True, Outcome.NOT_PUBLIC),
        ("44.0.0.1", "http://10.0.0.1/a", True, Outcome.NOT_PUBLIC),
        ("44.0.0.1", "http://[fe80::1]/a", True, Outcome.NOT_PUBLIC),
        ("44.0.0.1", "http://44.0.0.2/a", True, None),
        ("44.0.0.1", "http://192.168.1.1/a", False, Outcome.NOT_PUBLIC),
        ("10.0.0.1", "http://10.0.0.2/a", True, None),
        ("10.0.0.1", "http://127.0.0.1/a", True, Outcome.NOT_PUBLIC),
        ("127.0.0.1", "http://127.0.0.2/a", True, None),
    ],
)
async def test_redirect_leads_into_no_network_that_its_tracker_is_not_in(
    trackers, source, location, is_typed, outcome
):
    """Not even from a URL that the user typed: that says nothing of where it leads."""
    found = None
    try:
        await trackers._redirected(parse_tracker_url(location), Address(source, 80), is_typed=is_typed)
    except TrackerError as error:
        found = error.outcome
    assert found is outcome


SPECIAL = [
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
    *("224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1"),
    *("::1", "::", "fe80::1", "fc00::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"),
]


class OneAddress(trio.abc.HostnameResolver):
    """A resolver by which every name leads to some addresses."""

    def __init__(self, *hosts):
        self.hosts = hosts

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # noqa: A002
        found = [(socket.AF_INET6 if ":" in each else socket.AF_INET, each) for each in self.hosts]
        places = [(kind, (each, port, 0, 0) if ":" in each else (each, port)) for kind, each in found]
        return [(kind, socket.SOCK_DGRAM, 17, "", place) for kind, place in places if family in (0, kind)]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


@pytest.mark.parametrize("scheme", ["udp", "http", "https"])
async def test_name_that_leads_into_a_special_network_is_not_asked(trackers, monkeypatch, scheme):
    """Nor connected to: not a packet leaves, whichever address it is."""
    monkeypatch.setattr(trackers._dns, "_dns", None)
    monkeypatch.setattr(udp_tracker.UdpTracker, "_request", None)
    monkeypatch.setattr(http_tracker, "stream", None)
    for host in SPECIAL:
        trio.socket.set_custom_hostname_resolver(OneAddress(host))
        with pytest.raises(TrackerError) as caught:
            await trackers.scrape(f"{scheme}://t.example:6969/announce", [X])
        assert caught.value.outcome in (Outcome.NOT_PUBLIC, Outcome.NO_SUCH_NAME), host
    trio.socket.set_custom_hostname_resolver(OneAddress("10.0.0.1", "44.0.0.1", "fe80::1"))
    url = parse_tracker_url(f"{scheme}://t.example:6969/announce")
    assert await addresses_of(url, Scope.PUBLIC) == [Address("44.0.0.1", 6969)]


async def test_nothing_listens(trackers):
    asked = await one(trackers.scrape("udp://127.0.0.1:1", [X], is_typed=True))
    assert (asked.outcome, asked.error.reason) == (Outcome.UNREACHABLE, "no tracker listens there")
    asked = await one(trackers.scrape("http://127.0.0.1:1/announce", [X], is_typed=True))
    assert asked.outcome is Outcome.UNREACHABLE


async def test_peer_is_announced_over_udp(trackers):
    tracker = UdpTracker(peers=bytes([44, 0, 0, 1, 0x1A, 0xE1]))
    async with serving_udp(tracker) as url:
        asked = await one(trackers.announce(url, X, 7777, is_typed=True))
        await trackers.announce(f"{url}/a?b", X, 7777, event=Event.STOPPED, is_typed=True)
    assert asked.answer.peers == (Address("44.0.0.1", 6881),)
    assert (asked.answer.seeds, asked.answer.leechers, asked.answer.interval) == (5, 3, 1800)
    started, stopped = (packet for packet in tracker.packets if len(packet) >= 98)
    assert (started[16:36], started[36:44], started[83], started[96:98]) == (X, b"-DN0001-", 2, b"\x1e\x61")
    assert int.from_bytes(started[64:72], "big") == 16384  # left: a leecher
    assert (stopped[36:56], stopped[83], stopped[98:]) == (started[36:56], 3, b"\x02\x04/a?b")


async def test_http_tracker_is_scraped(trackers):
    seen = []

    def respond(target, headers):
        seen.append((target, headers["host"], headers["user-agent"].partition("/")[0]))
        return response(gzip.compress(files(COUNTS)), Content_Encoding="gzip")

    async with serving_http(respond) as origin:
        asked = await one(trackers.scrape(f"{origin}/x/announce?k=1", [X, Y], is_typed=True))
    assert asked.answer.counts == COUNTS
    target = "/x/scrape?k=1&info_hash=" + "%01" * 20 + "&info_hash=" + "%02" * 20
    assert seen == [(target, origin.removeprefix("http://"), "dhtnode")]


async def test_swarms_that_an_http_tracker_cuts_are_asked_for_again(trackers):
    asked_for = []

    def respond(target, _):
        hashes = [unquote_to_bytes(part[10:]) for part in target.partition("?")[2].split("&")]
        asked_for.append(len(hashes))
        return response(files({each: COUNTS[X] for each in hashes[:30] if each != HASHES[120]}))

    monotone = HASHES[:121]  # the last one is not known
    async with serving_http(respond) as origin:
        asked = await one(trackers.scrape(f"{origin}/announce", monotone, is_typed=True))
    assert set(asked.answer.counts) == set(monotone[:-1])
    # That none of thirty listed ones was at a later place is no chance.
    assert asked_for == [50, 30, 30, 30, 1]


async def test_http_tracker_that_takes_few_at_once(trackers):
    def respond(target, _):
        hashes = target.count("info_hash")
        return response(b"", "414 URI Too Long") if hashes > 10 else response(files(COUNTS))

    async with serving_http(respond) as origin:
        asked = await one(trackers.scrape(f"{origin}/announce", HASHES[:20], is_typed=True))
    assert asked.answer.counts == COUNTS


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (response(b"", "404 Not Found"), Outcome.HTTP),
        (response(b"<html>"), Outcome.MALFORMED),
        (response(b"x", Content_Encoding="gzip"), Outcome.MALFORMED),
        (response(b"x", Content_Encoding="br"), Outcome.MALFORMED),
        (b"nonsense\r\n\r\n", Outcome.MALFORMED),
        (response(b"d14:failure reason2:no8:retry in5:nevere"), Outcome.NEVER),
        (response(b"", "302 Found", Location="ftp://a.example/"), Outcome.MALFORMED),
        (response(b"", "302 Found", Location="http://[::1/"), Outcome.MALFORMED),
        (response(b"", "302 Found", Location="/announce?again"), Outcome.MALFORMED),
    ],
)
async def test_what_is_no_answer_of_an_http_tracker(trackers, answer, outcome):
    async with serving_http(lambda *_: answer) as origin:
        asked = await one(trackers.scrape(f"{origin}/announce", [X], is_typed=True))
    assert (asked.answer, asked.outcome) == (None, outcome)


@pytest.mark.parametrize("level", [1, 9])
async def test_answer_that_unpacks_without_end_is_cut(trackers, level):
    """A gigabyte of zeros, in a megabyte: no more than the bound is held."""
    packer = zlib.compressobj(level, wbits=31)
    bomb = packer.compress(bytes(64 << 20)) + packer.flush()
    async with serving_http(lambda *_: response(bomb, Content_Encoding="gzip")) as origin:
        asked = await one(trackers.scrape(f"{origin}/announce", [X], is_typed=True))
    assert (asked.outcome, asked.error.reason) == (Outcome.MALFORMED, "more than 4194304 bytes")


async def test_redirect_is_followed_to_where_a_tracker_may_be(trackers):
    def respond(target, _):
        moved = response(b"", "301 Moved", Location="/other/scrape")
        return response(files(COUNTS)) if target.startswith("/other/scrape?info_hash") else moved

    async with serving_http(respond) as origin:
        asked = await one(trackers.scrape(f"{origin}/announce", [X], is_typed=True))
    assert asked.answer.counts == {X: COUNTS[X]}


async def test_no_key_of_a_user_is_logged(trackers, caplog):
    """Not by the HTTP client either, nor from where a redirect leads."""
    caplog.set_level(logging.DEBUG)
    key = "0123456789abcdef0123456789abcdef"

    def respond(target, _):
        elsewhere = response(b"", "302 Found", Location=f"/{key}/other/scrape?info_hash=x")
        return (
            response(b"d14:failure reason%d:%be" % (len(key), key.encode()))
            if "other" in target
            else elsewhere
        )

    async with serving_http(respond) as origin:
        asked = await one(trackers.scrape(f"{origin}/{key}/announce", [X], is_typed=True))
    assert (asked.outcome, asked.error.reason) == (Outcome.REFUSED, "...")
    assert key not in caplog.text + repr(asked)


async def test_no_cookie_is_kept(trackers):
    """One that a tracker sets would tell our requests from those of others."""
    seen = []

    def respond(_, headers):
        seen.append(headers.get("cookie"))
        return response(files(COUNTS), Set_Cookie="id=1")

    async with serving_http(respond) as origin:
        for _ in range(2):
            await trackers.scrape(f"{origin}/announce", [X], is_typed=True)
    assert seen == [None, None]


@pytest.fixture
def certificate(tmp_path):
    """The path of a certificate of `a.test` that signs itself, and of its key."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    paths = [str(tmp_path / name) for name in ("cert.pem", "key.pem")]
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=a.test", "-addext", "subjectAltName=DNS:a.test"]
    command = ["openssl", "req", *kind, *names, "-out", paths[0], "-keyout", paths[1]]
    subprocess.run(command, check=True, capture_output=True)
    return paths


async def test_certificates_are_verified_for_the_name_of_each_url(certificate, monkeypatch):
    """Two names at one address do not share a connection, which is verified for one of them."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(*certificate)

    async def answer(stream):
        async with trio.SSLStream(stream, server, server_side=True) as secure:
            with suppress(trio.BrokenResourceError):
                while await secure.receive_some():
                    await secure.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nde")

    async def fetch(client, name, port):
        parts = []

        async def take(part):
            parts.append(part)

        url = parse_tracker_url(f"https://{name}:{port}/announce")
        try:
            await http_tracker.stream(client, url, "/announce?x", Address("127.0.0.1", port), 10, take, 30.0)
        except TrackerError as error:
            return error.outcome
        return b"".join(parts)

    unknown = http_tracker.HttpClient("x")
    trusted = ssl.create_default_context(cafile=certificate[0])
    monkeypatch.setattr(http_tracker.httpx2, "create_ssl_context", lambda **_: trusted)
    client = http_tracker.HttpClient("x")
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        names = ("a.test", "a.test", "b.test")
        assert [await fetch(client, name, port) for name in names] == [b"de", b"de", Outcome.TLS]
        assert await fetch(unknown, "a.test", port) is Outcome.TLS
        await client.aclose()
        await unknown.aclose()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "[fe80::1]", "localhost", "224.0.0.1"])
async def test_tracker_that_a_torrent_names_is_asked_in_public_only(trackers, host):
    with pytest.raises(TrackerError) as caught:
        await trackers.scrape(f"udp://{host}:6969", [X])
    assert caught.value.outcome is Outcome.NOT_PUBLIC


async def test_name_without_an_address(trackers):
    with pytest.raises(TrackerError) as caught:
        await trackers.scrape("udp://no-such-host.invalid:6969", [X])
    assert caught.value.outcome is Outcome.NO_SUCH_NAME


@pytest.mark.parametrize("info_hashes", [["x"], [bytes(19)], [3]])
async def test_arguments_are_checked(trackers, info_hashes):
    with pytest.raises(ValueError, match="info_hashes"):
        await trackers.scrape("udp://127.0.0.1:1", info_hashes, is_typed=True)


async def test_no_host_gets_more_than_ten_packets_in_ten_seconds(autojump_clock):
    """Whatever leads there; one that answers nothing gets fewer."""
    bound = OutgoingBound(trio.current_time)
    pace, sent = pace_module.HostPace(bound), []

    async def send_some(heard):
        for _ in range(12):
            await pace.wait_to_send("44.0.0.1")
            sent.append(trio.current_time())
            if heard:
                pace.hear("44.0.0.1")

    for heard in (True, False):
        sent.clear()
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(send_some, heard)
        most = max(sum(start <= at < start + 10 for at in sent) for start in sent)
        assert most <= (10 if heard else 5)
        await trio.sleep(60)


async def test_loopback_has_no_pace(autojump_clock):
    pace = pace_module.HostPace()
    for _ in range(50):
        await pace.wait_to_send("127.0.0.1")
    assert trio.current_time() < 1
