"""Datagrams that are not KRPC messages, and why."""

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
"""Few and fixed, because statistics count by them."""


class MalformedMessage(Exception):
    """Bytes that are not a KRPC message.

    `reply` is the error for the client, when a query can be answered at all; `failed` the transaction
    id of a malformed response, whose query has failed.  At most one of the two is set.
    """

    def __init__(self, reason: Reason, *, reply: Error | None = None, failed: bytes | None = None) -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.reply = reply
        self.failed = failed
