"""Web seeds are asked for the end of the largest file, and each way to answer gets its word."""

from dataclasses import replace
from functools import partial
from urllib.parse import unquote_to_bytes

import pytest
import trio

from dhtnode.bencode import encode
from dhtnode.torrents import NoRequest, WebSeedOutcome, http_seed_request, parse_details, web_seed_request
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
        assert (await client.check(request, is_local=True)).outcome is WebSeedOutcome.LATER
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
