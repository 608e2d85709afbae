"""A whole picture from a pipeline with diffusers' interface: diffusers' own, or optimum's."""

from typing import Any

import numpy as np
import torch
from diffusers import schedulers

from ..work import Picture

_SCHEDULERS = {"euler": "EulerDiscreteScheduler"}


def picture_from(pipe: Any, asked: Picture) -> np.ndarray:
    """Pixels uint8 [n, H, W, 3]; the pipeline is left with the scheduler that was asked for."""
    pipe.scheduler = getattr(schedulers, _SCHEDULERS[asked.scheduler]).from_config(pipe.scheduler.config)
    seeds = range(asked.seed, asked.seed + asked.size.batch)
    images = pipe(
        asked.prompt,
        num_inference_steps=asked.steps,
        guidance_scale=asked.guidance_scale,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        height=asked.size.height,
        width=asked.size.width,
        num_images_per_prompt=asked.size.batch,
    ).images
    return np.stack([np.asarray(image) for image in images])
