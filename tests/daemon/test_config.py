"""Settings: what beats what, what is refused, and that what is shown can be read again."""

import tomllib
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode.daemon.config import (
    CHANGEABLE,
    KINDS,
    ConfigError,
    Configuration,
    DaemonSettings,
    Origin,
    configure,
    in_toml,
    parse_file,
    reload,
)
from dhtnode.daemon.gateway_options import GatewayOptions
from dhtnode.settings import NodeSettings

NOT_NUMBERS = ["nan", "inf", "-inf"]
WRONG = [  # a line of a file, and what is said about it
    ("prot = 1", "f.toml: prot: there is no such setting"),
    ("node = 1", "f.toml: node: there is no such setting"),
    ("[node]\nport = 1", "f.toml: node: there is no such setting"),
    ('port = "6881"', "f.toml: port: '6881' is not a whole number"),
    ("port = 6881.0", "f.toml: port: 6881.0 is not a whole number"),
    ("port = true", "f.toml: port: True is not a whole number"),
    ("port = -1", "f.toml: port: -1 is not between 0 and 65535"),
    ("port = 65536", "f.toml: port: 65536 is not between 0 and 65535"),
    ("host_rate = -1", "f.toml: host_rate: -1.0 is not above 0"),
    ("host_rate = 0", "f.toml: host_rate: 0.0 is not above 0"),
    ("host_rate = nan", "f.toml: host_rate: nan is not a finite number"),
    ("reply_rate = inf", "f.toml: reply_rate: inf is not a finite number"),
    ("host_rate = false", "f.toml: host_rate: False is not a number"),
    (f"host_rate = 1{'0' * 400}", "is not a number"),
    (f"bucket_size = 1{'0' * 400}", "is not between 1 and 20"),
    ("max_peers = 0", "f.toml: max_peers: 0 is not above 0"),
    ("max_swarms = 99999999999999999999", "f.toml: max_swarms: 99999999999999999999 is above 1e+12"),
    ("max_swarms = -5", "f.toml: max_swarms: -5 is not above 0"),
    ("bucket_size = 0", "f.toml: bucket_size: 0 is not between 1 and 20"),
    ("maintenance_period = 0.0", "f.toml: maintenance_period: 0.0 is not between 1 and 3600"),
    ("read_only = 1", "f.toml: read_only: 1 is not true or false"),
    ("state = 1", "f.toml: state: 1 is not a text"),
    ('state = ""', "f.toml: state: an empty text, or one with a NUL in it"),
    ('state = "a\\u0000"', "f.toml: state: an empty text, or one with a NUL in it"),
    ('log_level = "loud"', "f.toml: log_level: 'loud' is none of debug, info, warning, error"),
    ('listen = "127.0.0.1:1"', "f.toml: listen: '127.0.0.1:1' is not a list of texts"),
    ("listen = [1]", "f.toml: listen: [1] is not a list of texts"),
    ('listen = ["localhost:1"]', "f.toml: listen: 'localhost' is not an IP address"),
    ('listen = ["0.0.0.0:1", "8.8.8.8:1"]', "f.toml: listen: 0.0.0.0:1 takes in 8.8.8.8:1"),
    ('bootstrap = ["a"]', "f.toml: bootstrap: 'a' is not HOST:PORT"),
    ('bootstrap = ["a:0"]', "f.toml: bootstrap: 'a:0': port 0 cannot be asked"),
    ('metrics = "0.0.0.0:9"', "f.toml: metrics: 0.0.0.0:9 is not on loopback"),
    ('metrics = "192.168.1.1:9"', "f.toml: metrics: 192.168.1.1:9 is not on loopback"),
    ('metrics = "localhost:9"', "f.toml: metrics: 'localhost' is not an IP address"),
    ("late_after = 0", "f.toml: late_after: 0.0 is not between 0.001 and 3600"),
    (f'port = "{"x" * 5000}"', "..."),
]


def test_without_anything_given_all_is_default():
    assert configure() == Configuration(DaemonSettings(), {})
    assert {origin for _, _, origin in configure().entries()} == {Origin.DEFAULT}


def test_every_number_of_a_node_is_a_setting():
    """Also those that come later: a field of another type needs a reader first."""
    names = [field.name for of in (DaemonSettings, NodeSettings, GatewayOptions) for field in fields(of)]
    assert sorted(KINDS) == sorted(set(names) - {"node", "beside"})
    assert len(names) == len(set(names))
    assert set(KINDS.values()) <= {bool, int, float, str, tuple}
    assert set(KINDS) >= CHANGEABLE


def test_default_passes_the_check_of_its_own_setting():
    for name, value, _ in configure().entries():
        if value is not None:
            assert configure(file={name: value}).settings == DaemonSettings(), name


def test_later_place_beats_an_earlier_one():
    found = configure(
        file={"port": 1, "state": "file", "host_rate": 1, "log": "x"},
        environment={"DHTNODE_PORT": "2", "DHTNODE_STATE": "environment", "HOME": "/", "DHTNODE_CONFIG": "c"},
        flags={"port": 3},
        assignments={"host_rate": "4"},
    )

    assert found.settings == DaemonSettings(
        port=3, state="environment", log="x", node=NodeSettings(host_rate=4.0)
    )
    assert found.origins == {
        "port": Origin.FLAG,
        "state": Origin.ENVIRONMENT,
        "host_rate": Origin.FLAG,
        "log": Origin.FILE,
    }


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("PORT", "0", 0),
        ("HOST_RATE", "2.5", 2.5),
        ("READ_ONLY", "yes", True),
        ("READ_ONLY", "FALSE", False),
        ("DEFAULT_BOOTSTRAP", "0", False),
        ("LISTEN", "127.0.0.1:1,[::1]:1", ("127.0.0.1:1", "[::1]:1")),
        ("BOOTSTRAP", "a:1  b:2", ("a:1", "b:2")),
        ("METRICS", "127.0.0.1:9881", "127.0.0.1:9881"),
        ("METRICS", "[::1]:0", "[::1]:0"),
        ("METRICS", "/run/dhtnode/metrics", "/run/dhtnode/metrics"),
    ],
)
def test_environment_is_read_as_text(name, text, value):
    entries = configure(environment={f"DHTNODE_{name}": text}).entries()
    assert {entry[0]: entry[1] for entry in entries}[name.lower()] == value


def test_empty_variable_is_not_set():
    assert configure(environment={"DHTNODE_PORT": ""}) == configure()


@pytest.mark.parametrize(("text", "complaint"), WRONG, ids=[text[:40] for text, _ in WRONG])
def test_wrong_line_of_a_file_is_one_line(text, complaint):
    """It names the file, the setting, the value and the reason."""
    with pytest.raises(ConfigError) as refused:
        configure(file=parse_file(text.encode()), file_name="f.toml")
    assert complaint in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("variable", "text", "complaint"),
    [
        ("DHTNODE_PORT", "x", "DHTNODE_PORT: 'x' is not a whole number"),
        ("DHTNODE_HOST_RATE", "-1", "DHTNODE_HOST_RATE: -1.0 is not above 0"),
        *(("DHTNODE_HOST_RATE", text, f"DHTNODE_HOST_RATE: {text} is not a finite") for text in NOT_NUMBERS),
        ("DHTNODE_READ_ONLY", "perhaps", "DHTNODE_READ_ONLY: 'perhaps' is not true or false"),
        ("DHTNODE_BOOTSTRAP", "a:1,b", "DHTNODE_BOOTSTRAP: 'b' is not HOST:PORT"),
    ],
)
def test_wrong_variable_is_named(variable, text, complaint):
    with pytest.raises(ConfigError) as refused:
        configure(environment={variable: text})
    assert str(refused.value).startswith(complaint)


def test_variables_of_others_are_passed_over_with_a_warning():
    link = "udp://10.0.0.1:6881"
    unknown = {
        "DHTNODE_PORT_6881_UDP": link,
        "DHTNODE_SERVICE_HOST": "10.0.0.1",
        "DHTNODE_SERVICE_PORT": "6881",
    }
    service = {"DHTNODE_PORT": link, **unknown}
    found = configure(environment={**service, "DHTNODE_HOST_RATE": "2", "DHTNODE_CONFIG": "c", "HOME": "/"})

    assert found.settings == DaemonSettings(node=NodeSettings(host_rate=2.0))
    assert found.origins == {"host_rate": Origin.ENVIRONMENT}
    assert found.warnings == (
        f"there is no such setting, passed over: {', '.join(sorted(unknown))}",
        "set to the address of a service, passed over: DHTNODE_PORT",
    )
    assert configure(environment={"DHTNODE_STATE": "TCP://x"}).settings.state is None


def test_warning_about_many_variables_is_short():
    found = configure(environment={f"DHTNODE_{number:03}{'X' * 200}": "1" for number in range(100)})
    (warning,) = found.warnings
    assert warning.endswith(" and 92 more")
    assert len(warning) < 600


def test_file_must_know_its_settings_where_the_environment_need_not():
    """No other program writes there; a link is no value there either."""
    with pytest.raises(ConfigError, match="port: 'tcp://a:1' is not a whole number"):
        configure(file={"port": "tcp://a:1"})


def test_wrong_flags_are_named():
    with pytest.raises(ConfigError, match=r"^--status-socket: an empty text"):
        configure(flags={"status_socket": ""})
    with pytest.raises(ConfigError, match=r"^--set prot: there is no such setting$"):
        configure(assignments={"prot": "1"})


@pytest.mark.parametrize(
    "data", [b"port = ", b"port 1", b"\xff", b"a = 1\na = 2", b"x = " + b"[" * 100_000, b"port = 1_"]
)
def test_file_that_is_no_toml_is_one_line(data):
    with pytest.raises(ConfigError) as refused:
        parse_file(data)
    assert len(str(refused.value).splitlines()) == 1


@given(st.binary(max_size=200))
def test_any_bytes_are_settings_or_one_complaint(data):
    try:
        configure(file=parse_file(data))
    except ConfigError as refused:
        assert len(str(refused).splitlines()) == 1


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "state": st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
            "port": st.integers(0, 65535),
            "host_rate": st.floats(1e-300, 1e12),
            "read_only": st.booleans(),
            "bootstrap": st.lists(st.sampled_from(["a:1", "[::1]:2"])),
        },
    )
)
def test_what_is_shown_can_be_read_as_a_file(given_settings):
    shown = configure(flags=given_settings)
    text = "\n".join(in_toml(*entry) for entry in shown.entries())
    assert configure(file=tomllib.loads(text)).settings == shown.settings


def test_origin_is_shown_as_a_comment():
    assert in_toml("port", 1, Origin.FILE) == "port = 1".ljust(40) + "  # file"
    assert in_toml("state", None, Origin.DEFAULT) == "# state is not set"


def test_reload_takes_what_can_change_and_names_the_rest():
    """The settings in force stay as they are where a restart is needed."""
    old = DaemonSettings(port=1, log="a", node=NodeSettings(host_rate=1.0))
    new = replace(old, port=2, log="b", late_after=1.0, node=NodeSettings(host_rate=2.0, max_peers=9))
    assert reload(old, new) == (
        replace(old, log="b", late_after=1.0, node=NodeSettings(host_rate=2.0)),
        ["log", "late_after", "host_rate"],
        ["port", "max_peers"],
    )
    assert reload(old, old) == (old, [], [])
