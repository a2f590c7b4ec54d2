"""Files that a user names: read up to a bound, never waited for without end, and text as programs save it.

New ones are made whole, or not at all.
"""

import codecs
import errno
import os
import select
import stat
from pathlib import Path
from typing import BinaryIO

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


def write_new(path: str | Path, content: bytes) -> None:
    """Make a file for its owner alone, which is whole as soon as it is there, also where we are killed.

    Where a file system cannot do that, one that fails in between is deleted.  Raises `OSError`, which is
    `FileExistsError` where there is something.
    """
    try:
        folder = Path(path).parent
        number = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(number, "wb") as file:
            _write_through(file, content)
            # With a directory, though the path needs none: else the name that is linked would be the link.
            os.link(f"/proc/self/fd/{number}", path, src_dir_fd=number)
    except FileExistsError:
        raise
    except (AttributeError, OSError):
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            try:
                _write_through(file, content)
            except BaseException:
                Path(path).unlink()
                raise


def _write_through(file: BinaryIO, content: bytes) -> None:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())


def text_of(data: bytes) -> str:
    """Return the text in bytes: UTF-8, or UTF-16 with a byte order mark, as Windows saves it.

    What is neither, as a line in Latin-1, becomes U+FFFD.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    return data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
