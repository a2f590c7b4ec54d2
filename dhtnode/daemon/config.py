"""The settings of a daemon: a TOML file, the environment and flags, made into one frozen dataclass.

Every setting has one flat name.  The file says `port = 6881`, the environment `DHTNODE_PORT=6881`,
and a flag `--port 6881` or `--set port=6881`; the numbers of `NodeSettings` are named in the same
way.  A flag beats the environment, the environment the file, the file the default.

Nothing is read from disk here: texts and mappings come in, settings or one `ConfigError` come out.
"""

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import isfinite
from types import UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from dhtnode.addresses import Scope, check_listen, parse_address, scope_of, split_host_port
from dhtnode.daemon.gateway_options import GatewayOptions
from dhtnode.ranges import MOST, Range
from dhtnode.settings import LIMITS, NodeSettings

_Read = Callable[[str, Any], object]

PREFIX = "DHTNODE_"
FILE_VARIABLE = "DHTNODE_CONFIG"
DEFAULT_PORT = 6881
MAX_FILE = 1_000_000  # bytes
LOG_LEVELS = ("debug", "info", "warning", "error")


class ConfigError(ValueError):
    """One line about a setting that is wrong: which, where it was given, and why."""


class Origin(StrEnum):
    """The place where a value was given; later ones beat those before them."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    FLAG = "flag"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _check_bootstrap(text: str) -> None:
    if not split_host_port(text)[1]:
        raise ValueError(f"{text!r}: port 0 cannot be asked")


def _check_log_level(text: str) -> None:
    if text not in LOG_LEVELS:
        raise ValueError(f"{_shown(text)} is none of {', '.join(LOG_LEVELS)}")


def _check_metrics(text: str) -> None:
    if "/" not in text and scope_of(parse_address(text).host) is not Scope.LOOPBACK:
        raise ValueError(f"{text} is not on loopback, and metrics are for this machine only")


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    """The settings of `dhtnode run`."""

    listen: Annotated[tuple[str, ...], parse_address] = ()
    """Addresses to bind, `IP:PORT`, any number; none means `port` of every family there is."""

    port: Annotated[int, Range(0, 65535)] = DEFAULT_PORT
    """UDP port, where `listen` does not say otherwise; 0 is any free one."""

    bootstrap: Annotated[tuple[str, ...], _check_bootstrap] = ()
    """Nodes to join through, `HOST:PORT`."""

    default_bootstrap: bool = True
    """Query the well-known hosts when no other node answers."""

    state: str | None = None
    """File that keeps id and contacts between runs."""

    log: str | None = None
    """File for log lines; they go to stderr without one."""

    log_level: Annotated[str, _check_log_level] = "warning"
    """What is logged: debug, info, warning or error, and what is worse."""

    metrics: Annotated[str | None, _check_metrics] = None
    """Where metrics are served for Prometheus: `IP:PORT` on loopback, or the path of a Unix socket."""

    status_socket: str | None = None
    """Path of the Unix socket that `dhtnode status` reads."""

    late_after: Annotated[float, Range(0.001, 3600)] = 0.5
    """Seconds by which a task may wake too late before that is logged."""

    node: NodeSettings = field(default_factory=NodeSettings)
    """The numbers of the node itself."""

    beside: GatewayOptions = field(default_factory=GatewayOptions)
    """The gateway beside the node."""


CHANGEABLE = frozenset({"log", "log_level", "late_after", "gateway_allow", "gateway_deny"}) | LIMITS
"""The settings that a running daemon applies when it reads them again."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The effective settings, the origin of each value, and warnings about values passed over."""

    settings: DaemonSettings
    origins: Mapping[str, Origin]
    warnings: tuple[str, ...] = ()

    def entries(self) -> Iterator[tuple[str, Any, Origin]]:
        """Yield every setting in order: its name, value and origin."""
        for name in KINDS:
            yield name, value_of(self.settings, name), self.origins.get(name, Origin.DEFAULT)


_PARTS = {"node": NodeSettings, "beside": GatewayOptions}


def _hints(of: type) -> dict[str, Any]:
    """Return the annotation of each field that is a setting."""
    hints = get_type_hints(of, include_extras=True)
    return {name: hint for name, hint in hints.items() if name not in _PARTS}


def _kind(hint: Any) -> type:
    """Return the plain type that a text or a TOML value is read as: of `str | None` it is `str`."""
    if get_origin(hint) is Annotated:
        hint = hint.__origin__
    if get_origin(hint) is UnionType:
        hint = get_args(hint)[0]
    kind: type = get_origin(hint) or hint
    return kind


_HINTS = _hints(DaemonSettings) | {name: hint for of in _PARTS.values() for name, hint in _hints(of).items()}
_PART_OF = {name: part for part, of in _PARTS.items() for name in _hints(of)}

KINDS: Mapping[str, type] = {name: _kind(hint) for name, hint in _HINTS.items()}
"""The type of every setting by its name, in the order in which they are shown."""

_WANTED = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    tuple: "a list of texts",
}
_LINK = re.compile(r"(?:tcp|udp|sctp)://", re.IGNORECASE)  # how Kubernetes and Docker link a service
_MAX_NAMED = 8  # variables in one warning
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def parse_file(data: bytes) -> dict[str, object]:
    """Read the bytes of a TOML file; raises `ConfigError` with line and column when it is none."""
    if len(data) > MAX_FILE:
        raise ConfigError(f"longer than {MAX_FILE} bytes")
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(" ".join(str(error).split())) from error


def configure(
    *,
    file: Mapping[str, object] | None = None,
    file_name: str = "file",
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
    assignments: Mapping[str, str] | None = None,
) -> Configuration:
    """Combine what was given, by name, into the effective settings.

    Of the environment, only names that begin with `DHTNODE_` count, and an empty value is not set.
    Others write there too: for a service named `dhtnode`, Kubernetes sets `DHTNODE_SERVICE_HOST` and
    `DHTNODE_PORT=tcp://10.0.0.1:6881`.  Unknown names, and addresses of that form, are passed over
    with a warning.
    `file_name` is for error messages; `assignments` are flags given as texts.  Raises `ConfigError` for a
    name that does not exist, a value of the wrong type, or one out of range.
    """
    values: dict[str, object] = {}
    origins: dict[str, Origin] = {}

    def take(name: str, given: object, shown: str, origin: Origin, read: _Read) -> None:
        if name not in KINDS:
            raise ConfigError(f"{shown}: there is no such setting")
        try:
            values[name] = _checked(name, read(name, given))
        except ValueError as error:
            raise ConfigError(f"{shown}: {error}") from error
        origins[name] = origin

    for name, given in (file or {}).items():
        take(name, given, f"{file_name}: {name}", Origin.FILE, _from_value)
    variables, warnings = _settings_in(environment or {})
    for variable, text in variables.items():
        take(_name_of(variable), text, variable, Origin.ENVIRONMENT, _from_text)
    for name, given in (flags or {}).items():
        take(name, given, "--" + name.replace("_", "-"), Origin.FLAG, _from_value)
    for name, text in (assignments or {}).items():
        take(name, text, f"--set {name}", Origin.FLAG, _from_text)
    return Configuration(_with(DaemonSettings(), values), origins, warnings)


def _name_of(variable: str) -> str:
    return variable.removeprefix(PREFIX).lower()


def _settings_in(environment: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the variables that give settings, and a line about each group of those passed over."""
    ours = {
        variable: text
        for variable, text in sorted(environment.items())
        if variable.startswith(PREFIX) and variable != FILE_VARIABLE and text
    }
    unknown = [variable for variable in ours if _name_of(variable) not in KINDS]
    links = [variable for variable in ours if variable not in unknown and _LINK.match(ours[variable])]
    warnings = []
    if unknown:
        warnings.append(f"there is no such setting, passed over: {_listed(unknown)}")
    if links:
        warnings.append(f"set to the address of a service, passed over: {_listed(links)}")
    return {name: ours[name] for name in ours if name not in unknown + links}, tuple(warnings)


def _listed(names: list[str]) -> str:
    shown = [name if len(name) <= 60 else name[:57] + "..." for name in names[:_MAX_NAMED]]
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(shown) + more


def value_of(settings: DaemonSettings, name: str) -> Any:
    """Return the value of a setting by its flat name."""
    return getattr(getattr(settings, _PART_OF[name]) if name in _PART_OF else settings, name)


def reload(old: DaemonSettings, new: DaemonSettings) -> tuple[DaemonSettings, list[str], list[str]]:
    """Return the settings of a running daemon from now on, what has changed, and what needs a restart."""
    differing = [name for name in KINDS if value_of(old, name) != value_of(new, name)]
    changed = [name for name in differing if name in CHANGEABLE]
    taken = _with(old, {name: value_of(new, name) for name in changed})
    return taken, changed, [name for name in differing if name not in CHANGEABLE]


def in_toml(name: str, value: object, origin: Origin) -> str:
    """Return a setting as a line of a TOML file that says in a comment where the value is from."""
    if value is None:
        return f"# {name} is not set"
    shown = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
    return f"{name} = {shown}".ljust(40) + f"  # {origin}"


def _with(settings: DaemonSettings, values: Mapping[str, Any]) -> DaemonSettings:
    own: dict[str, Any] = {name: value for name, value in values.items() if name not in _PART_OF}
    for part in _PARTS:
        inner = {name: value for name, value in values.items() if _PART_OF.get(name) == part}
        own[part] = replace(getattr(settings, part), **inner)
    return replace(settings, **own)


def _from_value(name: str, value: object) -> object:
    """Check a value that has a type already: one of a TOML file, or of a flag."""
    kind = KINDS[name]
    if kind is float and type(value) is int and abs(value) < 1 << 64:
        return float(value)
    if kind is tuple and isinstance(value, (list, tuple)) and all(isinstance(text, str) for text in value):
        return tuple(value)
    if type(value) is not kind:
        raise ValueError(f"{_shown(value)} is not {_WANTED[kind]}")
    return value


def _from_text(name: str, text: str) -> object:
    """Read a text from the environment or from `--set`; in lists, commas or blanks stand between."""
    kind = KINDS[name]
    try:
        if kind is bool:
            return _WORDS[text.lower()]
        return tuple(text.replace(",", " ").split()) if kind is tuple else kind(text)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{_shown(text)} is not {_WANTED[kind]}") from error


def _checked(name: str, value: Any) -> Any:
    """Return a value of the right type that may be used, or raise `ValueError`."""
    kind = KINDS[name]
    conditions = getattr(_HINTS[name], "__metadata__", ())
    if kind is float and not isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    if kind in (int, float):
        _check_number(value, *conditions)
    for text in (value,) if kind is str else value if kind is tuple else ():
        if not text or "\0" in text:
            raise ValueError("an empty text, or one with a NUL in it")
        for check in conditions:
            check(text)
    if name == "listen" and value:
        check_listen([parse_address(text) for text in value])
    return value


def _check_number(value: float, allowed: Range | None = None) -> None:
    if allowed is None:
        if value <= 0:
            raise ValueError(f"{value} is not above 0")
        if value > MOST:
            raise ValueError(f"{_shown(value)} is above {MOST:.0e}")
    elif not allowed.low <= value <= allowed.high:
        raise ValueError(f"{_shown(value)} is not between {allowed.low} and {allowed.high}")
