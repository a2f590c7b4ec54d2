"""Queries to HTTP trackers, and what is made of their answers."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode import Address, InfoHash
from dhtnode.trackers.http_messages import (
    announce_target,
    escape_query,
    read_announce,
    read_scrape,
    scrape_target,
)
from dhtnode.trackers.messages import AnnounceRequest, Event, Outcome, SwarmCounts, TrackerError
from dhtnode.trackers.urls import parse_tracker_url

RAW = InfoHash(bytes.fromhex("123456789abcdef123456789abcdef123456789a"))
ESCAPED = "%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A"
URL = parse_tracker_url("http://example.com/announce?key=1")
X, Y = InfoHash(b"x" * 20), InfoHash(b"y" * 20)


def test_bytes_of_a_query_are_escaped():
    assert escape_query(RAW) == ESCAPED
    assert escape_query(b"aZ0-._~ +/") == "aZ0-._~%20%2B%2F"


def test_targets_keep_the_query_of_the_url():
    assert scrape_target(URL, [RAW, X]) == f"/scrape?key=1&info_hash={ESCAPED}&info_hash={'x' * 20}"
    request = AnnounceRequest(RAW, b"-DN0001-............", 6881, 0xBEEF, Event.STARTED, 1, tracker_id=b"\0")
    assert announce_target(URL, request) == (
        f"/announce?key=1&info_hash={ESCAPED}&peer_id=-DN0001-............&port=6881&uploaded=0&downloaded=0"
        "&left=1&compact=1&numwant=200&key=0000beef&event=started&trackerid=%00"
    )


def test_tracker_without_scrape():
    with pytest.raises(TrackerError) as caught:
        scrape_target(parse_tracker_url("http://example.com/a"), [X])
    assert caught.value.outcome is Outcome.NO_SCRAPE


@pytest.mark.parametrize(
    ("data", "peers", "named"),
    [
        (b"5:peers6:\xc63d\x05\x1a\xe1", [("198.51.100.5", 6881)], []),
        (
            b"5:peers6:iiiipp6:peers618:iiiiiiiiiiiiiiiipp",
            [("105.105.105.105", 28784), (":".join(["6969"] * 8), 28784)],
            [],
        ),
        (
            (
                b"5:peersld2:ip12:198.51.100.57:peer id20:-XX0001-abcdefghijkl4:porti6881eed2:ip12:"
                b"peer.example4:porti51413eed2:ip3:::14:porti1eed2:ip1:x4:porti0eei7ee"
            ),
            [("198.51.100.5", 6881), ("::1", 1)],
            [("peer.example", 51413)],
        ),
        (b"5:peers0:", [], []),
        (b"6:peers618:" + bytes(18), [], []),
    ],
    ids=["compact", "both families", "list", "none", "port 0"],
)
def test_peers_of_an_announce(data, peers, named):
    answer = read_announce(b"d8:intervali1800e" + data + b"e")
    assert answer.interval == 1800
    assert (list(answer.peers), list(answer.named)) == ([Address(*peer) for peer in peers], named)


def test_other_things_that_an_announce_tells():
    answer = read_announce(
        b"d8:completei5e11:external ip4:\xcb\0q\x0710:incompletei3e8:interval4:180012:min intervali900e"
        b"5:peers0:10:tracker id2:ab15:warning message4:slowe"
    )
    assert (answer.seeds, answer.leechers, answer.interval, answer.min_interval) == (5, 3, 1800, 900)
    assert (answer.warning, answer.tracker_id, answer.external_host) == ("slow", b"ab", "203.0.113.7")
    assert read_announce(b"d5:peers0:e").interval == 1800


@pytest.mark.parametrize(
    ("retry", "outcome", "after"),
    [
        (b"8:retry ini5e", Outcome.LATER, 300),
        (b"8:retry in1:5", Outcome.LATER, 300),
        (b"8:retry in5:never", Outcome.NEVER, None),
        (b"8:retry in4:soon", Outcome.REFUSED, None),
        (b"8:retry ini0e", Outcome.REFUSED, None),
        (b"8:intervali600e", Outcome.REFUSED, 600),
    ],
)
@pytest.mark.parametrize("read", [read_announce, lambda data: read_scrape(data, [X])])
def test_failure_says_when_to_ask_again(retry, outcome, after, read):
    entries = sorted([b"14:failure reason10:Overloaded", retry], key=lambda each: each.partition(b":")[2])
    with pytest.raises(TrackerError) as caught:
        read(b"d" + b"".join(entries) + b"e")
    error = caught.value
    assert (error.outcome, error.reason, error.retry_after) == (outcome, "Overloaded", after)


def files(*entries):
    return b"d5:filesd" + b"".join(entries) + b"ee"


COUNTS = b"d8:completei11e10:downloadedi13772e10:incompletei19ee"


def test_counts_of_a_scrape():
    more = b"d8:completei21e10:downloadedi206e11:downloadersi12e10:incompletei20ee"
    answer = read_scrape(files(b"20:" + X, COUNTS, b"20:" + Y, more), [X, Y, RAW])
    assert answer.counts == {X: SwarmCounts(11, 19, 13772), Y: SwarmCounts(21, 20, 206, 12)}
    assert (answer.counts[X].partial_seeds, answer.counts[Y].partial_seeds) == (None, 8)
    assert not (answer.has_utf8_keys or answer.is_cut)


def test_swarms_that_were_not_asked_for_are_left_out():
    assert read_scrape(files(b"20:" + Y, COUNTS, b"3:abc", COUNTS), [X]).counts == {}


def test_info_hashes_written_as_text_are_read():
    """As bittorrent-tracker writes them: each byte a character, in UTF-8."""
    key = RAW.decode("latin-1").encode()
    answer = read_scrape(files(b"%d:%s" % (len(key), key), COUNTS), [RAW])
    assert (answer.counts, answer.has_utf8_keys) == ({RAW: SwarmCounts(11, 19, 13772)}, True)


@pytest.mark.parametrize("number", [b"i-1e", b"i2147483648e", b"i-65000e", b"le", b"3:abc"])
def test_number_of_no_peers_is_malformed(number):
    with pytest.raises(TrackerError, match="malformed: complete"):
        read_scrape(files(b"20:" + X, b"d8:complete" + number + b"e"), [X])


@pytest.mark.parametrize(
    "data", [b"", b"le", b"d5:filesle", b"<html>", b"d5:filesi1ee", b"d5:peers7:1234567e"]
)
def test_other_bytes_are_malformed(data):
    for read in (read_announce, lambda data: read_scrape(data, [X])):
        with pytest.raises(TrackerError) as caught:
            read(data)
        assert caught.value.outcome is Outcome.MALFORMED


@given(st.binary(max_size=200))
def test_any_answer_is_read_or_refused(data):
    for answer in (data, b"d" + data + b"e", files(data)):
        for read in (read_announce, lambda data: read_scrape(data, [X])):
            with contextlib.suppress(TrackerError):
                read(answer)
