"""One query under way, from the moment it is sent to the moment somebody is told how it ended."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from dhtnode.addresses import Address
from dhtnode.errors import QueryError
from dhtnode.messages import Response


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold a node's response, where it came from, and how long it took in seconds."""

    address: Address
    response: Response
    rtt: float
    bytes_sent: int
    bytes_received: int


OnDone: TypeAlias = Callable[[Answer | QueryError, float], None]
"""What `send_query` calls, once, with the outcome and the time."""


class Pending:
    """Be one query under way; a handle for `Rpc.forget`."""

    __slots__ = ("address", "is_done", "on_done", "on_stall", "sent_at", "size", "transaction_id")

    def __init__(
        self,
        transaction_id: bytes,
        address: Address,
        size: int,
        sent_at: float,
        on_done: OnDone,
        on_stall: Callable[[], None] | None,
    ) -> None:
        self.transaction_id = transaction_id
        self.address = address
        self.size = size
        self.sent_at = sent_at
        self.on_done = on_done
        self.on_stall = on_stall
        self.is_done = False

    def end(self) -> OnDone:
        """Mark the query as done, let go of whoever waits, and return whom to tell."""
        on_done, self.on_done, self.on_stall = self.on_done, _nobody, None
        self.is_done = True
        return on_done


def _nobody(_result: Answer | QueryError, _now: float) -> None:
    """Be what a query that is done would call."""
