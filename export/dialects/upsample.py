"""Upsampling to twice the size with a convolution, computed at the smaller size."""

from collections.abc import Sequence

import torch
from diffusers.models.upsampling import Upsample2D
from torch import nn
from torch.nn import functional

# Which of the kernel's three rows fall on which of the two rows that a phase reads: pixel 2i of an image doubled by
# repeating sees rows (i - 1, i, i) of the smaller one, pixel 2i + 1 sees (i, i, i + 1).
_TAPS = ((1, 0, 0), (0, 1, 1)), ((1, 1, 0), (0, 0, 1))


class PhasedUpsample(nn.Module):
    """`Upsample2D` by repeating pixels with its 3x3 convolution: [n, C, h, w] -> [n, C', 2 h, 2 w].

    Each of the four pixels that replace one sees a 2x2 window of the smaller image: four convolutions of four taps
    replace nine taps on four times the pixels, exactly and with 4/9 of the multiplications (Shi et al. 2016, "Is the
    deconvolution layer the same as a convolutional layer?").
    """

    def __init__(self, upsample: Upsample2D) -> None:
        super().__init__()
        conv = self.conv = upsample.conv
        taps = torch.tensor(_TAPS, dtype=conv.weight.dtype)
        weights = torch.einsum("yai,xbj,ocij->yxocab", taps, taps, conv.weight)
        self.phases = nn.ModuleList()
        for weight in weights.flatten(0, 1):
            phase = nn.Conv2d(conv.in_channels, conv.out_channels, 2, device="meta")
            phase.weight, phase.bias = nn.Parameter(weight.contiguous(), requires_grad=False), conv.bias
            self.phases.append(phase)

    def forward(self, hidden_states: torch.Tensor, output_size: Sequence[int] | None = None) -> torch.Tensor:
        """See the class. An `output_size` that is not surely twice the size is upsampled as in diffusers."""
        height, width = hidden_states.shape[2:]
        if output_size is not None and not (
            all(type(size) is int for size in output_size) and tuple(output_size) == (2 * height, 2 * width)
        ):
            resized = functional.interpolate(hidden_states, size=tuple(output_size))
            convolved: torch.Tensor = self.conv(resized)
            return convolved
        (a, b), (c, d) = (
            [self.phases[2 * y + x](functional.pad(hidden_states, (1 - x, x, 1 - y, y))) for x in (0, 1)]
            for y in (0, 1)
        )
        rows = torch.stack([torch.stack([a, b], -1), torch.stack([c, d], -1)], 3)  # [n, C', h, 2, w, 2]
        return rows.reshape(*rows.shape[:2], 2 * height, 2 * width)


def phase_upsample(upsample: Upsample2D) -> nn.Module:
    """The four convolutions, or the module itself where it does not repeat pixels and convolve them by 3x3."""
    conv = getattr(upsample, "conv", None)
    plain = (
        isinstance(conv, nn.Conv2d)
        and conv.kernel_size == (3, 3)
        and conv.padding == (1, 1)
        and upsample.norm is None
        and upsample.interpolate
    )
    return PhasedUpsample(upsample) if plain else upsample
