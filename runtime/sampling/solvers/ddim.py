"""DDIM: the deterministic sampler of a diffusion model, and every share of new noise up to DDPM."""

import numpy as np

from ...errors import SamplerError
from ..grids.schedule import training_schedule
from ..grids.spacing import require_trained, spaced
from ..options import choice, flag
from ..parametrisation import Prediction
from ..scheduler import Run, Scheduler
from ..shared_options import ClippingOptions, SpacingOptions, ThresholdingOptions, TrainingOptions
from ..table import Table, single_step


class DDIMOptions(ClippingOptions, SpacingOptions, ThresholdingOptions, TrainingOptions):
    """Options of DDIMScheduler."""

    prediction_type: Prediction = choice("epsilon", "sample", "v_prediction")
    set_alpha_to_one: bool = flag(True)
    rescale_betas_zero_snr: bool = flag(False)


def ddim(options: DDIMOptions, run: Run) -> Table:
    """DDIM (Song, Meng and Ermon 2021, eq. 12 and 16), with eta from 0 (deterministic) to 1 (as DDPM).

    As in diffusers, a step lands num_train_timesteps // steps below its own timestep, whatever the spacing: with
    linspace, and wherever steps does not divide, that is not quite where the next one begins.
    """
    schedule, steps = training_schedule(options), run.steps
    count = len(schedule)
    if steps > count:
        raise SamplerError(f"num_inference_steps={steps} is too many; the schedule has {count} training timesteps")
    timesteps = spaced(options.timestep_spacing, count, steps, options.steps_offset).round()
    require_trained(timesteps, steps, count)
    timesteps = timesteps[run.skipped :]
    final = 1.0 if options.set_alpha_to_one else float(schedule.alphas_cumprod[0])
    start = np.array([schedule.at(t % count) for t in timesteps])  # -1, which trailing may give, is the last by index
    end = np.array([schedule.at(t - count // steps, final=final) for t in timesteps])

    # eq. 16: the part of the noise that is new, and what of the old direction is left
    ratio = (start[:, 0] / end[:, 0]) ** 2
    noise = run.eta * (end[:, 1] / start[:, 1]) * np.sqrt(np.maximum(1 - ratio, 0))
    kept = np.stack([end[:, 0], np.sqrt(end[:, 1] ** 2 - noise**2)], axis=1)
    return single_step(timesteps, start, kept, end=end, noise=noise, keep_noise=True)


SCHEDULERS = (
    Scheduler(
        "DDIMScheduler",
        ddim,
        DDIMOptions,
        {"ddim": {}},
        paper="Song, Meng and Ermon 2021, Denoising Diffusion Implicit Models, arXiv 2010.02502",
        takes=frozenset({"eta"}),
    ),
)
