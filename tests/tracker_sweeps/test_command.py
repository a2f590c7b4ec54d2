"""The command `dhtcrawl trackers`: what it is told, and what it says."""

import json
from functools import partial

import pytest
import trio
from click.testing import CliRunner

from crawler.cli.main import main
from dhtnode import InfoHash
from tests.commands import run_command
from tests.tracker_client.fake_trackers import UdpTracker, serving_udp

SWARM = "5d41402abc4b2a76b9719d911017c592aabbccdd"
KEY = "0123456789abcdef0123456789abcdef"


def call(*arguments, text=None):
    return CliRunner().invoke(main, ["trackers", *arguments], input=text)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--known", "--watched"), "choose one of"),
        (("--from", "-", "--discovered", "3"), "choose one of"),
        (("--tracker", "nonsense"), "is not the URL of a tracker"),
        (("--full", "ftp://a.example"), "is not the URL of a tracker"),
        (("--tracker-rate", "2"), "0<=x<=1"),
        (("--from", "missing"), "cannot read missing"),
    ],
)
def test_wrong_command_lines_are_status_2(tmp_path, arguments, reason):
    done = call("--db", str(tmp_path / "a.db"), *arguments, text=f"{SWARM}\n")
    assert (done.exit_code, reason in done.output) == (2, True)
    assert not (tmp_path / "a.db").exists()


def test_wrong_lines_of_a_list_are_named(tmp_path):
    done = call("--db", str(tmp_path / "a.db"), "--from", "-", text=f"# mine\n\n{SWARM}\nxyz\n")
    assert (done.exit_code, "line 4" in done.output) == (2, True)


def test_nothing_to_ask_is_said(tmp_path):
    db = str(tmp_path / "a.db")
    assert "no swarm to ask for" in call("--db", db).output
    done = call("--db", db, "--from", "-", text=SWARM)
    assert (done.exit_code, "no tracker to ask" in done.output) == (1, True)


def test_what_is_not_public_or_has_a_key_is_not_asked(tmp_path):
    """Trackers of magnet links and lists are those of strangers; none of them is at home here."""
    db, listed = str(tmp_path / "a.db"), tmp_path / "list"
    listed.write_text(f"# a list\nudp://127.0.0.1:1\n\nhttp://a.example/{KEY}/announce\nwss://b.example\n")
    magnet = f"magnet:?xt=urn:btih:{SWARM}&tr=udp%3A%2F%2F10.0.0.1%3A80"
    done = call("--db", db, "--json", "--from", "-", "--tracker-list", str(listed), text=magnet)
    told = [json.loads(line) for line in done.output.splitlines() if line.startswith("{")]
    assert {(each["url"], each["outcome"]) for each in told} == {
        ("udp://127.0.0.1:1", "not-public"),
        ("udp://10.0.0.1:80", "not-public"),
    }
    assert done.exit_code == 1
    assert KEY not in done.output
    assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.iterdir() if path != listed)


async def test_nothing_due_is_no_failure(tmp_path):
    """As for one that runs it from a timer; a tracker that does not answer is one."""
    command = ["dhtcrawl", "trackers", "--db", str(tmp_path / "a.db"), "--from", "-", "--json"]
    async with serving_udp(UdpTracker({InfoHash(bytes.fromhex(SWARM)): (3, 4, 5)})) as url:
        run = partial(run_command, *command, "--tracker", url, text=SWARM)
        first, second = [await trio.to_thread.run_sync(run) for _ in range(2)]
    assert (first.status, first.records[0]["nonzero"]) == (0, 1)
    assert (second.status, second.records[0]["not_due"], second.stderr) == (0, 1, "")
