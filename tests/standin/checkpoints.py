"""Checkpoints at the widths of published models, with weights of zeros that take no space on disk, and their packages.

The stand-in computes nothing, so that weights do not matter, but their shapes do: kernels are chosen by widths.
"""

import json
import struct
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from triptych.benchmarks.checkpoints.architectures import ARCHITECTURES, Config
from triptych.benchmarks.checkpoints.make_checkpoint import write_checkpoint
from triptych.export import export, exporter
from triptych.export.verification.parity import Parity

_SMALL_TEXT = {"num_hidden_layers": 1, "intermediate_size": 64, "vocab_size": 650}
_SHALLOW_VAE = {"layers_per_block": 1}


def write_model(folder: Path, model: str, **denoiser: Any) -> Path:
    """Write a diffusers folder of one of ARCHITECTURES at full width, and return it.

    Args:
        folder: to write.
        model: its name.
        denoiser: changes to its configuration. Text encoders have one layer, the VAE has one a block.
    """
    pipeline, full, small = ARCHITECTURES[model]
    text = {name: full[name] | _SMALL_TEXT for name in ("text_encoder", "text_encoder_2") if name in full}
    write_checkpoint(folder, small | text | {"scheduler": full["scheduler"]}, pipeline=pipeline, dtype=torch.float16)
    name = "transformer" if "transformer" in full else "unet"
    config = full[name] | denoiser
    _write_zeros(folder / name, getattr(diffusers, config.pop("_class_name", "UNet2DConditionModel")), config)
    _write_zeros(folder / "vae", diffusers.AutoencoderKL, full["vae"] | _SHALLOW_VAE)
    return folder


def export_unverified(checkpoint: Path, package: Path) -> Path:
    """Export for CUDA in fp16 without running anything in PyTorch or on the CPU: zeros agree with everything."""
    agrees = Parity(db=0, max_abs_error=0, floor_db=0, cases=())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "reference_cases", lambda *arguments: [])
        patch.setattr(exporter, "count_macs", lambda component: 0)
        patch.setattr(exporter, "verify", lambda *arguments, **keywords: agrees)
        return export(checkpoint, package, dialect="cuda", precision="fp16")


def _write_zeros(folder: Path, kind: Any, config: Config) -> None:
    """Write a component of diffusers in float16, its weights a hole in a file."""
    with torch.device("meta"):
        module = kind(**config)
    module.save_config(folder)
    header, size = {}, 0
    for name, weight in module.state_dict().items():
        start, size = size, size + weight.numel() * torch.float16.itemsize
        header[name] = {"dtype": "F16", "shape": list(weight.shape), "data_offsets": [start, size]}
    text = json.dumps(header).encode()
    with (folder / "diffusion_pytorch_model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(file.tell() + size)
