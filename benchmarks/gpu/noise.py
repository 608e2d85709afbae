"""Is `noise="torch_cuda"` what torch.randn gives on this card?

python noise.py DEVICE
"""

import sys

import numpy as np
import torch

from triptych.runtime.noise import noise_source

SHAPES = [(1,), (7,), (16,), (1, 4, 64, 64), (4, 4, 64, 64), (1, 4, 128, 128), (8, 16, 128, 128)]
TOLERANCE = 1e-6  # the card's logarithm, sine and cosine against numpy's


def main() -> None:
    """Compare several draws in a row for several seeds."""
    (device,) = sys.argv[1:]
    kind = "torch_cuda" if device == "cuda" else "torch"
    for seed in (0, 1, 2**40 + 3):
        generator = torch.Generator(device).manual_seed(seed)
        source = noise_source(kind, seed)
        for shape in SHAPES:
            theirs = torch.randn(shape, generator=generator, device=device).cpu().numpy()
            worst = np.abs(source.randn(shape) - theirs).max()
            print(f"seed {seed} {shape}: largest difference {worst:.1e}")
            if worst > TOLERANCE:
                sys.exit(f"seed {seed}, shape {shape}: not the same stream")


if __name__ == "__main__":
    main()
