"""Files that hold one JSON object, as all of a package's are, and values of such objects, checked as they are read."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from ..errors import PackageError, system_reason
from ..reading import read_file

T = TypeVar("T")

LIMIT = 16 << 20
"""Bytes that a JSON file may have; vocabularies of text encoders have about one million."""
DEPTH = 64
"""Objects and lists within each other in a file."""

_NAMES = {str: "a text", int: "a whole number", bool: "true or false", list: "a list", dict: "a JSON object"}
_DIGITS = 40  # of a whole number: transformers writes 1e30 for "no limit", digit by digit
_SHOWN = 80  # characters of a value in a message
_TOO_DEEP = f"it is nested more than {DEPTH} levels deep"
_HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")


def read_json(path: Path, *, optional: bool = False, limit: int = LIMIT) -> dict[str, Any]:
    """The JSON object in a file; {} where an optional one does not exist.

    Args:
        path: of the file.
        optional: the file may be missing.
        limit: bytes that it may have.

    Raises:
        PackageError: the file is missing, not a regular file, cannot be read, too large, nested too deeply, or holds
            something else.
    """
    if not exists(path):
        if optional:
            return {}
        raise PackageError(f"{path} is missing")
    content = read_file(path, limit, PackageError)
    try:
        value = json.loads(content.decode("utf-8-sig"), parse_int=_whole_number)
        _check_depth(value)
        if _HALF_CHARACTER.search(content):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise PackageError(f"{path} cannot be read as JSON: {_TOO_DEEP}") from None
    except ValueError as error:
        raise PackageError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(value, dict):
        raise PackageError(f"{path} should hold a JSON object, not a {type(value).__name__}")
    return value


def exists(path: Path) -> bool:
    """Whether a folder has an entry, a broken link too.

    Raises:
        PackageError: the folder cannot be read.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as reason:
        raise PackageError(f"{path} cannot be read: {system_reason(reason)}") from None
    return True


def _whole_number(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits; allowed: {_DIGITS}")
    return int(digits)


def _check_depth(value: object) -> None:
    level, depth = [value], 0
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        if depth > DEPTH:
            raise ValueError(_TOO_DEEP)
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]


def shown(value: object) -> str:
    """A value in a message, on one line and cut to a length that can be read."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def spelled(key: str) -> str:
    """A name in a message: as it is, or quoted where it is long or does not fit on one line."""
    return key if key.isprintable() and len(key) <= _SHOWN else shown(key)


class JsonObject(Mapping[str, Any]):
    """A JSON object that gives checked values, and as a mapping those values as they are.

    Args:
        value: the object.
        place: where it stands, before a key in an error: "triptych.json: components.unet.".

    Attributes:
        place: see above.

    Raises:
        PackageError: from every method, if the value of a key is missing, of another type or out of its range; names
            the key.
    """

    def __init__(self, value: object, place: str) -> None:
        if not isinstance(value, dict):
            raise PackageError(f"{place.rstrip('. ')} is {shown(value)}; it should be {_NAMES[dict]}")
        self._value: dict[str, Any] = value
        self.place = place

    @classmethod
    def read(cls, path: Path, *, optional: bool = False, limit: int = LIMIT) -> Self:
        """The object in a file, see `read_json`."""
        return cls(read_json(path, optional=optional, limit=limit), f"{path}: ")

    @classmethod
    def of(cls, value: Mapping[str, Any], place: str) -> "JsonObject":
        """The mapping itself if it is such an object, else one at `place`."""
        return value if isinstance(value, JsonObject) else cls(dict(value), place)

    def __getitem__(self, key: str) -> Any:
        return self._value[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._value)

    def __len__(self) -> int:
        return len(self._value)

    def error(self, key: str, allowed: str) -> PackageError:
        """The error for the value of a key, which should be what is `allowed`."""
        found = shown(self._value[key]) if key in self._value else "missing"
        return PackageError(f"{self.place}{spelled(key)} is {found}; it should be {allowed}")

    def required(self, key: str, kind: type[T]) -> T:
        """A value of a type."""
        value = self._value.get(key)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.error(key, _NAMES[kind])
        return value

    def optional(self, key: str, kind: type[T]) -> T | None:
        """A value of a type; None where the key is missing or null."""
        return None if self._value.get(key) is None else self.required(key, kind)

    def whole(self, key: str, least: int, most: int) -> int:
        """A whole number in a range."""
        value = self.required(key, int)
        if not least <= value <= most:
            raise self.error(key, f"a whole number from {least} to {most}")
        return value

    def optional_whole(self, key: str, least: int, most: int) -> int | None:
        """A whole number in a range; None where the key is missing or null."""
        return None if self._value.get(key) is None else self.whole(key, least, most)

    def number(self, key: str, least: float = -math.inf, most: float = math.inf) -> float:
        """A finite number in a range."""
        value = self._value.get(key)
        finite = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not finite or not least <= value <= most:  # type: ignore[operator]  # it is a number
            bounds = "" if math.isinf(least) and math.isinf(most) else f" from {least:g} to {most:g}"
            raise self.error(key, f"a finite number{bounds}")
        return float(value)  # type: ignore[arg-type]  # it is a number

    def optional_number(self, key: str, least: float = -math.inf, most: float = math.inf) -> float | None:
        """A finite number in a range; None where the key is missing or null."""
        return None if self._value.get(key) is None else self.number(key, least, most)

    def optional_numbers(self, key: str, count: int, least: float = -math.inf) -> tuple[float, ...] | None:
        """A list of `count` finite numbers, each at least `least`; None where the key is missing or null."""
        values = self.optional(key, list)
        if values is None:
            return None
        allowed = [isinstance(each, int | float) and not isinstance(each, bool) for each in values]
        if (
            len(values) != count
            or not all(allowed)
            or not all(math.isfinite(each) and each >= least for each in values)
        ):
            bounds = "" if math.isinf(least) else f" from {least:g}"
            raise self.error(key, f"a list of {count} finite numbers{bounds}")
        return tuple(map(float, values))

    def numbers(self, key: str, count: int) -> tuple[float, ...]:
        """A list of `count` finite numbers."""
        self.required(key, list)
        return self.optional_numbers(key, count) or ()

    def optional_object(self, key: str) -> "JsonObject | None":
        """An object; None where the key is missing or null."""
        value = self.optional(key, dict)
        return None if value is None else JsonObject(value, f"{self.place}{spelled(key)}.")

    def objects(self, key: str) -> "dict[str, JsonObject]":
        """An object of objects; {} where the key is missing or null."""
        outer = self.optional(key, dict) or {}
        return {
            name: JsonObject(value, f"{self.place}{spelled(key)}.{spelled(name)}.") for name, value in outer.items()
        }

    def optional_list(self, key: str) -> "list[JsonObject] | None":
        """A list of objects; None where the key is missing or null."""
        values = self.optional(key, list)
        if values is None:
            return None
        return [JsonObject(value, f"{self.place}{spelled(key)}[{i}].") for i, value in enumerate(values)]

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        values = self.required(key, list)
        if not all(isinstance(each, str) for each in values):
            raise self.error(key, "a list of texts")
        return tuple(values)

    def whole_numbers(self, key: str, count: int | None = None, least: int | None = None) -> tuple[int, ...]:
        """A list of whole numbers, `count` of them or any number, each at least `least`."""
        values = self.required(key, list)
        whole = all(isinstance(each, int) and not isinstance(each, bool) for each in values)
        if not whole or count not in (None, len(values)):
            raise self.error(key, f"a list of {'' if count is None else f'{count} '}whole numbers")
        if least is not None and min(values, default=least) < least:
            raise self.error(key, f"a list of whole numbers from {least}")
        return tuple(values)
