"""The command line, the only home of click: one file a command or a group of options."""

from .commands import cli, main

__all__ = ["cli", "main"]
