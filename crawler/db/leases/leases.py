"""The leases of runs: which process owns a run that is under way, and whether it still does.

A lease is a lock of the kernel (`locks`) and a row.  The lock ends with the process.  The row says who the
process is, and when it has last renewed it: that is what counts on another machine, and after a restart of
this one, where the lock may not have reached.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from crawler.db.connection import DatabaseError, GuardedConnection, Row
from crawler.db.leases.locks import FileLocks
from crawler.db.records.records import epoch_seconds, utc_text

RENEWAL_PERIOD = 15.0  # seconds between two renewals of a run that writes nothing
LIFETIME = 60.0  # seconds without a renewal after which the process is gone, where no lock can tell

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PROCESS = Path("/proc/self/stat")


@dataclass(frozen=True, slots=True)
class Owner:
    """A process: its number, its machine, the start of that machine, and when since then it began.

    `boot` is the same for all containers of a machine, and empty where it is unknown.
    `process_start` is in ticks of the kernel's clock.
    """

    pid: int
    machine: str
    boot: str
    process_start: int

    @classmethod
    def here(cls) -> Self:
        """Return this process."""
        try:
            boot = _BOOT_ID.read_text(encoding="ascii").strip()
            # Behind the name of the program, which may hold anything.
            process_start = int(_PROCESS.read_bytes().rpartition(b")")[2].split()[19])
        except (OSError, ValueError, IndexError):
            boot, process_start = "", 0
        return cls(os.getpid(), os.uname().nodename, boot, process_start)


def is_alive(boot: str, renewed_at: float, *, is_locked: bool, here: str, now: float) -> bool:
    """Decide whether the process of a lease is there; times in seconds since the epoch.

    `boot` is the start of its machine, `here` that of this one.  A renewal in the future is believed no
    longer than one in the past.
    """
    if is_locked or (boot and boot == here):
        return is_locked
    return abs(now - renewed_at) < LIFETIME


class RunLeases:
    """The leases of the runs of one database; part of a `CrawlDatabase`."""

    def __init__(self, connection: GuardedConnection, wall_clock: Callable[[], float] = time.time) -> None:
        self._db = connection
        self._wall_clock = wall_clock
        self._locks = FileLocks(connection.path)
        self._owned: dict[int, Owner] = {}
        # A database in memory has one user.
        self._has_file = connection.path != ":memory:"

    def take(self, run_id: int) -> None:
        """Make a run that of this process; in an open transaction.  Raises `DatabaseError`."""
        if self._has_file and not self._locks.hold(run_id):
            raise DatabaseError(f"{self._db.path}: another process has just taken run {run_id}")
        owner = Owner.here()
        values = (run_id, owner.pid, owner.machine, owner.boot, owner.process_start)
        self._db.execute(_SET, (*values, utc_text(self._wall_clock())))
        self._owned[run_id] = owner

    def renew(self, run_id: int) -> None:
        """Show that this process is there, if it has taken the run; in an open transaction.

        Raises `DatabaseError` when another process has taken the run meanwhile.
        """
        owner = self._owned.get(run_id)
        if owner is None:
            return
        values = (utc_text(self._wall_clock()), run_id, owner.pid, owner.boot, owner.process_start)
        if not self._db.execute(_RENEW, values).rowcount:
            raise DatabaseError(f"{self._db.path}: another process has taken run {run_id} over")
        self._locks.renew()

    def end(self, run_id: int) -> None:
        """Let go of a run; after the transaction that ends it, in which `forget` was called."""
        self._owned.pop(run_id, None)
        self._locks.release(run_id)

    def forget(self, run_id: int) -> None:
        """Delete the row of a run that has ended; in an open transaction."""
        self._db.execute("DELETE FROM run_leases WHERE run_id = ?", (run_id,))

    def is_alive(self, run_id: int) -> bool:
        """Return whether the process that owns a run is there."""
        is_locked = run_id in self._owned or (self._has_file and self._locks.is_held(run_id))
        lease = self._find(run_id)
        if lease is None:
            return is_locked
        now, here = self._wall_clock(), Owner.here().boot
        renewed_at = epoch_seconds(lease["renewed_at"])
        return is_alive(lease["boot"], renewed_at, is_locked=is_locked, here=here, now=now)

    def describe(self, run_id: int) -> str:
        """Return who owns a run, for people."""
        lease = self._find(run_id)
        if lease is None:
            return "another process"
        return f"process {lease['pid']} on {lease['machine']}, last seen {lease['renewed_at']}"

    def close(self) -> None:
        """Let go of all runs; a second call does nothing."""
        self._owned.clear()
        self._locks.close()

    def _find(self, run_id: int) -> Row | None:
        return next(iter(self._db.select("SELECT * FROM run_leases WHERE run_id = ?", run_id)), None)


_SET = """
INSERT OR REPLACE INTO run_leases (run_id, pid, machine, boot, process_start, renewed_at)
VALUES (?, ?, ?, ?, ?, ?)
"""
_RENEW = """
UPDATE run_leases SET renewed_at = ? WHERE run_id = ? AND pid = ? AND boot = ? AND process_start = ?
"""
