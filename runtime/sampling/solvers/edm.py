"""EDM: noise levels as Karras et al. 2022 choose them, and models with their preconditioning (table 1)."""

from math import log

import numpy as np

from ...errors import SamplerError
from ..grids.noise_levels import as_float32
from ..grids.solver_grid import SAME, SolverGrid
from ..options import choice, positive, whole
from ..parametrisation import Prediction
from ..scheduler import EDM, Run, Scheduler
from ..shared_options import Options, ThresholdingOptions
from ..table import Table, identity, single_step
from .dpm_multistep import RUN_ORDER, MultistepOptions, multistep


class EDMOptions(Options):
    """Options of EDMEulerScheduler."""

    sigma_min: float = positive(0.002)
    sigma_max: float = positive(80.0)
    sigma_data: float = positive(0.5)
    sigma_schedule: str = choice("karras", "exponential")
    num_train_timesteps: int = whole(1000, least=1)
    prediction_type: Prediction = choice("epsilon", "v_prediction")
    rho: float = positive(7.0)
    final_sigmas_type: str = choice("zero", "sigma_min")


class EDMMultistepOptions(MultistepOptions, ThresholdingOptions, EDMOptions):
    """Options of EDMDPMSolverMultistepScheduler."""

    algorithm_type: str = choice("dpmsolver++", "sde-dpmsolver++", aliases={"deis": "dpmsolver++"})


def edm_euler(options: EDMOptions, run: Run) -> Table:
    """Euler's method in sigma (algorithm 1 without churn and without the correction).

    As in diffusers, with final_sigmas_type sigma_min the last step goes nowhere. The sigmas of its set_timesteps
    are places from 0 to 1 between sigma_max and sigma_min: a run has none here.
    """
    levels = _levels(options, run.steps)
    levels = np.append(levels, levels[-1] if options.final_sigmas_type == "sigma_min" else 0.0)
    positions = _positions(levels, options)[run.skipped :]
    return single_step(
        _timesteps(levels)[run.skipped :], positions[:-1], positions[1:], initial_scale=_initial_scale(levels, options)
    )


def edm_dpm_multistep(options: EDMMultistepOptions, run: Run) -> Table:
    """DPM-Solver++, multistep, orders 1 to 3, and its SDE form (Lu et al. 2022b), on EDM's noise levels."""
    if options.algorithm_type == "sde-dpmsolver++" and options.solver_order == 3:
        raise SamplerError("algorithm_type=sde-dpmsolver++ has no solver_order=3; allowed: 1, 2")
    levels, smallest = _levels(options, run.steps), options.sigma_min
    final = smallest if options.final_sigmas_type == "sigma_min" else 0.0
    if abs(levels[-1] - final) < SAME * final:  # not next to sigma_min: a step of no length is of no order either
        final = levels[-1]
    levels = as_float32(np.append(levels, final))
    scales = 1 / np.hypot(levels, options.sigma_data)
    positions = np.stack([scales, scales * levels], axis=1)[run.skipped :]
    grid = SolverGrid(_timesteps(levels)[run.skipped :], positions, run.skipped)
    advance, noise = multistep(grid, "sample", options)
    # The last latents are x0 + level eps
    for array in (advance, noise):
        array[-1] /= scales[-1]
    ends = np.append(positions[1:-1], [positions[-1] / scales[-1]], axis=0)
    return Table(
        basis="sample",
        order=min(options.solver_order, RUN_ORDER),
        timesteps=grid.timesteps,
        alphas=positions[:-1, 0].copy(),
        sigmas=positions[:-1, 1].copy(),
        start=positions[:-1].copy(),
        end=ends,
        advance=advance,
        correct=identity(len(grid), options.solver_order),
        noise=noise,
        initial_scale=_initial_scale(levels, options),
    )


def _levels(options: EDMOptions, steps: int) -> np.ndarray:
    """sigma, as float32 has it [steps]; of a single step, the smallest where they are exponential, as in diffusers."""
    smallest, largest = options.sigma_min, options.sigma_max
    if options.sigma_schedule == "exponential":
        return as_float32(np.exp(np.linspace(log(smallest), log(largest), steps)))[::-1]
    high, low = largest ** (1 / options.rho), smallest ** (1 / options.rho)
    return as_float32((high + np.linspace(0, 1, steps) * (low - high)) ** options.rho)


def _timesteps(levels: np.ndarray) -> np.ndarray:
    """c_noise of all levels but the last."""
    return as_float32(0.25 * np.log(levels[:-1]))


def _positions(levels: np.ndarray, options: EDMOptions) -> np.ndarray:
    """(alpha, sigma) [n, 2] of latents scaled by c_in, but the last, which are x0 + level eps."""
    alphas = 1 / np.hypot(levels, options.sigma_data)
    alphas[-1] = 1.0
    return np.stack([alphas, alphas * levels], axis=1)


def _initial_scale(levels: np.ndarray, options: EDMOptions) -> float:
    """diffusers begins with noise times sqrt(sigma_max^2 + 1), whatever sigma_data."""
    return float(np.hypot(options.sigma_max, 1.0) / np.hypot(levels[0], options.sigma_data))


def _predicts(options: EDMOptions) -> Prediction:
    """diffusers calls F epsilon, and -F v_prediction."""
    return "edm" if options.prediction_type == "epsilon" else "edm_v"


_KARRAS = "Karras, Aittala, Aila and Laine 2022, Elucidating the Design Space, arXiv 2206.00364"

SCHEDULERS = (
    Scheduler(
        "EDMEulerScheduler",
        edm_euler,
        EDMOptions,
        {"edm_euler": {}},
        paper=_KARRAS,
        predicts=_predicts,
        models=EDM,
        scales_input=True,
    ),
    Scheduler(
        "EDMDPMSolverMultistepScheduler",
        edm_dpm_multistep,
        EDMMultistepOptions,
        {"edm_dpmpp_2m": {"algorithm_type": "dpmsolver++", "solver_order": 2}},
        paper=f"{_KARRAS}; Lu et al. 2022, DPM-Solver++, arXiv 2211.01095",
        predicts=_predicts,
        models=EDM,
        scales_input=True,
    ),
)
