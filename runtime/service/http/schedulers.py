"""The list of schedulers, read from their classes."""

import functools
from typing import Literal

from pydantic import BaseModel, Field

from ...sampling.listing import describe, names
from ...sampling.registry import find

_FIELDS = ("eta", "timesteps", "sigmas")


class SchedulerOption(BaseModel):
    """An option, for the field `scheduler_options`."""

    name: str
    type: Literal["boolean", "integer", "number", "string"]
    default: bool | int | float | str | None = Field(
        description="Where the model's configuration has no value; null: not set, or no bound."
    )
    allowed: list[str] | None = Field(description="Values, where they are a few names.")


class Scheduler(BaseModel):
    """A scheduler; of each class, every name and what it stands for."""

    name: str = Field(description="Value of the field `scheduler`.")
    class_name: str = Field(description="Class of diffusers.")
    order: int = Field(description="Order of convergence.")
    calls_per_step: int = Field(description="Denoiser calls of a step.")
    draws_noise: bool = Field(description="Whether steps add new noise.")
    takes: list[str] = Field(description="Fields that it takes, of eta, timesteps and sigmas.")
    options: list[SchedulerOption]


class SchedulerList(BaseModel):
    """List of all schedulers; those that fit a model are in its description."""

    object: Literal["list"] = "list"
    data: list[Scheduler]


@functools.cache
def schedulers() -> SchedulerList:
    """All schedulers, with the options whose values are single."""
    return SchedulerList(data=[_scheduler(name) for name in names()])


def _scheduler(name: str) -> Scheduler:
    description, (scheduler, implied) = describe(name), find(name)
    return Scheduler(
        name=name,
        class_name=description.class_name,
        order=description.order,
        calls_per_step=description.calls_per_step,
        draws_noise=description.draws_noise,
        takes=[each for each in description.takes if each in _FIELDS],
        options=[
            SchedulerOption(
                name=key,
                type=option.type,
                default=implied.get(key, option.default),
                allowed=None if option.values is None else list(option.values),
            )
            for key, option in scheduler.options.items()
            if option.type is not None
        ],
    )
