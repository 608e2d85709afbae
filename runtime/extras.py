"""Libraries that belong to an extra of the distribution, and may be missing."""

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import TriptychError, first_line


class MissingExtraError(TriptychError):
    """A library is missing that belongs to an extra which is not installed."""


@contextmanager
def needed(extra: str, purpose: str) -> Iterator[None]:
    """Answer an import that fails with the extra that has the library.

    Args:
        extra: its name in pyproject.toml, such as serve.
        purpose: noun for the message, such as "`triptych serve`".

    Raises:
        MissingExtraError: a library cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        library = (error.name or "").partition(".")[0]
        if library == "triptych":  # no extra has it
            raise
        reason = "is not installed" if isinstance(error, ModuleNotFoundError) else f"fails: {first_line(error)}"
        raise MissingExtraError(
            f"{purpose} needs {library or extra}, which {reason}: pip install 'triptych[{extra}]'"
        ) from None
