"""The program at the other end, as the `v` key has it (BEP 5, BEP 20); it can be forged."""


def format_version(version: bytes | None) -> str | None:
    """Return `v` for people: two letters and the version bytes in hex, or plain hex, or None.

    `LT` is libtorrent, `DN` this program, `JC` jech's library, `ml` mldht, and so on.
    """
    if not version:
        return None
    letters, rest = version[:2], version[2:]
    if len(letters) == 2 and letters.isalnum() and letters.isascii():
        return f"{letters.decode()} {rest.hex()}".strip()
    return version.hex()
