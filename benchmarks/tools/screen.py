"""A terminal that a command is shown on, to see how long it shows nothing new."""

import math
import os
import re
import termios
import time
from threading import Thread
from types import TracebackType
from typing import Self

# Escape sequences, and the characters that only turn round.
_NOT_TEXT = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\u2800-\u28ff]")


class Screen:
    """A terminal for the length of a block; `fd` is what the command writes to.

    `longest` is the longest time in seconds from one line to the next that differs, or to the end of the
    command; known after the block.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._reading, self.fd = os.openpty()
        termios.tcsetwinsize(self.fd, (24, 500))  # wide, so that each line stays one
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)
        self._thread.join()
        os.close(self._reading)

    def _watch(self) -> None:
        shown, since = "", math.inf
        while True:
            try:
                text = os.read(self._reading, 1 << 16).decode(errors="replace")
            except OSError:  # the command has ended
                text = ""
            now = time.monotonic()
            lines = [line for line in _NOT_TEXT.sub("", text).splitlines() if line.strip()]
            if not text or (lines and lines[-1] != shown):
                self.longest = max(self.longest, now - since)
                shown, since = lines[-1] if lines else "", now
            if not text:
                return
