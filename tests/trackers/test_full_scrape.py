"""All that a tracker has, read entry by entry: whole in whatever parts it comes, and bounded."""

from contextlib import suppress
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode.bencode import encode
from dhtnode.trackers.full_scrape import MAX_ENTRY, FullScrapeReader
from dhtnode.trackers.messages import Outcome, SwarmCounts, TrackerError

ENTRIES = {
    Random(number).randbytes(20): {b"complete": number, b"incomplete": 2 * number, b"downloaded": 7}
    for number in range(200)
}


def answer(files=ENTRIES, **others):
    return encode({b"files": files} | {key.encode(): value for key, value in others.items()})


def read(data, size=1 << 20):
    reader, found = FullScrapeReader(), []
    for at in range(0, len(data), size):
        found += reader.feed(data[at : at + size])
    found += reader.close()
    return dict(found), reader.malformed


@pytest.mark.parametrize("size", [1, 7, 69, 1000, 1 << 20])
def test_entries_are_whole_in_whatever_parts_they_come(size):
    found, malformed = read(answer(aaa=5, flags={b"min_request_interval": 9}, zzz=[1, [b"x"]]), size)
    assert malformed == 0
    assert found == {
        info_hash: SwarmCounts(entry[b"complete"], entry[b"incomplete"], 7)
        for info_hash, entry in ENTRIES.items()
    }


def test_entries_with_more_or_less_in_them_are_read_too():
    files = {
        b"a" * 20: {b"complete": 1, b"incomplete": 2, b"name": b"xe:" * 20, b"downloaders": 1},
        b"b" * 20: {b"complete": b"12"},
        b"c" * 20: {b"complete": -1},
        b"d" * 20: [1],
        b"e" * 19: {b"complete": 1},
        b"f" * 20: {b"complete": 3, b"downloaded": 1 << 40, b"incomplete": 0},
        b"g" * 20: {b"complete": 1, b"downloaded": 9_999_999_999, b"incomplete": 0},
    }
    found, malformed = read(answer(files), 5)
    assert found == {b"a" * 20: SwarmCounts(1, 2, None, 1), b"b" * 20: SwarmCounts(12, 0)}
    assert malformed == 5


@pytest.mark.parametrize("size", [1, 1000])
def test_keys_that_are_text_are_read_as_bytes(size):
    """So bittorrent-tracker writes them."""
    key = bytes(range(0xE0, 0xF4))
    found, malformed = read(
        answer({key.decode("latin-1").encode(): {b"complete": 1, b"incomplete": 2}}), size
    )
    assert (found, malformed) == ({key: SwarmCounts(1, 2)}, 0)


def test_entry_that_comes_byte_by_byte_is_not_read_again_for_each(monkeypatch):
    reads, read_all = [], FullScrapeReader._read
    monkeypatch.setattr(FullScrapeReader, "_read", lambda self: reads.append(1) or read_all(self))
    found, _ = read(
        answer({b"a" * 20: {b"complete": 1, b"x": [1] * 20 + [b"y"] * 10, b"z": b"z" * 20_000}}), 1
    )
    assert (set(found), len(reads) < 200) == ({b"a" * 20}, True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"d",
        b"de",
        b"i5e",
        b"d5:filesle",
        b"d5:filesi5ee",
        answer()[:-1],
        b"di5e5:filesdee",
        b"d5:files99999:x",
        b"\x1f\x8b",
    ],
)
def test_what_is_no_answer_is_refused(data):
    with pytest.raises(TrackerError) as caught:
        read(data)
    assert caught.value.outcome is Outcome.MALFORMED


def test_a_failure_is_told():
    with pytest.raises(TrackerError) as caught:
        read(encode({b"failure reason": b"not here"}))
    assert (caught.value.outcome, caught.value.reason) == (Outcome.REFUSED, "not here")


@pytest.mark.parametrize(
    "endless",
    [b"d5:filesd20:" + b"a" * 20 + b"d" + b"4:abcdi5e" * 99999, b"d5:filesd" + b"l" * 999, b"d" + b"1" * 99],
)
def test_what_has_no_end_is_not_kept(endless):
    reader = FullScrapeReader()
    with pytest.raises(TrackerError):
        for at in range(0, len(endless), 1000):
            reader.feed(endless[at : at + 1000])
            assert len(reader._buffer) <= 2 * MAX_ENTRY + 1000


@given(st.binary(max_size=200), st.integers(0, 14000), st.integers(1, 900))
def test_anything_else_is_an_error_or_an_answer(noise, at, size):
    data = answer()
    with suppress(TrackerError):
        read(data[:at] + noise + data[at + len(noise) :], size)
