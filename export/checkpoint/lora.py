"""LoRAs (Hu et al. 2021, https://arxiv.org/abs/2106.09685): W + weight * alpha / rank * up @ down.

Files of diffusers and kohya are read by diffusers' rules for names; peft is not needed.
"""

import json
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from triptych.runtime.errors import SourceError, TriptychWarning

from ..files import sha256_of
from ..sources import is_hub_id, read_json
from .folder import Part
from .hub import fetch
from .tensors import Tensors, read_weights

_FILE = "pytorch_lora_weights.safetensors"  # diffusers' name for the file in a folder
_FILES = (_FILE, "adapter_model.safetensors", "pytorch_lora_weights.bin", "adapter_model.bin")  # then peft's
_ADAPTER = "adapter_config.json"  # peft's, next to the file
_BUNDLED, _PEFT = "bundle_emb.", "base_model.model."
_OTHER_KINDS = {"dora_scale": "DoRA", "hada_": "LoHa", "lokr_": "LoKr", ".oft_": "OFT", "on_input": "IA3"}
_UNET = re.compile(r"(down_blocks|mid_block|up_blocks|conv_in|conv_out|time_embedding|add_embedding)\.")
_TEXT = re.compile(r"text_model\.|encoder\.layers\.|text_projection\.")
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


@dataclass(frozen=True)
class _File:
    """A file's tensors, named as diffusers names them, its metadata, and the configuration of its adapters."""

    path: Path
    tensors: Mapping[str, torch.Tensor]
    metadata: Mapping[str, str]
    adapter: Mapping[str, Any]


def open_lora(source: str | Path, weight: float, parts: Mapping[str, Part]) -> Lora:
    """Open a LoRA for a checkpoint of these parts: a .safetensors, .bin or .pt file, a folder with one, or a hub id.

    Raises:
        SourceError: nothing there, broken, no LoRA, of a kind that is not supported, or for other components.
    """
    file = _read(_file(source))
    name = file.path.name
    layers = _layers(file, parts["unet"].config())
    for component in layers:
        if component not in parts or component not in _COMPONENTS:
            first = next(iter(layers[component]))
            raise SourceError(f"{name} is a LoRA for another family: this checkpoint has no {component} ({first})")
    trained_on = file.metadata.get("ss_base_model_version")
    return Lora(name, sha256_of(file.path), weight, layers, trained_on)


def _read(path: Path) -> _File:
    """A file of any layout; learned words that are bundled with the LoRA are left out, with a warning."""
    name, metadata = path.name, {}
    held: Mapping[str, torch.Tensor] = read_weights(path)
    if isinstance(held, Tensors):
        metadata = dict(held.metadata)
    bundled = {key.split(".")[1] for key in held if key.startswith(_BUNDLED)}
    if bundled:
        warnings.warn(
            f"{name} bundles learned words, which are left out: {', '.join(sorted(bundled))}; --embedding adds a "
            "word from a file of its own",
            TriptychWarning,
            stacklevel=2,
        )
    keys = [key for key in held if not key.startswith(_BUNDLED)]
    for mark, kind in _OTHER_KINDS.items():
        if found := next((key for key in keys if mark in key), None):
            raise SourceError(f"{name} holds {found}: only plain LoRAs are supported, no {kind}")
    if not any("lora" in key for key in keys):
        raise SourceError(f"{name} is not a LoRA: none of its {len(keys)} tensors is named as one")
    named = {_complete(key): held[key] for key in keys}
    for key in named:
        if not _WEIGHTS.search(key):
            raise SourceError(f"{name} holds {key}: only plain LoRAs are supported, no DoRA, LoHa or LoKr")
    try:
        adapter = json.loads(metadata.get("lora_adapter_metadata", "{}"))  # diffusers' own
    except ValueError as error:
        raise SourceError(f"{name} cannot be read as a LoRA: its lora_adapter_metadata is not JSON ({error})") from None
    neighbour = path.with_name(_ADAPTER)
    if not adapter and neighbour.exists() and any(key.startswith(_PEFT) for key in keys):
        config, components = read_json(neighbour), {key.partition(".")[0] for key in named}
        adapter = {f"{component}.{key}": value for component in components for key, value in config.items()}
    return _File(path, named, metadata, adapter)


def _complete(key: str) -> str:
    """The name with its component: peft has another prefix, and LoRAs of the U-Net alone may have none."""
    name = re.sub(r"\.lora_([AB])\.[^.]+\.weight$", r".lora_\1.weight", key.removeprefix(_PEFT))  # an adapter's name
    if _UNET.match(name):
        return f"unet.{name}"
    return f"text_encoder.{name}" if _TEXT.match(name) else name


def _file(source: str | Path) -> Path:
    path = Path(source)
    if path.exists() and not path.is_dir():
        return path
    if not path.is_dir():
        if not is_hub_id(source):
            raise SourceError(f"the LoRA {source} is neither a file, a folder nor a hub id (owner/name)")
        path = fetch(str(source), None, [*_FILES, _ADAPTER])
    for name in _FILES:
        if (path / name).is_file():
            return path / name
    files = sorted(path.glob("*.safetensors"))
    if len(files) != 1:
        listed = ", ".join(file.name for file in files) or "none"
        raise SourceError(f"{source} holds no {_FILE}, and not one .safetensors file but {listed}; name the file")
    return files[0]


def _layers(file: _File, unet: Mapping[str, Any]) -> dict[str, dict[str, Layer]]:
    """Component -> name of a module -> update."""
    from diffusers.loaders import StableDiffusionLoraLoaderMixin

    try:
        weights, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(
            dict(file.tensors), unet_config=SimpleNamespace(**unet)
        )
    except Exception as error:  # KeyError, ValueError, IndexError: diffusers parses every name
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        raise SourceError(f"{file.path.name} cannot be read as a LoRA, by diffusers ({reason})") from None
    named = _peft_names(weights)
    alphas = _peft_names({_down_name(name): alpha for name, alpha in (alphas or {}).items()})  # kohya's
    layers: dict[str, dict[str, Layer]] = {}
    for module in dict.fromkeys(key.removesuffix(_DOWN).removesuffix(_UP) for key in named):
        if module in named:
            raise SourceError(f"{file.path.name} holds {module}, which is in no layout of LoRAs that is known")
        key = module + _DOWN
        if key not in named or module + _UP not in named:
            raise SourceError(f"{file.path.name} lacks one of the two halves of {module}")
        component, _, name = module.partition(".")
        down, up = named[key], named[module + _UP]
        rank = len(down)
        scale = alphas[key] / rank if key in alphas else _adapter_scale(file.adapter, component, name, rank)
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
    alpha, patterns = config.get("lora_alpha", rank), config.get("alpha_pattern") or {}
    for pattern, value in patterns.items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            alpha = value
            break
    return float(alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))
