"""Each kind of input, as a function that gives a case for a random number generator."""

from collections.abc import Callable
from random import Random

from ..attempt import Case
from ..inputs import Inputs
from . import adapters, arguments, images, jobs, kills, limits, packages, requests, settings

Kind = Callable[[Inputs, Random], Case]

KINDS: dict[str, Kind] = {
    "packages": packages.case,
    "images": images.case,
    "adapters": adapters.case,
    "jobs": jobs.case,
    "settings": settings.case,
    "arguments": arguments.case,
    "requests": requests.case,
    "kills": kills.case,
    "limits": limits.case,
}


def kinds_for(inputs: Inputs) -> dict[str, Kind]:
    """The kinds that can run here: adapters are read by PyTorch."""
    return {name: kind for name, kind in KINDS.items() if name != "adapters" or inputs.checkpoint is not None}
