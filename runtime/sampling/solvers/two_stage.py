"""Methods of two denoiser calls a step: Heun's, and the midpoint rules of DPM-Solver-2."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..grids.noise_levels import LevelOptions, as_float32, initial_scale, noise_levels, positions_of
from ..options import choice, flag, number
from ..parametrisation import Prediction
from ..scheduler import Run, Scheduler
from ..shared_options import ClippingOptions
from ..table import Table, transport
from .euler import ancestral


class KDPM2Options(LevelOptions):
    """Options of KDPM2DiscreteScheduler and KDPM2AncestralDiscreteScheduler."""

    beta_start: float = number(0.00085, least=0)
    beta_end: float = number(0.012, least=0)
    prediction_type: Prediction = choice("epsilon", "v_prediction")


class HeunOptions(ClippingOptions, KDPM2Options):
    """Options of HeunDiscreteScheduler."""

    beta_schedule: str = choice("linear", "scaled_linear", "squaredcos_cap_v2", "exp")
    prediction_type: Prediction = choice("epsilon", "sample", "v_prediction")
    clip_sample: bool = flag(False)


def heun(options: HeunOptions, run: Run) -> Table:
    """Heun's method in sigma / alpha: Euler's step, and again with the mean of both ends (Karras et al., algorithm 1).

    The last step, to sigma 0, is Euler's.
    """
    _, timesteps, levels = noise_levels(options, run)
    calls = trapezoid(timesteps[run.skipped :], positions_of(levels)[run.skipped :])
    return two_stage("epsilon", calls, weights=(1 / 2, 1 / 2), initial_scale=initial_scale(options, levels))


def kdpm2(options: KDPM2Options, run: Run) -> Table:
    """The midpoint rule in sigma / alpha, with the midpoint in log sigma (k-diffusion's DPM2).

    The last step, to sigma 0, is Euler's. As in diffusers, Karras timesteps are rounded, but not those of midpoints.
    """
    return _midpoint(options, run, lambda levels: (levels[1:], np.zeros(len(levels) - 1)))


def kdpm2_ancestral(options: KDPM2Options, run: Run) -> Table:
    """`kdpm2` with steps below the next level, and up to that by new noise (k-diffusion's DPM2 a)."""
    return _midpoint(options, run, ancestral)


def _midpoint(options: KDPM2Options, run: Run, targets: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> Table:
    """Midpoint steps; `targets` maps levels [steps + 1] to the level of each step's end and its new noise."""
    schedule, timesteps, levels = noise_levels(options, run)
    if options.use_karras_sigmas:
        timesteps = timesteps.round()
    down, up = targets(levels)
    middle = as_float32(np.sqrt(levels[:-2] * down[:-1]))
    positions = positions_of(levels)[run.skipped :]
    end = positions[1:]
    calls = Calls(
        timesteps=timesteps[run.skipped :],
        between=as_float32(schedule.timesteps_of(middle))[run.skipped :],
        start=positions[:-1],
        probe=positions_of(np.append(middle, 0.0))[run.skipped : -1],
        end=end,
    )
    return two_stage(
        "epsilon",
        calls,
        weights=(0.0, 1.0),
        kept=np.stack([end[:, 0], end[:, 0] * down[run.skipped :]], axis=1),
        noise=end[:, 0] * up[run.skipped :],
        initial_scale=initial_scale(options, levels),
    )


@dataclass(frozen=True, eq=False, repr=False)
class Calls:
    """Two denoiser calls a step, for n steps, the last of one call.

    Attributes:
        timesteps: of the first calls [n].
        between: of the second calls [n - 1].
        start: (alpha, sigma) of the first calls [n, 2].
        probe: of the second calls, where the first lead [n - 1, 2].
        end: of where the steps end [n, 2].
    """

    timesteps: np.ndarray
    between: np.ndarray
    start: np.ndarray
    probe: np.ndarray
    end: np.ndarray


def trapezoid(timesteps: np.ndarray, positions: np.ndarray) -> Calls:
    """Calls at both ends of every step: timesteps [n], positions (alpha, sigma) [n + 1, 2]."""
    return Calls(timesteps, timesteps[1:], positions[:-1], positions[1:-1], positions[1:])


def two_stage(
    basis: Prediction,
    calls: Calls,
    *,
    weights: Sequence[float],
    kept: np.ndarray | None = None,
    noise: np.ndarray | None = None,
    initial_scale: float = 1.0,
) -> Table:
    """The table of n steps of two calls, the last of one: 2n - 1 rows.

    Args:
        basis: in which predictions are combined.
        calls: of the denoiser.
        weights: of the first call's prediction and of the second's.
        kept: what of `end` is carried over [n, 2], where the rest is new noise.
        noise: that rest [n]; none is drawn before a second call.
        initial_scale: see `Table`.
    """
    steps, start, probe, end = len(calls.timesteps), calls.start, calls.probe, calls.end
    kept = end if kept is None else kept
    landings = _interleave(probe, kept)
    starts = np.repeat(start, 2, axis=0)[:-1]
    moves = np.array([transport(basis, (s[0], s[1]), (k[0], k[1])) for s, k in zip(starts, landings, strict=True)])
    advance, correct = np.zeros((2 * steps - 1, 3)), np.zeros((2 * steps - 1, 4))
    advance[:, :2] = moves
    advance[1::2, 1:] = moves[1::2, 1:] * weights[::-1]
    correct[0::2, 0] = 1.0
    correct[1::2, 1] = 1.0  # the second call begins again from where the first did
    fed = _interleave(start[:-1], probe, start[-1:])
    added = np.zeros(2 * steps - 1)
    if noise is not None:
        added[1::2], added[-1] = noise[:-1], noise[-1]
    return Table(
        basis=basis,
        order=2,
        timesteps=_interleave(calls.timesteps[:-1], calls.between, calls.timesteps[-1:]),
        alphas=fed[:, 0].copy(),
        sigmas=fed[:, 1].copy(),
        start=starts,
        end=_interleave(probe, end),
        advance=advance,
        correct=correct,
        noise=added,
        initial_scale=initial_scale,
    )


def _interleave(first: np.ndarray, second: np.ndarray, last: np.ndarray | None = None) -> np.ndarray:
    """first[0], second[0], first[1], ...; what is left of the longer one, and `last`, at the end."""
    pairs = np.stack([first, second[: len(first)]], axis=1).reshape(-1, *first.shape[1:])
    rest = [second[len(first) :]] if last is None else [last]
    return np.concatenate([pairs, *rest])


_KARRAS = "Karras, Aittala, Aila and Laine 2022, Elucidating the Design Space, arXiv 2206.00364"

SCHEDULERS = (
    Scheduler(
        "HeunDiscreteScheduler",
        heun,
        HeunOptions,
        {"heun": {}},
        paper=_KARRAS,
        calls=2,
        scales_input=True,
        takes=frozenset({"timesteps"}),
    ),
    Scheduler(
        "KDPM2DiscreteScheduler",
        kdpm2,
        KDPM2Options,
        {"dpm2": {}},
        paper=_KARRAS,
        calls=2,
        scales_input=True,
    ),
    Scheduler(
        "KDPM2AncestralDiscreteScheduler",
        kdpm2_ancestral,
        KDPM2Options,
        {"dpm2_a": {}},
        paper=_KARRAS,
        calls=2,
        scales_input=True,
    ),
)
