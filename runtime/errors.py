"""Everything that Triptych refuses to do, as one line for the person who asked.

TriptychError                exit status 2: wrong use or bad input
 ├─ PackageError             the folder is no package, or it is not whole
 ├─ ProviderError            an execution provider that was asked for cannot run
 ├─ SamplerError             an unknown scheduler, or an option that it does not take
 ├─ ArgumentError            a prompt, size, step count or picture that cannot be used
 ├─ NumericalError           a component gave NaN or infinity
 ├─ SourceError              a checkpoint that cannot be exported
 ├─ VerificationError        exit status 1: an exported graph does not do what PyTorch does
 └─ Cancelled                exit status 1: the callback stopped the picture between two steps

A message names the thing, what was given, and what is allowed or what would help.
"""

from collections.abc import Iterable


class TriptychError(Exception):
    """Base of all errors that are meant for the user."""

    exit_status = 2


class PackageError(TriptychError):
    """The folder is no package, or a file of it is missing, truncated or altered."""


class ProviderError(TriptychError):
    """An execution provider that was asked for by name cannot run the graphs."""


class SamplerError(TriptychError):
    """An unknown scheduler, or an option or number of steps that it does not take."""


class ArgumentError(TriptychError):
    """An argument that cannot be used with this package."""


class NumericalError(TriptychError):
    """A component gave NaN or infinity."""


class SourceError(TriptychError):
    """A checkpoint that is missing, broken or of a family that is not supported."""


class VerificationError(TriptychError):
    """An exported graph is further from PyTorch than its floor allows."""

    exit_status = 1


class Cancelled(TriptychError):
    """The callback stopped the picture between two steps."""

    exit_status = 1


def nearest(name: str, allowed: Iterable[str]) -> str:
    """The end of an error message: the allowed names nearest to `name`, upper case or lower, or all if none is near."""
    import difflib

    names = {candidate.lower(): candidate for candidate in allowed}
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.7)
    if near:
        return f"did you mean {' or '.join(names[match] for match in near)}?"
    return f"allowed: {', '.join(names.values())}"
