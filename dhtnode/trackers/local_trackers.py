"""The names under which a network announces a tracker of its own (BEP 22), and the choice among targets."""

from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address
from random import Random
from typing import NamedTuple

SERVICE = "_bittorrent-tracker._tcp"
MAX_QUERIES = 10
"""Names that are asked for at most."""

MAX_NAME = 253
"""Characters of a name in the DNS."""


class SrvRecord(NamedTuple):
    """A target of a service (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str


def reverse_name(host: str) -> str:
    """Return the name whose PTR record is the name of an address."""
    return ip_address(host).reverse_pointer


def service_names(name: str, is_public_suffix: Callable[[str], bool]) -> Iterator[str]:
    """Yield the names to ask for a tracker, from the name of an address: its own first, then shorter ones.

    Never the root, nor a top-level domain that is not of a country, nor a longer one of which
    `is_public_suffix` says that it is open to all, as `co.uk`, nor what is above that: who runs it is not
    our network.  Ends after `MAX_QUERIES`, and yields no name that the DNS cannot have.
    """
    labels = [label for label in name.rstrip(".").split(".") if label]
    for first in range(min(len(labels), MAX_QUERIES)):
        rest = labels[first:]
        domain = ".".join(rest)
        if len(rest) == 1:
            if len(rest[0]) != 2:
                return
        elif is_public_suffix(domain.lower()):
            return
        if len(domain) < MAX_NAME - len(SERVICE) and max(map(len, rest)) < 64:
            yield f"{SERVICE}.{domain}"


def in_order(records: Iterable[SrvRecord], random: Random) -> list[SrvRecord]:
    """Return the targets in the order to try them: lowest priority first, equals by lot with their weights.

    Without those that say there is none: a target `.`, or port 0.
    """
    waiting = [each for each in records if each.target.rstrip(".") and each.port]
    ordered = list[SrvRecord]()
    while waiting:
        lowest = min(each.priority for each in waiting)
        # Those without a weight come first, so that they have a chance as small as there is (RFC 2782).
        equals = sorted((each for each in waiting if each.priority == lowest), key=lambda each: each.weight)
        mark = random.randint(0, sum(each.weight for each in equals))
        for chosen in equals:
            mark -= chosen.weight
            if mark <= 0:
                break
        ordered.append(chosen)
        waiting.remove(chosen)
    return ordered
