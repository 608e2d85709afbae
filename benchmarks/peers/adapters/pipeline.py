"""Whole images from a pipeline with diffusers' interface: diffusers' own, or optimum's."""

from typing import Any

import numpy as np
import torch
from diffusers import schedulers

from ..work import ImageRequest

_SCHEDULERS = {"euler": "EulerDiscreteScheduler"}


def images_from(pipe: Any, request: ImageRequest) -> np.ndarray:
    """Generate images, uint8 [n, H, W, 3]; the pipeline keeps the requested scheduler."""
    pipe.scheduler = getattr(schedulers, _SCHEDULERS[request.scheduler]).from_config(pipe.scheduler.config)
    seeds = range(request.seed, request.seed + request.size.batch)
    images = pipe(
        request.prompt,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance_scale,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        height=request.size.height,
        width=request.size.width,
        num_images_per_prompt=request.size.batch,
    ).images
    return np.stack([np.asarray(image) for image in images])
