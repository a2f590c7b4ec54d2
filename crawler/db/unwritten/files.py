"""Files of rows that a process could not write: one each, taken in by the next process that writes.

The rows are records as they are written (`Record`), pickled; reading makes values of their classes and
nothing else, so that no file can have anything run.
"""

import os
import pickle
import secrets
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from crawler.db.connection import DatabaseError
from crawler.db.records.infohash_samples import NodeSample, SampleBatch
from crawler.db.records.records import CrawlBatch, Journal, Visit
from crawler.db.records.torrents import HandshakeBatch, Handshakes, HybridTorrent, KnownTorrent, PexCounts
from crawler.db.records.trackers import SweepBatch, TrackerSweep
from dhtnode import Address, Family, InfoHash, NodeId, SwarmEstimate, SwarmMeasurement
from dhtnode.krpc import ScrapeFilter
from dhtnode.outcomes import Outcome
from dhtnode.swarm import MethodEstimate, Observation
from dhtnode.trackers import TrackerUrl

MARK = "-unwritten-"  # in the name of each, behind that of the database

_CLASSES = (
    *(Visit, Journal, CrawlBatch, NodeSample, SampleBatch, Handshakes, KnownTorrent, HandshakeBatch),
    *(HybridTorrent, PexCounts, TrackerSweep, SweepBatch, TrackerUrl),
    *(SwarmMeasurement, SwarmEstimate, MethodEstimate, Observation, ScrapeFilter),
    *(Address, Family, InfoHash, NodeId, Outcome),
)
_BY_NAME = {(each.__module__, each.__qualname__): each for each in _CLASSES}


@dataclass(frozen=True, slots=True)
class HandedOver:
    """Records of a run, and how many journals the run had written before."""

    run_id: int
    journals: int
    records: Sequence[Any]


class _Reader(pickle.Unpickler):
    """A reader of our values that knows no other class and no function."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of our classes; raises `UnpicklingError` for anything else."""
        try:
            return _BY_NAME[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is no value of a row") from None


def write(database: str, handed: HandedOver) -> Path | None:
    """Write a file beside a database or, where there is no room, in the directory for temporary files.

    Returns where it is, whole and on the disk, or None where neither has room.
    """
    beside = Path(os.path.realpath(database))
    content = pickle.dumps((handed.run_id, handed.journals, list(handed.records)), protocol=5)
    name = f"{beside.name}{MARK}{secrets.token_hex(4)}"
    for folder in (beside.parent, Path(tempfile.gettempdir())):
        part = folder / f".{name}"
        with suppress(OSError):
            try:
                _write_whole(part, content)
                return part.rename(folder / name)
            finally:
                part.unlink(missing_ok=True)
    return None


def waiting(database: str) -> list[Path]:
    """Return the files that wait beside a database."""
    beside = Path(os.path.realpath(database))
    return sorted(beside.parent.glob(f"{_literally(beside.name)}{MARK}*"))


def read(path: Path) -> HandedOver | None:
    """Read a file, or return None when another process has taken it in.  Raises `DatabaseError`."""
    try:
        return HandedOver(*_Reader(BytesIO(path.read_bytes())).load())
    except FileNotFoundError:
        return None
    # Whatever a damaged pickle comes to: its errors are of many kinds, and say what the file has them say.
    except Exception as error:
        reason = "holds rows that cannot be read, damaged or of another version; move it away"
        raise DatabaseError(f"{path}: {reason}") from error


def _write_whole(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _literally(name: str) -> str:
    """Return a pattern that matches a name alone."""
    return "".join(f"[{each}]" if each in "*?[" else each for each in name)
