"""Small random checkpoints for tests: real architecture, real files, no network."""

from pathlib import Path
from typing import Any

from triptych.benchmarks.make_checkpoint import SMALL, write_checkpoint


def make_checkpoint(folder: Path, *, seed: int = 0, **overrides: dict[str, Any]) -> Path:
    """Write a tiny random `StableDiffusionPipeline` folder in which no two dimensions coincide, and return it.

    Text width 44 over 77 positions and 650 tokens; U-Net of 24, 40, 56 channels and 0.8 million parameters on 16x16
    latents; VAE factor 8, hence pictures of 128x128 by default. `overrides` change a component's configuration:
    `make_checkpoint(path, unet={"sample_size": 20}, scheduler={"prediction_type": "v_prediction"})`; the names are
    text_encoder, unet, vae and scheduler.
    """
    unknown = overrides.keys() - SMALL.keys()
    if unknown:
        raise ValueError(f"no such component: {sorted(unknown)}; allowed: {sorted(SMALL)}")
    configs = {name: config | overrides.get(name, {}) for name, config in SMALL.items()}
    return write_checkpoint(Path(folder), configs, seed=seed)
