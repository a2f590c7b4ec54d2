"""Kill a process that saves its state over and over, at random moments, and look at the file each time.

    python -m tests.killed_saves [--kills 500] [--seed 1]

Prints one JSON line: `kills`, `drafts` (kills after which a draft lay beside the state: they came in
the midst of a save), `torn` (of these, drafts that were not complete) and `wrong`, which tells what was
in the state file when it was not a state that had been saved.
"""

import argparse
import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from dhtnode.addresses import Address, Contact
from dhtnode.ids import NodeId
from dhtnode.node.state_file import SavedState, load_state, save_state

CONTACTS = 300  # as many as a table holds
LONGEST = 0.01  # seconds until the kill: some saves
HERE = Address("0.0.0.0", 6881)
SMALL = SavedState({HERE: NodeId(b"s" * 20)})
LARGE = SavedState(
    {HERE: NodeId(b"l" * 20)},
    tuple(Contact(NodeId(b"c" * 20), Address("8.8.8.8", 1 + number)) for number in range(CONTACTS)),
)


def save_until_killed(path: Path) -> None:
    while True:
        save_state(path, LARGE)
        save_state(path, SMALL)


def kill_one(path: Path, seconds: float) -> None:
    """Let a process save for so long, and kill it; it may not even have begun."""
    pid = os.fork()
    if not pid:
        save_until_killed(path)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def is_torn(draft: Path) -> bool:
    try:
        json.loads(draft.read_bytes())
    except ValueError:
        return True
    return False


def kill_many(folder: Path, kills: int, random: Random) -> dict[str, object]:
    """Kill so many savers of one file, each beginning with what the one before has left."""
    path, draft = folder / "state", folder / "state.new"
    save_state(path, SMALL)
    drafts = torn = 0
    wrong: list[str] = []
    for _ in range(kills):
        kill_one(path, random.uniform(0, LONGEST))
        if draft.exists():
            drafts += 1
            torn += is_torn(draft)
        before = path.read_bytes() if path.exists() else b"no file"
        if load_state(path) not in (SMALL, LARGE):
            wrong.append(repr(before[:100]))
    others = {entry.name for entry in folder.iterdir()} - {"state", "state.new"}
    return {"kills": kills, "drafts": drafts, "torn": torn, "wrong": wrong + sorted(others)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.killed_saves")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    with TemporaryDirectory() as name:
        seen = kill_many(Path(name), options.kills, Random(options.seed))
    print(json.dumps(seen))  # noqa: T201  what this is run for


if __name__ == "__main__":
    main()
