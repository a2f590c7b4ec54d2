"""Our address as others see it, found by vote (BEP 42): every node that answers says where we are.

Any node may lie, so votes are counted by network: each /24 or /64 has one, its last within the
window, and only answers to our own queries may vote.  An address is believed at first when at least
`NEEDED` networks and more than half of all that voted agree; to take its place, another needs at
least as many and more than two thirds.  So with fewer than half of the last votes liars cannot make
us believe a lie at first, with two thirds or fewer they cannot talk us out of a true address, and
with fewer than a third they cannot hide a move of our own.

Bounded by `MAX_VOTES`; the oldest word is dropped first.  Nothing here sends or reads a clock.
"""

from collections import Counter, OrderedDict
from typing import NamedTuple

from dhtnode.addresses import Address, Scope

NEEDED = 10  # networks that agree
MAX_VOTES = 128  # about what a table at rest queries in a quarter of an hour
WINDOW = 30 * 60.0  # seconds a vote counts
PAUSE = 0.1  # seconds between two votes while they confirm what is believed


class _Vote(NamedTuple):
    said: Address
    at: float


class ExternalAddress:
    """The votes of others on where we are, for one socket, hence for one family."""

    def __init__(self, scope: Scope) -> None:
        """Believe nothing yet; special-use addresses count only where the scope of the socket has them."""
        self.host: str | None = None
        self.next_vote = float("-inf")
        self._scope = scope
        self._judged = ""
        self._is_possible = False
        self._votes: OrderedDict[str, _Vote] = OrderedDict()  # by network, the oldest word first
        self._hosts: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return how many networks have a vote, those whose time is over included until the next one."""
        return len(self._votes)

    @property
    def address(self) -> Address | None:
        """Return where we are seen, or None while nothing is believed.

        The port is the one that more than half of the votes for this host agree on, else 0: then a
        NAT gives us another one towards each destination, and no node can find us by any.
        """
        if self.host is None:
            return None
        ports = Counter(vote.said.port for vote in self._votes.values() if vote.said.host == self.host)
        port, count = max(ports.items(), key=lambda item: item[1], default=(0, 0))
        return Address(self.host, port if 2 * count > ports.total() else 0)

    def vote(self, voter: Address, said: Address, now: float) -> bool:
        """Count what the sender of an answer said, and return whether this has changed `host`.

        The port of `said` may be 0, for unknown.  Constant cost, 2 to 6 us.  Before `next_vote`
        there is no need to call: what is believed was confirmed just now, and a sample will do.
        """
        if said.host != self._judged:  # nearly all name the same one
            self._judged = said.host
            self._is_possible = said.family is voter.family and self._scope.allows(Address(said.host, 1))
        if not self._is_possible:
            return False
        network = self._scope.network_key(voter)
        self._forget(network)
        while self._votes:
            oldest, cast = next(iter(self._votes.items()))
            if len(self._votes) < MAX_VOTES and now - cast.at < WINDOW:
                break
            self._forget(oldest)
        self._votes[network] = _Vote(said, now)
        self._hosts[said.host] += 1
        if said.host == self.host:
            self.next_vote = now + PAUSE
            return False
        agreeing = self._hosts[said.host]
        needed_share = 1 / 2 if self.host is None else 2 / 3
        if agreeing < NEEDED or agreeing / len(self._votes) <= needed_share:
            return False
        self.host = said.host
        return True

    def _forget(self, network: str) -> None:
        vote = self._votes.pop(network, None)
        if vote is None:
            return
        self._hosts[vote.said.host] -= 1
        if not self._hosts[vote.said.host]:
            del self._hosts[vote.said.host]
