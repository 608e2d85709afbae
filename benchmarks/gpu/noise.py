"""Whether `noise="torch_cuda"` equals torch.randn on this GPU; a part of the stage `environment`."""

import numpy as np
import torch

from triptych.runtime.noise import noise_source

from . import kit

SEEDS = (0, 1, 2**40 + 3)
SHAPES = [(1,), (7,), (16,), (1, 4, 64, 64), (4, 4, 64, 64), (1, 4, 128, 128), (8, 16, 128, 128)]
TOLERANCE = 1e-5
"""That of `TorchCUDA`, which says why; another stream differs by whole units."""


def largest_difference(seed: int) -> float:
    """Largest difference over several draws in a row.

    Raises:
        RuntimeError: it is above the tolerance.
    """
    here = kit.settings()
    generator = torch.Generator(here.device).manual_seed(seed)
    source = noise_source("torch_cuda" if here.on_cuda else "torch", seed)
    worst = 0.0
    for shape in SHAPES:
        theirs = torch.randn(shape, generator=generator, device=here.device).cpu().numpy()
        worst = max(worst, float(np.abs(source.randn(shape) - theirs).max()))
    if worst > TOLERANCE:
        raise RuntimeError(f"not the same stream: {worst:.1e}")
    return worst
