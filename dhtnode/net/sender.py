"""What leaves one socket: datagrams go at once, or, while a batch is handled, all together at its end."""

from collections import Counter
from dataclasses import dataclass, fields

from dhtnode.addresses import Address
from dhtnode.net.udp import DatagramSocket
from dhtnode.server.inbound import Reply

# The first key of a message: that of a query is `a`, of an error `e`, of a response `ip` or `r`.
_QUERY, _ERROR = b"d1:a"[3], b"d1:e"[3]


@dataclass(slots=True)
class Traffic:
    """What happens for nearly every datagram, counted.

    The names are those in `Receiver.counts`, with spaces for underscores.
    """

    # Attributes: a counter in a dictionary costs five times as much.
    datagrams_received: int = 0
    bytes_received: int = 0
    datagrams_sent: int = 0
    bytes_sent: int = 0
    replies_sent: int = 0
    queries_sent: int = 0
    answers: int = 0
    timeouts: int = 0

    @property
    def counts(self) -> Counter[str]:
        """Return the counts by name."""
        return Counter({field.name.replace("_", " "): getattr(self, field.name) for field in fields(self)})


class Sender:
    """The sending side of one socket.

    What is in `batch`, while that is a list, leaves with `flush`.
    """

    def __init__(self, socket: DatagramSocket, traffic: Traffic, events: Counter[str]) -> None:
        self.batch: list[Reply] | None = None
        self._socket = socket
        self._traffic = traffic
        self._events = events

    def send_query(self, data: bytes, destination: Address) -> bool:
        """Send a query of ours, now or with the batch; return False when it could not leave."""
        if self.batch is not None:
            self.batch.append((data, destination))
            return True
        if self._socket.send_nowait(data, destination):
            traffic = self._traffic
            traffic.datagrams_sent += 1
            traffic.bytes_sent += len(data)
            traffic.queries_sent += 1
            return True
        self._events["dropped: send failed"] += 1
        return False

    def send_reply(self, data: bytes, destination: Address) -> None:
        """Send a reply now."""
        if self._socket.send_nowait(data, destination):
            traffic = self._traffic
            traffic.datagrams_sent += 1
            traffic.bytes_sent += len(data)
            if data[3] == _ERROR:
                self._events["errors sent"] += 1
            else:
                traffic.replies_sent += 1
        else:
            self._events["dropped: send failed"] += 1

    def flush(self) -> list[bytes]:
        """Send the batch, and return what could not leave; afterwards datagrams go at once."""
        batch, self.batch = self.batch, None
        if not batch:
            return []
        reasons = self._socket.send_batch(batch)
        failed = [batch[at][0] for at in reasons]
        if failed:
            self._events["dropped: send failed"] += len(failed)
            batch = [datagram for at, datagram in enumerate(batch) if at not in reasons]
        kinds = [data[3] for data, _ in batch]
        queries, errors = kinds.count(_QUERY), kinds.count(_ERROR)
        if errors:
            self._events["errors sent"] += errors
        traffic = self._traffic
        traffic.datagrams_sent += len(batch)
        traffic.bytes_sent += sum([len(data) for data, _ in batch])
        traffic.queries_sent += queries
        traffic.replies_sent += len(batch) - queries - errors
        return failed
