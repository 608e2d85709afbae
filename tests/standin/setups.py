"""Set-ups of a machine: a whole one, and broken ones as they are met in the field."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

DRIVER, CUDNN, CUBLAS = "libcuda.so.1", "libcudnn.so.9", "libcublas.so.13"


@dataclass(frozen=True)
class Setup:
    """A machine, as far as CUDA on it goes.

    Attributes:
        missing: file name of a library that it lacks.
        fails: what does not work on it, as STANDIN_FAIL has it.
        foreign_wheel: its wheel of ONNX Runtime was built for another CUDA.
        variables: further environment variables of the stand-in.
    """

    missing: str | None = None
    fails: str | None = None
    foreign_wheel: bool = False
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


WHOLE = Setup()
TWO_DEVICES = Setup(variables=MappingProxyType({"STANDIN_DEVICES": "2"}))

BROKEN = {
    "no driver": Setup(missing=DRIVER),
    "old driver": Setup(fails="old-driver"),
    "no device": Setup(fails="no-device"),
    "no cuDNN": Setup(missing=CUDNN),
    "no cuBLAS": Setup(missing=CUBLAS),
    "wheel of another CUDA": Setup(foreign_wheel=True),
}
"""Machines on which nothing runs on CUDA."""

NO_ATTENTION = Setup(fails="attention")
"""cuDNN has no plan for attention."""

NO_CONVOLUTION = Setup(fails="convolution")
"""cuDNN has no plan for a convolution."""

NO_CAPTURE = Setup(fails="capture")
"""Captures fail when they end."""

SLOW_CAPTURE = Setup(variables=MappingProxyType({"STANDIN_NODE_MICROSECONDS": "200"}))
"""Every node of a capture takes a while, so that threads that get in between do."""
