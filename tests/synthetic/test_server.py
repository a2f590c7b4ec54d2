"""The synthetic network on loopback and in memory, its truth on disk, and the command that runs it."""

import csv
import json
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import asdict

import pytest
import trio

from crawler.synthetic.memory import SyntheticMemoryNetwork
from crawler.synthetic.network import Network
from crawler.synthetic.server import bind, open_server
from crawler.synthetic.settings import SyntheticSettings
from crawler.synthetic.truth import COLUMNS, TruthError, check_place, write_end, write_truth
from dhtnode import Address, AddressInUse, InfoHash, NodeSettings, NotJoined, open_node
from tests.commands import Running, run_command, run_each

pytestmark = pytest.mark.slow

if sys.platform != "linux":
    pytest.skip("only Linux has all of 127.0.0.0/8", allow_module_level=True)

READ_ONLY = NodeSettings(read_only=True)


async def closest_found(node, network, target):
    """Return how many of the 8 living nodes closest to a target a lookup finds."""
    population = network.population
    alive = [rank for rank, number in enumerate(population.numbers) if population.is_alive(number)]
    alive.sort(key=lambda rank: population.prefixes[rank] ^ int.from_bytes(target[:8], "big"))
    true = {population.node_id(rank) for rank in alive[:8]}
    return len(true & {found.node_id for found in await node.find_node(target)})


async def test_real_node_joins_and_looks_up_on_loopback():
    """Replies come from the addresses that were asked, or the node would take none of them."""
    async with (
        open_server(SyntheticSettings(nodes=400, stale=0.2, swarms=3, largest=200)) as server,
        open_node(bootstrap=server.bootstrap, settings=READ_ONLY) as node,
    ):
        await node.wait_joined()
        swarm = max(server.network.swarms, key=lambda each: each.peers)
        assert await closest_found(node, server.network, swarm.info_hash) >= 6
        measured = await node.scrape(InfoHash(swarm.info_hash))
        assert abs(measured.estimate.peers - 200) < 40
        assert server.network.counts["sent"] == server.network.counts["replies"] > 20
        assert server.network.counts["to the dead"] > 0


async def test_announced_peer_is_found_by_another_node():
    async with (
        open_server(SyntheticSettings(nodes=100)) as server,
        open_node(bootstrap=server.bootstrap, settings=READ_ONLY) as first,
        open_node(bootstrap=server.bootstrap, settings=READ_ONLY) as second,
    ):
        await first.announce(InfoHash(b"h" * 20), 7001)
        async with second.get_peers(InfoHash(b"h" * 20)) as peers:
            assert await anext(peers) == ("127.0.0.1", 7001)


async def test_latency_delays_and_loss_loses():
    """Each reply takes its time; with a loss of 1 nothing comes through."""
    settings = SyntheticSettings(nodes=50)
    async with (
        open_server(settings, latency=(0.05, 0.06)) as server,
        open_node(bootstrap=server.bootstrap, settings=READ_ONLY) as node,
    ):
        assert (await node.ping(server.network.bootstrap_nodes()[0])).rtt >= 0.05
    async with open_server(settings, loss=1.0) as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.sendto(b"d1:y1:qe", server.network.bootstrap_nodes()[0])
            while not server.network.counts["lost"]:
                await trio.lowlevel.checkpoint()
        assert server.network.counts == {"received": 1, "lost": 1}


async def test_hostile_nodes_do_not_stop_the_server():
    async with (
        open_server(SyntheticSettings(nodes=200, hostile=0.5)) as server,
        open_node(bootstrap=server.bootstrap, settings=READ_ONLY) as node,
    ):
        for target in (b"a" * 20, b"\xd0" * 20, b"3" * 20, b"\x80" * 20):
            await node.find_node(target)
        counts = server.network.counts
        assert counts["lies"] > 10 < counts["replies"]
        assert counts["sent"] == counts["lies"] + counts["replies"]


def test_taken_port_is_refused():
    with bind() as bound, pytest.raises(AddressInUse, match=str(bound.getsockname()[1])):
        bind(bound.getsockname()[1])


async def test_memory_network_answers_in_virtual_time(new_network, autojump_clock):
    """A real node among 500 synthetic ones; hours pass at once, the numbers add up."""
    network = new_network(
        3, SyntheticMemoryNetwork, synthetic=SyntheticSettings(nodes=500, stale=0.2), loss=0.02
    )
    async with network.open_node(0, through=network.synthetic.bootstrap_nodes()) as node:
        await node.wait_joined()
        assert await closest_found(node, network.synthetic, b"t" * 20) >= 6
        await trio.sleep(3600)
        assert await closest_found(node, network.synthetic, b"T" * 20) >= 6
    assert network.synthetic.counts["replies"] > 50
    assert network.counts["lost"] > 0


async def test_memory_network_carries_between_real_nodes_too(new_network, autojump_clock):
    network = new_network(4, SyntheticMemoryNetwork, synthetic=SyntheticSettings(nodes=30))
    bootstrap_nodes = network.synthetic.bootstrap_nodes()
    async with network.open_node(0, through=bootstrap_nodes) as first, network.open_node(1) as second:
        assert (await second.ping(first.addresses[0])).node_id == first.node_id
        network.cut(network.host(0))
        with pytest.raises(NotJoined):
            await first.find_node(b"x" * 20)
    assert network.counts["cut_off"] > 0


SETTINGS = SyntheticSettings(nodes=300, stale=0.25, hostile=0.1, bep42=0.5, swarms=7, largest=70)


def test_truth_as_a_database_is_what_the_network_is(tmp_path):
    network = Network(SETTINGS)
    path = tmp_path / "truth.db"
    write_truth(network, path)
    network.counts["replies"] = 3
    write_end(network, 0.0, path)

    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        nodes = [dict(row) for row in connection.execute("SELECT * FROM nodes")]
        swarms = [tuple(row) for row in connection.execute("SELECT * FROM swarms")]
        settings = dict(connection.execute("SELECT * FROM settings").fetchall())
        counts = dict(connection.execute("SELECT * FROM counts").fetchall())
    assert swarms == [
        (each.info_hash.hex(), each.seeds, each.leechers, each.peers) for each in network.swarms
    ]
    assert (settings, counts) == (asdict(SETTINGS), {"replies": 3})
    assert [row["node_id"] for row in nodes] == sorted(row["node_id"] for row in nodes)
    assert (len(nodes), sum(row["alive"] for row in nodes)) == (400, 300)
    for row in nodes:
        address = Address(row["address"], row["port"])
        replies = network.answer(address, b"d1:ade1:q4:ping1:t1:x1:y1:qe", Address("127.0.0.1", 1), 0.0)
        assert bool(replies) == bool(row["alive"])
        if row["alive"] and row["style"] == "honest":
            assert bytes.fromhex(row["node_id"]) in replies[0][0]
            assert row["version"] is None or bytes.fromhex(row["version"]) in replies[0][0]


def test_truth_as_files_is_that_of_the_database(tmp_path):
    network = Network(SETTINGS)
    write_truth(network, tmp_path / "truth.db")
    write_truth(network, tmp_path / "truth")
    network.counts["replies"] = 3
    write_end(network, 0.0, tmp_path / "truth")

    with closing(sqlite3.connect(tmp_path / "truth.db")) as connection:
        for name in ("nodes", "swarms", "settings"):
            with (tmp_path / "truth" / f"{name}.csv").open(newline="") as file:
                header, *rows = csv.reader(file)
            stored = connection.execute(f"SELECT * FROM {name}").fetchall()
            assert tuple(header) == COLUMNS[name]
            assert rows == [["" if value is None else str(value) for value in row] for row in stored]
    assert (tmp_path / "truth" / "counts.csv").read_text() == "name,value\nreplies,3\n"


def test_truth_replaces_nothing(tmp_path):
    taken, letters, link = tmp_path / "taken.db", tmp_path / "letters", tmp_path / "link.db"
    taken.write_text("mine")
    link.symlink_to("nowhere")
    letters.mkdir()
    check_place(letters)
    (letters / "a.txt").write_text("mine")
    for path in (taken, letters, link):
        with pytest.raises(TruthError, match=path.name):
            check_place(path)
    with pytest.raises(TruthError, match="File exists"):
        write_truth(Network(SyntheticSettings(nodes=1)), taken)
    assert taken.read_text() == "mine"


def test_command_serves_a_census_and_tells_the_truth(tmp_path):
    """`dhtcrawl census` finds at least 99 % of 500 nodes, and all it found is in the truth."""
    truth, db = tmp_path / "truth.db", tmp_path / "census.db"
    options = [
        "--nodes",
        "500",
        "--seed",
        "3",
        "--truth",
        truth,
        "--session",
        "1e8",
        "--absence",
        "1",
        "--json",
    ]
    with Running("dhtcrawl", "synthetic", *map(str, options)) as process:
        told = json.loads(process.read_line())
        bootstrap_nodes = [part for address in told["bootstrap"] for part in ("--bootstrap", address)]
        census = run_command("dhtcrawl", "census", "--db", db, "--rate", "0", "--json", *bootstrap_nodes)
        process.signal(signal.SIGTERM)
        ended = process.wait()

    assert (census.status, ended.status, ended.stderr) == (0, 0, "")
    assert told["nodes"] == 500
    assert census.records[0]["answered"] >= 495
    (record,) = ended.records
    assert record["counts"]["query find_node"] == record["counts"]["replies"]
    with closing(sqlite3.connect(truth)) as connection:
        alive = {row[0] for row in connection.execute("SELECT node_id FROM nodes WHERE alive")}
        counts = dict(connection.execute("SELECT * FROM counts").fetchall())
        # All but the bootstrap nodes, which never leave.
        assert connection.execute("SELECT count(DISTINCT node_id) FROM sessions").fetchone() == (497,)
    with closing(sqlite3.connect(db)) as connection:
        answered = {
            row[0] for row in connection.execute("SELECT node_id FROM visits WHERE outcome = 'answered'")
        }
    assert answered <= alive
    assert len(answered) >= 495
    assert counts == record["counts"]


def test_module_is_the_command():
    line = [sys.executable, "-m", "crawler", "synthetic", "--nodes", "5", "--timeout", "0.1"]
    ended = subprocess.run(line, capture_output=True, text=True, check=True, timeout=60)
    lines = ended.stdout.splitlines()
    assert [text.split(".")[0] for text in lines] == ["127"] * 3


WRONG = [
    (["--nodes", "0"], "--nodes"),
    (["--stale", "1"], "--stale"),
    (["--loss", "nan"], "--loss"),
    (["--latency", "2:1"], "'2:1' is not LOW:HIGH"),
    (["--latency", "x"], "'x' is not LOW:HIGH"),
    (["--largest", "0"], "--largest"),
    (["--nodes", "16000000", "--stale", "0.9"], "nodes and stale contacts together"),
    (["extra"], "unexpected extra argument"),
]


def test_wrong_command_lines_are_one_line_and_status_2(tmp_path):
    lines = [["synthetic", *line] for line, _ in WRONG]
    for ended, (_, complaint) in zip(run_each("dhtcrawl", lines, cwd=tmp_path), WRONG, strict=True):
        assert (ended.status, ended.stdout) == (2, "")
        assert complaint in ended.error


def test_truth_without_a_place_is_status_1(tmp_path):
    (tmp_path / "there.db").write_text("mine")
    lines = [["synthetic", "--truth", "there.db"], ["synthetic", "--truth", "missing/truth.db"]]
    there, missing = run_each("dhtcrawl", lines, cwd=tmp_path)
    assert (there.status, there.error) == (1, "dhtcrawl: there.db: is there already")
    assert (missing.status, missing.error) == (1, "dhtcrawl: missing/truth.db: the directory does not exist")
