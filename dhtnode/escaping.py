"""Text of strangers in one line that shows what is in it: on terminals, in logs, in files."""

import unicodedata

_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))  # general categories of Unicode
_JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"  # part of words in Persian and Hindi


def escaped(text: str) -> str:
    r"""Return a text in which all that does not print is escaped as in Python: `\x1b`, `\n`, `\u202e`.

    That is control characters, line ends, what turns the direction of writing or is invisible, and lone
    surrogates; so the result is one line, and a terminal or a reader of logs takes it for nothing else.
    Escaped again it stays as it is.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if unicodedata.category(character) in _HIDDEN and character not in _JOINERS:
        return character.encode("unicode_escape").decode("ascii")
    return character
