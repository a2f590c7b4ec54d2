"""The command: `python -m tests.fuzz [TARGET...]`, see `--help`."""

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import trio

from tests.fuzz import guided

NAMES = ("bencoding", "krpc", "metainfo", "peer", "responder", "scrape", "node")
NAMES += ("tracker-udp", "tracker-http", "tracker-full", "tracker-text", "meaning")
PATH = click.Path(path_type=Path)


@click.command()
@click.argument("targets", nargs=-1, type=click.Choice(NAMES))
@click.option("--seconds", type=float, help="Go on with each target for at least so long.")
@click.option("--inputs", type=int, help="Go on with each target for at least so many inputs.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--engine", type=click.Choice(["plain", "atheris"]), default="plain", show_default=True)
@click.option(
    "--corpus", type=PATH, help="Start from the inputs there too; the default is the committed ones."
)
@click.option("--save", type=PATH, help="Write all inputs worth keeping there.")
@click.option(
    "--minimise", is_flag=True, help="Only reduce the corpus to what reaches new code, into --save."
)
@click.option("--findings", type=PATH, default=Path("build/fuzz"), show_default=True)
@click.option("--json", "json_file", type=PATH, help="Write the figures there.")
@click.option("--replay", type=PATH, help="Run the inputs of a saved finding again.")
def main(
    targets: tuple[str, ...],
    seconds: float | None,
    inputs: int | None,
    seed: int,
    engine: str,
    corpus: Path | None,
    save: Path | None,
    minimise: bool,
    findings: Path,
    json_file: Path | None,
    replay: Path | None,
) -> None:
    """Feed TARGETs (all by default) with inputs until --seconds and --inputs have both been reached.

    The exit status is 1 when something was found: one file per finding is written then.
    """
    names = targets or NAMES
    if engine == "atheris" and not guided.is_installed():
        raise click.UsageError("atheris is not installed")
    if engine == "atheris" and len(names) > 1:
        sys.exit(_run_each(names, json_file))
    with guided.instrumented() if engine == "atheris" else nullcontext():
        from tests.fuzz.session import Session
        from tests.fuzz.world import HandClock

    session = Session(seed, engine, seconds, inputs, corpus, save, findings, json_file, click.echo)

    async def work() -> int:
        await trio.lowlevel.checkpoint()
        if replay is not None:
            return session.replay(replay)
        return session.minimise(names) if minimise else session.fuzz(names)

    sys.exit(trio.run(work, clock=HandClock()))


def _run_each(names: tuple[str, ...], json_file: Path | None) -> int:
    """Run this command once per target, because atheris takes a process over; return the worst status."""
    arguments = [argument for argument in sys.argv[1:] if argument not in NAMES]
    status = 0
    reports: list[Any] = []
    with TemporaryDirectory() as directory:
        for name in names:
            part = Path(directory) / f"{name}.json"
            command = [sys.executable, "-m", "tests.fuzz", *arguments, "--json", str(part), name]
            status = max(status, abs(subprocess.run(command, check=False).returncode))
            if part.exists():
                reports += json.loads(part.read_text(encoding="utf-8"))
    if json_file is not None:
        json_file.write_text(json.dumps(reports, indent=1) + "\n", encoding="utf-8")
    return status


if __name__ == "__main__":
    main()
