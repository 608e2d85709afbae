"""Schedulers of diffusers: a function that computes a table of coefficients, and the options that it takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Generic, TypeVar

import numpy as np

from ..errors import SamplerError
from .options import Option, declared
from .parametrisation import Prediction
from .shared_options import Options
from .table import Table

OptionsType = TypeVar("OptionsType", bound=Options)

MODELS = DIFFUSION, FLOW, EDM = "diffusion", "flow matching", "EDM"
"""Kinds of models, by their latents and their predictions: a scheduler of another kind gives no image."""


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """Arguments of one run, checked, in addition to the configuration.

    Attributes:
        steps: steps of the whole grid, before `strength` leaves any out.
        strength: share of the steps that is run, the last ones; 1 for all.
        skip: number of steps that are skipped, in place of those by `strength`.
        strength_in_schedule: where the denoiser was distilled on a schedule, strength is a share of that schedule.
        eta: share of new noise, where the scheduler takes it.
        timesteps: the grid itself, decreasing float64 [steps], in place of the configuration's.
        sigmas: the grid as noise levels sigma / alpha (sigma itself for flow matching), decreasing float64 [steps];
            [steps + 1], with the level that the run ends at, for a scheduler with `ends_sigmas`.
        mu: the shift of schedulers with use_dynamic_shifting.
    """

    steps: int
    strength: float = 1.0
    skip: int | None = None
    strength_in_schedule: bool = False
    eta: float = 0.0
    timesteps: np.ndarray | None = None
    sigmas: np.ndarray | None = None
    mu: float | None = None

    @property
    def skipped(self) -> int:
        """Number of steps that are skipped, by `strength` as in diffusers' pipelines of diffusion models.

        Raises:
            SamplerError: all of them.
        """
        if self.skip is not None:
            return self.skip
        left = int(self.steps * self.strength)
        if left == 0:
            raise SamplerError(
                f"strength={self.strength:g} leaves none of {self.steps} steps; allowed: {1 / self.steps:.4g} and more"
            )
        return self.steps - left


@dataclass(frozen=True, eq=False, repr=False)
class Scheduler(Generic[OptionsType]):
    """One class of diffusers.

    Attributes:
        class_name: diffusers' `_class_name`.
        build: (options, run) -> table.
        options_class: every option of diffusers' class, with its default and check.
        short_names: name -> the options that it stands for.
        paper: authors, year, title, arXiv number.
        takes: those of eta, timesteps, sigmas and mu that a run may have; the others are refused by name.
        eta: its default, as in diffusers' `step`.
        ends_sigmas: sigmas of a run include the one that it ends at.
        calls: denoiser calls a step, except in the last step: diffusers' `order`.
        scales_input: diffusers keeps latents as x0 + (sigma / alpha) eps, and scales the input of the denoiser.
        limits: whether clip_sample and thresholding count with these options.
        predicts: prediction type of the denoiser, by the options.
        models: kind of models that it samples, of `MODELS`; some schedulers of diffusion models sample flow matching
            with use_flow_sigmas.
    """

    class_name: str
    build: Callable[[OptionsType, Run], Table]
    options_class: type[OptionsType]
    short_names: Mapping[str, Mapping[str, Any]]
    paper: str
    takes: frozenset[str] = frozenset()
    eta: float = 0.0
    ends_sigmas: bool = False
    calls: int = 1
    scales_input: bool = False
    limits: Callable[[OptionsType], bool] = lambda options: True
    predicts: Callable[[OptionsType], Prediction] = attrgetter("prediction_type")
    models: str = DIFFUSION

    @property
    def options(self) -> dict[str, Option]:
        """Name -> option, of every option of diffusers' class."""
        return declared(self.options_class)
