"""Arguments of a run, checked against those that its scheduler takes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from ..errors import SamplerError, shown
from .grids.align_your_steps import by_name
from .options import MAX_STEPS, whole_steps
from .scheduler import Run, Scheduler
from .shared_options import Options


@dataclass(frozen=True, eq=False, repr=False)
class RunArguments:
    """Arguments of a run as the caller has them, see `Run`; those of _OPTIONAL are None where they are left out."""

    num_inference_steps: Any
    strength: Any
    strength_in_schedule: bool
    eta: Any
    timesteps: Any
    sigmas: Any
    mu: Any


_OPTIONAL = ("eta", "timesteps", "sigmas", "mu")


def read_run(scheduler: Scheduler, options: Options, arguments: RunArguments) -> Run:
    """The run, from a caller's arguments.

    Args:
        scheduler: states which of the optional arguments it takes.
        options: of the scheduler.
        arguments: to check; where there is a grid among them, its length counts in place of num_inference_steps.

    Raises:
        SamplerError: a value out of range, or one that the scheduler does not take.
    """
    for name in _OPTIONAL:
        if getattr(arguments, name) is not None and name not in scheduler.takes:
            takes = ", ".join(sorted(scheduler.takes)) or f"none of {', '.join(_OPTIONAL)}"
            raise SamplerError(f"{scheduler.class_name} takes no {name}; it takes {takes}")
    if arguments.timesteps is not None and arguments.sigmas is not None:
        raise SamplerError("timesteps and sigmas exclude each other: both define the grid")
    if arguments.mu is not None and not options.use_dynamic_shifting:
        raise SamplerError("mu does nothing without use_dynamic_shifting")
    timesteps = _grid("timesteps", arguments.timesteps, scheduler)
    sigmas = _grid("sigmas", arguments.sigmas, scheduler)
    eta = scheduler.eta if arguments.eta is None else arguments.eta
    if timesteps is not None:
        count = len(timesteps)
    elif sigmas is not None:
        count = len(sigmas) - scheduler.ends_sigmas
    else:
        count = whole_steps(arguments.num_inference_steps)
    return Run(
        steps=count,
        strength=_number("strength", arguments.strength, "above 0, to 1", lambda value: 0 < value <= 1),
        strength_in_schedule=arguments.strength_in_schedule,
        eta=_number("eta", eta, "0 to 1", lambda value: 0 <= value <= 1),
        timesteps=timesteps,
        sigmas=sigmas,
        mu=None if arguments.mu is None else _number("mu", arguments.mu, "numbers", lambda value: True),
    )


def read_part(start: Any, end: Any, run: Run) -> tuple[float | None, float | None]:
    """The part of the run: denoising_start and denoising_end, checked; None where left out.

    Raises:
        SamplerError: a value out of range, a part that ends before it begins, or a strength besides.
    """
    first = last = None
    if start is not None:
        first = _number("denoising_start", start, "above 0 and below 1", lambda value: 0 < value < 1)
        if run.strength < 1:
            raise SamplerError("strength and denoising_start exclude each other: both define where the run starts")
    if end is not None:
        last = _number("denoising_end", end, "above 0, to 1", lambda value: 0 < value <= 1)
        if first is not None and last <= first:
            raise SamplerError(f"denoising_end={last:g} must be above denoising_start={first:g}")
    return first, last


def _number(name: str, value: Any, allowed: str, holds: Callable[[float], bool]) -> float:
    try:
        converted = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    except OverflowError:  # a whole number beyond floating point
        converted = math.inf
    if not (math.isfinite(converted) and holds(converted)):
        raise SamplerError(f"{name}={shown(value)} is out of range; allowed: {allowed}")
    return converted


def _grid(name: str, value: Any, scheduler: Scheduler) -> np.ndarray | None:
    """Timesteps or noise levels, float64, decreasing."""
    if value is None:
        return None
    if isinstance(value, str):
        value = by_name(name, value, ends=scheduler.ends_sigmas)
    try:
        values = np.array(value, np.float64)
    except (TypeError, ValueError):
        raise SamplerError(f"{name}={shown(value)} must be a list of numbers, or a name") from None
    fewest = 2 if name == "sigmas" and scheduler.ends_sigmas else 1
    if values.ndim != 1 or len(values) < fewest:
        raise SamplerError(f"{name} has shape {list(values.shape)}; it must be a list of {fewest} numbers or more")
    if len(values) > MAX_STEPS:
        raise SamplerError(f"{name} has {len(values)} numbers; allowed: {MAX_STEPS}")
    if not np.isfinite(values).all() or (values < 0).any():
        raise SamplerError(f"{name} must be finite and not below 0")
    rising = (np.diff(values) >= 0).nonzero()[0]
    if len(rising):
        first = rising[0]
        raise SamplerError(f"{name} must decrease; {values[first]:g} is followed by {values[first + 1]:g}")
    return values
