"""Web seeds are asked for the end of the largest file, and each way to answer gets its word."""

import shutil
import ssl
import subprocess
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from hashlib import sha1
from itertools import pairwise
from types import SimpleNamespace
from urllib.parse import unquote_to_bytes

import pytest
import trio

from dhtnode import Address, parse_magnet
from dhtnode.bencode import encode
from dhtnode.torrents import (
    NoRequest,
    WebSeedOutcome,
    http_seed_request,
    magnet_seed_request,
    parse_details,
    pause_asked,
    piece_request,
    web_seed_request,
)
from dhtnode.tracker_client import open_web_seeds, web_seeds
from tests.tracker_client.fake_trackers import response, serving_http

SIZE = 100_000
CONTENT = bytes(n % 251 for n in range(SIZE))
LONE = {b"length": SIZE, b"name": b"a b.iso", b"piece length": 16384, b"pieces": b"p" * 20 * 7}
SEVERAL = {
    b"files": [
        {b"length": 5, b"path": [b"small"]},
        {b"length": SIZE, b"path": [b"d", b"big#1"]},
        {b"attr": b"p", b"length": 10**6, b"path": [b".pad", b"1000000"]},
    ],
    b"name": b"dir",
    b"piece length": 16384,
    b"pieces": b"p" * 20 * 68,
}


def details(info=LONE):
    return parse_details(encode({b"info": info}))


def served(headers, content=CONTENT, total=SIZE):
    """Return what a good server answers, to a request for a range."""
    first, last = map(int, headers["range"].removeprefix("bytes=").split("-"))
    body = content[first : last + 1]
    return response(body, "206 Partial Content", Content_Range=f"bytes {first}-{last}/{total}")


def whole(status, body=b"", **headers):
    return lambda *_: response(body, status, **headers)


ANSWERS = {
    "range": (lambda _, headers: served(headers), WebSeedOutcome.ALIVE),
    "longer body": (lambda _, headers: served(headers) + b"x" * 10**7, WebSeedOutcome.ALIVE),
    "whole file": (whole("200 OK", CONTENT, Content_Length="100000"), WebSeedOutcome.NO_RANGES),
    "whole file of no length": (whole("200 OK", CONTENT), WebSeedOutcome.NO_RANGES),
    "another whole file": (whole("200 OK", b"x", Content_Length="1"), WebSeedOutcome.WRONG_LENGTH),
    "wrong total": (lambda _, headers: served(headers, total=SIZE + 1), WebSeedOutcome.WRONG_LENGTH),
    "not so long": (whole("416 Range Not Satisfiable"), WebSeedOutcome.WRONG_LENGTH),
    "gone": (whole("404 Not Found"), WebSeedOutcome.GONE),
    "gone for good": (whole("410 Gone"), WebSeedOutcome.GONE),
    "refused": (whole("403 Forbidden"), WebSeedOutcome.REFUSED),
    "busy": (whole("503 Service Unavailable"), WebSeedOutcome.LATER),
    "too often": (whole("429 Too Many Requests"), WebSeedOutcome.LATER),
    "broken": (whole("500 Internal Server Error"), WebSeedOutcome.HTTP),
    "cut short": (lambda _, headers: served(headers)[:-1], WebSeedOutcome.MALFORMED),
    "another range": (
        lambda _, headers: served(headers | {"range": "bytes=0-16383"}),
        WebSeedOutcome.MALFORMED,
    ),
    "no range told": (whole("206 Partial Content", CONTENT[-16384:]), WebSeedOutcome.MALFORMED),
    "packed": (
        whole("206 Partial Content", b"x", Content_Encoding="gzip", Content_Range="bytes 0-0/100000"),
        WebSeedOutcome.MALFORMED,
    ),
    "loop": (whole("302 Found", Location="/again"), WebSeedOutcome.MALFORMED),
    "to ftp": (whole("302 Found", Location="ftp://127.0.0.1/x"), WebSeedOutcome.MALFORMED),
    "no HTTP": (lambda *_: b"SSH-2.0-OpenSSH\r\n", WebSeedOutcome.MALFORMED),
}


@pytest.mark.parametrize(("answer", "outcome"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_each_way_to_answer_has_its_word(answer, outcome):
    async with serving_http(answer) as origin, open_web_seeds() as client:
        request = web_seed_request(f"{origin}/files/", details())
        check = await client.check(request, is_local=True)
    assert check.outcome is outcome
    assert check.received <= 65536
    assert check.outcome.is_alive is (outcome in {"alive", "no-ranges", "later"})


async def test_what_is_asked_for_is_the_end_of_the_largest_file():
    heard = []

    def answer(target, headers):
        heard.append((target, headers["range"], headers["accept-encoding"]))
        return served(headers)

    async with serving_http(answer) as origin, open_web_seeds() as client:
        for url, info in (("/f", LONE), ("/f/", LONE), ("/f", SEVERAL), ("/f/", SEVERAL)):
            request = web_seed_request(origin + url, details(info))
            assert (await client.check(request, is_local=True)).received == 16384
    paths = ["/f", "/f/a%20b.iso", "/f/dir/d/big%231", "/f/dir/d/big%231"]
    assert heard == [(path, "bytes=83616-99999", "identity") for path in paths]


async def test_redirect_is_followed_where_it_may_lead():
    def answer(target, headers):
        return served(headers) if target == "/there" else response(b"", "302 Found", Location="/there")

    async with serving_http(answer) as origin, open_web_seeds() as client:
        check = await client.check(web_seed_request(origin + "/here", details()), is_local=True)
    assert (check.outcome, check.status) == (WebSeedOutcome.ALIVE, 206)


@pytest.mark.parametrize("lan", ["10.0.0.1", "192.168.1.1", "127.0.0.1", "[fe80::1]", "localhost"])
async def test_redirect_into_a_special_network_is_not_followed(monkeypatch, lan):
    heard = []

    def answer(target, _):
        heard.append(target)
        return response(b"", "302 Found", Location=f"http://{lan}:{port}/there")

    async with serving_http(answer) as origin, open_web_seeds() as client:
        port = int(origin.rpartition(":")[2])
        find = web_seeds.addresses_of

        async def find_public(url, scope):
            """Have one name of a public address, which is the server of the test."""
            return [Address("127.0.0.1", port)] if url.host == "a.example" else await find(url, scope)

        monkeypatch.setattr(web_seeds, "addresses_of", find_public)
        check = await client.check(web_seed_request("http://a.example/here", details()))
    assert (check.outcome, check.received, heard) == (WebSeedOutcome.NOT_PUBLIC, 0, ["/here"])


async def test_special_networks_are_left_alone():
    """A stranger wrote the URL."""
    heard = []
    async with (
        serving_http(lambda *_: heard.append(1) or response(b"")) as origin,
        open_web_seeds() as client,
    ):
        for place in (origin, "http://10.0.0.1", "http://[fe80::1]", "http://localhost"):
            check = await client.check(web_seed_request(place + "/", details()))
            assert (check.outcome, check.received) == (WebSeedOutcome.NOT_PUBLIC, 0)
    assert not heard


async def test_server_that_cannot_be_reached_is_told():
    nowhere = web_seed_request("http://127.0.0.1:1/", details())
    async with open_web_seeds() as client:
        assert (await client.check(nowhere, is_local=True)).outcome is WebSeedOutcome.UNREACHABLE
        assert (await client.check(replace(nowhere, url="http://a b/"))).outcome is WebSeedOutcome.BAD_URL


RANGE = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 83616-99999/100000\r\n\r\nx"


@pytest.mark.parametrize(
    ("scheme", "start", "outcome", "status"),
    [
        ("https", b"HTTP/1.1 400 Bad Request\r\n\r\n", WebSeedOutcome.TLS, None),
        ("http", RANGE, WebSeedOutcome.SILENT, 206),
        ("http", b"HTTP/1.1 206", WebSeedOutcome.SILENT, None),
    ],
    ids=["no TLS", "drips", "says little"],
)
async def test_server_that_does_not_go_on_is_left(monkeypatch, scheme, start, outcome, status):
    monkeypatch.setattr(web_seeds, "TIMEOUT", 1.0)

    async def serve(stream):
        await stream.receive_some()
        await stream.send_all(start)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery, open_web_seeds() as client:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        url = f"{scheme}://127.0.0.1:{listener.socket.getsockname()[1]}/"
        check = await client.check(web_seed_request(url, details()), is_local=True)
        nursery.cancel_scope.cancel()
    assert (check.outcome, check.status) == (outcome, status)


@pytest.fixture
def untrusted(tmp_path):
    """A context of TLS for a server whose certificate signs itself."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    paths = [str(tmp_path / name) for name in ("cert.pem", "key.pem")]
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=a.test"]
    command = ["openssl", "req", *kind, "-out", paths[0], "-keyout", paths[1]]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*paths)
    return context


async def test_server_whose_certificate_is_not_to_be_trusted_is_told(untrusted):
    async def serve(stream):
        secure = trio.SSLStream(stream, untrusted, server_side=True)
        with suppress(trio.BrokenResourceError):
            await secure.receive_some()

    async with trio.open_nursery() as nursery, open_web_seeds() as client:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        url = f"https://127.0.0.1:{listener.socket.getsockname()[1]}/"
        check = await client.check(web_seed_request(url, details()), is_local=True)
        nursery.cancel_scope.cancel()
    assert (check.outcome, check.status, check.received) == (WebSeedOutcome.TLS, None, 0)


@pytest.mark.parametrize("status", ["206 Partial Content", "200 OK", "503 Service Unavailable"])
@pytest.mark.parametrize("make", [web_seed_request, http_seed_request])
async def test_no_more_than_64_kib_are_read_of_a_body_without_an_end(status, make):
    """What is sent in small parts, too: a part that comes just before enough adds no more than one."""
    sent = []

    async def serve(stream):
        await stream.receive_some()
        await stream.send_all(
            f"HTTP/1.1 {status}\r\nContent-Range: bytes 83616-99999/100000\r\n\r\n".encode()
        )
        with suppress(trio.BrokenResourceError):
            while True:
                await stream.send_all(b"1" * 1000 if len(sent) < 16 else b"1" * 10**6)
                sent.append(1)
                await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery, open_web_seeds() as client:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/"
        check = await client.check(make(url, details()), is_local=True)
        nursery.cancel_scope.cancel()
    assert check.received <= 65_536
    assert check.outcome in {"alive", "no-ranges", "later", "http", "malformed"}


@pytest.mark.parametrize(
    ("told", "body", "pause"),
    [
        ({"Retry_After": "120"}, b"", 120),
        ({"Retry_After": "Wed, 21 Oct 2026 07:28:00 GMT"}, b"", 60),
        ({"Retry_After": "Wed, 21 Oct 2015 07:28:00 GMT"}, b"", 0),
        ({"Retry_After": "99999999"}, b"", 7 * 86_400),
        ({"Retry_After": "soon"}, b"", None),
        ({}, b"30", None),
    ],
)
async def test_pause_that_a_busy_server_asks_for_is_told(told, body, pause):
    now = 1_792_567_620.0  # a minute before that date
    answer = whole("503 Service Unavailable", body, **told)
    async with serving_http(answer) as origin, open_web_seeds(wall_clock=lambda: now) as client:
        check = await client.check(web_seed_request(origin + "/", details()), is_local=True)
    assert (check.outcome, check.retry_after) == (WebSeedOutcome.LATER, pause)


def test_pause_that_is_none():
    assert [pause_asked(text, 0) for text in ("", "-1", "1e3", "1" * 20, "Mon, 99 Foo")] == [None] * 5


async def test_excluded_hosts_are_not_asked():
    """By name and by address, also after a redirect."""
    heard = []

    def answer(target, _):
        heard.append(target)
        return response(b"", "302 Found", Location="/b")

    asked = []

    def excludes(name, address):
        asked.append((name, address.host))
        return len(asked) > 1

    async with serving_http(answer) as origin, open_web_seeds(excludes) as client:
        check = await client.check(web_seed_request(origin + "/a", details()), is_local=True)
    assert (check.outcome, check.reason, heard) == (WebSeedOutcome.NOT_ASKED, "excluded", ["/a"])
    assert asked == [("127.0.0.1", "127.0.0.1")] * 2


async def test_host_is_asked_once_in_ten_seconds(autojump_clock, monkeypatch):
    """Whichever URLs and torrents lead there, by one request after the other."""
    begun = []

    class FakeHttp:
        Redirected = ValueError

        @staticmethod
        @asynccontextmanager
        async def open_response(*_):
            begun.append(trio.current_time())
            await trio.sleep(3)
            yield SimpleNamespace(status_code=404, headers={})

        @staticmethod
        def check_redirect(*_):
            pass

    async def find(url, scope):
        return [Address("198.51.100.9", 80)]

    monkeypatch.setattr(web_seeds, "addresses_of", find)
    client = web_seeds.WebSeeds(FakeHttp, None, lambda *_: False, time.time)
    async with trio.open_nursery() as nursery:
        for number in range(5):
            request = web_seed_request(f"http://{number}.example/", details())
            nursery.start_soon(client.check, request)
    assert len(begun) == 5
    assert all(later - earlier >= 13 for earlier, later in pairwise(begun))


PIECES = [CONTENT[at : at + 16384] for at in range(0, SIZE, 16384)]
HASHES = b"".join(sha1(piece).digest() for piece in PIECES)  # noqa: S324  BEP 3
WHOLE = {**LONE, b"pieces": HASHES}


@pytest.mark.parametrize(
    ("content", "outcome", "hash_ok"),
    [(CONTENT, WebSeedOutcome.ALIVE, True), (CONTENT[::-1], WebSeedOutcome.HASH_WRONG, False)],
)
async def test_piece_is_held_against_its_hash(content, outcome, hash_ok):
    async with (
        serving_http(lambda _, headers: served(headers, content)) as origin,
        open_web_seeds() as client,
    ):
        check = await client.check(piece_request(origin + "/", details(WHOLE)), is_local=True)
    assert (check.outcome, check.hash_ok, check.length_ok) == (outcome, hash_ok, True)
    assert check.outcome.is_alive is hash_ok


def test_piece_lies_in_one_file():
    """Of version 1, files stand in one row; the last piece of all may be shorter."""
    files = [{b"length": 10_000, b"path": [b"a"]}, {b"length": SIZE, b"path": [b"b"]}]
    hashes = b"".join(bytes([n]) * 20 for n in range(7))
    several = {name: value for name, value in LONE.items() if name != b"length"}
    second = piece_request("http://a.example/", details({**several, b"files": files, b"pieces": hashes}))
    assert (second.first, second.wanted, second.sha1) == (6384, 16384, b"\x01" * 20)
    short = piece_request("http://a.example/", details({**LONE, b"length": 100, b"pieces": b"h" * 20}))
    assert (short.first, short.wanted, short.sha1) == (0, 100, b"h" * 20)
    small = [{b"length": 10_000, b"path": [b"%d" % number]} for number in range(3)]
    assert piece_request("http://a.example/", details({**several, b"files": small})) is None
    assert piece_request("http://a.example/", details({**LONE, b"piece length": 5 << 20})) is None


async def test_web_seed_of_a_link_is_asked_for_what_the_link_tells():
    heard = []

    def answer(target, headers):
        heard.append((target, headers["range"]))
        return served(headers)

    topic = f"magnet:?xt=urn:btih:{'ab' * 20}&dn=a%20b"
    async with serving_http(answer) as origin, open_web_seeds() as client:
        for text, url in (
            (topic, f"{origin}/f"),
            (f"{topic}&xl=100000", f"{origin}/"),
            (f"{topic}&xl=9", f"{origin}/f"),
        ):
            check = await client.check(magnet_seed_request(url, parse_magnet(text)), is_local=True)
            heard.append((check.outcome, check.length_ok))
    assert heard[::2] == [("/f", "bytes=0-0"), ("/a%20b", "bytes=83616-99999"), ("/f", "bytes=0-8")]
    assert heard[1::2] == [("alive", None), ("alive", True), ("wrong-length", False)]


async def test_http_seed_gives_the_start_of_a_piece():
    """BEP 17."""
    heard = []

    def answer(target, _):
        heard.append(target)
        return response(b"x" * 1024) if len(heard) == 1 else response(b"30", "503 Service Unavailable")

    torrent = details()
    async with serving_http(answer) as origin, open_web_seeds() as client:
        request = http_seed_request(origin + "/seed?x=1", torrent)
        assert (await client.check(request, is_local=True)).outcome is WebSeedOutcome.ALIVE
        busy = await client.check(request, is_local=True)
    assert (busy.outcome, busy.retry_after) == (WebSeedOutcome.LATER, 30.0)
    path, _, query = heard[0].partition("?")
    names, values = zip(*(field.split("=") for field in query.split("&")), strict=True)
    assert (path, names) == ("/seed", ("x", "info_hash", "piece", "ranges"))
    assert unquote_to_bytes(values[1]) == torrent.metainfo.info_hash_v1
    assert values[2:] == ("0", "0-1023")


@pytest.mark.parametrize(
    ("url", "info", "outcome"),
    [
        ("/1/items/", LONE, WebSeedOutcome.BAD_URL),
        ("http://", LONE, WebSeedOutcome.BAD_URL),
        ("ftp://a.example/", LONE, WebSeedOutcome.NOT_ASKED),
        ("http://a.example/", LONE | {b"name": b".."}, WebSeedOutcome.BAD_URL),
        ("http://a.example/", LONE | {b"name": b"\xff"}, WebSeedOutcome.BAD_URL),
        ("http://a.example/", LONE | {b"length": 0}, WebSeedOutcome.BAD_URL),
        ("http://a.example/", SEVERAL | {b"files": []}, WebSeedOutcome.BAD_URL),
    ],
)
def test_seed_that_cannot_be_asked_says_why(url, info, outcome):
    with pytest.raises(NoRequest) as refused:
        web_seed_request(url, details(info))
    assert refused.value.outcome is outcome
    assert str(refused.value).isprintable()
