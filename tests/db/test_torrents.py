"""What peers told, in the database: one row a time, nothing of private torrents, names that can be read."""

import json
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.cli.metadata import fetched_text
from crawler.db.database import CrawlDatabase
from crawler.db.records.torrents import (
    MAX_NAME,
    HandshakeBatch,
    KnownTorrent,
    PeerKind,
    PeerReport,
    PiecesHeld,
    SwarmContact,
    clean_name,
    known_of,
)
from crawler.torrents.fetch import Fetched
from crawler.torrents.seed_share import KEPT_PEERS, draw_fairly, handshakes_of, share_interval
from dhtnode import Address, InfoHash
from dhtnode.torrents import TorrentInfo

INFO_HASH = InfoHash(b"h" * 20)
EARLY, LATE = "2024-01-01T00:00:00.000Z", "2024-01-02T00:00:00.000Z"
INFO = TorrentInfo("a\nb", INFO_HASH, None, False, 5000, 2, 3)
SEED, LEECHER, UNKNOWN = PeerKind


def report(kind, **more):
    return PeerReport(PiecesHeld(kind, None, None), upload_only=False, client="LT", **more)


CONTACT = SwarmContact(
    INFO_HASH,
    INFO,
    peers_named=20,
    peers_tried=9,
    reports=(
        report(SEED, extensions=frozenset({"ut_pex"})),
        report(SEED),
        PeerReport(
            PiecesHeld(LEECHER, 1, 4),
            True,
            "qB",
            superseed_score=2.0,
            has_version_2=True,
            extensions=frozenset({"lt_donthave", "ut_pex"}),
        ),
        report(UNKNOWN),
    ),
    closed=4,
    failures={"connection refused": 5, "not the BitTorrent protocol": 6},
    bytes_sent=500,
    bytes_received=900,
    in_both_families=2,
)


@pytest.fixture
def store(tmp_path):
    with CrawlDatabase.open(tmp_path / "crawl.db") as opened:
        assert opened.runs.begin("metadata", {}, "0", EARLY) == 1
        yield opened


def test_row_says_what_peers_said(store):
    store.write(1, [HandshakeBatch("given", handshakes_of(CONTACT, EARLY), known_of(INFO))])

    low, _ = share_interval(2, 3)
    assert store.rows("swarm_handshakes") == [
        {
            "id": 1,
            "run_id": 1,
            "info_hash": INFO_HASH.hex(),
            "taken_at": EARLY,
            "peers_named": 20,
            "peers_tried": 9,
            "peers_answered": 4,
            "seeds": 2,
            "leechers": 1,
            "unknown": 1,
            "upload_only": 1,
            "partial_seeds": 1,
            "superseeds": 1,
            "superseed_score": 2.0,
            "seeds_high": 3,
            "seed_share": 2 / 3,
            "seed_share_low": low,
            "seed_share_high": share_interval(3, 3)[1],
            "median_share": 1.0,
            "lt_donthave": 1,
            "holepunch": 0,
            "pex": 2,
            "version_2": 1,
            "lt_tex": 0,
            "tracker_lists": 0,
            "trackers_named": 0,
            "trackers_kept": 0,
            "closed": 4,
            "refused": 5,
            "other_protocol": 6,
            "in_both_families": 2,
            "clients": json.dumps({"LT": 3, "qB": 1}),
            "bytes_sent": 500,
            "bytes_received": 900,
        }
    ]
    assert store.rows("torrents") == [
        {
            "info_hash": INFO_HASH.hex(),
            "run_id": 1,
            "fetched_at": EARLY,
            "is_private": 0,
            "name": r"a\nb",
            "size": 5000,
            "files": 2,
            "pieces": 3,
        }
    ]
    assert store.metadata.known(INFO_HASH) == known_of(INFO)
    assert [row["name"] for row in store.rows("swarms")] == [r"a\nb"]
    assert [(row["name"], row["seeds"]) for row in store.rows("torrent_swarms")] == [(r"a\nb", 2)]


def test_torrent_without_a_name_is_known_all_the_same(store):
    nameless = known_of(replace(INFO, name=""))
    store.write(1, [HandshakeBatch("given", handshakes_of(CONTACT, EARLY), nameless)])
    assert store.metadata.known(INFO_HASH) == nameless == KnownTorrent(False, None, 5000, 2, 3)
    assert store.metadata.missing(10) == []
    assert fetched_text(Fetched(INFO_HASH, nameless, None)).startswith(
        f"{INFO_HASH.hex()} without a name, 5000 bytes in 2 files"
    )


def test_of_a_private_torrent_only_that_it_is_private_is_written(store):
    private = known_of(replace(INFO, is_private=True))
    store.write(1, [HandshakeBatch("given", handshakes_of(CONTACT, EARLY), private)])
    assert private == KnownTorrent(is_private=True)
    assert store.rows("swarm_handshakes") == []
    assert [tuple(row.values()) for row in store.rows("torrents")] == [
        (INFO_HASH.hex(), 1, EARLY, 1, None, None, None, None)
    ]
    assert store.metadata.known(INFO_HASH) == private
    assert store.metadata.missing(10) == []


def test_handshakes_are_a_time_series_and_the_torrent_stays(store):
    """What was known is not overwritten; the view has the newest."""
    store.write(1, [HandshakeBatch("given", handshakes_of(CONTACT, EARLY), known_of(INFO))])
    none_left = SwarmContact(INFO_HASH, None, 0, 0, ())
    store.write(1, [HandshakeBatch("given", handshakes_of(none_left, LATE), known_of(INFO))])
    rows = store.rows("swarm_handshakes")
    assert [(row["taken_at"], row["seed_share"], row["seed_share_low"]) for row in rows] == [
        (EARLY, 2 / 3, share_interval(2, 3)[0]),
        (LATE, None, None),
    ]
    assert [row["fetched_at"] for row in store.rows("torrents")] == [EARLY]
    assert [row["taken_at"] for row in store.rows("torrent_swarms")] == [LATE]


def test_missing_names_are_those_never_tried_first(store):
    hashes = [InfoHash(bytes([number]) * 20) for number in range(5)]

    def write(number, taken_at, torrent=None):
        contact = replace(CONTACT, info_hash=hashes[number], info=None)
        store.write(1, [HandshakeBatch("given", handshakes_of(contact, taken_at), torrent)])

    write(0, LATE)
    write(1, EARLY)
    write(2, LATE, known_of(INFO))
    store.connection.execute(
        "INSERT INTO swarms (info_hash, first_seen, last_seen) VALUES (?, ?, ?)",
        (hashes[4].hex(), EARLY, EARLY),
    )

    assert store.metadata.missing(10) == [hashes[4], hashes[1], hashes[0]]
    assert store.metadata.missing(1) == [hashes[4]]


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        (0, 0, None, None),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (1, 1, 0.2065, 1.0),
    ],
)
def test_share_has_the_interval_of_wilson(hits, trials, low, high):
    assert share_interval(hits, trials) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


@given(st.integers(1, 500).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_interval_holds_the_share(counts):
    low, high = share_interval(*counts)
    assert 0 <= low <= counts[0] / counts[1] <= high <= 1
    assert low < high


# Any code point: `st.text()` would first spend seconds on its table of them.
@given(st.lists(st.integers(0, 0x10FFFF), max_size=300).map(lambda codes: "".join(map(chr, codes))))
def test_name_that_is_stored_can_be_printed(name):
    cleaned = clean_name(name)
    assert len(cleaned) <= 10 * MAX_NAME
    assert cleaned.splitlines() in ([cleaned], [])
    assert all(character >= " " and character != "\x7f" for character in cleaned)


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("a.iso", "a.iso"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("gpj.\N{RIGHT-TO-LEFT OVERRIDE}exe", r"gpj.\u202eexe"),
        ("a\N{LINE SEPARATOR}b\x85c", r"a\u2028b\x85c"),
        ("\N{GRINNING FACE}\N{ZERO WIDTH JOINER}x", "\N{GRINNING FACE}\N{ZERO WIDTH JOINER}x"),
        ("x" * 1000, "x" * MAX_NAME),
        ("", ""),
    ],
)
def test_name_is_cleaned(name, cleaned):
    assert clean_name(name) == cleaned


def test_node_that_names_many_has_no_more_say():
    flood = [Address(f"198.51.{number // 250}.{number % 250}", 6881) for number in range(2000)]
    honest = [Address(f"203.0.113.{number}", 6881) for number in range(50)]
    drawn = draw_fairly([flood, honest, honest[:10], []], Random(1))
    assert len(drawn) == len(set(drawn)) == KEPT_PEERS == 200
    assert set(honest) <= set(drawn)
