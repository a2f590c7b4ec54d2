"""Groups of commands that are imported when they are used, and that fail in one line."""

import signal
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any, NoReturn

import click

from dhtnode.cli import streams
from dhtnode.lines import say


class LazyGroup(click.Group):
    """A group of commands, each imported when it is used; every failure is one line on stderr.

        @click.group("dhtnode", cls=LazyGroup, places={"ping": "dhtnode.cli.ask:ping"})

    The list of commands in `--help` shows a line of each, so it imports all of them.
    """

    def __init__(
        self,
        name: str | None,
        *,
        places: Mapping[str, str] | None = None,
        refusals: Callable[[], tuple[type[Exception], ...]] = lambda: (),
        **kwargs: Any,
    ) -> None:
        """Make a group; `places` maps the name of a command to `MODULE:ATTRIBUTE`.

        When a command fails, `refusals` returns the exceptions whose text is all that a user needs.
        """
        super().__init__(name, commands=_LazyCommands(places or {}), **kwargs)
        self._refusals = refusals

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run the command line and exit."""
        streams.prepare()
        try:
            status = super().main(*args, **kwargs | {"standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            say(*error.format_message().split("\n"))
            sys.exit(error.exit_code)
        except click.ClickException as error:
            say(f"{self.name}: {error.format_message()}")
            sys.exit(error.exit_code)
        except click.Abort:
            say(f"{self.name}: interrupted")
            sys.exit(128 + signal.SIGINT)
        except BrokenPipeError:
            # The reader of our output has gone.
            streams.drop_output()
            sys.exit(1)
        except Exception as error:
            if (reason := self._reason(error)) is None:
                raise
            say(f"{self.name}: {reason}")
            streams.drop_output()
            sys.exit(1)
        sys.exit(status if isinstance(status, int) and status else bool(streams.failures))

    def _reason(self, error: Exception) -> str | None:
        """Return in one line what the network or the system refused, or None for a mistake of ours."""
        # The refusals of other modules last: without memory, or files to open, those cannot be imported.
        return streams.reason_of(error) or streams.reason_of(error, self._refusals())

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an interrupt, even of what it imports first, is one line too."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:  # click would add an empty line
            raise click.Abort from error


class _LazyCommands(MutableMapping[str, click.Command]):
    """Commands by name; a value is imported when it is read, the names alone import nothing."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._commands: dict[str, click.Command | str] = dict(places)

    def __getitem__(self, name: str) -> click.Command:
        command = self._commands[name]
        if isinstance(command, str):
            module, _, attribute = command.partition(":")
            command = self._commands[name] = getattr(import_module(module), attribute)
        return command

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._commands[name] = command

    def __delitem__(self, name: str) -> None:
        del self._commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._commands)

    def __len__(self) -> int:
        return len(self._commands)
