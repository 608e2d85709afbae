"""What a scheduler of diffusers is here: a function that makes a table, and the options that it takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from ..errors import SamplerError
from .options import Option, choice, flag, number, numbers, whole
from .parametrisation import Prediction
from .table import Table


@dataclass(frozen=True, eq=False)
class Run:
    """What is asked of one run, beside the configuration.

    Attributes:
        steps: steps of the whole grid, before `strength` leaves any out.
        strength: share of the steps that is run, the last ones; 1 for all.
        begin: the steps that are left out, in place of what `strength` says.
        shortens: where the network was distilled on a schedule, strength is the share of that instead.
        eta: share of new noise, where the scheduler takes it.
        timesteps: the grid itself, decreasing float64 [steps], in place of the configuration's.
        sigmas: likewise as noise levels sigma / alpha (sigma itself for flow matching), decreasing float64 [steps];
            [steps + 1], with the level that the run ends at, for a scheduler with `ends_sigmas`.
        mu: the shift of schedulers with use_dynamic_shifting.
    """

    steps: int
    strength: float = 1.0
    begin: int | None = None
    shortens: bool = False
    eta: float = 0.0
    timesteps: np.ndarray | None = None
    sigmas: np.ndarray | None = None
    mu: float | None = None

    @property
    def skipped(self) -> int:
        """Steps that are left out, by `strength` as diffusers' image-to-image pipelines of diffusion models count them.

        Raises:
            SamplerError: it leaves out all of them.
        """
        if self.begin is not None:
            return self.begin
        left = int(self.steps * self.strength)
        if left == 0:
            raise SamplerError(
                f"strength={self.strength:g} leaves none of {self.steps} steps; allowed: {1 / self.steps:.4g} and more"
            )
        return self.steps - left


@dataclass(frozen=True)
class Scheduler:
    """One class of diffusers.

    Attributes:
        class_name: diffusers' `_class_name`.
        build: (options, run) -> table.
        options: everything that diffusers' class takes, and what of it is allowed.
        short_names: for people; each with the options that it stands for.
        paper: authors, year, title, arXiv number.
        takes: which of eta, timesteps, sigmas and mu a run may give; the others are refused by name.
        eta: what it is where a run does not say, as in diffusers' `step`.
        ends_sigmas: sigmas given in place of the grid include the one that the run ends at.
        calls: of the network in a step, but for the last step: diffusers' `order`.
        scales_input: diffusers keeps latents as x0 + (sigma / alpha) eps, and scales what the network is fed.
        limits: whether clip_sample and thresholding count with these options.
        predicts: what the network predicts, by the options: `prediction_type`, where that says it.
    """

    class_name: str
    build: Callable[[Mapping[str, Any], Run], Table]
    options: Mapping[str, Option]
    short_names: Mapping[str, Mapping[str, Any]]
    paper: str
    takes: frozenset[str] = frozenset()
    eta: float = 0.0
    ends_sigmas: bool = False
    calls: int = 1
    scales_input: bool = False
    limits: Callable[[Mapping[str, Any]], bool] = lambda options: True
    predicts: Callable[[Mapping[str, Any]], Prediction] = itemgetter("prediction_type")


SPACINGS = ("leading", "linspace", "trailing")
TRAINING: dict[str, Option] = {
    "num_train_timesteps": whole(1000, least=2),
    "beta_start": number(0.0001, least=0),
    "beta_end": number(0.02, least=0),
    "beta_schedule": choice("linear", "scaled_linear", "squaredcos_cap_v2"),
    "trained_betas": numbers(),
}
THRESHOLDING: dict[str, Option] = {
    "thresholding": flag(False),
    "dynamic_thresholding_ratio": number(0.995, least=0, most=1),
    "sample_max_value": number(1.0, least=0),
}
