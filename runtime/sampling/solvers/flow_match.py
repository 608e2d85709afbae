"""Flow matching: latents (1 - sigma) x0 + sigma eps, and models that predict the velocity eps - x0 between them."""

import numpy as np

from ...errors import SamplerError
from ..grids.flow_shift import shift_of, shifted, stretched
from ..grids.noise_levels import as_float32, reshaped
from ..options import flag, optional_number, positive
from ..parametrisation import Prediction
from ..scheduler import FLOW, Run, Scheduler
from ..shared_options import LevelShapeOptions, Options, ShiftingOptions, TokenShiftOptions
from ..table import Table, single_step
from .two_stage import trapezoid, two_stage


class FlowOptions(Options):
    """Options of FlowMatchHeunDiscreteScheduler."""

    shift: float = positive(1.0)


class FlowEulerOptions(TokenShiftOptions, ShiftingOptions, LevelShapeOptions, FlowOptions):
    """Options of FlowMatchEulerDiscreteScheduler."""

    shift_terminal: float | None = optional_number()
    invert_sigmas: bool = flag(False)
    stochastic_sampling: bool = flag(False)


def flow_euler(options: FlowEulerOptions, run: Run) -> Table:
    """Euler's method in sigma (Esser et al. 2024, section 2), or with stochastic_sampling, to x0 and back by new noise.

    As in diffusers, `shift` applies twice to the smallest sigma; timesteps of a run are inputs of the denoiser as
    they are, but their sigmas are shifted; and with invert_sigmas, sigma counts up, as the share of
    x0, and the denoiser predicts x0 - eps (Mochi).
    """
    timesteps, sigmas = _grid(options, run)
    skipped = _skipped(run)
    timesteps, sigmas = timesteps[skipped:], sigmas[skipped:]
    if options.invert_sigmas:
        if options.stochastic_sampling:
            raise SamplerError("invert_sigmas and stochastic_sampling exclude each other")
        if run.strength < 1:
            raise SamplerError("invert_sigmas cannot skip steps; strength must be 1")
        positions = np.stack([sigmas, 1 - sigmas], axis=1)
    else:
        positions = np.stack([1 - sigmas, sigmas], axis=1)
    start, end = positions[:-1], positions[1:]
    if options.stochastic_sampling:
        kept = end * [1.0, 0.0]
        return single_step(timesteps, start, kept, end=end, noise=end[:, 1].copy())
    return single_step(timesteps, start, end, basis=_predicts(options))


def flow_heun(options: FlowOptions, run: Run) -> Table:
    """Heun's method in sigma: Euler's step, and again with the mean of both ends. The last step, to 0, is Euler's.

    As in diffusers, `shift` applies twice to the smallest sigma.
    """
    count = options.num_train_timesteps
    sigmas = as_float32(np.append(shifted(_even(options, run.steps), options.shift), 0.0))[_skipped(run) :]
    calls = trapezoid(as_float32(sigmas[:-1] * count), np.stack([1 - sigmas, sigmas], axis=1))
    return two_stage("flow_prediction", calls, weights=(1 / 2, 1 / 2))


def _grid(options: FlowEulerOptions, run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Timesteps [steps] and sigmas [steps + 1], the last of them where the run ends, as float32 has them."""
    count = options.num_train_timesteps
    if run.sigmas is not None:
        sigmas = as_float32(run.sigmas)
    elif run.timesteps is not None:
        sigmas = as_float32(run.timesteps) / count
    else:
        sigmas = _even(options, run.steps)
    if sigmas[0] > 1:
        raise SamplerError(f"sigma begins at {sigmas[0]:g}; pure noise is 1 (timestep {count})")
    sigmas = stretched(shifted(sigmas, shift_of(options, run, options.shift)), options.shift_terminal)
    sigmas = as_float32(reshaped(options, sigmas, run.steps))
    timesteps = sigmas * count if run.timesteps is None else run.timesteps
    final = 0.0
    if options.invert_sigmas:
        sigmas, final = as_float32(1 - sigmas), 1.0
        timesteps = sigmas * count
    return as_float32(timesteps), np.append(sigmas, final)


def _even(options: FlowOptions, steps: int) -> np.ndarray:
    """Even sigmas from 1 down to that of timestep 1, which is a shifted one unless shifts are dynamic."""
    smallest = 1 / options.num_train_timesteps
    if not options.use_dynamic_shifting:
        smallest = float(shifted(np.array(smallest), options.shift))
    return np.linspace(1.0, smallest, steps)


def _skipped(run: Run) -> int:
    """Number of steps that are skipped, by strength as in diffusers' image-to-image pipelines of flow models."""
    if run.skip is not None:
        return run.skip
    return int(max(run.steps - min(run.steps * run.strength, run.steps), 0))


def _predicts(options: FlowEulerOptions) -> Prediction:
    return "reversed_flow" if options.invert_sigmas else "flow_prediction"


SCHEDULERS = (
    Scheduler(
        "FlowMatchEulerDiscreteScheduler",
        flow_euler,
        FlowEulerOptions,
        {"flow_euler": {}},
        paper="Esser et al. 2024, Scaling Rectified Flow Transformers, arXiv 2403.03206",
        takes=frozenset({"timesteps", "sigmas", "mu"}),
        predicts=_predicts,
        models=FLOW,
    ),
    Scheduler(
        "FlowMatchHeunDiscreteScheduler",
        flow_heun,
        FlowOptions,
        {"flow_heun": {}},
        calls=2,
        paper="Esser et al. 2024, arXiv 2403.03206; Karras, Aittala, Aila and Laine 2022, arXiv 2206.00364",
        predicts=lambda options: "flow_prediction",
        models=FLOW,
    ),
)
