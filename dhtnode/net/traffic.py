"""What happens for nearly every datagram, counted.

Plain attributes, because a counter in a dictionary costs five times as much, and there are six per
answered query.
"""

from dataclasses import dataclass, fields


@dataclass(slots=True)
class Traffic:
    """Count; the names are those in `SocketStatistics.counts`, with spaces for underscores."""

    datagrams_received: int = 0
    bytes_received: int = 0
    queries_received: int = 0
    datagrams_sent: int = 0
    bytes_sent: int = 0
    replies_sent: int = 0
    queries_sent: int = 0
    answers: int = 0
    timeouts: int = 0

    def counts(self) -> dict[str, int]:
        """Return the counts that are not zero, by name."""
        counts = {field.name.replace("_", " "): getattr(self, field.name) for field in fields(self)}
        return {name: count for name, count in counts.items() if count}
