"""Small random checkpoints for tests: real architecture, real files, no network."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from triptych.benchmarks.checkpoints.architectures import ARCHITECTURES
from triptych.benchmarks.checkpoints.make_checkpoint import write_checkpoint


def make_checkpoint(
    folder: Path, model: str = "sd15", *, seed: int = 0, kind: str | None = None, **overrides: dict[str, Any]
) -> Path:
    """Write a tiny random checkpoint in which no two dimensions coincide, as a diffusers folder, and return it.

    Text width 44 over 77 positions and 650 tokens; U-Net of 24, 40, 56 channels and 0.8 million parameters on 16x16
    latents; VAE factor 8, hence images of 128x128 by default. `model` is one of `ARCHITECTURES`, `kind` another
    pipeline of such components; `overrides` change a component's configuration:
    `make_checkpoint(path, unet={"sample_size": 20}, scheduler={"prediction_type": "v_prediction"})`.
    """
    pipeline, _, small = ARCHITECTURES[model]
    unknown = overrides.keys() - small.keys()
    if unknown:
        raise ValueError(f"no such component: {sorted(unknown)}; allowed: {sorted(small)}")
    configs = {name: config | overrides.get(name, {}) for name, config in small.items()}
    return write_checkpoint(Path(folder), configs, pipeline=kind or pipeline, seed=seed)


def with_trained_norm(checkpoint: Path, folder: Path) -> Path:
    """A copy whose text encoder ends in a norm as training leaves it; a new one makes the mean of its output zero."""
    shutil.copytree(checkpoint, folder)
    file = folder / "text_encoder" / "model.safetensors"
    weights = load_file(file)
    generator = torch.Generator().manual_seed(5)
    for name, weight in weights.items():
        if "final_layer_norm" in name:
            weights[name] = weight + 0.3 + 0.1 * torch.randn(weight.shape, generator=generator)
    save_file(weights, file, metadata={"format": "pt"})
    return folder


def export_parts(checkpoint: Path, package: Path, folder: Path, parts: Sequence[str], **options: Any) -> Path:
    """A package with these components of a checkpoint, exported with the options, and the others of another package."""
    from triptych.export import export, exporter
    from triptych.export.checkpoint import open_checkpoint

    every = exporter.components_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "components_of", lambda opened: {part: every(opened)[part] for part in parts})
        export(checkpoint, folder, **options)
    (folder / "triptych.json").unlink()
    own = open_checkpoint(checkpoint).parts.keys() - {"vae"}
    for name in {*own, "vae_decoder", "vae_encoder"} - {*parts}:
        (folder / name).symlink_to(package / name)
    return folder
