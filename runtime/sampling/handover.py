"""A run in two parts: a sampler that stops early, and another, perhaps of another denoiser, that resumes.

Both parts are shares of the training timesteps, as in diffusers' pipelines of SDXL, whose refiner was trained on the
last fifth of them alone (Podell et al. 2023, section 2.5). The latents between them are scaled as in diffusers.
"""

from dataclasses import replace

import numpy as np

from ..errors import SamplerError
from .scheduler import Scheduler
from .table import Table


def skipped_steps(scheduler: Scheduler, table: Table, trained: int, start: float) -> int:
    """Steps of the whole run that come before `start`.

    A step of two calls is not cut in two: as in diffusers, a run that would start with the second call of
    a step starts with its first.

    Raises:
        SamplerError: it leaves out all of them.
    """
    left = int((table.timesteps < _cutoff(trained, start)).sum())
    if scheduler.calls > 1 and left % 2 == 0:  # the last step has one call
        left += 1
    if left == 0:
        raise SamplerError(f"denoising_start={start:g} leaves none of {len(table.timesteps)} denoiser calls")
    return (len(table.timesteps) - left) // scheduler.calls


def resumed(scheduler: Scheduler, table: Table) -> Table:
    """The table of a run that resumes with the latents of another, which have their noise: only the scale changes."""
    return replace(table, initial_scale=float(table.alphas[0]) if scheduler.scales_input else 1.0)


def stopped(scheduler: Scheduler, table: Table, trained: int, end: float) -> Table:
    """The rows of the table before `end`; the last one gives latents as diffusers keeps them.

    Raises:
        SamplerError: there are none.
    """
    calls = int((table.timesteps >= _cutoff(trained, end)).sum())
    if calls == 0:
        raise SamplerError(f"denoising_end={end:g} comes before the first of {len(table.timesteps)} denoiser calls")
    if calls == len(table.timesteps):
        return table
    rows = {
        name: getattr(table, name)[:calls].copy()
        for name in ("timesteps", "alphas", "sigmas", "start", "end", "advance", "correct", "noise")
    }
    if scheduler.scales_input:
        alpha = rows["end"][-1, 0]
        for name in ("end", "advance", "noise"):
            rows[name][-1] /= alpha
    return replace(table, **rows)


def _cutoff(trained: int, share: float) -> int:
    """The training timestep after that share of them, counted from pure noise, rounded as in diffusers."""
    return int(np.round(trained - share * trained))
