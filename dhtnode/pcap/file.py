"""The file of a capture: whole blocks up to a bound, and nothing that stops the work."""

import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from time import time_ns

from dhtnode import __version__
from dhtnode.errors import CaptureError
from dhtnode.pcap import blocks

logger = logging.getLogger(__name__)

_COMMENT = (
    "Written by the program itself. Payloads, addresses, ports and times are those of its sockets; all else"
    " in the headers is made up. This file holds addresses of nodes and peers."
)


class CaptureFile:
    """A new file to which packets are appended, until it is as long as it may be or cannot be written."""

    def __init__(self, path: Path, limit: int) -> None:
        """Make the file, for its owner alone, of `limit` bytes at most; raises `CaptureError`."""
        self.is_recording = True
        self._path = path
        # There is always room for the end.
        self._limit = limit - len(blocks.statistics(0, 0, 0))
        self._size = self._packets = self._dropped = 0
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            # Not one that is there, which may be a pipe that nothing reads, or what somebody needs.
            self._number = os.open(path, flags, 0o600)
        except FileExistsError as error:
            raise CaptureError(f"{path}: is there already; a capture replaces no file") from error
        except (OSError, ValueError) as error:
            raise CaptureError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
        self._append(blocks.head(f"dhtnode {__version__}", _COMMENT))

    def add(self, packets: Iterable[tuple[bytes, bool]]) -> None:
        """Append IP packets of this moment, each with whether it is outbound, in one write.

        The kernel has what is written, so it stays where this process is killed.
        """
        now = time_ns()
        fitting, size, is_full = list[bytes](), self._size, False
        for data, outbound in packets:
            self._packets += 1
            if self.is_recording and not is_full:
                fitting.append(blocks.packet(data, now, outbound=outbound))
                size += len(fitting[-1])
                if size <= self._limit:
                    continue
                fitting.pop()
                is_full = True
            self._dropped += 1
        if fitting and not self._append(b"".join(fitting)):
            self._dropped += len(fitting)
        if is_full:
            self._stop("it is as long as it may be")

    def skip(self, packets: int) -> None:
        """Count packets that are not recorded any more."""
        self._packets += packets
        self._dropped += packets

    def close(self) -> None:
        """End the file with how many packets there were, and how many of them it lacks."""
        self._append(blocks.statistics(time_ns(), self._packets, self._dropped))
        self.is_recording = False
        os.close(self._number)

    def _append(self, data: bytes) -> bool:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._number, left) :]
        except OSError as error:
            # Nothing of a block that is not whole.
            with suppress(OSError):
                os.ftruncate(self._number, self._size)
            self._stop(error.strerror or str(error))
            return False
        self._size += len(data)
        return True

    def _stop(self, reason: str) -> None:
        if self.is_recording:
            self.is_recording = False
            logger.warning("%s: no more packets are captured: %s", self._path, reason)
