"""Log lines: their format, and their destination: stderr, or a file that can be opened again."""

import logging
import sys
from pathlib import Path

from dhtnode.errors import DhtError

LOG_LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class LogFileError(DhtError):
    """A log file that cannot be opened."""


def direct_log(path: str | None, level: str) -> None:
    """Send lines of a level and above to a file, or to stderr; close the file used before.

    A file is opened again and appended to, so that after a rotation lines go to the new one.
    Raises `LogFileError`, and then the destination stays as it was.
    """
    handler: logging.Handler
    if path is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        try:
            handler = logging.FileHandler(Path(path), encoding="utf-8")
        except OSError as error:
            raise LogFileError(f"cannot open the log {path}: {error.strerror}") from error
    logging.basicConfig(handlers=[handler], level=level.upper(), format=LOG_LINE, force=True)
