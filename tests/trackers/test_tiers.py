"""The order of BEP 12, preferences of BEP 34, names of BEP 22."""

from collections import Counter
from random import Random

import pytest

from dhtnode.trackers.dns_preferences import Service, allowed_urls, read_preferences
from dhtnode.trackers.local_trackers import SERVICE, SrvRecord, in_order, reverse_name, service_names
from dhtnode.trackers.tiers import Tiers
from dhtnode.trackers.urls import parse_tracker_url


def tried(tiers, count):
    """Return the hosts tried one after the other, each of which fails."""
    hosts = []
    for _ in range(count):
        url = tiers.next_url()
        hosts.append(url and url.host)
        tiers.failed()
    return hosts


URLS = [[f"udp://{name}.example:1" for name in tier] for tier in ("ab", "c", "de")]


def test_all_of_a_tier_are_tried_before_the_next():
    tiers = Tiers([*URLS, ["junk"], []], Random(1))
    first, second, third, fourth, fifth, *rest = tried(tiers, 7)
    assert ({first, second}, third, {fourth, fifth}) == (
        {"a.example", "b.example"},
        "c.example",
        {"d.example", "e.example"},
    )
    assert rest == [None, None]
    tiers.restart()
    assert tried(tiers, 2) == [first, second]


def test_tiers_are_shuffled_once():
    firsts = Counter(
        Tiers([[f"udp://t{n}.example:1" for n in range(4)]], Random(seed)).next_url().host
        for seed in range(400)
    )
    assert sorted(firsts) == [f"t{n}.example" for n in range(4)]
    assert all(60 < count < 140 for count in firsts.values())


def test_one_that_worked_moves_to_the_front_of_its_tier():
    tiers = Tiers(URLS, Random(1))
    first, second = tried(tiers, 2)
    tiers.restart()
    tiers.failed()
    tiers.worked()
    assert tried(tiers, 3) == [second, first, "c.example"]
    assert tiers.urls[0].host == second


def test_torrent_without_trackers():
    tiers = Tiers([], Random(1))
    tiers.worked()
    tiers.failed()
    assert (tiers.next_url(), tiers.urls) == (None, ())


@pytest.mark.parametrize(
    ("records", "services"),
    [
        ([], None),
        ([[b"v=spf1 -all"], [b"bittorrent UDP:1"], [b"BITTORRENTS"]], None),
        ([[b"BITTORRENT"]], ()),
        ([[b"BITTORRENT DENY ALL"]], ()),
        ([[b"BITTORRENT UDP:1337 TCP:80"]], (Service("udp", 1337), Service("http", 80))),
        (
            [[b"BITTORRENT TCP:80"], [b"x"], [b"BITTORRENT UDP:1 TCP:80"]],
            (Service("http", 80), Service("udp", 1)),
        ),
        ([[b"BITTORRENT UDP:13", b"37"]], (Service("udp", 1337),)),
        ([[b"BITTORRENT UDP:0 TCP:65536 UDP:x SCTP:9 TCP:"]], ()),
    ],
)
def test_preferences_of_a_host(records, services):
    assert read_preferences(records) == services


@pytest.mark.parametrize(
    ("services", "urls"),
    [
        (None, ["http://a.example/announce"]),
        ((), []),
        ((Service("udp", 1), Service("http", 80)), ["http://a.example/announce"]),
        (
            (Service("udp", 1), Service("http", 443)),
            ["udp://a.example:1/announce", "https://a.example/announce"],
        ),
    ],
)
def test_tracker_is_asked_where_its_host_says(services, urls):
    asked = allowed_urls(parse_tracker_url("http://a.example/announce"), services)
    assert [str(url) for url in asked] == urls


def names_of(name, suffixes=()):
    return [
        each.removeprefix(SERVICE + ".") for each in service_names(name, lambda domain: domain in suffixes)
    ]


def test_names_of_a_local_tracker():
    """The example of BEP 22."""
    assert reverse_name("69.107.0.14") == "14.0.107.69.in-addr.arpa"
    name = "adsl-69-107-0-14.dsl.pltn13.pacbell.net"
    assert names_of(name) == [name, "dsl.pltn13.pacbell.net", "pltn13.pacbell.net", "pacbell.net"]


def test_no_name_is_asked_for_that_is_open_to_all():
    assert names_of("a.isp.co.uk.", {"co.uk", "uk"}) == ["a.isp.co.uk", "isp.co.uk"]
    assert names_of("host.example.fr") == ["host.example.fr", "example.fr", "fr"]
    assert names_of("") == names_of("net") == []
    assert len(names_of(".".join("abcdefghijklmnop"))) == 10


def test_targets_are_ordered_by_priority_and_drawn_by_weight():
    records = [
        SrvRecord(10, 0, 1, "late"),
        SrvRecord(5, 30, 1, "heavy"),
        SrvRecord(5, 10, 1, "light"),
        SrvRecord(0, 9, 1, "."),
        SrvRecord(0, 9, 0, "none"),
    ]
    firsts = Counter(in_order(records, Random(seed))[0].target for seed in range(400))
    assert set(firsts) == {"heavy", "light"}
    assert 250 < firsts["heavy"] < 350
    assert {in_order(records, Random(seed))[-1].target for seed in range(50)} == {"late"}
