"""Options of a scheduler configuration: the type, default and check of each, and how a configuration is read.

A scheduler's options are an `OptionGroup`, whose attributes are declared by the functions below. Every option
that diffusers' class has is either implemented, or accepted only where it changes nothing. None is ignored.
"""

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, Self, TypeVar

from ..errors import SamplerError, nearest, shown

ANYTHING = "anything"
"""Allowed values of an option without effect."""

MAX_STEPS = 10_000
"""Steps of a run."""

MAX_WHOLE = 100_000
"""Largest whole number of an option; training timesteps, of which models have 1000, among them."""

LARGEST = 1e6
"""Largest magnitude of a number of an option: far above useful ones, far below an overflow."""

_LINE = 60  # characters of a value that an error message shows


@dataclass(frozen=True, eq=False, repr=False)
class Option:
    """One option.

    Attributes:
        default: the value where a configuration has none.
        check: value from a configuration -> value to use; raises ValueError.
        allowed: values that the check accepts, in words.
        type: JSON Schema's name of the type; None for lists, and for options that have no choice.
        values: the values, where they are a few names.
    """

    default: Any
    check: Callable[[Any], Any]
    allowed: str
    type: Literal["boolean", "integer", "number", "string"] | None = None
    values: tuple[str, ...] | None = None


class OptionGroup:
    """Options as a class: an attribute for each, whose value in the class is the `Option`.

    Other attributes are constants: values that shared code reads, for schedulers that have no such option. An instance
    cannot be changed.
    """

    def __init__(self, **values: Any) -> None:
        vars(self).update({name: option.default for name, option in declared(type(self)).items()} | values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} cannot be changed")

    def replaced(self, **values: Any) -> Self:
        """Copy the options with some values replaced."""
        return type(self)(**vars(self) | values)


def declared(group: type[OptionGroup]) -> dict[str, Option]:
    """Name -> option, of a group with its bases."""
    attributes = {name: value for base in reversed(group.__mro__) for name, value in vars(base).items()}
    return {name: value for name, value in attributes.items() if isinstance(value, Option)}


def option(default: Any, check: Callable[[Any], Any], allowed: str, **described: Any) -> Any:
    """An attribute that is an option, see `Option`; to type checkers it has the type of the annotation."""
    return Option(default, check, allowed, **described)


def choice(*values: str, default: str | None = None, aliases: Mapping[Any, str] | None = None) -> Any:
    """One of several names, the first by default; `aliases` are other schedulers' names for the same, or null."""
    same = dict(aliases or {})
    return option(
        values[0] if default is None else default,
        lambda value: _one_of(same.get(value, value) if value is None or isinstance(value, str) else value, values),
        ", ".join(values),
        type="string",
        values=values,
    )


def flag(default: bool) -> Any:
    """True or false; diffusers' files also have null for false."""
    return option(default, lambda value: _one_of(value, (True, False, None)) is True, "true, false", type="boolean")


def number(default: float, *, least: float = -LARGEST, most: float = LARGEST, infinite: bool = False) -> Any:
    """A real number from `least` to `most`; infinities, too, where `infinite`."""
    bound = "" if least == -LARGEST else f" from {least:g} to {most:g}"
    return option(default, lambda value: _number(value, least, most, infinite), f"numbers{bound}", type="number")


def positive(default: float) -> Any:
    """A number above 0."""
    allowed = f"positive numbers to {LARGEST:g}"
    return option(default, lambda value: _optional_positive(_number(value)), allowed, type="number")


def optional_number() -> Any:
    """A positive number, or null for the schedule's own."""
    return option(None, _optional_positive, f"null, a positive number to {LARGEST:g}", type="number")


def whole(default: int, *, least: int = 0, most: int = MAX_WHOLE) -> Any:
    """A whole number from `least` to `most`."""
    allowed = f"whole numbers from {least} to {most}"
    return option(default, lambda value: _whole(value, least, most), allowed, type="integer")


def numbers() -> Any:
    """A list of numbers, or null."""
    return option(None, _numbers, "null, a list of numbers")


def only(default: Any, *others: Any) -> Any:
    """An option that is not supported: accepted at the values that have no effect."""
    allowed = (default, *others)
    return option(default, lambda value: _one_of(value, allowed), ", ".join(_spell(each) for each in allowed))


def unused(default: Any = None) -> Any:
    """An option that changes nothing here, whatever its value."""
    return option(default, lambda value: value, ANYTHING)


Group = TypeVar("Group", bound=OptionGroup)


def read(options: type[Group], class_name: str, foreign: frozenset[str], config: Mapping[str, Any]) -> Group:
    """The options of a configuration, checked.

    Args:
        options: the scheduler's group.
        class_name: diffusers' name of the scheduler, for messages.
        foreign: options of other schedulers, accepted as in diffusers: a configuration may serve several.
        config: diffusers' scheduler_config.json. Keys that begin with an underscore are metadata.

    Raises:
        SamplerError: a value that is not allowed, or a key that no scheduler has.
    """
    known = declared(options)
    for key in config:
        if not key.startswith("_") and key not in known and key not in foreign:
            raise SamplerError(f"{class_name} has no option {shown(key)}; {nearest(key, known)}")
    values = {}
    for key in (name for name in known if name in config):
        try:
            values[key] = known[key].check(config[key])
        except ValueError:
            raise SamplerError(
                f"{class_name}: {key}={_spell(config[key])} is not supported; allowed: {known[key].allowed}"
            ) from None
    return options(**values)


def whole_steps(value: Any) -> int:
    """num_inference_steps, or a SamplerError."""
    try:
        return _whole(value, 1, MAX_STEPS)
    except ValueError:
        raise SamplerError(
            f"num_inference_steps={shown(value)} must be a whole number, 1 or more, to {MAX_STEPS}"
        ) from None


def _one_of(value: Any, allowed: tuple) -> Any:
    for each in allowed:
        if type(value) is type(each) and value == each:
            return each
    raise ValueError


def _number(value: Any, least: float = -LARGEST, most: float = LARGEST, infinite: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError
    try:
        converted = float(value)
    except OverflowError:  # a whole number beyond floating point
        raise ValueError from None
    if not (least <= converted <= most or (infinite and math.isinf(converted))):
        raise ValueError
    return converted


def _optional_positive(value: Any) -> float | None:
    if value is None:
        return None
    if _number(value) <= 0:
        raise ValueError
    return float(value)


def _whole(value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= int(value) <= most:
        raise ValueError
    return int(value)


def _numbers(value: Any) -> list[float] | None:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Collection) or len(value) > MAX_WHOLE:
        raise ValueError
    return [_number(each) for each in value]


def _spell(value: Any) -> str:
    """A value in JSON, cut to fit a line."""
    try:
        spelled = json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):  # keys that are not texts, values that hold themselves
        spelled = " ".join(repr(value).split())
    return spelled if len(spelled) <= _LINE else spelled[:_LINE] + " ..."
