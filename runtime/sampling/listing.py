"""List of schedulers with their properties, measured on samplers."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import SamplerError, TriptychWarning
from . import Sampler
from .configuration import check_fits, understood
from .options import read
from .registry import FOREIGN_OPTIONS, SCHEDULERS, find, with_scheduler

STEPS = 20  # of the samplers that are measured


@dataclass(frozen=True)
class Description:
    """A scheduler under one of its names, with diffusers' defaults except for the options that the name stands for.

    Attributes:
        name: short name, or the class where there is none.
        class_name: diffusers' class.
        options: options that the name stands for.
        order: declared order of convergence.
        calls_per_step: denoiser calls that one more step costs.
        calls: of STEPS steps: solvers that begin or end otherwise make a few more or less than STEPS times that.
        draws_noise: with these options.
        takes: those of eta, timesteps, sigmas and mu that a run may have.
        paper: authors, year, title, arXiv number.
    """

    name: str
    class_name: str
    options: dict[str, Any]
    order: int
    calls_per_step: int
    calls: int
    draws_noise: bool
    takes: list[str]
    paper: str

    @property
    def noise(self) -> str:
        """Whether it draws noise, in words."""
        return "yes" if self.draws_noise else "with eta" if "eta" in self.takes else "no"


def sampler_named(name: str, steps: int = STEPS) -> Sampler:
    """The sampler of a short name or class name, with diffusers' defaults.

    Raises:
        SamplerError: no such scheduler.
    """
    scheduler, implied = find(name)
    return Sampler.from_config({"_class_name": scheduler.class_name, **implied}, num_inference_steps=steps)


def names() -> list[str]:
    """Every short name, and the class names of schedulers that have none."""
    return [name for scheduler in SCHEDULERS for name in scheduler.short_names or (scheduler.class_name,)]


def names_for(config: Mapping[str, Any]) -> list[str]:
    """The names of schedulers that fit the model of a package's scheduler_config.json, see `names`."""
    return [name for name in names() if _fits(name, config)]


def _fits(name: str, config: Mapping[str, Any]) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TriptychWarning)
        try:
            chosen = understood(with_scheduler(config, name))
            check_fits(chosen, config)
            read(find(name)[0].options_class, name, FOREIGN_OPTIONS, chosen)
        except SamplerError:
            return False
    return True


def describe(name: str) -> Description:
    """One scheduler.

    Raises:
        SamplerError: no such scheduler.
    """
    scheduler, implied = find(name)
    sampler = sampler_named(name)
    return Description(
        name=name,
        class_name=scheduler.class_name,
        options=dict(implied),
        order=sampler.order,
        calls_per_step=len(sampler_named(name, STEPS + 1)) - len(sampler),
        calls=len(sampler),
        draws_noise=sampler.stochastic,
        takes=sorted(scheduler.takes),
        paper=scheduler.paper,
    )
