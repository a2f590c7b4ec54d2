"""A TCP connection as the segments that may have carried it."""

from collections.abc import Iterator
from typing import TypeAlias

from dhtnode.pcap.packets import ACK, FIN, PSH, RST, SYN, Place, tcp_segment

LONGEST_DATA = 32 * 1024  # in one segment, as from a network card that joins them

Segment: TypeAlias = tuple[bytes, bool]
"""An IP packet, and whether it is outbound."""


class TcpConnection:
    """One connection from us to another place, and how far each side has come."""

    def __init__(self, ours: Place, theirs: Place) -> None:
        self._places = {True: (ours, theirs), False: (theirs, ours)}
        self._next = {True: 0, False: 0}  # sequence numbers, of what is outbound and what is inbound
        self._ended = {True: False, False: False}

    def ask(self) -> list[Segment]:
        """Return the segment by which we ask for the connection."""
        return [self._segment(SYN, outbound=True)]

    def accept(self) -> list[Segment]:
        """Return the rest of the handshake."""
        return [self._segment(SYN | ACK, outbound=False), self._segment(ACK, outbound=True)]

    def carry(self, data: bytes, *, outbound: bool) -> Iterator[Segment]:
        """Yield the segments of what one side sent."""
        for at in range(0, len(data), LONGEST_DATA):
            yield self._segment(PSH | ACK, data[at : at + LONGEST_DATA], outbound=outbound)

    def end(self, *, outbound: bool) -> list[Segment]:
        """Return the segment by which one side says that it sends no more; none the second time."""
        if self._ended[outbound]:
            return []
        self._ended[outbound] = True
        segments = [self._segment(FIN | ACK, outbound=outbound)]
        if self._ended[not outbound]:
            segments.append(self._segment(ACK, outbound=not outbound))
        return segments

    def reset(self, *, outbound: bool) -> list[Segment]:
        """Return the segment by which one side breaks the connection off; none after its end."""
        if all(self._ended.values()):
            return []
        self._ended = {True: True, False: True}
        return [self._segment(RST | ACK, outbound=outbound)]

    def _segment(self, flags: int, data: bytes = b"", *, outbound: bool) -> Segment:
        number, acknowledged = self._next[outbound], self._next[not outbound] if flags & ACK else 0
        self._next[outbound] = (number + len(data) + bool(flags & (SYN | FIN))) % (1 << 32)
        source, destination = self._places[outbound]
        return tcp_segment(source, destination, (number, acknowledged), flags, data), outbound
