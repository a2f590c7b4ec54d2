"""Torrent files on the command line, in place of an info-hash: public ones, private ones, and others."""

import os
import select
from hashlib import sha1

import pytest

from dhtnode.bencode import encode
from tests.commands import FakeNode, Running, run_command, running_testnet, swarm_option

pytestmark = pytest.mark.slow

INFO = {b"length": 5, b"name": b"a.iso", b"piece length": 16384, b"pieces": b"p" * 20}
INFO_HASH = sha1(encode(INFO), usedforsecurity=False).hexdigest()
COMMANDS = [
    ("dhtnode", ["get-peers"]),
    ("dhtnode", ["announce", "--port", "1"]),
    ("dhtnode", ["scrape"]),
    ("dhtcrawl", ["scrape", "--db", "a.db"]),
]
WRONG = [  # the name of a file, and what is said about it
    ("missing.torrent", "cannot read missing.torrent: No such file or directory"),
    ("directory", "cannot read directory: Is a directory"),
    ("text", "text is no torrent file: not bencode"),
    ("empty.torrent", "empty.torrent is no torrent file: not bencode"),
    ("long.torrent", "long.torrent is no torrent file: longer than 100000000 bytes"),
    ("deep.torrent", "deep.torrent is no torrent file: too deep"),
    ("twice.torrent", "twice.torrent is no torrent file: bad piece length"),
    ("negative.torrent", "negative.torrent is no torrent file: not bencode"),
    ("x" * 5000 + ".torrent", "File name too long"),
    ("x" * 5000, "is not an info-hash"),
]


def write(path, info, *nodes):
    bootstrap_nodes = [[node.host.encode(), node.port] for node in nodes]
    path.write_bytes(encode({b"info": info, b"nodes": bootstrap_nodes}))
    return path


@pytest.fixture
def silent():
    with FakeNode() as node:
        yield node


def was_asked(node):
    return bool(select.select([node], [], [], 0)[0])


@pytest.fixture(scope="module")
def network():
    with running_testnet(10, *swarm_option(INFO_HASH, 3, 4)) as running:
        yield running


@pytest.mark.parametrize(("program", "words"), [COMMANDS[0], *COMMANDS[2:]])
def test_file_stands_for_its_info_hash(network, tmp_path, program, words):
    path = write(tmp_path / "a.torrent", INFO)
    ended = run_command(program, *words, path, *network.options, "--json", cwd=tmp_path)
    said = "looked nodes up for 1 of 1 swarms: no fresh census covers them\n" if program == "dhtcrawl" else ""
    assert (ended.status, ended.stderr) == (0, said)
    if words[0] == "scrape":
        (record,) = ended.records
        assert (record["info_hash"], record["peers"]) == (INFO_HASH, 7)
    else:
        assert len(ended.records) == 7


def test_file_is_told_by_its_content_and_not_by_its_name(network, tmp_path):
    path = write(tmp_path / "download", INFO)
    ended = run_command("dhtnode", "get-peers", path.name, *network.options, cwd=tmp_path)
    assert (ended.status, len(ended.stdout.splitlines())) == (0, 7)


def test_peer_of_a_file_is_announced(tmp_path):
    path = write(tmp_path / "a.torrent", INFO)
    with running_testnet(5) as changing:
        ended = run_command("dhtnode", "announce", path, "--port", "7", *changing.options)
        found = run_command("dhtnode", "get-peers", INFO_HASH, *changing.options)
    assert ended.stdout == f"{INFO_HASH} port 7 announced to 5 nodes\n"
    assert found.stdout == "127.0.0.1:7\n"


def test_nodes_of_a_file_are_bootstrap_nodes(tmp_path, silent):
    with FakeNode(b"a" * 20) as helpful:
        path = write(tmp_path / "a.torrent", INFO, helpful.address)
        with Running("dhtnode", "get-peers", path, "--bootstrap", str(silent.address)) as process:
            query, asker = helpful.receive()
            helpful.respond(query, asker, values=(bytes([198, 18, 0, 7, 26, 225]),), token=b"t")
            assert process.read_line() == "198.18.0.7:6881"


@pytest.mark.parametrize(("program", "words"), COMMANDS)
def test_private_torrent_is_refused_before_anything_is_sent(tmp_path, silent, program, words):
    """One line, status 1; neither the given node nor that of the file hears of it, no database is made."""
    path = write(tmp_path / "a.torrent", INFO | {b"private": 1}, silent.address)
    ended = run_command(program, *words, path, "--bootstrap", str(silent.address), cwd=tmp_path)
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.error == (
        f"{program}: {path}: 'a.iso' is a private torrent: its peers are for its tracker alone"
    )
    assert not was_asked(silent)
    assert [each.name for each in tmp_path.iterdir()] == ["a.torrent"]


@pytest.mark.parametrize(("name", "complaint"), WRONG, ids=[name[-20:] for name, _ in WRONG])
def test_file_that_will_not_do_is_one_line_and_status_2(tmp_path, name, complaint):
    (tmp_path / "directory").mkdir()
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty.torrent").write_bytes(b"")
    (tmp_path / "long.torrent").touch()
    os.truncate(tmp_path / "long.torrent", 100_000_001)  # a hole, which takes no room
    (tmp_path / "deep.torrent").write_bytes(b"d1:a" * 1000)
    (tmp_path / "twice.torrent").write_bytes(b"d4:infode4:infodee")
    (tmp_path / "negative.torrent").write_bytes(b"d4:info-6:e")
    ended = run_command("dhtnode", "get-peers", name, "--bootstrap", "127.0.0.1:1", cwd=tmp_path)
    assert (ended.status, ended.stdout) == (2, "")
    assert complaint in ended.error
