"""Start installed commands as forks of one process, which has imported what they need.

Loading a command takes half a second of CPU, a fork takes a few milliseconds.  A fork runs the console
script that pip installed, or the module behind `python -m`, with pipes, signals and an exit status of its
own, as a new process would.  Any other program is executed.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

SCRIPTS = {"dhtnode", "dhtcrawl", "sqlite-utils"}
PRELOADED = ("dhtnode", "crawler")
LEFT_OUT = ("crawler.browse", "crawler.demo", "crawler.reports.matplotlib_style")  # heavy and rarely needed


class Fork:
    """A command under way."""

    def __init__(self, command: list[str], fds: list[int], cwd: Path | None, env: Mapping[str, str]) -> None:
        request = json.dumps([command, os.fspath(cwd or Path.cwd()), dict(env)]).encode() + b"\n"
        reports, reports_to = os.pipe()
        server = _server(os.getpid())
        server.sendall(request[socket.send_fds(server, [request], [*fds, reports_to]) :])
        os.close(reports_to)
        self._reports = os.fdopen(reports, "rb", buffering=0)
        self.pid = int.from_bytes(self._reports.read(8))
        self._status: int | None = None

    def poll(self) -> int | None:
        """Return the exit status, that of a signal as a negative number, or None before the end."""
        return self.wait(0)

    def wait(self, timeout: float) -> int | None:
        """Return the exit status as `poll` does, as soon as it is there."""
        if self._status is None and select.select([self._reports], [], [], timeout)[0]:
            self._status = int.from_bytes(self._reports.read(8), signed=True)
            self._reports.close()
        return self._status


@cache
def _server(_pid: int) -> socket.socket:
    """Start the server of this process; it ends when the socket is closed, at our own end."""
    ours, theirs = socket.socketpair()
    environment = os.environ | {"PYTHONWARNINGS": "error"}
    # Or a command that forgets to flush would not be noticed.
    environment.pop("PYTHONUNBUFFERED", None)
    process = subprocess.Popen(
        [sys.executable, "-c", "from tests.fork_server import main; main()", str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        cwd=Path(__file__).resolve().parents[1],
        env=environment,
    )
    theirs.close()

    def stop() -> None:
        ours.close()
        process.wait()

    atexit.register(stop)
    return ours


def _module_names() -> Iterator[str]:
    for name in PRELOADED:
        path = importlib.import_module(name).__path__
        for module in pkgutil.walk_packages(path, f"{name}."):
            if not module.name.startswith(LEFT_OUT) and not module.name.endswith("__main__"):
                yield module.name


def main() -> None:
    """Load all modules, then become each command that is asked for, in a fork of its own."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    for name in _module_names():
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    # Supervisors are reaped by the kernel.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while (received := socket.recv_fds(channel, 65536, 4))[0]:
        request, fds, _, _ = received
        while not request.endswith(b"\n"):
            request += channel.recv(65536)
        if os.fork() == 0:
            _supervise(fds)
            channel.close()
            _run(*json.loads(request))
        for number in fds:
            os.close(number)
    channel.close()


def _supervise(fds: list[int]) -> None:
    """Fork, and return only in the command; report its process id and its exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, reports = fds
    child = os.fork()
    if child == 0:
        os.close(reports)
        for target, number in enumerate(streams):
            os.dup2(number, target)
            os.close(number)
        return
    os.closerange(0, reports)
    os.write(reports, child.to_bytes(8))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        os.write(reports, status.to_bytes(8, signed=True))
    os._exit(0)


def _open_streams(encoding: str) -> None:
    """Open standard input, output and error as Python does at its start."""
    for number, (name, mode, errors) in enumerate(
        (("stdin", "r", "strict"), ("stdout", "w", "strict"), ("stderr", "w", "backslashreplace"))
    ):
        buffering = 1 if number == 2 else -1
        setattr(sys, name, open(number, mode, buffering, encoding, errors, closefd=False))  # noqa: SIM115


def _run(command: list[str], cwd: str, env: dict[str, str]) -> None:
    os.chdir(cwd)
    is_module = Path(command[0]).name == "python" and command[1] == "-m"
    if Path(command[0]).name not in SCRIPTS and not is_module:
        os.execve(command[0], command, env)
    os.environ.clear()
    os.environ.update(env)
    _open_streams(os.environ.get("PYTHONIOENCODING") or "utf-8")
    sys.argv = command[2:] if is_module else command
    sys.path[0] = cwd if is_module else str(Path(command[0]).parent)  # as Python does
    status = 0
    try:
        if is_module:
            runpy.run_module(command[2], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(command[0], run_name="__main__")
    except SystemExit as ended:
        assert ended.code is None or isinstance(ended.code, int), ended.code
        status = ended.code or 0
    # Python would take apart all modules now, which takes longer than most commands.
    gc.collect()
    sys.stdout.flush()
    os._exit(status)
