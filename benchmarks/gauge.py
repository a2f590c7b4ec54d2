"""What a query costs a server: CPU time and answers of a load, measured in short turns."""

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.batched_udp import BenchmarkFailed
from benchmarks.columns import COLUMNS
from benchmarks.load import Target

WARM_UP = 0.3  # seconds of load before each measurement, at most
TURN = 0.2  # seconds that one server is under load before it is the turn of the other
MAX_ERRORS = 0.01  # of all answers


@dataclass(frozen=True, slots=True)
class Measurement:
    """Tell what one server did with one kind of query; microseconds are per answered query."""

    server: str
    column: str
    pair: int
    cpu: float
    answered: int
    seconds: float
    busy: float
    generator_cpu: float
    generator_user: float
    lost: int
    errors: int
    reply_bytes: int


class Gauge:
    """Load one server with one kind of query, a slice at a time, and add up what the slices cost."""

    def __init__(self, server: Target, column: str) -> None:
        self.server = server
        self._column = column
        self._load = server.load(*COLUMNS[column](server))
        self._spent = _Reading(0.0, 0.0, 0.0, 0.0, 0)

    def run(self, seconds: float, outstanding: int, *, counted: bool = True) -> None:
        """Load for one slice; raise `BenchmarkFailed` if the server stops answering or refuses."""
        before = self._read()
        try:
            self._load.run(seconds, outstanding)
        except BenchmarkFailed as failure:
            raise BenchmarkFailed(f"{self.server.name}, {self._column}: {failure}") from None
        if counted:
            self._spent = self._spent.plus(self._read(), before)

    def result(self, pair: int) -> Measurement:
        """Return what was measured."""
        spent, load = self._spent, self._load
        name = f"{self.server.name}, {self._column}"
        if not spent.answered:
            raise BenchmarkFailed(f"{name}: no answer within {spent.time:.2f} s; measure for longer")
        if load.errors > MAX_ERRORS * load.answered:
            raise BenchmarkFailed(f"{name}: {load.errors} of {load.answered} answers are errors")
        return Measurement(
            self.server.name,
            self._column,
            pair,
            cpu=spent.cpu / spent.answered * 1e6,
            answered=spent.answered,
            seconds=spent.time,
            busy=spent.cpu / spent.time,
            generator_cpu=(spent.own_user + spent.own_system) / spent.answered * 1e6,
            generator_user=spent.own_user / spent.answered * 1e6,
            lost=load.lost,
            errors=load.errors,
            reply_bytes=load.reply_bytes // load.answered,
        )

    def _read(self) -> "_Reading":
        own = resource.getrusage(resource.RUSAGE_SELF)
        cpu = self.server.cpu_time()
        return _Reading(cpu, time.monotonic(), own.ru_utime, own.ru_stime, self._load.answered)


class _Reading(NamedTuple):
    """Hold all clocks, in seconds, and the count of answers."""

    cpu: float
    time: float
    own_user: float
    own_system: float
    answered: int

    def plus(self, after: "_Reading", before: "_Reading") -> "_Reading":
        """Return the sums with what one slice added."""
        cpu, seconds, own_user, own_system, answered = (
            mine + new - old for mine, new, old in zip(self, after, before, strict=True)
        )
        return _Reading(cpu, seconds, own_user, own_system, round(answered))


def measure(
    servers: Sequence[Target], column: str, pair: int, seconds: float, outstanding: int
) -> list[Measurement]:
    """Measure servers with one kind of query, in short turns: the speed of a core drifts in seconds."""
    gauges = [Gauge(server, column) for server in servers]
    for gauge in gauges:
        gauge.run(min(WARM_UP, seconds), outstanding, counted=False)
    turns = max(1, round(seconds / TURN))
    for turn in range(turns):
        for gauge in gauges if turn % 2 == pair % 2 else gauges[::-1]:
            gauge.run(seconds / turns, outstanding)
    return [gauge.result(pair) for gauge in gauges]
