"""The targets by name: how each is made, what it starts from, and how its inputs are varied."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Protocol

from tests.fuzz import seeds
from tests.fuzz.findings import Finding, Stuck, finding_of
from tests.fuzz.mutator import Mutator
from tests.fuzz.targets.codec import BencodingTarget, KrpcTarget, MetainfoTarget
from tests.fuzz.targets.meaning import MeaningTarget
from tests.fuzz.targets.node import NodeTarget
from tests.fuzz.targets.peer import PeerTarget
from tests.fuzz.targets.responder import ResponderTarget
from tests.fuzz.targets.scrape import ScrapeTarget
from tests.fuzz.targets.trackers import (
    FullScrapeTarget,
    HttpTrackerTarget,
    TrackerTextTarget,
    UdpTrackerTarget,
)
from tests.fuzz.watch import WATCHDOG

SHRINK_INPUTS = 20_000


class Target(Protocol):
    """Be something that takes inputs and raises when a promise does not hold.

    After `life` inputs an engine calls `end` and makes a new one, so that a failure can be had
    again from that many inputs at most.
    """

    life: int

    def run(self, data: bytes) -> Hashable:
        """Take one input; return what came of it: inputs with an outcome not seen before are kept."""

    def end(self) -> None:
        """Look at what can only be seen at the end."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Hold all that an engine needs to know of one target."""

    name: str
    make: Callable[[], Target]
    seeds: Callable[[], list[bytes]]
    vary: Callable[[Mutator, bytes], bytes]


KINDS = {
    kind.name: kind
    for kind in (
        Kind("bencoding", BencodingTarget, seeds.values, Mutator.packet),
        Kind("krpc", KrpcTarget, seeds.packets, Mutator.packet),
        Kind("metainfo", MetainfoTarget, seeds.torrents, Mutator.packet),
        Kind("peer", PeerTarget, seeds.talks, Mutator.packet),
        Kind("responder", ResponderTarget, seeds.stories, Mutator.story),
        Kind("scrape", ScrapeTarget, seeds.scrapes, Mutator.story),
        Kind("node", NodeTarget, seeds.stories, Mutator.story),
        Kind("tracker-udp", UdpTrackerTarget, seeds.tracker_packets, Mutator.packet),
        Kind("tracker-http", HttpTrackerTarget, seeds.tracker_answers, Mutator.packet),
        Kind("tracker-full", FullScrapeTarget, seeds.full_scrapes, Mutator.packet),
        Kind("tracker-text", TrackerTextTarget, seeds.tracker_texts, Mutator.packet),
        Kind("meaning", MeaningTarget, seeds.moves, Mutator.moves),
    )
}


def replay(kind: Kind, inputs: Iterable[bytes]) -> Finding | None:
    """Run inputs through a fresh target; return how they fail, or None."""
    target = kind.make()
    taken: list[bytes] = []
    try:
        for data in inputs:
            taken.append(data)
            WATCHDOG.beat()
            target.run(data)
        target.end()
    except (Exception, Stuck) as error:  # noqa: BLE001  that is what we look for
        return finding_of(kind.name, taken, error)
    return None


def shrink(kind: Kind, finding: Finding) -> Finding:
    """Return the same failure from fewer inputs, as far as `SHRINK_INPUTS` runs of one input lead.

    First without more and more of the beginning, since most failures need their last input alone;
    then without single parts.
    """
    budget = SHRINK_INPUTS
    size = len(finding.inputs) - 1
    while size >= 1:
        at = 0
        while at + size < len(finding.inputs) and budget > 0:
            fewer = finding.inputs[:at] + finding.inputs[at + size :]
            budget -= len(fewer)
            shorter = replay(kind, fewer)
            if shorter is not None and shorter.signature == finding.signature:
                finding = shorter
            else:
                at += size
        size = min(size, len(finding.inputs)) // 2
    return finding
