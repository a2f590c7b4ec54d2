"""Cancellation at every checkpoint: whatever is cancelled, wherever it is, nothing of it stays.

No task, socket, thread at work, query under way, callback that is held, or transaction; no
exception comes out but the one that the cancelled scope takes in; and the same call works again.
"""

import gc
import logging
import socket
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import NoReturn, TypeAlias
from weakref import WeakSet

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from crawler.core.session import Session, open_session
from crawler.crawl.census import take_census
from crawler.db.database import CrawlDatabase, Record
from crawler.db.records.records import CrawlBatch
from crawler.db.writer import Writer, open_writer
from crawler.settings import CrawlOptions, CrawlSettings
from crawler.swarms.survey import MeasurementCounts, SwarmSurvey
from dhtnode import Address, InfoHash, Node, NodeSettings, NotJoined, QueryTimeout, open_node
from dhtnode.api.blocking import _find_peers
from dhtnode.items import ImmutableItem
from dhtnode.krpc import FindNode
from dhtnode.node.lookup_driver import LookupDriver
from dhtnode.node.state_file import SavedState, StateFile, load_state
from dhtnode.testing import MemoryNetwork, Testnet, open_testnet
from tests.cancelling import Cut, Held, PortNetwork, Surroundings, alive, check_end, cut_everywhere, run_sync

pytestmark = pytest.mark.slow

SWARM = InfoHash(b"s" * 20)
NOTE = ImmutableItem.of(b"note")
SWARMS = [SWARM, *(InfoHash(bytes([number]) * 20) for number in range(5))]
PEERS = 12
STILL = 1e9  # seconds: a period so long that nothing happens by itself
NODES = 10
UNLIMITED = CrawlSettings(rate=0)


@pytest.fixture(scope="module", autouse=True)
def all_garbage() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.collect()  # so that what was kept by a test and never closed complains


@pytest.fixture(autouse=True)
def short_way_to_garbage() -> Iterator[None]:
    gc.freeze()
    yield
    gc.collect()  # so that what was not closed complains in the test that it belongs to


@pytest.fixture(autouse=True)
def no_complaints(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Let no test pass in which a warning was logged."""
    yield
    records = [*caplog.get_records("setup"), *caplog.get_records("call")]
    assert [record.getMessage() for record in records if record.levelno >= logging.WARNING] == []


@pytest.fixture
def held() -> Iterator[Held]:
    held = Held()
    yield held
    held.release.set()


def pending(node: Node) -> int:
    return sum(endpoint.pending for endpoint in node.statistics().sockets)


# Calls of a node that lives on


@dataclass
class Scene:
    """Hold a node that asks and does nothing else, in a network where two others are dead."""

    network: MemoryNetwork
    others: list[Node]
    node: Node
    traversals: WeakSet[object] = field(default_factory=WeakSet)

    @property
    def dead(self) -> Node:
        return self.others[0]


@pytest.fixture
async def scene(
    autojump_clock: MockClock, new_network: Callable[..., MemoryNetwork], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    network = new_network(seed=5)
    async with AsyncExitStack() as stack:
        others: list[Node] = []
        for number in range(12):
            other = await stack.enter_async_context(
                network.open_node(
                    number,
                    through=others[0].addresses if others else (),
                    settings=NodeSettings(maintenance_period=STILL),
                )
            )
            await other.wait_joined()
            others.append(other)
        bootstrap_nodes = [other.addresses[0] for other in others[1:4]]
        settings = NodeSettings(read_only=True, maintenance_period=STILL)
        node = await stack.enter_async_context(
            network.open_node(99, through=bootstrap_nodes, settings=settings)
        )
        await node.find_node(others[5].node_id)
        for number in range(PEERS):
            for other in others:
                other.peers.announce(SWARM, others[number].addresses[0], trio.current_time(), seed=False)
        for other in others:
            other.items.put(NOTE, "21.0.0.1", trio.current_time())
        await trio.sleep(60)  # for the others to have joined and looked around
        for other in others[:2]:  # no sooner, or they would look for a way back
            network.cut(other.addresses[0].host)
        scene = Scene(network, others, node)
        _note_traversals(scene.traversals, monkeypatch)
        yield scene


def _note_traversals(traversals: WeakSet[object], monkeypatch: pytest.MonkeyPatch) -> None:
    init = LookupDriver.__init__

    def noting_init(self: LookupDriver, *args: object, **options: object) -> None:
        traversals.add(self)
        init(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(LookupDriver, "__init__", noting_init)


async def join(scene: Scene) -> object:
    await scene.node.join()
    return None


async def ping(scene: Scene) -> object:
    return (await scene.node.ping(scene.others[5].addresses[0])).node_id


async def ping_the_dead(scene: Scene) -> object:
    try:
        return await scene.node.ping(scene.dead.addresses[0])
    except QueryTimeout as silence:
        return str(silence)


async def query(scene: Scene) -> object:
    answer = await scene.node.query(FindNode(scene.dead.node_id), scene.others[5].addresses[0])
    return answer.response.node_id


async def find_node(scene: Scene) -> object:
    return [found.node_id for found in await scene.node.find_node(scene.dead.node_id)]


async def get_peers(scene: Scene) -> object:
    async with scene.node.get_peers(SWARM) as peers:
        return {peer async for peer in peers}


async def get_peers_and_stay(scene: Scene) -> object:
    """Look up, and use the node for something else in the same block."""
    async with scene.node.get_peers(SWARM) as peers:
        await anext(peers)
        return await ping(scene)


async def announce(scene: Scene) -> object:
    return set((await scene.node.announce(SWARM, 6881)).announced_to)


async def scrape(scene: Scene) -> object:
    return {(node.node_id, node.address) for node in (await scene.node.scrape(SWARM)).observations}


async def get_item(scene: Scene) -> object:
    return (await scene.node.get_item(NOTE.target())).item


async def put_item(scene: Scene) -> object:
    return set((await scene.node.put_item(NOTE)).stored_at)


async def several(scene: Scene) -> object:
    async with trio.open_nursery() as nursery:
        for call in (join, find_node, get_peers, announce, scrape, get_item, put_item):
            nursery.start_soon(call, scene)
    return None


CALLS = (
    join,
    ping,
    ping_the_dead,
    query,
    find_node,
    get_peers,
    get_peers_and_stay,
    announce,
    scrape,
    get_item,
    put_item,
    several,
)


@pytest.mark.parametrize("call", CALLS)
async def test_cancelled_call_leaves_nothing_in_its_node(
    autojump_clock: MockClock, scene: Scene, call: Callable[[Scene], Awaitable[object]]
) -> None:
    """Its queries are forgotten, nothing that it was is held, and the node goes on as before."""
    before = Surroundings.now()

    async def settled() -> object:
        try:
            return await call(scene)
        finally:
            with trio.CancelScope(shield=True):
                await wait_all_tasks_blocked()  # walks of `get_peers` end in the nursery of the node

    def check(cut: Cut) -> None:
        check_end(cut)
        assert pending(scene.node) == 0
        assert Surroundings.now() == before
        assert alive(scene.traversals) == []

    await cut_everywhere(settled, check)


async def test_leaving_a_lookup_early_ends_it(autojump_clock: MockClock, scene: Scene) -> None:
    before = Surroundings.now()
    for count in range(PEERS + 1):
        async with scene.node.get_peers(SWARM) as peers:
            found = [await anext(peers) for _ in range(count)]
        await wait_all_tasks_blocked()
        assert len(set(found)) == count
        assert pending(scene.node) == 0
        assert Surroundings.now() == before
        del peers
        assert alive(scene.traversals) == []


# Calls that open something and close it


@dataclass
class Stage:
    """Hold a test network and a directory to work in."""

    testnet: Testnet
    directory: Path
    network: PortNetwork | None = None
    session: Session | None = None
    rows: int = 0  # handed to the writer of the session

    @property
    def state_file(self) -> Path:
        return self.directory / "node.state"

    @property
    def database(self) -> Path:
        return self.directory / "crawl.db"

    @property
    def bound(self) -> frozenset[Address]:
        return frozenset() if self.network is None else self.network.bound


@pytest.fixture
async def network(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> PortNetwork:
    """Put memory in place of sockets and threads, under all that opens a node."""
    network = PortNetwork(seed=7)
    trio._core._run._r.seed(7)  # the order of tasks
    monkeypatch.setattr("dhtnode.api.binding.open_udp_socket", network.bind)
    monkeypatch.setattr("crawler.core.session.open_writer", partial(open_writer, batch=4, run_sync=run_sync))
    monkeypatch.setattr("trio.to_thread.run_sync", run_sync)
    return network


@pytest.fixture
async def stage(
    network: PortNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    async with open_stage(tmp_path, monkeypatch) as stage:
        stage.network = network
        yield stage


@pytest.fixture
async def real_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    async with open_stage(tmp_path, monkeypatch) as stage:
        yield stage


@asynccontextmanager
async def open_stage(directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    put_nowait = Writer.put_nowait
    async with open_testnet(NODES, seed=1) as testnet:
        testnet.place_swarm(SWARM, 4, PEERS - 4)
        stage = Stage(testnet, directory)

        def put_and_count(writer: Writer, record: Record) -> None:
            put_nowait(writer, record)
            stage.rows += len(record.visits) if isinstance(record, CrawlBatch) else 1

        monkeypatch.setattr(Writer, "put_nowait", put_and_count)
        yield stage


async def use_node(stage: Stage, state_file: Path | None = None) -> object:
    settings = NodeSettings(save_period=0.5)
    async with open_node(bootstrap=stage.testnet.bootstrap, state_file=state_file, settings=settings) as node:
        await node.wait_joined()
        found = await node.find_node(stage.testnet.nodes[3].node_id)
        return found[0].node_id


async def open_plain_node(stage: Stage) -> object:
    return await use_node(stage)


async def open_node_with_state(stage: Stage) -> object:
    return await use_node(stage, stage.state_file)


async def find_peers(stage: Stage) -> object:
    return sorted(await _find_peers(SWARM, None, 30.0, stage.testnet.bootstrap))


async def find_some_peers(stage: Stage) -> object:
    return len(await _find_peers(SWARM, 2, 30.0, stage.testnet.bootstrap))


async def open_another_testnet(stage: Stage) -> object:
    async with open_testnet(3, seed=2) as testnet:
        return [node.node_id for node in testnet.nodes]


async def take_whole_census(stage: Stage) -> object:
    async with open_session(options_of(stage), "census", {}) as session:
        stage.session = session
        return await census_in(session)


async def measure_some_swarms(stage: Stage) -> object:
    async with open_session(options_of(stage), "scrape", {}) as session:
        stage.session = session
        return await measurement_in(session)


async def census_in(session: Session) -> object:
    return (await take_census(session, UNLIMITED, Random(1))).outcomes


async def measurement_in(session: Session) -> object:
    tally = MeasurementCounts()
    survey = SwarmSurvey(session.node, session.writer, session.clients, UNLIMITED, Random(1))
    await survey.measure(SWARMS, at_once=2, tally=tally)
    return tally


def options_of(stage: Stage) -> CrawlOptions:
    return CrawlOptions(stage.database, bootstrap=stage.testnet.bootstrap)


def check_nothing(stage: Stage, cut: Cut) -> None:
    assert list(stage.directory.iterdir()) == []


def check_state(stage: Stage, cut: Cut) -> None:
    assert [path.name for path in stage.directory.iterdir()] == [stage.state_file.name]
    assert load_state(stage.state_file) is not None


def check_database(stage: Stage, cut: Cut) -> None:
    """Check that the database is whole and free, and that the last run has its end and all its rows."""
    session, stage.session = stage.session, None
    assert session is not None
    assert [path.name for path in stage.directory.iterdir()] == [stage.database.name]  # no log beside it
    with closing(sqlite3.connect(stage.database, timeout=0, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        assert db.execute("SELECT count(*) FROM runs WHERE finished_at IS NULL").fetchone() == (0,)
        last = db.execute("SELECT id, status FROM runs ORDER BY id DESC LIMIT 1").fetchone()
        assert last == (session.run_id, "finished" if cut.is_done else "interrupted")
        counted = db.execute(
            "SELECT (SELECT count(*) FROM visits WHERE run_id = :run)"
            " + (SELECT count(*) FROM swarm_samples WHERE run_id = :run)",
            {"run": session.run_id},
        )
        assert counted.fetchone() == (stage.rows,)
    stage.rows = 0


Opener: TypeAlias = Callable[[Stage], Awaitable[object]]
Check: TypeAlias = Callable[[Stage, Cut], None]

OPENERS: dict[Opener, Check] = {
    open_plain_node: check_nothing,
    open_node_with_state: check_state,
    find_peers: check_nothing,
    find_some_peers: check_nothing,
    open_another_testnet: check_nothing,
    take_whole_census: check_database,
    measure_some_swarms: check_database,
}
AT_ONCE = {open_plain_node, find_peers, find_some_peers, open_another_testnet}  # others write something


async def cut_opener(stage: Stage, call: Opener, *, at_most: int) -> None:
    """Cancel a call that opens and closes what it needs, at some moments of it."""
    before, bound = Surroundings.now(), stage.bound

    def check(cut: Cut) -> None:
        check_end(cut, is_prompt=call in AT_ONCE and stage.network is not None)
        assert stage.bound == bound
        assert Surroundings.now() == before
        OPENERS[call](stage, cut)

    await cut_everywhere(partial(call, stage), check, at_most=at_most)


@pytest.mark.parametrize("call", OPENERS)
async def test_what_is_cancelled_while_open_closes(
    autojump_clock: MockClock, stage: Stage, call: Opener
) -> None:
    await cut_opener(stage, call, at_most=12)


@pytest.mark.parametrize("call", [call for call in OPENERS if call is not open_plain_node])
async def test_what_is_cancelled_on_real_sockets_closes(real_stage: Stage, call: Opener) -> None:
    """The same with sockets of the kernel, worker threads, and the time that they take."""
    await cut_opener(real_stage, call, at_most=3)


@pytest.mark.parametrize("crawl", [census_in, measurement_in])
async def test_crawl_that_is_cancelled_in_a_session_goes_no_further(
    autojump_clock: MockClock, stage: Stage, crawl: Callable[[Session], Awaitable[object]]
) -> None:
    async with open_session(options_of(stage), "crawl", {}) as session:
        await wait_all_tasks_blocked()  # until it serves
        before = Surroundings.now()

        def check(cut: Cut) -> None:
            # A read of the database that has begun in its thread comes to its end first.
            check_end(cut, is_prompt=False)
            assert [client.in_flight for client in session.clients] == [0] * len(session.clients)
            assert Surroundings.now() == before

        await cut_everywhere(partial(crawl, session), check, at_most=12)


# What hangs


class Hanging(trio.abc.HostnameResolver):
    """Stand in for a name server that does not answer."""

    async def getaddrinfo(self, *_: object) -> NoReturn:
        """Never return."""
        await trio.sleep_forever()
        raise AssertionError

    async def getnameinfo(self, *_: object) -> NoReturn:
        raise AssertionError


async def test_name_that_hangs_does_not_hold_up_the_end(
    autojump_clock: MockClock, network: PortNetwork
) -> None:
    trio.socket.set_custom_hostname_resolver(Hanging())
    before = Surroundings.now()

    async def call() -> object:
        async with open_node(bootstrap=["slow.example:6881"]) as node:
            await node.wait_joined()
            with pytest.raises(NotJoined):
                await node.find_node(node.node_id)
            return node.addresses[0].host

    def check(cut: Cut) -> None:
        check_end(cut)
        assert network.bound == frozenset()
        assert Surroundings.now() == before

    await cut_everywhere(call, check)


async def test_thread_that_hangs_in_a_name_is_left_behind(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one kind of thread that may outlive a call: it is the resolver's, and holds nothing of ours."""
    before = Surroundings.now()
    getaddrinfo = socket.getaddrinfo

    def hang(*args: object, **options: object) -> object:
        if threading.current_thread() is threading.main_thread():
            return getaddrinfo(*args, **options)  # type: ignore[arg-type]  # not a name, or it would be a thread
        return held.hold(getaddrinfo, "127.0.0.1", 6881, type=socket.SOCK_DGRAM)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with trio.CancelScope() as scope:
        async with open_node(listen=["127.0.0.1:0"], bootstrap=["slow.example:6881"], well_known=False):
            await held.reached.wait()
            scope.cancel()
            await trio.sleep_forever()

    assert held.ended == 0
    assert Surroundings.now() == before


async def test_state_that_is_being_written_is_written_to_its_end(
    held: Held, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread cannot be stopped, so the node waits for it: two must not write one file."""
    path = tmp_path / "node.state"
    save = StateFile.save

    def held_save(file: StateFile, state: SavedState) -> None:
        # The first and the last time are in Trio's own thread.
        if threading.current_thread() is threading.main_thread():
            save(file, state)
        else:
            held.hold(save, file, state)

    monkeypatch.setattr(StateFile, "save", held_save)
    before = Surroundings.now()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(held.release_when_cancelled)
        async with open_node(
            listen=["127.0.0.1:0"], state_file=path, settings=NodeSettings(save_period=1e-6), well_known=False
        ):
            await held.reached.wait()
            nursery.cancel_scope.cancel()
            await trio.sleep_forever()

    assert held.started == held.ended > 0
    assert Surroundings.now() == before
    check_state(Stage(Testnet((), Random()), tmp_path), Cut())


async def test_batch_that_is_being_written_is_written_to_its_end(
    held: Held, real_stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is closed after its thread has done, with the rows in it."""
    write = CrawlDatabase.write
    monkeypatch.setattr(CrawlDatabase, "write", lambda *args: held.hold(write, *args))
    monkeypatch.setattr("crawler.core.session.open_writer", partial(open_writer, max_age=0.0))
    before = Surroundings.now()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(held.release_when_cancelled)
        async with open_session(options_of(real_stage), "census", {}) as session:
            real_stage.session = session
            nursery.start_soon(census_in, session)
            await held.reached.wait()
            nursery.cancel_scope.cancel()
            await trio.sleep_forever()

    assert held.started == held.ended > 0
    assert Surroundings.now() == before
    check_database(real_stage, Cut())
