"""The counts of a sweep."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class SweepTally:
    """The counts of a sweep as far as it has come."""

    swarms: int = 0
    private: int = 0
    trackers: int = 0
    ended: int = 0
    answered: int = 0
    told: int = 0
    samples: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return (
            f"{self.ended} of {self.trackers} trackers done, {self.told} answers about {self.swarms} swarms,"
            f" {self.samples} with peers"
        )
