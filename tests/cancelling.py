"""Cancel a call at one of its checkpoints, and see what it leaves behind.

Trio tells an `Instrument` of every step: the time between two moments at which a task gives way.
Cancelling after step n meets the call at its n-th checkpoint, or between the event that it waits
for and its own next step.  The same call from the same seed takes the same steps.
"""

import gc
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from types import FrameType
from typing import TypeAlias
from weakref import WeakSet

import trio
from trio.testing import wait_all_tasks_blocked

from dhtnode import Address
from dhtnode.addresses import Scope
from dhtnode.testing import MemoryNetwork, MemorySocket

PACKAGES = ("dhtnode.", "crawler.")

Call: TypeAlias = Callable[[], Awaitable[object]]


class Cut(trio.abc.Instrument):
    """Run a call in a task of its own, and cancel it after one of its steps.

    With `all_tasks`, steps of all tasks of the process count, so that the call is also met after
    what it waits for has happened and before it runs again.
    """

    def __init__(self, after: int | None = None, *, all_tasks: bool = False) -> None:
        """Prepare; a call is not cancelled after None, and before its first step after 0."""
        self.scope = trio.CancelScope()
        self.steps = 0
        self.result: object = None
        self.is_done = False
        self.cancelled_at: float | None = None
        self.ended_at = 0.0
        self.tasks: WeakSet[object] = WeakSet()
        self._after = after
        self._all_tasks = all_tasks

    async def run(self, call: Call) -> "Cut":
        failures: list[Exception] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run, call, failures)
        for failure in failures:
            raise failure
        return self

    async def _run(self, call: Call, failures: list[Exception]) -> None:
        self.tasks.add(trio.lowlevel.current_task())
        if self._after == 0:
            self._cancel()
        trio.lowlevel.add_instrument(self)
        try:
            with self.scope:
                self.result = await call()
                self.is_done = True
        except Exception as failure:  # noqa: BLE001  to be raised where no nursery wraps it
            failures.append(failure)
        finally:
            trio.lowlevel.remove_instrument(self)
            self.ended_at = trio.current_time()

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        if task.parent_nursery is not None and task.parent_nursery.parent_task in self.tasks:
            self.tasks.add(task)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count a step, and cancel if it is the one."""
        if self._all_tasks or task in self.tasks:
            self.steps += 1
            if self.steps == self._after:
                self._cancel()

    def _cancel(self) -> None:
        self.cancelled_at = trio.current_time()
        self.scope.cancel()


def sample(steps: int, at_most: int) -> list[int]:
    """Return all moments of a call of so many steps, or the first and some others, always the same."""
    return sorted({0, *Random(steps).sample(range(steps), min(steps, at_most))})


def check_end(cut: Cut, *, is_prompt: bool = True) -> None:
    """Check that a call ended by itself or by the cancellation, and then at once."""
    assert cut.is_done is not cut.scope.cancelled_caught
    if is_prompt and cut.scope.cancelled_caught:
        assert cut.ended_at == cut.cancelled_at


async def cut_everywhere(call: Call, check: Callable[[Cut], None], *, at_most: int = 24) -> None:
    """Cancel a call at its checkpoints, and at moments between; check each time, and once more whole."""
    for all_tasks in (False, True):
        whole = await Cut(all_tasks=all_tasks).run(call)
        check(whole)
        cancelled = 0
        moments = sample(whole.steps, at_most)
        for moment in moments:
            try:
                cut = await Cut(moment, all_tasks=all_tasks).run(call)
                check(cut)
                assert alive(cut.tasks) == []
                assert cut.result == (whole.result if cut.is_done else None)
            except BaseException as failure:
                failure.add_note(f"cancelled after {moment} of {whole.steps} steps, {all_tasks=}")
                raise
            cancelled += cut.scope.cancelled_caught
        assert cancelled > len(moments) / 3  # or the moments were none of this call
        again = await Cut().run(call)
        check(again)
        assert again.result == whole.result


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Hold what a call must leave as it was."""

    tasks: frozenset[trio.lowlevel.Task]
    open_files: int
    threads_at_work: frozenset[str]

    @classmethod
    def now(cls) -> "Surroundings":
        return cls(frozenset(_all_tasks()), _count_open_files(), frozenset(_threads_at_work()))


def _count_open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def _all_tasks() -> Iterator[trio.lowlevel.Task]:
    todo = [trio.lowlevel.current_root_task()]
    while todo:
        task = todo.pop()
        if task is not None:
            yield task
            todo += [child for nursery in task.child_nurseries for child in nursery.child_tasks]


def _threads_at_work() -> Iterator[str]:
    """Return the names of other threads that are in code of ours; Trio keeps idle ones for a while."""
    frames = sys._current_frames()
    del frames[threading.get_ident()]
    for thread in threading.enumerate():
        if any(name.startswith(PACKAGES) for name in _modules(frames.get(thread.ident or 0))):
            yield thread.name


def _modules(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        yield frame.f_globals.get("__name__", "")
        frame = frame.f_back


def alive(objects: WeakSet[object]) -> list[object]:
    if objects:
        gc.collect()  # exceptions and their frames hold each other
        gc.freeze()  # what has stayed now need not be looked through again
    return list(objects)


async def run_sync(function: Callable[..., object], *args: object, **_: object) -> object:
    """Stand in for a worker thread, which virtual time does not wait for: done before it can be cancelled."""
    await trio.lowlevel.checkpoint_if_cancelled()
    with trio.CancelScope(shield=True):
        await trio.sleep(0.1)
        result = function(*args)
        await trio.sleep(0.1)
    return result


class PortNetwork(MemoryNetwork):
    """Stand in for the kernel under `open_node`: bind what it asks for, wildcards and port 0 included."""

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self._ports = count(20_000)

    @property
    def bound(self) -> frozenset[Address]:
        return frozenset(self._sockets)

    def bind(self, address: Address, _scope: Scope) -> MemorySocket:
        """Be `open_udp_socket`."""
        return self.socket(address.host, address.port or next(self._ports))


class Held:
    """Hold up a function in a worker thread until it is released."""

    def __init__(self) -> None:
        """Make it in the task that waits for `reached`, which says that a thread is held."""
        self.reached = trio.Event()
        self.release = threading.Event()
        self.started = 0
        self.ended = 0

    def hold(self, function: Callable[..., object], *args: object, **options: object) -> object:
        self.started += 1
        trio.from_thread.run_sync(self.reached.set)
        self.release.wait()
        result = function(*args, **options)
        self.ended += 1
        return result

    async def release_when_cancelled(self) -> None:
        """Release the threads when everything that the cancellation reached has come to a stop."""
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await wait_all_tasks_blocked()
                self.release.set()
