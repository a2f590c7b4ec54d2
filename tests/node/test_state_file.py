"""The state file: it comes back as it was, and nothing that can happen to it is made worse."""

import errno
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode.addresses import Address, Contact, Family
from dhtnode.errors import StateFileError
from dhtnode.node.state_file import MAX_CONTACTS, SavedState, StateFile, load_state, save_state
from tests.strategies import addresses, ids

ROOT = Path(__file__).parents[2]
ALICE = Contact(b"a" * 20, Address("8.8.8.8", 6881))
BOB = Contact(b"b" * 20, Address("2a00::1", 6882))
HERE, THERE, HERE6 = Address("127.0.0.1", 1), Address("127.0.0.2", 1), Address("::1", 2)
IDS = {HERE: b"n" * 20, THERE: b"o" * 20, HERE6: b"m" * 20}
STATE = SavedState(IDS, (ALICE, BOB))

CONTACTS = st.builds(Contact, ids(), addresses().filter(lambda address: address.port > 0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "node.json"


def document(**changes: Any) -> dict[str, Any]:
    """Return what a good file holds, with some of it changed; None takes a key away."""
    fields = {
        "format": "dhtnode state",
        "version": 3,
        "node_ids": {"127.0.0.1:1": "6e" * 20, "127.0.0.2:1": "6f" * 20, "[::1]:2": "6d" * 20},
        "contacts": [{"node_id": "61" * 20, "host": "8.8.8.8", "port": 6881}],
    }
    return {key: value for key, value in (fields | changes).items() if value is not None}


def with_id(digits: Any, address: str = "127.0.0.1:1", **changes: Any) -> str:
    return json.dumps(document(node_ids={address: digits}, **changes))


def with_contact(**changes: Any) -> str:
    entry = {"node_id": "61" * 20, "host": "8.8.8.8", "port": 6881} | changes
    return json.dumps(document(contacts=[{key: value for key, value in entry.items() if value is not None}]))


DAMAGED = {
    "cut short": json.dumps(document())[:-20],
    "binary": "\0\0\0\0",
    "a list": "[]",
    "a number": "1",
    "a text": '"dhtnode state"',
    "nothing": "null",
    "deeply nested": "[" * 100_000,
    "a very long number": "9" * 5000,
    "another program's": json.dumps(document(format="something else")),
    "no format": json.dumps(document(format=None)),
    "newer": json.dumps(document(version=4)),
    "older": json.dumps(document(version=2)),
    "no version": json.dumps(document(version=None)),
    "no ids": json.dumps(document(node_ids=None)),
    "no id among the ids": json.dumps(document(node_ids={})),
    "ids as list": json.dumps(document(node_ids=["6e" * 20])),
    "id at a name": with_id("6e" * 20, "localhost:1"),
    "id at a host without a port": with_id("6e" * 20, "127.0.0.1"),
    "id too short": with_id("6e" * 19),
    "id too long": with_id("6e" * 21),
    "id that is no hex": with_id("zz" * 20),
    "id with gaps": with_id("6e" + " " * 38),
    "id as number": with_id(5),
    "no contacts": json.dumps(document(contacts=None)),
    "contacts as mapping": json.dumps(document(contacts={})),
    "contact as text": json.dumps(document(contacts=["8.8.8.8:6881"])),
    "contact without id": with_contact(node_id=None),
    "contact without host": with_contact(host=None),
    "contact without port": with_contact(port=None),
    "contact with a name": with_contact(host="localhost"),
    "contact with host as number": with_contact(host=134744072),
    "contact with port 0": with_contact(port=0),
    "contact with port 65536": with_contact(port=65536),
    "contact with port as text": with_contact(port="6881"),
    "contact with port as fraction": with_contact(port=6881.5),
    "contact with id with gaps": with_contact(node_id="61" + " " * 38),
}


def test_state_comes_back_as_it_was_saved(path: Path) -> None:
    save_state(path, STATE)
    loaded = load_state(path)
    assert loaded == STATE
    assert [loaded.contacts_of(family) for family in Family] == [[ALICE], [BOB]]


@given(st.dictionaries(addresses(), ids(), min_size=1), st.lists(CONTACTS, max_size=5))
def test_any_state_comes_back(
    tmp_path_factory: pytest.TempPathFactory, node_ids: dict, contacts: list
) -> None:
    path = tmp_path_factory.mktemp("state") / "node.json"
    by_family = sorted(contacts, key=lambda contact: contact.address.family)
    save_state(path, SavedState(node_ids, tuple(contacts)))
    assert load_state(path) == SavedState(node_ids, tuple(by_family))


def test_file_is_readable_by_people(path: Path) -> None:
    save_state(path, SavedState(IDS, (ALICE,)))
    assert json.loads(path.read_text()) == document()


def test_missing_file_is_no_state(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load_state(path) is None
    assert caplog.records == []


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_file_that_cannot_be_understood_is_set_aside(
    path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text(text)
    assert load_state(path) is None
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert [entry.name for entry in path.parent.iterdir()] == ["node.json.unreadable-1"]
    assert (path.parent / "node.json.unreadable-1").read_text() == text


def test_file_that_is_no_text_is_set_aside(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\xfd")
    assert load_state(path) is None
    assert (path.parent / "node.json.unreadable-1").read_bytes() == b"\xff\xfe\xfd"


def test_files_set_aside_do_not_overwrite_each_other(path: Path) -> None:
    for text in ("first", "second", "third"):
        path.write_text(text)
        load_state(path)
    aside = {entry.name: entry.read_text() for entry in path.parent.iterdir()}
    assert aside == {
        "node.json.unreadable-1": "first",
        "node.json.unreadable-2": "second",
        "node.json.unreadable-3": "third",
    }


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_failed_write_leaves_the_old_state(path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    save_state(path, STATE)
    before = path.read_bytes()
    with monkeypatch.context() as broken:
        break_write(broken, failing)
        with pytest.raises(StateFileError, match=r"cannot write .*No space left"):
            save_state(path, SavedState({HERE: b"x" * 20}))
    assert path.read_bytes() == before
    save_state(path, SavedState({HERE: b"x" * 20}))
    assert load_state(path) == SavedState({HERE: b"x" * 20})


def break_write(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def fail(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    owners: dict[str, Callable[[], object]] = {"fsync": lambda: os, "replace": lambda: Path}
    monkeypatch.setattr(owners[step](), step, fail)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the process that is killed is a fork")
def test_kill_at_any_moment_leaves_a_state() -> None:
    command = [sys.executable, "-m", "tests.killed_saves", "--kills", "200"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    seen = json.loads(done.stdout)
    assert seen["kills"] == 200
    assert seen["drafts"] > 0
    assert seen["wrong"] == []


def test_draft_of_a_killed_save_is_no_state(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    draft = path.with_name("node.json.new")
    draft.write_text('{"format": "dhtn')
    assert load_state(path) is None
    save_state(path, STATE)
    assert load_state(path) == STATE
    assert (draft.exists(), caplog.records) == (False, [])


def test_unreadable_file_is_an_error(path: Path) -> None:
    """What cannot be read cannot be judged, so it is not set aside."""
    path.mkdir()
    with pytest.raises(StateFileError, match="cannot read"):
        load_state(path)
    assert path.is_dir()


def test_missing_folder_is_an_error(path: Path) -> None:
    with pytest.raises(StateFileError, match=r"cannot use .*No such file"):
        save_state(path / "deeper" / "node.json", STATE)


def test_file_that_cannot_be_moved_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("damaged")

    def fail(*_args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(StateFileError, match=r"cannot move .*Permission denied"):
        load_state(path)
    assert path.read_text() == "damaged"


def test_number_of_contacts_is_bounded_per_family(path: Path) -> None:
    many = [Contact(b"a" * 20, Address("8.8.8.8", 1 + n)) for n in range(MAX_CONTACTS + 5)]
    save_state(path, SavedState(IDS, (*many, BOB)))
    assert load_state(path) == SavedState(IDS, (*many[:MAX_CONTACTS], BOB))


def test_empty_file_is_no_state(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Such is made by `touch`, to be mounted into a container."""
    path.touch()
    assert load_state(path) is None
    assert (list(path.parent.iterdir()), caplog.records) == ([path], [])


def test_link_stays_one_and_the_file_is_written_where_it_is(path: Path) -> None:
    (path.parent / "volume").mkdir()
    path.symlink_to("volume/state")
    save_state(path, STATE)
    save_state(path, STATE)
    assert path.is_symlink()
    assert load_state(path.parent / "volume" / "state") == STATE
    assert sorted(entry.name for entry in path.parent.rglob("*")) == ["node.json", "state", "volume"]


def test_file_that_cannot_be_replaced_is_written_over(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that is mounted by itself; no draft is left."""
    save_state(path, STATE)
    number = path.stat().st_ino

    def fail(*_args: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", fail)
    small = SavedState({HERE: b"x" * 20})
    with StateFile(path) as file:
        file.save(small)
    assert load_state(path) == small
    assert (list(path.parent.iterdir()), path.stat().st_ino) == ([path], number)


@pytest.mark.skipif(os.geteuid() == 0, reason="for root every folder can be written to")
def test_file_in_a_folder_of_others_is_written_over(path: Path) -> None:
    save_state(path, STATE)
    path.parent.chmod(0o500)
    try:
        save_state(path, SavedState({HERE: b"x" * 20}))
        assert load_state(path) == SavedState({HERE: b"x" * 20})
    finally:
        path.parent.chmod(0o700)


def test_damaged_file_that_is_mounted_is_copied_aside(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("damaged")

    def fail(*_args: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "rename", fail)
    with StateFile(path) as file:
        assert file.load() is None
        file.save(STATE)
    assert (path.parent / "node.json.unreadable-1").read_text() == "damaged"
    assert load_state(path) == STATE


def test_second_node_on_one_file_is_refused(path: Path) -> None:
    """Also after the file was replaced or set aside, by its own name or by a link."""
    link = path.with_name("link")
    link.symlink_to(path)
    path.write_text("damaged")
    with StateFile(path) as file:
        for use in (lambda: None, file.load, lambda: file.save(STATE), lambda: file.save(STATE)):
            use()
            for name in (path, link):
                with pytest.raises(StateFileError, match=r"cannot use .*: another node that runs has it"):
                    StateFile(name)
    with StateFile(path) as file:
        assert file.load() == STATE


def test_node_that_does_not_start_leaves_no_file(path: Path) -> None:
    with StateFile(path):
        assert path.exists()
    assert list(path.parent.iterdir()) == []
    path.touch()
    with StateFile(path):
        pass
    assert path.exists()


def test_permissions_stay_and_are_for_the_owner_alone_at_first(path: Path) -> None:
    save_state(path, STATE)
    first = path.stat().st_mode & 0o777
    path.chmod(0o640)
    save_state(path, STATE)
    assert (first, path.stat().st_mode & 0o777) == (0o600, 0o640)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_fifo_is_refused_at_once(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(StateFileError, match="it is no regular file"):
        StateFile(path)


@pytest.mark.parametrize("name", ["x" * 5000, "nul\0", "/dev/null", "."])
def test_path_that_is_no_file_is_one_error(path: Path, name: str) -> None:
    with pytest.raises(StateFileError, match="cannot use"):
        StateFile(path.parent / name)
