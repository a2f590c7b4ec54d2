"""The names of clients: by letters, by the `v` of a DHT message, by what a client calls itself."""

import re

import pytest

from dhtnode.client_names import CLIENT_NAMES, client_name, letters_of_name, letters_of_version


def test_table_is_of_two_letters_and_one_name_each():
    assert [letters for letters in CLIENT_NAMES if not re.fullmatch("[0-9A-Za-z]{2}", letters)] == []
    assert len(set(CLIENT_NAMES.values())) == len(CLIENT_NAMES)
    assert all(re.fullmatch(r"\S[^,\n]*\S", name) and name.isascii() for name in CLIENT_NAMES.values())


@pytest.mark.parametrize(
    ("letters", "name"),
    [
        ("LT", "libtorrent"),
        ("lt", "rTorrent"),
        ("UT", "uTorrent"),
        ("ml", "mldht"),
        ("JC", "jech/dht"),
        ("A2", "aria2"),
        ("WD", "WebTorrent Desktop"),
        ("DN", "dhtnode"),
        ("Ut", "Ut"),
        ("unknown", "unknown"),
    ],
)
def test_client_is_known_by_its_letters(letters, name):
    assert client_name(letters) == name


@pytest.mark.parametrize(
    ("version", "letters"),
    [(b"LT\x02\x10", "LT"), (b"ml", "ml"), (b"L", None), (b"", None), (b"L\n12", None), (b"\xb5T12", None)],
)
def test_letters_begin_a_version(version, letters):
    assert letters_of_version(version) == letters


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        ("aria2/1.36.0", "A2"),
        ("qBittorrent v4.5.2", "qB"),
        ("deluge/2.0.3 libtorrent/2.0.8.0", "DE"),
        ("libtorrent/2.0.8.0", "LT"),
        ("libTorrent 0.13.8", "lt"),
        ("Azureus 5.7.6.0", "AZ"),
        ("\N{MICRO SIGN}Torrent 3.5.5", "UT"),
        ("\N{GREEK SMALL LETTER MU}Torrent Mac 1.8.7", "UM"),
        ("WebTorrent Desktop/0.24", "WD"),
        ("WebTorrent", "WW"),
        ("BitTorrent 7.10.5", "BT"),
        ("BitTorrential 1", None),
        ("Transmissionary", None),
        ("3.00 Transmission", None),
        ("", None),
        ("/ /", None),
    ],
)
def test_client_is_known_by_what_it_calls_itself(name, letters):
    assert letters_of_name(name) == letters


@pytest.mark.parametrize("letters", CLIENT_NAMES)
def test_every_name_leads_back_to_its_letters(letters):
    assert letters_of_name(f"{CLIENT_NAMES[letters]} 1.2") == letters
