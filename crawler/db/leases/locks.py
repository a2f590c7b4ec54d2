"""Locks of a file beside the database: they tell whether the process of a run is there.

Each run under way has one byte locked, that of its number, and a merge the first.  The kernel keeps the locks
and lets go of them when the process ends, however it ends; they reach over pid namespaces, and over machines
where the file system carries them.
"""

import fcntl
import os
import struct
import time
from contextlib import suppress
from pathlib import Path

from crawler.db.connection import DatabaseError

SUFFIX = "-lock"
MERGE = 0  # what a merge locks; runs begin at 1
_TRIES = 100
_PAUSE = 0.01  # seconds between two tries: others only look at a lock, or delete the file, for less

# These belong to the open file.  The older ones, all that other systems have, belong to the process: there,
# the first of two users within one process that closes lets go of the locks of both.
_OF_OPEN_FILE = getattr(fcntl, "F_OFD_SETLK", None)


class FileLocks:
    """The locks that one user of a database holds, until `close`.

    The file is made when it is needed, with the rights of the database, and deleted with the last lock.
    All methods raise `DatabaseError` when it cannot be used.
    """

    def __init__(self, database: str) -> None:
        # SQLite follows links too, and has one log for all names of a file.
        self._database = Path(os.path.realpath(database))
        self.path = Path(f"{self._database}{SUFFIX}")
        self._file: int | None = None
        self._held: set[int] = set()

    def hold(self, number: int) -> bool:
        """Lock a number until `release`; return False when another user holds it."""
        for _ in range(_TRIES):
            self.renew()
            file = self._open(makes=True)
            if file is not None and self._lock(file, fcntl.F_WRLCK, number):
                # The one who deletes the file may have come in between.
                if self._is_in_place(file):
                    self._held.add(number)
                    return True
                self._lock(file, fcntl.F_UNLCK, number)
            time.sleep(_PAUSE)
        return False

    def release(self, number: int) -> None:
        """Let go of a number, if it is held here."""
        if self._file is not None and number in self._held:
            self._held.discard(number)
            self._lock(self._file, fcntl.F_UNLCK, number)

    def is_held(self, number: int) -> bool:
        """Return whether a number is held, here or by another user."""
        if number in self._held:
            return True
        file = self._open(makes=False)
        if file is None:
            return False
        is_free = self._lock(file, fcntl.F_RDLCK, number)
        if is_free:
            self._lock(file, fcntl.F_UNLCK, number)
        return not is_free

    def is_alone(self) -> bool:
        """Return whether no other user holds any number; if so, none can before `close`."""
        return self._file is not None and self._lock(self._file, fcntl.F_WRLCK, 0, length=0)

    def renew(self) -> None:
        """Make the file again, with what is held here, when it was deleted."""
        if self._file is None or self._is_in_place(self._file):
            return
        self._shut()
        file = self._open(makes=True) if self._held else None
        if file is not None:
            for number in self._held:
                self._lock(file, fcntl.F_WRLCK, number)

    def close(self) -> None:
        """Let go of all that is held, and delete the file unless others hold something."""
        if self._file is not None:
            with suppress(OSError, DatabaseError):
                if self.is_alone() and self._is_in_place(self._file):
                    self.path.unlink()
        self._held.clear()
        self._shut()

    def _open(self, *, makes: bool) -> int | None:
        """Return the open file; without `makes`, None when there is none: then no lock is held."""
        if self._file is not None and (self._held or self._is_in_place(self._file)):
            return self._file
        self._shut()
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if makes else 0)
        try:
            self._file = os.open(self.path, flags, 0o600)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                raise DatabaseError(f"{self.path}: cannot be opened ({error.strerror})") from error
            if makes:
                raise DatabaseError(f"{self._database}: the directory does not exist") from error
            return None
        self._share_rights(self._file)
        return self._file

    def _shut(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None

    def _is_in_place(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), self.path.lstat())
        except FileNotFoundError:
            return False

    def _share_rights(self, file: int) -> None:
        """Let all those use the file who may write the database, as SQLite does for its log."""
        with suppress(OSError):
            database = self._database.stat()
            os.fchmod(file, database.st_mode & 0o666)
            if os.geteuid() == 0:
                os.fchown(file, database.st_uid, database.st_gid)

    def _lock(self, file: int, kind: int, number: int, length: int = 1) -> bool:
        """Lock some bytes, or with `F_UNLCK` unlock them; return False when another user holds one."""
        try:
            if _OF_OPEN_FILE is None:
                how = {fcntl.F_WRLCK: fcntl.LOCK_EX, fcntl.F_RDLCK: fcntl.LOCK_SH}.get(kind)
                fcntl.lockf(file, how | fcntl.LOCK_NB if how else fcntl.LOCK_UN, length, number)
            else:
                # `struct flock`: kind, whence, first byte, length, process.
                fcntl.fcntl(file, _OF_OPEN_FILE, struct.pack("hhqqi4x", kind, os.SEEK_SET, number, length, 0))
        except (BlockingIOError, PermissionError):
            return False
        except OSError as error:
            raise DatabaseError(f"{self.path}: cannot be locked ({error.strerror})") from error
        return True
