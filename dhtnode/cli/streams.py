"""Standard input, output and error of a command, usable however it was started.

What cannot be printed ends no work: it is told once, and the command goes on and ends with status 1.
"""

import os
import sys
from contextlib import suppress

from dhtnode.escaping import escaped
from dhtnode.lines import make_way, say

failures: list[str] = []
"""The reason why standard output does not take what is printed, once it does not."""


def prepare() -> None:
    """Open the streams that are closed to nothing, and let none refuse a character."""
    # Or a database could be opened under the number of a closed stream, and printed into.
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, closefd=False)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))
        if (change := getattr(getattr(sys, name), "reconfigure", None)) is not None:
            change(errors="backslashreplace")
    failures.clear()


def print_lines(*lines: str) -> None:
    """Print lines on stdout, each escaped, at once: another program may read along.

    Raises `BrokenPipeError` when that program has gone.
    """
    if failures:
        return
    make_way()
    try:
        sys.stdout.write("".join(f"{escaped(line)}\n" for line in lines))
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        failures.append(f"cannot print: {error.strerror}")
        drop_output()
        say(failures[-1])


def drop_output() -> None:
    """Let what cannot be printed any more go nowhere: Python would try again at exit, and complain."""
    with suppress(ValueError):  # a stream that is no file of the system's
        try:
            sys.stdout.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)


def reason_of(error: BaseException, refusals: tuple[type[BaseException], ...] = ()) -> str | None:
    """Return in one line what the system refused, or None when an error is of another kind.

    Of `refusals` the text is the reason.  A group has a reason when each of its errors has one.
    """
    if isinstance(error, refusals):
        return str(error)
    match error:
        case BaseExceptionGroup(exceptions=errors):
            reasons = [reason_of(each, refusals) for each in errors]
            return None if None in reasons else "; ".join(dict.fromkeys(filter(None, reasons)))
        case MemoryError():
            return "there is not enough memory"
        case OSError(strerror=str(strerror)):
            return f"{strerror}: {error.filename}" if error.filename else strerror
        case RuntimeError() if "can't start new thread" in str(error):
            return "the system lets us start no thread"
        case ImportError() if "map segment" in str(error) or "allocate memory" in str(error):
            return "there is not enough memory to load what this needs"
    return None
