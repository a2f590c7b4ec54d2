"""Log lines: each record is one line, whatever strangers have written into it.

Lines of a traceback are indented.  A full disk or a pipe that nothing reads costs records, which are
counted, and stops nothing.
"""

import logging
import os
from pathlib import Path
from types import TracebackType

from dhtnode.errors import DhtError
from dhtnode.escaping import escaped
from dhtnode.lines import say
from dhtnode.settings import LOG_LINE


class LogFileError(DhtError):
    """A log file that cannot be opened."""


class LineFormatter(logging.Formatter):
    """A formatter by which no record can pass for another one."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the name that logging calls
        """Return the record in one line."""
        return escaped(super().formatMessage(record))

    def formatException(  # noqa: N802  the name that logging calls
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """Return a traceback as lines that begin with blanks."""
        return "\n".join(f"  {escaped(line)}" for line in super().formatException(ei).splitlines())


class _StderrHandler(logging.Handler):
    """A handler that prints on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        say(*self.format(record).split("\n"))


class _FileHandler(logging.Handler):
    """A handler that appends to a file, and tells stderr when that begins to fail."""

    def __init__(self, path: Path) -> None:
        # Or a FIFO would keep us waiting for a reader, now and whenever it is full.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
        self._path, self._fd, self._lost = path, os.open(path, flags, 0o600), 0
        # Last: `logging` closes at exit whatever has come here.
        super().__init__()

    def emit(self, record: logging.LogRecord) -> None:
        before = f"{self._lost} records could not be written here\n" if self._lost else ""
        data = f"{before}{self.format(record)}\n".encode("utf-8", "backslashreplace")
        try:
            written = os.write(self._fd, data)
            if written < len(data):
                # A part of a line; the rest fails for a reason.
                written += os.write(self._fd, data[written:])
        except OSError as error:
            if not self._lost:
                say(f"cannot write the log {self._path}: {error.strerror}; records are lost until it can be")
            self._lost += 1
        else:
            self._lost = 0

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        super().close()


def direct_log(path: str | None, level: str, *, replaces: bool = True) -> None:
    """Send lines of a level and above to a file, or to stderr; what was used before is closed.

    A file is opened again and appended to, so that after a rotation lines go to the new one.  What a program
    has set up by itself stays, unless this `replaces` it.  Raises `LogFileError`; lines then go where they
    went before.
    """
    handler: logging.Handler = _StderrHandler()
    if path is not None:
        try:
            handler = _FileHandler(Path(path))
        except (OSError, ValueError) as error:
            raise LogFileError(
                f"cannot open the log {path}: {getattr(error, 'strerror', None) or error}"
            ) from error
    handler.setFormatter(LineFormatter(LOG_LINE))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=replaces)
