"""Web seeds and checks of them: frozen values, of a URL no more than its host and a hash."""

from dataclasses import dataclass
from typing import NamedTuple

from dhtnode import InfoHash


class KnownSeed(NamedTuple):
    """A web seed of a torrent: `url_hash` tells it from others of the host, `kind` is its protocol."""

    info_hash: InfoHash
    url_hash: str
    host: str
    kind: str


@dataclass(frozen=True, slots=True)
class SeedCheck:
    """What became of asking one web seed; `status`, `ms` and the two marks are None where nothing told them.

    `length_ok` and `hash_ok` say whether the length of a file and the hash of a piece were right.
    """

    info_hash: InfoHash
    url_hash: str
    host: str
    kind: str
    taken_at: str
    outcome: str
    status: int | None = None
    length_ok: bool | None = None
    hash_ok: bool | None = None
    ms: float | None = None
    bytes: int = 0


class SeedBatch(NamedTuple):
    """A check, and when the seed may be asked again where it asked for a pause (else None)."""

    check: SeedCheck
    not_before: str | None
