"""What one peer tells of others over a connection: peers (BEP 11) and trackers (BEP 28)."""

from crawler.torrents.peerwire.frames import BadPeer
from crawler.torrents.peerwire.peer_exchange import NamedPeer, read_exchange_untrusted
from crawler.torrents.peerwire.tracker_exchange import read_trackers_untrusted

MAX_MESSAGES = 2
"""Messages of each kind on one connection.

A client sends one a minute, and no connection lasts for two minutes, so that a third is a flood: libtorrent
closes then as well.
"""


class ToldOfOthers:
    """The peers and trackers that one peer told of; bounded by two messages of each."""

    def __init__(self) -> None:
        self.peers: list[NamedPeer] = []
        self.trackers: list[bytes] = []
        self._exchanges = 0
        self._lists = 0

    @property
    def has_named_peers(self) -> bool:
        """Return whether it has sent a message about peers, if only an empty one."""
        return self._exchanges > 0

    @property
    def has_named_trackers(self) -> bool:
        """Return whether it has sent a message about trackers."""
        return self._lists > 0

    def record_peers_untrusted(self, payload: bytes) -> None:
        """Record a message of BEP 11; raises `BadPeer`, also for one too many."""
        if self._exchanges >= MAX_MESSAGES:
            raise BadPeer("floods with exchanges of peers")
        self.peers += read_exchange_untrusted(payload)
        self._exchanges += 1

    def record_trackers_untrusted(self, payload: bytes) -> None:
        """Record a message of BEP 28; raises `BadPeer`, also for one too many."""
        if self._lists >= MAX_MESSAGES:
            raise BadPeer("floods with exchanges of trackers")
        self.trackers += read_trackers_untrusted(payload)
        self._lists += 1

    def clear(self) -> None:
        """Forget what was told, not that it was."""
        self.peers, self.trackers = [], []
