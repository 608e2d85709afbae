"""Values of any library as plain values of Python and numpy: numbers, lists, texts, arrays.

Every function raises ValueError for a value of another kind. A text is not a number, and neither are true and false.
"""

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LONGEST = 100_000
"""Values that a list of numbers or texts may have."""

_NO_NUMBERS = "bcmMOSU"  # kinds of numpy: boolean, complex, times, objects, texts


def whole(value: Any) -> int:
    """A whole number: an int, or a scalar of numpy or PyTorch that counts as one (`operator.index`)."""
    _check_scalar(value)
    try:
        return int(operator.index(value))
    except Exception as error:  # of any class: the value is one of the caller's
        raise ValueError("not a whole number") from error


def real(value: Any) -> int | float:
    """A real number, also NaN or infinity: whole ones as int, others as float."""
    _check_scalar(value)
    try:
        number = float(value)  # also of a whole number, which may be beyond floating point
    except Exception as error:  # see `whole`
        raise ValueError("not a number") from error
    try:
        return whole(value)
    except ValueError:
        return number


def text(value: Any) -> str:
    """A text; of a subclass, its characters alone."""
    if not isinstance(value, str):
        raise ValueError("not a text")
    return str.__str__(value)


def listed(value: Any) -> list[Any]:
    """The values of a list, a tuple, or an array of one axis."""
    if isinstance(value, str | bytes | bytearray) or not (isinstance(value, Sequence) or _axes(value) == 1):
        raise ValueError("not a list")
    if len(value) > LONGEST:
        raise ValueError("not a list of that length")
    return list(value)


def is_listed(value: Any) -> bool:
    """Whether `listed` takes the value."""
    try:
        listed(value)
    except ValueError:
        return False
    return True


def array(value: Any) -> np.ndarray:
    """Float32, from an array, a tensor of PyTorch of any type and device, or nested lists."""
    try:
        numbers = np.asarray(value)
    except Exception:  # see `whole`; numpy reads no bfloat16, no other device and no gradients
        try:
            numbers = np.asarray(value.detach().cpu().float())
        except Exception as error:
            raise ValueError("not an array of numbers") from error
    if numbers.dtype.kind in _NO_NUMBERS:
        raise ValueError("not an array of numbers")
    with np.errstate(over="ignore", invalid="ignore"):  # infinity is for the caller to refuse
        return numbers.astype(np.float32, copy=False)


def json_value(value: Any) -> Any:
    """A value of JSON: null, a boolean, a number, a text, or a list of such values."""
    if value is None or isinstance(value, bool | np.bool_):
        return None if value is None else bool(value)
    if isinstance(value, str):
        return text(value)
    return [json_value(each) for each in listed(value)] if is_listed(value) else real(value)


def json_object(value: Any) -> dict[str, Any]:
    """A mapping of texts to values of JSON."""
    if not isinstance(value, Mapping):
        raise ValueError("not a mapping")
    return {text(name): json_value(each) for name, each in value.items()}


def _check_scalar(value: Any) -> None:
    dtype = getattr(value, "dtype", None)
    if isinstance(value, bool | str | bytes | bytearray) or _axes(value) > 0 or str(dtype).endswith("bool"):
        raise ValueError("not a number")
    if isinstance(dtype, np.dtype) and dtype.kind in _NO_NUMBERS:
        raise ValueError("not a number")


def _axes(value: Any) -> int:
    axes = getattr(value, "ndim", 0)
    return axes if isinstance(axes, int) else 0
