"""How many packets each host is sent by this program, whatever makes it send them.

What strangers answer names further hosts, and any of them may be one that never asked for packets.  So
there is one bound for all that leaves toward a host: queries of lookups, checks and crawls, and
connections to peers.  It is kept where packets leave, and no setting lifts it.

Replies are not counted: each is provoked by a query, and what a query may provoke is bounded in
`server.admission`.  Nor is what follows in a connection that a peer keeps up by the right handshake, nor
what a sweep sends to a tracker that has answered as one: its own pace has the same bound
(`tracker_client.pace`).
Loopback is not counted either, where one host is a whole network of our own.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from math import inf

from dhtnode.addresses import pack_host
from dhtnode.clock import seconds_since_start

MOST_PACKETS = 10  # to one host, in any ten seconds
# While nothing has come from it lately, as it may be no node and know nothing of us: so few that
# several programs, or one that is started again and again, stay below the other bound together.
MOST_UNHEARD = 2
# The same for a node that has answered before or that the user has named to join through, and by a node
# that serves others.
MOST_KNOWN = 5
# A second more: packets may come closer to each other than they left.
TURN = 11.0
MAX_HOSTS = 200_000  # in one turn; a further one is sent nothing
ROUNDING = 0.001  # seconds; without them a caller that has waited could be a hair short for ever


class OutgoingBound:
    """The packets sent to each host: no more than ten in any ten seconds, and two while it is silent.

    A host is an IPv4 address, or a /64 over IPv6, whose addresses may all be one machine's.
    """

    # Packets are counted in turns.  Any ten seconds lie in two turns that follow each other.
    __slots__ = ("_before", "_clock", "_heard", "_heard_before", "_sent", "_until", "refused")

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin with nothing sent; `clock` returns seconds, and may jump."""
        self.refused = 0
        self._clock = clock
        self._until = -inf
        self._sent: dict[str | bytes, int] = {}
        self._before: dict[str | bytes, int] = {}
        self._heard: set[str | bytes] = set()
        self._heard_before: set[str | bytes] = set()

    def admit_connection(self, host: str, packets: int) -> bool:
        """Count the packets of a connection, and return True; or return False if it may not be opened."""
        return not self._refuse([host], packets, packets)

    def admit(self, host: str, most_unheard: int = MOST_UNHEARD) -> bool:
        """Count a packet that is about to leave, and return True; or return False if it may not."""
        return not self._refuse([host], 1, most_unheard)

    def refuse(self, hosts: Sequence[str]) -> list[int]:
        """Count a packet to each host of a list; return the positions of those that may not leave.

        Costs some 0.2 us for each over IPv4.
        """
        return self._refuse(hosts, 1, MOST_UNHEARD)

    def _refuse(self, hosts: Sequence[str], packets: int, most_unheard: int) -> list[int]:
        now = self._clock()
        if not self._until - TURN <= now < self._until:
            self._begin_turn(now)
        sent, before = self._sent, self._before
        refused = []
        for at, host in enumerate(hosts):
            key = _network_of(host) if ":" in host else host
            count = sent.get(key, 0)
            total = count + before.get(key, 0) + packets
            is_much = total > most_unheard and (total > MOST_PACKETS or not self._is_heard(key))
            if is_much or (not count and len(sent) >= MAX_HOSTS):
                refused.append(at)
            else:
                sent[key] = count + packets
        self.refused += len(refused)
        return refused

    def hear(self, hosts: Iterable[str]) -> None:
        """Record that answers have come from some hosts; what was sent nothing lately is not remembered."""
        sent, before = self._sent, self._before
        keys = [_network_of(host) if ":" in host else host for host in hosts]
        self._heard.update([key for key in keys if key in sent or key in before])

    def has_heard(self, host: str) -> bool:
        """Return whether an answer has come from a host lately."""
        return self._is_heard(_network_of(host) if ":" in host else host)

    def _is_heard(self, key: str | bytes) -> bool:
        return key in self._heard or key in self._heard_before

    def take_back(self, hosts: Iterable[str]) -> None:
        """Uncount a packet to each host of a list, because it has not left after all."""
        for host in hosts:
            key = _network_of(host) if ":" in host else host
            self._sent[key] = max(0, self._sent.get(key, 0) - 1)

    def seconds_to_forget(self) -> float:
        """Return the seconds until nothing counts of what has been sent."""
        return self.seconds_left() + TURN

    def seconds_left(self) -> float:
        """Return the seconds until more may leave than now."""
        return max(0.0, self._until - self._clock()) + ROUNDING

    def _begin_turn(self, now: float) -> None:
        # When the last turn is over for longer than a turn, nothing of it counts any more.
        follows = self._until <= now < self._until + TURN
        self._before, self._sent = self._sent if follows else {}, {}
        self._heard_before, self._heard = self._heard if follows else set(), set()
        self._until = (self._until if follows else now) + TURN


@lru_cache(8192)
def _network_of(host: str) -> bytes:
    return pack_host(host)[:8]


THIS_PROGRAM = OutgoingBound(seconds_since_start)
"""What is sent over sockets of this machine, by all nodes in this process."""
