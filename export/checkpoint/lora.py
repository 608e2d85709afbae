"""LoRAs (Hu et al. 2021, https://arxiv.org/abs/2106.09685): W + weight * alpha / rank * up @ down.

Files of diffusers and kohya are read by diffusers' rules for names; peft is not needed.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from triptych.runtime.errors import SourceError

from ..files import sha256_of
from .folder import Part
from .hub import fetch, is_hub_id
from .tensors import Tensors

_FILE = "pytorch_lora_weights.safetensors"  # diffusers' name for the file in a folder
_WEIGHTS = re.compile(r"(\.alpha|lora[._](up|down|A|B)\.weight|lora_linear_layer\.(up|down)\.weight)$")
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"
_COMPONENTS = ("unet", "text_encoder", "text_encoder_2")


@dataclass(frozen=True)
class Layer:
    """The update of one layer: `scale` * `up` [out, rank, ...] @ `down` [rank, in, ...]."""

    down: torch.Tensor
    up: torch.Tensor
    scale: float


@dataclass(frozen=True)
class Lora:
    """A LoRA for a checkpoint: component -> name of a module -> update; `trained_on` is its trainer's own record."""

    name: str
    sha256: str
    weight: float
    layers: Mapping[str, Mapping[str, Layer]]
    trained_on: str | None

    def fuse(self, component: str, module: nn.Module) -> None:
        """Add the LoRA to the weights of a component, in float32.

        Raises:
            SourceError: the component has no such layer, or one of another shape.
        """
        modules = dict(module.named_modules())
        for name, layer in self.layers.get(component, {}).items():
            # transformers 5 leaves the first part of a name out, in the module and in LoRAs that are saved with it
            places = (name, name.removeprefix("text_model."), f"text_model.{name}")
            weight = getattr(next((modules[each] for each in places if each in modules), None), "weight", None)
            if not isinstance(weight, nn.Parameter):
                raise self._misfit(component, f"which has no layer {name}")
            up, down = layer.up.float().flatten(1), layer.down.float().flatten(1)
            if up.shape[1] != down.shape[0] or (len(up), down.shape[1]) != weight.flatten(1).shape:
                shapes = f"{list(layer.up.shape)} x {list(layer.down.shape)}"
                raise self._misfit(component, f"where {name} is {list(weight.shape)}, and not {shapes}")
            # Not in place: the weights may be the file's, mapped
            weight.data = weight.data + (self.weight * layer.scale) * (up @ down).view_as(weight)

    def _misfit(self, component: str, problem: str) -> SourceError:
        trained = f" (it was trained on {self.trained_on})" if self.trained_on else ""
        return SourceError(f"the LoRA {self.name} does not fit this checkpoint's {component}, {problem}{trained}")


def open_lora(source: str | Path, weight: float, parts: Mapping[str, Part]) -> Lora:
    """Open a LoRA for a checkpoint of these parts: a .safetensors file, a folder with one, or a hub id.

    Raises:
        SourceError: nothing there, broken, no LoRA, of a kind that is not supported, or for other components.
    """
    tensors = Tensors(_file(source))
    name = tensors.file.name
    if not any("lora" in key for key in tensors):
        raise SourceError(f"{name} is no LoRA: none of its {len(tensors)} tensors is named as one")
    for key in tensors:
        if not _WEIGHTS.search(key):
            raise SourceError(f"{name} holds {key}: only plain LoRAs are supported, no DoRA, LoHa or LoKr")
    layers = _layers(tensors, parts["unet"].config())
    for component in layers:
        if component not in parts or component not in _COMPONENTS:
            first = next(iter(layers[component]))
            raise SourceError(f"{name} is a LoRA for another family: this checkpoint has no {component} ({first})")
    trained_on = tensors.metadata.get("ss_base_model_version")
    return Lora(name, sha256_of(tensors.file), weight, layers, trained_on)


def _file(source: str | Path) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    if not path.is_dir():
        if not is_hub_id(source):
            raise SourceError(f"the LoRA {source} is neither a file, a folder nor a hub id (owner/name)")
        path = fetch(str(source), None, [_FILE])
    files = sorted(path.glob("*.safetensors"))
    if path / _FILE in files:
        return path / _FILE
    if len(files) != 1:
        listed = ", ".join(file.name for file in files) or "none"
        raise SourceError(f"{source} holds no {_FILE}, and not one .safetensors file but {listed}; name the file")
    return files[0]


def _layers(tensors: Tensors, unet: Mapping[str, Any]) -> dict[str, dict[str, Layer]]:
    """Component -> name of a module -> update."""
    from diffusers.loaders import StableDiffusionLoraLoaderMixin

    try:
        weights, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(
            dict(tensors), unet_config=SimpleNamespace(**unet)
        )
        adapter = json.loads(tensors.metadata.get("lora_adapter_metadata", "{}"))  # diffusers' own
    except Exception as error:  # KeyError, ValueError, IndexError: diffusers parses every name
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        raise SourceError(f"{tensors.file.name} cannot be read as a LoRA, by diffusers ({reason})") from None
    named = _peft_names(weights)
    alphas = _peft_names({_down_name(name): alpha for name, alpha in (alphas or {}).items()})  # kohya's
    layers: dict[str, dict[str, Layer]] = {}
    for module in dict.fromkeys(key.removesuffix(_DOWN).removesuffix(_UP) for key in named):
        if module in named:
            raise SourceError(f"{tensors.file.name} holds {module}, which is in no layout of LoRAs that is known")
        key = module + _DOWN
        if key not in named or module + _UP not in named:
            raise SourceError(f"{tensors.file.name} lacks one of the two halves of {module}")
        component, _, name = module.partition(".")
        down, up = named[key], named[module + _UP]
        rank = len(down)
        scale = alphas[key] / rank if key in alphas else _adapter_scale(adapter, component, name, rank)
        layers.setdefault(component, {})[name] = Layer(down, up, scale)
    return layers


def _down_name(alpha: str) -> str:
    """The name of the weight that an alpha scales; alphas are named for the weight or for its module."""
    name = alpha.removesuffix(".alpha")
    return name if name.endswith(".down.weight") else f"{name}.lora.down.weight"


def _peft_names(named: Mapping[str, Any]) -> dict[str, Any]:
    """The values, named `component.module.lora_A.weight` (down) and `.lora_B.weight` (up)."""
    from diffusers.utils import state_dict_utils as names

    unet = {key: value for key, value in named.items() if key.startswith("unet.")}
    text = {key: value for key, value in named.items() if key not in unet}
    of_text = names.DIFFUSERS_TO_PEFT | names.DIFFUSERS_OLD_TO_PEFT
    return {**names.convert_state_dict(unet, names.UNET_TO_DIFFUSERS), **names.convert_state_dict(text, of_text)}


def _adapter_scale(adapter: Mapping[str, Any], component: str, module: str, rank: int) -> float:
    """alpha / rank by peft's rules, from the configuration that diffusers stores with its LoRAs; 1 without one."""
    prefix = f"{component}."
    config = {key.removeprefix(prefix): value for key, value in adapter.items() if key.startswith(prefix)}
    alpha = config.get("lora_alpha", rank)
    for pattern, value in config.get("alpha_pattern", {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            alpha = value
            break
    return float(alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))
