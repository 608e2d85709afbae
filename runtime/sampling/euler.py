"""Euler's method in sigma / alpha."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .grids import alpha_sigma, exponential, karras, require_decreasing, spaced
from .options import choice, flag, only, optional_number, whole
from .schedule import Schedule, training_schedule
from .scheduler import SPACINGS, TRAINING, Run, Scheduler
from .table import Table, single_step


def euler(options: Mapping[str, Any], run: Run) -> Table:
    """Euler's method for the probability-flow ODE in sigma / alpha (Karras et al. 2022, algorithm 1 without churn).

    As in diffusers, the last latents are x0 + sigma eps, not scaled as the network would be fed them: this shows with
    final_sigmas_type sigma_min.
    """
    timesteps, levels = _euler_grid(training_schedule(options, finite_sigmas=True), options, run.steps)
    start = np.stack(alpha_sigma(levels[:-1]), axis=1)
    end = np.concatenate([start[1:], [[1.0, levels[-1]]]])
    # diffusers begins with noise * sigma_max, or * sqrt(sigma_max^2 + 1) for leading, and feeds it over the latter
    initial = 1.0 if options["timestep_spacing"] == "leading" else levels.max() * start[0, 0]
    return single_step(timesteps, start, end, initial_scale=float(initial))


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


SCHEDULERS = (
    Scheduler(
        "EulerDiscreteScheduler",
        euler,
        TRAINING
        | {
            "prediction_type": choice("epsilon", "sample", "v_prediction"),
            "steps_offset": whole(0),
            "timestep_spacing": choice(*SPACINGS, default="linspace"),
            "timestep_type": choice("discrete", "continuous"),
            "interpolation_type": choice("linear", "log_linear"),
            "use_karras_sigmas": flag(False),
            "use_exponential_sigmas": flag(False),
            "use_beta_sigmas": only(False, None),
            "sigma_min": optional_number(),
            "sigma_max": optional_number(),
            "rescale_betas_zero_snr": flag(False),
            "final_sigmas_type": choice("zero", "sigma_min"),
        },
        {"euler": {}},
        paper="Karras, Aittala, Aila and Laine 2022, algorithm 1 without churn, arXiv 2206.00364",
    ),
)
