"""Watching swarms: a week of them in virtual time, restarts, lists that change, and networks that fail."""

from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from math import exp, sin, tau
from random import Random

import pytest
import trio

from crawler.db.database import CrawlDatabase
from crawler.db.records.infohash_samples import NodeSample, SampleBatch
from crawler.db.records.records import epoch_seconds, utc_text
from crawler.db.records.torrents import HandshakeBatch, Handshakes, KnownTorrent
from crawler.db.records.watched_swarms import MeasuredSize
from crawler.db.writer import open_writer
from crawler.settings import CrawlSettings, WatchSettings
from crawler.swarms.survey import MeasurementCounts, SwarmSurvey
from crawler.swarms.watch import SwarmWatch
from crawler.swarms.watch_list import WatchList
from dhtnode import Address, InfoHash
from dhtnode.net import BulkClient
from dhtnode.outcomes import Outcome
from dhtnode.testing import MemoryNetwork
from tests.measurements import measurement_of
from tests.virtual_time import call

pytestmark = pytest.mark.slow

EPOCH = 1_700_000_000.0
HOUR = 3600.0
DAY = 24 * HOUR
NOISE = 0.05  # standard deviation of the logarithm of an estimate


def wall_clock():
    return EPOCH + trio.current_time()


def info_hash(number):
    return InfoHash(Random(f"swarm {number}").randbytes(20))


def hours_since_epoch(now):
    return (now - EPOCH) / HOUR


TRUTHS = {
    "stable": lambda hours: 300.0,
    "swinging": lambda hours: 200 * exp(sin(hours * tau / 24)),
    "growing": lambda hours: min(10 * 2 ** (hours / 16), 10_000),
    "shrinking": lambda hours: 5000 * 2 ** (-hours / 16),
    "dying": lambda hours: 100.0 if hours < 30 else 0.0,
}


@dataclass
class World:
    """Hold swarms of known size, and measure them as badly as their intervals say."""

    kinds: dict[InfoHash, str]
    random: Random = field(default_factory=lambda: Random("world"))
    begun: list[tuple[float, InfoHash]] = field(default_factory=list)
    silent: set[InfoHash] = field(default_factory=set)
    seconds: float = 5.0  # that a measurement takes

    @classmethod
    def of(cls, **counts):
        names = [kind for kind, count in counts.items() for _ in range(count)]
        return cls({info_hash(number): kind for number, kind in enumerate(names)})

    def truth(self, each, now):
        return round(TRUTHS[self.kinds[each]](hours_since_epoch(now)))

    def estimate(self, each, now):
        truth = self.truth(each, now)
        if not truth:
            return MeasuredSize(0.0, 0.0, 0.0)
        peers = truth * exp(self.random.gauss(0, NOISE))
        return MeasuredSize(peers, peers * exp(-1.96 * NOISE), peers * exp(1.96 * NOISE))

    def measuring(self, watch, writer):
        async def measure(info_hashes):
            for each in info_hashes:
                self.begun.append((wall_clock(), each))
            await trio.sleep(self.seconds)
            for each in info_hashes:
                if each in self.silent:
                    watch.failed(each, "no node answered")
                    continue
                now = wall_clock()
                size = self.estimate(each, now)
                await writer.put(sample(each, now, size))
                watch.took(each, size)

        return measure

    def times_of(self, kind):
        counts = Counter(each for _, each in self.begun)
        return [counts[each] for each, of in self.kinds.items() if of == kind]


def sample(each, now, size, replies=()):
    sizes = {"peers": size.peers, "peers_low": size.low, "peers_high": size.high}
    return measurement_of(each, utc_text(now), tuple(replies), **sizes)


@asynccontextmanager
async def open_watch(store, world, settings, *, seed=1, **options):
    """Begin a watch on a store, as a process of its own would."""
    run_id = store.runs.begin("watch", {}, "0.1", utc_text(wall_clock()))
    async with open_writer(store, run_id, run_sync=call) as writer:
        watch = SwarmWatch(
            writer,
            settings,
            Random(seed),
            **{"named": WatchList(list(world.kinds), None), "poll": HOUR} | options,
            wall_clock=wall_clock,
            run_sync=call,
        )
        yield watch, world.measuring(watch, writer)


async def watch_for(seconds, store, world, settings=WatchSettings(), **options):  # noqa: B008  # frozen
    async with open_watch(store, world, settings, **options) as (watch, measure):
        with trio.move_on_after(seconds):
            await watch.run(measure)
    return watch


def watched(store):
    return {InfoHash(bytes.fromhex(row["info_hash"])): row for row in store.rows("watched_swarms")}


def most_within_an_hour(world):
    times = sorted(time for time, _ in world.begun)
    first, most = 0, 0
    for last, time in enumerate(times):
        while times[first] <= time - HOUR:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.fixture
def store():
    with CrawlDatabase.open(":memory:") as opened:
        yield opened


async def test_a_week_of_swarms(autojump_clock, store):
    world = World.of(stable=20, swinging=8, growing=6, shrinking=6, dying=8)
    settings = WatchSettings(budget=60)
    await watch_for(7 * DAY, store, world, settings)

    means = {kind: sum(world.times_of(kind)) / len(world.times_of(kind)) for kind in TRUTHS}
    assert means["swinging"] > 4 * means["stable"]
    assert means["growing"] > 2 * means["stable"] < means["shrinking"]
    assert max(world.times_of("stable")) * 4 <= min(world.times_of("swinging"))
    # About four to find out, and then once a day.
    assert min(world.times_of("stable")) >= 8
    assert most_within_an_hour(world) <= 60

    rows = store.rows("swarm_samples")
    assert len(rows) >= len(world.begun) - 1
    held = [
        row["peers_low"]
        <= world.truth(bytes.fromhex(row["info_hash"]), epoch_seconds(row["taken_at"]))
        <= row["peers_high"]
        for row in rows
    ]
    assert 0.93 < sum(held) / len(held) < 0.97

    dead = {row["info_hash"] for row in store.rows("dead_swarms")}
    assert dead == {each.hex() for each, kind in world.kinds.items() if kind == "dying"}
    last_of_dying = [row for each, row in watched(store).items() if world.kinds[each] == "dying"]
    assert min(row["interval"] for row in last_of_dying) > settings.longest


async def test_budget_is_kept_and_shared_fairly(autojump_clock, store):
    """Ten times as much is asked for as is allowed: all intervals stretch, and no swarm starves."""
    world = World.of(stable=60, swinging=60)
    settings = WatchSettings(shortest=900, longest=4 * HOUR, budget=12)
    await watch_for(4 * DAY, store, world, settings)
    assert most_within_an_hour(world) <= 12
    assert len(world.begun) > 0.85 * 12 * 96
    assert min(world.times_of("stable")) >= 3
    assert sum(world.times_of("swinging")) > 1.3 * sum(world.times_of("stable"))


@pytest.mark.parametrize("budget", [1, 7, 600])
async def test_budget_holds_however_large_it_is(autojump_clock, store, budget):
    world = World.of(stable=2 * budget)
    world.seconds = 0.0
    await watch_for(3 * HOUR, store, world, WatchSettings(budget=budget))
    assert most_within_an_hour(world) <= budget
    assert len(world.begun) >= budget


async def test_restart_goes_on_where_it_was(autojump_clock, store):
    """Nothing is measured twice, nothing is forgotten, and what became due meanwhile is no stampede."""
    world = World.of(stable=30, swinging=10)
    settings = WatchSettings(budget=60)
    await watch_for(2 * DAY, store, world, settings)
    before, first = watched(store), len(world.begun)

    await trio.sleep(3 * DAY)  # everything is due now
    await watch_for(HOUR, store, world, settings, seed=2)

    assert most_within_an_hour(world) <= 60
    again = [each for _, each in world.begun[first:]]
    by_turn = sorted(before, key=lambda each: before[each]["next_at"])
    assert again[:20] == by_turn[:20]  # those that waited longest first
    assert set(again) == set(world.kinds)
    after = watched(store)
    assert {each: row["since"] for each, row in after.items()} == {
        each: row["since"] for each, row in before.items()
    }
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(world.begun[first : first + 40])]
    assert min(gaps) > 50  # one a minute, and not all at once


async def test_what_was_under_way_is_measured_after_a_kill(autojump_clock, store):
    """The lease of a process that is gone holds for 15 minutes."""
    world = World.of(stable=1)
    async with open_watch(store, world, WatchSettings()) as (watch, _):
        with trio.move_on_after(60):

            async def hang(info_hashes):
                watch._hand_back = trio.lowlevel.checkpoint  # a killed process hands nothing back
                await trio.sleep_forever()

            await watch.run(hang)
    await watch_for(780, store, world)
    assert not world.begun
    await watch_for(120, store, world)
    assert len(world.begun) == 1


async def test_cancelled_measurement_is_due_at_once(autojump_clock, store):
    world = World.of(stable=2)
    async with open_watch(store, world, WatchSettings(budget=6000)) as (watch, _):

        async def half(info_hashes):
            watch.took(info_hashes[0], MeasuredSize(300, 280, 320))
            await trio.sleep_forever()

        with trio.move_on_after(60):
            await watch.run(half)
        done, left = sorted(watched(store).values(), key=lambda row: row["measured_at"] is None)
    assert (done["peers"], done["measured_at"] is None) == (300, False)
    assert epoch_seconds(done["next_at"]) > wall_clock()
    assert left["measured_at"] is None
    assert epoch_seconds(left["next_at"]) <= wall_clock()


async def test_once_measures_what_is_due_and_ends(autojump_clock, store):
    world = World.of(stable=5, swinging=5)
    settings = WatchSettings(budget=3600, shortest=60)

    async def once():
        begun = len(world.begun)
        async with open_watch(store, world, settings) as (watch, measure):
            await watch.run(measure, once=True)
        return len(world.begun) - begun

    assert await once() == 10
    assert await once() == 0
    await trio.sleep(DAY)
    assert await once() == 10


async def test_once_with_too_many_new_swarms_spreads_them(autojump_clock, store):
    """So that the calls after it find those as well that were there before."""
    world = World.of(stable=40)
    async with open_watch(store, world, WatchSettings(budget=60)) as (watch, measure):
        await watch.run(measure, once=True)
    assert len(world.begun) < 5
    assert len({row["next_at"] for row in store.rows("watched_swarms")}) == 40


async def test_once_with_a_single_swarm_measures_it_now(autojump_clock, store):
    world = World.of(stable=1)
    async with open_watch(store, world, WatchSettings()) as (watch, measure):
        await watch.run(measure, once=True)
    assert len(world.begun) == 1
    assert "1 swarms, 1 measured, 0 failed, next in" in watch.describe()


async def test_two_processes_share_the_swarms_and_the_budget(autojump_clock, store):
    world = World.of(stable=40)
    settings = WatchSettings(shortest=900, longest=900, budget=60)
    async with (
        open_watch(store, world, settings, seed=1) as (one, measure_one),
        open_watch(store, world, settings, seed=2) as (two, measure_two),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(one.run, measure_one)
        nursery.start_soon(two.run, measure_two)
        await trio.sleep(DAY / 2)
        nursery.cancel_scope.cancel()

    assert most_within_an_hour(world) <= 60
    assert one.measured > 50 < two.measured
    begun = sorted((each, time) for time, each in world.begun)
    gaps = [b - a for (one_hash, a), (other, b) in pairwise(begun) if one_hash == other]
    assert min(gaps) > 0.8 * 900


async def test_silence_is_noted_and_tried_again_ever_later(autojump_clock, store):
    world = World.of(stable=4)
    world.silent = {info_hash(0)}
    await watch_for(2 * DAY, store, world)

    row = watched(store)[info_hash(0)]
    times = [time for time, each in world.begun if each == info_hash(0)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert (row["failure"], row["failures"], row["measured_at"]) == ("no node answered", len(times), None)
    assert len(times) >= 6
    assert all(later > 1.5 * earlier for earlier, later in pairwise(gaps[:-1]))
    assert len(store.rows("swarm_samples")) == sum(each != info_hash(0) for _, each in world.begun)

    world.silent.clear()
    await trio.sleep(DAY)
    await watch_for(HOUR, store, world)
    row = watched(store)[info_hash(0)]
    assert (row["failure"], row["failures"], row["peers"] is None) == (None, 0, False)


async def test_network_that_is_gone_does_not_use_up_the_budget(autojump_clock, store):
    world = World.of(stable=200)
    world.silent = set(world.kinds)
    told = []
    await watch_for(3 * HOUR, store, world, say=told.append)
    assert told == ["no node answers; trying again every so often"]
    tried = len(world.begun)
    assert tried < 1000
    world.silent.clear()
    await watch_for(DAY, store, world, say=told.append)
    assert {row["failures"] for row in watched(store).values()} == {0}
    assert len(told) == 1


async def test_what_the_measuring_forgets_counts_as_failed(autojump_clock, store):
    async def forget(info_hashes):
        await trio.lowlevel.checkpoint()

    world = World.of(stable=1)
    async with open_watch(store, world, WatchSettings()) as (watch, _):
        await watch.run(forget, once=True)
    assert (watch.measured, watch.failures) == (0, 1)
    assert watched(store)[info_hash(0)]["failure"] == "not measured"


def write_list(path, *numbers, more=""):
    path.write_text("".join(f"{info_hash(number).hex()}\n" for number in numbers) + more)


async def test_changed_file_is_taken_over(autojump_clock, store, tmp_path):
    path, told = tmp_path / "list.txt", []
    world = World({info_hash(number): "stable" for number in range(4)})
    write_list(path, 0, 1, more="\n# a comment\n")
    async with (
        open_watch(
            store, world, WatchSettings(longest=HOUR), named=WatchList([], path), say=told.append, poll=60
        ) as (watch, measure),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(watch.run, measure)
        await trio.sleep(6 * HOUR)
        assert {each for _, each in world.begun} == {info_hash(0), info_hash(1)}

        write_list(path, 1, 2, 3, more="what is this\n")
        await trio.sleep(6 * HOUR)
        since = [each for time, each in world.begun if time > EPOCH + 6 * HOUR + 60]
        assert set(since) == {info_hash(1), info_hash(2), info_hash(3)}
        assert watched(store)[info_hash(0)]["removed_at"] is not None

        path.unlink()
        await trio.sleep(HOUR)
        path.write_text("")
        await trio.sleep(HOUR)
        assert all(row["removed_at"] for row in watched(store).values())

        write_list(path, 0)
        await trio.sleep(2 * HOUR)
        nursery.cancel_scope.cancel()

    row = watched(store)[info_hash(0)]
    assert (row["removed_at"], row["since"]) == (None, utc_text(EPOCH))
    assert world.begun[-1][1] == info_hash(0)
    assert told == [
        f"{path}, line 4: 'what is this' is not an info-hash: want 40 hex digits, 32 base32 or a magnet link",
        "the list has changed: 2 added, 1 removed",
        f"{path}: No such file or directory; the list stays as it was",
        "the list has changed: 0 added, 3 removed",
        "the list has changed: 1 added, 0 removed",
    ]


def test_bad_lines_beyond_a_few_are_counted(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xfd\xfe\n" * 20 + info_hash(1).hex().encode())
    reading = WatchList([info_hash(2)], path).read()
    assert [each for each, _ in reading.named] == [info_hash(2), info_hash(1)]
    assert len(reading.complaints) == 6
    assert reading.complaints[-1] == f"{path}: 15 more lines are no info-hashes"


def test_file_that_cannot_be_read_at_the_start_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="Is a directory"):
        WatchList([], tmp_path).read()


async def test_nothing_named_goes_on_with_what_was_watched(autojump_clock, store):
    world = World.of(stable=2)
    await watch_for(HOUR, store, world)
    begun = len(world.begun)
    await watch_for(2 * DAY, store, world, named=None)
    assert {each for _, each in world.begun[begun:]} == set(world.kinds)
    await watch_for(HOUR, store, world, named=WatchList([info_hash(1)], None))
    assert {each: row["removed_at"] is None for each, row in watched(store).items()} == {
        info_hash(0): False,
        info_hash(1): True,
    }


async def test_discovered_swarms_are_drawn_from_what_nodes_showed(autojump_clock, store):
    """As many as asked for, from all of the id space; the same ones the next time."""
    run_id = store.runs.begin("sample", {}, "0.1", utc_text(EPOCH))
    shown = [info_hash(number) for number in range(600)]
    for at in range(0, 600, 20):
        row = NodeSample(
            bytes([at % 256]) * 20,
            Address("192.0.2.1", 1000 + at),
            utc_text(EPOCH),
            Outcome.ANSWERED,
            samples=b"".join(shown[at : at + 20]),
        )
        store.write(run_id, [SampleBatch([row], _no_journal())])
    world = World(dict.fromkeys(shown, "stable"))

    async def discover(count):
        await watch_for(HOUR, store, world, named=WatchList([], None), discovered=count)
        return {each for each, row in watched(store).items() if row["removed_at"] is None}

    some = await discover(100)
    assert len(some) == 100
    assert len({each[0] >> 4 for each in some}) == 16
    more = await discover(400)
    assert len(more) == 400
    assert some < more
    assert await discover(400) == more
    assert len(await discover(1000)) == 600
    assert len(await discover(30)) == 30
    assert {row["source"] for row in store.rows("watched_swarms")} == {"sample"}


def _no_journal():
    from crawler.db.records.records import Journal
    from dhtnode import Family

    return Journal(Family.IPV4, b"", b"")


async def test_clock_that_ran_ahead_stops_nothing(autojump_clock, store):
    world = World.of(stable=3)
    await watch_for(HOUR, store, world)
    store.connection.execute(
        "UPDATE watched_swarms"
        " SET tried_at = '2100-01-01T00:00:00.000Z', next_at = '2100-01-02T00:00:00.000Z'"
    )
    begun = len(world.begun)
    await watch_for(HOUR, store, world)
    assert {each for _, each in world.begun[begun:]} == set(world.kinds)


async def test_old_filters_go_while_watching(autojump_clock, store):
    world = World.of(stable=1)
    deleted = []
    real = store.purge.delete_old_filters
    store.purge.delete_old_filters = lambda days, now: deleted.append((days, now)) or real(days, now)
    await watch_for(4 * DAY, store, world)
    times = [now for _, now in deleted]
    assert [days for days, _ in deleted] == [30.0] * 4
    assert times[0] < EPOCH + HOUR
    assert all(DAY <= later - earlier < DAY + 2 * HOUR for earlier, later in pairwise(times))
    # A restart, or cron, does not do it again the same day.
    await watch_for(HOUR, store, world)
    assert len(deleted) == 4


async def test_swarms_of_a_network_are_watched(autojump_clock, store):
    network = MemoryNetwork(seed=3)
    wanted = [info_hash(number) for number in range(3)]
    async with network.open_nodes(12) as nodes:
        for number in range(1, 3):
            for peer in range(4 * number):
                await nodes[peer].announce(wanted[number], port=7000 + peer, seed=peer < 2)
        run_id = store.runs.begin("watch", {}, "0.1", utc_text(wall_clock()))
        socket = network.socket(network.host(99), 7000)
        async with open_writer(store, run_id, run_sync=call) as writer:
            survey = SwarmSurvey(
                nodes[0],
                writer,
                [BulkClient(socket)],
                CrawlSettings(rate=0),
                Random(1),
                wall_clock=wall_clock,
            )
            watch = SwarmWatch(
                writer,
                WatchSettings(shortest=120),
                Random(1),
                named=WatchList(wanted, None),
                wall_clock=wall_clock,
                run_sync=call,
            )

            def on_sample(scrape):
                found = scrape.estimate
                watch.took(scrape.info_hash, MeasuredSize(found.peers, found.peers_low, found.peers_high))

            async def measure(info_hashes):
                await survey.measure(
                    info_hashes,
                    tally=MeasurementCounts(),
                    on_sample=on_sample,
                    on_failure=lambda each, error: watch.failed(each, str(error)),
                )

            with trio.move_on_after(HOUR / 2):
                await watch.run(measure)

    by_swarm = Counter(row["info_hash"] for row in store.rows("swarm_samples"))
    assert by_swarm.keys() == {each.hex() for each in wanted}
    assert min(by_swarm.values()) >= 2
    first = {row["info_hash"]: row["peers"] for row in reversed(store.rows("swarm_samples"))}
    assert [first[each.hex()] for each in wanted] == [0, 4, 8]
    assert all(epoch_seconds(row["next_at"]) > wall_clock() for row in store.rows("watched_swarms"))


def know_as_private(store, info_hash):
    """Write what a peer has told, as `dhtcrawl metadata` does."""
    run_id = store.runs.begin("metadata", {}, "0.1", utc_text(EPOCH))
    counts = (3, 3, 3, 1, 2, 0, 0, 0.3, 0.1, 0.7)
    handshakes = Handshakes(info_hash, utc_text(EPOCH), *counts, {}, 1, 1)
    store.write(run_id, [HandshakeBatch("given", handshakes, KnownTorrent(is_private=True))])


async def test_private_swarms_are_not_measured(autojump_clock, store):
    world = World.of(stable=3)
    private, later, public = sorted(world.kinds)
    know_as_private(store, private)
    said = []
    await watch_for(DAY, store, world, say=said.append)
    assert {each for _, each in world.begun} == {later, public}
    assert said == ["1 swarms of private torrents are not watched"]

    know_as_private(store, later)
    begun = len(world.begun)
    await watch_for(2 * DAY, store, world, say=said.append, named=None)
    assert {each for _, each in world.begun[begun:]} == {public}
    assert said == ["1 swarms of private torrents are not watched"] * 2
    removed = {row["info_hash"] for row in store.rows("watched_swarms") if row["removed_at"]}
    assert removed == {private.hex(), later.hex()}
