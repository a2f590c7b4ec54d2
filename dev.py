#!/usr/bin/env python3
"""Set up and run this checkout with nothing but Python 3.11 and git.

    python3 dev.py demo [ARGS]                run `dhtcrawl demo` on a network of its own, no Internet used
    python3 dev.py check [--fast] [-- ARGS]   format check, lint, types, documents, tests

`--fast` leaves out the tests marked `slow`.  ARGS go to pytest.

Both commands keep a virtual environment in `.venv` beside this file.  They install what pyproject.toml
asks for, and keep it as long as pyproject.toml and Python stay the same.  `.venv` belongs to this
program: one that is incomplete, or that something else made, is replaced.  There are no prompts.

Only the standard library is used, because this runs before anything is installed.
"""

import hashlib
import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MINIMUM_PYTHON = (3, 11)  # as requires-python; tests/project/test_project.py holds the two together
if sys.version_info < MINIMUM_PYTHON:  # before anything that an older Python would stumble over
    sys.exit("dev.py: needs Python 3.11 or later, and this is {}.{}".format(*sys.version_info))

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
PROGRAMS = ENVIRONMENT / "bin"
STAMP = ENVIRONMENT / "made-by-dev.py"
MINIMUM_PIP = "pip>=25.1"  # the first that knows --group

CHECKS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    ("mkdocs", "build", "--strict", "--quiet"),
    # Last: it takes longest, what it prints is shown while it runs, and ARGS are added to it.
    # One process more than there are cores, because some tests wait for a clock.
    # `worksteal` gives an idle process the tests that a busy one has not begun.
    ("pytest", "-n", str((os.cpu_count() or 1) + 1), "--dist", "worksteal"),
)
FAST = ("-m", "not slow")


class SetupFailed(Exception):
    """There is no environment to run in; the message is one line."""


def main(args: list[str]) -> int:
    """Run the command that the arguments name; return the exit status."""
    command, rest = (args[0], args[1:]) if args else ("", [])
    if command in {"-h", "--help", "help"}:
        print(__doc__.strip())
        return 0
    try:
        if command == "demo":
            return demo(rest[1:] if rest[:1] == ["--"] else rest)
        if command == "check":
            fast = rest[:1] == ["--fast"]
            pytest_args = rest[1:] if fast else rest
            if not pytest_args or pytest_args[0] == "--":
                return check([*FAST, *pytest_args[1:]] if fast else pytest_args[1:])
    except SetupFailed as failure:
        print(f"dev.py: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as a shell would report it
    print("usage: python3 dev.py demo [ARGS] | check [--fast] [-- ARGS for pytest]", file=sys.stderr)
    return 2


def demo(args: list[str]) -> int:
    """Run `dhtcrawl demo` in the caller's directory; of two --db options the later one counts."""
    prepare(group=None)
    return run("dhtcrawl", "demo", "--db", "demo.db", *args, cwd=Path.cwd())


def check(pytest_args: list[str]) -> int:
    """Run all checks at once, and show them in order; return the status of the first that fails, or 0."""
    prepare(group="dev")
    running: list[Running] = []
    try:
        # A generator: what has been started is stopped also where the next one cannot be.
        running.extend(Running(*step) for step in (*CHECKS[:-1], (*CHECKS[-1], *pytest_args)))
        for each in running:
            heading(shlex.join(each.command))
            status = each.show()
            if status != 0:
                print(f"dev.py: {each.command[0]} failed with status {status}", file=sys.stderr)
                return status
    finally:
        for each in running:
            each.stop()
    heading("all checks passed")
    return 0


class Running:
    """A program of `.venv` under way, which prints to a file."""

    def __init__(self, *command: str) -> None:
        self.command = command
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  closed by `stop`
        told = {"PYTHONUNBUFFERED": "1"}
        if sys.stdout.isatty():
            told |= {"FORCE_COLOR": "1", "MYPY_FORCE_COLOR": "1"}
        self._process = subprocess.Popen(
            (executable(command[0]), *command[1:]),
            cwd=ROOT,
            env=child_environment() | told,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def show(self) -> int:
        """Print what the program has printed and goes on printing; return its exit status."""
        shown = 0
        while True:
            # Asked first: what it prints until its end is then in the file.
            status = self._process.poll()
            # Not `read`, which would move the place where the program writes on.
            while part := os.pread(self._output.fileno(), 65536, shown):
                sys.stdout.buffer.write(part)
                shown += len(part)
            sys.stdout.flush()
            if status is not None:
                return exit_status(status)
            time.sleep(0.05)

    def stop(self) -> None:
        """End the program as Ctrl-C does, if it still runs, or by force."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._output.close()


def prepare(*, group: str | None) -> None:
    """Make `.venv` hold this project and, when one is named, a dependency group.

    The stamp is written last and removed first, so an interruption leaves none behind.
    """
    fingerprint = environment_fingerprint()
    stamped = STAMP.read_text().split() if STAMP.is_file() else []
    usable = stamped[:1] == [fingerprint] and (PROGRAMS / "python").exists()
    if usable and (group is None or group in stamped):
        return
    heading("preparing .venv, which takes about a minute")
    if usable:
        STAMP.unlink()
    else:
        create_environment()
    if group is None:
        install("--editable", ".")
    else:
        install(MINIMUM_PIP)
        install("--editable", ".", "--group", group)
    STAMP.write_text(f"{fingerprint} {group or ''}\n")


def environment_fingerprint() -> str:
    """Return what an environment depends on, as one word: project file, Python, and place."""
    parts = ((ROOT / "pyproject.toml").read_bytes(), sys.version.encode(), os.fsencode(ROOT))
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def create_environment() -> None:
    """Make an empty `.venv`, in place of whatever is there."""
    if any(importlib.util.find_spec(module) is None for module in ("venv", "ensurepip")):
        raise SetupFailed(
            "this Python cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv"
        )
    if ENVIRONMENT.is_symlink() or ENVIRONMENT.is_file():
        raise SetupFailed(".venv is not a directory of this checkout; remove it and try again")
    command = (sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT))
    made = subprocess.run(command, cwd=ROOT, env=child_environment(), stdin=subprocess.DEVNULL, check=False)
    if made.returncode != 0:
        raise SetupFailed("python3 -m venv failed; its message is above")


def install(*what: str) -> None:
    """Install into `.venv` with its own pip, asking nothing."""
    status = run("python", "-m", "pip", "install", "--quiet", "--no-input", *what, cwd=ROOT)
    if status != 0:
        raise SetupFailed(
            f"pip could not install {shlex.join(what)} (is there a network?); its message is above"
        )


def run(program: str, *args: str, cwd: Path) -> int:
    """Run a program of `.venv`; return its exit status."""
    command = [str(executable(program)), *args]
    return exit_status(subprocess.run(command, cwd=cwd, env=child_environment(), check=False).returncode)


def executable(program: str) -> Path:
    """Return where a program of `.venv` is."""
    if not (PROGRAMS / program).exists():
        raise SetupFailed(f"{program} is missing from .venv; remove .venv and try again")
    return PROGRAMS / program


def exit_status(returned: int) -> int:
    """Return what a shell would report: 128 + n if signal n ended a program."""
    return returned if returned >= 0 else 128 - returned


def child_environment() -> dict[str, str]:
    """Return the environment variables of an activated `.venv`, free of other Pythons' paths.

    Bytecode is written also where that is turned off: tests start many processes, and each would compile
    everything again.
    """
    dropped = {"PYTHONHOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    path = os.pathsep.join([str(PROGRAMS), kept.get("PATH", os.defpath)])
    return {
        **kept,
        "PATH": path,
        "VIRTUAL_ENV": str(ENVIRONMENT),
        "PIP_USER": "0",  # a user's pip.conf may ask for it, and inside an environment it is an error
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "NO_MKDOCS_2_WARNING": "1",  # pyproject.toml bounds the versions
    }


def heading(text: str) -> None:
    """Print what comes next, ahead of the output of the program that does it."""
    print(f"== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
