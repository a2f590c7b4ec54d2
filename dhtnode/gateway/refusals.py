"""Why the gateway gives a client no peers."""

from enum import StrEnum

from dhtnode.errors import DhtError


class RefusalKind(StrEnum):
    """The kind of a refusal, which each protocol has a word of its own for."""

    INVALID = "invalid"
    BUSY = "busy"  # a rate or a bound: it may come again
    NOT_ALLOWED = "not allowed here"
    NOT_TRACKED = "not tracked here"


RETRY_IN = 1
"""Minutes after which a client that was refused for a rate or a bound may come again (BEP 31)."""


class Refusal(DhtError):
    """A request that the gateway does not serve; `retry_in` is in minutes, None for never."""

    def __init__(self, kind: RefusalKind, reason: str = "") -> None:
        super().__init__(kind, reason)
        self.kind = kind
        self.reason = reason or str(kind)
        self.retry_in = RETRY_IN if kind is RefusalKind.BUSY else None

    def __str__(self) -> str:
        return self.reason
