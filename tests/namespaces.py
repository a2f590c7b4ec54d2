"""Network namespaces of a test's own, in which nothing leaves: where any address may be given to loopback."""

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
UNSHARED = ("unshare", "--user", "--map-root-user", "--net")


@cache
def can_unshare() -> bool:
    """Tell whether this machine lets us make a network namespace and configure it."""
    if sys.platform != "linux" or shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    probe = [*UNSHARED, "ip", "link", "set", "lo", "up"]
    return subprocess.run(probe, check=False, capture_output=True).returncode == 0


in_a_namespace = pytest.mark.skipif(not can_unshare(), reason="cannot make a network namespace here")


def run_unshared(module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a module in a network namespace of its own, and return what it printed."""
    command = [*UNSHARED, sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
