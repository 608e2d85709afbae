"""Completion of words in a shell: packages, schedulers, devices and other names."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from ..errors import TriptychError

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_MARKS = ("triptych.json", "model_index.json")  # files of a package


def one_of(names: Callable[[], Iterable[str]]) -> Complete:
    """Completion of one of some names, which are looked up when they are needed."""
    return lambda context, parameter, incomplete: _starting_with(incomplete, names())


def packages(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Packages: those that were pulled, and folders; where none fits, any folder."""
    found = _pulled_names()
    with suppress(OSError):
        typed = Path(incomplete)
        place = typed if incomplete.endswith("/") else typed.parent
        folders = sorted(each for each in place.iterdir() if any((each / mark).is_file() for mark in _MARKS))
        found += [str(each) for each in folders]
    return _starting_with(incomplete, found) or [CompletionItem(incomplete, type="dir")]


def pulled(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Packages that were pulled, by name."""
    return _starting_with(incomplete, _pulled_names())


def first_package(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """A package as the first of several words; the others are prompts."""
    is_first = not context.params.get(str(parameter.name)) and context.params.get("named") is None
    return packages(context, parameter, incomplete) if is_first else []


def schedulers(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Schedulers by name, also after others and a comma: those that fit the package, where it is named before."""
    from ..sampling import listing

    before, comma, last = incomplete.rpartition(",")
    names = listing.names()
    words = context.params.get("words") or context.args  # click leaves them there while an option lacks its value
    package = context.params.get("named") or next(iter(words), None)
    if package is not None:
        from ..package.package import open_package

        with suppress(TriptychError):
            names = listing.names_for(open_package(package).scheduler_config())
    return _starting_with(last, names, before + comma)


def devices() -> list[str]:
    """Devices whose provider the installed ONNX Runtime has."""
    from ..ort.probe import available_providers
    from ..ort.providers import PROVIDERS

    available = available_providers()
    return ["auto", *(name for name, provider in PROVIDERS.items() if provider in available)]


def memory_policies() -> Iterable[str]:
    """Policies of `--memory`."""
    from ..package.graphs import POLICIES

    return POLICIES


def noise_sources() -> Iterable[str]:
    """Sources of `--noise`."""
    from ..noise import SOURCES

    return SOURCES


def precisions() -> Iterable[str]:
    """Precisions of an export."""
    from triptych.export.arguments import PRECISIONS

    return PRECISIONS


def dialects() -> Iterable[str]:
    """Operator sets of an export."""
    from triptych.export.arguments import DIALECTS

    return DIALECTS


def _pulled_names() -> list[str]:
    from ..package.pulled import records

    with suppress(TriptychError, OSError):
        return [str(record.name) for record in records()]
    return []


def _starting_with(incomplete: str, names: Iterable[str], before: str = "") -> list[CompletionItem]:
    return [CompletionItem(before + name) for name in names if name.startswith(incomplete)]
