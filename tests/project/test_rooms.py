"""Imports between packages go downwards only; what decides imports nothing that does."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

FLOORS = {  # packages of one floor do not import each other; "." are the modules beside the packages
    "dhtnode": (
        ".",
        "krpc",
        "routing lookup swarm trackers torrents",
        "server",
        "gateway net",
        "node tracker_client pcap",
        "api",
        "gateway_server",
        "daemon testing",
        "cli",
    ),
    "crawler": (
        ".",
        "analysis db",
        "core",
        "crawl infohashes swarms torrents trackers reports",
        "api browse synthetic",
        "demo",
        "cli",
    ),
}
PURE = [
    *(f"dhtnode/{room}" for room in ("krpc", "routing", "lookup", "swarm", "trackers", "torrents")),
    *(f"dhtnode/{room}" for room in ("server", "gateway")),
    "crawler/analysis",
]
IMPURE = {"trio", "socket", "time", "logging", "asyncio", "threading", "secrets"}
MODULES = sorted(
    path.relative_to(ROOT)
    for product in FLOORS
    for path in (ROOT / product).rglob("*.py")
    if path.parent != ROOT / product or path.stem not in {"__init__", "__main__"}
)


def room_of(parts: tuple[str, ...]) -> str:
    """Return the package within the product, or "." for a module beside the packages."""
    return parts[1] if len(parts) > 1 and (ROOT / parts[0] / parts[1]).is_dir() else "."


def imports_of(module: Path) -> Iterator[str]:
    """Yield the dotted names that a module imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_go_down(module: Path) -> None:
    product, here = module.parts[0], room_of(module.parts)
    floor = {room: level for level, rooms in enumerate(FLOORS[product]) for room in rooms.split()}
    for name in imports_of(module):
        parts = tuple(name.split("."))
        if parts[0] == product and (there := room_of(parts)) != here and len(parts) > 1:
            assert floor[there] < floor[here], f"{module} imports {name}, which is not below it"
        assert not (product == "dhtnode" and parts[0] == "crawler"), f"{module} knows the crawler"
        if product == "crawler" and parts[0] == "dhtnode":
            assert len(parts) <= 3, f"{module} reaches into {name}: import from the package"
        if "/".join(module.parts[:2]) in PURE:
            assert parts[0] not in IMPURE, f"{module} decides, and imports {name}"
