"""URLs of trackers: which can be asked, where their scrape is, and what is never shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode.trackers.urls import (
    InvalidTrackerUrl,
    SkippedScheme,
    TrackerUrl,
    parse_tracker_url,
    parse_tracker_urls,
)


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
    "text", ["wss://a.example/announce", "ws://a.example:80", "http://abc.i2p/announce.php"]
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
    ],
)
def test_keys_of_users_are_not_shown(path):
    url = parse_tracker_url(f"https://a.example{path}")
    assert url.has_secret
    assert "..." in url.shown
    assert not any(part in url.shown for part in ("0123456789", "ABCDEFGH", "AB12cd"))


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
