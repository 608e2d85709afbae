"""The machine and the versions that a measurement was made with."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil

from triptych.runtime.ort.device import Device
from triptych.runtime.ort.library import ort

from .result import Machine

_NVIDIA = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
_SECONDS = 20  # time limit of nvidia-smi


def versions() -> dict[str, str]:
    """Versions of everything that can change a figure."""
    return {
        "triptych": version("triptych"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": ort.__version__,
    }


def describe_machine(device: Device) -> Machine:
    """Processor, memory and GPUs of this machine; what the system does not report is None."""
    cores = psutil.cpu_count(logical=False)
    requested = int(device.session_options.get("intra_op_num_threads", 0))  # 0 is ONNX Runtime's default
    return Machine(
        cpu=cpu_model(),
        cores=cores,
        usable_cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        threads=requested if requested > 0 else cores,
        memory_bytes=psutil.virtual_memory().total,
        system=platform.platform(),
        gpus=_gpus(),
    )


def cpu_model() -> str:
    """The processor's name, or its architecture if the system does not report it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _gpus() -> list[str]:
    """Name and driver version of every NVIDIA GPU."""
    try:
        done = subprocess.run(_NVIDIA, capture_output=True, text=True, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]
