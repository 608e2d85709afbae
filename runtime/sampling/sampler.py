"""A sampler: a scheduler configuration and a number of steps, worked out once, without state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import SamplerError
from . import registry
from .handover import resumed, skipped_steps, stopped
from .options import declared
from .parametrisation import Clip, DynamicThreshold, Limit, Prediction, convert
from .requests import RunArguments, read_part, read_run
from .shared_options import Options
from .table import Table

VANISHING = 1e-30  # stands for an alpha of 0 where x0 is clipped: its inverse is still a float32


@dataclass(frozen=True, eq=False, repr=False)
class Sampler:
    """Everything that the loop needs, as data; images and threads may share one.

    Attributes:
        name: diffusers' class name.
        options: every option of that class, as used.
        table: the coefficients.
        prediction: prediction type of the denoiser, see `parametrisation`.
        to_basis: float64 [n, 2], (p, q) with  m = p x + q output.
        to_denoised: float64 [n, 2], (p, q) with  x0 = p x + q m.
        limit: clips or thresholds x0; None for neither.
        strength: share of the steps that are run, the last ones.
        resumes: it starts where another run stopped, with the latents of that run.
    """

    name: str
    options: Options
    table: Table
    prediction: Prediction
    to_basis: np.ndarray
    to_denoised: np.ndarray
    limit: Limit | None
    strength: float = 1.0
    resumes: bool = False

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any],
        num_inference_steps: int = 20,
        *,
        eta: float | None = None,
        timesteps: Sequence[float] | str | None = None,
        sigmas: Sequence[float] | str | None = None,
        strength: float = 1.0,
        strength_in_schedule: bool = False,
        mu: float | None = None,
        denoising_start: float | None = None,
        denoising_end: float | None = None,
    ) -> "Sampler":
        """Work out a sampler.

        Args:
            config: diffusers' scheduler_config.json, as a dict; `_class_name` names the scheduler.
            num_inference_steps: steps; some schedulers make more denoiser calls, see `len(sampler)`.
            eta: share of new noise, from 0 (none) to 1, for schedulers that take it (DDIM, TCD); the default is that
                of diffusers' `step`: 0.3 for TCD, else 0.
            timesteps: a grid in place of the configuration's, decreasing; num_inference_steps is then its length. A
                name is one of Align Your Steps: ays_sd15, ays_sdxl.
            sigmas: a grid of noise levels sigma / alpha (sigma for flow matching), as diffusers' set_timesteps takes
                them: EulerDiscreteScheduler's include the one that the run ends at. Names: ays_svd too.
            strength: run the last int(strength * steps) steps only, on the latents of an image with noise added;
                `denoise` takes these latents.
            strength_in_schedule: strength shortens the schedule that a consistency model was distilled on, of which all
                steps are then run, as in diffusers' LatentConsistencyModelImg2ImgPipeline. It has no effect on other
                schedulers, nor with `timesteps`.
            mu: shift of a schedule with use_dynamic_shifting; larger for larger images.
            denoising_start: resume after that share of the training timesteps, above 0 and below 1, where another run
                stopped; `denoise` takes its latents.
            denoising_end: stop after that share, above 0, to 1; the latents have noise left then.

        Raises:
            SamplerError: an unknown scheduler; an option or value that it does not take; a number of steps that its
                schedule does not allow.
        """
        scheduler, options = registry.read_options(config)
        if eta == 0 and "eta" not in scheduler.takes:
            eta = None
        arguments = RunArguments(num_inference_steps, strength, strength_in_schedule, eta, timesteps, sigmas, mu)
        run = read_run(scheduler, options, arguments)
        start, end = read_part(denoising_start, denoising_end, run)
        table, trained = scheduler.build(options, run), options.num_train_timesteps
        if start is not None:
            skip = skipped_steps(scheduler, table, trained, start)
            table = resumed(scheduler, scheduler.build(options, replace(run, skip=skip)))
        if end is not None:
            table = stopped(scheduler, table, trained, end)
        return cls.from_table(scheduler.class_name, options, table, strength, resumes=start is not None)

    @classmethod
    def from_table(
        cls, name: str, options: Options, table: Table, strength: float = 1.0, *, resumes: bool = False
    ) -> "Sampler":
        """A sampler of a table; of the options, prediction_type, clip_sample and thresholding count."""
        scheduler = registry.find(name)[0]
        prediction = scheduler.predicts(options)
        limit = _limit(options) if scheduler.limits(options) else None
        # Clipped, x0 is defined even where a denoiser predicts pure noise from pure noise: the bound, with a sign
        alphas = np.maximum(table.alphas, VANISHING) if limit else table.alphas
        positions = list(zip(alphas.tolist(), table.sigmas.tolist(), strict=True))
        first: Prediction = "sample" if limit else table.basis  # x0 is what can be limited
        to_basis = np.array([convert(prediction, first, alpha, sigma) for alpha, sigma in positions])
        to_denoised = np.array([convert(table.basis, "sample", alpha, sigma) for alpha, sigma in positions])
        if not (np.isfinite(to_basis).all() and np.isfinite(to_denoised).all()):
            raise SamplerError(
                f"prediction_type={prediction} says nothing about x0 where the latents are pure noise "
                "(rescale_betas_zero_snr); allowed there: sample, v_prediction"
            )
        for array in (to_basis, to_denoised):
            array.flags.writeable = False
        return cls(name, options, table, prediction, to_basis, to_denoised, limit, strength, resumes)

    @property
    def config(self) -> dict[str, Any]:
        """Every option by its name in scheduler_config.json."""
        return {name: getattr(self.options, name) for name in declared(type(self.options))}

    def __len__(self) -> int:
        """Denoiser calls."""
        return len(self.table.timesteps)

    @property
    def timesteps(self) -> np.ndarray:
        """Inputs of the denoiser, float64, one for each call."""
        return self.table.timesteps

    @property
    def alphas(self) -> np.ndarray:
        """Signal in the input latents of each call, float64."""
        return self.table.alphas

    @property
    def sigmas(self) -> np.ndarray:
        """Noise in the input latents of each call, float64."""
        return self.table.sigmas

    @property
    def noise_levels(self) -> np.ndarray:
        """sigma / alpha of each call, float64: the sigma of Karras et al. 2022, in which intervals are stated."""
        with np.errstate(divide="ignore"):
            levels: np.ndarray = self.table.sigmas / self.table.alphas
        return levels

    @property
    def order(self) -> int:
        """Declared order of convergence."""
        return self.table.order

    @property
    def stochastic(self) -> bool:
        """Whether it draws noise during the run."""
        return bool(self.table.noise.any())


def _limit(options: Options) -> Limit | None:
    if options.thresholding:
        return DynamicThreshold(options.dynamic_thresholding_ratio, options.sample_max_value)
    if options.clip_sample:
        return Clip(options.clip_sample_range)
    return None
