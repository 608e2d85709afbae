"""The command line, one file for each command or group of options. No other folder imports click."""

from .commands import cli, main

__all__ = ["cli", "main"]
