"""What schedulers there are, and what each is like: measured on samplers, not written down."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .columns import columns
from .sampling import Sampler
from .sampling.registry import SCHEDULERS, find

STEPS = 20  # of the samplers that are measured

_HEAD = ("name", "class", "order", "calls a step", f"of {STEPS} steps", "draws noise", "takes")


@dataclass(frozen=True)
class Description:
    """A scheduler under one of its names, with diffusers' defaults but for what the name stands for.

    Attributes:
        name: short name, or the class where there is none.
        class_name: diffusers' class.
        options: what the name stands for.
        order: declared order of convergence.
        calls_per_step: network calls that one step more makes.
        calls: of STEPS steps: solvers that begin or end otherwise make a few more or less than STEPS times that.
        draws_noise: with these options.
        takes: what a run may give, of eta, timesteps, sigmas and mu.
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


def rows(descriptions: Iterable[Description]) -> list[tuple[str, ...]]:
    """The head of a table, then a row for each."""
    return [_HEAD, *(_row(each) for each in descriptions)]


def papers(descriptions: Iterable[Description]) -> dict[str, str]:
    """Class name -> paper."""
    return {each.class_name: each.paper for each in descriptions}


def as_text(descriptions: Sequence[Description]) -> str:
    """The table, and the papers below it."""
    return "\n".join([*columns(rows(descriptions)), "", *columns(list(papers(descriptions).items()))])


def _row(description: Description) -> tuple[str, ...]:
    return (
        description.name,
        description.class_name,
        str(description.order),
        str(description.calls_per_step),
        str(description.calls),
        description.noise,
        ", ".join(description.takes) or "-",
    )
