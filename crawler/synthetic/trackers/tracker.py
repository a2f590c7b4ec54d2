"""One synthetic tracker: what it has of each swarm, what it says of it, and which requests reached it.

No socket, no clock, no task: `now` is in the same seconds as that of the network.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import NamedTuple

from crawler.synthetic.network import Network
from crawler.synthetic.population import mix
from crawler.synthetic.swarms import Announced
from crawler.synthetic.trackers.styles import TrackerStyle, read_styles
from crawler.synthetic.trackers.tracked_swarms import TrackedSwarms

MAX_REQUESTS = 1_000_000
"""Requests that are remembered by one tracker; beyond, the oldest are forgotten and counted."""

MAX_HOSTS = 10_000
"""Hosts whose wrong connection ids are counted."""

CONSTANT_ID = 0x41727101980
ID_SECONDS = {"by-host": 3600.0, "by-address": 120.0}
_WRONG_IDS = 2  # of a host, until it is banned
_SAME_FOR_ALL = (37, 5, 100)


class SwarmAt(NamedTuple):
    """What a tracker says of one swarm."""

    seeds: int
    leechers: int
    downloaded: int


class TrackerRequest(NamedTuple):
    """A packet or a request over HTTP that reached a tracker: `info_hashes` is how many it names."""

    at: float
    source: str
    transport: str
    action: str
    info_hashes: int


@dataclass(slots=True)
class Announcement:
    """A peer that tells a tracker of itself, over either protocol."""

    info_hash: bytes
    host: str
    port: int
    is_seed: bool
    is_gone: bool
    wanted: int


class SyntheticTracker:
    """A tracker of one style that the peers of the swarms of a network announced to."""

    def __init__(self, network: Network, number: int, style: TrackerStyle, lists: int) -> None:
        """Make tracker `number`, with the lists of tracker `lists`: its own, or those of another."""
        self.number = number
        self.style = style
        self.lists = lists
        self.urls = ("", "")
        """Where to announce over UDP and HTTP, once it is on its sockets."""

        self.requests: deque[TrackerRequest] = deque(maxlen=MAX_REQUESTS)
        self.counts: Counter[str] = Counter()
        self.redirected = 0
        self._network = network
        self._tracked = TrackedSwarms(network)
        self._announced = Announced()
        self._salt = mix(network.settings.seed, number)
        self._used_ids: deque[int] = deque(maxlen=MAX_HOSTS)
        self._wrong: dict[str, tuple[int, float]] = {}  # ids of a host, and until when it is banned

    def hear(self, now: float, source: str, transport: str, action: str, info_hashes: int) -> None:
        """Remember a request."""
        if len(self.requests) == MAX_REQUESTS:
            self.counts["requests forgotten"] += 1
        self.counts[f"{transport} {action}"] += 1
        self.requests.append(
            TrackerRequest(now - self._network.begun_at, source, transport, action, info_hashes)
        )

    def listed(self, info_hash: bytes, now: float) -> SwarmAt | None:
        """Return what it says of a swarm, true or not; None of one that it does not know."""
        seeds, leechers, downloaded = self._true_counts(info_hash, now)
        lies = self.style.lies
        if not seeds and not leechers:
            if "invents" not in lies or len(info_hash) != 20:
                return None
            drawn = mix(int.from_bytes(info_hash[:8], "big"), self._salt)
            seeds, leechers, downloaded = 10 + drawn % 500, 10 + (drawn >> 32) % 200, drawn % 5003
        if "constant" in lies:
            return SwarmAt(*_SAME_FOR_ALL)
        if "alone" in lies:
            seeds, leechers, downloaded = 20 * seeds + 100, 20 * leechers + 100, 20 * downloaded
        if "multiplied" in lies:
            seeds, leechers, downloaded = 3 * seeds, 3 * leechers, 3 * downloaded
        return SwarmAt(seeds, leechers, downloaded)

    def rows(self, info_hashes: Sequence[bytes], now: float) -> list[SwarmAt | None]:
        """Return what it says of several swarms, in their order, or out of it."""
        rows = [self.listed(info_hash, now) for info_hash in info_hashes]
        return rows[-1:] + rows[:-1] if "shifted" in self.style.lies else rows

    def announce(self, heard: Announcement, now: float) -> list[bytes] | None:
        """Take in a peer and return others; None of a swarm that is not tracked."""
        place = self._network.swarms.find(heard.info_hash)
        if place is None and not self.style.tracks_unknown:
            return None
        own = bytes(map(int, heard.host.split("."))) + heard.port.to_bytes(2, "big")
        if heard.is_gone:
            self._announced.forget(self.number, heard.info_hash, own)
            return []
        self._announced.store(self.number, heard.info_hash, own, now, seed=heard.is_seed)
        return self._peers(place, heard, own, now)

    def known(self, now: float) -> Iterable[tuple[bytes, SwarmAt]]:
        """Yield all swarms that it has, with what it says of them."""
        for swarm in self._network.swarms:
            said = self.listed(swarm.info_hash, now)
            if said is not None:
                yield swarm.info_hash, said

    def connection_id(self, source: tuple[str, int], now: float) -> int:
        """Return a connection id for a client."""
        kind = self.style.connection_ids
        if kind == "constant":
            return CONSTANT_ID
        if kind in ID_SECONDS:
            return self._id_of(source, int(now // ID_SECONDS[kind]))
        self._used_ids.append(mix(self.counts["udp connect"], self._salt))
        return self._used_ids[-1]

    def takes_id(self, connection: int, source: tuple[str, int], now: float) -> bool:
        """Return whether a request may use a connection id, and count a wrong one."""
        kind = self.style.connection_ids
        if kind in ID_SECONDS:
            period = int(now // ID_SECONDS[kind])
            is_right = connection in (self._id_of(source, period), self._id_of(source, period - 1))
        elif kind == "once":
            is_right = connection in self._used_ids
            if is_right:
                self._used_ids.remove(connection)
        else:
            is_right = kind == "constant" and connection == CONSTANT_ID
        if not is_right:
            self._count_wrong(source[0], now)
        return is_right

    def is_banned(self, host: str, now: float) -> bool:
        """Return whether a host gets no answer because of wrong connection ids."""
        return now < self._wrong.get(host, (0, 0.0))[1]

    def interval(self, now: float) -> int:
        """Return the seconds until the next announce."""
        low, high = self.style.interval
        return low + mix(int(1000 * now), self._salt) % (high - low + 1)

    def _count_wrong(self, host: str, now: float) -> None:
        self.counts["wrong connection ids"] += 1
        if host not in self._wrong and len(self._wrong) >= MAX_HOSTS:
            return
        wrong = self._wrong.get(host, (0, 0.0))[0] + 1
        until = now + self.style.ban_seconds if wrong >= _WRONG_IDS else 0.0
        self._wrong[host] = wrong, until
        if self.style.ban_seconds and wrong == _WRONG_IDS:
            self.counts["hosts banned"] += 1

    def _id_of(self, source: tuple[str, int], period: int) -> int:
        client = source if self.style.connection_ids == "by-address" else source[:1]
        return int.from_bytes(
            blake2b(repr((self._salt, client, period)).encode(), digest_size=8).digest(), "big"
        )

    def _true_counts(self, info_hash: bytes, now: float) -> SwarmAt:
        place = self._network.swarms.find(info_hash) if len(info_hash) == 20 else None
        seeds, leechers, downloaded = 0, 0, 0
        if place is not None:
            downloaded = self._tracked.downloads(self.lists, place)
            seeds, leechers = self._tracked.counts(self.lists, place, now - self._network.begun_at)
        if len(self._announced):
            here, there = self._announced.peers(self.number, info_hash, now)
            seeds, leechers = seeds + len(here), leechers + len(there)
        return SwarmAt(seeds, leechers, downloaded)

    def _peers(self, place: int | None, heard: Announcement, own: bytes, now: float) -> list[bytes]:
        found = [peer for role in self._announced.peers(self.number, heard.info_hash, now) for peer in role]
        if place is not None:
            at = self._tracked.numbers(self.lists, place, now - self._network.begun_at)
            found += self._tracked.addresses(place, (*at.seeds, *at.leechers))
        wanted = self.style.most_peers if heard.wanted < 0 else min(heard.wanted, self.style.most_peers)
        others = [peer for peer in found if peer != own and peer[:4] != bytes(4)]
        return Random(f"{self._salt} {now}").sample(others, min(wanted, len(others)))


def make_trackers(network: Network) -> list[SyntheticTracker]:
    """Make the trackers that the settings of a network name; a mirror has the lists of the one before it."""
    trackers: list[SyntheticTracker] = []
    for number, style in enumerate(read_styles(network.settings.trackers)):
        is_mirror = "mirror" in style.lies and trackers
        lists = trackers[-1].lists if is_mirror else number
        trackers.append(SyntheticTracker(network, number, style, lists))
    return trackers
