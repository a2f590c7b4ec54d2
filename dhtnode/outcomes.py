"""Outcomes of queries to a node."""

from enum import StrEnum

from dhtnode.errors import ForeignSource, QueryError, QueryNotSent, QueryRefused, QueryTimeout


class Outcome(StrEnum):
    """The outcome of a query; the text is what the database of the crawler has."""

    ANSWERED = "answered"
    TIMEOUT = "timeout"
    ERROR = "error"
    """The node answered with a KRPC error."""

    WRONG_ID = "wrong-id"
    """A node answered, but under another id than the one that was expected."""

    FOREIGN_SOURCE = "foreign-source"
    """An answer came, but from another address."""

    MALFORMED = "malformed"
    NOT_SENT = "not-sent"
    """Nothing left our socket: excluded, out of scope, or the network refused the packet."""

    UNSUPPORTED = "unsupported"
    """The node answered, but does not support samples of info-hashes (BEP 51)."""

    NOT_DUE = "not-due"
    """It was too early for another sample: the node was queried for contacts instead, and answered."""


LIES = frozenset({Outcome.WRONG_ID, Outcome.FOREIGN_SOURCE, Outcome.MALFORMED})
"""Outcomes that make a node suspect by themselves."""


def outcome_of(failure: QueryError) -> Outcome:
    """Return the outcome of a query that failed."""
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
