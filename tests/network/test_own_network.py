"""A private network that the user names can be asked by every command."""

import pytest

from tests.namespaces import in_a_namespace, run_unshared

pytestmark = pytest.mark.slow


@in_a_namespace
def test_private_network_is_asked_when_the_user_names_it():
    done = run_unshared("tests.network.own_network")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
