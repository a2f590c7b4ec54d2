"""`dhtnode get` and `dhtnode put`, as they are installed, on a network of their own."""

import re
import stat

import pytest
import trio

from dhtnode import NodeSettings, open_node
from dhtnode.items import MutableItem, public_key_of
from tests.commands import FakeNode, Running, run_command, running_testnet

pytestmark = pytest.mark.slow

HELLO = "e28910ea0adb94dd45ced75fbff3e135c01bc437"  # SHA-1 of 5:hello
SEED = bytes(range(32))
WRONG = [
    (["get", "xyz"], "'xyz' is neither a target of 40 hex digits nor a public key of 64"),
    (["get", "12" * 21], "is neither a target"),
    (["get", " ".join(["12"] * 20)], "is neither a target"),
    (["get", f"magnet:?xt=urn:btih:{HELLO}"], "is no magnet link with a key"),
    (["get", "magnet:?xs=urn:btpk:12"], "want 64 hex digits"),
    (["get", f"magnet:?xs=urn:btpk:{'12' * 32}", "--salt", "s"], "--salt is not for magnet links"),
    (["put", "x", "--salt", "s"], "--salt, --seq and --cas are for mutable items"),
    (["put", "x", "--seq", "1"], "--salt, --seq and --cas are for mutable items"),
    (["put", "x", "--key", "."], "is a directory"),
    (["put", "x", "--key", "missing/key"], "cannot make missing/key"),
    (["put", "x", "--key", "short"], "short holds no key: 64 or 128 hex digits"),
    (["put", "x", "--key", "binary"], "binary holds no key"),
    (["put", "x", "--key", "key", "--seq", "-1"], "--seq"),
    (["put", "x", "--key", "key", "--cas", "9223372036854775808"], "--cas"),
    (["put", "x" * 1000], "a bencoded value may have 1000 bytes"),
    (["put"], "Missing argument 'VALUE'"),
]


@pytest.fixture(scope="module")
def network():
    with running_testnet(12) as running:
        yield running


@pytest.fixture
def dhtnode(network, tmp_path):
    return lambda *words: run_command("dhtnode", *words, *network.options, cwd=tmp_path)


def put(dhtnode, *words):
    ended = dhtnode("put", *words, "--json")
    assert ended.status == 0, ended
    (record,) = ended.records
    return record


def test_text_is_kept_under_its_hash(dhtnode):
    stored = put(dhtnode, "hello")
    got = dhtnode("get", HELLO, "--json")

    assert stored == {
        "target": HELLO,
        "public_key": None,
        "seq": None,
        "stored_at": 8,
        "conflicts": 0,
        "not_taken": 0,
    }
    (record,) = got.records
    assert record.pop("nodes_answered") >= record.pop("copies") >= 1
    assert record == {
        "target": HELLO,
        "value": "hello",
        "bencoded": b"5:hello".hex(),
        "public_key": None,
        "seq": None,
        "info_hash": None,
    }


def test_lines_for_people_are_short(dhtnode):
    assert dhtnode("put", "hello").stdout == f"{HELLO} stored at 8 nodes\n"
    assert dhtnode("get", HELLO).stdout == "hello\n"


def test_value_from_the_network_does_nothing_to_a_terminal(dhtnode):
    target = put(dhtnode, "\x1b[2Jgone")["target"]
    assert dhtnode("get", target).stdout == "\\x1b[2Jgone\n"


def test_signed_text_can_be_replaced_by_its_owner(dhtnode, tmp_path):
    first = dhtnode("put", "one", "--key", "key", "--json")
    second = put(dhtnode, "two", "--key", "key")
    got = dhtnode("get", second["public_key"], "--json")
    assert first.error == "key: a new key"
    assert [first.records[0]["seq"], second["seq"]] == [1, 2]
    assert first.records[0]["target"] == second["target"]
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert [got.records[0][name] for name in ("value", "seq", "target")] == ["two", 2, second["target"]]


def test_salt_makes_another_item_of_the_same_key(dhtnode):
    plain = put(dhtnode, "plain", "--key", "key")
    salted = put(dhtnode, "salted", "--key", "key", "--salt", "s")
    key = plain["public_key"]
    assert dhtnode("get", key).stdout == "plain\n"
    assert dhtnode("get", key, "--salt", "s").stdout == "salted\n"
    assert dhtnode("get", salted["target"], "--salt", "s").stdout == "salted\n"
    assert dhtnode("get", key, "--salt", "t").status == 1


@pytest.mark.parametrize("salt", [b"", b"n"])
def test_link_to_a_torrent_that_changes_leads_to_its_info_hash(network, dhtnode, salt):
    """The one of now, to be used in a script (BEP 46)."""
    link = f"magnet:?xs=urn:btpk:{public_key_of(SEED).hex()}&s={salt.hex()}"
    for number in (1, 2):
        item = MutableItem.sign(SEED, {b"ih": bytes([number]) * 20}, seq=number, salt=salt)
        trio.run(put_item, network, item)
    text, record = dhtnode("get", link), dhtnode("get", link, "--json")
    assert (text.status, text.stdout, text.stderr) == (0, "02" * 20 + "\n", "")
    assert (record.records[0]["info_hash"], record.records[0]["seq"]) == ("02" * 20, 2)


async def put_item(network, item):
    """Put an item that the command cannot make."""
    async with open_node(bootstrap=network.bootstrap, settings=NodeSettings(read_only=True)) as node:
        await node.put_item(item)


def test_link_to_something_else_is_status_1(dhtnode):
    key = put(dhtnode, "a text", "--key", "key")["public_key"]
    ended = dhtnode("get", f"magnet:?xs=urn:btpk:{key}")
    assert (ended.status, ended.stdout) == (1, "")
    assert "points to no torrent" in ended.error


@pytest.mark.parametrize("code", [301, 302])
def test_conflict_at_some_nodes_is_a_warning(tmp_path, code):
    (tmp_path / "key").write_text(SEED.hex())
    with FakeNode(b"a" * 20) as taker, FakeNode(b"b" * 20) as refuser:
        options = ["--key", "key", "--seq", "5", "--bootstrap", str(taker.address)]
        with Running("dhtnode", "put", "x", *options, cwd=tmp_path) as process:
            for node, contacts in ((taker, [refuser.contact]), (refuser, [])):
                query, asker = node.receive()
                node.respond(query, asker, *contacts, token=b"t")
            query, asker = taker.receive()
            taker.respond(query, asker)
            query, asker = refuser.receive()
            refuser.refuse(query, asker, code, "no")
            ended = process.wait()

    assert (ended.status, ended.stdout[-18:]) == (0, "stored at 1 nodes\n")
    assert ended.error == "dhtnode: warning: 1 nodes keep another version"


@pytest.mark.parametrize("options", [["--seq", "1"], ["--seq", "9", "--cas", "1"], ["--cas", "1"]])
def test_other_version_than_expected_is_left_alone(dhtnode, options):
    put(dhtnode, "five", "--key", "key", "--seq", "5")
    ended = dhtnode("put", "x", "--key", "key", *options)
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.error == "dhtnode: 8 nodes keep another version, number 5"
    assert put(dhtnode, "six", "--key", "key", "--cas", "5")["seq"] == 6


def test_item_that_no_node_keeps_is_status_1(dhtnode):
    ended = dhtnode("get", "11" * 20)
    assert (ended.status, ended.stdout) == (1, "")
    assert "nodes keeps " + "11" * 20 in ended.error


@pytest.mark.parametrize(("line", "complaint"), WRONG, ids=[" ".join(line)[:60] for line, _ in WRONG])
def test_wrong_command_line_is_one_line_and_makes_no_key(tmp_path, line, complaint):
    (tmp_path / "short").write_text("12" * 31)
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    (tmp_path / "key").write_text("12" * 32 + "\n")
    ended = run_command("dhtnode", *line, "--bootstrap", "127.0.0.1:1", cwd=tmp_path)
    assert (ended.status, ended.stdout) == (2, "")
    assert complaint in ended.error
    assert {path.name for path in tmp_path.iterdir()} == {"short", "binary", "key"}


def test_sample_prints_what_a_node_holds_peers_for():
    swarm = "ab" * 20
    with running_testnet(3, "--swarm", f"{swarm}:2:3") as running:
        address = running.options[1]
        text, record = (run_command("dhtnode", "sample", address, *more) for more in ([], ["--json"]))
    (shown,) = record.records
    assert (text.status, record.status) == (0, 0)
    assert (shown["address"], shown["num"], shown["info_hashes"]) == (address, 1, [swarm])
    first, second = text.stdout.splitlines()
    assert first.startswith(f"{address} shows 1 of 1 info-hashes; others in ")
    assert second == swarm


def test_sample_without_a_node_is_one_line():
    ended = run_command("dhtnode", "sample", "127.0.0.1:1", "--timeout", "1")
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.error.startswith("dhtnode: ")


def test_salt_that_is_missing_is_asked_for(dhtnode):
    """No node is accused of forging: that an item has a salt, no node says."""
    target = put(dhtnode, "salted", "--key", "salted_key", "--salt", "s")["target"]
    without, other = dhtnode("get", target), dhtnode("get", target, "--salt", "t")
    assert re.fullmatch(
        rf"dhtnode: none of \d+ nodes keeps {target};"
        r" 8 keep an item that was put with a salt: give it with --salt",
        without.error,
    )
    assert "put with another salt" in other.error
    assert dhtnode("get", target, "--salt", "s").stdout == "salted\n"
