"""What a graph computes in, and how near to PyTorch's float32 it must come."""

from dataclasses import dataclass

import torch

from triptych.runtime.errors import ArgumentError, nearest

FP32_FLOOR_DB = 80.0
"""A graph in float32 whose answers are further than this from PyTorch's is wrong, not rounded."""
FP16_FLOOR_DB = 40.0
"""The same for float16, whose own rounding leaves 50 to 70 dB on sound models."""

INT8_FLOOR_DB = 15.0
"""The same for a component in eight bits, on inputs like those of its calibration. What counts, and is measured, too,
are whole pictures."""

W8_FLOOR_DB = 20.0
"""The same for weights in eight bits; the demo model's U-Net and text encoder have 35 dB, its decoder 47."""
W4_FLOOR_DB = 8.0
"""The same in four; the demo model's U-Net and text encoder have 17 dB, its decoder 32."""


@dataclass(frozen=True)
class WeightFormat:
    """Weights stored as integers of `bits`, 8 or 4, in blocks of `size` inputs that share a scale.

    Where blocks do not fit, and for convolutions in 8 bits, it is 8 bits with a scale for each output: see
    `quantization.weight_layers.stored`.
    """

    bits: int
    size: int


@dataclass(frozen=True)
class Precision:
    """A precision by its name on the command line.

    Attributes:
        dtype: of a graph's float inputs, outputs and weights.
        floor_db: the least signal-to-noise ratio, see `verify`.
        calibrated: the U-Net and the decoder have eight-bit layers, for ranges that a run of the checkpoint had.
        weights: the weights of all components, and nothing else, are integers so stored; None leaves them in `dtype`.
    """

    name: str
    dtype: torch.dtype
    floor_db: float
    calibrated: bool = False
    weights: WeightFormat | None = None

    @property
    def quantized(self) -> bool:
        """Whether layers are in integers in any way."""
        return self.calibrated or self.weights is not None


PRECISIONS = {
    "fp32": Precision("fp32", torch.float32, FP32_FLOOR_DB),
    "fp16": Precision("fp16", torch.float16, FP16_FLOOR_DB),
    "int8": Precision("int8", torch.float32, INT8_FLOOR_DB, calibrated=True),
    "w8": Precision("w8", torch.float32, W8_FLOOR_DB, weights=WeightFormat(8, 64)),
    "w4": Precision("w4", torch.float32, W4_FLOOR_DB, weights=WeightFormat(4, 32)),
}


def precision_named(name: str) -> Precision:
    """The precision of that name.

    Raises:
        ArgumentError: there is none.
    """
    if name not in PRECISIONS:
        raise ArgumentError(f"unknown precision {name}; {nearest(name, PRECISIONS)}")
    return PRECISIONS[name]
