"""Commands in a private network that the user names, to be run in a network namespace of its own.

    unshare --user --map-root-user --net python -m tests.network.own_network

Prints what went wrong, one line each, and nothing else.
"""

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from tests.commands import Running, run_command

HOSTS = "192.168.77.1", "192.168.77.2"
NODE = f"{HOSTS[0]}:6881"
TARGET = "5d41402abc4b2a76b9719d911017c592aabbccdd"
ATTEMPTS = 60
ASKING = ("ping", NODE), ("find-node", TARGET, "--bootstrap", NODE)


def complaints():
    with ExitStack() as stack:
        first = stack.enter_context(Running("dhtnode", "run", "--listen", NODE, "--no-default-bootstrap"))
        first.read_line()
        second = stack.enter_context(Running("dhtnode", "run", "--port", "0", "--bootstrap", NODE))
        _, _, port = second.read_line().split()[1].rpartition(":")
        for name, *arguments in ASKING:
            for listen in ((), ("--listen", f"{HOSTS[1]}:0")):
                done = run_command("dhtnode", name, *arguments, *listen)
                if done.status or NODE not in done.stdout:
                    yield f"{name} {listen}: {done.stderr}"
        # The second is bound to all addresses, and has joined through one in a private network.
        for _ in range(ATTEMPTS):
            if f"{HOSTS[0]}:{port}" in run_command("dhtnode", *ASKING[1]).stdout:
                break
        else:
            yield "the node on all addresses has not joined"
        with tempfile.TemporaryDirectory() as folder:
            database = str(Path(folder) / "crawl.db")
            for command in (("census",), ("sample",)):
                done = run_command("dhtcrawl", *command, "--db", database, "--bootstrap", NODE)
                if done.status:
                    yield f"{command}: {done.stderr}"
        refused = run_command("dhtnode", "find-node", TARGET, "--listen", "127.0.0.1:0", "--bootstrap", NODE)
        if "not on loopback" not in refused.stderr:
            yield f"no reason is given: {refused.stderr}"


if __name__ == "__main__":
    lines = ["link set lo up", *(f"address add {host}/24 dev lo" for host in HOSTS)]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)
    found = list(complaints())
    click.echo("\n".join(found), nl=False)
    sys.exit(bool(found))
