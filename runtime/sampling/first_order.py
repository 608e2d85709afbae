"""Samplers that remember nothing: DDIM and Euler. One table on different grids."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import SamplerError
from .grids import alpha_sigma, exponential, karras, require_decreasing, require_trained, spaced
from .parametrisation import Prediction
from .schedule import Schedule, training_schedule
from .table import Table, identity, transport


def ddim(options: Mapping[str, Any], steps: int, eta: float = 0.0) -> Table:
    """DDIM (Song, Meng and Ermon 2021, eq. 12 and 16), with `eta` from 0 (deterministic) to 1 (as DDPM).

    As in diffusers, a step lands num_train_timesteps // steps below its own timestep, whatever the spacing: with
    linspace, and wherever steps does not divide, that is not quite where the next one begins.
    """
    schedule = training_schedule(options)
    count = len(schedule)
    if steps > count:
        raise SamplerError(f"num_inference_steps={steps} is too many; the schedule has {count} training timesteps")
    timesteps = spaced(options["timestep_spacing"], count, steps, options["steps_offset"]).round()
    require_trained(timesteps, steps, count)
    final = 1.0 if options["set_alpha_to_one"] else float(schedule.alphas_cumprod[0])
    start = np.array([schedule.at(t % count) for t in timesteps])  # -1, which trailing may give, is the last by index
    end = np.array([schedule.at(t - count // steps, final=final) for t in timesteps])

    # eq. 16: the part of the noise that is new, and what of the old direction is left
    ratio = (start[:, 0] / end[:, 0]) ** 2
    noise = eta * (end[:, 1] / start[:, 1]) * np.sqrt(np.maximum(1 - ratio, 0))
    kept = np.stack([end[:, 0], np.sqrt(end[:, 1] ** 2 - noise**2)], axis=1)
    return _table(timesteps, start, kept, end=end, noise=noise, keep_noise=True)


def euler(options: Mapping[str, Any], steps: int) -> Table:
    """Euler's method for the probability-flow ODE in sigma / alpha (Karras et al. 2022, algorithm 1 without churn).

    As in diffusers, the last latents are x0 + sigma eps, not scaled as the network would be fed them: this shows with
    final_sigmas_type sigma_min.
    """
    timesteps, levels = _euler_grid(training_schedule(options, finite_sigmas=True), options, steps)
    start = np.stack(alpha_sigma(levels[:-1]), axis=1)
    end = np.concatenate([start[1:], [[1.0, levels[-1]]]])
    # diffusers begins with noise * sigma_max, or * sqrt(sigma_max^2 + 1) for leading, and feeds it over the latter
    initial = 1.0 if options["timestep_spacing"] == "leading" else levels.max() * start[0, 0]
    return _table(timesteps, start, end, initial_scale=float(initial))


def _euler_grid(schedule: Schedule, options: Mapping[str, Any], steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Timesteps [calls], rounded to float32 as diffusers does, and noise levels sigma / alpha [calls + 1].

    As in diffusers, log_linear levels go from one end of the schedule to the other whatever the spacing, and are one
    more than there are timesteps: the run ends at the smallest, not at final_sigmas_type, unless timesteps are
    continuous, when it makes one call more.
    """
    count, trained = len(schedule), schedule.sigmas.astype(np.float64)
    timesteps = spaced(options["timestep_spacing"], count, steps, options["steps_offset"])
    require_decreasing(timesteps, "timesteps", steps, count)
    timesteps = timesteps.astype(np.float32).astype(np.float64)
    if options["interpolation_type"] == "linear":
        levels = np.interp(timesteps, np.arange(count), trained)
    else:
        levels = exponential(trained[-1], trained[0], steps + 1)
    if options["use_karras_sigmas"] or options["use_exponential_sigmas"]:
        largest = levels[0] if options["sigma_max"] is None else options["sigma_max"]
        smallest = levels[-1] if options["sigma_min"] is None else options["sigma_min"]
        levels = (karras if options["use_karras_sigmas"] else exponential)(float(largest), float(smallest), steps)
        require_decreasing(levels, "noise levels", steps, count)
        timesteps = schedule.timesteps_of(levels)
    final = trained[0] if options["final_sigmas_type"] == "sigma_min" else 0.0
    levels = np.append(levels, final).astype(np.float32).astype(np.float64)
    if options["timestep_type"] == "continuous" and options["prediction_type"] == "v_prediction":
        timesteps = 0.25 * np.log(levels[:-1])
    return timesteps.astype(np.float32).astype(np.float64), levels[: len(timesteps) + 1]


def _table(
    timesteps: np.ndarray,
    start: np.ndarray,
    kept: np.ndarray,
    *,
    end: np.ndarray | None = None,
    noise: np.ndarray | None = None,
    initial_scale: float = 1.0,
    keep_noise: bool = False,
) -> Table:
    """Rows from `start` to `end` [n, 2], of which `kept` is carried over and the rest is new noise."""
    basis: Prediction = "sample"
    rows = [transport(basis, (s[0], s[1]), (k[0], k[1])) for s, k in zip(start, kept, strict=True)]
    return Table(
        basis=basis,
        order=1,
        timesteps=timesteps,
        alphas=start[:, 0].copy(),
        sigmas=start[:, 1].copy(),
        start=start,
        end=kept if end is None else end,
        advance=np.array(rows),
        correct=identity(len(rows), 1),
        noise=np.zeros(len(rows)) if noise is None else noise,
        initial_scale=initial_scale,
        keep_noise=keep_noise,
    )
