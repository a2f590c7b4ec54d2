"""Info-hashes as people write them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode.errors import InvalidInfoHash
from dhtnode.ids import InfoHash
from dhtnode.magnet import Magnet, MutableLink, parse_info_hash, parse_magnet, parse_mutable_link

HASH = bytes.fromhex("0123456789abcdef0123456789abcdef01234567")
HEX = HASH.hex()
BASE32 = "AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH"
OTHER_HEX = "ff" * 20
SHA256 = HEX + "ee" * 12

GOOD = {
    "hex": HEX,
    "upper-case hex": HEX.upper(),
    "spaces around": f"  {HEX}\n",
    "base32": BASE32,
    "lower-case base32": BASE32.lower(),
    "magnet with hex": f"magnet:?xt=urn:btih:{HEX}",
    "magnet with upper-case hex": f"magnet:?xt=urn:btih:{HEX.upper()}",
    "magnet with base32": f"magnet:?xt=urn:btih:{BASE32}",
    "shouted magnet": f"MAGNET:?xt=URN:BTIH:{BASE32}",
    "magnet with more": f"magnet:?dn=a+name&xt=urn:btih:{HEX}&tr=http%3A%2F%2Ft.example%2Fannounce",
    "escaped magnet": f"magnet:?xt=urn%3Abtih%3A{HEX}",
    "version 2 only": f"magnet:?xt=urn:btmh:1220{SHA256}",
    "hybrid, version 1 last": f"magnet:?xt=urn:btmh:1220{'aa' * 32}&xt=urn:btih:{HEX}",
    "first of two": f"magnet:?xt=urn:btih:{HEX}&xt=urn:btih:{OTHER_HEX}",
    "numbered topic": f"magnet:?xt.1=urn:btih:{HEX}&xt.2=urn:btih:{OTHER_HEX}",
    "numbered topics of several kinds": f"magnet:?xt.1=urn:ed2k:{'0' * 32}&xt.20=urn:btih:{BASE32}",
    "numbered topic of version 2": f"magnet:?xt.1=urn:btmh:1220{SHA256}",
    "key in capitals": f"magnet:?DN=a&XT=urn:btih:{HEX}",
    "from a web page": f"magnet:?dn=a&amp;xt=urn:btih:{HEX}&amp;tr=b",
    "from a web page in a web page": f"magnet:?dn=a&amp;amp;xt=urn:btih:{HEX}",
    "from a web page, by number": f"magnet:?dn=a&#38;xt=urn:btih:{HEX}&#X26;tr=b",
    "empty topic before a good one": f"magnet:?xt=urn:btih:&xt=urn:btih:{HEX}",
    "short topic before a good one": f"magnet:?xt=urn:btih:{OTHER_HEX[2:]}&xt.2=urn:btih:{HEX}",
    "broken topic beside version 2": f"magnet:?xt=urn:btih:{OTHER_HEX[2:]}&xt=urn:btmh:1220{SHA256}",
    "broken version 2 before a good one": f"magnet:?xt=urn:btmh:1220&xt=urn:btmh:1220{SHA256}",
    "spaces in a topic": f"magnet:?xt=+urn:btih:{HEX}%20&dn=a",
    "another kind of topic first": f"magnet:?xt=urn:sha1:{BASE32[::-1]}&xt=urn:btih:{HEX}",
}

BAD = {
    "empty": "",
    "blank": "  ",
    "short hex": HEX[:-1],
    "long hex": HEX + "0",
    "32 characters that are no base32": "1" * 32,
    "padded base32": "A" * 26 + "======",
    "40 characters that are no hex": "g" * 40,
    "hex with a gap": HEX[:20] + " " + HEX[21:],
    "foreign digits": "\u0661" * 40,
    "letters that grow when raised": "\u00df" * 16,
    "whole version 2 hash": SHA256,
    "a name": "ubuntu.iso",
    "magnet without topic": "magnet:?dn=a",
    "magnet without query": "magnet:",
    "magnet of another kind": f"magnet:?xt=urn:sha1:{BASE32}",
    "magnet with short hash": f"magnet:?xt=urn:btih:{HEX[:-2]}",
    "magnet with padded base32": "magnet:?xt=urn:btih:" + "A" * 26 + "======",
    "magnet with a broken host": f"magnet://[?xt=urn:btih:{HEX}",
    "topic of a name that only begins alike": f"magnet:?xt.a=urn:btih:{HEX}&xtra=urn:btih:{HEX}",
    "topics that are all broken": f"magnet:?xt=urn:btih:&xt.1=urn:btih:{HEX[1:]}&xt=urn:btmh:1220",
    "multihash of another kind": f"magnet:?xt=urn:btmh:1114{HEX}",
    "short multihash": f"magnet:?xt=urn:btmh:1220{SHA256[:-2]}",
    "multihash that is no hex": f"magnet:?xt=urn:btmh:{'z' * 68}",
    "very long": "x" * 100_000,
    "several lines": "a\nb\nc",
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_info_hash_is_read_from_what_people_paste(text: str) -> None:
    assert parse_info_hash(text) == HASH


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_text_without_info_hash_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InvalidInfoHash) as refusal:
        parse_info_hash(text)
    assert len(str(refusal.value).splitlines()) == 1
    assert 20 < len(str(refusal.value)) < 160


@given(st.text() | st.text(alphabet="magnet:?xt=urn:btih&[]/%").map("magnet:".__add__))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        info_hash = parse_info_hash(text)
    except InvalidInfoHash:
        return
    assert len(info_hash) == 20


@pytest.mark.parametrize("wrong", [None, 5, HASH, bytearray(HASH), [HEX], Path(HEX)], ids=repr)
@pytest.mark.parametrize("parse", [parse_info_hash, parse_mutable_link])
def test_what_is_no_text_is_refused_as_a_wrong_info_hash(parse: Any, wrong: Any) -> None:
    with pytest.raises(InvalidInfoHash, match=f"not from {type(wrong).__name__}$"):
        parse(wrong)


BEP_46 = json.loads((Path(__file__).parents[1] / "vectors" / "bep46_targets.json").read_text())["published"]
KEY = "ab" * 32


@pytest.mark.parametrize("case", BEP_46, ids=lambda case: case["salt_hex"] or "no salt")
def test_published_link_to_a_mutable_torrent_is_read(case: dict[str, str]) -> None:
    """Key and salt, both in hex (BEP 46)."""
    expected = MutableLink(bytes.fromhex(case["k"]), bytes.fromhex(case["salt_hex"]))
    assert parse_mutable_link(case["magnet"]) == expected


@pytest.mark.parametrize(
    "link",
    [
        f" MAGNET:?XS=x&xs=URN:BTPK:{KEY.upper()}&s=ff00\n",
        f"magnet:?xt=urn:btih:{HEX}&xs=http%3A%2F%2Fx&xs=urn%3Abtpk%3A{KEY}&s=ff00&dn=name",
        f"magnet:?xs.1=urn:btpk:&amp;xs.2=urn:btpk:{KEY}&amp;S=ff00",
    ],
)
def test_link_to_a_mutable_torrent_may_hold_more(link: str) -> None:
    assert parse_mutable_link(link) == MutableLink(b"\xab" * 32, b"\xff\x00")


@pytest.mark.parametrize(
    "text",
    [
        *BAD.values(),
        *GOOD.values(),
        KEY,
        f"magnet:?xt=urn:btpk:{KEY}",
        f"magnet:?xs=urn:btpk:{KEY[2:]}",
        f"magnet:?xs=urn:btpk:{KEY}00",
        f"magnet:?xs=urn:btpk:{KEY}&s=abc",
        f"magnet:?xs=urn:btpk:{KEY}&s=" + "00" * 65,
        f"magnet:?xs=urn:btpk:{KEY}&s=" + "z" * 100_000,
    ],
    ids=range(len(BAD) + len(GOOD) + 7),
)
def test_text_that_names_no_mutable_torrent_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InvalidInfoHash) as refusal:
        parse_mutable_link(text)
    assert len(str(refusal.value).splitlines()) == 1
    assert 20 < len(str(refusal.value)) < 250


def test_magnet_link_is_read_as_a_whole():
    link = (
        f"magnet:?xt=urn:btih:{'ab' * 20}&dn=A%20name&amp;tr=udp%3A%2F%2Fa.example%3A1&tr.1=http://b.example/x"
        "&TR=udp://a.example:1&ws=http://c.example/f&x.pe=192.0.2.1:6881&x.pe=&dn=Other"
    )
    assert parse_magnet(link) == Magnet(
        (InfoHash(bytes.fromhex("ab" * 20)),),
        "A name",
        ("udp://a.example:1", "http://b.example/x"),
        ("http://c.example/f",),
        ("192.0.2.1:6881",),
    )


def test_trackers_of_a_link_are_bounded():
    link = f"magnet:?xt=urn:btih:{'ab' * 20}" + "".join(f"&tr=udp://a:{n}" for n in range(1, 200))
    assert len(parse_magnet(link).trackers) == 64


@pytest.mark.parametrize("text", ["ab" * 20, "magnet:?dn=x", ""])
def test_text_that_is_no_link_with_an_info_hash(text):
    with pytest.raises(InvalidInfoHash):
        parse_magnet(text)
