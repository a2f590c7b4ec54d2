"""A nursery for tasks that serve a block of code and end with it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def open_service_nursery() -> AsyncIterator[trio.Nursery]:
    """Open a nursery whose tasks are cancelled when the block ends.

    A lone exception comes out as it is and not in a group, whether a task or the caller raised it,
    and whatever was cancelled beside it.
    """
    failure: BaseException
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            finally:
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        _, failures = group.split(trio.Cancelled)
        failure = group if failures is None else failures
        if failures is not None and len(failures.exceptions) == 1:
            failure = failures.exceptions[0]
    else:
        return
    # Here no other exception is being handled, so the context of this one stays its own.
    raise failure
