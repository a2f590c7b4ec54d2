"""Where a crawl goes: a zone of the id space, without the networks and nodes that asked to be left out.

A file lists these, one to a line: an IP address, a network (`192.0.2.0/24`, `2001:db8::/32`), a node
id of 40 hex digits, or the name of a web seed after these words (`web-seed files.example.org`), which stands
for those below it, too.  Blank lines and what follows a `#` are skipped.  What is excluded is neither queried
nor written down.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Self, TypeAlias

from crawler.zone import Zone
from dhtnode import Family
from dhtnode.arguments import check_type, several
from dhtnode.krpc import PackedEndpoint

Excludes: TypeAlias = Callable[[bytes, PackedEndpoint, Family], bool]
"""Whether a node, by id and endpoint, is to be left alone: neither queried nor written down."""

_PORT_BITS = 16
_ID_DIGITS = 40
_WEB_SEED = re.compile(r"web-seed\s+((?:[a-z0-9_-]{1,63}\.)+[a-z][a-z0-9-]{1,62})", re.IGNORECASE)


class Exclusion:
    """Networks and nodes to be left alone; a check costs one look-up for each prefix length in the list."""

    def __init__(
        self,
        networks: Iterable[IPv4Network | IPv6Network] = (),
        node_ids: Iterable[bytes] = (),
        names: Iterable[str] = (),
    ) -> None:
        self._names = frozenset(name.lower() for name in names)
        self._node_ids = frozenset(node_ids)
        # By family: how far to shift an endpoint, and the networks that it is then compared with.
        self._networks: dict[Family, dict[int, set[int]]] = {}
        for network in networks:
            shift = network.max_prefixlen - network.prefixlen
            by_shift = self._networks.setdefault(Family(network.version), {})
            by_shift.setdefault(shift + _PORT_BITS, set()).add(int(network.network_address) >> shift)

    @classmethod
    def read(cls, lines: Iterable[str]) -> Self:
        """Read a list; raise `ValueError` that names the line and what is wrong with it."""
        networks, node_ids, names = [], [], []
        for number, line in enumerate(several("lines", lines), 1):
            check_type("a line", line, str)
            text = line.partition("#")[0].strip()
            if not text:
                continue
            try:
                if len(text) == _ID_DIGITS and ":" not in text:
                    node_ids.append(bytes.fromhex(text))
                elif seed := _WEB_SEED.fullmatch(text):
                    names.append(seed[1])
                else:
                    networks.append(ip_network(text))
            except ValueError as error:
                raise ValueError(f"line {number}: {text!r} is no network, IP address or node id") from error
        return cls(networks, node_ids, names)

    def __bool__(self) -> bool:
        """Return whether anything is excluded at all."""
        return bool(self._node_ids or self._networks or self._names)

    def excludes_name(self, host: str) -> bool:
        """Return whether a web seed is to be left alone by its name, or by one that it lies below."""
        labels = host.lower().rstrip(".").split(".")
        return any(".".join(labels[at:]) in self._names for at in range(len(labels)))

    def excludes(self, node_id: bytes, endpoint: PackedEndpoint, family: Family) -> bool:
        """Return whether a node is to be left alone."""
        if node_id in self._node_ids:
            return True
        by_shift = self._networks.get(family, {})
        return any(endpoint >> shift in networks for shift, networks in by_shift.items())


@dataclass(frozen=True, slots=True)
class Area:
    """The bounds of a crawl; by default there are none."""

    zone: Zone = field(default_factory=Zone)
    exclusion: Exclusion = field(default_factory=Exclusion)
