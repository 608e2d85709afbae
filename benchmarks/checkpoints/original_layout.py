"""Convert a checkpoint of Stable Diffusion 1.x from diffusers' layout to one file in the original layout.

The rules are the inverse of those by which diffusers reads such files (its `loaders/single_file_utils.py`).
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

Rule = tuple[str, str]

_FILES = {
    "unet": ("unet/diffusion_pytorch_model.safetensors", "model.diffusion_model."),
    "vae": ("vae/diffusion_pytorch_model.safetensors", "first_stage_model."),
    "text_encoder": ("text_encoder/model.safetensors", "cond_stage_model.transformer.text_model."),
}

_UNET_RESNET: Sequence[Rule] = (
    (r"\bnorm1\b", "in_layers.0"),
    (r"\bconv1\b", "in_layers.2"),
    (r"\bnorm2\b", "out_layers.0"),
    (r"\bconv2\b", "out_layers.3"),
    (r"\btime_emb_proj\b", "emb_layers.1"),
    (r"\bconv_shortcut\b", "skip_connection"),
)
_UNET: Sequence[Rule] = (
    (r"^conv_in\b", "input_blocks.0.0"),
    (r"^time_embedding\.linear_1\b", "time_embed.0"),
    (r"^time_embedding\.linear_2\b", "time_embed.2"),
    (r"^conv_norm_out\b", "out.0"),
    (r"^conv_out\b", "out.2"),
    (r"^mid_block\.attentions\.0\b", "middle_block.1"),
    (r"^mid_block\.resnets\.0\b", "middle_block.0"),
    (r"^mid_block\.resnets\.1\b", "middle_block.2"),
)
_UNET_BLOCK = r"^(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)(?:\.conv\b)?"
_VAE: Sequence[Rule] = (
    (r"\bmid_block\.attentions\.0\b", "mid.attn_1"),
    (r"\bmid_block\.resnets\.0\b", "mid.block_1"),
    (r"\bmid_block\.resnets\.1\b", "mid.block_2"),
    (r"\bdown_blocks\.(\d)\.resnets\b", r"down.\1.block"),
    (r"\bdown_blocks\.(\d)\.downsamplers\.0\b", r"down.\1.downsample"),
    (r"\bconv_shortcut\b", "nin_shortcut"),
    (r"\bconv_norm_out\b", "norm_out"),
    (r"\bgroup_norm\b", "norm"),
    (r"\bto_([qkv])\b", r"\1"),
    (r"\bto_out\.0\b", "proj_out"),
)


def write_original(checkpoint: Path, file: Path) -> Path:
    """Write all weights of the checkpoint to one .safetensors file."""
    tensors = {name: tensor for part in _FILES for name, tensor in _converted(checkpoint, part)}
    save_file(tensors, file)
    return file


def _converted(checkpoint: Path, part: str) -> Iterator[tuple[str, np.ndarray]]:
    path, prefix = _FILES[part]
    rename = _RENAME[part]
    if part == "unet":
        rename = partial(
            rename, layers=json.loads((checkpoint / "unet" / "config.json").read_text())["layers_per_block"]
        )
    for name, tensor in load_file(checkpoint / path).items():
        if part == "vae" and "attentions" in name and tensor.ndim == 2:
            tensor = tensor[:, :, None, None]  # the original has 1x1 convolutions there
        yield prefix + rename(name), tensor


def unet_name(name: str, layers: int = 2) -> str:
    """The original name of a weight of a U-Net with this many layers in each block."""
    if "resnets" in name:
        name = _replaced(name, _UNET_RESNET)
    name = _replaced(name, _UNET)

    def block(found: re.Match[str]) -> str:
        way, i, part, j = found[1], int(found[2]), found[3], int(found[4])
        if part == "downsamplers":
            return f"input_blocks.{(layers + 1) * (i + 1)}.0.op"
        if part == "upsamplers":
            return f"output_blocks.{(layers + 1) * i + layers}.{1 if i == 0 else 2}.conv"
        place = f"input_blocks.{(layers + 1) * i + j + 1}" if way == "down" else f"output_blocks.{(layers + 1) * i + j}"
        return f"{place}.{0 if part == 'resnets' else 1}"

    return re.sub(_UNET_BLOCK, block, name)


def vae_name(name: str, blocks: int = 4) -> str:
    """The original name of a weight of the VAE, whose decoder counts its blocks from the other end."""
    name = _replaced(name, _VAE)
    return re.sub(
        r"\bup_blocks\.(\d)\.(resnets|upsamplers\.0)\b",
        lambda found: f"up.{blocks - 1 - int(found[1])}.{'block' if found[2] == 'resnets' else 'upsample'}",
        name,
    )


def text_name(name: str) -> str:
    """The original name of a weight of the text encoder; transformers 5 leaves out the first part of it."""
    return name.removeprefix("text_model.")


def _replaced(name: str, rules: Sequence[Rule]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


_RENAME: Mapping[str, Callable[..., str]] = {"unet": unet_name, "vae": vae_name, "text_encoder": text_name}
