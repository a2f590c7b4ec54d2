"""Packets of UDP trackers: their bytes, and what is made of bad ones."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode import Address, Family, InfoHash
from dhtnode.trackers.messages import AnnounceRequest, Event, Outcome, SwarmCounts, TrackerError
from dhtnode.trackers.udp_packets import (
    MAX_SCRAPED,
    is_about_connection,
    pack_announce,
    pack_connect,
    pack_scrape,
    read_announce,
    read_connect,
    read_error,
    read_header,
    read_scrape,
)

FIRST, SECOND = InfoHash(bytes(range(20))), InfoHash(bytes(range(20, 40)))
CONNECTION, TRANSACTION = 0x1122334455667788, 0x0BADCAFE
REQUEST = AnnounceRequest(FIRST, b"-XX0001-abcdefghijkl", 6881, 0xDEADBEEF, Event.STARTED, 0x4000, -1)
HEAD = "00000001 0badcafe 00000708 00000003 00000005"


def test_connect():
    assert pack_connect(TRANSACTION) == bytes.fromhex("0000041727101980 00000000 0badcafe")
    assert read_connect(bytes.fromhex("00000000 0badcafe 1122334455667788")) == CONNECTION


def test_announce():
    plain = (
        "1122334455667788 00000001 0badcafe 000102030405060708090a0b0c0d0e0f10111213"
        "2d5858303030312d6162636465666768696a6b6c 0000000000000000 0000000000004000 0000000000000000"
        "00000002 00000000 deadbeef ffffffff 1ae1"
    )
    assert pack_announce(CONNECTION, TRANSACTION, REQUEST) == bytes.fromhex(plain)
    with_path = pack_announce(CONNECTION, TRANSACTION, REQUEST, b"/dir?a=b&c=d")
    assert with_path == bytes.fromhex(plain + "020c2f6469723f613d6226633d64")


def test_long_path_is_chained():
    packet = pack_announce(CONNECTION, TRANSACTION, REQUEST, b"/" + b"x" * 299)
    assert (len(packet), packet[98:100], packet[355:357]) == (98 + 2 + 255 + 2 + 45, b"\x02\xff", b"\x02\x2d")


def test_scrape():
    head = "1122334455667788 00000002 0badcafe"
    packet = pack_scrape(CONNECTION, TRANSACTION, [FIRST, SECOND])
    assert packet == bytes.fromhex(head) + FIRST + SECOND
    most = [InfoHash(number.to_bytes(20, "big")) for number in range(MAX_SCRAPED)]
    assert len(pack_scrape(CONNECTION, TRANSACTION, most)) == 1416


@pytest.mark.parametrize("info_hashes", [[], [FIRST, FIRST], [InfoHash(bytes([n]) * 20) for n in range(71)]])
def test_scrape_of_none_of_equals_and_of_too_many(info_hashes):
    with pytest.raises(ValueError, match="1 to 70 different"):
        pack_scrape(CONNECTION, TRANSACTION, info_hashes)


@pytest.mark.parametrize(
    ("family", "peers", "expected"),
    [
        (Family.IPV4, "c63364051ae1 c6336406c8d5", [("198.51.100.5", 6881), ("198.51.100.6", 51413)]),
        (Family.IPV6, "20010db8000000000000000000000005 1ae1", [("2001:db8::5", 6881)]),
        (Family.IPV4, "c63364051ae1 c6336406", [("198.51.100.5", 6881)]),
        (Family.IPV4, "c63364050000", []),
    ],
    ids=["IPv4", "IPv6", "cut short", "port 0"],
)
def test_peers_of_an_announce(family, peers, expected):
    answer = read_announce(bytes.fromhex(HEAD + peers), family)
    assert (answer.interval, answer.seeds, answer.leechers) == (1800, 5, 3)
    assert list(answer.peers) == [Address(*each) for each in expected]


def scraped(*rows):
    return bytes.fromhex("00000002 0badcafe") + b"".join(
        number.to_bytes(4, "big") for row in rows for number in row
    )


def test_counts_of_a_scrape_are_matched_by_order():
    answer = read_scrape(scraped((5, 7, 3), (1, 2, 0)), [FIRST, SECOND])
    assert answer.counts == {FIRST: SwarmCounts(5, 3, 7), SECOND: SwarmCounts(1, 0, 2)}
    assert not answer.is_cut


def test_scrape_that_was_cut_says_so():
    answer = read_scrape(scraped((5, 7, 3)), [FIRST, SECOND])
    assert (list(answer.counts), answer.is_cut) == ([FIRST], True)


@pytest.mark.parametrize(
    "packet",
    [scraped((1, 1, 1), (1, 1, 1)), scraped((1, 1, 1))[:-4], scraped((1 << 31, 0, 0)), scraped()[:7]],
    ids=["more rows", "row cut short", "number of no peers", "no header"],
)
def test_scrape_that_cannot_be_matched_is_malformed(packet):
    with pytest.raises(TrackerError) as caught:
        read_scrape(packet, [FIRST])
    assert caught.value.outcome is Outcome.MALFORMED


def test_error_of_a_tracker():
    """Up to the first NUL; opentracker refuses a torrent by an answer of 8 bytes."""
    packet = bytes.fromhex("00000003 0badcafe") + b" Connection ID\x1b missmatch \0rest"
    with pytest.raises(TrackerError) as caught:
        read_scrape(packet, [FIRST])
    assert caught.value.outcome is Outcome.REFUSED
    assert is_about_connection(caught.value)
    assert str(caught.value) == r"refused: Connection ID\x1b missmatch"
    assert len(read_error(packet[:8] + b"no " * 999).reason) == 200
    with pytest.raises(TrackerError) as caught:
        read_announce(bytes.fromhex("00000001 0badcafe"), Family.IPV4)
    assert (caught.value.outcome, is_about_connection(caught.value)) == (Outcome.REFUSED, False)


@given(st.binary(max_size=80), st.sampled_from(list(Family)))
def test_any_packet_is_read_or_refused(packet, family):
    for read in (
        read_header,
        read_connect,
        lambda packet: read_announce(packet, family),
        lambda packet: read_scrape(packet, [FIRST, SECOND]),
    ):
        with contextlib.suppress(TrackerError):
            read(packet)
