"""What every command of the crawler works with: a database, a run in it, a writer and a node.

The node is read-only unless it is to serve: it says so in its queries (BEP 43), because it goes away
when the work is done and would leave a hole in the tables of others.  The clients for bulk queries
answer no queries, so theirs say the same, always.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, TypeVar

import trio

from crawler.core.exclusion import Excludes, Exclusion
from crawler.core.progress import shown_progress, timed
from crawler.db.database import CrawlDatabase, DatabaseError
from crawler.db.leases.leases import RENEWAL_PERIOD
from crawler.db.records.records import EndedVisits, Journal, RunStatus, utc_text
from crawler.db.unwritten.patience import START, TRY, Patience, patiently
from crawler.db.writer import Writer, open_writer
from crawler.settings import CrawlOptions
from crawler.zone import Zone
from dhtnode import Contact, Node, NodeSettings, NotJoined, Scope, __version__, open_node
from dhtnode.net import BulkClient, open_sockets
from dhtnode.nurseries import open_service_nursery

T = TypeVar("T")

MAX_TORRENT_NODES = 32  # of all torrent files together; each may cost a look-up of a name
KNOWN_NODES = 8  # of a database on loopback that are joined through
STARTING_LOOKUPS = 4  # towards random ids of the zone: a start from several corners at once


class Resume(Enum):
    """What becomes of the last run of a command that did not come to its end."""

    NEVER = "it stays as it is"
    ALONE = "it continues; while it is under way, another is refused"
    SHARED = "it continues; while it is under way, others share the work with it"


@dataclass(frozen=True, slots=True)
class Session:
    """What one run works with; `settings` are those that it began with.

    `is_resumed` says whether the run was interrupted before and continues.
    """

    run_id: int
    settings: Mapping[str, object]
    node: Node
    writer: Writer
    clients: tuple[BulkClient[Any], ...]
    exclusion: Exclusion = field(default_factory=Exclusion)
    shows_progress: bool = False
    is_resumed: bool = False

    @property
    def excludes(self) -> Excludes | None:
        """Return a check for excluded contacts, or None where none is."""
        return self.exclusion.excludes if self.exclusion else None

    async def read_journals(self) -> list[Journal]:
        """Return what this run has written of its frontiers before it was interrupted; empty for a new one.

        Some 30 bytes for each endpoint that it knew, so keep them no longer than needed.
        """
        if not self.is_resumed:
            return []
        return await self.writer.call(lambda database: list(database.runs.journals(self.run_id)))

    async def read_ended(self) -> list[EndedVisits]:
        """Return how the visits ended that this run made before it was interrupted; empty for a new one."""
        if not self.is_resumed:
            return []
        return await self.writer.call(lambda database: database.visits.ended(self.run_id))

    async def starting_contacts(self, zone: Zone, random: Random) -> list[Contact]:
        """Return nodes to start from: what a few lookups in the zone find, and those that our node knows.

        When no node answers, it tries once more as soon as silent hosts may be sent more, but on loopback,
        where there is no such bound.  Raises `NotJoined` when no node answers then.
        """
        try:
            found = await self._look_around(zone, random)
        except NotJoined:
            if any(client.scope is Scope.LOOPBACK for client in self.clients):
                raise
            waiting = timed("no node answered, about to ask once more")
            async with shown_progress(waiting, shows=self.shows_progress):
                await trio.sleep(self.node.outgoing.seconds_to_forget())
            found = await self._look_around(zone, random)
        return [*found, *self.node.contacts()]

    async def _look_around(self, zone: Zone, random: Random) -> list[Contact]:
        return [
            Contact(each.node_id, each.address)
            for _ in range(STARTING_LOOKUPS)
            for each in await self.node.find_node(zone.random_id(random))
        ]


def new_random() -> Random:
    """Return a generator seeded by the system: fast, and not predictable from outside."""
    return Random(SystemRandom().getrandbits(256))


@asynccontextmanager
async def open_session(
    db: str | Path | CrawlOptions,
    command: str,
    settings: Mapping[str, object],
    *,
    resume: Resume = Resume.NEVER,
    drawn: Mapping[str, object] | None = None,
    serve: bool = False,
    joins_known: bool = False,
) -> AsyncIterator[Session]:
    """Open a database and a node, with a run in the database that lasts as long as the block.

    `resume` says whether the last run of this command continues if it had the same settings and did not
    come to its end.  `drawn` are further settings that it need not have had: a run that continues keeps
    its own.
    With `serve`, the node answers queries and is known to others.  With `joins_known` and no
    bootstrap nodes, the nodes of the database are joined through if all of them are on loopback.

    The run ends as `finished` when the block does, and as `interrupted` when it is left by a
    cancellation or an exception; all rows are written either way.  Raises `DatabaseError`,
    `ValueError` when a line of the exclusion is wrong, and what `open_node` raises.
    """
    options = CrawlOptions.of(db)
    exclusion = Exclusion.read(options.exclude)
    async with _opened(options) as store:
        run_id, settings, is_resumed = await _within_start(
            partial(_begin_run, store, command, settings, drawn or {}, resume)
        )
        shown = options.shows_progress
        async with (
            _ended_run(store, run_id, shows_progress=shown),
            _own_node(store, options, read_only=not serve, joins_known=joins_known) as node,
            open_writer(store, run_id) as writer,
            open_service_nursery() as nursery,
        ):
            nursery.start_soon(_renew_lease, writer, run_id)
            if options.hybrids:
                await writer.call(
                    lambda database: database.metadata.add_hybrids(options.hybrids, utc_text(time.time()))
                )
            with open_sockets(node.places) as sockets:
                clients = tuple(BulkClient[Any](socket, outgoing=node.outgoing) for socket in sockets)
                yield Session(run_id, settings, node, writer, clients, exclusion, shown, is_resumed)


@asynccontextmanager
async def open_recording(
    options: CrawlOptions, command: str, settings: Mapping[str, object]
) -> AsyncIterator[tuple[int, Writer]]:
    """Open a database and a run in it, for work without a node; returns its number and what writes.

    The run ends as that of a session does.
    """
    async with _opened(options) as store:
        begin = partial(_begin_run, store, command, settings, {}, Resume.NEVER)
        run_id, _, _ = await _within_start(begin)
        async with (
            _ended_run(store, run_id, shows_progress=options.shows_progress),
            open_writer(store, run_id) as writer,
            open_service_nursery() as nursery,
        ):
            nursery.start_soon(_renew_lease, writer, run_id)
            yield run_id, writer


@asynccontextmanager
async def _own_node(
    store: CrawlDatabase, options: CrawlOptions, *, read_only: bool, joins_known: bool
) -> AsyncIterator[Node]:
    """Open a node that joins through the nodes given or, with `joins_known` and without any, known ones."""
    bootstrap = options.bootstrap
    if joins_known and not bootstrap:
        bootstrap = store.samples.bootstrap_on_loopback(KNOWN_NODES)
    async with open_node(
        listen=options.listen or None,
        bootstrap=bootstrap,
        torrent_nodes=options.torrent_nodes[:MAX_TORRENT_NODES],
        settings=NodeSettings(read_only=read_only),
    ) as node:
        yield node


@asynccontextmanager
async def _opened(options: CrawlOptions) -> AsyncIterator[CrawlDatabase]:
    """Open the database; a try to write it is short, because a cancellation waits for its end."""
    opened = partial(CrawlDatabase.open, options.db, anonymize=options.anonymize, busy_timeout=TRY)
    with await _within_start(opened) as store:
        yield store


async def _within_start(function: Callable[[], T]) -> T:
    """Call a function of the database, again while another process holds it, for half a minute at most."""

    async def attempt() -> T:
        return function()

    return await patiently(attempt, Patience(trio.current_time(), busy=START, full=0.0))


def _begin_run(
    store: CrawlDatabase,
    command: str,
    settings: Mapping[str, object],
    drawn: Mapping[str, object],
    resume: Resume,
) -> tuple[int, Mapping[str, object], bool]:
    """Return the number and the settings of a run that begins, or of one that continues, and which it is."""
    now, all_settings = utc_text(time.time()), {**settings, **drawn}
    if resume is Resume.NEVER:
        return store.runs.begin(command, all_settings, __version__, now), all_settings, False
    is_shared = resume is Resume.SHARED
    run, number = store.runs.resume_or_begin(command, settings, drawn, __version__, now, is_shared=is_shared)
    return number, run.settings if run else all_settings, run is not None


async def _renew_lease(writer: Writer, run_id: int) -> None:
    """Show, while the run writes nothing, that it is there."""
    while True:
        await trio.sleep(RENEWAL_PERIOD)
        await writer.call_at_once(lambda store: store.runs.renew(run_id))


@asynccontextmanager
async def _ended_run(store: CrawlDatabase, run_id: int, *, shows_progress: bool) -> AsyncIterator[None]:
    """Record how a run ends: with the block, or by an exception from it."""
    status, patience = RunStatus.INTERRUPTED, START
    try:
        yield
        status = RunStatus.FINISHED
    except DatabaseError:
        patience = 0.0  # it was waited for already
        raise
    finally:
        # The first reason is the one to tell; the next command finds the run without a process.
        with trio.CancelScope(shield=True), nullcontext() if patience else suppress(DatabaseError):
            async with shown_progress(timed("writing what the run amounts to"), shows=shows_progress):
                finish = partial(store.runs.finish, run_id, status, utc_text(time.time()))
                await patiently(
                    partial(trio.to_thread.run_sync, finish),
                    Patience(trio.current_time(), busy=patience, full=0.0),
                )
