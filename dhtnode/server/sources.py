"""What is known of the sources of packets heard of last.

One source sends many packets, and most of what concerns it is the same each time: its compact form,
whether we talk to it, how much it has sent lately.  The memory is bounded: a flood from ever new
addresses pushes out the sources not heard of for longest.  Sources not heard of for long are
forgotten too: otherwise a quiet node would fill its memory with addresses of last week.
"""

from collections.abc import Callable, Container, Iterator
from itertools import chain
from math import inf
from typing import Generic, TypeVar

from dhtnode.addresses import Address, Scope
from dhtnode.krpc.compact import pack_address

MAX_SOURCES = 8192  # 6 MB with what belongs to them

K = TypeVar("K")
V = TypeVar("V")


class Meter:
    """The moment up to which what was used of a rate is paid for; see `admission`.

    `proof_at` is when one of its sources was last pinged so that it could prove its address.
    """

    __slots__ = ("proof_at", "used_until")

    def __init__(self) -> None:
        self.used_until = self.proof_at = -inf


class Source:
    """An address, what follows from it, and what its packets have shown.

    `head` is how a reply to this address begins: a dictionary with the key `ip` (BEP 42).
    `awaited` counts our queries to it under way.  While `now < proven_until` it has proven its
    address, by an answer to one of them.  `timed_out_at` is when the last of them timed out, if
    none was answered since; `seen_at` when its sender was last reported as a possible contact.
    `is_tolerated` means that its last datagram was not canonical: so the next is not shown to the strict
    decoder, whose refusals take long.  `drawn_until` is the moment up to which what it drew on the
    reserve of its address is paid for; see `admission`.
    """

    __slots__ = (
        "address",
        "awaited",
        "datagrams",
        "drawn_until",
        "head",
        "host",
        "is_allowed",
        "is_tolerated",
        "network",
        "packed_host",
        "proven_until",
        "seen_at",
        "timed_out_at",
    )

    def __init__(self, address: Address, *, is_allowed: bool, host: Meter, network: Meter) -> None:
        """Begin with an address not heard of; meters are shared with others of its host and network."""
        self.address = address
        self.is_allowed = is_allowed
        self.is_tolerated = False
        compact = pack_address(address) if is_allowed else b""
        self.packed_host = compact[:-2]
        self.head = b"d2:ip%d:%b" % (len(compact), compact)
        self.host = host
        self.network = network
        self.awaited = 0
        self.datagrams = 0
        self.seen_at = self.proven_until = self.timed_out_at = self.drawn_until = -inf


class RecentSources(Generic[K, V]):
    """Values made for keys, at most `limit` of them, in two generations.

    When the young generation is half of the limit, or its time is over, it becomes the old one, and
    old values not used since are forgotten: nearly the order of use, for one look-up per call.
    """

    __slots__ = ("_half", "_make", "_old", "_young", "find")

    def __init__(self, limit: int, make: Callable[[K], V]) -> None:
        self._half = limit // 2
        self._make = make
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        # Of the young generation only, without a call of Python: for what is done per packet.
        self.find = self._young.get

    def __len__(self) -> int:
        """Return how many values are remembered."""
        return len(self._young) + len(self._old)

    def get(self, key: K) -> V:
        """Return the value of a key, made now if it was not remembered; constant cost."""
        value = self._young.get(key)
        return self._renew(key) if value is None else value

    def values(self) -> Iterator[V]:
        """Yield what is remembered, in no order."""
        return chain(self._young.values(), self._old.values())

    def next_generation(self) -> None:
        """Begin a generation, and forget what was not used since the last one began."""
        self._old = self._young.copy()
        self._young.clear()

    def keep(self, key: K, value: V) -> None:
        """Remember a value as if it had been used now."""
        self._old.pop(key, None)
        if len(self._young) >= self._half:
            self.next_generation()
        self._young[key] = value

    def _renew(self, key: K) -> V:
        value = self._old.pop(key, None)
        if value is None:
            value = self._make(key)
        else:
            self._keep_parts(value)
        self.keep(key, value)
        return value

    def _keep_parts(self, value: V) -> None:
        """Keep what belongs to a value that would have been forgotten next."""


class Meters:
    """The meters of hosts and networks, for all sockets of a node: what is used is counted once."""

    __slots__ = ("hosts", "networks")

    def __init__(self) -> None:
        self.hosts: RecentSources[str, Meter] = RecentSources(MAX_SOURCES, lambda _host: Meter())
        self.networks: RecentSources[str, Meter] = RecentSources(MAX_SOURCES, lambda _host: Meter())


class Sources(RecentSources[tuple[str, int], Source]):
    """The sources of one socket by the pairs that it returns."""

    __slots__ = ("_began_at", "_hosts", "_lifetime", "_networks", "_own", "_proven", "_scope")

    def __init__(
        self,
        scope: Scope,
        own: Container[Address] = (),
        meters: Meters | None = None,
        *,
        lifetime: float = inf,
    ) -> None:
        """Begin with the scope of a socket; the node's `own` addresses are not allowed.

        Sources not heard of for `lifetime` seconds are forgotten by `expire`.
        """
        meters = meters or Meters()
        super().__init__(MAX_SOURCES, self._make_source)
        self._scope = scope
        self._own = own
        self._hosts = meters.hosts
        self._networks = meters.networks
        self._lifetime = lifetime
        self._began_at = -inf
        # Of sources that were forgotten: a flood from ever new ones must not take their rights.
        self._proven: dict[tuple[str, int], float] = {}

    def reset_meters(self) -> None:
        """Count what was used of all rates as paid for; to be done when the rates change.  Linear cost."""
        for source in self.values():
            source.host.used_until = source.network.used_until = source.drawn_until = -inf
        for meter in chain(self._hosts.values(), self._networks.values()):
            meter.used_until = -inf

    def expire(self, now: float) -> None:
        """Forget the sources not heard of for long, at the latest after twice the lifetime.

        To be called now and then; without it their number is bounded all the same.
        """
        if now - self._began_at >= self._lifetime:
            self._began_at = now
            self.next_generation()
            self._proven = {pair: until for pair, until in self._proven.items() if now < until}

    def next_generation(self) -> None:
        """Forget sources not heard of since the last generation began, and meters only they used.

        How long those are proven is kept, for half as many as there may be sources.
        """
        for pair, source in self._old.items():
            if source.proven_until > -inf:
                self._proven[pair] = source.proven_until
        for pair in list(self._proven)[: -self._half]:
            del self._proven[pair]
        super().next_generation()
        self._hosts.next_generation()
        self._networks.next_generation()

    def _keep_parts(self, value: Source) -> None:
        # Other ports of its host must share the meters, so they are kept as long as the source.
        if value.is_allowed and self._scope is not Scope.LOOPBACK:
            self._hosts.keep(self._scope.host_key(value.address), value.host)
            self._networks.keep(self._scope.network_key(value.address), value.network)

    def _make_source(self, pair: tuple[str, int]) -> Source:
        scope, address = self._scope, Address(*pair)
        if not scope.allows(address) or address in self._own:
            return Source(address, is_allowed=False, host=_UNUSED, network=_UNUSED)
        if scope is Scope.LOOPBACK:
            # There each endpoint is a host of its own (design note 2).
            source = Source(address, is_allowed=True, host=Meter(), network=Meter())
        else:
            source = Source(
                address,
                is_allowed=True,
                host=self._hosts.get(scope.host_key(address)),
                network=self._networks.get(scope.network_key(address)),
            )
        source.proven_until = self._proven.pop(pair, -inf)
        return source


_UNUSED = Meter()
