"""The command `dhtnode` as it is installed: what it prints, what it refuses, and how it ends."""

import json
import re
import signal
import socket
import subprocess
import sys

import pytest

from dhtnode.ids import distance_bits
from tests.commands import (
    LEECHERS,
    PROGRAMS,
    SCRAPE_KEYS,
    SEEDS,
    SWARM,
    FakeNode,
    Running,
    has_ipv6_loopback,
    run_command,
    running_testnet,
    swarm_option,
)

SMALL = "11" * 20
EMPTY = "22" * 20
LISTENING = re.compile(r"listening (?P<address>127\.0\.0\.1:\d+) id=(?P<id>[0-9a-f]{40})")
WRONG: list[tuple[list[str], str]] = [
    (["get-peers", "xyz"], "'xyz' is not an info-hash"),
    (["get-peers", "magnet:?dn=x"], "names no info-hash"),
    (["scrape", "5d41"], "'5d41' is not an info-hash"),
    (["scrape", SWARM + "aa"], "is not an info-hash"),
    (["announce", "", "--port", "1"], "'' is not an info-hash"),
    (["find-node", "12"], "'12' is not an id of 40 hex digits"),
    (["find-node", "g" * 40], "is not an id of 40 hex digits"),
    (["ping", "127.0.0.1"], "'127.0.0.1' is not HOST:PORT"),
    (["ping", "127.0.0.1:0"], "port 0 cannot be asked"),
    (["ping", "127.0.0.1:65536"], "'127.0.0.1:65536' is not HOST:PORT"),
    (["ping", "127.0.0.1:-1"], "'127.0.0.1:-1' is not HOST:PORT"),
    (["ping", ":6881"], "':6881' is not HOST:PORT"),
    (["ping", "::1:6881"], "put an IPv6 address in brackets"),
    (["scrape", SWARM, "--bootstrap", "x"], "'x' is not HOST:PORT"),
    (["scrape", SWARM, "--timeout", "0"], "--timeout"),
    (["scrape", SWARM, "--timeout", "-1"], "--timeout"),
    (["scrape", SWARM, "--timeout", "soon"], "--timeout"),
    (["ping", "127.0.0.1:1", "--timeout", "nan"], "NaN"),
    (["announce", SWARM, "--port", "0"], "--port"),
    (["announce", SWARM, "--port", "65536"], "--port"),
    (["announce", SWARM], "Missing option '--port'"),
    (["scrape"], "Missing argument 'INFOHASH'"),
    (["scrape", SWARM, SWARM], "unexpected extra argument"),
    (["scrape", SWARM, "--jsn"], "--jsn"),
    (["scape", SWARM], "No such command 'scape'"),
    (["--verbos", "ping"], "--verbos"),
    (["run", "--listen", "localhost:0"], "'localhost' is not an IP address"),
    (["run", "--listen", "127.0.0.1:65536"], "'127.0.0.1:65536' is not HOST:PORT"),
    (["run", "--listen", "127.0.0.1:5", "--listen", "127.0.0.1:5"], "127.0.0.1:5 is given twice"),
    (["run", "--listen", "0.0.0.0:5", "--listen", "8.8.8.8:5"], "0.0.0.0:5 takes in 8.8.8.8:5"),
    (["run", "--state", "."], "is a directory"),
    (["testnet", "--nodes", "0"], "--nodes"),
    (["testnet", "--nodes", "1", "--swarm", ""], ""),
    (["testnet", "--nodes", "1", "--swarm", SMALL], ""),
    (["testnet", "--nodes", "1", "--swarm", f"{SMALL}:1"], ""),
    (["testnet", "--nodes", "1", "--swarm", f"{SMALL}:1:2:3"], ""),
    (["testnet", "--nodes", "1", "--swarm", f"{SMALL}:-1:2"], ""),
    (["testnet", "--nodes", "1", "--swarm", f"{SMALL}:1:x"], ""),
    (["testnet", "--nodes", "1", "--swarm", f"{SMALL}:1:\N{ARABIC-INDIC DIGIT TWO}"], ""),
    (["testnet", "--nodes", "1", "--swarm", "xyz:1:2"], ""),
    (["testnet", "--nodes", "1", "--swarm", f"{SMALL}:131071:0"], ""),
    (["testnet", "--nodes", "1", "--swarm", f"{SMALL}:{'9' * 5000}:0"], ""),
]
LOOPBACK = ["--listen", "127.0.0.1:0", "--no-default-bootstrap"]


@pytest.fixture(scope="module")
def network():
    """Run a network with one swarm of README's size and one of seven peers; no node joins it."""
    with running_testnet(20, *swarm_option(), *swarm_option(SMALL, 3, 4)) as running:
        yield running


@pytest.fixture(scope="module")
def changing_network():
    with running_testnet(10) as running:
        yield running


def started(process):
    """Return the address and the id of the line that a node prints when it serves."""
    found = LISTENING.fullmatch(process.read_line())
    assert found
    return found["address"], found["id"]


def test_ping_returns_the_node_and_how_it_sees_us(network):
    ended = run_command("dhtnode", "ping", network.bootstrap[0], "--json")
    (record,) = ended.records
    assert (ended.status, ended.stderr) == (0, "")
    assert list(record) == ["address", "node_id", "client", "version", "rtt_ms", "external_address"]
    assert record["address"] == network.bootstrap[0]
    assert re.fullmatch(r"[0-9a-f]{40}", record["node_id"])
    assert (record["client"], record["version"]) == ("dhtnode", "DN 0001")
    assert record["rtt_ms"] > 0
    assert record["external_address"].startswith("127.0.0.1:")


def test_ping_resolves_names(network):
    port = network.bootstrap[0].rpartition(":")[2]
    ended = run_command("dhtnode", "ping", f"localhost:{port}", "--json")
    assert (ended.status, ended.records[0]["address"]) == (0, network.bootstrap[0])


def test_ping_without_json_is_a_line_for_people(network):
    ended = run_command("dhtnode", "ping", network.bootstrap[0])
    assert (ended.status, ended.stderr) == (0, "")
    assert re.fullmatch(
        rf"[0-9a-f]{{40}}  {network.bootstrap[0]}  [0-9.]+ ms  dhtnode \(DN 0001\)"
        r"  sees us as 127\.0\.0\.1:\d+\n",
        ended.stdout,
    )


@pytest.mark.parametrize("program", ["dhtnode", "crawler"])
def test_package_runs_as_a_module(program):
    script = {"dhtnode": "dhtnode", "crawler": "dhtcrawl"}[program]
    told = [
        subprocess.run([*command, "--version"], check=True, capture_output=True, text=True).stdout
        for command in ([sys.executable, "-m", program], [PROGRAMS / script])
    ]
    assert told[0] == told[1] == f"{script}, version 0.1.0\n"


def test_find_node_prints_the_closest_first(network):
    ended = run_command("dhtnode", "find-node", SWARM, *network.options, "--json")
    records = ended.records
    assert (ended.status, ended.stderr, len(records)) == (0, "", 8)
    assert {tuple(record) for record in records} == {("node_id", "address", "distance_bits", "rtt_ms")}
    target = bytes.fromhex(SWARM)
    distances = [int(record["node_id"], 16) ^ int(SWARM, 16) for record in records]
    assert distances == sorted(distances)
    assert [record["distance_bits"] for record in records] == [
        distance_bits(bytes.fromhex(record["node_id"]), target) for record in records
    ]


def test_find_node_without_json_prints_a_line_per_node(network):
    ended = run_command("dhtnode", "find-node", SWARM, *network.options)
    assert ended.status == 0
    lines = ended.stdout.splitlines()
    assert len(lines) == 8
    assert all(re.match(r"[0-9a-f]{40}  127\.0\.0\.1:\d+  [0-9.]+ ms", line) for line in lines)


@pytest.mark.parametrize("as_json", [True, False])
def test_get_peers_prints_each_peer_once(network, as_json):
    options = ["--json"] if as_json else []
    ended = run_command("dhtnode", "get-peers", SMALL, *network.options, *options)
    if as_json:
        assert {tuple(record) for record in ended.records} == {("address",)}
    lines = [record["address"] for record in ended.records] if as_json else ended.stdout.splitlines()
    assert (ended.status, ended.stderr) == (0, "")
    assert len(lines) == len(set(lines)) == 7
    assert all(re.fullmatch(r"198\.1[89]\.\d+\.\d+:6881", line) for line in lines)


@pytest.mark.parametrize(
    "name", [SMALL.upper(), "CEIRCEIRCEIRCEIRCEIRCEIRCEIRCEIR", f"magnet:?xt=urn:btih:{SMALL}"]
)
def test_info_hash_has_several_spellings(network, name):
    """Hex, base32 and magnet links are taken everywhere and printed as lower-case hex."""
    ended = run_command("dhtnode", "scrape", name, *network.options, "--json")
    assert (ended.status, ended.records[0]["info_hash"]) == (0, SMALL)


def test_get_peers_of_an_empty_swarm_says_no():
    with running_testnet(3) as small:
        ended = run_command("dhtnode", "get-peers", EMPTY, *small.options)
    assert (ended.status, ended.stdout, ended.error) == (1, "", f"dhtnode: no peers known for {EMPTY}")


def test_get_peers_prints_a_peer_before_the_lookup_ends():
    with (
        FakeNode(b"a" * 20) as helpful,
        FakeNode(b"b" * 20) as silent,
        Running("dhtnode", "get-peers", SMALL, "--bootstrap", str(helpful.address)) as process,
    ):
        query, asker = helpful.receive()
        values = (bytes([198, 18, 0, 7, 26, 225]),)
        helpful.respond(query, asker, silent.contact, values=values, token=b"t")
        line = process.read_line()
        silent.receive()

        assert (line, process.is_running) == ("198.18.0.7:6881", True)
        process.signal(signal.SIGINT)
        assert process.wait().status == 130


def test_get_peers_with_something_found_is_done_when_time_runs_out():
    with FakeNode(b"a" * 20) as helpful, FakeNode(b"b" * 20) as silent:
        options = ["--bootstrap", str(helpful.address), "--timeout", "1"]
        with Running("dhtnode", "get-peers", SMALL, *options) as process:
            query, asker = helpful.receive()
            values = (bytes([198, 18, 0, 7, 26, 225]),)
            helpful.respond(query, asker, silent.contact, values=values, token=b"t")
            ended = process.wait()
    assert (ended.status, ended.stdout, ended.stderr) == (0, "198.18.0.7:6881\n", "")


def test_announced_peer_is_found(changing_network):
    info_hash = "a1" * 20
    announced = run_command(
        "dhtnode", "announce", info_hash, "--port", "5555", *changing_network.options, "--json"
    )
    found = run_command("dhtnode", "get-peers", info_hash, *changing_network.options, "--json")
    assert (announced.status, announced.stderr) == (0, "")
    assert announced.records == [{"info_hash": info_hash, "port": 5555, "announced_to": 8}]
    assert found.records == [{"address": "127.0.0.1:5555"}]


def test_announce_without_json_is_a_line_for_people(changing_network):
    info_hash = "a2" * 20
    ended = run_command("dhtnode", "announce", info_hash, "--port", "5555", *changing_network.options)
    assert (ended.status, ended.stdout) == (0, f"{info_hash} port 5555 announced to 8 nodes\n")


@pytest.mark.parametrize(("options", "seeds", "leechers"), [(["--seed"], 1, 0), ([], 0, 1)])
def test_announced_seed_is_counted_as_one(changing_network, options, seeds, leechers):
    info_hash = f"a3{seeds}{leechers}" * 10
    run_command("dhtnode", "announce", info_hash, "--port", "5555", *options, *changing_network.options)
    (record,) = run_command("dhtnode", "scrape", info_hash, *changing_network.options, "--json").records
    assert (record["seeds"], record["leechers"], record["peers"]) == (seeds, leechers, 1)


def test_implied_port_is_the_one_that_we_asked_from(changing_network):
    """The number after --port is for nodes that know nothing else."""
    info_hash = "a4" * 20
    options = ["--port", "5", "--implied-port", *changing_network.options]
    ended = run_command("dhtnode", "announce", info_hash, *options)
    (peer,) = run_command("dhtnode", "get-peers", info_hash, *changing_network.options).stdout.split()
    host, port = peer.split(":")
    assert (ended.status, host) == (0, "127.0.0.1")
    assert int(port) > 1023


def test_scrape_states_an_interval_that_holds_the_truth(network):
    """The example of README and issue: 40 seeds and 60 leechers."""
    ended = run_command("dhtnode", "scrape", SWARM, *network.options, "--json")
    (record,) = ended.records
    assert (ended.status, ended.stderr, list(record)) == (0, "", SCRAPE_KEYS)
    assert record["info_hash"] == SWARM
    assert record["peers_low"] <= SEEDS + LEECHERS <= record["peers_high"]
    assert record["peers_low"] <= record["peers"] <= record["peers_high"]
    assert abs(record["seeds"] - SEEDS) <= 5
    assert abs(record["leechers"] - LEECHERS) <= 5
    assert record["saturated"] is False
    assert record["nodes_asked"] == record["nodes_answered"] == record["nodes_with_filters"] == 8
    assert 50 <= record["distinct_peers"] <= 100


def test_scrape_without_json_is_a_line_for_people(network):
    ended = run_command("dhtnode", "scrape", SMALL, *network.options)
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout == (
        f"{SMALL} 7 peers (7 to 7): 3 seeds (3 to 3), 4 leechers (4 to 4);"
        " 8 of 8 nodes gave filters, 7 peers seen\n"
    )


def test_scrape_of_an_empty_swarm_is_zero(network):
    ended = run_command("dhtnode", "scrape", EMPTY, *network.options, "--json")
    (record,) = ended.records
    assert ended.status == 0
    assert [record[key] for key in ("seeds", "leechers", "peers", "distinct_peers")] == [0, 0, 0, 0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_node_runs_until_a_signal_and_keeps_its_identity(tmp_path, number):
    state = tmp_path / "state.json"
    ids = []
    for _ in range(2):
        with Running("dhtnode", "run", *LOOPBACK, "--state", state) as process:
            ids.append(started(process)[1])
            assert process.is_running
            process.signal(number)
            ended = process.wait()
        assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")
    assert [ids[0]] == [ids[1]] == list(json.loads(state.read_text())["node_ids"].values())


def test_signal_right_after_the_line_ends_the_node_well(tmp_path):
    for number in range(4):
        state = tmp_path / f"{number}.json"
        with Running("dhtnode", "run", *LOOPBACK, "--state", state) as process:
            process.read_line()
            process.signal(signal.SIGTERM)
            ended = process.wait()
        assert (ended.status, ended.stderr) == (0, "")


def test_node_that_runs_answers(tmp_path):
    with Running("dhtnode", "run", *LOOPBACK) as process:
        address, node_id = started(process)
        (record,) = run_command("dhtnode", "ping", address, "--json").records
    assert (record["address"], record["node_id"]) == (address, node_id)


def test_node_that_is_read_only_answers_nothing():
    """BEP 43: it asks, and others leave it alone."""
    with Running("dhtnode", "run", *LOOPBACK, "--read-only") as process:
        address, _ = started(process)
        ended = run_command("dhtnode", "ping", address, "--timeout", "0.5")
    assert (ended.status, ended.error) == (1, "dhtnode: no result within 0.5 s")


def test_node_joins_through_its_bootstrap_and_saves_its_contacts(tmp_path):
    state = tmp_path / "state.json"
    with running_testnet(5) as other:
        options = ["--state", state, "--no-default-bootstrap", *other.options]
        with Running("dhtnode", "run", *options) as process:
            address, _ = started(process)
            found = run_command("dhtnode", "find-node", SWARM, "--bootstrap", address, "--json")
            process.signal(signal.SIGTERM)
            process.wait()
    assert len(found.records) == 6
    assert len(json.loads(state.read_text())["contacts"]) == 5


def test_node_prints_its_sockets_as_json():
    with Running("dhtnode", "run", *LOOPBACK, "--json") as process:
        record = json.loads(process.read_line())
        process.signal(signal.SIGINT)
        assert process.wait().status == 0
    assert list(record) == ["listening", "node_id"]
    assert LISTENING.fullmatch(f"listening {record['listening']} id={record['node_id']}")


@pytest.mark.skipif(not has_ipv6_loopback(), reason="no IPv6 here")
def test_node_listens_on_one_address_of_each_family():
    with Running("dhtnode", "run", *LOOPBACK, "--listen", "[::1]:0") as process:
        lines = [process.read_line(), process.read_line()]
        process.signal(signal.SIGTERM)
        ended = process.wait()
    node_id = lines[0][-40:]
    assert LISTENING.fullmatch(lines[0])
    assert re.fullmatch(rf"listening \[::1\]:\d+ id={node_id}", lines[1])
    assert (ended.status, ended.stdout) == (0, "")


def test_node_stops_by_itself_after_its_timeout():
    ended = run_command("dhtnode", "run", *LOOPBACK, "--timeout", "0.3")
    assert (ended.status, ended.stderr) == (0, "")
    assert LISTENING.fullmatch(ended.stdout.strip())


def test_damaged_state_is_set_aside_and_the_node_runs(tmp_path):
    state = tmp_path / "state.json"
    state.write_bytes(b"\xff\x00 not JSON")
    with Running("dhtnode", "run", *LOOPBACK, "--state", state) as process:
        address, node_id = started(process)
        process.signal(signal.SIGTERM)
        ended = process.wait()
    aside = state.with_name("state.json.unreadable-1")
    assert ended.status == 0
    assert "WARNING" in ended.error
    assert str(aside) in ended.error
    assert aside.read_bytes() == b"\xff\x00 not JSON"
    assert json.loads(state.read_text())["node_ids"] == {address: node_id}


def test_network_prints_three_bootstrap_nodes():
    with Running("dhtnode", "testnet", "--nodes", "4") as process:
        lines = [process.read_line() for _ in range(3)]
        process.close_stdin()
        ended = process.wait()
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+", line) for line in lines)
    assert len(set(lines)) == 3
    assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_network_stops_on_a_signal(number):
    with Running("dhtnode", "testnet", "--nodes", "2", "--json") as process:
        record = json.loads(process.read_line())
        process.signal(number)
        ended = process.wait()
    assert (list(record), record["nodes"]) == (["bootstrap", "nodes"], 2)
    assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")


def test_network_in_the_background_runs_on_without_input():
    with Running("dhtnode", "testnet", "--nodes", "2", no_input=True) as process:
        address = process.read_line()
        ended = run_command("dhtnode", "ping", address)
        assert (ended.status, process.is_running) == (0, True)


def test_network_stops_by_itself_after_its_timeout():
    with Running("dhtnode", "testnet", "--nodes", "2", "--timeout", "0.3", no_input=True) as process:
        assert process.wait().status == 0


@pytest.mark.parametrize(("line", "complaint"), WRONG, ids=[" ".join(line)[:80] for line, _ in WRONG])
def test_wrong_command_line_is_one_line_and_status_2(tmp_path, line, complaint):
    ended = run_command("dhtnode", *line, cwd=tmp_path)
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.error.startswith("dhtnode: ")
    assert complaint in ended.error
    assert len(ended.error) < 500
    assert list(tmp_path.iterdir()) == []


def test_command_alone_prints_its_help():
    ended = run_command("dhtnode")
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.stderr.startswith("Usage: dhtnode")


def test_busy_port_is_named():
    """Two nodes cannot share one address, and the message says which."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = run_command("dhtnode", "run", "--listen", address, "--no-default-bootstrap")
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.error == f"dhtnode: {address} is in use by another program"


@pytest.mark.skipif(not has_ipv6_loopback(), reason="no IPv6 here")
def test_busy_port_of_the_second_socket_is_named():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        taken.bind(("::1", 0))
        address = f"[::1]:{taken.getsockname()[1]}"
        ended = run_command("dhtnode", "run", *LOOPBACK, "--listen", address)
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.error == f"dhtnode: {address} is in use by another program"


@pytest.mark.skipif(sys.platform != "linux", reason="only 127.0.0.1 is set up elsewhere")
def test_node_listens_on_several_addresses_of_a_family(tmp_path):
    place, state = tmp_path / "s", tmp_path / "state.json"
    addresses = ["127.0.0.1:0", "127.0.0.2:0", "127.0.0.3:0"]
    options = [option for address in addresses for option in ("--listen", address)]
    runs = []
    for _ in range(2):
        command = ["run", *options, "--no-default-bootstrap", "--state", state, "--status-socket", place]
        with Running("dhtnode", *command, "--json") as process:
            runs.append([json.loads(process.read_line()) for _ in addresses])
            status = run_command("dhtnode", "status", "--status-socket", place, "--json").records[0]
            process.signal(signal.SIGTERM)
            assert process.wait().status == 0

    hosts = [[record["listening"].partition(":")[0] for record in run] for run in runs]
    ids = [[record["node_id"] for record in run] for run in runs]
    assert hosts == [["127.0.0.1", "127.0.0.2", "127.0.0.3"]] * 2
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 3
    assert [one["node_id"] for one in status["endpoints"]] == ids[0]


def test_address_that_has_gone_is_told_and_its_id_is_kept(tmp_path):
    state = tmp_path / "state.json"
    ids = {"127.0.0.1:5": "6e" * 20, "[fd00:77::1]:5": "6f" * 20}
    document = {"format": "dhtnode state", "version": 3, "node_ids": ids, "contacts": []}
    before = json.dumps(document)
    state.write_text(before)
    ended = run_command("dhtnode", "run", *LOOPBACK, "--listen", "[fd00:77::1]:5", "--state", state)
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.error.startswith("dhtnode: cannot listen on [fd00:77::1]:5: ")
    assert "\n" not in ended.error
    assert state.read_text() == before


def test_address_of_another_machine_is_refused():
    ended = run_command("dhtnode", "run", "--listen", "203.0.113.7:0", "--no-default-bootstrap")
    assert (ended.status, ended.stdout) == (1, "")
    assert "cannot listen on 203.0.113.7:0" in ended.error


def test_state_file_that_cannot_be_written_is_told_at_once(tmp_path):
    state = tmp_path / "missing" / "state.json"
    ended = run_command("dhtnode", "run", *LOOPBACK, "--state", state)
    assert (ended.status, ended.stdout) == (1, "")
    assert str(state) in ended.error


def test_host_that_does_not_exist_is_named():
    ended = run_command("dhtnode", "ping", "nosuch.invalid:6881")
    assert (ended.status, ended.stdout) == (1, "")
    assert "nosuch.invalid" in ended.error


@pytest.mark.parametrize(
    "arguments",
    [["get-peers", SWARM], ["scrape", SWARM], ["find-node", SWARM], ["announce", SWARM, "--port", "1"]],
    ids=lambda arguments: arguments[0],
)
def test_network_that_does_not_answer_is_status_1(arguments):
    with FakeNode() as silent:
        options = ["--bootstrap", str(silent.address), "--timeout", "0.5", "--json"]
        ended = run_command("dhtnode", *arguments, *options)
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.error == "dhtnode: no result within 0.5 s"


@pytest.mark.parametrize("command", ["get-peers", "scrape", "find-node"])
def test_interrupt_is_one_line_and_status_130(command):
    with (
        FakeNode() as silent,
        Running("dhtnode", command, SWARM, "--bootstrap", str(silent.address)) as process,
    ):
        silent.receive()
        process.signal(signal.SIGINT)
        ended = process.wait()
    assert (ended.status, ended.stdout, ended.error) == (130, "", "dhtnode: interrupted")


def test_reader_that_goes_away_ends_the_command_quietly():
    with (
        FakeNode(b"a" * 20) as helpful,
        Running("dhtnode", "get-peers", SMALL, "--bootstrap", str(helpful.address)) as process,
    ):
        query, asker = helpful.receive()
        process.close_stdout()
        values = (bytes([198, 18, 0, 7, 26, 225]),)
        helpful.respond(query, asker, values=values, token=b"t")
        ended = process.wait()
    assert (ended.status, ended.stderr) == (1, "")
