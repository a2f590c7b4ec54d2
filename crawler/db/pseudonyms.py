"""What stands for a node in an anonymized database: a pseudonym for its id, its network, and no port.

An id that follows BEP 42 is computed from the address: beside the /24, trying 256 hosts would find the rest.
So an id becomes a keyed hash.  The key stands in a file of its own beside the database: with it, and only
with it, pseudonyms of several runs compare, and an id can be looked for.
"""

import secrets
from hashlib import blake2b
from pathlib import Path
from typing import Self

from crawler.private_files import private_opener
from dhtnode.ids import ID_BYTES

KEY_BYTES = 32
_SUFFIX = ".key"
NO_PORT = 0  # instead of a port, which would be a door to knock at on all hosts of a network


class Pseudonyms:
    """The pseudonyms of one database."""

    def __init__(self, key: bytes) -> None:
        self._state = blake2b(key=key, digest_size=ID_BYTES)

    @classmethod
    def of_database(cls, path: str, *, may_be_new: bool) -> Self | None:
        """Read the key of a database; without one, draw it if it may be new, or return None.

        Other processes have to be kept from doing so at the same time.  Raises `ValueError` for a file that
        is no key, and `OSError`.
        """
        if path == ":memory:":
            return cls(secrets.token_bytes(KEY_BYTES)) if may_be_new else None
        file = Path(path + _SUFFIX)
        if may_be_new and not file.exists():
            with open(file, "xb", opener=private_opener) as opened:
                opened.write(secrets.token_bytes(KEY_BYTES))
        if not file.exists():
            return None
        with file.open("rb") as opened:
            key = opened.read(KEY_BYTES + 1)
        if len(key) != KEY_BYTES:
            raise ValueError(f"{file}: is no key of {KEY_BYTES} bytes")
        return cls(key)

    def of_id(self, node_id: bytes) -> bytes:
        """Return what stands for an id, as long as the id."""
        state = self._state.copy()
        state.update(node_id)
        return state.digest()
