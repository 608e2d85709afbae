"""The denoising loop of diffusers' pipelines, with its schedulers."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from unittest import mock

import diffusers
import numpy as np
import torch

from tests.support.sampling import network


def diffusers_scheduler(config: Mapping[str, Any], name: str | None = None) -> Any:
    """diffusers' scheduler of a configuration, or another one of the same configuration."""
    return getattr(diffusers, name or config["_class_name"]).from_config(dict(config))


def diffusers_run(
    scheduler: Any,
    noise: np.ndarray,
    steps: int | None,
    predict: Callable[[np.ndarray, float], np.ndarray] = network,
    eta: float | None = None,
    draw: Callable[[tuple[int, ...]], np.ndarray] | None = None,
    *,
    grid: Mapping[str, Any] | None = None,
    strength: float = 1.0,
    image_latents: np.ndarray | None = None,
    levels: list[float] | None = None,
    start: float | None = None,
    end: float | None = None,
) -> tuple[np.ndarray, list[float]]:
    """Final latents and timesteps of the whole loop as diffusers' pipelines run it.

    Args:
        scheduler: diffusers'.
        noise: unit Gaussian.
        steps: None where `grid` gives timesteps or sigmas.
        predict: the network.
        eta: for the step, where it takes it.
        draw: where diffusers draws noise of its own, this noise.
        grid: further arguments of set_timesteps: timesteps, sigmas, mu.
        strength: of image-to-image; those of flow matching count steps in another way.
        image_latents: begin from these, with noise added.
        levels: gets sigma / alpha of every call, as diffusers adds noise there.
        start, end: denoising_start and denoising_end of the pipelines of SDXL; with the first, `noise` are latents.
    """
    scheduler.set_timesteps(steps, **grid or {})
    order = scheduler.order
    count = steps or len(scheduler.timesteps) // order + order - 1  # the last step of two calls has one
    if hasattr(scheduler, "scale_noise"):
        skipped = int(count - min(count * strength, count))
    else:
        skipped = count - min(int(count * strength), count)
    first = skipped * order
    if start is not None:  # as StableDiffusionXLImg2ImgPipeline.get_timesteps has it
        left = int((scheduler.timesteps < _cutoff(scheduler, start)).sum())
        first = len(scheduler.timesteps) - (left + 1 if order == 2 and left % 2 == 0 else left)
    timesteps = scheduler.timesteps[first:]
    if end is not None:
        timesteps = timesteps[: int((timesteps >= _cutoff(scheduler, end)).sum())]
    if hasattr(scheduler, "set_begin_index"):  # else it is guessed from the timestep, wrongly where two are equal
        scheduler.set_begin_index(first)
    latents = torch.from_numpy(noise)
    if start is not None:
        pass
    elif image_latents is None:
        latents = latents * getattr(scheduler, "init_noise_sigma", 1.0)
    elif hasattr(scheduler, "scale_noise"):
        latents = scheduler.scale_noise(torch.from_numpy(image_latents), timesteps[:1], latents)
    else:
        latents = scheduler.add_noise(torch.from_numpy(image_latents), latents, timesteps[:1])
    extra = {} if eta is None else {"eta": eta}
    module = sys.modules[type(scheduler).__module__]

    def randn_tensor(shape: Sequence[int], **_: Any) -> torch.Tensor:
        assert draw is not None, "this scheduler draws noise"
        return torch.from_numpy(draw(tuple(shape)))

    with mock.patch.object(module, "randn_tensor", randn_tensor, create=True):
        for t in timesteps:
            fed = scheduler.scale_model_input(latents, t) if hasattr(scheduler, "scale_model_input") else latents
            output = torch.from_numpy(predict(fed.numpy(), float(t)))
            if levels is not None:
                levels.append(noise_level(scheduler, t))
            latents = scheduler.step(output, t, latents, **extra).prev_sample
    return latents.numpy(), [float(t) for t in timesteps]


def _cutoff(scheduler: Any, share: float) -> int:
    trained: int = scheduler.config.num_train_timesteps
    return round(trained - share * trained)


def noise_level(scheduler: Any, timestep: torch.Tensor) -> float:
    """sigma / alpha at the scheduler's present step."""
    add = scheduler.scale_noise if hasattr(scheduler, "scale_noise") else scheduler.add_noise
    zero, one = torch.zeros(1), torch.ones(1)
    if hasattr(scheduler, "scale_noise"):
        sigma, alpha = add(zero, timestep[None], one), add(one, timestep[None], zero)
    else:
        sigma, alpha = add(zero, one, timestep[None]), add(one, zero, timestep[None])
    return float(sigma / alpha)
