"""The documents: what they link to is there, and the reference is that of commands and tables."""

import importlib.util
import re
from pathlib import Path

import pytest

from dhtnode import NodeSettings
from dhtnode.daemon.local_socket import MAX_CLIENTS
from dhtnode.lookup.candidates import MAX_CANDIDATES
from dhtnode.net.external_address import MAX_VOTES
from dhtnode.net.round_trips import WINDOW
from dhtnode.node.state_file import MAX_CONTACTS
from dhtnode.routing.changed_ids import MAX_HOSTS
from dhtnode.server.sources import MAX_SOURCES

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "notebooks").glob("*.md")])
LINK = re.compile(r"\[[^]\n]*\]\((?P<target>[^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def load_generator():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def links_of(document):
    text = FENCED.sub("", document.read_text(encoding="utf-8"))
    return [found["target"] for found in LINK.finditer(text)]


def anchors_of(document):
    headings = re.findall(r"^#+ +(.*)$", FENCED.sub("", document.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


CONSTANTS = {
    "hosts that changed their ids": MAX_HOSTS,
    "votes on our address": MAX_VOTES,
    "sources of packets": MAX_SOURCES,
    "candidates of one lookup": MAX_CANDIDATES,
    "round trips remembered": WINDOW,
    "contacts in the state file": MAX_CONTACTS,
    "clients of the status socket": MAX_CLIENTS,
}
SETTINGS = {
    "nodes in the routing table": "bucket_size",
    "queries in flight": "max_pending",
    "candidates of one lookup": "lookup_query_limit",
    "info-hashes with peers": "max_swarms",
    "peers of one info-hash": "max_peers_per_swarm",
    "peers in all": "max_peers",
    "peers of one address": "max_peers_per_host",
    "peers of one network": "max_peers_per_network",
    "items of one network": "max_items_per_network",
    "items, all sockets": "max_items",
    "bytes of items": "max_item_bytes",
    "items of one address": "max_items_per_host",
}


def bound(name):
    """Return the second cell of the row in docs/reference/node.md that begins so."""
    text = (ROOT / "docs" / "reference" / "node.md").read_text(encoding="utf-8")
    rows = text.partition("## What it may take")[2].partition("\n## ")[0]
    (cell,) = re.findall(rf"^\| {name}[^|]*\| ([^|]*) \|", rows, re.MULTILINE)
    return cell


@pytest.mark.parametrize("name", CONSTANTS)
def test_constant_is_the_bound_in_its_row(name):
    assert re.match(rf"{CONSTANTS[name]}\b", bound(name))


@pytest.mark.parametrize("name", SETTINGS)
def test_setting_is_the_bound_in_its_row(name):
    value = getattr(NodeSettings(), SETTINGS[name])
    assert re.search(rf"`{SETTINGS[name]}`, ({value}|{value:,})\b", bound(name))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_relative_links_lead_to_files(document):
    for link in links_of(document):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_the_web_are_encrypted(document):
    """Nothing is fetched over plain HTTP by following a link."""
    schemes = {link.partition(":")[0] for link in links_of(document) if re.match(r"[a-z]+:", link)}
    assert schemes <= {"https"}


def test_links_are_found():
    assert "docs/explanation/swarm_size.md" in links_of(ROOT / "README.md")


def test_reference_of_commands_is_up_to_date():
    generator = load_generator()
    assert generator.REFERENCE.read_text(encoding="utf-8") == generator.reference()


def test_reference_of_tables_is_up_to_date():
    generator = load_generator()
    assert generator.TABLE_REFERENCE.read_text(encoding="utf-8") == generator.table_reference()


def test_reference_of_tables_names_every_column():
    generator = load_generator()
    text = generator.table_reference()
    for table in generator.TABLES.values():
        section = text.partition(f"## {table.name}\n")[2].partition("\n## ")[0]
        assert re.findall(r"^\| `(\w+)`", section, re.MULTILINE) == [each.name for each in table.columns]


def test_reference_of_commands_names_every_option():
    generator = load_generator()
    text = generator.reference()
    for group in (generator.dhtnode, generator.dhtcrawl):
        for name, command in group.commands.items():
            section = (
                text.partition(f"### {group.name} {name}\n")[2].partition("\n### ")[0].partition("\n## ")[0]
            )
            options = {
                option for parameter in command.params for option in parameter.opts if option[0] == "-"
            }
            assert options <= set(re.findall(r"--?[a-z0-9-]+", section)), name
