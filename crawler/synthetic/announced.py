"""The peers that real programs announced to nodes of a synthetic network, beside those it made up."""

PEER_LIFETIME = 45 * 60.0  # seconds
MAX_PEERS = 100_000  # in all; what comes when it is full is counted and dropped


class Announced:
    """Keep peers by node and info-hash, bounded by `MAX_PEERS` in all."""

    def __init__(self, limit: int = MAX_PEERS) -> None:
        self.dropped = 0
        self._limit = limit
        self._held = 0
        self._peers: dict[tuple[int, bytes], dict[bytes, tuple[float, bool]]] = {}

    def __len__(self) -> int:
        """Return how many are held, those included whose time is over but who were not looked at."""
        return self._held

    def store(self, number: int, info_hash: bytes, peer: bytes, now: float, *, seed: bool) -> None:
        """Take a compact peer of 6 bytes, or renew it."""
        swarm = self._peers.get((number, info_hash), {})
        if peer not in swarm:
            if self._held >= self._limit:
                self.dropped += 1
                return
            self._held += 1
        swarm[peer] = now + PEER_LIFETIME, seed
        self._peers[number, info_hash] = swarm

    def peers(self, number: int, info_hash: bytes, now: float) -> tuple[list[bytes], list[bytes]]:
        """Return seeds and leechers, after those whose time is over were forgotten."""
        swarm = self._peers.get((number, info_hash))
        if swarm is None:
            return [], []
        for peer in [peer for peer, (until, _) in swarm.items() if until <= now]:
            del swarm[peer]
            self._held -= 1
        if not swarm:
            del self._peers[number, info_hash]
        seeds = [peer for peer, (_, seed) in swarm.items() if seed]
        return seeds, [peer for peer, (_, seed) in swarm.items() if not seed]
