"""Generators of the images to score: diffusers with the checkpoint, or the runtime with an ONNX package."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Painter = Callable[[list[str], list[int]], Tensor]
"""Prompts and as many seeds -> images, float32 [prompts, 3, 64, 64] in 0..1."""


def open_painter(source: Path, steps: int, guidance: float) -> Painter:
    """Open ``source``: an ONNX package where it has a unet/model.onnx, else a diffusers checkpoint."""
    if (source / "unet" / "model.onnx").exists():
        return _runtime_painter(source, steps, guidance)
    return _diffusers_painter(source, steps, guidance)


def _pixels(images: list[Image.Image]) -> Tensor:
    stacked = np.stack([np.asarray(image.convert("RGB"), dtype=np.float32) / 255 for image in images])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()


def _diffusers_painter(source: Path, steps: int, guidance: float) -> Painter:
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(source, low_cpu_mem_usage=False).to(torch.float32)
    pipe.set_progress_bar_config(disable=True)

    def paint(prompts: list[str], seeds: list[int]) -> Tensor:
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        return _pixels(pipe(prompts, num_inference_steps=steps, guidance_scale=guidance, generator=generators).images)

    return paint


def _runtime_painter(source: Path, steps: int, guidance: float) -> Painter:
    from triptych.runtime import TextToImage

    pipe = TextToImage.load(str(source))

    def paint(prompts: list[str], seeds: list[int]) -> Tensor:
        images: list[Image.Image] = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            images += pipe(prompt, num_inference_steps=steps, guidance_scale=guidance, seed=seed).images
        return _pixels(images)

    return paint
