"""Clients that others wrote, among our nodes: they join, announce, are found, counted and asked."""

import json
import shutil

import pytest

from tests.namespaces import in_a_namespace, run_unshared
from tests.real_clients.other_clients import CLIENTS, NAME, THEIR_PORT, THEIRS

pytestmark = [pytest.mark.slow, pytest.mark.real_clients]


def installed(name, client):
    is_missing = pytest.mark.skipif(not client.is_installed, reason=f"{client.program} is not installed")
    return pytest.param(name, marks=is_missing)


@in_a_namespace
@pytest.mark.parametrize("name", [installed(*each) for each in CLIENTS.items()])
def test_client_is_served_found_and_asked(name):
    done = run_unshared("tests.real_clients.other_clients", name)
    client = CLIENTS[name]

    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    # Where Wireshark is installed, it has read what was said.
    if shutil.which("tshark"):
        assert (result.pop("is_dissected"), result.pop("malformed")) == (True, [])
    assert result == {
        "found": [f"{THEIRS}:{THEIR_PORT}"],
        "counted": [1, 0] if client.says_seed else [0, 1],
        "is_a_node": True,
        "names": [NAME] if client.has_peers else [],
    }
