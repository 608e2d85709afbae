"""Affine quantization to eight bits: value = scale * (integer - zero_point)."""

from dataclasses import dataclass

import torch

LEVELS = 255
"""Steps of an unsigned 8-bit activation."""
STORED_LIMIT = 127
"""Largest integer of a stored weight, one that is converted to float before it is multiplied."""
MULTIPLIED_LIMIT = 64
"""Largest integer of a weight that integer kernels multiply.

Without VNNI or an equivalent, x86 kernels add each pair of products in 16 bits with saturation (`vpmaddubsw`):
2 * 255 * 64 = 32,640 fits, 2 * 255 * 65 does not. See docs/packages.md.
"""
INTEGERS = {"activations": [0, LEVELS], "weights": [-MULTIPLIED_LIMIT, MULTIPLIED_LIMIT]}
"""Ranges of the integers that int8 packages multiply, for the manifest."""


@dataclass(frozen=True)
class Affine:
    """Quantization of one tensor's activations to uint8; zero is always exact, which padding needs."""

    scale: float
    zero_point: int

    @classmethod
    def covering(cls, low: float, high: float) -> "Affine":
        """The finest quantization that covers `low`, `high` and zero."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = (high - low) / LEVELS
        if scale < torch.finfo(torch.float32).tiny:  # all zeros, in float32
            scale = 1.0
        return cls(scale, round(-low / scale))

    def rounded(self, values: torch.Tensor) -> torch.Tensor:
        """The values after quantization and back, same shape and dtype."""
        integers = torch.round(values / self.scale) + self.zero_point
        return (integers.clamp(0, LEVELS) - self.zero_point) * self.scale


def quantize_weight(weight: torch.Tensor, limit: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize a weight [out, ...] to int8 in -limit..limit; the scales are float32 [out].

    A scale per channel costs nothing in integer kernels, and channels differ by orders of magnitude.
    """
    largest = weight.abs().amax(dim=tuple(range(1, weight.dim()))).float()
    scale = torch.where(largest > 0, largest / limit, 1.0)
    integers = torch.round(weight / scale.view(-1, *[1] * (weight.dim() - 1)))
    return integers.clamp(-limit, limit).to(torch.int8), scale


def quantize_blocks(weight: torch.Tensor, bits: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize a weight [..., n * size] to int8 [..., n, size] of this many bits; the scales are float32 [..., n].

    There is one integer more below zero than above, so a block's largest value becomes the lowest integer, by a scale
    that may be negative: in 4 bits that is 1.1 dB better than a symmetric range on the demo model's weights (and what
    llama.cpp's Q4_0 does).
    """
    blocks = weight.float().reshape(*weight.shape[:-1], -1, size)
    lowest = 2 ** (bits - 1)
    largest = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))
    scale = torch.where(largest != 0, largest / -lowest, 1.0)
    return torch.round(blocks / scale).clamp(-lowest, lowest - 1).to(torch.int8), scale.squeeze(-1)
