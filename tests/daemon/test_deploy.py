"""The unit, the image and the page about running: what they name is there, and what can be checked is."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from dhtnode.cli.main import main
from dhtnode.daemon.config import CHANGEABLE, FILE_VARIABLE, KINDS, PREFIX, DaemonSettings, configure
from dhtnode.daemon.gateway_options import GatewayOptions
from dhtnode.daemon.loop_lag import LoopLag
from dhtnode.daemon.metrics import new_renderer
from tests.statistics_of import endpoint, node

ROOT = Path(__file__).resolve().parents[2]
UNIT = (ROOT / "deploy" / "dhtnode.service").read_text(encoding="utf-8")
IMAGE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
PAGE = (ROOT / "docs" / "reference" / "node.md").read_text(encoding="utf-8")
FILE = (ROOT / "deploy" / "dhtnode.toml").read_text(encoding="utf-8")
PROGRAM = "/opt/dhtnode/bin/dhtnode"
HELP = ["-h", "--help"]  # as the program sets them: click remembers those it was first asked with
ANALYZE = shutil.which("systemd-analyze")


def unit(key):
    """Return all values of one key, in order."""
    return re.findall(rf"^{key}=(.*)$", UNIT, re.MULTILINE)


def instructions(name):
    """Return the arguments of each instruction of that name, in order."""
    return [" ".join(line.split()) for line in re.findall(rf"^ *{name} (.*)$", IMAGE, re.MULTILINE)]


def variables(text):
    """Return all names in a text that would be taken for settings."""
    return {name.removeprefix(PREFIX).lower() for name in re.findall(rf"{PREFIX}[A-Z_]+", text)} - {
        FILE_VARIABLE.removeprefix(PREFIX).lower()
    }


def is_understood(words):
    """Tell whether words, of which the first is the program, are a command line of ours."""
    command = main.commands[words[1]]
    try:
        command.make_context(words[1], list(words[2:]), parent=click.Context(main, help_option_names=HELP))
    except click.ClickException as error:
        raise AssertionError(f"{words}: {error.format_message()}") from error
    return True


def test_unit_starts_a_command_that_exists():
    (start,) = unit("ExecStart")
    words = shlex.split(start)
    assert words[:2] == [PROGRAM, "run"]
    assert is_understood(words)


def test_unit_is_told_by_the_program_what_it_waits_for():
    assert (unit("Type"), unit("NotifyAccess")) == (["notify"], ["main"])
    assert int(unit("WatchdogSec")[0]) >= 30
    assert unit("ExecReload") == ["/bin/kill -HUP $MAINPID"]
    assert unit("RestartPreventExitStatus") == ["2"]


def test_unit_sets_settings_that_exist_to_places_that_it_makes():
    """A name that is not one would end the service at its start."""
    given = dict(value.split("=", 1) for value in unit("Environment"))
    assert given == {
        "DHTNODE_STATE": "%S/dhtnode/state.json",
        "DHTNODE_STATUS_SOCKET": "%t/dhtnode/status.sock",
    }
    assert configure(environment=given).settings.state == "%S/dhtnode/state.json"
    assert unit("StateDirectory") == unit("RuntimeDirectory") == ["dhtnode"]


@pytest.mark.parametrize(
    "line",
    [
        "DynamicUser=yes",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "PrivateDevices=yes",
        "MemoryDenyWriteExecute=yes",
        "UMask=0077",
    ],
)
def test_unit_takes_away_what_is_not_needed(line):
    """A line lost here would go unnoticed: the service works as well without."""
    assert line in UNIT.splitlines()


def test_unit_leaves_the_sockets_that_are_needed():
    assert unit("RestrictAddressFamilies") == ["AF_INET AF_INET6 AF_UNIX AF_NETLINK"]


@pytest.mark.skipif(ANALYZE is None, reason="no systemd here")
def test_unit_is_understood_by_systemd(tmp_path):
    """Without a warning; the program is there in this test only."""
    installed = tmp_path / "dhtnode.service"
    installed.write_text(UNIT.replace(PROGRAM, sys.executable))
    ended = subprocess.run(
        [ANALYZE, "verify", installed], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_image_runs_the_command_as_an_unprivileged_user():
    (user,) = instructions("USER")
    assert user not in ("root", "0")
    assert (
        f"useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin {user}"
        in IMAGE
    )
    assert instructions("ENTRYPOINT") == ['["dhtnode"]']
    assert instructions("STOPSIGNAL") == ["SIGTERM"]
    assert is_understood(["dhtnode", *shlex.split(instructions("CMD")[-1].strip("[]"))])


def test_image_keeps_its_state_in_the_volume():
    given = {
        name: value
        for name, value in (word.split("=", 1) for line in instructions("ENV") for word in line.split())
        if name.startswith(PREFIX)
    }
    settings = configure(environment=given).settings
    assert instructions("VOLUME") == [str(Path(settings.state).parent)]
    assert str(Path(settings.status_socket).parent) in IMAGE.partition("install --directory")[2]
    assert instructions("EXPOSE") == [f"{settings.port}/udp"]


def test_image_is_checked_by_a_command_that_exists():
    check = instructions("HEALTHCHECK")[0].partition("CMD ")[2]
    words = [word.strip('",') for word in check.strip("[]").split()]
    assert words[:2] == ["dhtnode", "status"]
    assert is_understood(words)


def test_image_is_made_of_files_that_are_there():
    copied = [line.split()[:-1] for line in instructions("COPY") if not line.startswith("--from")]
    assert copied
    assert all((ROOT / name).exists() for names in copied for name in names)
    assert "pyproject.toml" in copied[0]


def test_example_of_settings_is_right():
    configure(file=tomllib.loads(FILE))
    configure(file=tomllib.loads(re.sub(r"^# (?=[a-z_]+ = )", "", FILE, flags=re.MULTILINE)))


def test_page_shows_settings_that_are_right():
    blocks = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    assert configure(file=tomllib.loads(blocks[0])).origins


def test_page_lists_every_setting_of_the_daemon():
    listed = re.findall(r"^\| `([a-z_]+)` \|", PAGE, re.MULTILINE)
    parts = {"node", "beside"}
    assert listed == [name for name in DaemonSettings.__dataclass_fields__ if name not in parts]


def test_page_of_the_gateway_lists_its_settings():
    page = (ROOT / "docs/reference/gateway.md").read_text()
    listed = re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE)
    assert listed == list(GatewayOptions.__dataclass_fields__)


def test_page_names_what_a_hangup_changes():
    (line,) = re.findall(r"^- SIGHUP .*$", PAGE, re.MULTILINE)
    assert set(re.findall(r"`([a-z_]+)`", line)) == CHANGEABLE


@pytest.mark.parametrize("text", [UNIT, IMAGE, PAGE], ids=["unit", "image", "page"])
def test_variables_are_settings(text):
    of_kubernetes = {"service_host"}  # which the page tells about
    assert variables(text) - of_kubernetes <= set(KINDS)


def test_page_names_options_that_exist():
    ours = {name for command in main.commands.values() for each in command.params for name in each.opts}
    of_docker = {"--env", "--network", "--publish"}
    prose = re.sub(r"^    .*$", "", PAGE, flags=re.MULTILINE)
    assert set(re.findall(r"--[a-z][a-z-]*", prose)) - of_docker <= ours


def test_page_shows_command_lines_that_are_understood():
    lines = re.findall(
        r"^ *(?:sudo |docker exec dhtnode )?(?:/opt/dhtnode/bin/)?(dhtnode .*)$", PAGE, re.MULTILINE
    )
    typed = re.findall(r"`(dhtnode [^`]*)`", PAGE)
    assert len(lines) == 4
    assert all(is_understood(shlex.split(line)) for line in [*lines, *typed] if line != "dhtnode run")


def test_page_names_metrics_that_exist():
    text = new_renderer(lambda: node(endpoint({"dropped: x": 1})), LoopLag(1.0))().decode()
    named = set(re.findall(r"`(dhtnode_[a-z_]+)`", PAGE))
    assert named <= set(re.findall(r"^(dhtnode_[a-z_]+)", text, re.MULTILINE))
    assert len(named) > 5
