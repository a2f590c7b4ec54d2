"""The names of clients, by the two letters with which they begin their `v` key and peer id (BEP 20).

Data keep the letters; what people read has the name.  Both can be forged.
"""

# BEP 20, and letters seen in the `v` of DHT messages and in peer ids.  `LT` and `lt` are two clients.
_TABLE = """
    A2 aria2, AG Ares, AR Arctic, AV Avicora, AX BitPump, AZ Vuze, BB BitBuddy, BC BitComet, BF Bitflu,
    BG BTG, BI BiglyBT, BP BitTorrent Pro, BR BitRocket, BS BTSlave, BT BitTorrent, BX BitTorrent X,
    CD Enhanced CTorrent, CT CTorrent, DE Deluge, DN dhtnode, DP Propagate Data Client, EB EBit,
    ES electric sheep, FD Free Download Manager, FT FoxTorrent, FW FrostWire, FX Freebox BitTorrent,
    GS GSTorrent, HL Halite, HN Hydranode, JC jech/dht, KG KGet, KT KTorrent, LH LH-ABC, LP Lphant,
    LR LibreTorrent, LT libtorrent, LW LimeWire, MO MonoTorrent, MP MooPolice, MR Miro, MT MoonlightTorrent,
    NX Net Transport, PD Pando, QD QQDownload, QT Qt 4 Torrent example, RS pubky mainline, RT Retriever,
    SB Swiftbit, SD Thunder, SS SwarmScope, ST SymTorrent, SZ Shareaza, TL Tribler, TN TorrentDotNET,
    TR Transmission, TS Torrentstorm, TT TuoTu, UL uLeecher!, UM uTorrent Mac, UT uTorrent, UW uTorrent Web,
    VG Vagaa, WD WebTorrent Desktop, WT BitLet, WW WebTorrent, WY FireTorrent, XF Xfplay, XL Xunlei,
    XT XanTorrent, XX Xtorrent, ZO Zona, ZT ZipTorrent, lt rTorrent, ml mldht, qB qBittorrent, st sharktorrent
"""

CLIENT_NAMES = {entry[:2]: entry[3:] for entry in map(str.strip, _TABLE.split(","))}
"""The name of each client by its letters, as its users know it; no two have one name."""

SILENT_SEEDS = frozenset({"TR", "A2", "lt"})
"""The clients that were seen to announce without `seed` (BEP 33), whether they seed or not."""

# What a client calls itself, where its users call it something else.
_OWN_WORDS = {"libTorrent": "lt", "Azureus": "AZ"}
_BY_NAME = _OWN_WORDS | {name.replace("/", " "): letters for letters, name in CLIENT_NAMES.items()}
_BY_FOLDED = {name.casefold(): letters for name, letters in _BY_NAME.items()}
_MICRO_SIGNS = str.maketrans("\N{MICRO SIGN}\N{GREEK SMALL LETTER MU}/", "uu ")


def client_name(letters: str) -> str:
    """Return the name of a client by its letters; what is not in the table, as it is."""
    return CLIENT_NAMES.get(letters, letters)


def letters_of_version(version: bytes) -> str | None:
    """Return the letters with which a `v` key begins, None when it does not begin with two (BEP 20).

    What follows them is ignored: every client packs its numbers differently.
    """
    letters = version[:2]
    return letters.decode("ascii") if len(letters) == 2 and letters.isalnum() else None


def letters_of_name(name: str) -> str | None:
    """Return the letters of a client by the name and version that it gives (BEP 10), None if unknown.

    `aria2/1.36.0` and `uTorrent Mac 1.8.7` are as good as the names alone.
    """
    words = name.translate(_MICRO_SIGNS).split()
    for end in range(len(words), 0, -1):
        start = " ".join(words[:end])
        # rTorrent says `libTorrent`, and Rasterbar's library `libtorrent`.
        if letters := _BY_NAME.get(start) or _BY_FOLDED.get(start.casefold()):
            return letters
    return None
