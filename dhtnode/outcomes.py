"""How a query to a node ended, in one word."""

from enum import StrEnum

from dhtnode.errors import ForeignSource, QueryError, QueryNotSent, QueryRefused, QueryTimeout


class Outcome(StrEnum):
    """The end of a query; the text is what the database of the crawler holds."""

    ANSWERED = "answered"
    TIMEOUT = "timeout"
    ERROR = "error"
    """The node answered with a KRPC error."""

    WRONG_ID = "wrong-id"
    """A node answered, but under another id than the one it was known by."""

    FOREIGN_SOURCE = "foreign-source"
    """An answer came, but from another address."""

    MALFORMED = "malformed"
    NOT_SENT = "not-sent"
    """Nothing left our socket: excluded, out of scope, or the network refused the packet."""

    UNSUPPORTED = "unsupported"
    """The node answered, and knows no samples of info-hashes (BEP 51)."""

    NOT_DUE = "not-due"
    """It was too early to ask for a sample: contacts were asked for instead, and came."""


def outcome_of(failure: QueryError) -> Outcome:
    """Return the outcome that a failed query stands for."""
    match failure:
        case QueryTimeout():
            return Outcome.TIMEOUT
        case QueryRefused():
            return Outcome.ERROR
        case QueryNotSent():
            return Outcome.NOT_SENT
        case ForeignSource():
            return Outcome.FOREIGN_SOURCE
    return Outcome.MALFORMED
