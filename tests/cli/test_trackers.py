"""`dhtnode trackers`: what is asked, what is shown, and what is left out of the last line."""

import json

import bencode2
import click
import pytest
import trio

from dhtnode import InfoHash, PrivateTorrent, public_info_hash, read_torrent
from dhtnode.cli import tracker_lines
from dhtnode.cli.tracker_lines import TrackersCommand
from dhtnode.cli.trackers import Place, TrackedSwarm, _places, tracked_swarm, tracker_url
from dhtnode.trackers import parse_tracker_url
from tests.commands import run_command
from tests.tracker_client.fake_trackers import UdpTracker, serving_udp

SWARM = InfoHash(bytes(range(20)))


class Inventor(UdpTracker):
    """One that has peers for whatever it is asked."""

    def answer(self, packet):
        self.counts = {InfoHash(packet[at : at + 20]): (900, 1, 900) for at in range(16, len(packet), 20)}
        return super().answer(packet)


async def shown(capsys, work, *, as_json=True):
    """Run the work of a command over trackers; return the lines it prints."""
    command = TrackersCommand(SWARM, as_json)
    await work(command)
    lines = capsys.readouterr().out.splitlines()
    return [json.loads(line) for line in lines] if as_json else lines


def typed(*urls):
    return [Place(parse_tracker_url(url), is_typed=True) for url in urls]


async def test_trackers_that_invent_are_left_out_of_the_sum(capsys):
    honest, other, liar = UdpTracker({SWARM: (5, 9, 3)}), UdpTracker({SWARM: (2, 1, 7)}), Inventor()
    async with serving_udp(honest) as one, serving_udp(other) as two, serving_udp(liar) as three:

        async def work(command):
            await command.scrape_all(typed(one, two, three))
            command.show_combined()

        *rows, last = await shown(capsys, work)
    by_url = {row["url"]: row for row in rows}
    assert [by_url[url]["marks"] for url in (one, two, three)] == [[], [], ["invents"]]
    assert (by_url[one]["seeds"], by_url[one]["leechers"], by_url[one]["downloaded"]) == (5, 3, 9)
    assert last["combined"] == {
        "seeds_low": 5,
        "seeds_high": 7,
        "leechers_low": 7,
        "leechers_high": 10,
        "peers_low": 9,
        "peers_high": 17,
        "lists": 2,
    }


async def test_every_scrape_has_a_swarm_that_was_made_up(capsys):
    tracker = UdpTracker()
    async with serving_udp(tracker) as url:
        lines = await shown(capsys, lambda command: command.scrape_all(typed(url)), as_json=False)
    hashes = {tracker.packets[-1][at : at + 20] for at in (16, 36)}
    assert (SWARM in hashes, len(hashes), len(tracker.packets[-1])) == (True, 2, 56)
    assert lines[0].startswith(f"{url}  127.0.0.1  answered  no peers, or not listed")


async def test_swarm_that_was_made_up_is_another_at_each_tracker(capsys):
    """Trackers that tell each other what they were asked for learn nothing from it."""
    first, second = UdpTracker(), UdpTracker()
    async with serving_udp(first) as one, serving_udp(second) as two:
        await shown(capsys, lambda command: command.scrape_all(typed(one, two)))
    asked = [{each.packets[-1][at : at + 20] for at in (16, 36)} - {SWARM} for each in (first, second)]
    assert len(asked[0] | asked[1]) == 2


async def test_goodbye_is_said_though_a_tracker_is_silent(capsys, monkeypatch):
    """Ours is a peer that has nothing: it is not handed out for longer than a minute."""
    monkeypatch.setattr(tracker_lines, "ANNOUNCED_FOR", 0.2)
    answers, silent = UdpTracker(), UdpTracker(silent_for=9)
    async with serving_udp(answers) as one, serving_udp(silent) as two:
        with trio.fail_after(60):
            monkeypatch.setattr(tracker_lines, "GOODBYE", 1.0)
            await shown(capsys, lambda command: command.announce_all(typed(one, two), 7777))
    assert [packet[83] for packet in answers.packets if len(packet) >= 98][-1] == 3


async def test_goodbye_follows_an_announce(capsys):
    tracker = UdpTracker(peers=bytes([44, 0, 0, 1, 0x1A, 0xE1]))
    async with serving_udp(tracker) as url:
        lines = await shown(capsys, lambda command: command.announce_all(typed(url), 7777), as_json=False)
    assert [packet[83] for packet in tracker.packets if len(packet) >= 98] == [2, 3]
    assert lines[1:] == ["44.0.0.1:6881"]


def test_trackers_of_a_swarm_are_asked_once_each():
    url = parse_tracker_url("udp://a.example:1")
    swarm = TrackedSwarm(SWARM, (str(url), "wss://b.example", "junk", "http://c.example/announce", str(url)))
    places, skipped = _places(swarm, [url])
    assert places == [Place(url, True), Place(parse_tracker_url("http://c.example/announce"), False)]
    assert skipped == ["wss://b.example"]


def test_private_torrent_is_read_by_this_command_alone(tmp_path):
    info = {b"name": b"x", b"piece length": 1, b"pieces": bytes(20), b"length": 1, b"private": 1}
    path = tmp_path / "x.torrent"
    path.write_bytes(bencode2.bencode({b"announce": b"http://a.example/k/announce", b"info": info}))
    assert tracked_swarm(str(path)).trackers == ("http://a.example/k/announce",)
    with pytest.raises(PrivateTorrent):
        public_info_hash(read_torrent(path))


KEY = "0123456789abcdef0123456789abcdef"


def torrent(folder, *trackers, private=1):
    info = {b"name": b"x", b"piece length": 1, b"pieces": bytes(20), b"length": 1, b"private": private}
    path = folder / "x.torrent"
    announce_list = [[url.encode()] for url in trackers]
    path.write_bytes(bencode2.bencode({b"announce-list": announce_list, b"info": info}))
    return str(path)


def test_private_torrent_is_asked_about_at_its_own_trackers_only(tmp_path):
    """What the user types beside them is refused, and one of them typed is asked."""
    path = torrent(tmp_path, "udp://127.0.0.1:1", "udp://127.0.0.2:1")
    done = run_command("dhtnode", "trackers", path, "--tracker", "udp://127.0.0.3:1")
    assert (done.status, done.stdout) == (2, "")
    assert "its own trackers only" in done.stderr.splitlines()[-1]
    done = run_command("dhtnode", "trackers", path, "--tracker", "udp://127.0.0.1:1")
    assert (done.status, "no tracker listens there" in done.stdout) == (1, True)
    path = torrent(tmp_path, "udp://127.0.0.2:1", private=0)
    done = run_command("dhtnode", "trackers", path, "--tracker", "udp://127.0.0.1:1")
    assert "no tracker listens there" in done.stdout


@pytest.mark.parametrize("as_json", [False, True])
def test_no_key_of_a_user_is_printed(tmp_path, as_json):
    """Whatever becomes of the URL: asked, skipped, left out or refused."""
    path = torrent(
        tmp_path,
        f"wss://a.example/{KEY}/announce",
        f"http://127.0.0.1:1/{KEY}/announce",
        f"udp://127.0.0.1:1/announce?passkey={KEY[:9]}",
        f"http://user:{KEY}@a.example/announce",
    )
    own = ["--tracker", f"udp://127.0.0.1:1/{KEY}"]
    for arguments in ([path], [SWARM.hex(), *own], [SWARM.hex(), "--tracker", f"http://u:{KEY}@a.example"]):
        done = run_command("dhtnode", "trackers", *arguments, *["--json"] * as_json)
        assert KEY[:9] not in done.stdout + done.stderr
        assert done.status == (2 if "http://u:" in arguments[-1] else 1)
    link = f"magnet:?tr=http%3A%2F%2Fa.example%2F{KEY}%2Fannounce"
    assert KEY[:9] not in run_command("dhtnode", "trackers", link).stderr


@pytest.mark.parametrize("text", ["", "x.torrent", "magnet:?dn=x", "ab" * 19, "x" * 5000, "\0"])
def test_what_is_no_swarm(text):
    with pytest.raises(click.BadParameter):
        tracked_swarm(text)
    with pytest.raises(click.BadParameter):
        tracker_url(text)


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        ([SWARM.hex()], 2, "the torrent names no tracker"),
        ([SWARM.hex(), "--tracker", "udp://127.0.0.1:1", "--announce"], 2, "--announce needs --port"),
        ([SWARM.hex(), "--tracker", "udp://127.0.0.1:1"], 1, "no tracker answered"),
    ],
)
def test_what_cannot_be_asked_is_one_line(arguments, status, line):
    done = run_command("dhtnode", "trackers", *arguments)
    assert (done.status, line in done.stderr.splitlines()[-1]) == (status, True)
