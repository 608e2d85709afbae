"""A component in its own folder, as diffusers saves it: config.json and weights, perhaps in variants."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from triptych.runtime.errors import SourceError

from ..sources import check_file, read_json
from .tensors import read_weights

SUFFIXES = ("safetensors", "bin")
"""Suffixes of weights in order of preference."""

_STEMS = ("model", "diffusion_pytorch_model", "pytorch_model")
_SHARD = r"(?:-\d+-of-\d+)?"
_VARIANT = re.compile(rf"(?:{'|'.join(_STEMS)}){_SHARD}\.([^.]+?){_SHARD}\.(?:{'|'.join(SUFFIXES)})")


class Part(Protocol):
    """The source of a component."""

    def config(self) -> dict[str, Any]:
        """The component's config.json, without the path that it was saved from."""

    def weights(self, module: nn.Module) -> Mapping[str, torch.Tensor]:
        """The weights for `module`, by diffusers' or transformers' names, with the dtypes of the file.

        Raises:
            SourceError: they are missing or cannot be read.
        """

    def weights_bytes(self) -> int:
        """Size in bytes of the weights on disk.

        Raises:
            SourceError: they are missing.
        """


@dataclass(frozen=True)
class Folder:
    """A folder with a component. `checkpoint` is the name of the checkpoint in messages.

    Files with the `variant` in their names, such as fp16, are read; where there are none, the plain ones.
    """

    path: Path
    checkpoint: str
    variant: str | None = None

    def config(self) -> dict[str, Any]:
        """See `Part`."""
        config = read_json(self.path / "config.json")
        return {key: value for key, value in config.items() if key != "_name_or_path"}

    def weights(self, module: nn.Module) -> Mapping[str, torch.Tensor]:
        """See `Part`."""
        return {name: tensor for file in self._files() for name, tensor in read_weights(file).items()}

    def weights_bytes(self) -> int:
        """See `Part`."""
        files = self._files()
        for file in files:
            check_file(file)
        return sum(file.stat().st_size for file in files)

    def has(self, variant: str | None) -> bool:
        """Whether there are weights in the variant; None is the plain ones."""
        return any(_weights_files(self.path, variant, suffix) for suffix in SUFFIXES)

    def _files(self) -> list[Path]:
        for variant in dict.fromkeys((self.variant, None)):
            for suffix in SUFFIXES:
                if files := _weights_files(self.path, variant, suffix):
                    return files
        names = ", ".join(sorted(file.name for file in self.path.glob("*"))) or "nothing"
        component = self.path.name
        if variants := _variants(names.split(", ")):
            options = " or ".join(f"--variant {variant}" for variant in variants)
            raise SourceError(
                f"{self.checkpoint} has weights for {component} in a variant alone, {names}; give {options}"
            )
        raise SourceError(f"{self.checkpoint} has no weights for {component}: no .safetensors or .bin among {names}")


def weights_patterns(variant: str | None, suffix: str) -> list[str]:
    """File names of weights in one variant, whole or in shards, as shell patterns."""
    forms: tuple[str, ...] = ("{}.{}", "{}-*-of-?????.{}", "{}.{}.index.json")
    if variant is not None:
        forms = (
            f"{{}}.{variant}.{{}}",
            f"{{}}.{variant}-*-of-?????.{{}}",
            f"{{}}-*-of-?????.{variant}.{{}}",
            f"{{}}.{{}}.index.{variant}.json",
        )
    return [form.format(stem, suffix) for stem in _STEMS for form in forms]


def no_variant(checkpoint: str, variant: str, names: Iterable[str]) -> SourceError:
    """The error for a checkpoint whose weights, the files by these names, lack a variant."""
    found = _variants(names)
    there = f"there are {', '.join(found)} and the plain weights" if found else "it has the plain weights alone"
    return SourceError(f"{checkpoint} has no weights in a variant {variant}: {there}")


def _variants(names: Iterable[str]) -> list[str]:
    """The variants among the names of files."""
    return sorted({match[1] for name in names if (match := _VARIANT.fullmatch(name.rpartition("/")[2]))})


def _weights_files(folder: Path, variant: str | None, suffix: str) -> list[Path]:
    """One file, or the shards that its index lists."""
    infix = "" if variant is None else f".{variant}"
    for stem in _STEMS:
        whole, index = folder / f"{stem}{infix}.{suffix}", folder / f"{stem}.{suffix}.index{infix}.json"
        if whole.exists():
            return [whole]
        if index.exists():
            return [folder / shard for shard in _shards(index)]
    return []


def _shards(index: Path) -> list[str]:
    """The names of the shards that an index lists."""
    places = read_json(index).get("weight_map")
    names: set[Any] = set(map(str, places.values())) if isinstance(places, dict) else set()
    if not names or not all(Path(name).name == name != "" and Path(name).suffix for name in names):
        raise SourceError(f"{index.parent.name}/{index.name} lists no shards: weight_map should be tensor -> file")
    return sorted(names)
