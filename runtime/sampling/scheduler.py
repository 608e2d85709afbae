"""What a scheduler of diffusers is here: a function that makes a table, and the options that it takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .options import Option, choice, flag, number, numbers, whole
from .table import Table


@dataclass(frozen=True, eq=False)
class Run:
    """What is asked of one run, beside the configuration.

    Attributes:
        steps: steps of the whole grid, before `strength` leaves any out.
        strength: share of the steps that is run, the last ones; 1 for all.
        eta: share of new noise, where the scheduler takes it.
        timesteps: the grid itself, decreasing float64 [steps], in place of the configuration's.
        sigmas: likewise as noise levels sigma / alpha (sigma itself for flow matching), float64 [steps].
        mu: the shift of schedulers with use_dynamic_shifting.
    """

    steps: int
    strength: float = 1.0
    eta: float = 0.0
    timesteps: np.ndarray | None = None
    sigmas: np.ndarray | None = None
    mu: float | None = None

    @property
    def skipped(self) -> int:
        """Steps that `strength` leaves out, as diffusers' image-to-image pipelines count them."""
        return max(self.steps - min(int(self.steps * self.strength), self.steps), 0)


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
    """

    class_name: str
    build: Callable[[Mapping[str, Any], Run], Table]
    options: Mapping[str, Option]
    short_names: Mapping[str, Mapping[str, Any]]
    paper: str
    takes: frozenset[str] = frozenset()


SPACINGS = ("leading", "linspace", "trailing")
TRAINING: Mapping[str, Option] = {
    "num_train_timesteps": whole(1000, least=2),
    "beta_start": number(0.0001, least=0),
    "beta_end": number(0.02, least=0),
    "beta_schedule": choice("linear", "scaled_linear", "squaredcos_cap_v2"),
    "trained_betas": numbers(),
}
THRESHOLDING: Mapping[str, Option] = {
    "thresholding": flag(False),
    "dynamic_thresholding_ratio": number(0.995, least=0, most=1),
    "sample_max_value": number(1.0, least=0),
}
