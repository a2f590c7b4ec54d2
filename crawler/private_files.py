"""New files that only their owner can read: they hold addresses of nodes, and hints at peers.

Files that are there keep their permissions, so that others may read what an operator has made for them.
"""

import os
from contextlib import suppress
from pathlib import Path


def make_private(path: str | Path) -> None:
    """Make an empty file for its owner alone, unless there is one or none can be made.

    To be called before a library makes it: whatever hinders us, the library is going to report.
    """
    with suppress(OSError, ValueError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
