"""The engine that needs nothing but Python: variations of a pool that grows by new outcomes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from time import perf_counter, process_time

from tests.fuzz.findings import Finding, Stuck, finding_of
from tests.fuzz.kinds import Kind, Target, shrink
from tests.fuzz.mutator import Mutator
from tests.fuzz.watch import WATCHDOG

MAX_POOL = 4000
MAX_POOLED_BYTES = 1200  # what grows on and on takes the time of a hundred others
MAX_FINDINGS = 10  # different ones; then a target has said enough
BATCH = 128  # inputs between two looks at the clock


@dataclass(slots=True)
class Report:
    """Hold what one run over one target did and found."""

    target: str
    engine: str
    seed: int
    inputs: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    outcomes: int = 0
    pool: list[bytes] = field(default_factory=list)
    findings: dict[str, Finding] = field(default_factory=dict)

    def summary(self) -> dict[str, object]:
        return {
            "target": self.target,
            "engine": self.engine,
            "seed": self.seed,
            "inputs": self.inputs,
            "seconds": round(self.seconds, 1),
            "cpu_seconds": round(self.cpu_seconds, 1),
            "inputs_per_cpu_second": round(self.inputs / self.cpu_seconds) if self.cpu_seconds else None,
            "outcomes": self.outcomes,
            "pool": len(self.pool),
            "findings": sorted(self.findings),
        }


@dataclass(frozen=True, slots=True)
class Limits:
    """Say when a run ends: as soon as all that is given has been reached."""

    seconds: float | None = None
    inputs: int | None = None

    def reached(self, report: Report) -> bool:
        if len(report.findings) >= MAX_FINDINGS:
            return True
        return report.seconds >= (self.seconds or 0.0) and report.inputs >= (self.inputs or 0)

    def next_batch(self, report: Report) -> int:
        """Return how many inputs to run before the next look, so that the number asked for is met exactly."""
        missing = (self.inputs or 0) - report.inputs
        return missing if 0 < missing < BATCH else BATCH


class Life:
    """Feed one target after the other, and make findings of what is raised."""

    def __init__(self, kind: Kind, report: Report) -> None:
        self._kind = kind
        self._report = report
        self._outcomes: set[object] = set()
        self._target: Target = kind.make()
        self._history: list[bytes] = []

    def take(self, data: bytes) -> bool:
        self._history.append(data)
        self._report.inputs += 1
        WATCHDOG.beat()
        try:
            outcome = self._target.run(data)
            if len(self._history) >= self._target.life:
                self.finish()
        except (Exception, Stuck) as error:  # noqa: BLE001  that is what we look for
            self._keep(error)
            return False
        if outcome in self._outcomes:
            return False
        self._outcomes.add(outcome)
        self._report.outcomes += 1
        return True

    def end(self) -> None:
        try:
            self.finish()
        except (Exception, Stuck) as error:  # noqa: BLE001  that is what we look for
            self._keep(error)

    def finish(self) -> None:
        self._target.end()
        self._begin()

    def _begin(self) -> None:
        self._target = self._kind.make()
        self._history = []

    def _keep(self, error: BaseException) -> None:
        finding = finding_of(self._kind.name, self._history, error)
        if finding.signature not in self._report.findings:
            self._report.findings[finding.signature] = shrink(self._kind, finding)
        self._begin()


def run(kind: Kind, pool: list[bytes], seed: int, limits: Limits, tell: Callable[[Report], None]) -> Report:
    """Run variations of the pool until the limits are reached; the same seed gives the same inputs."""
    report = Report(kind.name, "plain", seed, pool=list(pool))
    random = Random(seed)
    mutator = Mutator(random, report.pool)
    started, cpu_started = perf_counter(), process_time()
    with WATCHDOG.on_duty():
        life = Life(kind, report)
        for data in pool:
            life.take(data)
        while not limits.reached(report):
            for _ in range(limits.next_batch(report)):
                parent = report.pool[int(random.random() * len(report.pool))]
                data = kind.vary(mutator, parent)
                if life.take(data) and len(data) <= MAX_POOLED_BYTES and len(report.pool) < MAX_POOL:
                    report.pool.append(data)
            report.seconds = perf_counter() - started
            report.cpu_seconds = process_time() - cpu_started
            tell(report)
        life.end()
    return report
