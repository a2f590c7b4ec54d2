"""What a node remembers between runs: its ids and the contacts in its tables, as one JSON file.

The file is replaced in one step, so that it holds either the old state or the new one whatever
happens.  A file that cannot be understood is set aside under another name, never overwritten.
"""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dhtnode.addresses import Address, Contact, Family, normalize_host, parse_address
from dhtnode.errors import StateFileError
from dhtnode.ids import ID_BYTES, NodeId

logger = logging.getLogger(__name__)

FORMAT = "dhtnode state"
VERSION = 3
MAX_CONTACTS = 2000  # per family; a table holds a few hundred


@dataclass(frozen=True, slots=True)
class SavedState:
    """What is saved: the node's id at each address that it listens on, and contacts."""

    node_ids: Mapping[Address, NodeId]
    contacts: tuple[Contact, ...] = ()

    def contacts_of(self, family: Family) -> list[Contact]:
        """Return the contacts of one family."""
        return [contact for contact in self.contacts if contact.address.family is family]


def load_state(path: Path) -> SavedState | None:
    """Return the saved state, or None when there is none that can be used.

    A damaged or newer file is renamed, with a warning.  Raises `StateFileError` when the file
    cannot be read or renamed at all.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateFileError(f"cannot read {path}: {error.strerror}") from error
    try:
        return _parse(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        aside = _set_aside(path)
        logger.warning("%s is no state of this version (%s); moved to %s", path, error, aside)
        return None


def save_state(path: Path, state: SavedState) -> None:
    """Write the state and swap it in for the old one; blocks for the time of an fsync.

    Raises `StateFileError`; the old file is then as it was.
    """
    draft = path.with_name(path.name + ".new")
    text = json.dumps(
        {
            "format": FORMAT,
            "version": VERSION,
            "node_ids": {str(address): node_id.hex() for address, node_id in state.node_ids.items()},
            "contacts": [
                {"node_id": each.node_id.hex(), "host": each.address.host, "port": each.address.port}
                for family in Family
                for each in state.contacts_of(family)[:MAX_CONTACTS]
            ],
        },
        indent=1,
    )
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise StateFileError(f"cannot write {path}: {error.strerror}") from error


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
        path.rename(aside)
    except OSError as error:
        raise StateFileError(f"cannot move {path} aside: {error.strerror}") from error
    return aside
