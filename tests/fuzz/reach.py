"""Which code of the package inputs reach, and the few inputs that reach all that many do."""

import sys
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Self

import dhtnode
from tests.fuzz.kinds import Kind

PACKAGE = str(Path(dhtnode.__file__).parent)
MAX_KEPT = 150
MAX_KEPT_BYTES = 9_000

Arc = tuple[CodeType, int, int]


class Tracer:
    """Collect the steps from line to line that the package takes; some 20 times slower than not."""

    def __init__(self) -> None:
        self.arcs: set[Arc] = set()

    def __enter__(self) -> Self:
        sys.settrace(self._on_call)
        return self

    def __exit__(self, *_error: object) -> None:
        sys.settrace(None)

    def _on_call(self, frame: FrameType, _event: str, _argument: object) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE):
            return None
        last = 0
        arcs = self.arcs

        def on_line(frame: FrameType, event: str, _argument: object) -> Any:
            nonlocal last
            line = frame.f_lineno
            if event == "line":
                arcs.add((code, last, line))
                last = line
            return on_line

        return on_line


def minimised(kind: Kind, inputs: Iterable[bytes]) -> tuple[list[bytes], int]:
    """Return inputs that reach what all of them reach, shortest first, and how many arcs that is.

    At most `MAX_KEPT`, those that add most; a target with state sees them in this order.
    """
    target = kind.make()
    gains: list[tuple[int, bytes]] = []
    seen: set[Arc] = set()
    for data in sorted(set(inputs), key=lambda data: (len(data), data)):
        with Tracer() as tracer:
            target.run(data)
        new = len(tracer.arcs - seen)
        if new:
            seen |= tracer.arcs
            gains.append((new, data))
    kept: list[bytes] = []
    size = 0
    for _, data in sorted(gains, key=lambda gain: -gain[0]):
        if len(kept) < MAX_KEPT and size + len(data) <= MAX_KEPT_BYTES:
            kept.append(data)
            size += len(data)
    return sorted(kept, key=lambda data: (len(data), data)), len(seen)
