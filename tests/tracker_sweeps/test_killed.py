"""A sweep that is killed: what it may have asked for is not asked for again, and what it heard is kept."""

import signal
import socket
import struct
import threading
from contextlib import closing

import pytest

from dhtnode import InfoHash
from tests.commands import PATIENCE, Running, run_command
from tests.databases import rows

SWARMS = [InfoHash(number.to_bytes(20, "big")) for number in range(1, 5001)]

pytestmark = pytest.mark.slow


class LoggingTracker(threading.Thread):
    """A tracker in a thread: one seed for each swarm, and a list of all that it was asked for."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(type=socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.asked = []
        self.scrapes = 0
        self.answers_until = None
        self.has_stopped = threading.Event()

    @property
    def url(self):
        return f"udp://127.0.0.1:{self.socket.getsockname()[1]}"

    def run(self):
        while True:
            try:
                packet, source = self.socket.recvfrom(2048)
            except OSError:
                return
            if packet[8:12] == bytes(4):
                self.socket.sendto(bytes(4) + packet[12:16] + b"12345678", source)
                continue
            hashes = [packet[at : at + 20] for at in range(16, len(packet), 20)]
            self.asked += hashes
            self.scrapes += 1
            if self.answers_until is not None and self.scrapes > self.answers_until:
                self.has_stopped.set()
                continue
            body = b"".join(struct.pack(">III", each < bytes((1,)) * 20, 0, 0) for each in hashes)
            self.socket.sendto(b"\0\0\0\2" + packet[12:16] + body, source)


@pytest.mark.parametrize("until", [1, 29, 40])
def test_no_swarm_is_asked_for_twice_over_a_kill(tmp_path, until):
    tracker = LoggingTracker()
    tracker.answers_until = until
    tracker.start()
    (tmp_path / "swarms").write_text("\n".join(each.hex() for each in SWARMS))
    command = (
        "trackers",
        "--db",
        "a.db",
        "--from",
        "swarms",
        "--tracker",
        tracker.url,
        "--tracker-rate",
        "0",
    )
    with closing(tracker.socket):
        with Running("dhtcrawl", *command, cwd=tmp_path) as sweep:
            assert tracker.has_stopped.wait(PATIENCE)
            sweep.signal(signal.SIGKILL)
            sweep.wait()
        first = set(tracker.asked) & set(SWARMS)
        tracker.answers_until = None
        tracker.asked.clear()
        done = run_command("dhtcrawl", *command, cwd=tmp_path)
        assert done.status == 0, done.stderr
        asked = [each for each in tracker.asked if each in set(SWARMS)]
        assert len(asked) == len(set(asked)) > 0
        assert not first & set(asked)
        # What was reserved when it was killed waits for half an hour too: a part of 2000 at most.
        assert len(first) + len(asked) >= len(SWARMS) - 2000
    (told,) = rows(tmp_path / "a.db", "SELECT count(*) FROM tracker_samples WHERE sweep_id = 2")
    assert told == (len(asked),)
    assert {status for (status,) in rows(tmp_path / "a.db", "SELECT status FROM runs")} == {
        "interrupted",
        "finished",
    }
