"""Why bytes are no KRPC message, and what to do besides counting them."""

from typing import Literal, TypeAlias

from dhtnode.krpc.messages import Error

Reason: TypeAlias = Literal[
    "too short",
    "no dictionary",
    "bad bencoding",
    "bad transaction id",
    "bad type",
    "bad method name",
    "bad arguments",
    "bad id",
    "bad target",
    "bad info_hash",
    "bad token",
    "bad port",
    "bad v",
    "v too big",
    "bad k",
    "bad seq",
    "bad sig",
    "bad salt",
    "salt too big",
    "bad cas",
    "unknown method",
    "bad results",
]
"""Why bytes are no message: few and fixed, because statistics count by them."""


class MalformedMessage(Exception):
    """Say that bytes are no KRPC message, and what to do besides counting them.

    `reply` is the error to send to the asker, for queries that can be answered at all; `failed` the
    transaction id of a response so broken that the call it belongs to has failed.  At most one of
    the two is set.
    """

    def __init__(self, reason: Reason, *, reply: Error | None = None, failed: bytes | None = None) -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.reply = reply
        self.failed = failed
