"""Comparison of images with those of diffusers: same checkpoint, scheduler, seed, fp32, CPU."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline

from triptych.runtime import TextToImage

LATENTS_TOLERANCE = 1e-3  # absolute, final latents
PIXEL_TOLERANCE = 1  # levels of 255 ...
PIXEL_SHARE = 0.999  # ... for this share of the values
PIXEL_WORST = 3  # levels of 255, for all
SEED = 123456789012


def loaded(folders: Mapping[str, tuple[Path, Path]]) -> dict[str, TextToImage]:
    """Load the package of each model, given as model -> its checkpoint and its package."""
    return {model: TextToImage.load(package, device="cpu") for model, (_, package) in folders.items()}


def references_of(folders: Mapping[str, tuple[Path, Path]], **parts: Any) -> dict[str, Any]:
    """Load the checkpoint of each model in diffusers, without progress bars; `folders` as in `loaded`.

    `parts` are components of the pipelines in place of their own.
    """
    pipes: dict[str, Any] = {
        model: DiffusionPipeline.from_pretrained(checkpoint, **parts) for model, (checkpoint, _) in folders.items()
    }
    for pipe in pipes.values():
        pipe.set_progress_bar_config(disable=True)
    return pipes


def theirs(pipe: Any, count: int, **arguments: Any) -> tuple[np.ndarray, np.ndarray]:
    """Latents and pixels of diffusers; image k has a generator of its own with seed SEED + k."""
    results = []
    for output_type in ("latent", "np"):
        generators = [torch.Generator("cpu").manual_seed(SEED + k) for k in range(count)]
        images = pipe(**arguments, generator=generators, output_type=output_type).images
        results.append(images.numpy() if output_type == "latent" else (images * 255).round())
    return results[0], results[1]


def check(out: Any, latents: np.ndarray, pixels: np.ndarray) -> None:
    """Compare an `Output` with the result of `theirs`."""
    np.testing.assert_allclose(out.latents, latents, atol=LATENTS_TOLERANCE, rtol=0)
    off = np.abs(np.stack([np.asarray(image) for image in out.images]).astype(float) - pixels)
    assert (off <= PIXEL_TOLERANCE).mean() >= PIXEL_SHARE
    assert off.max() <= PIXEL_WORST
    assert pixels.std() > 5, "a flat image shows nothing"
