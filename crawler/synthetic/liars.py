"""The styles of nodes that lie about swarms: filters and peers that are not what they store.

As in `hostile`, each takes an honest exchange and returns what is sent.  Only answers to get_peers
change; to all other queries these nodes are honest, so a census has nothing to say against them.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from random import Random
from typing import TypeAlias

from crawler.synthetic.replies import Exchange, Sent, Style
from dhtnode.krpc import ScrapeFilter

INFLATED = 3000  # hosts of an inflated filter
INVENTED = (50, 500)  # hosts of a swarm invented for one query
COPIED = 300  # hosts of the one swarm whose filters are sent for every other
PEERS_RETURNED = (20, 70)  # peers that are not there: about 1 kB
_FULL = b"\xff" * 256
_SPECIAL = (0, 10, 127, 240)  # first octets of networks where no peer is
_PEERS = 198 << 24 | 18 << 16  # where all peers of the model are, 198.18.0.0/15

_Filters: TypeAlias = tuple[bytes, bytes]


def full_filter(exchange: Exchange) -> Sent:
    """Send filters in which every bit is set."""
    return _with_filters(exchange, (_FULL, _FULL))


def inflated_filter(exchange: Exchange) -> Sent:
    """Send the filters of thousands of invented hosts."""
    return _with_filters(exchange, _invented_filters(exchange.random, INFLATED))


def copied_filters(exchange: Exchange) -> Sent:
    """Send the filters of one swarm for every other; all nodes of this style the same."""
    return _with_filters(exchange, _copied(exchange.population.settings.seed))


def invented_filters(exchange: Exchange) -> Sent:
    """Send the filters of a swarm of plausible size, for every info-hash asked."""
    return _with_filters(exchange, _invented_filters(exchange.random, exchange.random.randint(*INVENTED)))


def empty_filters(exchange: Exchange) -> Sent:
    """Send filters without a bit, those of an empty swarm."""
    return _with_filters(exchange, (bytes(256), bytes(256)))


def special_use_values(exchange: Exchange) -> Sent:
    """Return peers in networks where none can be."""
    random = exchange.random
    return _with_values(exchange, lambda: bytes([random.choice(_SPECIAL)]) + random.randbytes(3))


def invented_values(exchange: Exchange) -> Sent:
    """Return peers that do not exist, in the network where those of the model are."""
    random = exchange.random
    return _with_values(exchange, lambda: (_PEERS + random.randrange(1 << 17)).to_bytes(4, "big"))


LIARS: dict[str, Style] = {
    "full filter": full_filter,
    "inflated filter": inflated_filter,
    "copied filters": copied_filters,
    "invented filters": invented_filters,
    "empty filters": empty_filters,
    "special-use values": special_use_values,
    "invented values": invented_values,
}


def _invented_filters(random: Random, hosts: int) -> _Filters:
    seeds = random.randint(0, hosts)
    return _filter_of(random, seeds), _filter_of(random, hosts - seeds)


@lru_cache(maxsize=16)
def _copied(seed: int) -> _Filters:
    return _invented_filters(Random(f"copied {seed}"), COPIED)


def _filter_of(random: Random, hosts: int) -> bytes:
    invented: Iterable[bytes] = (random.randbytes(4) for _ in range(hosts))
    return ScrapeFilter.of(invented).to_bytes()


def _with_filters(exchange: Exchange, filters: _Filters) -> Sent:
    """Return the honest answer with these filters of seeds and of others in the place of its own."""
    reply = exchange.reply
    if not _is_of_get_peers(reply):
        return [(reply, exchange.host)]
    seeds, leechers = filters
    start = len(b"d1:rd") if reply.startswith(b"d1:rd") else len(b"d2:ip6:......1:rd")
    end = reply.index(b"2:id20:" + exchange.node_id)
    changed = b"4:BFpe256:%b4:BFsd256:%b" % (leechers, seeds)
    return [(reply[:start] + changed + reply[end:], exchange.host)]


def _with_values(exchange: Exchange, invent: Callable[[], bytes]) -> Sent:
    """Return the honest answer with invented peers behind its token, if it has none."""
    reply, t = exchange.reply, exchange.transaction_id
    end = reply.rfind(b"e1:t%d:%b" % (len(t), t))
    if not _is_of_get_peers(reply) or b"6:valuesl" in reply or end < 0:
        return [(reply, exchange.host)]
    count = exchange.random.randint(*PEERS_RETURNED)
    values = b"".join(b"6:%b\x1a\xe1" % invent() for _ in range(count))
    return [(reply[:end] + b"6:valuesl%be" % values + reply[end:], exchange.host)]


def _is_of_get_peers(reply: bytes) -> bool:
    """Return whether a reply is one to get_peers: no other has a token."""
    return b"5:token" in reply
