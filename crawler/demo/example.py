"""A database to look at: one day of a small network that was made up, crawled in virtual time.

What is in it is what the same commands record on the live network; nothing is sent.  The truth about
the network is written beside it.  A day takes some ten seconds: the clock jumps to the next event.

The network has 1200 nodes of which some 530 are there at a time, 60 more on IPv6, and 500 swarms, some
of which fade or grow.  The whole of it is crawled every eight hours, an eighth of it every half hour;
ten swarms are measured every four hours, 250 once, and samples of info-hashes are taken once.  From the
twelfth hour on there are planted nodes in it: 30 on one host, 40 in one zone, 10 around one id.  Five
trackers, two of which lie, are asked for the swarms that are measured.
"""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import trio
from trio.testing import MockClock

from crawler.core.exclusion import Area
from crawler.core.session import Session
from crawler.crawl.census import take_census
from crawler.db.database import CrawlDatabase
from crawler.db.records.records import RunStatus, utc_text
from crawler.db.writer import open_writer
from crawler.demo.tracked import announce_to_trackers, ask_trackers
from crawler.infohashes.survey import InfohashSurvey
from crawler.settings import CrawlSettings
from crawler.swarms.survey import MeasurementCounts, SwarmSurvey
from crawler.synthetic.planted import PlantedMemoryNetwork
from crawler.synthetic.settings import SyntheticSettings
from crawler.synthetic.trackers.tracker import SyntheticTracker, make_trackers
from crawler.synthetic.truth import check_place, write_end, write_truth
from crawler.zone import Zone
from dhtnode import Address, Family, InfoHash, NodeSettings, SwarmMeasurement, __version__
from dhtnode.net import BulkClient

VARIABLE = "DHTCRAWL_DATABASE"
EXAMPLE = "example.db"
START = 1_748_736_000.0  # 2025-06-01, midnight UTC: when the day begins
HOUR = 3600.0
HOURS = 24
ROUND = HOUR / 2  # between two censuses of the zone
WHOLE_EVERY = 16  # rounds: then the whole network is crawled instead
MEASURE_EVERY = 8  # rounds
SAMPLE_AT = 2  # rounds from the beginning
ATTACK_AT = 24
ANNOUNCED_AT = 40  # rounds from the beginning; from then on trackers name addresses, too
MEASURED = (1, 2, 3, 5, 8, 12, 21, 35, 75, 150)  # swarms: the largest, the second largest and so on
MANY = tuple(sorted({*MEASURED, *range(1, 501, 2)}))  # are measured once
MANY_AT = 16  # rounds from the beginning, after a census of the whole network
ZONE = Zone(0b001, 3)
WATCHED = bytes.fromhex("c0ffee") + bytes(17)
CROWDED_HOST = "95.0.0.1"
DENSE_ZONE = Zone(0b10110100, 8)
SYNTHETIC = SyntheticSettings(
    nodes=1200,
    stale=0.1,
    hostile=0.04,
    swarms=500,
    largest=3000,
    half_life=12 * HOUR,
    trackers="opentracker,aquatic,chihaya,constant,invents",
    tracker_overlap=0.6,
    session=4 * HOUR,
    session_shape=0.6,
    absence=5 * HOUR,
)
UNLIMITED = CrawlSettings(rate=0)  # a network of our own

T = TypeVar("T")


def database(name: str = EXAMPLE, folder: Path | None = None) -> Path:
    """Return the database that notebooks open: the one `DHTCRAWL_DATABASE` names, or the example.

    The example is made in the folder, by default the present one, when it is not there.
    """
    given = os.environ.get(VARIABLE)
    return Path(given) if given else _made(name, folder)


def truth_of(path: Path) -> Path:
    """Return where the truth about an example is."""
    return path.with_name(f"{path.stem}-truth.db")


def with_truth(path: Path, folder: Path | None = None) -> Path:
    """Return a database that has its truth beside it: this one, or else the example.

    The example is made in the folder, as `database` does.
    """
    return path if truth_of(path).exists() else _made(EXAMPLE, folder)


def _made(name: str, folder: Path | None) -> Path:
    path = (folder or Path.cwd()) / name
    if not path.exists():
        make_example(path)
    return path


def make_example(path: Path, seed: int = 1) -> None:
    """Make the example and its truth; the same seed makes the same network, in some ten seconds.

    The database appears whole or not at all.  Raises `DatabaseError`, and `TruthError` when there is one
    already.
    """
    truth, part = truth_of(path), path.with_name(f"{path.stem}-{os.getpid()}.part")
    check_place(path)
    check_place(truth)
    part_of_truth = part.with_suffix(".db")  # a suffix that makes it a database
    try:
        # In a thread of its own, as notebooks run in a loop that is not Trio's.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(_run, part, part_of_truth, seed).result()
        part_of_truth.replace(truth)
        part.replace(path)
    finally:
        for left in (part, part_of_truth):
            left.unlink(missing_ok=True)


def _run(path: Path, truth: Path, seed: int) -> None:
    with CrawlDatabase.open(path) as store:
        clock = MockClock(autojump_threshold=0)
        network = trio.run(_live_a_day, store, seed, clock=clock)
    write_truth(network.synthetic, truth)
    write_end(network.synthetic, HOURS * HOUR, truth)


@dataclass(slots=True)
class _Day:
    """What all crawls of the day share: database, network and random numbers."""

    store: CrawlDatabase
    network: PlantedMemoryNetwork
    random: Random
    trackers: list[SyntheticTracker]


async def _live_a_day(store: CrawlDatabase, seed: int) -> PlantedMemoryNetwork:
    random = Random(f"example {seed}")
    network = PlantedMemoryNetwork(
        replace(SYNTHETIC, seed=seed),
        _sybils(random) | _ipv6_nodes(random),
        seed=seed,
        loss=0.01,
        version=b"LT\x02\x0c",
    )
    day = _Day(store, network, random, make_trackers(network.synthetic))
    for number in range(int(HOURS * HOUR / ROUND) + 1):
        await trio.sleep_until(number * ROUND)
        if number % WHOLE_EVERY:
            await _crawl(day, ZONE)
        else:
            await _crawl(day, Zone(), is_attacked=number >= ATTACK_AT)
        if number % MEASURE_EVERY == 0:
            await _measure(day, MANY if number == MANY_AT else MEASURED)
        if number == SAMPLE_AT:
            await _sample(day)
    return network


def _sybils(random: Random) -> dict[Address, bytes]:
    """Return nodes on one host, in one zone and around one id, none of them in `ZONE`."""
    elsewhere = Zone(1, 1)
    crowd = {Address(CROWDED_HOST, 1000 + port): elsewhere.random_id(random) for port in range(30)}
    dense = {Address(f"95.0.0.{host}", 6881): DENSE_ZONE.random_id(random) for host in range(10, 50)}
    near = {Address(f"95.0.0.{host}", 6881): WATCHED[:3] + random.randbytes(17) for host in range(100, 110)}
    return {**crowd, **dense, **near}


def _ipv6_nodes(random: Random) -> dict[Address, bytes]:
    return {Address(f"2a01:{number:x}::1", 6881): random.randbytes(20) for number in range(1, 61)}


async def _crawl(day: _Day, zone: Zone, *, is_attacked: bool = False) -> None:
    families = (Family.IPV4,) if zone.bits else tuple(Family)
    settings = {"zone": str(zone.bits), "prefix": zone.prefix}
    async with _open_session(day, "census", settings, families, is_attacked=is_attacked) as session:
        watched = () if zone.bits else (WATCHED,)
        await take_census(session, UNLIMITED, day.random, Area(zone), watched=watched, wall_clock=_wall_clock)


async def _measure(day: _Day, places: Sequence[int]) -> None:
    """Measure swarms by their places in the order of sizes, as these were at the beginning."""
    by_size = sorted(day.network.synthetic.swarms, key=lambda swarm: (-swarm.peers, swarm.info_hash))
    info_hashes = [InfoHash(by_size[place - 1].info_hash) for place in places]
    async with _open_session(day, "scrape", {"info_hashes": len(info_hashes)}) as session:
        survey = SwarmSurvey(
            session.node, session.writer, session.clients, UNLIMITED, day.random, wall_clock=_wall_clock
        )
        measured = list[SwarmMeasurement]()
        await survey.measure(info_hashes, tally=MeasurementCounts(), on_sample=measured.append)
        now, run_id = trio.current_time(), session.run_id
        at, swarms = _wall_clock(), [each.info_hash for each in measured]
        await session.writer.call(lambda store: ask_trackers(store, run_id, day.trackers, swarms, now, at))
        if now >= ANNOUNCED_AT * ROUND:
            await session.writer.call(
                lambda store: announce_to_trackers(store, run_id, day.trackers, measured, now, at)
            )


async def _sample(day: _Day) -> None:
    async with _open_session(day, "sample", {"zone": "0"}) as session:
        survey = InfohashSurvey(session, UNLIMITED, day.random, wall_clock=_wall_clock)
        await survey.run(joins=False)
        await survey.discover()


@asynccontextmanager
async def _open_session(
    day: _Day,
    command: str,
    settings: dict[str, object],
    families: tuple[Family, ...] = (Family.IPV4,),
    *,
    is_attacked: bool = False,
) -> AsyncIterator[Session]:
    """Open a run, a node and a writer, as `session.open_session` does on the live network."""
    network, store = day.network, day.store
    through = network.synthetic.bootstrap_nodes()
    for host, wanted in ((CROWDED_HOST, is_attacked), ("2a01:1::1", Family.IPV6 in families)):
        through += [address for address in network.planted if wanted and address.host == host][:1]
    run_id = store.runs.begin(command, settings, __version__, utc_text(_wall_clock()))
    sockets = [network.socket(network.host(0, family), 7000) for family in families]
    try:
        async with (
            network.open_node(
                0, families=families, through=through, settings=NodeSettings(read_only=True)
            ) as node,
            open_writer(store, run_id, run_sync=_call) as writer,
        ):
            askers = tuple(BulkClient[Any](socket) for socket in sockets)
            yield Session(run_id, settings, node, writer, askers)
    finally:
        for socket in sockets:
            socket.close()
        store.runs.finish(run_id, RunStatus.FINISHED, utc_text(_wall_clock()))


def _wall_clock() -> float:
    return START + trio.current_time()


async def _call(function: Callable[..., T], *arguments: object, limiter: object) -> T:  # noqa: ARG001
    """Call a function at once, where others call it in a thread: virtual time does not wait for one."""
    return function(*arguments)
