"""Files that hold one JSON object, as all of a package's are, and values of such objects, checked as they are read."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from ..errors import PackageError

T = TypeVar("T")

_NAMES = {str: "a text", int: "a whole number", bool: "true or false", list: "a list", dict: "a JSON object"}


def read_json(path: Path, *, optional: bool = False) -> dict[str, Any]:
    """The JSON object in a file; {} where an optional one does not exist.

    Raises:
        PackageError: the file is missing, cannot be read, or holds something else.
    """
    if optional and not path.exists():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PackageError(f"{path} is missing") from None
    except (ValueError, OSError) as error:
        raise PackageError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(value, dict):
        raise PackageError(f"{path} should hold a JSON object, not a {type(value).__name__}")
    return value


class JsonObject:
    """A JSON object that gives checked values.

    Args:
        value: the object.
        place: where it stands, before a key in an error: "triptych.json: components.unet.".

    Raises:
        PackageError: from every method, if the value of a key is missing or of another type; names the key.
    """

    def __init__(self, value: object, place: str) -> None:
        if not isinstance(value, dict):
            raise PackageError(f"{place.rstrip('. ')} is {value!r}; it should be {_NAMES[dict]}")
        self._value: dict[str, Any] = value
        self._place = place

    def __iter__(self) -> Iterator[str]:
        return iter(self._value)

    def error(self, key: str, allowed: str) -> PackageError:
        """The error for the value of a key, which should be what is `allowed`."""
        found = repr(self._value[key]) if key in self._value else "missing"
        return PackageError(f"{self._place}{key} is {found}; it should be {allowed}")

    def required(self, key: str, kind: type[T]) -> T:
        """A value of a type."""
        value = self._value.get(key)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.error(key, _NAMES[kind])
        return value

    def optional(self, key: str, kind: type[T]) -> T | None:
        """A value of a type; None where the key is missing or null."""
        return None if self._value.get(key) is None else self.required(key, kind)

    def optional_object(self, key: str) -> "JsonObject | None":
        """An object; None where the key is missing or null."""
        value = self.optional(key, dict)
        return None if value is None else JsonObject(value, f"{self._place}{key}.")

    def objects(self, key: str) -> "dict[str, JsonObject]":
        """An object of objects; {} where the key is missing or null."""
        outer = self.optional(key, dict) or {}
        return {name: JsonObject(value, f"{self._place}{key}.{name}.") for name, value in outer.items()}

    def optional_list(self, key: str) -> "list[JsonObject] | None":
        """A list of objects; None where the key is missing or null."""
        values = self.optional(key, list)
        if values is None:
            return None
        return [JsonObject(value, f"{self._place}{key}[{i}].") for i, value in enumerate(values)]

    def whole_numbers(self, key: str, count: int | None = None) -> tuple[int, ...]:
        """A list of whole numbers, `count` of them or any number."""
        values = self.required(key, list)
        whole = all(isinstance(each, int) and not isinstance(each, bool) for each in values)
        if not whole or count not in (None, len(values)):
            raise self.error(key, f"a list of {'' if count is None else f'{count} '}whole numbers")
        return tuple(values)
