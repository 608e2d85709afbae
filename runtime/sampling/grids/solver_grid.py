"""The grid of the solvers that work in lambda = log(alpha / sigma): the same options in five classes of diffusers."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import TypeVar

import numpy as np

from ...errors import SamplerError
from ..options import OptionGroup, choice, flag, number, only, positive
from ..parametrisation import Prediction
from ..scheduler import Run
from ..shared_options import (
    SPACINGS,
    LevelShapeOptions,
    SpacingOptions,
    ThresholdingOptions,
    TrainingOptions,
)
from ..solvers.exponential_integrator import Basis, lambdas_of
from ..table import Table, identity
from .flow_shift import shift_of, shifted
from .noise_levels import as_float32, level_shape, reshaped, whole_timesteps
from .schedule import Schedule, training_schedule
from .spacing import alpha_sigma, require_decreasing, require_trained, spaced

SAME = 1e-6  # relative: noise levels that float32 cannot distinguish


class SolverOptions(LevelShapeOptions, ThresholdingOptions, TrainingOptions):
    """Options of all these solvers, and values for those that only some of them have."""

    prediction_type: Prediction = choice("epsilon", "sample", "v_prediction", "flow_prediction")
    use_flow_sigmas: bool = flag(False)
    flow_shift: float = positive(1.0)
    timestep_spacing: str = "linspace"
    steps_offset: int = 0
    final_sigmas_type: str = "sigma_min"
    use_lu_lambdas: bool = False
    lambda_min_clipped: float = -inf


class SolverSpacingOptions(SpacingOptions):
    """Timestep spacing, linspace by default."""

    timestep_spacing: str = choice(*SPACINGS, default="linspace")


class CutOffOptions(OptionGroup):
    """The noisiest timestep in use."""

    lambda_min_clipped: float = number(-inf, infinite=True)
    # DDPM's, which configurations keep, are without effect; learned ones need a denoiser of twice the channels
    variance_type: str | None = only(None, "fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log")


OptionsType = TypeVar("OptionsType", bound=SolverOptions)


@dataclass(frozen=True, eq=False, repr=False)
class SolverGrid:
    """Denoiser calls of a run.

    Attributes:
        timesteps: [calls], whole numbers, inputs of the denoiser.
        positions: [calls + 1, 2], (alpha, sigma) of each call and of where the last step ends.
        skipped: calls of the whole grid that come before the first of these.
    """

    timesteps: np.ndarray
    positions: np.ndarray
    skipped: int

    def __len__(self) -> int:
        return len(self.timesteps)

    @property
    def whole(self) -> int:
        """Calls of the whole grid."""
        return self.skipped + len(self)

    @cached_property
    def lambdas(self) -> np.ndarray:
        """log(alpha / sigma), [calls + 1]; infinity at sigma 0."""
        return lambdas_of(self.positions)

    def step(self, i: int, origin: int | None = None) -> tuple[np.ndarray, np.ndarray, float]:
        """From call `origin` (i itself by default) to call i + 1: (alpha, sigma) of both, length in lambda."""
        origin = i if origin is None else origin
        return self.positions[origin], self.positions[i + 1], float(self.lambdas[i + 1] - self.lambdas[origin])

    def nodes(self, i: int, count: int, origin: int | None = None) -> list[float]:
        """Positions of the calls i, i-1, ..., `count` of them, in units of `step(i, origin)` from its start."""
        start = self.lambdas[i if origin is None else origin]
        made = self.lambdas[i - count + 1 : i + 1][::-1]
        nodes: list[float] = ((made - start) / (self.lambdas[i + 1] - start)).tolist()
        return nodes

    def table(
        self,
        basis: Basis,
        order: int,
        advance: np.ndarray,
        *,
        start: np.ndarray | None = None,
        correct: np.ndarray | None = None,
        noise: np.ndarray | None = None,
        idle_draws: bool = False,
    ) -> Table:
        """The table with these rows; they start where the calls are made, correct nothing and add no noise."""
        calls, width = advance.shape
        return Table(
            basis=basis,
            order=order,
            timesteps=self.timesteps,
            alphas=self.positions[:-1, 0].copy(),
            sigmas=self.positions[:-1, 1].copy(),
            start=self.positions[:-1].copy() if start is None else start,
            end=self.positions[1:].copy(),
            advance=advance,
            correct=identity(calls, width - 1) if correct is None else correct,
            noise=np.zeros(calls) if noise is None else noise,
            idle_draws=idle_draws,
        )


def _even_flow(options: SolverOptions, run: Run) -> np.ndarray:
    """Flow sigmas [steps] from just below 1: even ones, shifted by mu where the run has it, else by flow_shift."""
    shape = _shape(options)
    if shape:
        raise SamplerError(f"{shape} and use_flow_sigmas exclude each other; allowed: one of them")
    if run.mu is not None and options.time_shift_type != "exponential":
        raise SamplerError(f"mu needs time_shift_type=exponential; it is {options.time_shift_type}")
    shift = options.flow_shift if run.mu is None else shift_of(options, run, options.flow_shift)
    return shifted(1 - np.linspace(1, 1 / options.num_train_timesteps, run.steps + 1), shift)[:0:-1]


def solver_grid(
    options: OptionsType,
    run: Run,
    *,
    ends_on_grid: bool = False,
    rounds_cosine: bool = True,
    flow: Callable[[OptionsType, Run], np.ndarray] = _even_flow,
) -> SolverGrid:
    """The grid of the options, or of the run, as in diffusers.

    Timesteps of the denoiser are whole numbers: rounded where they come from Karras or Lu noise levels, cut off
    where these are exponential, beta or flow. If several are requested, Karras has priority, then Lu.

    Args:
        options: of DPMSolverMultistep, DPMSolverSinglestep, DEISMultistep, UniPCMultistep or SASolver; what one of
            them does not have is as it is by default in the others.
        run: timesteps that it gives are whole numbers.
        ends_on_grid: final_sigmas_type sigma_min, or none, is the last noise level of the grid, where that is not made
            of timesteps, and not the training schedule's.
        rounds_cosine: Karras and Lu timesteps are rounded with the cosine schedule too.
        flow: (options, run) -> sigmas of flow matching [steps].

    Raises:
        SamplerError: options that exclude each other; more steps than there are timesteps.
    """
    _check_prediction(options)
    schedule, of_flow = training_schedule(options, finite_sigmas=True), options.use_flow_sigmas
    own = of_flow or _shape(options)  # levels that are not those of timesteps
    if run.timesteps is not None and own:
        raise SamplerError(f"timesteps exclude {'use_flow_sigmas' if of_flow else own}: both define the grid")
    if of_flow:
        levels = flow(options, run)
        timesteps = levels * len(schedule)
    else:
        timesteps, levels = _levels(schedule, options, run, rounds_cosine)
    final = 0.0
    if options.final_sigmas_type == "sigma_min":
        final = float(levels[-1] if ends_on_grid and own else schedule.sigmas[0])
    if abs(levels[-1] - final) < SAME * final:  # not next to sigma_min: a step of no length is of no order either
        levels[-1] = final
    levels = as_float32(np.append(levels, final))
    positions = np.stack([1 - levels, levels] if of_flow else alpha_sigma(levels), axis=1)
    return SolverGrid(np.trunc(timesteps)[run.skipped :], positions[run.skipped :], run.skipped)


def _check_prediction(options: SolverOptions) -> None:
    of_flow, prediction = options.use_flow_sigmas, options.prediction_type
    if prediction == "flow_prediction" and not of_flow:
        raise SamplerError("prediction_type=flow_prediction needs use_flow_sigmas=true")
    if prediction == "v_prediction" and of_flow:
        raise SamplerError("prediction_type=v_prediction is not that of flow matching; use_flow_sigmas must be false")
    if options.use_dynamic_shifting and not of_flow:
        raise SamplerError("use_dynamic_shifting=true does nothing without use_flow_sigmas=true")


def _shape(options: SolverOptions) -> str | None:
    """The option that defines the noise levels; None where timesteps do."""
    shape = level_shape(options)
    return "use_lu_lambdas" if options.use_lu_lambdas and shape != "use_karras_sigmas" else shape


def _levels(schedule: Schedule, options: SolverOptions, run: Run, rounds_cosine: bool) -> tuple[np.ndarray, np.ndarray]:
    """Timesteps [calls], not yet whole, and noise levels sigma / alpha [calls]."""
    count, trained, shape = len(schedule), schedule.sigmas, _shape(options)
    if shape is None:
        timesteps = _timesteps(schedule, options, run)
        return timesteps, np.interp(timesteps, np.arange(count), trained)
    lu = shape == "use_lu_lambdas"
    levels = _lu(trained, run.steps) if lu else reshaped(options, trained[::-1], run.steps)
    timesteps = schedule.timesteps_of(levels)
    cosine = options.beta_schedule == "squaredcos_cap_v2"
    rounds = (lu or shape == "use_karras_sigmas") and (rounds_cosine or not cosine)
    return timesteps.round() if rounds else timesteps, levels


def _timesteps(schedule: Schedule, options: SolverOptions, run: Run) -> np.ndarray:
    """By spacing, from the noisiest timestep in use."""
    count = len(schedule)
    if run.timesteps is not None:
        return whole_timesteps(run.timesteps, count)
    # Lambda goes to -infinity with the cosine schedule: the noisiest timesteps can be cut off
    lambdas = np.log(np.sqrt(schedule.alphas_cumprod)) - np.log(np.sqrt(1 - schedule.alphas_cumprod))
    last = count - int(np.searchsorted(lambdas[::-1], options.lambda_min_clipped))
    spacing, offset = options.timestep_spacing, options.steps_offset
    timesteps = spaced(spacing, count, run.steps, offset, last=last, extra=1).round()
    require_decreasing(timesteps, "timesteps", run.steps, count)
    require_trained(timesteps, run.steps, count)
    return timesteps


def _lu(trained: np.ndarray, steps: int) -> np.ndarray:
    """Noise levels even in lambda, as `exponential`, but rounded as diffusers does: the first timestep hangs on it."""
    high, low = (float(np.log(level)) for level in (trained[-1], trained[0]))
    return np.exp(high + np.linspace(0, 1, steps) * (low - high))
