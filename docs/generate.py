"""Writes docs/cli.md, the help of every command: python docs/generate.py."""

from pathlib import Path

import click

from triptych.runtime.cli import cli

WIDTH = 100  # characters a line
TARGET = Path(__file__).with_name("cli.md")


def text() -> str:
    """The page, from the commands themselves."""
    root = cli.make_context("triptych", [], resilient_parsing=True, terminal_width=WIDTH)
    parts = ["# The command line\n", _help(cli, root)]
    for name, command in sorted(cli.commands.items()):
        context = command.make_context(name, [], parent=root, resilient_parsing=True, terminal_width=WIDTH)
        parts += [f"## triptych {name}\n", _help(command, context)]
    return "\n".join(parts)


def _help(command: click.Command, context: click.Context) -> str:
    return f"```\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    TARGET.write_text(text())
