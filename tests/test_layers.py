"""Who may import whom, as tables, and a walk over the imports that holds the code to them.

Imports go downwards.  What a layer allows among its own modules is part of the table: `IN_ORDER`
lets a module import those listed before it, a mapping names each permitted pair, and an empty
mapping permits none.  Nothing is imported here, only parsed, so a broken module breaks its own
tests and not these.  A new module fails until it has a place in the table: choosing the place is
the design decision.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

ROOT = Path(__file__).resolve().parent.parent

IN_ORDER: Literal["in order"] = "in order"
Sideways = Mapping[str, frozenset[str]] | Literal["in order"]


def names(text: str) -> frozenset[str]:
    """Split a list of names written as prose."""
    return frozenset(text.split())


IMPURE = names("trio time socket logging asyncio threading secrets random")
"""What decides does not do: it is handed `now` and a `Random`, and returns what is to be done."""

DATABASE = names("sqlite3 sqlite_utils")


@dataclass(frozen=True, slots=True)
class Layer:
    """Hold the modules of one layer, the layers below it, and the rules within it."""

    name: str
    modules: tuple[str, ...]
    below: frozenset[str]
    sideways: Sideways
    forbidden: frozenset[str] = frozenset()


DHTNODE = (
    Layer(
        "values",
        (
            "ids",
            "addresses",
            "secure_ids",
            "compact",
            "identity",
            "errors",
            "settings",
            "config",
            "bencoding",
            "bloom",
            "magnet",
            "clients",
            "signatures",
            "items",
            "metainfo",
        ),
        below=names(""),
        sideways={
            "addresses": names("ids"),
            "secure_ids": names("ids addresses"),
            "compact": names("ids addresses"),
            "identity": names("ids addresses secure_ids"),
            "config": names("addresses settings"),
            "errors": names("addresses"),  # a failed query says whom it went to
            "magnet": names("ids errors"),
            "items": names("ids bencoding signatures"),
            "metainfo": names("ids bencoding errors"),
        },
        forbidden=IMPURE,
    ),
    Layer(
        "protocol",
        ("messages", "malformed", "methods", "krpc", "queries"),
        below=names("values"),
        sideways=IN_ORDER,
        forbidden=IMPURE,
    ),
    Layer(
        "state",
        (
            "bucket",
            "distrust",
            "partition",
            "routing",
            "candidates",
            "parts",
            "lookup",
            "external",
            "timing",
            "tokens",
            "peers",
            "limits",
            "listing",
            "sources",
            "admission",
            "traffic",
            "quick",
            "evidence",
            "extension",
            "occupancy",
            "recapture",
            "captures",
            "roles",
            "estimates",
            "agreement",
            "trust",
            "transactions",
            "samples",
            "item_store",
            "responder",
            "shared",
            "results",
            "watch",
            "status",
        ),
        below=names("values protocol"),
        sideways={
            "distrust": names("bucket"),
            "partition": names("bucket"),
            "routing": names("bucket distrust partition"),
            "lookup": names("candidates parts"),
            "peers": names("listing samples"),
            "admission": names("limits sources"),
            "transactions": names("sources"),
            "quick": names("routing peers tokens sources"),  # as responder, which it abbreviates
            "item_store": names("limits"),
            "responder": names("routing peers tokens item_store"),  # an answer is made of what all hold
            "shared": names("routing peers tokens item_store admission"),
            "extension": names("captures evidence"),
            "recapture": names("occupancy"),
            "captures": names("evidence occupancy recapture"),
            "roles": names("evidence occupancy"),
            "trust": names("agreement evidence"),
            "estimates": names("captures evidence occupancy recapture roles"),
            "results": names("bucket estimates evidence peers item_store"),
            "watch": names("results"),
            "status": names("results watch"),
        },
        forbidden=IMPURE,
    ),
    Layer(
        "I/O",
        (
            "nurseries",
            "elapsed",
            "udp",
            "ways_in",
            "rpc",
            "bulk",
            "traverse",
            "snapshot",
            "endpoint",
            "maintain",
            "families",
            "walks",
            "scraping",
            "storing",
            "stream",
            "node",
            "opening",
            "blocking",
            "local",
            "notify",
            "canary",
            "metrics",
        ),
        below=names("values protocol state"),
        sideways=IN_ORDER,
    ),
    Layer(
        "surface",
        (
            "testnet",
            "testing",
            "__init__",
            "console",
            "logs",
            "daemon",
            "cli_ask",
            "cli_items",
            "cli_testnet",
            "cli_daemon",
            "cli",
            "__main__",
        ),
        below=names("values protocol state I/O"),
        sideways=IN_ORDER,
    ),
)

CRAWLER = (
    Layer(
        "values",
        (
            "settings",
            "records",
            "zone",
            "exclusion",
            "area",
            "sample_records",
            "metadata_records",
            "watch_records",
            "synthetic/settings",
            "synthetic/crc32c",
            "synthetic/kinds",
        ),
        below=names(""),
        sideways=IN_ORDER,
        forbidden=IMPURE | DATABASE,
    ),
    Layer(
        "peer wire",  # what is said to peers, without a connection
        (
            "peerwire/__init__",
            "peerwire/frames",
            "peerwire/handshake",
            "peerwire/pieces",
            "peerwire/extension",
            "peerwire/assembly",
            "peerwire/conversation",
        ),
        below=names("values"),
        sideways=IN_ORDER,
        forbidden=IMPURE | DATABASE,
    ),
    Layer(
        "decisions",
        (
            *("contact_queue", "frontier", "politeness", "visits"),
            *("distributions", "network_size", "namings", "tally", "sybils", "discovery", "second_opinion"),
            *("schedule", "known_nodes", "node_cache", "probes", "asked_node", "inquiry", "evidence_rows"),
            *("verdict", "combining", "sessions", "weibull", "keyspace"),
        ),
        below=names("values"),
        sideways={
            "frontier": names("contact_queue"),
            "network_size": names("distributions"),
            "namings": names("network_size"),
            "tally": names("frontier network_size"),
            "sybils": names("distributions network_size"),
            "discovery": names("distributions network_size"),
            "node_cache": names("known_nodes"),
            "inquiry": names("known_nodes probes asked_node visits"),
            "verdict": names("asked_node inquiry evidence_rows"),
            "sessions": names("distributions"),
            "weibull": names("distributions sessions"),
            "keyspace": names("network_size"),
        },
        forbidden=IMPURE | DATABASE,
    ),
    Layer(
        "model",  # of a network, for tests and benchmarks; what crawls does not know it
        (
            "synthetic/population",
            "synthetic/presence",
            "synthetic/tables",
            "synthetic/swarms",
            "synthetic/sampling",
            "synthetic/announced",
            "synthetic/replies",
            "synthetic/exchange",
            "synthetic/liars",
            "synthetic/hostile",
            "synthetic/network",
        ),
        below=names("values"),
        sideways=IN_ORDER,
        forbidden=IMPURE | DATABASE,
    ),
    Layer(
        "truth",
        ("synthetic/truth",),
        below=names("values model"),
        sideways=IN_ORDER,
        forbidden=names("trio socket"),
    ),
    Layer(
        "service",
        ("synthetic/server", "synthetic/memory", "synthetic/planted"),
        below=names("values model"),
        sideways={"synthetic/planted": names("synthetic/memory")},
    ),
    Layer(
        "storage",  # beside the decisions, not above them: it knows tables, not networks
        (
            *("views", "swarm_views", "history_views", "sample_views", "metadata_tables", "report_views"),
            *("rollups", "vantages", "schema", "column_texts", "node_texts", "swarm_texts"),
            *("descriptions", "run_nodes", "sample_rows", "swarm_rows", "known_rows", "watch_rows"),
            *("purge", "metadata_rows", "store", "reading", "merge_rules", "merge_source", "rounds"),
        ),
        below=names("values"),
        sideways=IN_ORDER,
        forbidden=names("trio socket"),
    ),
    Layer(
        "findings",  # what is decided from what is stored
        ("sizes", "alarms", "findings", "explain"),
        below=names("values decisions storage"),
        sideways=IN_ORDER,
        forbidden=IMPURE | DATABASE,
    ),
    Layer(
        "I/O",
        (
            *("writer", "progress", "session", "walk", "verification", "engine", "census"),
            *("sampling", "holders", "sample_survey", "whereabouts", "surveying"),
            *("watch_list", "watching", "demo", "peer_talk", "swarm_peers", "fetching"),
            *("combined_rows", "merging"),
        ),
        below=names("values decisions storage findings").union({"peer wire"}),
        sideways=IN_ORDER,
    ),
    Layer(
        "surface",
        (
            "example",
            "plots",
            "__init__",
            "synthetic/__init__",
            "cli_synthetic",
            "cli_crawls",
            "cli_census",
            "cli_sample",
            "cli_metadata",
            "cli_watch",
            "cli_purge",
            "cli_scrape",
            "cli_explain",
            *(
                "reports/answer",
                "reports/nodes",
                "reports/sizes",
                "reports/costs",
                "reports/watched",
                "reports/__init__",
            ),
            *("rendering", "anonymous", "table_files", "export", "cli_report", "cli_export"),
            "cli_merge",
            "cli_example",
            *("browse/__init__", "browse/scales", "browse/drawing", "browse/plots", "browse/queries"),
            *("browse/metadata", "browse/connection", "browse/pages", "browse/site", "browse/serving"),
            "cli_browse",
            "cli",
            "__main__",
            "synthetic/__main__",
        ),
        below=names("values decisions model truth service storage findings I/O"),
        sideways=IN_ORDER,
    ),
)

PACKAGES = {"dhtnode": DHTNODE, "crawler": CRAWLER}

MAY_OPEN_SOCKETS = names(
    "dhtnode.udp dhtnode.testing dhtnode.local dhtnode.notify crawler.synthetic/server crawler.browse/serving"
)
"""The real socket, the network that stands in for it, and those that never leave this machine."""

MAY_IMPORT_BY_NAME = names("dhtnode.__init__")
"""By the table `_HOMES`, which is read here like a list of imports."""

PUBLIC_MODULES = names("testing console")
"""What the crawler may use of dhtnode beside the names in `dhtnode.__all__`."""


Sources = dict[str, str]
"""Module names as in the tables ("ids", "__init__") and the text of each."""


@dataclass(frozen=True, slots=True)
class Import:
    """Hold one import: the module named, and the name taken out of it, if any."""

    module: str
    name: str | None
    line: int

    def dotted(self) -> str:
        """Return the longest name the import could mean."""
        return f"{self.module}.{self.name}" if self.name else self.module


def imports(package: str, source: str) -> Iterator[Import]:
    """Find all imports, those inside functions, `if TYPE_CHECKING` and the table `_HOMES` included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, None, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # The packages are flat, so a relative import can only start at the package.
            module = ".".join(filter(None, (package if node.level else "", node.module)))
            yield from (Import(module, alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES":
            for module, public in ast.literal_eval(node.value).items():
                yield from (Import(f"{package}.{module}", name, node.lineno) for name in public)
        elif isinstance(node, ast.Name) and node.id == "__import__":
            yield Import("importlib", "__import__", node.lineno)


def module_meant(package: str, found: Import, modules: frozenset[str]) -> str | None:
    """Return which module of the package an import means, or None if it is from elsewhere."""
    top, *rest = found.module.split(".")
    if top != package:
        return None
    path = "/".join(rest)
    for meant in (f"{path}/{found.name}", path, f"{path}/__init__"):
        if rest and meant in modules:
            return meant
    if rest:
        return rest[0]
    return found.name if found.name in modules else "__init__"


def allowed(layers: tuple[Layer, ...], module: str) -> frozenset[str]:
    """Return the modules of the same package that the table lets a module import."""
    layer = next(layer for layer in layers if module in layer.modules)
    below = {name for other in layers if other.name in layer.below for name in other.modules}
    if layer.sideways == IN_ORDER:
        return frozenset(below.union(layer.modules[: layer.modules.index(module)]))
    return frozenset(below | layer.sideways.get(module, frozenset()))


def is_impure(found: Import, forbidden: frozenset[str]) -> bool:
    """Tell whether an import is forbidden; the type `random.Random` never is."""
    return found.module.split(".")[0] in forbidden and found.dotted() != "random.Random"


def opens_sockets(found: Import) -> bool:
    """Tell whether an import is of a module that makes sockets."""
    return found.dotted().split(".")[0] == "socket" or found.dotted().startswith("trio.socket")


def imports_by_name(found: Import) -> bool:
    """Tell whether an import is of what imports modules that no statement names."""
    return found.module.split(".")[0] in {"importlib", "runpy"}


def wrong_imports(package: str, sources: Sources) -> list[str]:
    """Return one sentence for each import that the tables do not allow."""
    layers = PACKAGES[package]
    modules = frozenset(name for layer in layers for name in layer.modules).union(sources)
    wrong = []
    for layer in layers:
        for module in layer.modules:
            for found in imports(package, sources.get(module, "")):
                where = f"{package}/{module}.py:{found.line} imports {found.dotted()}"
                meant = module_meant(package, found, modules)
                if meant is not None and meant not in allowed(layers, module):
                    wrong.append(f"{where}, and {module} ({layer.name}) may not import {meant}")
                if is_impure(found, layer.forbidden):
                    wrong.append(f"{where}, which {layer.name} modules do without")
                if opens_sockets(found) and f"{package}.{module}" not in MAY_OPEN_SOCKETS:
                    wrong.append(f"{where}, and sockets are opened in udp.py only")
                if imports_by_name(found) and f"{package}.{module}" not in MAY_IMPORT_BY_NAME:
                    wrong.append(f"{where}, which hides what is imported")
                if package == "dhtnode" and found.module.split(".")[0] == "crawler":
                    wrong.append(f"{where}, and dhtnode does not know the crawler")
    return wrong


def misplaced_modules(package: str, found: list[str]) -> list[str]:
    """Return one sentence for each module that is not listed exactly once."""
    listed = [name for layer in PACKAGES[package] for name in layer.modules]
    return [
        f"{package}/{module}.py is in {listed.count(module)} layers: give it one place in {package.upper()}, "
        "the table at the top of tests/test_layers.py"
        for module in found
        if listed.count(module) != 1
    ]


def public_names(source: str) -> frozenset[str]:
    """Read `__all__` out of the text of a package's `__init__`."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return frozenset(ast.literal_eval(node.value))
    return frozenset()


def private_uses(source: str, public: frozenset[str]) -> Iterator[str]:
    """Return each name of dhtnode that a text uses without it being public."""
    reachable = public | PUBLIC_MODULES | {"__version__"}
    used = [found.dotted().split(".")[:3] for found in imports("crawler", source)]
    used += [
        [node.value.id, node.attr]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    ]
    for top, *rest in used:
        if top == "dhtnode" and rest:
            private = rest[0] not in reachable or any(part.startswith("_") for part in rest[1:])
            if private:
                yield ".".join((top, *rest))


def sources_of(package: str) -> Sources:
    """Read all modules of a package; one in a sub-package is named with a slash."""
    folder = ROOT / package
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*.py"))
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_has_one_place_in_the_table(package):
    """A module that nobody placed in a layer is a decision that nobody took."""
    assert misplaced_modules(package, list(sources_of(package))) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_tables_name_only_layers_and_modules_that_they_list(package):
    """A misspelt name in a table would permit nothing and be noticed by nobody."""
    layers = PACKAGES[package]
    modules = {name for layer in layers for name in layer.modules}
    rules = [layer.sideways for layer in layers if layer.sideways != IN_ORDER]

    used = {name for rule in rules for module, others in rule.items() for name in (module, *others)}

    assert used <= modules
    for number, layer in enumerate(layers):
        assert layer.below <= {lower.name for lower in layers[:number]}


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_down_the_layers(package):
    """Values know nothing, protocol knows values, and so on; what decides does no I/O."""
    assert wrong_imports(package, sources_of(package)) == []


def test_crawler_uses_only_public_names_of_dhtnode():
    """If the crawler needs a private name, that is a finding about our public API."""
    public = public_names(sources_of("dhtnode")["__init__"])

    private = {module: list(private_uses(text, public)) for module, text in sources_of("crawler").items()}

    assert {module: used for module, used in private.items() if used} == {}


@pytest.mark.parametrize(
    ("package", "module", "text"),
    [
        ("dhtnode", "ids", "from dhtnode.addresses import Address"),  # upwards among values
        ("dhtnode", "ids", "from .addresses import Address"),
        ("dhtnode", "bloom", "from dhtnode.ids import NodeId"),  # sideways, and not listed
        ("dhtnode", "peers", "from dhtnode import tokens"),
        ("dhtnode", "lookup", "def f():\n    from dhtnode.rpc import Rpc"),  # hidden in a function
        ("dhtnode", "rpc", "import dhtnode.node"),
        ("dhtnode", "lookup", "if TYPE_CHECKING:\n    from dhtnode.rpc import Rpc"),
        ("dhtnode", "__init__", '_HOMES = {"ids": ("NodeId",), "console": ("run",)}'),
        ("dhtnode", "node", "from importlib import import_module"),
        ("dhtnode", "node", "import importlib.util"),
        ("dhtnode", "node", "def f():\n    return __import__('crawler')"),
        ("dhtnode", "node", "from dhtnode import open_node"),  # the surface, from below
        ("dhtnode", "node", "import crawler.store"),
        ("dhtnode", "timing", "import time"),
        ("dhtnode", "peers", "import random"),
        ("dhtnode", "peers", "from random import choice"),
        ("dhtnode", "krpc", "import logging.handlers"),
        ("dhtnode", "rpc", "import socket"),
        ("dhtnode", "node", "from trio import socket"),
        ("dhtnode", "node", "import trio.socket"),
        ("crawler", "frontier", "import sqlite3"),
        ("crawler", "politeness", "from crawler.frontier import Frontier"),
        ("crawler", "store", "from crawler.frontier import Frontier"),
        ("crawler", "engine", "from crawler.census import take"),
        ("crawler", "engine", "from crawler.synthetic.network import Network"),
        ("crawler", "engine", "from crawler.synthetic import network"),
        ("crawler", "engine", "import crawler.synthetic"),
        ("crawler", "synthetic/tables", "from crawler.synthetic.network import Network"),
        ("crawler", "synthetic/tables", "import time"),
        ("crawler", "synthetic/truth", "import trio"),
    ],
)
def test_wrong_import_is_noticed(package, module, text):
    """The walk finds each kind of mistake it is there for, once."""
    assert len(wrong_imports(package, {module: text})) == 1


@pytest.mark.parametrize(
    ("package", "module", "text"),
    [
        ("dhtnode", "addresses", "from dhtnode.ids import NodeId"),
        ("dhtnode", "krpc", "from dhtnode import bencoding, messages"),
        ("dhtnode", "responder", "from dhtnode.tokens import TokenIssuer"),
        ("dhtnode", "peers", "from random import Random"),
        ("dhtnode", "udp", "import socket, trio.socket, random, time"),
        ("dhtnode", "cli", "import dhtnode"),
        ("dhtnode", "local", "import socket"),
        ("dhtnode", "cli", "def f():\n    import trio\n    from dhtnode.opening import open_node"),
        ("dhtnode", "__init__", 'from importlib import import_module\n_HOMES = {"node": ("Node",)}'),
        ("crawler", "engine", "import trio\nfrom crawler import frontier, writer"),
        ("crawler", "synthetic/network", "from crawler.synthetic import replies"),
        ("crawler", "synthetic/server", "import socket\nfrom crawler.synthetic.network import Network"),
    ],
)
def test_right_import_is_let_through(package, module, text):
    """The walk does not cry wolf."""
    assert wrong_imports(package, {module: text}) == []


def test_table_of_public_names_is_read():
    """Each is imported twice: for type checkers, and by the table when it is asked for."""
    source = sources_of("dhtnode")["__init__"]

    found = [each.dotted() for each in imports("dhtnode", source) if each.module.startswith("dhtnode.")]

    public = public_names(source) - {"__version__"}
    assert sorted(name.rpartition(".")[2] for name in found) == sorted([*public, *public])


def test_unlisted_module_is_noticed():
    """A module without a place fails, in a sub-package too, and the message says what to do."""
    assert misplaced_modules("crawler", ["store", "__init__"]) == []
    assert [text.split(":")[0] for text in misplaced_modules("crawler", ["extra", "sub/store"])] == [
        "crawler/extra.py is in 0 layers",
        "crawler/sub/store.py is in 0 layers",
    ]


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("import dhtnode\ndhtnode.open_node()\ndhtnode.__version__", []),
        ("from dhtnode import open_node, testing", []),
        ("import dhtnode.testing\nfrom dhtnode.testing import MemoryNetwork", []),
        ("from dhtnode import krpc", ["dhtnode.krpc"]),
        ("from dhtnode.krpc import encode", ["dhtnode.krpc.encode"]),
        ("import dhtnode.krpc", ["dhtnode.krpc"]),
        ("import dhtnode\ndhtnode.krpc.encode", ["dhtnode.krpc"]),
        ("from dhtnode import *", ["dhtnode.*"]),
        ("from dhtnode.testing import _hidden", ["dhtnode.testing._hidden"]),
    ],
)
def test_private_name_is_noticed(text, private):
    """Public is what `__all__` lists, the version, and the module for tests."""
    public = public_names('"""Doc."""\n__all__ = ["open_node"]\n')

    assert list(private_uses(text, public)) == private
