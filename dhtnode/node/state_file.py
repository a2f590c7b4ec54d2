"""What a node remembers between runs: its ids and the contacts in its tables, as one JSON file.

The file is replaced in one step, so that it holds either the old state or the new one whatever
happens; where it cannot be replaced, as a file that is mounted by itself, it is written over.  A file
that cannot be understood is set aside under another name, never overwritten.
"""

import errno
import json
import logging
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dhtnode.addresses import Address, Contact, Family, normalize_host, parse_address
from dhtnode.errors import StateFileError
from dhtnode.ids import ID_BYTES, NodeId

logger = logging.getLogger(__name__)

FORMAT = "dhtnode state"
VERSION = 3
MAX_CONTACTS = 2000  # per family; a table holds a few hundred
MAX_BYTES = 10_000_000  # twenty times what so many contacts take
IRREPLACEABLE = frozenset((errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS))


@dataclass(frozen=True, slots=True)
class SavedState:
    """What is saved: the node's id at each address that it listens on, and contacts."""

    node_ids: Mapping[Address, NodeId]
    contacts: tuple[Contact, ...] = ()

    def contacts_of(self, family: Family) -> list[Contact]:
        """Return the contacts of one family."""
        return [contact for contact in self.contacts if contact.address.family is family]


class StateFile:
    """The state file of one node, locked: no other node may run under the same id.

    Links are followed, so that the file itself is written where it is.
    """

    def __init__(self, path: Path) -> None:
        """Lock the file, and make it if it is not there.

        Raises `StateFileError`, also when another node has it.
        """
        try:
            self.path = Path(os.path.realpath(path))
            self._fd, self._is_new = _open_locked(self.path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise StateFileError(f"cannot use {path}: {reason}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Of a node that has failed to start nothing stays.
        if self._is_new and not os.fstat(self._fd).st_size:
            with suppress(OSError):
                self.path.unlink()
        os.close(self._fd)

    def load(self) -> SavedState | None:
        """Return what `load_state` does, and keep the lock when that has set a file aside."""
        state = load_state(self.path)
        if state is None and not _is_at(self._fd, self.path):
            os.close(self._fd)
            self._fd, self._is_new = _open_locked(self.path)
        return state

    def save(self, state: SavedState) -> None:
        """Write the state and swap it in for the old one; blocks for the time of an fsync.

        Raises `StateFileError`; the old file is then as it was.
        """
        text = _text_of(state)
        try:
            with _draft_at(self.path, os.fstat(self._fd).st_mode) as (draft, file):
                _write_all(file, text)
                # Locked before it has the name, so that there is no moment at which it is not.
                _lock(file)
                draft.replace(self.path)
                os.close(self._fd)
                self._fd = os.dup(file)
        except OSError as error:
            if error.errno not in IRREPLACEABLE:
                raise StateFileError(f"cannot write {self.path}: {error.strerror}") from error
            self._write_over(text)

    def _write_over(self, text: bytes) -> None:
        try:
            file = os.open(self.path, os.O_WRONLY)
            try:
                _write_all(file, text)
            finally:
                os.close(file)
        except OSError as error:
            raise StateFileError(f"cannot write {self.path}: {error.strerror}") from error


def load_state(path: Path) -> SavedState | None:
    """Return the saved state, or None when there is none that can be used; an empty file is none.

    A damaged or newer file is renamed, with a warning.  Raises `StateFileError` when the file
    cannot be read or renamed at all.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateFileError(f"cannot read {path}: {error.strerror}") from error
    if not text:
        return None
    try:
        return _parse(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        aside = _set_aside(path)
        logger.warning("%s is no state of this version (%s); moved to %s", path, error, aside)
        return None


def save_state(path: Path, state: SavedState) -> None:
    """Write the state of a node that does not run; raises what `StateFile` does."""
    with StateFile(path) as file:
        file.save(state)


def _open_locked(path: Path) -> tuple[int, bool]:
    """Open and lock a file; return its descriptor, and whether it is new."""
    # Or a FIFO would keep us waiting.
    flags, is_new = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0), False
    while True:
        try:
            file = os.open(path, flags)
        except FileNotFoundError:
            file, is_new = os.open(path, flags | os.O_CREAT, 0o600), True
        try:
            _check_regular(file)
            _lock(file)
            is_there = _is_at(file, path)
        except BaseException:
            os.close(file)
            raise
        if is_there:
            return file, is_new
        # A node that has just saved has put another file in its place.
        os.close(file)


def _check_regular(file: int) -> None:
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise ValueError("it is no regular file")


def _lock(file: int) -> None:
    """Lock an open file, where there are such locks; raise `ValueError` when another process has it."""
    with suppress(ImportError):
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError("another node that runs has it; each needs a file of its own") from error
        except OSError as error:
            logger.debug("no lock on the state file: %s", error)


def _is_at(file: int, path: Path) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.fstat(file), path.stat())
    return False


@contextmanager
def _draft_at(path: Path, mode: int) -> Iterator[tuple[Path, int]]:
    """Open a file beside the other one, with its permissions, and remove it unless it has been renamed."""
    draft = path.with_name(path.name + ".new")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        if stat.S_IMODE(mode) != 0o600 and hasattr(os, "fchmod"):
            os.fchmod(file, stat.S_IMODE(mode))
        yield draft, file
    except OSError as error:
        if error.errno in IRREPLACEABLE:
            draft.unlink(missing_ok=True)
        raise
    finally:
        os.close(file)


def _write_all(file: int, text: bytes) -> None:
    """Write a file from its start to its end, through to the disk."""
    written = 0
    while written < len(text):
        written += os.write(file, text[written:])
    os.truncate(file, len(text))
    os.fsync(file)


def _text_of(state: SavedState) -> bytes:
    document = {
        "format": FORMAT,
        "version": VERSION,
        "node_ids": {str(address): node_id.hex() for address, node_id in state.node_ids.items()},
        "contacts": [
            {"node_id": each.node_id.hex(), "host": each.address.host, "port": each.address.port}
            for family in Family
            for each in state.contacts_of(family)[:MAX_CONTACTS]
        ],
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def _parse(document: dict[str, object]) -> SavedState:
    if document["format"] != FORMAT or document["version"] != VERSION:
        raise ValueError(f"format {document['format']!r}, version {document['version']!r}")
    listed = document["contacts"]
    if not isinstance(listed, list):
        raise TypeError("contacts is not a list")
    contacts = tuple(_parse_contact(entry) for entry in listed[: 2 * MAX_CONTACTS])
    return SavedState(_parse_ids(document), contacts)


def _parse_ids(document: dict[str, object]) -> dict[Address, NodeId]:
    listed = document["node_ids"]
    if not isinstance(listed, dict) or not listed:
        raise TypeError("node_ids is no mapping, or empty")
    return {parse_address(address): _parse_id(digits) for address, digits in listed.items()}


def _parse_contact(entry: dict[str, object]) -> Contact:
    host, port = entry["host"], entry["port"]
    if not isinstance(host, str) or not isinstance(port, int) or not 0 < port < 65536:
        raise ValueError(f"bad address {host!r} {port!r}")
    return Contact(_parse_id(entry["node_id"]), Address(normalize_host(host), port))


def _parse_id(digits: object) -> NodeId:
    node_id = bytes.fromhex(digits) if isinstance(digits, str) else b""
    if len(node_id) != ID_BYTES:
        raise ValueError(f"bad node id {digits!r}")
    return NodeId(node_id)


def _set_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.unreadable-{number}")).exists():
        number += 1
    try:
        try:
            path.rename(aside)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            # It is mounted by itself.
            shutil.copyfile(path, aside)
    except OSError as error:
        raise StateFileError(f"cannot move {path} aside: {error.strerror}") from error
    return aside
