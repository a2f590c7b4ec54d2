"""What a query costs a server: CPU time and answers of a load, measured in short turns.

A server that does not answer a kind of query as it should is not measured with it, and the reason kept.
"""

import math
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.node.columns import COLUMNS
from benchmarks.tools.batched_udp import BenchmarkFailed
from benchmarks.tools.load import Load, Target

WARM_UP = 0.3  # seconds of load before each measurement, at most
TURN = 0.2  # seconds that one server is under load before it is the turn of the next
REST = 0.005  # seconds between two looks at whether a server has become idle
IDLE = 0.1  # of a core, at most, when it has
MOST_LOOKS = 200
MAX_ERRORS = 0.01  # of all answers


@dataclass(frozen=True, slots=True)
class Measurement:
    """The results of one server for one kind of query; microseconds are per answered query."""

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


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reason why one server was not measured with one kind of query."""

    server: str
    column: str
    pair: int
    reason: str


class Gauge:
    """Load one server with one kind of query, a slice at a time, and add up what the slices cost."""

    def __init__(self, server: Target, column: str) -> None:
        self.server = server
        self._column = column
        self._load: Load | None = None
        self._refusal = ""
        self._spent = _Reading(0.0, 0.0, 0.0, 0.0, 0)
        try:
            queries, target = COLUMNS[column](server)
            self._load = server.load(queries, target)
        except BenchmarkFailed as failure:
            self._refusal = str(failure)

    def run(self, seconds: float, outstanding: int, rate: float, *, counted: bool = True) -> None:
        """Load for one slice, unless the server has failed before."""
        if self._refusal or self._load is None:
            return
        try:
            before = self._read(self._load)
            self._load.run(seconds, outstanding, rate)
            if counted:
                self._spent = self._spent.plus(self._read(self._load), before)
        except BenchmarkFailed as failure:
            self._refusal = str(failure)

    def rest(self) -> None:
        """Wait until the server is idle, for a second at most: some go on working after their answers."""
        try:
            before = self.server.cpu_time()
            for _ in range(MOST_LOOKS):
                time.sleep(REST)
                now = self.server.cpu_time()
                if now - before < IDLE * REST:
                    return
                before = now
        except BenchmarkFailed as failure:
            self._refusal = str(failure)

    def result(self, pair: int) -> Measurement | Refusal:
        """Return what was measured, or why nothing was."""
        spent, load, refusal = self._spent, self._load, self._refusal
        if not refusal and not spent.answered:
            refusal = f"no answer within {spent.time:.2f} s; measure for longer"
        elif not refusal and load is not None and load.errors > MAX_ERRORS * load.answered:
            refusal = f"{load.errors} of {load.answered} answers are errors"
        if refusal or load is None:
            return Refusal(self.server.name, self._column, pair, refusal)
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

    def _read(self, load: Load) -> "_Reading":
        own = resource.getrusage(resource.RUSAGE_SELF)
        cpu = self.server.cpu_time()
        return _Reading(cpu, time.monotonic(), own.ru_utime, own.ru_stime, load.answered)


class _Reading(NamedTuple):
    """All clocks, in seconds, and the count of answers."""

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
    servers: Sequence[Target],
    column: str,
    pair: int,
    seconds: float,
    outstanding: int,
    rate: float = math.inf,
) -> list[Measurement | Refusal]:
    """Measure servers with one kind of query, in short turns: the speed of a core drifts in seconds."""
    gauges = [Gauge(server, column) for server in servers]
    for gauge in gauges:
        gauge.run(min(WARM_UP, seconds), outstanding, rate, counted=False)
        gauge.rest()
    turns = max(1, round(seconds / TURN))
    for turn in range(turns):
        for gauge in gauges if turn % 2 == pair % 2 else gauges[::-1]:
            gauge.run(seconds / turns, outstanding, rate)
            gauge.rest()
    return [gauge.result(pair) for gauge in gauges]
