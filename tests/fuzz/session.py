"""One run of the command: over which targets, from which corpus, and where what it found goes."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz import engine, guided, reach
from tests.fuzz.engine import Limits, Report
from tests.fuzz.findings import load_inputs
from tests.fuzz.kinds import KINDS, Kind, replay
from tests.fuzz.seeds import CORPUS, read_corpus, write_corpus
from tests.fuzz.watch import WATCHDOG

TELL_EVERY = 30.0  # seconds between two lines of progress


@dataclass(slots=True)
class Session:
    """Hold the options of the command; must be used inside `trio.run` with a `HandClock`."""

    seed: int
    engine: str
    seconds: float | None
    inputs: int | None
    corpus: Path | None
    save: Path | None
    findings: Path
    json_file: Path | None
    echo: Callable[[str], object]
    _told_at: float = 0.0
    _reports: list[Report] = field(default_factory=list)

    def fuzz(self, names: Iterable[str]) -> int:
        """Run every target and return the exit status: 1 when something was found."""
        limits = Limits(self.seconds, self.inputs)
        if limits == Limits():
            limits = Limits(seconds=10.0)
        status = 0
        for name in names:
            self._told_at = 0.0
            kind = KINDS[name]
            if self.engine == "atheris":
                guided.run(kind, self._pool(kind), self.seed, limits, self._tell, self._finish)
            else:
                report = engine.run(kind, self._pool(kind), self.seed, limits, self._tell)
                status = max(status, self._finish(report))
        return status

    def replay(self, path: Path) -> int:
        """Run the inputs of one finding on a fresh target; return 1 when it fails again."""
        name, inputs = load_inputs(path)
        with WATCHDOG.on_duty():
            finding = replay(KINDS[name], inputs)
        if finding is None:
            self.echo(f"{name}: {len(inputs)} inputs, nothing found")
            return 0
        self.echo(finding.traceback)
        self.echo(f"{name}: {finding.signature}")
        return 1

    def minimise(self, names: Iterable[str]) -> int:
        """Write the part of the corpus that reaches what all of it reaches; return 0."""
        for name in names:
            kind = KINDS[name]
            pool = self._pool(kind)
            kept, arcs = reach.minimised(kind, pool)
            write_corpus(self.save or CORPUS, name, kept)
            size = sum(map(len, kept))
            self.echo(f"{name}: {len(pool)} inputs reach {arcs} arcs; kept {len(kept)} inputs, {size} bytes")
        return 0

    def _pool(self, kind: Kind) -> list[bytes]:
        """Return where to start: the seeds, the committed corpus, and the one that was named."""
        found = kind.seeds() + read_corpus(CORPUS, kind.name)
        if self.corpus is not None:
            found += read_corpus(self.corpus, kind.name)
        return list(dict.fromkeys(found))

    def _tell(self, report: Report) -> None:
        if report.seconds - self._told_at >= TELL_EVERY:
            self._told_at = report.seconds
            self.echo(_line(report))

    def _finish(self, report: Report) -> int:
        """Write what a target gave: findings, figures, corpus; return the status of this target."""
        self._reports.append(report)
        self.echo(_line(report))
        for finding in report.findings.values():
            path = finding.save(self.findings)
            self.echo(finding.traceback)
            self.echo(f"{finding.target}: {finding.signature}: {len(finding.inputs)} inputs in {path}")
        if self.save is not None:
            write_corpus(self.save, report.target, set(report.pool))
        if self.json_file is not None:
            summaries = [report.summary() for report in self._reports]
            self.json_file.write_text(json.dumps(summaries, indent=1) + "\n", encoding="utf-8")
        return 1 if report.findings else 0


def _line(report: Report) -> str:
    rate = report.inputs / report.seconds if report.seconds else 0.0
    return (
        f"{report.target}: {report.inputs:,} inputs in {report.seconds:.0f} s ({rate:,.0f}/s), "
        f"{report.outcomes} outcomes, {len(report.findings)} findings"
    )
