"""Options of a scheduler configuration: what each may be, and what is refused.

Every option that diffusers' class has is either taken, or accepted only where it changes nothing. Nothing is ignored.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from ..errors import SamplerError, nearest

_UNSET = object()
_LINE = 60  # characters of a value that an error message shows


@dataclass(frozen=True)
class Option:
    """A default, a check that gives the value to use or raises ValueError, and what the check allows, in words."""

    default: Any
    check: Callable[[Any], Any]
    allowed: str


def choice(*values: str, default: str | None = None, aliases: Mapping[Any, str] | None = None) -> Option:
    """One of several names, the first by default; `aliases` are other schedulers' names for the same, or null."""
    same = dict(aliases or {})
    return Option(
        values[0] if default is None else default,
        lambda given: _one_of(same.get(given, given) if given is None or isinstance(given, str) else given, values),
        ", ".join(values),
    )


def flag(default: bool) -> Option:
    """True or false; diffusers' files also have null for false."""
    return Option(default, lambda given: _one_of(given, (True, False, None)) is True, "true, false")


def number(default: float, *, least: float = -math.inf, most: float = math.inf, infinite: bool = False) -> Option:
    """A real number from `least` to `most`; infinities only where `infinite`."""
    bound = "" if least == -math.inf else f" from {least:g}" + ("" if most == math.inf else f" to {most:g}")
    return Option(default, lambda given: _number(given, least, most, infinite), f"numbers{bound}")


def positive(default: float) -> Option:
    """A number above 0."""
    return Option(default, lambda given: _optional_positive(_number(given)), "positive numbers")


def optional_number() -> Option:
    """A positive number, or null for the schedule's own."""
    return Option(None, _optional_positive, "null, a positive number")


def whole(default: int, *, least: int = 0, most: int | None = None) -> Option:
    """A whole number from `least` to `most`."""
    bound = f"whole numbers from {least}" + ("" if most is None else f" to {most}")
    return Option(default, lambda given: _whole(given, least, most), bound)


def numbers() -> Option:
    """A list of numbers, or null."""
    return Option(None, _numbers, "null, a list of numbers")


def only(value: Any, *others: Any) -> Option:
    """An option that is not supported: accepted at the values at which it does nothing."""
    allowed = (value, *others)
    return Option(value, lambda given: _one_of(given, allowed), ", ".join(_spell(each) for each in allowed))


def unused(default: Any = None) -> Option:
    """An option that changes nothing here, whatever its value."""
    return Option(default, lambda given: given, "anything")


def read(class_name: str, options: Mapping[str, Option], foreign: frozenset[str], config: Mapping[str, Any]) -> dict:
    """The value of every option, from a configuration.

    Args:
        class_name: for messages.
        options: what the scheduler takes.
        foreign: options of other schedulers, which diffusers too lets pass: a configuration may serve several.
        config: diffusers' scheduler_config.json. Keys that begin with an underscore are metadata.

    Raises:
        SamplerError: a value that is not allowed, or a key that no scheduler has.
    """
    for key in config:
        if not key.startswith("_") and key not in options and key not in foreign:
            raise SamplerError(f"{class_name} has no option {key!r}; {nearest(key, options)}")
    values = {}
    for key, option in options.items():
        given = config.get(key, _UNSET)
        try:
            values[key] = option.default if given is _UNSET else option.check(given)
        except ValueError:
            spelled = _spell(given)
            raise SamplerError(f"{class_name}: {key}={spelled} is not supported; allowed: {option.allowed}") from None
    return values


def whole_steps(given: Any) -> int:
    """num_inference_steps, or a SamplerError."""
    try:
        return _whole(given, 1, None)
    except ValueError:
        raise SamplerError(f"num_inference_steps={given!r} must be a whole number, 1 or more") from None


def _one_of(given: Any, allowed: tuple) -> Any:
    for value in allowed:
        if type(given) is type(value) and given == value:
            return value
    raise ValueError


def _number(given: Any, least: float = -math.inf, most: float = math.inf, infinite: bool = False) -> float:
    if isinstance(given, bool) or not isinstance(given, Real):
        raise ValueError
    value = float(given)
    if not least <= value <= most or (math.isinf(value) and not infinite):
        raise ValueError
    return value


def _optional_positive(given: Any) -> float | None:
    if given is None:
        return None
    if _number(given) <= 0:
        raise ValueError
    return float(given)


def _whole(given: Any, least: int, most: int | None) -> int:
    if isinstance(given, bool) or not isinstance(given, Integral):
        raise ValueError
    value = int(given)
    if value < least or (most is not None and value > most):
        raise ValueError
    return value


def _numbers(given: Any) -> list[float] | None:
    if given is None:
        return None
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ValueError
    return [_number(each) for each in given]


def _spell(value: Any) -> str:
    """As the JSON file has it, cut to fit a line."""
    spelled = json.dumps(value, default=str)
    return spelled if len(spelled) <= _LINE else spelled[:_LINE] + " ..."
