"""Reading of files: JSON, and weights that take memory when they are used."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open

from triptych.runtime.errors import SourceError

_BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32}  # others have 8, near enough for a disk


class Tensors(Mapping[str, torch.Tensor]):
    """Name -> tensor of a .safetensors file, mapped from it: a tensor takes memory when it is looked up.

    Raises:
        SourceError: the file is of another format, or is truncated.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            self._opened = cast(Any, safe_open(file, framework="pt"))
            self._names = dict.fromkeys(sorted(self._opened.keys()))
        except Exception as error:  # safetensors' own and OSError
            raise SourceError(f"{_place(file)} cannot be read: {_one_line(error)}") from None

    @property
    def metadata(self) -> Mapping[str, str]:
        """The file's own metadata."""
        return self._opened.metadata() or {}

    def bytes_of(self, name: str) -> int:
        """Size in bytes of one tensor in the file, from its header."""
        described = self._opened.get_slice(name)
        shape: list[int] = described.get_shape()
        return math.prod(shape) * _BITS.get(described.get_dtype(), 8) // 8

    def __getitem__(self, name: str) -> torch.Tensor:
        if name not in self._names:
            raise KeyError(name)
        tensor: torch.Tensor = self._opened.get_tensor(name)
        return tensor

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def read_weights(file: Path) -> Mapping[str, torch.Tensor]:
    """Map the tensors of a file of weights, .safetensors or a pickle of tensors alone.

    Raises:
        SourceError: the file cannot be read.
    """
    if file.suffix == ".safetensors":
        return Tensors(file)
    try:
        tensors: dict[str, torch.Tensor] = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        return tensors
    except Exception as error:  # pickle, zipfile and OSError
        raise SourceError(f"{_place(file)} cannot be read: {_one_line(error)}") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds a JSON object.

    Raises:
        SourceError: the file cannot be read, or holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise SourceError(f"{_place(path)} cannot be read as JSON: {error}") from None
    if not isinstance(value, dict):
        raise SourceError(f"{_place(path)} should hold a JSON object, not a {type(value).__name__}")
    return value


def _place(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
