"""Euler's method in sigma / alpha, and with noise added at every step, where it is called ancestral."""

import numpy as np

from ...errors import SamplerError
from ..grids.noise_levels import (
    LevelOptions,
    SpacedLevelOptions,
    as_float32,
    initial_scale,
    noise_levels,
    positions_of,
)
from ..grids.schedule import training_schedule
from ..options import choice, flag
from ..parametrisation import Prediction
from ..scheduler import Run, Scheduler
from ..table import Table, single_step


class EulerOptions(LevelOptions):
    """Options of EulerDiscreteScheduler."""

    prediction_type: Prediction = choice("epsilon", "sample", "v_prediction", aliases={"original_sample": "sample"})
    timestep_type: str = choice("discrete", "continuous")
    interpolation_type: str = choice("linear", "log_linear")
    rescale_betas_zero_snr: bool = flag(False)
    final_sigmas_type: str = choice("zero", "sigma_min")


class EulerAncestralOptions(SpacedLevelOptions):
    """Options of EulerAncestralDiscreteScheduler."""

    prediction_type: Prediction = choice("epsilon", "v_prediction")
    rescale_betas_zero_snr: bool = flag(False)


def euler(options: EulerOptions, run: Run) -> Table:
    """Euler's method for the probability-flow ODE in sigma / alpha (Karras et al. 2022, algorithm 1 without churn).

    As in diffusers, log_linear levels go from one end of the schedule to the other whatever the spacing, and are one
    more than there are timesteps: the run ends at the smallest, not at final_sigmas_type, unless timesteps are
    continuous, when it makes one call more. Levels of a run replace those of the options.
    """
    if run.sigmas is None:
        schedule, timesteps, levels = noise_levels(options, run)
        if options.final_sigmas_type == "sigma_min":
            levels[-1] = schedule.sigmas[0]
    else:
        levels = as_float32(run.sigmas)
        timesteps = as_float32(training_schedule(options, finite_sigmas=True).timesteps_of(levels[:-1]))
    if options.timestep_type == "continuous" and options.prediction_type == "v_prediction":
        if run.timesteps is not None:
            raise SamplerError("timesteps exclude timestep_type=continuous with prediction_type=v_prediction")
        timesteps = as_float32(0.25 * np.log(levels[:-1]))
    positions = positions_of(levels[: len(timesteps) + 1])[run.skipped :]
    return single_step(
        timesteps[run.skipped :], positions[:-1], positions[1:], initial_scale=initial_scale(options, levels)
    )


def euler_ancestral(options: EulerAncestralOptions, run: Run) -> Table:
    """Euler's method down to a level below the next one, and up to that by new noise (k-diffusion's Euler a)."""
    _, timesteps, levels = noise_levels(options, run)
    down, up = ancestral(levels)
    positions = positions_of(levels)[run.skipped :]
    start, end = positions[:-1], positions[1:]
    kept = np.stack([end[:, 0], end[:, 0] * down[run.skipped :]], axis=1)
    return single_step(
        timesteps[run.skipped :],
        start,
        kept,
        end=end,
        noise=end[:, 0] * up[run.skipped :],
        initial_scale=initial_scale(options, levels),
    )


def ancestral(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(down, up) of each step, down^2 + up^2 the square of its next level: as DDPM's posterior has them.

    diffusers subtracts squares in float32: where a step leaves less than a thousandth of its level (the first with the
    cosine schedule), its `down` is what rounding makes it, or NaN.

    Args:
        levels: sigma / alpha [steps + 1].
    """
    share = levels[1:] / levels[:-1]
    return levels[1:] * share, levels[1:] * np.sqrt(np.maximum(1 - share**2, 0))


SCHEDULERS = (
    Scheduler(
        "EulerDiscreteScheduler",
        euler,
        EulerOptions,
        {"euler": {}},
        paper="Karras, Aittala, Aila and Laine 2022, algorithm 1 without churn, arXiv 2206.00364",
        takes=frozenset({"timesteps", "sigmas"}),
        ends_sigmas=True,
        scales_input=True,
    ),
    Scheduler(
        "EulerAncestralDiscreteScheduler",
        euler_ancestral,
        EulerAncestralOptions,
        {"euler_a": {}},
        paper="Karras, Aittala, Aila and Laine 2022, arXiv 2206.00364; k-diffusion's sample_euler_ancestral",
        scales_input=True,
    ),
)
