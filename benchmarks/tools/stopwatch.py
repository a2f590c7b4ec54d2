"""What a small function costs: CPU time per call, from several short runs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

RUNS = 9
MAX_CALLS = 10_000_000  # in one run, as a bound


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU microseconds per call: the median of several runs, and the lowest."""

    median: float
    lowest: float

    def shared(self, count: int) -> "Cost":
        """Return the cost of one of several things that a call does."""
        return Cost(self.median / count, self.lowest / count)


def in_short(microseconds: float) -> str:
    """Return a number with no more digits than it is worth."""
    return f"{microseconds:.2f}" if microseconds < 10 else f"{microseconds:.1f}"


def cost(function: Callable[[Any], object], arguments: Sequence[Any], seconds: float) -> Cost:
    """Return what a call of a function of one argument costs, taking so much time in all.

    It is called for each of the arguments in turn: with one alone, caches would look too good.
    """
    rounds, spent = 1, _time(function, arguments, 1)
    while spent < seconds / RUNS / 2 and rounds * len(arguments) < MAX_CALLS:
        rounds *= 2
        spent = _time(function, arguments, rounds)
    calls = rounds * len(arguments)
    repeats = RUNS if spent < seconds else 1
    runs = [_time(function, arguments, rounds) / calls * 1e6 for _ in range(repeats)]
    return Cost(median(runs), min(runs))


def _time(function: Callable[[Any], object], arguments: Sequence[Any], rounds: int) -> float:
    started = time.process_time()
    for _ in range(rounds):
        for argument in arguments:
            function(argument)
    return time.process_time() - started
