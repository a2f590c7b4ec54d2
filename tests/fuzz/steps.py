"""An input that is a story: datagrams, each with who sends it, what happens before, and how late it is.

One step is four bytes and a packet: action, source, clock, then the length of the packet in two
bytes.  Any bytes at all can be read as steps, so that every mutation leaves a valid story.
"""

from collections.abc import Iterable
from typing import NamedTuple

HEADER_BYTES = 5
MAX_STEPS = 16
MAX_PACKET_BYTES = 0xFFFF

TRANSACTION_MARK = b"TIDX"
"""Stands in a packet for the id of our query to its sender; as long as our ids are."""

TOKEN_MARK = b"TOKENXXX"
"""Stands in a packet for the token that its sender would get; as long as our tokens are."""


class Step(NamedTuple):
    """Hold one packet and three bytes that a target makes of what it likes."""

    action: int
    source: int
    clock: int
    packet: bytes


def cut(data: bytes) -> list[Step]:
    """Read steps, at most `MAX_STEPS`; a last one that is cut short has what is left."""
    steps: list[Step] = []
    at = 0
    while at + HEADER_BYTES <= len(data) and len(steps) < MAX_STEPS:
        action, source, clock, high, low = data[at : at + HEADER_BYTES]
        at += HEADER_BYTES
        end = at + (high << 8 | low)
        steps.append(Step(action, source, clock, data[at:end]))
        at = end
    return steps


def join(steps: Iterable[Step]) -> bytes:
    """Return the bytes of steps, which `cut` reads again."""
    return b"".join(
        b"%c%c%c%b%b"
        % (step.action, step.source, step.clock, len(step.packet).to_bytes(2, "big"), step.packet)
        for step in steps
    )
