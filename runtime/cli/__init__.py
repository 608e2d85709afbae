"""The command line, one file for each command or group of options. No other folder imports click."""

from .output import INTERRUPTED, fail

__all__ = ["main"]


def main() -> None:
    """Run the command line, see `commands.main`; Ctrl-C is one line also while modules are imported."""
    try:
        from .commands import main as run

        run()
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED)
