"""`dhtnode run` as a daemon, with `status` and `config` beside it, in processes of their own.

A socket of ours stands in for the service manager: what the daemon tells it is what we wait for.
"""

import json
import os
import re
import shutil
import signal
import socket
import stat
import sys
import urllib.request
from contextlib import ExitStack

import pytest

from dhtnode.daemon.config import KINDS
from tests.commands import PROGRAMS, Running, run_command, running_testnet

LOOPBACK = ["--listen", "127.0.0.1:0", "--no-default-bootstrap"]
PATIENCE = 60
WRONG = [  # options, a file of settings, and what is said
    (["run", "--config", "missing.toml"], "", "cannot read missing.toml: No such file"),
    (["run", "--config", "."], "", "is a directory"),
    (["run", "--config", "c.toml"], "port = ", "c.toml: Invalid value"),
    (["run", "--config", "c.toml"], "prot = 1", "c.toml: prot: there is no such setting"),
    (["config", "--config", "c.toml"], "host_rate = -1", "c.toml: host_rate: -1.0 is not above 0"),
    (["status", "--config", "c.toml"], "port = true", "c.toml: port: True is not a whole number"),
    (["run", "--set", "host_rate"], "", "'host_rate' is not NAME=VALUE"),
    (["run", "--set", "host_rate=fast"], "", "--set host_rate: 'fast' is not a number"),
    (["run", "--set", "nothing=1"], "", "--set nothing: there is no such setting"),
    (["run", "--port", "65536"], "", "--port"),
    (["run", "--metrics", "0.0.0.0:0"], "", "--metrics: 0.0.0.0:0 is not on loopback"),
    (["run", "--metrics", "here"], "", "--metrics: 'here' is not HOST:PORT"),
    (["run", "--log-level", "loud"], "", "--log-level"),
    (["config", "--show", "--timeout", "1"], "", "No such option"),
    (["status"], "", "name the socket with --status-socket"),
]


class Manager:
    """Be the service manager's end of the notification socket."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE)
        self._socket.bind(os.fspath(path))

    def wait_for(self, start):
        while True:
            message = self._socket.recv(4096).decode()
            if message.startswith(start):
                return message

    def close(self):
        self._socket.close()


@pytest.fixture
def manager(tmp_path, monkeypatch):
    manager = Manager(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    yield manager
    manager.close()


@pytest.fixture
def place(tmp_path):
    return tmp_path / "status"


def asked(place, *options):
    ended = run_command("dhtnode", "status", "--status-socket", place, "--json", *options)
    assert (ended.status, ended.stderr) == (0, "")
    (record,) = ended.records
    return record


def test_status_is_that_of_the_daemon(place):
    """Its socket, its id, and what has happened; for people and as JSON."""
    with Running("dhtnode", "run", *LOOPBACK, "--status-socket", place, "--json") as daemon:
        started = json.loads(daemon.read_line())
        mode = stat.S_IMODE(place.stat().st_mode)
        run_command("dhtnode", "ping", started["listening"])
        record = asked(place)
        text = run_command("dhtnode", "status", "--status-socket", place)
        daemon.signal(signal.SIGTERM)
        ended = daemon.wait()

    (endpoint,) = record["endpoints"]
    assert mode == 0o600
    assert (endpoint["address"], endpoint["node_id"]) == (started["listening"], started["node_id"])
    assert endpoint["counts"]["queries received"] == 1
    assert record["stores"]["peers"]["peers"] == 0
    assert (text.status, text.stderr) == (0, "")
    assert f"IPv4 {started['listening']}\n  id        {started['node_id']}\n" in text.stdout
    assert (ended.status, ended.stderr, place.exists()) == (0, "", False)


def test_status_shows_the_table_by_bucket(place, manager):
    with running_testnet(5) as network:
        options = [*LOOPBACK, *network.options, "--status-socket", place]
        with Running("dhtnode", "run", *options):
            manager.wait_for("STATUS=IPv4: 5 good nodes")
            (endpoint,) = asked(place)["endpoints"]
    assert sum(bucket["nodes"] for bucket in endpoint["buckets"]) == endpoint["nodes"] == 5
    assert sum(bucket["good"] for bucket in endpoint["buckets"]) == 5
    assert endpoint["rtt_ms"]["median"] > 0


def test_status_without_a_daemon_is_one_line(place):
    ended = run_command("dhtnode", "status", "--status-socket", place)
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.error == f"dhtnode: {place}: no daemon listens there"


def test_status_of_something_else_is_one_line(place):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(os.fspath(place))
        other.listen()
        with Running("dhtnode", "status", "--status-socket", place) as asking:
            connection, _ = other.accept()
            connection.sendall(b"220 mail.example.org ESMTP\r\n")
            connection.close()
            ended = asking.wait()
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.error == f"dhtnode: {place}: what was answered is no status"


def test_socket_of_a_killed_daemon_is_replaced_and_that_of_a_living_one_is_not(place):
    options = [*LOOPBACK, "--status-socket", place]
    with Running("dhtnode", "run", *options) as killed:
        killed.read_line()
        killed.signal(signal.SIGKILL)
        killed.wait()
    assert place.is_socket()

    with Running("dhtnode", "run", *options) as living:
        line = living.read_line()
        second = run_command("dhtnode", "run", *options)
        record = asked(place)

    assert (second.status, second.stdout) == (1, "")
    assert second.error == f"dhtnode: {place} is in use by another program"
    assert record["endpoints"][0]["address"] in line


def test_metrics_are_served_beside_clients_that_say_nothing(place):
    options = [*LOOPBACK, "--metrics", "127.0.0.1:0"]
    with Running("dhtnode", "run", *options) as daemon, ExitStack() as idle:
        address = daemon.read_line().split()[1]
        found = re.fullmatch(r"metrics (http://127\.0\.0\.1:(\d+)/metrics)", daemon.read_line())
        assert found
        for _ in range(20):
            idle.enter_context(socket.create_connection(("127.0.0.1", int(found[2])), PATIENCE))
        with urllib.request.urlopen(found[1], timeout=PATIENCE) as response:  # noqa: S310  that is our own
            text = response.read().decode()
        daemon.signal(signal.SIGTERM)
        ended = daemon.wait()

    assert f'\ndhtnode_table_nodes{{address="{address}",family="ipv4"}} 0.0\n' in text
    assert (ended.status, ended.stderr) == (0, "")


def test_metrics_may_be_on_a_unix_socket(tmp_path):
    path = tmp_path / "metrics"
    with Running("dhtnode", "run", *LOOPBACK, "--metrics", path, "--json") as daemon:
        daemon.read_line()
        assert json.loads(daemon.read_line()) == {"metrics": str(path)}
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE)
            client.connect(os.fspath(path))
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert client.recv(17) == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_daemon_with_its_state_saved(tmp_path, place, manager, number):
    state = tmp_path / "state.json"
    options = [*LOOPBACK, "--status-socket", place, "--metrics", "127.0.0.1:0", "--state", state]
    with ExitStack() as stack:
        network = stack.enter_context(running_testnet(5))
        daemon = stack.enter_context(Running("dhtnode", "run", *options, *network.options))
        daemon.read_line()
        port = int(daemon.read_line().rpartition(":")[2].partition("/")[0])
        manager.wait_for("STATUS=IPv4: 5 good nodes")
        stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
        for _ in range(3):
            daemon.signal(number)
        ended = daemon.wait()
        manager.wait_for("STOPPING=1")

    assert (ended.status, ended.stderr) == (0, "")
    assert len(json.loads(state.read_text())["contacts"]) == 5
    assert not place.exists()


def test_service_manager_is_told_when_the_node_serves(place, manager, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    with Running("dhtnode", "run", *LOOPBACK, "--status-socket", place) as daemon:
        manager.wait_for("READY=1")
        assert place.is_socket()
        for _ in range(3):
            manager.wait_for("WATCHDOG=1")
        daemon.signal(signal.SIGTERM)
        manager.wait_for("STOPPING=1")
        assert daemon.wait().status == 0


def test_joining_is_told_in_the_log(manager):
    with (
        running_testnet(5) as network,
        Running("dhtnode", "-v", "run", *LOOPBACK, *network.options) as daemon,
    ):
        manager.wait_for("STATUS=IPv4: 5 good nodes")
        daemon.signal(signal.SIGTERM)
        ended = daemon.wait()
    assert "INFO dhtnode.daemon.daemon: IPv4: joined the network; 5 good nodes in the table\n" in ended.stderr
    assert "INFO dhtnode.daemon.daemon: SIGTERM: saving and closing\n" in ended.stderr


SLEEPY = """
import functools, runpy, signal, sys, time
from dhtnode import net
slept = []
signal.signal(signal.SIGUSR1, lambda *_: slept.append(8 * 3600.0))
net.NodeClock = functools.partial(net.NodeClock, lambda: time.monotonic() + sum(slept))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_sleep_of_the_machine_is_told_in_the_log(place, manager):
    with running_testnet(5) as network:
        options = [*LOOPBACK, *network.options, "--status-socket", place, "--log", "/dev/stdout"]
        with Running(sys.executable, "-c", SLEEPY, PROGRAMS / "dhtnode", "run", *options) as daemon:
            manager.wait_for("STATUS=IPv4: 5 good nodes")
            daemon.signal(signal.SIGUSR1)
            while "WARNING dhtnode.daemon.loop_lag: stood still for " not in daemon.read_line():
                pass
            record = asked(place)
            daemon.signal(signal.SIGTERM)
            ended = daemon.wait()

    (endpoint,) = record["endpoints"]
    assert record["uptime_seconds"] > 8 * 3600
    assert (endpoint["nodes"], sum(bucket["bad"] for bucket in endpoint["buckets"])) == (5, 0)
    assert (ended.status, ended.stderr) == (0, "")


def flood(address, count):
    host, port = address.split(":")
    ping = b"d1:ad2:id20:" + b"a" * 20 + b"e1:q4:ping1:t2:aa1:y1:qe"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flooder:
        for _ in range(count):
            flooder.sendto(ping, (host, int(port)))


def test_hangup_opens_the_log_again_and_reads_the_settings_again(tmp_path, place, manager):
    settings, log = tmp_path / "c.toml", tmp_path / "log"
    common = f'log = "{log}"\nhost_rate = 0.001\n'
    settings.write_text(common + "host_burst = 1\n")
    options = ["--config", settings, "--status-socket", place, "--json"]
    with Running("dhtnode", "run", *LOOPBACK, *options) as daemon:
        address = json.loads(daemon.read_line())["listening"]
        manager.wait_for("READY=1")
        flood(address, 9)
        before = asked(place)["endpoints"][0]["counts"]["queries received"]
        log.rename(tmp_path / "log.1")
        settings.write_text(common + 'host_burst = 100\nlog_level = "info"\nlate_after = 3\nport = 7\n')
        daemon.signal(signal.SIGHUP)
        manager.wait_for("RELOADING=1\nMONOTONIC_USEC=")
        manager.wait_for("READY=1")
        flood(address, 9)
        after = asked(place)["endpoints"][0]["counts"]["queries received"]
        told = [line for line in log.read_text().splitlines() if "settings" in line]
        daemon.signal(signal.SIGTERM)
        ended = daemon.wait()

    assert [line.partition("dhtnode.daemon.daemon: ")[2] for line in told] == [
        "settings read again; changed: log_level, late_after, host_burst",
        "these settings need a restart to change: port",
    ]
    assert (before, after - before) == (2, 9)
    assert (tmp_path / "log.1").read_text() == ""
    assert (ended.status, ended.stderr) == (0, "")


def test_variables_of_others_are_told_and_passed_over(monkeypatch):
    monkeypatch.setenv("DHTNODE_PORT", "udp://10.0.0.1:6881")
    monkeypatch.setenv("DHTNODE_SERVICE_HOST", "10.0.0.1")
    ended = run_command("dhtnode", "config")
    assert (ended.status, ended.stdout) == (0, "the settings are valid\n")
    assert ended.stderr == (
        "dhtnode: warning: there is no such setting, passed over: DHTNODE_SERVICE_HOST\n"
        "dhtnode: warning: set to the address of a service, passed over: DHTNODE_PORT\n"
    )


@pytest.mark.skipif(shutil.which("nohup") is None, reason="no nohup here")
def test_hangup_is_obeyed_under_nohup_too(manager):
    """To a daemon it means to read again, and not that a terminal has gone."""
    with Running(shutil.which("nohup"), PROGRAMS / "dhtnode", "-v", "run", *LOOPBACK) as daemon:
        manager.wait_for("READY=1")
        daemon.signal(signal.SIGHUP)
        manager.wait_for("RELOADING=1")
        manager.wait_for("READY=1")
        daemon.signal(signal.SIGTERM)
        ended = daemon.wait()
    assert ended.status == 0
    assert "INFO dhtnode.daemon.daemon: settings read again; changed: none\n" in ended.stderr


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ("port = ", "Invalid value"),
        ("late_after = -1", "late_after: -1.0 is not between 0.001 and 3600"),
        ('log = "missing/log"\nlate_after = 3', "cannot open the log missing/log"),
    ],
)
def test_hangup_with_wrong_settings_changes_nothing(tmp_path, place, manager, wrong, complaint):
    """A slip in the file must not stop a node that runs."""
    settings = tmp_path / "c.toml"
    settings.write_text("port = 0\n")
    options = [*LOOPBACK, "--config", settings, "--status-socket", place]
    with Running("dhtnode", "run", *options, cwd=tmp_path) as daemon:
        manager.wait_for("READY=1")
        settings.write_text(wrong)
        daemon.signal(signal.SIGHUP)
        manager.wait_for("RELOADING=1")
        manager.wait_for("READY=1")
        asked(place)
        daemon.signal(signal.SIGTERM)
        ended = daemon.wait()

    assert ended.status == 0
    assert "WARNING dhtnode.daemon.daemon: settings not read again, all stays as it was" in ended.error
    assert complaint in ended.error


def test_log_that_cannot_be_opened_is_told_at_once(tmp_path):
    log = tmp_path / "missing" / "log"
    ended = run_command("dhtnode", "run", *LOOPBACK, "--log", log)
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.error == f"dhtnode: cannot open the log {log}: No such file or directory"


def test_effective_settings_are_shown_with_their_origin(tmp_path, monkeypatch):
    (tmp_path / "c.toml").write_text('port = 1\nhost_rate = 1.5\nlisten = ["127.0.0.1:0"]\n')
    monkeypatch.setenv("DHTNODE_CONFIG", "c.toml")
    monkeypatch.setenv("DHTNODE_PORT", "2")
    monkeypatch.setenv("DHTNODE_READ_ONLY", "yes")
    flags = ["--set", "host_rate=3", "--bootstrap", "a:1", "--no-default-bootstrap", "--state", "s.json"]
    ended = run_command("dhtnode", "config", "--show", "--json", *flags, cwd=tmp_path)

    records = {record["name"]: (record["value"], record["origin"]) for record in ended.records}
    assert (ended.status, ended.stderr) == (0, "")
    assert list(records) == list(KINDS)
    assert {name: record for name, record in records.items() if record[1] != "default"} == {
        "listen": (["127.0.0.1:0"], "file"),
        "port": (2, "environment"),
        "bootstrap": (["a:1"], "flag"),
        "default_bootstrap": (False, "flag"),
        "state": ("s.json", "flag"),
        "read_only": (True, "environment"),
        "host_rate": (3.0, "flag"),
    }


def test_settings_that_are_shown_serve_as_a_file(tmp_path):
    shown = run_command(
        "dhtnode", "config", "--show", "--port", "7", "--log", 'a "b"', "--set", "max_peers=9"
    )
    (tmp_path / "c.toml").write_text(shown.stdout)
    again = run_command("dhtnode", "config", "--show", "--json", "--config", tmp_path / "c.toml")
    values = {record["name"]: record["value"] for record in again.records}
    assert (values["port"], values["log"], values["max_peers"]) == (7, 'a "b"', 9)


def test_right_settings_are_said_to_be_right():
    ended = run_command("dhtnode", "config", "--port", "1")
    assert (ended.status, ended.stdout) == (0, "the settings are valid\n")


def test_daemon_goes_by_file_and_environment(tmp_path, monkeypatch):
    (tmp_path / "c.toml").write_text('listen = ["127.0.0.1:0"]\nread_only = true\n')
    monkeypatch.setenv("DHTNODE_CONFIG", str(tmp_path / "c.toml"))
    monkeypatch.setenv("DHTNODE_DEFAULT_BOOTSTRAP", "false")
    monkeypatch.setenv("DHTNODE_STATE", str(tmp_path / "state.json"))
    with Running("dhtnode", "run", "--json") as daemon:
        address = json.loads(daemon.read_line())["listening"]
        ended = run_command("dhtnode", "ping", address, "--timeout", "0.5")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait().status == 0
    assert address.startswith("127.0.0.1:")
    assert ended.status == 1
    assert (tmp_path / "state.json").exists()


@pytest.mark.parametrize(
    ("options", "text", "complaint"), WRONG, ids=[f"{' '.join(options)} {text}" for options, text, _ in WRONG]
)
def test_wrong_settings_are_one_line_and_status_2(tmp_path, options, text, complaint):
    (tmp_path / "c.toml").write_text(text)
    ended = run_command("dhtnode", *options, cwd=tmp_path)
    assert (ended.status, ended.stdout) == (2, "")
    assert ended.error.startswith("dhtnode: ")
    assert complaint in ended.error
