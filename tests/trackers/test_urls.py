"""URLs of trackers: which can be asked, where their scrape is, and what is never shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode.trackers import Outcome, TrackerError
from dhtnode.trackers.urls import (
    InvalidTrackerUrl,
    SkippedScheme,
    TrackerUrl,
    parse_tracker_url,
    parse_tracker_urls,
)
from dhtnode.user_keys import has_key, hide_keys


@pytest.mark.parametrize(
    ("text", "url", "again"),
    [
        ("http://example.com/announce", TrackerUrl("http", "example.com", 80, "/announce"), None),
        (
            " HTTPS://Example.COM:8443/a?b=c#d ",
            TrackerUrl("https", "example.com", 8443, "/a?b=c"),
            "https://example.com:8443/a?b=c",
        ),
        ("udp://tracker.example:6969", TrackerUrl("udp", "tracker.example", 6969, ""), None),
        (
            "udp://[2001:DB8::1]:80/announce",
            TrackerUrl("udp", "2001:db8::1", 80, "/announce"),
            "udp://[2001:db8::1]:80/announce",
        ),
        ("http://1.2.3.4:80", TrackerUrl("http", "1.2.3.4", 80, "/"), "http://1.2.3.4/"),
        (
            "http://bücher.example/a",
            TrackerUrl("http", "xn--bcher-kva.example", 80, "/a"),
            "http://xn--bcher-kva.example/a",
        ),
        (
            "http://a.example/ö x",
            TrackerUrl("http", "a.example", 80, "/%C3%B6%20x"),
            "http://a.example/%C3%B6%20x",
        ),
    ],
)
def test_urls_that_can_be_asked(text, url, again):
    assert parse_tracker_url(text) == url
    assert str(url) == (again or text)
    assert parse_tracker_url(str(url)) == url


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "example.com",
            "udp://example.com",
            "ftp://a.example/x",
            "http://",
            "http://a b/",
            "http://a..b/",
        ),
        *("http://u:p@a.example/", "http://a.example:99999/", "http://[::1/", "http://999.1.1.1/"),
        *("udp://a.example:0", "http://" + "a" * 3000, "http://-a.example/"),
    ],
)
def test_texts_that_are_no_trackers(text):
    with pytest.raises(InvalidTrackerUrl):
        parse_tracker_url(text)


@pytest.mark.parametrize(
    "text",
    ["wss://a.example/announce", "ws://a.example:80", "http://abc.i2p/announce.php", "udp://abc.onion:1"],
)
def test_protocols_that_are_not_spoken(text):
    with pytest.raises(SkippedScheme):
        parse_tracker_url(text)


def test_several_are_read_in_their_order():
    found = parse_tracker_urls(
        ["udp://b.example:1", "x", "http://a.example", "udp://b.example:1", "wss://c.example"]
    )
    assert [str(url) for url in found] == ["udp://b.example:1", "http://a.example/"]


@pytest.mark.parametrize(
    ("announce", "scrape"),
    [
        ("/announce", "/scrape"),
        ("/x/announce", "/x/scrape"),
        ("/announce.php", "/scrape.php"),
        ("/announce?x=2%0644", "/scrape?x=2%0644"),
        ("/a", None),
        ("/announce/a", None),
        ("/a?x=/announce", None),
    ],
)
def test_scrape_stands_beside_the_announce(announce, scrape):
    assert parse_tracker_url(f"http://announce.example.com{announce}").scrape_path == scrape


@pytest.mark.parametrize(
    ("path", "data"), [("", b""), ("/", b""), ("/announce", b""), ("/announce?a=b", b"/announce?a=b")]
)
def test_path_that_udp_trackers_are_told(path, data):
    assert parse_tracker_url(f"udp://a.example:1{path}").url_data == data


@pytest.mark.parametrize(
    "path",
    [
        "/0123456789abcdef0123456789abcdef/announce",
        "/announce?passkey=abcdefghij0123456789",
        "/ABCDEFGHIJKLMNOPQRSTUVWXYZ234567/a",
        "/announce.php?pk=AB12cd34EF56gh78IJ90",
        "/announce?passkey=0123456789",
        "/announce?a=b&Torrent_Pass=0123456789x",
        "/ABCDEFGHIJABCDEFGHIJ/announce",
        "/a/AB12cd_-EF56gh-78IJ90xyz/announce",
        "/550e8400-e29b-41d4-0123456789-446655440000/announce".replace("0123456789", "a716"),
        "/announce?u=%AB%CD%EF%01%23%45%67%890123456789",
        "/announce/http%3A%2F%2Fx%2F0123456789abcdef0123",
    ],
)
def test_keys_of_users_are_not_shown(path):
    url = parse_tracker_url(f"https://a.example{path}")
    assert url.has_secret
    for shown in (url.shown, repr(url), hide_keys(f"see {url} there")):
        assert "..." in shown
        assert not any(part in shown for part in ("0123456789", "ABCDEFGH", "AB12cd", "550e", "4455"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://0123456789abcdef0123.a.example/announce", "http://....a.example/announce"),
        ("http://user:word@a.example/announce", "http://...a.example/announce"),
        ("http://user:w@rd@a.example/announce", "http://...a.example/announce"),
        ("wss://a.example/0123456789abcdef0123456789abcdef", "wss://a.example/..."),
        ("http://a.example:x/0123456789abcdef0123456789abcdef", "http://a.example:x/..."),
        ("http://" + "ab" * 28 + ".onion/announce", None),
        ("http://" + "ab" * 26 + ".b32.i2p/announce", None),
        ("http://xn--80aaxitdbjk123456789abc.example/announce", None),
        ("http://a.example/b?user=0&c=1", "http://a.example/b?user=...&c=1"),
    ],
)
def test_keys_anywhere_in_a_text(text, shown):
    """In a host, before it, in what is refused: but the names of networks in which a name is a key."""
    assert hide_keys(text) == (shown or text)
    assert hide_keys(hide_keys(text)) == hide_keys(text)
    assert has_key(text) is (shown is not None)


@pytest.mark.parametrize(
    "text",
    [
        "http://user:0123456789abc@a.example/",
        "http://a.example:x/0123456789abcdef0123456789abcdef",
        "wss://a.example/0123456789abcdef0123456789abcdef",
        "http://0123456789abcdef0123456789abcdef.i2p/a?key=0123456789abc",
    ],
)
def test_error_about_a_url_shows_no_key(text):
    with pytest.raises(InvalidTrackerUrl) as caught:
        parse_tracker_url(text)
    assert "0123456789abc" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_error_of_a_tracker_that_repeats_its_url():
    error = TrackerError(Outcome.REFUSED, "GET /announce?passkey=0123456789abcdef0123 is not known")
    assert error.reason == "GET /announce?passkey=... is not known"
    assert "0123" not in repr(error) + str(error)


@pytest.mark.parametrize(
    "path",
    [
        "/announce",
        "/a/b/announce.php?id=12345",
        "/announce?info=opentrackerwithlongname",
        "/tracker-announce-v2",
    ],
)
def test_words_are_no_keys(path):
    url = parse_tracker_url(f"https://a.example{path}")
    assert (url.has_secret, url.shown) == (False, str(url))


@given(st.text(max_size=60), st.sampled_from(["", "http://", "udp://a.example:1/", "https://["]))
def test_any_text_is_read_or_refused(text, start):
    try:
        url = parse_tracker_url(start + text)
    except InvalidTrackerUrl:
        return
    assert str(url).isascii()
    assert parse_tracker_url(str(url)) == url
