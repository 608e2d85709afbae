"""How the sigmas of flow matching are shifted: more of them at high noise, for larger pictures."""

from collections.abc import Mapping
from math import exp
from typing import Any

import numpy as np

from ...errors import SamplerError
from ..scheduler import Run

_LARGEST_MU = 100  # beyond it, every sigma but 0 is 1 in float64


def shifted(sigmas: np.ndarray, shift: float) -> np.ndarray:
    """Sigmas moved up by a shift above 1 (Esser et al. 2024, eq. 23)."""
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def shift_asked(options: Mapping[str, Any], run: Run, fixed: str) -> float:
    """The shift that a run with use_dynamic_shifting makes of mu; the option `fixed` without."""
    if not options["use_dynamic_shifting"]:
        return options[fixed]
    if run.mu is None:
        raise SamplerError("use_dynamic_shifting needs mu: how far this size of picture shifts the schedule")
    exponential = options["time_shift_type"] == "exponential"
    if not (exponential or run.mu > 0) or run.mu > _LARGEST_MU:
        bound = f"numbers to {_LARGEST_MU}" if exponential else f"above 0, to {_LARGEST_MU}"
        raise SamplerError(f"mu={run.mu:g} is out of range; allowed: {bound}")
    return exp(run.mu) if exponential else run.mu


def stretched(sigmas: np.ndarray, terminal: float | None) -> np.ndarray:
    """Sigmas stretched away from 1 so that the last is the option shift_terminal; as they are where that is null."""
    if not terminal:
        return sigmas
    if sigmas[-1] >= 1:
        raise SamplerError("shift_terminal says where the last sigma is; a run of one step, at 1, has no other")
    return 1 - (1 - sigmas) * (1 - terminal) / (1 - sigmas[-1])
