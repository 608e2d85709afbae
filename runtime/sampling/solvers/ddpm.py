"""DDPM: the posterior of the training process, sampled (Ho, Jain and Abbeel 2020)."""

import numpy as np

from ...errors import SamplerError
from ..grids.noise_levels import whole_timesteps
from ..grids.schedule import training_schedule
from ..grids.spacing import require_trained, spaced
from ..options import choice, flag
from ..parametrisation import Prediction
from ..scheduler import Run, Scheduler
from ..shared_options import ClippingOptions, SpacingOptions, ThresholdingOptions, TrainingOptions
from ..table import Table, single_step

_LEAST_VARIANCE = 1e-20  # as in diffusers, where the last step would add none


class DDPMOptions(ClippingOptions, SpacingOptions, ThresholdingOptions, TrainingOptions):
    """Options of DDPMScheduler."""

    beta_schedule: str = choice("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace")
    variance_type: str = choice(
        "fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", aliases={None: "fixed_small"}
    )
    prediction_type: Prediction = choice("epsilon", "sample", "v_prediction")
    rescale_betas_zero_snr: bool = flag(False)


def ddpm(options: DDPMOptions, run: Run) -> Table:
    """DDPM (algorithm 2) on some of the training timesteps, each step to the next of them (eq. 6 and 7).

    Variance of the new noise: that of the posterior, beta-tilde (fixed_small), or the larger beta (fixed_large); the
    last step, if it is from timestep 0, adds none. fixed_small_log and fixed_large_log are the same two: diffusers
    takes the root of a logarithm for the latter, which is NaN.
    """
    schedule = training_schedule(options)
    count = len(schedule)
    if run.timesteps is not None:
        timesteps = whole_timesteps(run.timesteps, count)
    else:
        if run.steps > count:
            raise SamplerError(
                f"num_inference_steps={run.steps} is too many; the schedule has {count} training timesteps"
            )
        timesteps = spaced(options.timestep_spacing, count, run.steps, options.steps_offset).round()
        require_trained(timesteps, run.steps, count)
    timesteps = timesteps[run.skipped :]
    start = np.array([schedule.at(t % count) for t in timesteps])  # -1, which trailing may give, is the last by index
    end = np.array([schedule.at(t) for t in [*timesteps[1:], -1]])

    ratio = start[:, 0] / end[:, 0]
    beta = 1 - ratio**2
    share = (end[:, 1] / start[:, 1]) ** 2
    variance = beta if options.variance_type.startswith("fixed_large") else share * beta
    noise = np.where(timesteps > 0, np.sqrt(np.maximum(variance, _LEAST_VARIANCE)), 0.0)
    kept = np.stack([end[:, 0], ratio * share * start[:, 1]], axis=1)
    return single_step(timesteps, start, kept, end=end, noise=noise)


SCHEDULERS = (
    Scheduler(
        "DDPMScheduler",
        ddpm,
        DDPMOptions,
        {"ddpm": {}},
        paper="Ho, Jain and Abbeel 2020, Denoising Diffusion Probabilistic Models, arXiv 2006.11239",
        takes=frozenset({"timesteps"}),
    ),
)
