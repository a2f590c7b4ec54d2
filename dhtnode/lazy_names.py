"""Public names of a package, imported from their modules when they are first used."""

from __future__ import annotations

import sys

# As in `typing`, whose import would cost more than all the rest of `import dhtnode`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def names_of_stub(
    package: str, file: str
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package, given its `__name__` and `__file__`.

    The stub beside `__init__.py` tells a type checker the same.  It has a line per name:
    `from .module import name as name`, or `from . import module as module`.
    """
    with open(file + "i", encoding="utf-8") as stub:  # noqa: PTH123  pathlib is slow to import
        lines = [line.split() for line in stub if line.startswith("from .")]
    homes = {words[-1]: words[1] for words in lines}

    def get(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        is_module = homes[name] == "."
        module = f"{package}.{name}" if is_module else package + homes[name]
        __import__(module)
        value = sys.modules[module] if is_module else getattr(sys.modules[module], name)
        vars(sys.modules[package])[name] = value
        return value

    return get, lambda: sorted({*vars(sys.modules[package]), *homes}), list(homes)
