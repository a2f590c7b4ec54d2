"""The members of a model of the DHT: ids, addresses, arrivals and departures, and contacts.

A member costs a row and, while it lives, one entry in a heap; finding the nodes closest to a target
costs a few bisects.  Everything follows from a seed, in the order in which time passes.

A member knows of the id space what a node with buckets of 8 does: 8 nodes of each part that shares
ever more bits with its own id, the same ones as long as they live, and all of its neighbours.
After it has gone the others go on naming it, each until a moment of its own: those are the stale
contacts in answers.  So not all answers name the same dead, as not all tables hold the same.
"""

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random

from dhtnode import Address, Family
from dhtnode.ids import ID_BITS

WIDTH = 8  # nodes in a bucket and in an answer
PORT = 6881
_ROOM_FOR_OTHERS = 1000  # host numbers below this are for real nodes
_BELIEVED_BY = 0.5  # share of members that return a node dead from the start
_LONGEST = 4  # times the mean for which a departed member is still returned


@dataclass(frozen=True, slots=True)
class Habits:
    """The sessions and absences of members; times are in seconds.

    Sessions are Weibull; times offline are exponential, by default as long on average as sessions, so
    that half of all members are online.  `renewal` is the share of those who come back that have a
    new id and address.  `lingering` is how long a member that has gone is still named, on average:
    each of the others does so for a time of its own.
    """

    session_median: float = 3600.0
    session_shape: float = 0.5
    offline_mean: float | None = None
    renewal: float = 0.25
    lingering: float = 1800.0

    @property
    def session_scale(self) -> float:
        """Return the scale of the Weibull distribution."""
        return self.session_median / math.pow(math.log(2), 1 / self.session_shape)

    @property
    def session_mean(self) -> float:
        """Return the mean length of a session: 4.2 hours by default, for a median of one."""
        return self.session_scale * math.gamma(1 + 1 / self.session_shape)

    @property
    def mean_pause(self) -> float:
        """Return the mean time offline."""
        return self.session_mean if self.offline_mean is None else self.offline_mean

    def session(self, random: Random) -> float:
        """Return the length of a session that begins."""
        return random.weibullvariate(self.session_scale, self.session_shape)

    def rest_of_session(self, random: Random) -> float:
        """Return how much longer a session lasts at a random moment: long ones are met more often."""
        drawn = random.gammavariate(1 + 1 / self.session_shape, 1)
        length = self.session_scale * math.pow(drawn, 1 / self.session_shape)
        return length * random.random()


class Member:
    """One row: an id, an address, and whether a member is online."""

    __slots__ = ("address", "compact", "gone_at", "is_liar", "number", "online_since", "peers", "salt")

    def __init__(self, number: int, host: str, salt: int, *, is_liar: bool) -> None:
        self.is_liar = is_liar
        self.online_since: float | None = None
        self.gone_at = 0.0
        self.peers: dict[bytes, dict[bytes, float]] = {}  # by info-hash: compact peers, and until when
        self.settle(number, host, salt)

    def settle(self, number: int, host: str, salt: int) -> None:
        """Take an id, an address, and the seed of this member's contacts."""
        self.number, self.salt = number, salt
        self.address = Address(host, PORT)
        octets = bytes(int(part) for part in host.split("."))
        self.compact = number.to_bytes(20, "big") + octets + PORT.to_bytes(2, "big")
        self.peers.clear()

    @property
    def node_id(self) -> bytes:
        """Return the 20 bytes of the id."""
        return self.compact[:20]


class Population:
    """Keep the members, and move them through time: `advance` first, then ask."""

    def __init__(
        self,
        nodes: int,
        host_of: Callable[[int, Family], str],
        *,
        seed: int = 0,
        habits: Habits | None = None,
        dead: float = 0.0,
        liars: float = 0.0,
    ) -> None:
        """Make `nodes` members that are online at the start, and, with `habits`, also later on average.

        `dead` is the share of contacts named that are not there from the start and never come;
        `liars` the share of members that name nodes which do not exist.
        """
        self._random = Random(f"population {seed}")
        self._host_of = host_of
        self._habits = habits
        self._liars = liars
        self._hosts = _ROOM_FOR_OTHERS
        self._members: dict[int, Member] = {}  # by id
        self._by_host: dict[str, Member] = {}
        self._online: list[int] = []
        self._named: list[int] = []  # those online, and those who are still taken to be
        self._events: list[tuple[float, int, Callable[[Member, float], None], Member]] = []
        self._count = 0
        self._now = 0.0
        for _ in range(nodes):
            member = self._new_member()
            self._come(member, 0.0, None if habits is None else habits.rest_of_session(self._random))
        for _ in range(round(nodes * dead / (1 - dead) / _BELIEVED_BY)):
            insort(self._named, self._new_member().number)
        if habits is not None:
            for _ in range(round(nodes * habits.mean_pause / habits.session_mean)):
                self._after(self._pause(), 0.0, self._return, self._new_member())

    def __len__(self) -> int:
        """Return how many members are online."""
        return len(self._online)

    @property
    def named(self) -> int:
        """Return how many members are named in answers, stale ones included."""
        return len(self._named)

    def advance(self, now: float) -> None:
        """Let members arrive and depart up to now."""
        self._now = now
        while self._events and self._events[0][0] <= now:
            due, _, happen, member = heappop(self._events)
            happen(member, due)

    def at(self, host: str) -> Member | None:
        """Return who has an address, online or not."""
        return self._by_host.get(host)

    def is_online(self, node_id: bytes, address: Address) -> bool:
        """Tell whether a member of this id is there now, at this address."""
        member = self._members.get(int.from_bytes(node_id, "big"))
        return member is not None and member.online_since is not None and member.address == address

    def online(self) -> list[Member]:
        """Return the members that are online, in order of their ids; cost: linear."""
        return [self._members[number] for number in self._online]

    def closest(self, target: bytes, *, since: float | None = None) -> list[Member]:
        """Return the 8 members online that are closest, closest first.

        With `since`, only those who have been there all the time since then.
        """
        number = int.from_bytes(target, "big")
        width = WIDTH if since is None else 2 * WIDTH
        found = [self._members[each] for each in _closest(self._online, number, width)]
        if since is None:
            return found
        return [
            member for member in found if member.online_since is not None and member.online_since <= since
        ][:WIDTH]

    def known_to(self, member: Member, target: bytes) -> list[Member]:
        """Return the contacts in a member's reply for a target, without itself, with stale ones."""
        number = int.from_bytes(target, "big")
        bits = (number ^ member.number).bit_length() - 1  # of the part that the target lies in
        if bits > 0:
            low = number >> bits << bits
            start, end = bisect_left(self._named, low), bisect_left(self._named, low + (1 << bits))
            if end - start > WIDTH:
                return self._bucket(member, low, bits, start, end)
        closest = [self._members[each] for each in _closest(self._named, number, 16 * WIDTH)]
        return [each for each in closest if each is not member and self._believes(member, each)][:WIDTH]

    def choose_online(self, random: Random) -> Member | None:
        """Return a member that is online, each as likely as any other."""
        return self._members[random.choice(self._online)] if self._online else None

    def unused_host(self, random: Random) -> str:
        """Return an address that no member ever has."""
        return self._host_of(random.randrange(1 << 21, 1 << 22), Family.IPV4)

    def _bucket(self, member: Member, low: int, bits: int, start: int, end: int) -> list[Member]:
        """Return the 8 that hold the places of one bucket: each place is a point, held by the next id."""
        found: list[Member] = []
        passed: set[int] = set()
        for place in range(WIDTH):
            point = low | member.salt * (2 * place + 1) & (1 << bits) - 1
            at = bisect_left(self._named, point, start, end)
            while len(passed) < end - start:
                at = start if at == end else at
                other = self._members[self._named[at]]
                at += 1
                if other.number not in passed:
                    passed.add(other.number)
                    if self._believes(member, other):
                        found.append(other)
                        break
        return found

    def _believes(self, member: Member, other: Member) -> bool:
        """Tell whether a member takes another to be there, which it may no longer be."""
        if other.online_since is not None:
            return True
        chance = (member.salt * other.number >> 150 & 0xFFFF) / 0x10000  # the same each time
        if self._habits is None:
            return chance < _BELIEVED_BY
        return self._now < other.gone_at - self._habits.lingering * math.log(1 - chance)

    def _new_member(self) -> Member:
        member = Member(*self._identity(), is_liar=self._random.random() < self._liars)
        self._enter(member)
        return member

    def _identity(self) -> tuple[int, str, int]:
        self._hosts += 1
        return (
            self._random.getrandbits(ID_BITS),
            self._host_of(self._hosts, Family.IPV4),
            self._random.getrandbits(ID_BITS) | 1,
        )

    def _enter(self, member: Member) -> None:
        self._members[member.number] = member
        self._by_host[member.address.host] = member

    def _after(
        self, seconds: float, now: float, happen: Callable[[Member, float], None], member: Member
    ) -> None:
        self._count += 1
        heappush(self._events, (now + seconds, self._count, happen, member))

    def _pause(self) -> float:
        assert self._habits is not None  # noqa: S101  for mypy
        return self._random.expovariate(1 / self._habits.mean_pause)

    def _come(self, member: Member, now: float, session: float | None) -> None:
        member.online_since = now
        insort(self._online, member.number)
        _add(self._named, member.number)
        if session is not None:
            self._after(session, now, self._leave, member)

    def _leave(self, member: Member, now: float) -> None:
        assert self._habits is not None  # noqa: S101  for mypy
        member.online_since, member.gone_at = None, now
        _discard(self._online, member.number)
        lingering, pause = _LONGEST * self._habits.lingering, self._pause()
        if lingering < pause:
            self._after(lingering, now, self._be_forgotten, member)
        self._after(pause, now, self._return, member)

    def _be_forgotten(self, member: Member, _now: float) -> None:
        _discard(self._named, member.number)

    def _return(self, member: Member, now: float) -> None:
        assert self._habits is not None  # noqa: S101  for mypy
        if self._random.random() < self._habits.renewal:
            _discard(self._named, member.number)
            del self._members[member.number], self._by_host[member.address.host]
            member.settle(*self._identity())
            self._enter(member)
        self._come(member, now, self._habits.session(self._random))


def _closest(numbers: Sequence[int], target: int, count: int) -> list[int]:
    """Return the `count` closest of sorted ids, closest first: those of the smallest part with so many."""
    bits = min(ID_BITS, max(0, ID_BITS + count.bit_length() - len(numbers).bit_length()))
    while True:
        low = target >> bits << bits
        start, end = bisect_left(numbers, low), bisect_left(numbers, low + (1 << bits))
        if end - start >= count or bits >= ID_BITS:
            return sorted(numbers[start:end], key=target.__xor__)[:count]
        bits += 1


def _add(numbers: list[int], number: int) -> None:
    at = bisect_left(numbers, number)
    if at == len(numbers) or numbers[at] != number:
        numbers.insert(at, number)


def _discard(numbers: list[int], number: int) -> None:
    at = bisect_left(numbers, number)
    if at < len(numbers) and numbers[at] == number:
        del numbers[at]
