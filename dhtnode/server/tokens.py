"""Announce tokens: proof that an announcer receives at the address it claims (BEP 5).

A token is a BLAKE2s of a secret, the client's IP and the info-hash, so nothing is stored per client.
The secret changes every period and the one before stays good: a token lives for one to two
periods.  Secrets come from the caller, since this module draws no randomness of its own.

The tokens issued last are remembered, because an announce follows its get_peers: computing one again
costs more than all else that a token takes.
"""

from collections.abc import Callable
from hashlib import blake2s
from hmac import compare_digest

from dhtnode.ids import InfoHash

# Short replies; all clients but one store up to 39 bytes, libtorrent any length.
TOKEN_BYTES = 8
SECRET_BYTES = 16
BLOCK_BYTES = 64  # of BLAKE2s
MAX_REMEMBERED = 4096  # tokens; 1 MB


class TokenIssuer:
    """Tokens that are issued and checked without storing any."""

    def __init__(self, random_bytes: Callable[[int], bytes], period: float, now: float) -> None:
        """Start with fresh secrets; `random_bytes(n)` must be unpredictable in production."""
        self._random_bytes = random_bytes
        self._period = period
        self._rotates_at = now + period
        # Hashes that have read a secret and compressed it: to copy one takes half of what a key would.
        self._current = self._new_secret()
        self._previous = self._new_secret()
        # Those of the current secret by address and info-hash, and those before the last half was new.
        self._remembered: dict[bytes, bytes] = {}
        self._old: dict[bytes, bytes] = {}

    def issue(self, host: bytes, info_hash: InfoHash, now: float) -> bytes:
        """Return the 8-byte token for one packed IP address and one info-hash."""
        if now >= self._rotates_at:
            self._rotate(now)
        holder = host + info_hash
        token = self._remembered.get(holder)
        return self._remember(holder) if token is None else token

    def accepts(self, token: bytes, host: bytes, info_hash: InfoHash, now: float) -> bool:
        """Return whether `token` was issued to this address and info-hash, 5 to 10 minutes ago at most.

        The comparison takes the same time wherever the bytes differ.
        """
        if compare_digest(token, self.issue(host, info_hash, now)):
            return True
        return compare_digest(token, _token(self._previous, host + info_hash))

    def _rotate(self, now: float) -> None:
        periods = int((now - self._rotates_at) // self._period) + 1
        self._rotates_at += periods * self._period
        # After two periods without a call neither old secret is good.
        self._previous = self._current if periods == 1 else self._new_secret()
        self._current = self._new_secret()
        self._remembered, self._old = {}, {}

    def _new_secret(self) -> blake2s:
        # A hash compresses a block when the next one begins.
        return blake2s(self._random_bytes(SECRET_BYTES).ljust(BLOCK_BYTES + 1), digest_size=TOKEN_BYTES)

    def _remember(self, holder: bytes) -> bytes:
        if len(self._remembered) >= MAX_REMEMBERED // 2:
            self._remembered, self._old = {}, self._remembered
        token = self._old.get(holder) or _token(self._current, holder)
        self._remembered[holder] = token
        return token


def _token(secret: blake2s, holder: bytes) -> bytes:
    begun = secret.copy()
    begun.update(holder)
    return begun.digest()
