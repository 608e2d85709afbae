"""Writes docs/cli.md, the help of every command: python docs/generate.py."""

from pathlib import Path

import click

from triptych.runtime.cli import cli

TARGET = Path(__file__).with_name("cli.md")


def text() -> str:
    """The page, from the commands themselves."""
    root = click.Context(cli, info_name="triptych", max_content_width=100, terminal_width=100)
    parts = ["# The command line\n", _help(cli, root)]
    for name, command in sorted(cli.commands.items()):
        context = click.Context(command, parent=root, info_name=name, max_content_width=100, terminal_width=100)
        parts += [f"## triptych {name}\n", _help(command, context)]
    return "\n".join(parts)


def _help(command: click.Command, context: click.Context) -> str:
    return f"```\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    TARGET.write_text(text())
