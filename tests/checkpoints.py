"""Small random checkpoints for tests: real architecture, real files, no network."""

from pathlib import Path
from typing import Any

from triptych.benchmarks.architectures import ARCHITECTURES
from triptych.benchmarks.make_checkpoint import write_checkpoint


def make_checkpoint(folder: Path, model: str = "sd15", *, seed: int = 0, **overrides: dict[str, Any]) -> Path:
    """Write a tiny random checkpoint in which no two dimensions coincide, as a diffusers folder, and return it.

    Text width 44 over 77 positions and 650 tokens; U-Net of 24, 40, 56 channels and 0.8 million parameters on 16x16
    latents; VAE factor 8, hence pictures of 128x128 by default. `model` is one of `ARCHITECTURES`; `overrides` change a
    component's configuration:
    `make_checkpoint(path, unet={"sample_size": 20}, scheduler={"prediction_type": "v_prediction"})`.
    """
    pipeline, _, small = ARCHITECTURES[model]
    unknown = overrides.keys() - small.keys()
    if unknown:
        raise ValueError(f"no such component: {sorted(unknown)}; allowed: {sorted(small)}")
    configs = {name: config | overrides.get(name, {}) for name, config in small.items()}
    return write_checkpoint(Path(folder), configs, pipeline=pipeline, seed=seed)
