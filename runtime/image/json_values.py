"""Values of JSON, checked by type hints."""

import math
import re
import reprlib
import sys
import types
from typing import Any, get_args, get_origin

from ..errors import ArgumentError

_WORDS = {str: "text", int: "whole number", float: "number", dict: "JSON object"}

_SHOWN = 80  # characters of a value in an error

_HALF_PAIR = re.compile("[\ud800-\udfff]")
"""Half a surrogate pair: JSON can hold it, but it is not a character."""


def check(name: str, value: Any, hint: Any) -> None:
    """Check a value by a type hint: of a scalar, a list or an object, or several with | between them.

    Raises:
        ArgumentError: the value is of another type, NaN, a number beyond float64, or text that is not Unicode.
    """
    hints = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if not any(_is(value, each) for each in hints):
        found = reprlib.repr(value)  # the value may be long, and a list in a list, many times
        found = found if len(found) <= _SHOWN else f"{found[:_SHOWN]}..."
        raise ArgumentError(f"{name}={found}; allowed: {', or '.join(map(_words, hints))}")


def _is(value: Any, hint: Any) -> bool:
    kind = get_origin(hint) or hint
    if kind is list:
        return isinstance(value, list) and all(_is(each, get_args(hint)[0]) for each in value)
    if isinstance(value, bool):
        return False
    if kind is str:
        return isinstance(value, str) and not _HALF_PAIR.search(value)
    if kind is float:  # JSON has one type of numbers; infinity is a number, as the end of an interval
        whole = isinstance(value, int) and abs(value) <= sys.float_info.max
        return whole or (isinstance(value, float) and not math.isnan(value))
    return isinstance(value, kind)


def _words(hint: Any) -> str:
    kind = get_origin(hint) or hint
    if kind is types.NoneType:
        return "null"
    return f"a list of {_WORDS[get_args(hint)[0]]}s" if kind is list else f"a {_WORDS[kind]}"
