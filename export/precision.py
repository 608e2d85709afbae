"""Precisions of graphs, and their least parity with PyTorch's float32."""

from dataclasses import dataclass

import torch

from triptych.runtime.errors import lookup

FP32_FLOOR_DB = 80.0
"""Least parity of a graph in float32; below it the graph is wrong, not rounded."""
FP16_FLOOR_DB = 40.0
"""Least parity in float16, whose own rounding leaves 50 to 70 dB on sound models."""

INT8_FLOOR_DB = 15.0
"""Least parity of a component in int8, on inputs like those of its calibration; for its images see
`verification.image_quality`."""

W8_FLOOR_DB = 20.0
"""Least parity with weights in 8 bits; the demo model's U-Net and text encoder have 35 dB, its decoder 47."""
W4_FLOOR_DB = 8.0
"""Least parity with weights in 4 bits; the demo model's U-Net and text encoder have 17 dB, its decoder 32."""


@dataclass(frozen=True)
class WeightFormat:
    """Weights stored as integers of `bits`, 8 or 4, in blocks of `size` inputs that share a scale.

    If blocks do not fit, and for convolutions in 8 bits, it is 8 bits with a scale for each output: see
    `quantization.weight_layers.stored`.
    """

    bits: int
    size: int


@dataclass(frozen=True)
class Precision:
    """A precision, by its name on the command line.

    Attributes:
        dtype: of a graph's float inputs, outputs and weights; timesteps and sizes of images are float32 in all.
        floor_db: the least signal-to-noise ratio, see `verification.parity`.
        calibrated: the U-Net and the decoder have int8 layers, with ranges from a calibration.
        weights: storage of all components' weights as integers; None leaves them in `dtype`.
    """

    name: str
    dtype: torch.dtype
    floor_db: float
    calibrated: bool = False
    weights: WeightFormat | None = None

    @property
    def quantized(self) -> bool:
        """Whether layers are quantized in any way."""
        return self.calibrated or self.weights is not None


PRECISIONS = {
    "fp32": Precision("fp32", torch.float32, FP32_FLOOR_DB),
    "fp16": Precision("fp16", torch.float16, FP16_FLOOR_DB),
    "int8": Precision("int8", torch.float32, INT8_FLOOR_DB, calibrated=True),
    "w8": Precision("w8", torch.float32, W8_FLOOR_DB, weights=WeightFormat(8, 64)),
    "w4": Precision("w4", torch.float32, W4_FLOOR_DB, weights=WeightFormat(4, 32)),
}


def precision_named(name: str) -> Precision:
    """Look a precision up by name.

    Raises:
        ArgumentError: no precision has that name.
    """
    return lookup(PRECISIONS, name, "precision")
