"""Errors and warnings of Triptych, each one line for the person who made the request.

TriptychError                exit status 2: wrong use or bad input
 ├─ PackageError             the folder is not a package, or a file of it is missing or altered
 ├─ ProviderError            the requested execution provider cannot run, or its device failed
 ├─ SamplerError             an unknown scheduler, or an option that it does not take
 ├─ ArgumentError            a prompt, size, number of steps or image that cannot be used
 ├─ NumericalError           a component returned NaN or infinity
 ├─ SourceError              a checkpoint that cannot be exported
 ├─ HubError                 the hub has no such repository or revision, or refuses access
 │   └─ TransferError        exit status 1: a download or upload failed: network, disk, checksum
 ├─ VerificationError        exit status 1: an exported graph does not compute what PyTorch computes
 └─ Cancelled                exit status 1: the callback stopped the image between two steps

TriptychWarning              a UserWarning: the result differs from the request
 ├─ PromptWarning            a part of the prompt was left out; the message quotes it
 ├─ PerformanceWarning       slower than requested: the CPU in place of the GPU, or no CUDA graph
 └─ ReproductionWarning      an image was recorded with another package

An error's message names the argument, its value, and what is allowed or what would help.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")

_SHOWN = 100  # characters of a value in a message
_LONGEST_LINE = 400  # characters: cuDNN describes a whole graph in one line


class TriptychError(Exception):
    """Base of all errors that are meant for the user."""

    exit_status = 2


class PackageError(TriptychError):
    """The folder is not a package, or a file of it is missing, truncated or altered."""


class ProviderError(TriptychError):
    """The requested execution provider cannot run the graphs, or its device failed while it ran them."""


class SamplerError(TriptychError):
    """An unknown scheduler, or an option or number of steps that it does not take."""


class ArgumentError(TriptychError):
    """An argument that cannot be used with this package."""


class NumericalError(TriptychError):
    """A component returned NaN or infinity."""


class SourceError(TriptychError):
    """A checkpoint that is missing, broken or of a family that is not supported."""


class HubError(TriptychError):
    """The hub has no such repository or revision, refuses access, or must not be contacted (offline mode)."""


class TransferError(HubError):
    """A download or upload failed: the network, the disk, or a checksum. The same command may succeed later."""

    exit_status = 1


class VerificationError(TriptychError):
    """An exported graph is further from PyTorch than its floor allows."""

    exit_status = 1


class Cancelled(TriptychError):
    """The callback stopped the image between two steps."""

    exit_status = 1


class TriptychWarning(UserWarning):
    """Base of all warnings of Triptych."""


class PromptWarning(TriptychWarning):
    """A part of the prompt was left out. The message quotes it: a service must not write it to its log."""


class PerformanceWarning(TriptychWarning):
    """Computation is slower than requested."""


class ReproductionWarning(TriptychWarning):
    """An image was recorded with another package, and cannot be reproduced with this one."""


def system_reason(error: BaseException) -> str:
    """The operating system's reason for an error without number and path; of other errors, their message."""
    return getattr(error, "strerror", None) or str(error)


def first_line(error: BaseException) -> str:
    """First line of an error's message, cut to a length that can be read, or its class where it has none."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]} ..."


def shown(value: object) -> str:
    """A value as one short line, for a message; of a value that cannot be written out, its type."""
    try:
        line = " ".join(repr(value).split())
    except Exception:  # of any class: the value is one of the caller's; Python writes no whole number of 5,000 digits
        return f"<{type(value).__name__}>"
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]} ..."


def lookup(table: Mapping[str, T], name: str, kind: str, error: type[TriptychError] = ArgumentError) -> T:
    """The value of `name` in a table.

    Args:
        table: name -> value.
        name: the requested one.
        kind: noun for the message, such as "noise source".
        error: class of the error.

    Raises:
        TriptychError: of class `error`; the table has no such name.
    """
    if not isinstance(name, str) or name not in table:
        raise error(f"unknown {kind} {shown(name)}; {nearest(name, table)}")
    return table[name]


def nearest(name: str, allowed: Iterable[str]) -> str:
    """The end of an error message: the allowed names that are spelled like `name`, or all of them if none is."""
    import difflib

    names = {candidate.lower(): candidate for candidate in allowed}
    text = name if isinstance(name, str) else shown(name)
    near = difflib.get_close_matches(text.lower(), names, n=3, cutoff=0.7)
    if near:
        return f"did you mean {' or '.join(names[match] for match in near)}?"
    return f"allowed: {', '.join(names.values())}"
