"""Fuzz target: what a crawler makes of the answers of strangers, from packets to numbers."""

from collections.abc import Hashable
from itertools import chain
from math import inf

from dhtnode.addresses import Address
from dhtnode.api.scrape import _keeps_back_its_list, _scrape_reply
from dhtnode.krpc.codec import decode_untrusted
from dhtnode.krpc.malformed import MalformedMessage
from dhtnode.krpc.messages import Response
from dhtnode.net.transactions import Answer
from dhtnode.swarm.estimate import estimate_swarm
from dhtnode.swarm.filter_size import Interval
from dhtnode.swarm.replies import ScrapeReply, observe
from dhtnode.swarm.stopping_rule import EXTENDED_TO, more_nodes_wanted
from dhtnode.swarm.trust_marks import MARKS, marks_of
from tests.fuzz.findings import require
from tests.fuzz.steps import Step, cut
from tests.fuzz.world import family_of, known_address


class ScrapeTarget:
    """Estimate a swarm from whatever decodes as a response, one reply per step."""

    name = "scrape"
    life = 10_000

    def run(self, data: bytes) -> Hashable:
        """Read the replies of one input and look at the estimate."""
        replies = [reply for step in cut(data) if (reply := _reply(step)) is not None]
        if not replies:
            return None
        evidence = observe(replies)
        marks = marks_of(replies, evidence, probes=replies)
        require(len(marks) == len(replies) and {*chain(*marks)} <= {*MARKS}, "each reply has its marks")
        require(0 <= more_nodes_wanted(evidence) <= EXTENDED_TO, "a few more nodes are wanted at most")
        estimate = estimate_swarm(replies)
        require(0 <= estimate.peers_low <= estimate.peers <= estimate.peers_high, "the headline is inside")
        require(estimate.seeds >= 0 and estimate.leechers >= 0, "counts are not negative")
        for low, count, high in (
            (estimate.seeds_low, estimate.seeds, estimate.seeds_high),
            (estimate.leechers_low, estimate.leechers, estimate.leechers_high),
        ):
            require(0 <= low <= count <= min(high, estimate.peers), "the count of a part is inside")
        intervals = (estimate.union, estimate.pair_ratio, estimate.chao2)
        for interval in intervals:
            _check(interval)
        kinds = tuple(interval is None for interval in intervals)
        return estimate.method, estimate.saturated, kinds, len(replies), estimate.peers.bit_length()

    def end(self) -> None:
        """Have nothing to look at: there is no state."""


def _check(interval: Interval | None) -> None:
    """Hold an interval to its order, but for one peer: its ends are whole peers, the estimate is not."""
    if interval is not None:
        require(0 <= interval.low <= interval.high < inf, "an interval has two ends in order")
        require(interval.low - 1 <= interval.estimate <= interval.high + 1, "the estimate is inside")


def _reply(step: Step) -> ScrapeReply | None:
    family = family_of(step.action)
    try:
        message = decode_untrusted(step.packet, family)
    except MalformedMessage:
        return None
    if not isinstance(message, Response):
        return None
    source: Address = known_address(family, step.source)
    answer = Answer(source, message, step.clock / 100, 100, len(step.packet))
    return _scrape_reply(answer, answer if _keeps_back_its_list(answer) else None)
