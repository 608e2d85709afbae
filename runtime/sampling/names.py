"""Names of schedulers as people type them: spelling, names of other tools, noise levels named after the scheduler."""

import re
from collections.abc import Mapping
from typing import Any

_LEVELS = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")


def fold(name: str) -> str:
    """A name without case, spaces and symbols; "++" is "pp"."""
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("+", "p"))


def _levels(option: str) -> dict[str, bool]:
    return {each: each == option for each in _LEVELS}


SUFFIXES: Mapping[str, Mapping[str, Any]] = {
    "karras": _levels("use_karras_sigmas"),
    "exponential": _levels("use_exponential_sigmas"),
    "beta": _levels("use_beta_sigmas"),
    "sgmuniform": {"timestep_spacing": "trailing"},
    "simple": {"timestep_spacing": "trailing"},
    "trailing": {"timestep_spacing": "trailing"},
}
"""Folded words after a scheduler's name -> the options that they stand for, as diffusers' documentation has them."""

PREFIXES = ("", "sample", "k")
"""Folded words before a scheduler's name: k-diffusion's functions, and the names that other tools give them."""

ALIASES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "eulerancestral": ("euler_a", {}),
    "dpm2ancestral": ("dpm2_a", {}),
    "dpmsolverpp": ("dpmpp_2m", {}),
    "dpmpp3msde": ("dpmpp_3m", {"algorithm_type": "sde-dpmsolver++"}),
    "dpmppsde": ("dpmpp_2s", {"algorithm_type": "sde-dpmsolver++"}),
    "plms": ("pndm", {"skip_prk_steps": True}),
    "unipcbh2": ("unipc", {"solver_type": "bh2"}),
}
"""Folded names of other tools -> short name and the options that they stand for besides."""
