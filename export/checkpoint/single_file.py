"""One .safetensors file in the layout of the original release, as community sites have it, read by diffusers' rules.

Such a file has no configuration. `configurations` has one for each supported kind of model: a diffusers folder without
weights. Its single_file.json has diffusers' type of the single files it is for, the values of
`modelspec.architecture` in a file's metadata that select it (https://github.com/Stability-AI/ModelSpec), and whether it
is assumed where that metadata is missing; of several that are, the one with the file's prediction type. A kind of model
is added by adding a folder. A model for inpainting or editing has the configuration of the model it was fine-tuned
from, except the input channels of the U-Net.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from triptych.runtime.errors import SourceError, nearest

from ..sources import read_json
from .folder import Part
from .tensors import Tensors

CONFIGURATIONS = Path(__file__).parents[1] / "configurations"
_ABOUT = "single_file.json"

# Where a component is in the file; Stable Diffusion 2.x and XL have encoders in OpenCLIP's layout, under `model.`, of
# which XL's refiner has the second one alone
_PREFIXES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "text_encoder": (
        ("cond_stage_model.transformer.",),
        ("cond_stage_model.model.",),
        ("conditioner.embedders.0.transformer.",),
    ),
    "text_encoder_2": (("conditioner.embedders.1.model.",), ("conditioner.embedders.0.model.",)),
    "unet": (("model.diffusion_model.",),),
    "vae": (("first_stage_model.",), ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")),  # or alone
}
_OPEN_CLIP = ".model."
_FIRST = "model.diffusion_model.input_blocks.0.0.weight"
_MADE_FROM = {
    "instruct-pix2pix": "stable-diffusion-1",
    "inpainting": "stable-diffusion-1",
    "inpainting_v2": "stable-diffusion-2-base",
    "xl_inpaint": "stable-diffusion-xl",
}
"""diffusers' type of a model for inpainting or editing -> configuration of the model it was fine-tuned from."""
_TASKS = {4: "", 8: "InstructPix2Pix", 9: "Inpaint"}
"""Input channels of a U-Net, latents and extra channels -> the task in the name of diffusers' pipeline."""
_DESCRIPTIONS = {
    "text_encoder": "text encoder",
    "text_encoder_2": "second text encoder",
    "unet": "U-Net",
    "vae": "VAE; give one with --vae",
}


@dataclass(frozen=True)
class FilePart:
    """A component in a single file, and the part that has its configuration. See `Part`."""

    tensors: Tensors
    component: str
    described: Part

    def config(self) -> dict[str, Any]:
        """See `Part`."""
        config = self.described.config()
        if self.component == "unet" and _channels(self.tensors) in _TASKS:
            config["in_channels"] = _channels(self.tensors)
        return config

    def weights(self, module: nn.Module) -> Mapping[str, torch.Tensor]:
        """See `Part`."""
        from diffusers.loaders import single_file_utils as diffusers

        names, prefix = self._names()
        found = {name: self.tensors[name] for name in names}
        if self.component == "vae" and any(name.startswith("decoder.up_blocks.") for name in found):
            return found  # saved by diffusers
        weights: dict[str, torch.Tensor]
        if self.component == "unet":
            weights = diffusers.convert_ldm_unet_checkpoint(found, self.config())
        elif self.component == "vae":
            weights = diffusers.convert_ldm_vae_checkpoint(found, self.config())
        elif prefix.endswith(_OPEN_CLIP):
            weights = diffusers.convert_open_clip_checkpoint(module, found, prefix=prefix)
        else:
            weights = diffusers.convert_ldm_clip_checkpoint(found)
            if not hasattr(module, "text_projection"):
                weights.pop("text_projection.weight", None)  # some tools store it, and nothing uses it
        return weights

    def weights_bytes(self) -> int:
        """See `Part`."""
        return sum(self.tensors.bytes_of(name) for name in self._names()[0])

    def _names(self) -> tuple[list[str], str]:
        """The names of the component's tensors, and their prefix."""
        for prefixes in _PREFIXES[self.component]:
            if names := [name for name in self.tensors if name.startswith(prefixes)]:
                return names, prefixes[0]
        raise SourceError(f"{self.tensors.file.name} holds no {_DESCRIPTIONS[self.component]}")


def holds_a_vae(tensors: Tensors) -> bool:
    """Whether the file holds an autoencoder, alone or in a checkpoint."""
    return any(name.removeprefix("first_stage_model.") == "decoder.conv_in.weight" for name in tensors)


def pipeline_of(tensors: Tensors, described: str) -> str:
    """diffusers' pipeline for the file, whose configuration has the pipeline `described`."""
    task = _TASKS.get(_channels(tensors), "")
    return described if task in described else f"{described.removesuffix('Pipeline')}{task}Pipeline"


def _channels(tensors: Tensors) -> int:
    """Input channels of the U-Net."""
    return int(tensors[_FIRST].shape[1])


def configuration_of(tensors: Tensors, config: str | Path | None, prediction_type: str | None = None) -> Path:
    """The folder with the file's configuration: `config`, or the one of that name; None detects it from the tensors.

    Models of one shape are distinguished by `modelspec.architecture` in the file, then by the prediction type.

    Raises:
        SourceError: the file is not a checkpoint, is of an unknown family, or fits several families.
    """
    _check_checkpoint(tensors)
    if config is not None:
        return _named(config)
    from diffusers.loaders.single_file_utils import infer_diffusers_model_type

    name, kind = tensors.file.name, infer_diffusers_model_type(tensors)
    if _channels(tensors) not in _TASKS:
        known = ", ".join(map(str, _TASKS))
        raise SourceError(
            f"{name} has a U-Net of {_channels(tensors)} channels, which is not supported; known: {known}"
        )
    if kind in _MADE_FROM:
        return CONFIGURATIONS / _MADE_FROM[kind]
    abouts = {folder: read_json(folder / _ABOUT) for folder in _shipped()}
    fitting = {folder: about for folder, about in abouts.items() if about["type"] == kind}
    if not fitting:
        known = ", ".join(sorted(folder.name for folder in abouts))
        raise SourceError(f"{name} is a model of diffusers' type {kind}, which is not supported; known: {known}")
    architecture = tensors.metadata.get("modelspec.architecture")
    for folder, about in fitting.items():
        if architecture in about["architectures"]:
            return folder
    assumed = [folder for folder, about in fitting.items() if about["assumed"]]
    predicting = [folder for folder in assumed if _prediction_type(folder) == prediction_type] or assumed
    if len(predicting) == 1:
        return predicting[0]
    allowed = " or ".join(f"--config {folder.name}" for folder in fitting)
    if len(assumed) > 1:
        allowed += ", or --prediction-type"
    raise SourceError(f"{name} does not name its model, and several have its shapes; give {allowed}")


def _named(config: str | Path) -> Path:
    names = {folder.name: folder for folder in _shipped()}
    folder = names.get(str(config), Path(config))
    if not folder.is_dir():
        raise SourceError(f"--config {config}: give a diffusers folder or a name; {nearest(str(config), names)}")
    return folder


def _prediction_type(folder: Path) -> str:
    """The prediction type of a configuration's model; noise where none is stated."""
    return str(read_json(folder / "scheduler" / "scheduler_config.json").get("prediction_type", "epsilon"))


def _shipped() -> Iterable[Path]:
    return [about.parent for about in sorted(CONFIGURATIONS.glob(f"*/{_ABOUT}"))]


def _check_checkpoint(tensors: Tensors) -> None:
    """Refuse other kinds of single files, and name the kind."""
    file, names = tensors.file.name, list(tensors)
    if _FIRST in tensors:
        return
    if any("lora" in name for name in names):
        raise SourceError(f"{file} is a LoRA, not a checkpoint: export a checkpoint with --lora {file}")
    if holds_a_vae(tensors):
        raise SourceError(f"{file} is a VAE alone, not a checkpoint: export a checkpoint with --vae {file}")
    if any(name in ("emb_params", "clip_l", "clip_g") for name in names) or (len(names) == 1 and names[0][0] == "<"):
        raise SourceError(f"{file} is a textual-inversion embedding, not a checkpoint")
    first = f", the first of which is {names[0]}" if names else ""
    raise SourceError(
        f"{file} is of no known family: it has no U-Net in the layout of Stable Diffusion's original "
        f"release (model.diffusion_model.input_blocks) among its {len(names)} tensors{first}"
    )
