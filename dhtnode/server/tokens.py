"""Announce tokens: proof that an announcer receives at the address it claims (BEP 5).

A token is a keyed BLAKE2b of the client's IP and the info-hash, so nothing is stored per client.
The secret changes every period and the one before stays good: a token lives for one to two
periods.  Secrets come from the caller, since this module draws no randomness of its own.
"""

from collections.abc import Callable
from hashlib import blake2b
from hmac import compare_digest

from dhtnode.ids import InfoHash

# Short replies; all clients but one store up to 39 bytes, libtorrent any length.
TOKEN_BYTES = 8
SECRET_BYTES = 16


class TokenIssuer:
    """Tokens that are issued and checked without storing any."""

    def __init__(self, random_bytes: Callable[[int], bytes], period: float, now: float) -> None:
        """Start with fresh secrets; `random_bytes(n)` must be unpredictable in production."""
        self._random_bytes = random_bytes
        self._period = period
        self._rotated_at = now
        self._current = random_bytes(SECRET_BYTES)
        self._previous = random_bytes(SECRET_BYTES)

    def issue(self, host: bytes, info_hash: InfoHash, now: float) -> bytes:
        """Return the 8-byte token for one packed IP address and one info-hash."""
        self._rotate(now)
        return _token(self._current, host, info_hash)

    def accepts(self, token: bytes, host: bytes, info_hash: InfoHash, now: float) -> bool:
        """Return whether `token` was issued to this address and info-hash, 5 to 10 minutes ago at most.

        The comparison takes the same time wherever the bytes differ.
        """
        self._rotate(now)
        return compare_digest(token, _token(self._current, host, info_hash)) or compare_digest(
            token, _token(self._previous, host, info_hash)
        )

    def _rotate(self, now: float) -> None:
        if now - self._rotated_at < self._period:
            return
        periods = int((now - self._rotated_at) // self._period)
        self._rotated_at += periods * self._period
        # After two periods without a call neither old secret is good.
        self._previous = self._current if periods == 1 else self._random_bytes(SECRET_BYTES)
        self._current = self._random_bytes(SECRET_BYTES)


def _token(secret: bytes, host: bytes, info_hash: InfoHash) -> bytes:
    return blake2b(host + info_hash, digest_size=TOKEN_BYTES, key=secret).digest()
