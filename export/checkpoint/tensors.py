"""Weights that are mapped from their files: they take memory when they are used."""

import math
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open

from triptych.runtime.errors import SourceError

from ..sources import check_file, one_line

_BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32}  # others have 8, near enough for a disk


class Tensors(Mapping[str, torch.Tensor]):
    """Name -> tensor of a .safetensors file, mapped from it: a tensor takes memory when it is looked up.

    Raises:
        SourceError: the file is missing, of another format, or truncated.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        check_file(file)
        try:
            self._opened = cast(Any, safe_open(file, framework="pt"))
            self._names = dict.fromkeys(sorted(self._opened.keys()))
        except Exception as error:  # safetensors' own and OSError
            raise SourceError(f"{_place(file)} cannot be read: {one_line(error)}") from None

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

    A pickle from before PyTorch 1.6, which is not a zip archive, is read whole.

    Raises:
        SourceError: the file cannot be read, or holds something else.
    """
    if file.suffix == ".safetensors":
        return Tensors(file)
    tensors = unpickled(file)
    if not isinstance(tensors, dict) or not all(isinstance(each, torch.Tensor) for each in tensors.values()):
        raise SourceError(f"{_place(file)} holds no weights: it should be a dict of tensors")
    return tensors


def unpickled(file: Path) -> Any:
    """The content of a file of `torch.save`, of tensors and plain values alone: no code in it is run.

    Raises:
        SourceError: the file cannot be read, or holds other objects.
    """
    check_file(file)
    try:
        with torch.serialization.safe_globals([torch.nn.ParameterDict]):  # of the first learned words
            return torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except pickle.UnpicklingError:
        raise SourceError(
            f"{_place(file)} cannot be read: it is not a file of torch.save, or holds Python objects other than "
            "tensors, which are not loaded, as they may run code; convert it to .safetensors"
        ) from None
    except Exception as error:  # zipfile, EOFError and OSError
        raise SourceError(f"{_place(file)} cannot be read: {one_line(error)}") from None


def _place(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"
