"""The least that a crawl can be: a Trio loop, bencode2, a set and a queue; what ours is compared with.

    python -m benchmarks.census.bare_crawl HOST:PORT

It asks every endpoint that it hears of once, and who answers once more, and forgets the rest: no
second visit, no rates, no check of who answers, no database.  Prints one JSON line.
"""

import json
import os
import resource
import socket
import sys
import time
from collections import deque

import trio
from bencode2 import BencodeDecodeError, bdecode

AWAITED = 500  # queries to live nodes under way: the server is to be busy, not late
TIMEOUT = 2.0
LISTING = 26


class Crawl:
    """The loop and all that it remembers."""

    def __init__(self, way_in: tuple[str, int]) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.setblocking(False)
        self.socket.bind(("127.0.0.1", 0))
        self.queue: deque[tuple[bytes, tuple[str, int]]] = deque()
        # Several, because one may be lost.
        self.queue.extend((os.urandom(20), way_in) for _ in range(8))
        self.seen: set[bytes] = set()
        self.again: dict[bytes, bool] = {}
        self.sent_at: deque[tuple[float, bytes]] = deque()
        self.under_way: dict[bytes, tuple[str, int]] = {}
        self.number = 0
        self.queries = self.answers = 0

    def ask(self, target: bytes, address: tuple[str, int], *, again: bool, now: float) -> None:
        """Send a query."""
        self.number += 1
        key = self.number.to_bytes(4, "big")
        query = b"d1:ad2:id20:%b6:target20:%be1:q9:find_node1:t4:%b1:y1:qe" % (b"a" * 20, target, key)
        self.socket.sendto(query, address)
        self.under_way[key] = address
        self.again[key] = again
        self.sent_at.append((now, key))
        self.queries += 1

    def take(self, data: bytes, now: float) -> None:
        """Take in an answer."""
        try:
            message = bdecode(data)
            key, nodes = message[b"t"], message[b"r"][b"nodes"]
        except (BencodeDecodeError, KeyError, TypeError):
            return
        address = self.under_way.pop(key, None)
        if address is None:
            return
        self.answers += 1
        for at in range(0, len(nodes) - LISTING + 1, LISTING):
            compact = nodes[at + 20 : at + LISTING]
            if compact not in self.seen:
                self.seen.add(compact)
                where = socket.inet_ntoa(compact[:4]), int.from_bytes(compact[4:], "big")
                self.queue.append((nodes[at : at + 20], where))
        if not self.again.pop(key):
            self.ask(os.urandom(20), address, again=True, now=now)

    async def run(self) -> None:
        """Crawl until no node is left."""
        while self.queue or self.under_way:
            now = trio.current_time()
            while self.sent_at and self.sent_at[0][0] < now - TIMEOUT:
                key = self.sent_at.popleft()[1]
                self.under_way.pop(key, None)
                self.again.pop(key, None)
            # Half of the contacts may be dead and wait for their timeouts: they do not count.
            for _ in range(AWAITED // 4):
                if self.queue:
                    node_id, address = self.queue.popleft()
                    self.ask(node_id[:19] + bytes([node_id[19] ^ 1]), address, again=False, now=now)
            with trio.move_on_after(0.05):
                await trio.lowlevel.wait_readable(self.socket)
            for _ in range(AWAITED):
                try:
                    data = self.socket.recv(65536)
                except BlockingIOError:
                    break
                self.take(data, now)


def main() -> None:
    """Crawl, and print what it took."""
    host, port = sys.argv[1].rsplit(":", 1)
    crawl = Crawl((host, int(port)))
    used, started = time.process_time(), time.monotonic()
    trio.run(crawl.run)
    record = {
        "sighted": len(crawl.seen),
        "queries": crawl.queries,
        "answers": crawl.answers,
        "cpu_seconds": time.process_time() - used,
        "seconds": time.monotonic() - started,
        "peak_kilobytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
