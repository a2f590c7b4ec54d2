"""Which peers may be contacted, and which of these are, of a host and in all.

Addresses of peers come from unknown nodes, which may return any address.  So none is contacted in a network
that our own socket is not part of, none of this machine, none that `--exclude` lists, and none at a port
below 1024; each host once in a swarm, at a second port when nothing listens at the first.
"""

from collections import Counter
from collections.abc import Collection, Container, Mapping, Sequence
from ipaddress import ip_address

from crawler.core.exclusion import Excludes
from dhtnode import Address, Family, Scope
from dhtnode.addresses import is_public

PORTS_OF_HOST = 2  # one may be the other with its bytes swapped, as rTorrent's nodes hand them out
LOWEST_PORT = 1024  # below are services that are no peers, and whose owners watch for connections


class PeerChoice:
    """The rules by which peers are chosen, the same for all swarms."""

    def __init__(
        self, scopes: Mapping[Family, Scope], most: int, excludes: Excludes | None, own: Container[str]
    ) -> None:
        """Choose `most` hosts of a swarm at most; `own` are the addresses of this machine."""
        self._scopes = scopes
        self._most = most
        self._excludes = excludes
        self._own = own

    def host_key(self, peer: Address) -> str:
        """Return what "one connection to a host" counts."""
        return self._scopes[peer.family].host_key(peer)

    def choose(
        self, peers: Sequence[Address], skipped: Counter[str], visited: Collection[str] = ()
    ) -> list[list[Address]]:
        """Return the peers to try, by host, with a second port at most, and count the others by reason.

        `visited` are the hosts of the swarm that were tried already.
        """
        hosts: dict[str, list[Address]] = {}
        for peer in peers:
            reason = self.reason_against(peer) or self._reason_to_skip(peer, hosts, visited)
            if reason is None:
                hosts.setdefault(self.host_key(peer), []).append(peer)
            else:
                skipped[reason] += 1
        return list(hosts.values())

    def reason_against(self, peer: Address) -> str | None:
        """Return why a peer may not be contacted, or None."""
        scope = self._scopes.get(peer.family)
        if scope is None or not scope.allows(peer):
            return "address that we do not talk to"
        # A firewall lets through what comes from the machine itself.
        if peer.host in self._own and is_public(peer.host):
            return "address of this machine"
        if peer.port < LOWEST_PORT:
            return "port below 1024"
        endpoint = int(ip_address(peer.host)) << 16 | peer.port
        if self._excludes is not None and self._excludes(b"", endpoint, peer.family):
            return "excluded"
        return None

    def _reason_to_skip(
        self, peer: Address, chosen: Mapping[str, Sequence[Address]], visited: Collection[str]
    ) -> str | None:
        host = self.host_key(peer)
        if host in visited or len(chosen.get(host, ())) >= PORTS_OF_HOST:
            return "another port of a host"
        if host not in chosen and len(chosen) + len(visited) >= self._most:
            return "enough others"
        return None
