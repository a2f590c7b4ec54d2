"""`--pcap`: which commands have it, and what becomes of the file when they end, well or not."""

import json
import signal

import pytest

from crawler.cli.main import main as dhtcrawl
from dhtnode.cli.main import main as dhtnode
from tests.commands import Running, run_command, running_testnet
from tests.pcap.reading import read_capture

SWARM = "5d41402abc4b2a76b9719d911017c592aabbccdd"
SILENT = {
    "dhtnode": {"config", "status", "testnet"},
    "dhtcrawl": {"browse", "demo", "example", "explain", "export", "merge", "purge", "report", "synthetic"},
}
"""Commands that ask no other host, or only those that they play themselves."""


@pytest.mark.parametrize(("name", "group"), [("dhtnode", dhtnode), ("dhtcrawl", dhtcrawl)])
def test_every_command_that_talks_has_the_options(name, group):
    has = {
        command
        for command, each in group.commands.items()
        if {"--pcap", "--pcap-limit"} <= {word for option in each.params for word in option.opts}
    }
    assert set(group.commands) - has == SILENT[name]


@pytest.fixture(scope="module")
def testnet():
    with running_testnet(8, "--swarm", f"{SWARM}:3:2") as testnet:
        yield testnet


def test_both_directions_and_both_programs(testnet, tmp_path):
    for words in (["dhtnode", "scrape", SWARM], ["dhtcrawl", "scrape", "--db", tmp_path / "new.db", SWARM]):
        path = tmp_path / f"{words[0]}.pcapng"
        assert run_command(*words, *testnet.options, "--pcap", path).status == 0
        packets, (seen, dropped) = read_capture(path)
        assert (seen, dropped) == (len(packets), 0)
        assert {packet.outbound for packet in packets} == {True, False}


def test_nothing_is_captured_unasked(testnet, tmp_path):
    assert run_command("dhtnode", "scrape", SWARM, *testnet.options, cwd=tmp_path).status == 0
    assert list(tmp_path.iterdir()) == []


def test_refused_in_one_line(testnet, tmp_path):
    path = tmp_path / "old"
    path.write_text("mine")
    ended = run_command("dhtnode", "scrape", SWARM, *testnet.options, "--pcap", path)
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.error == f"dhtnode: {path}: is there already; a capture replaces no file"
    assert path.read_text() == "mine"
    for words in (["--pcap-limit", "3"], ["--pcap", tmp_path / "new", "--pcap-limit", "0"]):
        ended = run_command("dhtnode", "scrape", SWARM, *testnet.options, *words)
        assert (ended.status, ended.stdout) == (2, "")
        assert "--pcap" in ended.error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_file_is_whole_however_a_daemon_ends(testnet, tmp_path, number):
    """All that an answer tells of is there; only where it is killed no counts follow."""
    path = tmp_path / "daemon.pcapng"
    words = ["--listen", "127.0.0.1:0", "--no-default-bootstrap", "--pcap", path, "--json"]
    with Running("dhtnode", "run", *words, *testnet.options, cwd=tmp_path) as daemon:
        [address] = [json.loads(daemon.read_line())["listening"]]
        assert run_command("dhtnode", "ping", address).status == 0
        daemon.signal(number)
        daemon.wait()
    packets, counts = read_capture(path)
    assert counts == (None if number == signal.SIGKILL else (len(packets), 0))
    pings = [packet for packet in packets if b"4:ping" in packet.payload and not packet.outbound]
    assert pings
    assert any(p.outbound and p.destination == pings[-1].source for p in packets)
