"""Files that a user names: endless ones, silent pipes, and texts as programs save them."""

import errno
import os
import threading
from pathlib import Path

import pytest

from dhtnode.daemon import ConfigError, parse_file
from dhtnode.daemon.config import MAX_FILE
from dhtnode.files import read_file, text_of, write_new

LINE = "5d41402abc4b2a76b9719d911017c592aabbccdd"

needs_fifo = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")


def test_file_is_read_whole_or_up_to_the_bound(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 10_000)
    assert read_file(path, 10_000_000) == path.read_bytes()
    assert read_file(str(path), 1000) == path.read_bytes()[:1000]


def test_endless_file_ends_at_the_bound():
    assert read_file("/dev/zero", 5000) == bytes(5000)


@needs_fifo
def test_pipe_that_nothing_is_written_to_is_an_error(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match=r"nothing is written to it for 0\.01 s"):
        read_file(tmp_path / "fifo", 100, patience=0.01)


@needs_fifo
def test_pipe_is_read_to_its_end(tmp_path):
    """As that of `--config <(...)`; here its writer comes later than its reader."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(b"x" * 200_000))
    writer.start()
    assert read_file(path, 1_000_000, patience=300) == b"x" * 200_000
    writer.join()


@pytest.mark.parametrize(
    ("name", "number"),
    [("missing", errno.ENOENT), ("x" * 5000, errno.ENAMETOOLONG), (".", errno.EISDIR)],
)
def test_what_cannot_be_read_is_an_error(tmp_path, name, number):
    with pytest.raises(OSError) as error:
        read_file(tmp_path / name, 100)
    assert error.value.errno == number


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (LINE.encode(), LINE),
        (b"\xef\xbb\xbf" + LINE.encode(), LINE),
        (LINE.encode("utf-16"), LINE),
        (b"\xfe\xff" + LINE.encode("utf-16-be"), LINE),
        (b"dn=caf\xe9\n" + LINE.encode(), f"dn=caf\ufffd\n{LINE}"),
        ("\u4e2d".encode(), "\u4e2d"),
        (b"", ""),
    ],
)
def test_text_is_read_as_programs_save_it(data, text):
    assert text_of(data) == text


def test_settings_may_begin_with_a_byte_order_mark():
    assert parse_file(b"\xef\xbb\xbfport = 1\n") == {"port": 1}


def test_endless_settings_are_one_error():
    with pytest.raises(ConfigError, match=f"longer than {MAX_FILE} bytes"):
        parse_file(b"\0" * (MAX_FILE + 1))


def test_path_with_a_nul_is_an_error():
    with pytest.raises(ValueError, match="null"):
        read_file(Path("a\0b"), 100)


@pytest.fixture(params=["unnamed files", "none"])
def file_system(request, monkeypatch):
    """Some file systems have files without a name, which get one when they are whole."""
    if request.param == "none":
        monkeypatch.delattr(os, "O_TMPFILE")


@pytest.mark.usefixtures("file_system")
def test_new_file_is_for_its_owner_alone_and_replaces_nothing(tmp_path):
    path = tmp_path / "new"
    write_new(path, b"first")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        write_new(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("file_system")
def test_file_that_cannot_be_written_whole_is_not_there(tmp_path, monkeypatch):
    def fail(_number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_new(str(tmp_path / "new"), b"content")
    assert list(tmp_path.iterdir()) == []


def test_new_file_has_no_name_before_it_is_whole(tmp_path, monkeypatch):
    names = []
    monkeypatch.setattr(os, "fsync", lambda _number: names.extend(tmp_path.iterdir()))
    write_new(tmp_path / "new", b"content")
    assert names == []
    assert (tmp_path / "new").read_bytes() == b"content"
