"""Few-step samplers of distilled models: latent consistency models and trajectory consistency distillation."""

from typing import Any

import numpy as np

from ...errors import SamplerError
from ..grids.noise_levels import whole_timesteps
from ..grids.schedule import training_schedule
from ..options import choice, flag, number, unused, whole
from ..parametrisation import Prediction
from ..scheduler import Run, Scheduler
from ..shared_options import ClippingOptions, ThresholdingOptions, TrainingOptions
from ..table import Table, single_step

_SIGMA_DATA = 0.5  # Luo et al. 2023, section 4.1


class ConsistencyOptions(ClippingOptions, ThresholdingOptions, TrainingOptions):
    """Options of both schedulers."""

    beta_start: float = number(0.00085, least=0)
    beta_end: float = number(0.012, least=0)
    beta_schedule: str = choice("linear", "scaled_linear", "squaredcos_cap_v2", default="scaled_linear")
    original_inference_steps: int = whole(50, least=1)
    clip_sample: bool = flag(False)
    prediction_type: Prediction = choice("epsilon", "sample", "v_prediction")
    rescale_betas_zero_snr: bool = flag(False)
    # diffusers' classes declare these and do not read them
    set_alpha_to_one: Any = unused(True)
    steps_offset: Any = unused(0)
    timestep_spacing: Any = unused("leading")


class LCMOptions(ConsistencyOptions):
    """Options of LCMScheduler."""

    timestep_scaling: float = number(10.0)


class TCDOptions(ConsistencyOptions):
    """Options of TCDScheduler."""

    timestep_scaling: Any = unused(10.0)


def lcm(options: LCMOptions, run: Run) -> Table:
    """Multistep consistency sampling (Luo et al. 2023, algorithm 3): to x0, and back to the next timestep by new noise.

    c_skip and c_out keep a little of the latents: at the last timesteps a row misses alpha x0 by that much.

    """
    schedule = training_schedule(options)
    timesteps = _distilled(options, run, len(schedule))
    start = np.array([schedule.at(t) for t in timesteps])
    target = np.array([*start[1:], (1.0, 0.0)])  # the last call gives x0
    scaled = timesteps * options.timestep_scaling
    kept = _SIGMA_DATA**2 / (scaled**2 + _SIGMA_DATA**2)
    taken = scaled / np.sqrt(scaled**2 + _SIGMA_DATA**2)
    alpha, sigma = target[:, 0], target[:, 1]
    carried = np.stack([alpha * (taken + kept * start[:, 0]), alpha * kept * start[:, 1]], axis=1)
    end = np.stack([carried[:, 0], np.hypot(carried[:, 1], sigma)], axis=1)
    return single_step(timesteps, start, carried, end=end, noise=sigma.copy())


def tcd(options: TCDOptions, run: Run) -> Table:
    """Strategic stochastic sampling (Zheng et al. 2024, algorithm 4), with eta for their gamma.

    Down to timestep floor((1 - eta) t_next) without noise, and up to t_next with it: eta 0 adds none, 1 begins again
    from x0's. As in diffusers, the last step goes to timestep 0, which is not quite x0; and x0 is never clipped,
    whatever clip_sample and thresholding.
    """
    schedule = training_schedule(options)
    timesteps = _distilled(options, run, len(schedule))
    following = np.append(timesteps[1:], 0.0)
    below = np.floor(np.float32(1 - run.eta) * following.astype(np.float32))  # in float32, as diffusers does
    start, landing, target = (np.array([schedule.at(t) for t in each]) for each in (timesteps, below, following))
    up = target[:, 0] / landing[:, 0]
    noise = np.sqrt(np.maximum(1 - up**2, 0.0))
    return single_step(timesteps, start, up[:, None] * landing, end=target, noise=noise)


def _distilled(options: ConsistencyOptions, run: Run, count: int) -> np.ndarray:
    """Timesteps, float64: the run's own, or evenly some of those that the denoiser was distilled on.

    The latter are original_inference_steps multiples of the same stride, less one. strength leaves out the first steps,
    as in diffusers' image-to-image pipelines of Stable Diffusion; or, with `strength_in_schedule`, as many are taken of
    the cleaner multiples alone, as in its LatentConsistencyModelImg2ImgPipeline.
    """
    distilled = options.original_inference_steps
    if distilled > count:
        raise SamplerError(f"original_inference_steps={distilled} is too many; allowed: up to {count}")
    if run.timesteps is not None:
        return whole_timesteps(run.timesteps, count)[run.skipped :]
    left = int(distilled * run.strength) if run.strength_in_schedule else distilled
    if run.steps > left:
        of_them = f", of which strength={run.strength:g} leaves {left}" if left < distilled else ""
        raise SamplerError(
            f"num_inference_steps={run.steps} is too many; the denoiser was distilled on {distilled} "
            f"(original_inference_steps){of_them}"
        )
    every = (np.arange(1, left + 1) * (count // distilled) - 1.0)[::-1]
    timesteps: np.ndarray = every[np.linspace(0, left, run.steps, endpoint=False).astype(int)]
    return timesteps if left < distilled else timesteps[run.skipped :]


SCHEDULERS = (
    Scheduler(
        "LCMScheduler",
        lcm,
        LCMOptions,
        {"lcm": {}},
        paper="Luo, Tan, Huang, Li and Zhao 2023, Latent Consistency Models, arXiv 2310.04378",
        takes=frozenset({"timesteps"}),
    ),
    Scheduler(
        "TCDScheduler",
        tcd,
        TCDOptions,
        {"tcd": {}},
        paper="Zheng et al. 2024, Trajectory Consistency Distillation, arXiv 2402.19159",
        takes=frozenset({"eta", "timesteps"}),
        eta=0.3,
        limits=lambda options: False,
    ),
)
