"""The machine: the GPU, versions, and whether ONNX Runtime runs on CUDA at all."""

import importlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

import torch

from triptych.runtime.ort.library import ort
from triptych.runtime.ort.probe import why_not
from triptych.runtime.ort.providers import CUDA

from . import kit

_LIBRARIES = ("onnx", "onnxscript", "onnx_ir", "diffusers", "transformers", "tokenizers", "safetensors", "PIL", "numpy")
_QUERY = "name,driver_version,memory.total,power.limit,clocks.max.sm"


def _version(library: str) -> str:
    module = importlib.import_module(library)
    try:
        return str(getattr(module, "__version__", None) or version(library))
    except PackageNotFoundError:
        return "present"


def main() -> None:
    """Find out, print and write."""
    results = kit.Results("environment")
    results.add("python", platform.python_version())
    results.add("cores", len(os.sched_getaffinity(0)))
    for library in _LIBRARIES:
        results.attempt(library, _version, library)
    results.add("torch", torch.__version__)
    results.add("onnxruntime", {"version": ort.__version__, "build": ort.get_build_info()})
    if kit.settings().on_cuda:
        query = ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader"]
        results.attempt("gpu", lambda: subprocess.check_output(query, text=True, timeout=30).strip())
        results.attempt("capability", lambda: list(torch.cuda.get_device_capability()))
        results.attempt("cudnn", torch.backends.cudnn.version)
        reason = why_not(CUDA)
        results.add("cuda", reason or "runs")
        if reason is not None:
            raise SystemExit(f"ONNX Runtime does not run on CUDA here: {reason}")


if __name__ == "__main__":
    main()
