"""Shifts of the sigmas of flow matching: more steps at high noise, for larger images."""

from math import exp

import numpy as np

from ...errors import SamplerError
from ..scheduler import Run
from ..shared_options import Options, TokenShiftOptions

_LARGEST_MU = 100  # beyond it, every sigma but 0 is 1 in float64


def shifted(sigmas: np.ndarray, shift: float) -> np.ndarray:
    """Sigmas moved up by a shift above 1 (Esser et al. 2024, eq. 23)."""
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def shift_of(options: Options, run: Run, fixed: float) -> float:
    """The shift by the mu of a run where use_dynamic_shifting is true, else `fixed`."""
    if not options.use_dynamic_shifting:
        return fixed
    if run.mu is None:
        raise SamplerError("use_dynamic_shifting needs mu: how far this size of image shifts the schedule")
    exponential = options.time_shift_type == "exponential"
    if not (exponential or run.mu > 0) or run.mu > _LARGEST_MU:
        bound = f"numbers to {_LARGEST_MU}" if exponential else f"above 0, to {_LARGEST_MU}"
        raise SamplerError(f"mu={run.mu:g} is out of range; allowed: {bound}")
    return exp(run.mu) if exponential else run.mu


def linear_mu(options: TokenShiftOptions, tokens: int) -> float:
    """mu on the line through (base_image_seq_len, base_shift) and (max_image_seq_len, max_shift)."""
    first, last = options.base_image_seq_len, options.max_image_seq_len
    if first == last:
        raise SamplerError(f"base_image_seq_len and max_image_seq_len are both {first}; allowed: two numbers of tokens")
    slope = (options.max_shift - options.base_shift) / (last - first)
    return tokens * slope + (options.base_shift - slope * first)


def stretched(sigmas: np.ndarray, terminal: float | None) -> np.ndarray:
    """Sigmas stretched away from 1 so that the last is the option shift_terminal; as they are where that is null."""
    if not terminal:
        return sigmas
    if sigmas[-1] >= 1:
        raise SamplerError("shift_terminal moves the last sigma; a run of one step, at 1, has no other")
    stretched_sigmas: np.ndarray = 1 - (1 - sigmas) * (1 - terminal) / (1 - sigmas[-1])
    return stretched_sigmas
