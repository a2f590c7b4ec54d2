"""Ethics and security: their claims name tests that are there, and their numbers are those of the code."""

import ast
import re
from pathlib import Path
from random import Random

import pytest

from crawler.cli.main import main
from crawler.core.pace import BACK_OFF
from crawler.settings import CrawlSettings, PeerSettings
from crawler.torrents.peerwire.handshake import new_peer_id
from dhtnode.krpc.scrape_filter import host_mask
from dhtnode.settings import VERSION_TAG

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "explanation" / "ethics.md").read_text(encoding="utf-8")
SECURITY = (ROOT / "docs" / "explanation" / "security.md").read_text(encoding="utf-8")
TESTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE + SECURITY)))


def test_claims_name_tests():
    assert PAGE.count("`tests/") > 20
    assert SECURITY.count("`tests/") > 40


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_named_test_is_there(file, name):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in names


def limit(text):
    (cell,) = re.findall(rf"^\| {re.escape(text)} \| (.*) \|$", PAGE, re.MULTILINE)
    return cell


def test_limits_are_those_of_the_code():
    crawl, peers = CrawlSettings(), PeerSettings()
    assert limit("queries per second, in all") == f"{crawl.rate:g}"
    assert limit("new nodes per second") == f"{crawl.new_endpoints_rate:g}"
    assert limit("queries to one host") == f"{crawl.host_rate:g} per second, {crawl.host_burst:g} at once"
    assert limit("an address that answers with an error") == f"left alone for {BACK_OFF:g} seconds"
    assert limit("new TCP connections per second") == f"{peers.connection_rate:g}"
    assert limit("peers of one swarm that are tried") == str(peers.peers)


def test_tag_is_that_of_the_code():
    assert f"`{VERSION_TAG[:2].decode()}`, {VERSION_TAG[2]}, {VERSION_TAG[3]}" in PAGE


@pytest.mark.parametrize("seed", [1, 2])
def test_peers_are_told_the_same(seed):
    """The letters of `v`, in the form of peer ids, before what is drawn."""
    (prefix,) = re.findall(r"peer id that begins with `([^`]*)`", PAGE)
    assert prefix[1:3] == VERSION_TAG[:2].decode()
    assert new_peer_id(Random(seed)).startswith(prefix.encode())


def test_filters_of_a_watch_are_kept_as_long_as_the_page_says():
    (option,) = [each for each in main.commands["watch"].params if "--keep-filters" in each.opts]
    assert set(re.findall(r"(\d+) days", PAGE)) == {f"{option.default:g}"}


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, command in main.commands.items()
        if any("--bootstrap" in each.opts for each in command.params)
    ],
)
def test_every_command_that_sends_takes_a_list_of_exclusions(name):
    assert any("--exclude" in each.opts for each in main.commands[name].params)


def test_filter_of_one_peer_tells_as_much_as_the_page_says():
    """Which addresses fit the filter of a peer, among those of a /16 and, by the share, among all."""
    mask = host_mask(bytes([198, 51, 100, 7]))
    fitting = [
        host for host in range(1 << 16) if host_mask(bytes([198, 51]) + host.to_bytes(2)) | mask == mask
    ]
    assert fitting == [100 << 8 | 7]
    # Each of two bits is one of the two of 2048; some 3.7 thousand million addresses are public.
    assert round((2 / 2048) ** 2 * 3.7e9, -2) == 3500
    assert "3,500 candidates" in PAGE
    bits = 1 - (1 - 1 / 2048) ** 600
    assert round(1 / bits**2) == 15
    assert "at 300 every fifteenth address fits" in PAGE
