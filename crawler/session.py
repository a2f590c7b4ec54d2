"""What every command of the crawler works with: a database, a run in it, a writer and a node.

The node is read-only: it says so in its queries (BEP 43), because it goes away when the work is
done and would leave a hole in the tables of others.
"""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from crawler.records import RunStatus, utc_text
from crawler.store import Store
from crawler.writer import Writer, open_writer
from dhtnode import Node, NodeSettings, __version__, open_node


@dataclass(frozen=True, slots=True)
class Session:
    """Hold what one run works with."""

    run_id: int
    node: Node
    writer: Writer


@asynccontextmanager
async def open_session(
    path: str | Path,
    command: str,
    settings: Mapping[str, object],
    *,
    bootstrap: Sequence[str] = (),
    ways_in: Sequence[str] = (),
) -> AsyncIterator[Session]:
    """Open a database and a node, and keep a run in the books for the length of the block.

    The run ends as `finished` when the block does, and as `interrupted` when it is left by a
    cancellation or an exception; all rows handed over are written either way.  Raises `StoreError`
    and what `open_node` raises.
    """
    with Store.open(path) as store:
        run_id = store.begin_run(command, settings, __version__, utc_text(time.time()))
        status = RunStatus.INTERRUPTED
        try:
            async with (
                open_node(
                    bootstrap=bootstrap, ways_in=ways_in, settings=NodeSettings(read_only=True)
                ) as node,
                open_writer(store, run_id) as writer,
            ):
                yield Session(run_id, node, writer)
            status = RunStatus.FINISHED
        finally:
            store.finish_run(run_id, status, utc_text(time.time()))
