"""Options of the benchmarks and their bounds; imported as a module, for `option.count("--nodes", 100)`."""

import argparse
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

Option: TypeAlias = tuple[str, dict[str, Any]]
"""The name of an option, and what argparse is told of it."""


def number(
    name: str,
    default: float,
    help_text: str = "",
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Option:
    """Return an option that takes a number of the type of its default, within bounds."""
    bounds = {"at least": at_least, "at most": at_most, "above": above, "below": below}
    return name, {
        "type": _bounded(type(default), bounds),
        "default": default,
        "help": help_text,
        "metavar": "N",
    }


def count(name: str, default: int, help_text: str = "", at_least: int = 1) -> Option:
    """Return an option that takes a number of things."""
    return number(name, default, help_text, at_least=at_least)


def share(
    name: str, default: float, help_text: str = "", *, at_most: float = 1.0, below: float = 2.0
) -> Option:
    """Return an option that takes a share, of 1 at most."""
    return number(name, default, f"share {help_text}", at_least=0.0, at_most=at_most, below=below)


def numbers(name: str, defaults: Sequence[float], help_text: str = "", **bounds: float) -> Option:
    """Return an option that takes numbers with commas between them, each within `at_least` and `at_most`."""
    one = _bounded(type(defaults[0]), {key.replace("_", " "): bound for key, bound in bounds.items()})
    help_text = f"{help_text}, with commas".removeprefix(", ")
    return name, {
        "type": lambda text: [one(part) for part in text.split(",")],
        "default": list(defaults),
        "help": help_text,
        "metavar": "N,...",
    }


def choice(name: str, choices: Collection[str], default: str, help_text: str) -> Option:
    """Return an option that takes one of the choices."""
    return name, {"choices": list(choices), "default": default, "help": help_text}


def names(name: str, choices: Collection[str], defaults: Iterable[str] | None = None) -> Option:
    """Return an option that takes some of the choices with commas between them, by default all."""

    def read(text: str) -> list[str]:
        found = text.split(",")
        if not set(found) <= set(choices) or len(set(found)) < len(found):
            raise argparse.ArgumentTypeError(f"choose from {','.join(choices)}")
        return found

    default = list(choices if defaults is None else defaults)
    return name, {"type": read, "default": default, "help": ",".join(choices), "metavar": "NAME,..."}


def flag(name: str, help_text: str) -> Option:
    """Return an option without a value; one that begins with `--no-` turns off what is on without it."""
    dest = name.removeprefix("--").removeprefix("no-").replace("-", "_")
    action = "store_false" if name.startswith("--no-") else "store_true"
    return name, {"dest": dest, "action": action, "help": help_text}


def hidden(name: str, kind: type = str) -> Option:
    """Return an option by which a benchmark runs a part of itself as a process of its own."""
    return name, {"type": kind, "help": argparse.SUPPRESS}


def _bounded(kind: type, bounds: dict[str, float | None]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = kind(text)
        for word, bound in bounds.items():
            if bound is not None and not _HOLDS[word](value, bound):
                raise argparse.ArgumentTypeError(f"{text} is not {word} {bound:g}")
        return value

    read.__name__ = kind.__name__  # by which argparse says what a text is not
    return read


_HOLDS: dict[str, Callable[[float, float], bool]] = {
    "at least": lambda value, bound: value >= bound,
    "at most": lambda value, bound: value <= bound,
    "above": lambda value, bound: value > bound,
    "below": lambda value, bound: value < bound,
}


def _checkout(text: str) -> Path:
    path = Path(text).resolve()
    if not (path / "dhtnode" / "__init__.py").is_file():
        raise argparse.ArgumentTypeError(f"{text} is no checkout of this project")
    return path


def _new_file(text: str) -> Path:
    if Path(text).exists():
        raise argparse.ArgumentTypeError(f"{text} is there already")
    return Path(text)


JSON: Option = "--json", {"type": Path, "metavar": "FILE", "help": "write the whole report there"}
AGAINST: Option = "--against", {"type": _checkout, "metavar": "PATH", "help": "measure that checkout too"}
KEPT: Option = "--db", {"type": _new_file, "metavar": "FILE", "help": "keep the database"}
SEED = number("--seed", 1)
LOSS = share("--loss", 0.02, "of datagrams lost, each way", below=1)
STALE = share("--stale", 0.3, "of contacts that never answer", below=0.95)
HOSTILE = share("--hostile", 0.0, "of nodes that lie", below=1)
CAPPED = share("--capped", 0.7, "of nodes that store 500 peers")
BEP33 = share("--bep33", 0.6, "of nodes with filters")
