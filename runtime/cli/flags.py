"""`--debug` and `--quiet`, which every command has, anywhere on its line."""

from dataclasses import dataclass
from typing import Any

import click


@dataclass
class Flags:
    """Flags of a run of the command line, the object of its contexts.

    Attributes:
        debug: errors are shown with their tracebacks.
        quiet: neither progress nor summaries on stderr, only warnings and errors.
    """

    debug: bool = False
    quiet: bool = False


class Group(click.Group):
    """A group that adds the flags to each of its commands."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, see `click.Group`."""
        cmd.params += flags()
        super().add_command(cmd, name)


def flags() -> list[click.Parameter]:
    """The options, for one command."""
    return [
        _flag(["-q", "--quiet"], "Print only warnings and errors to stderr, no progress."),
        _flag(["--debug"], "Show tracebacks."),
    ]


def is_quiet() -> bool:
    """Whether the command in progress has --quiet."""
    context = click.get_current_context(silent=True)
    return context is not None and context.ensure_object(Flags).quiet


def _flag(names: list[str], text: str) -> click.Option:
    # Eager: also the errors of other options are shown with tracebacks
    return click.Option(names, is_flag=True, is_eager=True, expose_value=False, callback=_turn_on, help=text)


def _turn_on(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value and parameter.name is not None:
        setattr(context.ensure_object(Flags), parameter.name, True)
