"""Export of checkpoints as packages of verified ONNX graphs."""

from .exporter import export
from .quantization.calibration import CalibrationRun

__all__ = ["CalibrationRun", "export"]
