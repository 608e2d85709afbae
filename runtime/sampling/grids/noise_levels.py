"""The grid of k-diffusion's samplers: noise levels sigma / alpha, and the timesteps that they are at."""

import numpy as np

from ...errors import SamplerError
from ..options import choice
from ..scheduler import Run
from ..shared_options import SPACINGS, LevelShapeOptions, Options, SpacingOptions, TrainingOptions
from .schedule import Schedule, training_schedule
from .spacing import alpha_sigma, beta, exponential, karras, require_decreasing, spaced

_SHAPES = {"use_karras_sigmas": karras, "use_exponential_sigmas": exponential, "use_beta_sigmas": beta}


class SpacedLevelOptions(SpacingOptions, TrainingOptions):
    """Noise levels of a timestep spacing."""

    timestep_spacing: str = choice(*SPACINGS, default="linspace")
    interpolation_type: str = "linear"


class LevelOptions(LevelShapeOptions, SpacedLevelOptions):
    """Noise levels of a timestep spacing, or of another shape."""


def noise_levels(options: SpacedLevelOptions, run: Run) -> tuple[Schedule, np.ndarray, np.ndarray]:
    """The training schedule, timesteps [calls] and noise levels [calls + 1], the last of which is 0; before `strength`.

    As in diffusers, levels and timesteps are those of float32; the levels of use_*_sigmas reach from the first to the
    last level of the timestep spacing.

    Raises:
        SamplerError: more steps than there are noise levels; options that exclude each other.
    """
    schedule = training_schedule(options, finite_sigmas=True)
    count, trained = len(schedule), schedule.sigmas.astype(np.float64)
    shape = level_shape(options)
    if run.timesteps is None:
        timesteps = spaced(options.timestep_spacing, count, run.steps, options.steps_offset)
        require_decreasing(timesteps, "timesteps", run.steps, count)
    elif shape:
        raise SamplerError(f"timesteps exclude {shape}: both define the grid")
    else:
        timesteps = given_timesteps(run.timesteps, count)
    timesteps = as_float32(timesteps)
    if options.interpolation_type == "linear":
        levels = np.interp(timesteps, np.arange(count), trained)
    else:
        levels = exponential(trained[-1], trained[0], run.steps + 1)
    if shape:
        levels = reshaped(options, levels, run.steps)
        require_decreasing(levels, "noise levels", run.steps, count)
        timesteps = schedule.timesteps_of(levels)
    return schedule, as_float32(timesteps), as_float32(np.append(levels, 0.0))


def level_shape(options: Options) -> str | None:
    """The one of use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas that is true, or None."""
    chosen = [option for option in _SHAPES if getattr(options, option)]
    if len(chosen) > 1:
        raise SamplerError(f"{' and '.join(chosen)} exclude each other; allowed: one of them")
    return chosen[0] if chosen else None


def reshaped(options: Options, levels: np.ndarray, steps: int) -> np.ndarray:
    """Levels [steps] of that shape from the first to the last of `levels`, or from sigma_max to sigma_min."""
    shape = level_shape(options)
    if shape is None:
        return levels
    largest = levels[0] if options.sigma_max is None else options.sigma_max
    smallest = levels[-1] if options.sigma_min is None else options.sigma_min
    if smallest <= 0:
        raise SamplerError(f"{shape} needs a smallest sigma above 0")
    return _SHAPES[shape](float(largest), float(smallest), steps)


def given_timesteps(timesteps: np.ndarray, count: int) -> np.ndarray:
    """Timesteps of a run, checked against the training schedule."""
    if timesteps[0] > count - 1:
        raise SamplerError(f"timesteps begin at {timesteps[0]:g}; the last training timestep is {count - 1}")
    return timesteps


def whole_timesteps(timesteps: np.ndarray, count: int) -> np.ndarray:
    """Timesteps of a run, checked, for schedulers that take whole numbers only."""
    between = timesteps[timesteps != np.trunc(timesteps)]
    if len(between):
        raise SamplerError(f"timesteps must be whole numbers here; {between[0]:g} is not")
    return given_timesteps(timesteps, count)


def positions_of(levels: np.ndarray) -> np.ndarray:
    """(alpha, sigma) [n, 2] of noise levels, alpha^2 + sigma^2 = 1; but (1, level) of the last.

    diffusers keeps latents as x0 + level eps, and returns the last ones without the scale of the denoiser's
    input, which matters where the run does not end at 0.
    """
    alphas, sigmas = alpha_sigma(levels)
    alphas[-1], sigmas[-1] = 1.0, levels[-1]
    return np.stack([alphas, sigmas], axis=1)


def initial_scale(options: SpacedLevelOptions, levels: np.ndarray) -> float:
    """Scale of the first latents: diffusers' noise is scaled by the largest level, or sqrt(level^2 + 1) for leading."""
    first, largest = levels[0], float(levels.max())
    scale = (largest**2 + 1) ** 0.5 if options.timestep_spacing == "leading" else largest
    return float(scale / (first**2 + 1) ** 0.5)


def as_float32(values: np.ndarray) -> np.ndarray:
    """Rounded to float32, as float64."""
    return values.astype(np.float32).astype(np.float64)
