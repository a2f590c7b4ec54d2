"""Trackers in the DNS, by a real name server: those of our own network (BEP 22), preferences (BEP 34)."""

import json
from pathlib import Path
from random import Random

import pytest

from dhtnode import Address, InfoHash, InvalidArgument, open_trackers
from dhtnode.tracker_client import local_search
from dhtnode.trackers import Outcome, TrackerError
from dhtnode.trackers.local_trackers import SERVICE, reverse_name
from tests.commands import run_command
from tests.tracker_client.fake_trackers import UdpTracker, serving_udp
from tests.tracker_client.name_server import name_server, needs_dnsmasq

pytestmark = needs_dnsmasq

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/bep22_names.json").read_text())
SWARM = InfoHash(bytes(range(20)))


def srv(domain, target, port=6969, priority=0, weight=0):
    return f"srv-host={SERVICE}.{domain},{target},{port},{priority},{weight}"


async def search(server, host, random=None):
    async with open_trackers(name_servers=[server.address], random=random) as trackers:
        return await trackers.find_local(host)


@pytest.mark.parametrize("entry", [VECTORS["published"], *VECTORS["constructed"]])
async def test_names_that_are_published(tmp_path, entry):
    """The chain ends at the first answer: here at the last name, which has one."""
    names = entry["srv_queries_in_order"]
    last = names[-1].removeprefix(f"{SERVICE}.")
    records = [
        f"ptr-record={entry['ptr_query']},{entry['ptr_answer']}",
        srv(last, "t.example.com"),
        "host-record=t.example.com,44.0.0.1",
    ]
    with name_server(tmp_path, *records) as server:
        found = await search(server, entry["ip"])
    assert (server.asked("PTR"), server.asked("SRV")) == ([entry["ptr_query"]], names)
    assert [str(url) for url in found.urls] == ["http://t.example.com:6969/announce"]
    assert [each.name for each in found.asked] == [entry["ptr_query"], *names]
    assert found.asked[-1].answers == ("t.example.com:6969",)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("host.isp.net", ["host.isp.net", "isp.net"]),
        ("a.isp.co.uk", ["a.isp.co.uk", "isp.co.uk"]),
        ("a.isp.de", ["a.isp.de", "isp.de", "de"]),
        ("net", []),
        (".".join("abcdefghijklmnopq") + ".isp.net", 10),
    ],
)
async def test_neither_top_level_domains_nor_what_is_open_to_all_is_asked(tmp_path, name, asked):
    with name_server(tmp_path, f"ptr-record={reverse_name('44.1.2.3')},{name}") as server:
        found = await search(server, "44.1.2.3")
    queries = [each.removeprefix(f"{SERVICE}.") for each in server.asked("SRV")]
    assert (found.urls, len(queries) if isinstance(asked, int) else queries) == ((), asked)


async def test_targets_that_are_not_used_and_the_name_above(tmp_path):
    """None at all (`.`), port 0, and ones that lead into private networks: then the next name is asked."""
    records = [
        f"ptr-record={reverse_name('44.1.2.3')},a.b.isp.net",
        f"srv-host={SERVICE}.a.b.isp.net",
        srv("a.b.isp.net", "t.isp.net", port=0),
        srv("b.isp.net", "inside.isp.net"),
        srv("b.isp.net", "here.isp.net"),
        srv("b.isp.net", "missing.isp.net"),
        srv("isp.net", "t.isp.net"),
        "host-record=t.isp.net,44.0.0.1,2a00::1",
        "host-record=inside.isp.net,10.0.0.1",
        "host-record=here.isp.net,127.0.0.1,fe80::1",
    ]
    with name_server(tmp_path, *records) as server:
        found = await search(server, "44.1.2.3")
    assert [str(url) for url in found.urls] == ["http://t.isp.net:6969/announce"]
    assert found.asked[1].refused == ()
    assert sorted(found.asked[2].refused) == [
        "no-such-name: missing.isp.net",
        "not-public: here.isp.net is 127.0.0.1",
        "not-public: inside.isp.net is 10.0.0.1",
    ]


async def test_tracker_of_a_private_network_is_for_those_who_are_there(tmp_path):
    records = [
        f"ptr-record={reverse_name('10.1.2.3')},a.lan.example",
        srv("lan.example", "t.lan.example"),
        "host-record=t.lan.example,10.0.0.1",
    ]
    with name_server(tmp_path, *records) as server:
        assert [url.host for url in (await search(server, "10.1.2.3")).urls] == ["t.lan.example"]


async def test_priority_comes_before_weight_and_weights_share_what_is_left(tmp_path):
    records = [
        f"ptr-record={reverse_name('44.1.2.3')},isp.net",
        srv("isp.net", "late.isp.net", priority=10),
        srv("isp.net", "heavy.isp.net", priority=5, weight=30),
        srv("isp.net", "light.isp.net", priority=5, weight=10),
        *(f"host-record={name}.isp.net,44.0.0.1" for name in ("late", "heavy", "light")),
    ]
    firsts = []
    with name_server(tmp_path, *records) as server:
        for seed in range(30):
            urls = (await search(server, "44.1.2.3", Random(seed))).urls
            assert [url.host for url in urls][2:] == ["late.isp.net"]
            firsts.append(urls[0].host)
    assert 14 < firsts.count("heavy.isp.net") < 29


async def test_answer_is_kept_as_long_as_the_dns_says(tmp_path, monkeypatch):
    records = [
        f"ptr-record={reverse_name('44.1.2.3')},isp.net",
        srv("isp.net", "t.isp.net"),
        "host-record=t.isp.net,44.0.0.1",
    ]
    with name_server(tmp_path, *records, "local-ttl=500") as server:
        async with open_trackers(name_servers=[server.address]) as trackers:
            first = await trackers.find_local("44.1.2.3")
            assert await trackers.find_local("44.1.2.3") == first
            assert len(server.asked("PTR")) == 1
        monkeypatch.setattr(local_search, "LONGEST_MEMORY", 0.0)
        async with open_trackers(name_servers=[server.address]) as trackers:
            for _ in range(2):
                await trackers.find_local("44.1.2.3")
        assert len(server.asked("PTR")) == 3


async def test_what_is_no_address():
    async with open_trackers() as trackers:
        for text in ("", "example.com", "1.2.3", "224.0.0.1", "0.0.0.0", "::", None):
            with pytest.raises(InvalidArgument):
                await trackers.find_local(text)


@pytest.mark.slow
def test_command_prints_the_names_and_what_came(tmp_path):
    records = [
        f"ptr-record={reverse_name('44.1.2.3')},a.isp.net",
        srv("isp.net", "t.isp.net"),
        "host-record=t.isp.net,44.0.0.1",
    ]
    with name_server(tmp_path, *records) as server:
        command = ["dhtnode", "local-tracker", "--name-server", str(server.address), "--external"]
        found = run_command(*command, "44.1.2.3")
        as_json = run_command(*command, "44.1.2.3", "--json")
        none = run_command(*command, "44.1.2.4")
        wrong = run_command(*command, "example.com")
    assert found.stdout.splitlines() == [
        "3.2.1.44.in-addr.arpa  PTR  a.isp.net",
        f"{SERVICE}.a.isp.net  SRV  nothing",
        f"{SERVICE}.isp.net  SRV  t.isp.net:6969",
        "http://t.isp.net:6969/announce",
    ]
    *asked, last = map(json.loads, as_json.stdout.splitlines())
    assert [each["kind"] for each in asked] == ["PTR", "SRV", "SRV"]
    assert asked[2]["answers"] == ["t.isp.net:6969"]
    assert last == {"trackers": ["http://t.isp.net:6969/announce"]}
    assert (found.status, as_json.status, none.status, wrong.status) == (0, 0, 1, 2)
    assert none.stderr.splitlines()[-1] == "dhtnode: the network announces no tracker"
    assert none.stdout == "4.2.1.44.in-addr.arpa  PTR  nothing\n"


@pytest.mark.parametrize(
    ("records", "outcome"),
    [
        (["BITTORRENT DENY ALL"], Outcome.DENIED),
        (["BITTORRENT"], Outcome.DENIED),
        (["v=spf1 -all", "BITTORRENT TCP:1 {port}"], None),
        (["BITTORRENT TCP:1", "BITTORRENT {port}"], None),
        (["v=spf1 -all"], None),
        (['"BITTORRENT DENY ALL"'], None),
        (["bittorrent DENY ALL"], None),
    ],
)
async def test_tracker_is_asked_on_the_ports_that_its_host_names(tmp_path, records, outcome):
    """Strings with a space come between quotes in the DNS, which are no part of them."""
    tracker = UdpTracker()
    async with serving_udp(tracker) as url:
        port = int(url.rpartition(":")[2])
        texts = [f"txt-record=t.test,{text.format(port=f'UDP:{port}')}" for text in records]
        with name_server(tmp_path, "host-record=t.test,127.0.0.1", *texts) as server:
            async with open_trackers(name_servers=[server.address]) as trackers:
                try:
                    (asked,) = await trackers.scrape(f"udp://t.test:{port}", [SWARM], is_typed=True)
                    assert asked.outcome is Outcome.ANSWERED
                except TrackerError as error:
                    assert error.outcome is outcome
    assert bool(tracker.heard) is (outcome is None)


async def test_first_port_that_a_host_names_takes_the_place_of_another(tmp_path):
    first, second = UdpTracker(), UdpTracker()
    async with serving_udp(first) as one, serving_udp(second) as two:
        ports = [url.rpartition(":")[2] for url in (one, two)]
        text = f"txt-record=t.test,BITTORRENT UDP:{ports[1]} UDP:{ports[0]}"
        with name_server(tmp_path, "host-record=t.test,127.0.0.1", text) as server:
            async with open_trackers(name_servers=[server.address]) as trackers:
                await trackers.scrape("udp://t.test:9", [SWARM], is_typed=True)
                assert (first.heard, second.heard) == ([], [0, 2])
                await trackers.scrape(f"udp://t.test:{ports[0]}", [SWARM], is_typed=True)
                assert first.heard == [0, 2]


@pytest.mark.slow
async def test_name_server_that_says_nothing_forbids_nothing():
    """One that is not there is as one that does not know."""
    tracker = UdpTracker()
    async with serving_udp(tracker) as url, open_trackers(name_servers=[Address("127.0.0.1", 1)]) as trackers:
        (asked,) = await trackers.scrape(url, [SWARM], is_typed=True)
        assert (await trackers.find_local("44.1.2.3")).urls == ()
    assert asked.outcome is Outcome.ANSWERED
