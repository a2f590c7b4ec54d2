"""Where a crawl goes: the zone of the id space, without those who want to be left alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from crawler.core.exclusion import Exclusion
from crawler.zone import Zone
from dhtnode import Family
from dhtnode.krpc import PackedEndpoint

IsBarred: TypeAlias = Callable[[bytes, PackedEndpoint], bool]
"""What tells of an id and an endpoint whether a crawl may not go there."""


@dataclass(frozen=True, slots=True)
class Area:
    """Hold the bounds of a crawl; by default there are none."""

    zone: Zone = field(default_factory=Zone)
    exclusion: Exclusion = field(default_factory=Exclusion)

    def bars(self, family: Family) -> IsBarred | None:
        """Return what tells who is out of bounds, or None when nobody is: it is asked for every contact."""
        zone, exclusion = self.zone, self.exclusion
        if not zone.bits and not exclusion:
            return None
        return lambda node_id, endpoint: (
            not zone.covers(node_id) or exclusion.excludes(node_id, endpoint, family)
        )
