"""The names of torrents from clients that others wrote, six torrents at one host."""

import json

import pytest

from tests.namespaces import in_a_namespace, run_unshared
from tests.real_clients.naming_clients import CLIENTS, SIZES

pytestmark = [pytest.mark.slow, pytest.mark.real_clients]


def installed(name, client):
    is_missing = pytest.mark.skipif(client.missing is not None, reason=f"{client.missing} is not installed")
    return pytest.param(name, marks=is_missing)


@in_a_namespace
@pytest.mark.parametrize("name", [installed(*each) for each in CLIENTS.items()])
def test_host_of_six_torrents_gives_all_their_names(name):
    """But one: rTorrent 0.9.8 sends an empty last part where the size is a multiple of 16 KiB."""
    done = run_unshared("tests.real_clients.naming_clients", name)

    assert done.returncode == 0, done.stderr
    never = CLIENTS[name].never_sends
    assert json.loads(done.stdout) == [[size not in never, 1, {}] for size in SIZES]
