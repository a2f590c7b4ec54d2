"""Clients that know the gateway only download from a seed of the DHT, and the other way round."""

import json
import shutil

import pytest

from tests.namespaces import in_a_namespace, run_unshared
from tests.real_clients.gateway_clients import CLIENTS

pytestmark = [pytest.mark.slow, pytest.mark.real_clients, in_a_namespace]


def installed(name, protocol):
    is_missing = pytest.mark.skipif(not shutil.which(name), reason=f"{name} is not installed")
    return pytest.param(name, protocol, marks=is_missing)


@pytest.mark.parametrize(
    ("name", "protocol"),
    [
        ("libtorrent", "udp"),
        # aria2 asks no UDP tracker while its DHT is off.
        *(installed(name, "udp") for name in CLIENTS if name != "aria2c"),
        *(installed(name, "http") for name in CLIENTS),
        ("behind", "udp"),
    ],
)
def test_whole_file_comes_through_the_gateway(name, protocol):
    done = run_unshared("tests.real_clients.gateway_clients", name, protocol)

    assert done.returncode == 0, done.stderr
    (seconds,) = json.loads(done.stdout)["seconds"]
    assert seconds is not None
