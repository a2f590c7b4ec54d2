"""Files that a user names: read up to a bound, never waited for without end, and text as programs save it."""

import codecs
import errno
import os
import select
import stat
from pathlib import Path

PATIENCE = 5.0  # seconds without anything from a pipe or a device


def read_file(path: str | Path, most: int, *, patience: float | None = None) -> bytes:
    """Return at most so many bytes of a file, a pipe or a device; raises `OSError`, `ValueError` for a NUL.

    A pipe to which nothing is written for `patience` seconds is an `OSError` too, by default `PATIENCE`.
    """
    patience = PATIENCE if patience is None else patience
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(path, flags), "rb", buffering=0) as file:
        # A pipe that has no writer yet reads as an empty file.
        if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            _wait(file.fileno(), patience)
        read = bytearray()
        while len(read) < most:
            part = file.read(min(most - len(read), 1 << 20))
            if part is None:
                _wait(file.fileno(), patience)
            elif part:
                read += part
            else:
                break
    return bytes(read)


def _wait(number: int, patience: float) -> None:
    if not select.select([number], [], [], patience)[0]:
        raise OSError(errno.ETIMEDOUT, f"nothing is written to it for {patience:g} s")


def text_of(data: bytes) -> str:
    """Return the text in bytes: UTF-8, or UTF-16 with a byte order mark, as Windows saves it.

    What is neither, as a line in Latin-1, becomes U+FFFD.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    return data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
