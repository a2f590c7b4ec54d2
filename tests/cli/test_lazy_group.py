import sys

import click
import pytest

from dhtnode.cli import LazyGroup, console
from dhtnode.cli.console import NetworkOptions

MODULE = """
import click

@click.command()
def work():
    "Work a little."
    click.echo("done")

@click.command()
def fail():
    raise click.ClickException("no luck")
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    (tmp_path / "lazily_imported.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lazily_imported", raising=False)

    @click.group(
        "program", cls=LazyGroup, places={"work": "lazily_imported:work", "fail": "lazily_imported:fail"}
    )
    def program():
        pass

    @program.command()
    def at_once():
        click.echo("here")

    return program


def run(program, *words):
    with pytest.raises(SystemExit) as ended:
        program.main(list(words))
    return ended.value.code


def test_command_is_imported_when_it_is_run(program, capsys):
    assert run(program, "at-once") == 0
    assert "lazily_imported" not in sys.modules
    assert run(program, "work") == 0
    assert "lazily_imported" in sys.modules
    assert capsys.readouterr().out == "here\ndone\n"


def test_names_are_listed_without_imports(program):
    assert sorted(program.commands) == ["at-once", "fail", "work"]
    assert len(program.commands) == 3
    assert "lazily_imported" not in sys.modules


def test_help_has_a_line_of_each_command(program, capsys):
    assert run(program, "--help") == 0
    assert "Work a little." in capsys.readouterr().out


def test_mistyped_name_is_refused_without_imports(program, capsys):
    assert run(program, "wrok") == 2
    assert "work" in capsys.readouterr().err
    assert "lazily_imported" not in sys.modules


def test_failure_is_one_line_under_the_name_of_the_group(program, capsys):
    assert run(program, "fail") == 1
    assert capsys.readouterr() == ("", "program: no luck\n")


def test_what_memory_is_missing_for_is_told_without_more_imports(capsys):
    def import_what_takes_memory():
        raise MemoryError

    @click.group("program", cls=LazyGroup, refusals=import_what_takes_memory)
    def program():
        pass

    @program.command()
    def work():
        raise ImportError("libexample.so: failed to map segment from shared object")

    assert run(program, "work") == 1
    assert capsys.readouterr() == ("", "program: there is not enough memory to load what this needs\n")


def test_command_can_be_replaced_and_removed(program):
    other = click.Command("work")
    program.add_command(other)
    assert program.commands["work"] is other
    del program.commands["work"]
    assert "work" not in program.commands


def test_options_of_a_group_come_as_one_value():
    got = []

    @click.command()
    @click.option("--more", default=1)
    @console.network_options(3.0)
    def command(network, more):
        got.append((network, more))

    command.main(["--json", "--bootstrap", "a:1", "--bootstrap", "b:2"], standalone_mode=False)
    command.main(["--timeout", "5", "--more", "2"], standalone_mode=False)
    assert got == [
        (NetworkOptions(True, 3.0, ("a:1", "b:2"), ()), 1),
        (NetworkOptions(False, 5.0, (), ()), 2),
    ]
    names = [option.name for option in command.params]
    assert names == ["more", "as_json", "timeout", "bootstrap", "listen", "pcap", "pcap_limit"]
