"""Compact peers of one swarm and family, encoded once and kept in a random order.

A reply lists a share of the peers.  Cutting a piece out of a sequence in random order is as good as
drawing them one by one, and costs a copy of bytes: the whole point of this module.  The order of
each node is its own, so that samples of different nodes are independent.
"""

from random import Random


class Listing:
    """Hold encoded peers, `6:......` or `18:......`, one after the other."""

    __slots__ = ("_encoded", "_hosts", "_item_bytes", "_slots")

    def __init__(self, item_bytes: int) -> None:
        """Hold items of that many bytes each, the length prefix included."""
        self._item_bytes = item_bytes
        self._encoded = bytearray()
        self._hosts: list[str] = []
        self._slots: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._hosts)

    def put(self, host: str, item: bytes, random: Random) -> None:
        """Add a peer at a random place, or overwrite what was known of its host."""
        slot = self._slots.get(host)
        if slot is None:
            last = len(self._hosts)
            slot = random.randrange(last + 1)
            self._hosts.append(host)
            self._encoded += item
            self._move(slot, last)
            self._hosts[slot] = host
            self._slots[host] = slot
        self._write(slot, item)

    def remove(self, host: str) -> None:
        """Take a peer out; the last one gets its place."""
        slot = self._slots.pop(host, None)
        if slot is None:
            return
        last = len(self._hosts) - 1
        if slot != last:
            self._move(last, slot)
        self._hosts.pop()
        del self._encoded[last * self._item_bytes :]

    def sample(self, count: int, random: Random) -> bytes:
        """Return up to `count` items, each peer as likely as any other, none twice."""
        size = self._item_bytes
        if count >= len(self._hosts):
            return bytes(self._encoded)
        start = int(random.random() * len(self._hosts)) * size
        end = start + count * size
        piece = bytes(self._encoded[start:end])
        return piece + self._encoded[: end - len(self._encoded)] if end > len(self._encoded) else piece

    def _move(self, source: int, target: int) -> None:
        host = self._hosts[source]
        self._hosts[target] = host
        self._slots[host] = target
        size = self._item_bytes
        self._write(target, self._encoded[source * size : (source + 1) * size])

    def _write(self, slot: int, item: bytes | bytearray) -> None:
        size = self._item_bytes
        self._encoded[slot * size : (slot + 1) * size] = item
