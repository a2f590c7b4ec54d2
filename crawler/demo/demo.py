"""A whole crawl on a network of our own, where the truth is known.

Real nodes, real UDP packets on loopback, swarms of known size: what comes out is what the same
commands do on the live network, next to what they should have said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import trio

from crawler.core.session import open_session
from crawler.crawl.census import take_census
from crawler.crawl.census_progress import Progress
from crawler.settings import CrawlOptions, CrawlSettings
from crawler.swarms.survey import MeasurementCounts, SwarmSurvey
from dhtnode import InfoHash
from dhtnode.swarm import SwarmMeasurement
from dhtnode.testing import open_testnet

NODES = 60
SIZES = (1, 2, 3, 4, 5, 7, 10, 14, 20, 28, 40, 50, 60, 80, 100, 125, 150, 175, 200, 250, 300, 350, 400, 500)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The true size of a swarm beside the measured one."""

    info_hash: InfoHash
    seeds: int
    leechers: int
    measured: SwarmMeasurement | None

    @property
    def peers(self) -> int:
        """Return the true number of peers."""
        return self.seeds + self.leechers

    @property
    def is_within(self) -> bool:
        """Return whether the true number of peers lies in the interval measured, which may have no end."""
        if self.measured is None:
            return False
        estimate = self.measured.estimate
        high = self.peers if estimate.peers_high is None else estimate.peers_high
        return estimate.peers_low <= self.peers <= high


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The results of the demonstration."""

    nodes: int
    census: Progress
    swarms: Sequence[Comparison]
    seconds: float

    @property
    def within(self) -> int:
        """Return how many swarms have their true size in the interval measured."""
        return sum(swarm.is_within for swarm in self.swarms)


async def run_demo(path: str | Path, *, nodes: int = NODES, seed: int = 1) -> DemoResult:
    """Start a network, take a census of it, measure every swarm, and return truth and measurement.

    The same seed gives the same ids and swarms.  Raises `DatabaseError`.
    """
    started_at = trio.current_time()
    random = Random(seed)
    async with open_testnet(nodes, seed=seed) as testnet:
        truth = {}
        for size in SIZES:
            info_hash = InfoHash(random.randbytes(20))
            seeds = random.randint(0, size)
            truth[info_hash] = testnet.place_swarm(info_hash, seeds, size - seeds)
        measured: dict[InfoHash, SwarmMeasurement] = {}
        settings = CrawlSettings(rate=0)  # a network of our own
        options = CrawlOptions(path, settings, bootstrap=testnet.bootstrap, shows_progress=True)
        async with open_session(options, "demo", {"nodes": nodes, "seed": seed}) as session:
            census = await take_census(session, settings, random)
            survey = SwarmSurvey(session.node, session.writer, session.clients, settings, random)
            await survey.measure(
                truth,
                tally=MeasurementCounts(),
                source="demo",
                on_sample=lambda scrape: measured.update({scrape.info_hash: scrape}),
            )
    swarms = [
        Comparison(info_hash, swarm.seeds, swarm.leechers, measured.get(info_hash))
        for info_hash, swarm in truth.items()
    ]
    return DemoResult(nodes, census, swarms, trio.current_time() - started_at)
