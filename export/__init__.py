"""Export of checkpoints as packages of verified ONNX graphs.

PyTorch is imported with the first use of a name: `arguments` are checked without it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .exporter import export
    from .quantization.calibration import CalibrationRun

__all__ = ["CalibrationRun", "export"]


def __getattr__(name: str) -> Any:
    if name == "export":
        from .exporter import export

        return export
    if name == "CalibrationRun":
        from .quantization.calibration import CalibrationRun

        return CalibrationRun
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
