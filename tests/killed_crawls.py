"""Kill commands of the crawler while they use the database, again and again, and look at it each time.

    python -m tests.killed_crawls [--kills 200] [--seed 1] [--nodes 1500]

Each is killed just before one of its statements of SQL, drawn at random, or at a random moment; every other
one runs in a pid namespace of its own, where that can be made.  Prints one JSON line: `kills` by command, and
`wrong`, which tells what was found that must not be.
"""

import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

OBSERVED = ("runs", "visit_rows", "node_sample_rows", "swarm_samples", "reply_rows", "nodes", "swarms")
LIMIT = 300.0  # seconds until a command counts as hung
UNSHARED = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc")

TWICE = {
    "a node answered twice in one census": """
        SELECT count(*) FROM (
            SELECT 1 FROM visits WHERE NOT is_verification AND outcome = 'answered'
            GROUP BY run_id, node_id, address, port HAVING count(*) > 1
        )
    """,
    "a node was visited three times in one census": """
        SELECT count(*) FROM (
            SELECT 1 FROM visits WHERE NOT is_verification
            GROUP BY run_id, node_id, address, port HAVING count(*) > 2
        )
    """,
    "a node gave two samples in one run": """
        SELECT count(*) FROM (
            SELECT 1 FROM node_samples WHERE outcome = 'answered'
            GROUP BY run_id, address, port HAVING count(*) > 1
        )
    """,
    "a swarm was measured twice in one scrape": """
        SELECT count(*) FROM (
            SELECT 1 FROM swarm_samples JOIN runs ON runs.id = run_id AND command = 'scrape'
            GROUP BY run_id, info_hash HAVING count(*) > 1
        )
    """,
    "rows of a run that is not there": "SELECT count(*) FROM pragma_foreign_key_check",
    "a damaged file": "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
}


def run_until_statement(number: int, arguments: Sequence[str]) -> None:
    """Be `dhtcrawl`, and be killed before the statement of that number; say how many there were else."""
    from crawler.cli.main import main as dhtcrawl

    count = 0

    def note(_: str) -> None:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)
            os._exit(137)  # the first process of a namespace is not killed by itself

    class Traced(sqlite3.Connection):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)  # type: ignore[arg-type]
            self.set_trace_callback(note)

    connect = sqlite3.connect
    sqlite3.connect = lambda *args, **options: connect(*args, **options, factory=Traced)  # type: ignore[assignment,misc]
    try:
        dhtcrawl(list(arguments))
    finally:
        print(count, file=sys.stderr)  # noqa: T201


def problems(path: Path) -> list[str]:
    """Return what is in a database that must not be."""
    with closing(sqlite3.connect(path, timeout=60)) as connection:
        return [name for name, sql in TWICE.items() if connection.execute(sql).fetchone()[0]]


def counts(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path, timeout=60)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        return {
            name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name in OBSERVED
            if name in names
        }


class Killer:
    """A folder with databases, whose commands are killed."""

    def __init__(self, folder: Path, way_in: str, random: Random) -> None:
        self.folder = folder
        self.random = random
        self.kills: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.statements: dict[str, int] = {}
        self.number = 0
        self.crawled, self.merged, self.purged = (folder / f"{name}.db" for name in ("a", "merged", "purged"))
        swarms = [f"{number:040x}" for number in range(20)]
        ask = ["--db", str(self.crawled), "--bootstrap", way_in]
        self.commands = {
            "census": ["census", *ask, "--rate", "1500", "--max-new-endpoints", "700"],
            "sample": ["sample", *ask, "--rate", "0"],
            "scrape": ["scrape", *ask, "--rate", "0", *swarms],
            "watch": ["watch", *ask, "--rate", "0", "--once", "--budget", "100000", *swarms],
            "merge": ["merge", "--into", str(self.merged), str(self.crawled)],
            "purge": ["purge", "--db", str(self.purged), "--older", "0", "--swarm", swarms[0], "--vacuum"],
            "export": ["export", "--db", str(self.crawled), "--csv", str(folder / "export")],
            "migrate": ["merge", "--into", str(folder / "new.db"), str(self.crawled)],
        }

    def prepare(self, name: str) -> None:
        """Bring what a command works on to where it begins."""
        shutil.rmtree(self.folder / "export", ignore_errors=True)
        for path in self.folder.glob("new.db*"):
            path.unlink()
        if name == "purge":
            for path in self.folder.glob("purged.db*"):
                path.unlink()
            with (
                closing(sqlite3.connect(self.crawled)) as source,
                closing(sqlite3.connect(self.purged)) as copy,
            ):
                source.backup(copy)

    def start(self, name: str, statement: int, *, is_apart: bool = False) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "tests.killed_crawls", "--statement", str(statement)]
        before = UNSHARED if is_apart else ()
        return subprocess.Popen(
            [*before, *command, *self.commands[name]],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )

    def end(self, name: str) -> None:
        """Let a command come to its end, and note how many statements that took."""
        self.prepare(name)
        process = self.start(name, 0)
        _, told = process.communicate(timeout=LIMIT)
        if process.returncode or "Traceback" in told:
            self.wrong.append(f"{name} ended with {process.returncode}: {told[-300:]}")
        elif told.split():
            self.statements[name] = max(int(told.split()[-1]), self.statements.get(name, 0))

    def kill(self, name: str, *, is_apart: bool) -> None:
        """Kill a command once, and look at what it has left."""
        self.prepare(name)
        path = {"merge": self.merged, "purge": self.purged}.get(name, self.crawled)
        before = counts(path) if path.exists() else {}
        by_time = self.random.random() < 0.5
        statement = 0 if by_time else 1 + int(self.statements[name] * self.random.random() ** 2)
        process = self.start(name, statement, is_apart=is_apart)
        try:
            process.wait(self.random.uniform(0.6, 5.0) if by_time else LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
        told = process.communicate(timeout=LIMIT)[1]
        if "Traceback" in told or process.returncode == 1:
            self.wrong.append(f"{name} said {told[-300:]}")
        self.kills[name] += process.returncode not in (0, 1)
        self.look_at(name, path, before)

    def look_at(self, name: str, path: Path, before: dict[str, int]) -> None:
        if not path.exists():
            return
        self.wrong += [f"after {name}: {problem}" for problem in problems(path)]
        now = counts(path)
        lost = {
            table: (count, now.get(table)) for table, count in before.items() if now.get(table, 0) < count
        }
        if lost and name != "purge":
            self.wrong.append(f"after {name}: rows are missing, {lost}")
        if name == "purge" and now != before and any(now[table] for table in ("visit_rows", "swarm_samples")):
            self.wrong.append(f"half a purge: {before} to {now}")
        torn = [each for each in self.folder.glob("export/*.csv") if not each.read_bytes().endswith(b"\n")]
        self.wrong += [f"half a file: {each.name}" for each in torn]


def can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return not subprocess.run([*UNSHARED, "true"], check=False, capture_output=True).returncode


def kill_many(folder: Path, way_in: str, kills: int, random: Random) -> dict[str, object]:
    """Kill commands so many times, in turn, and let all come to their ends at last."""
    killer = Killer(folder, way_in, random)
    for name in killer.commands:
        killer.end(name)
    apart = can_unshare()
    names = list(killer.commands)
    number = 0
    while killer.kills.total() < kills and number < 3 * kills and not killer.wrong:
        killer.kill(names[number % len(names)], is_apart=apart and number // len(names) % 2 == 1)
        number += 1
    for name in killer.commands:
        killer.end(name)
    with closing(sqlite3.connect(killer.crawled)) as connection:
        under_way = "SELECT count(*) FROM runs WHERE status = 'running'"
        if connection.execute(under_way).fetchone()[0]:
            killer.wrong.append("a run is still under way")
    killer.wrong += problems(killer.crawled) + problems(killer.merged)
    return {"kills": dict(killer.kills), "pid_namespaces": apart, "wrong": killer.wrong}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.killed_crawls")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=1500)
    options = parser.parse_args(arguments)
    network = ["synthetic", "--nodes", str(options.nodes), "--swarms", "100", "--bep51", "1", "--json"]
    with (
        TemporaryDirectory() as name,
        subprocess.Popen(
            [sys.executable, "-m", "crawler", *network], stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stdout is not None
        way_in = json.loads(process.stdout.readline())["bootstrap"][0]
        began_at = time.monotonic()
        try:
            seen = kill_many(Path(name), way_in, options.kills, Random(options.seed))
        finally:
            process.terminate()
    print(json.dumps(seen | {"minutes": round((time.monotonic() - began_at) / 60, 1)}))  # noqa: T201


if __name__ == "__main__":
    if sys.argv[1:2] == ["--statement"]:
        run_until_statement(int(sys.argv[2]), sys.argv[3:])
    else:
        main()
