"""A tracker leads us into no special network: not by its name, nor by a redirect, whatever was typed."""

import json

import pytest

from tests.namespaces import in_a_namespace, run_unshared


@in_a_namespace
@pytest.mark.slow
def test_nothing_reaches_networks_that_are_none_of_a_trackers_business():
    """Real sockets, at a public address; traps listen where it leads."""
    done = run_unshared("tests.tracker_client.public_trackers")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["trapped"] == []
    assert (len(found["redirected"]), set(found["redirected"])) == (20, {"not-public"})
    assert (len(found["named"]), set(found["named"])) == (30, {"not-public"})
