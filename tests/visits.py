"""Visits from values as people write them."""

from collections.abc import Iterable
from typing import Any

from crawler.db.records.records import OUTCOME_CODES, Visit, epoch_ms, host_value
from dhtnode import Address
from dhtnode.outcomes import Outcome


def visit_of(
    node_id: bytes,
    address: Address,
    seconds: float,
    outcome: Outcome,
    *,
    rtt_ms: float | None = None,
    marks: Iterable[str] = (),
    **others: Any,
) -> Visit:
    """Return the row of a visit that ended `seconds` after the epoch; `others` are fields as they are."""
    return Visit(
        *(node_id, host_value(address), address.port, epoch_ms(seconds), OUTCOME_CODES[outcome]),
        rtt_us=None if rtt_ms is None else round(1000 * rtt_ms),
        marks=" ".join(marks) or None,
        **others,
    )
