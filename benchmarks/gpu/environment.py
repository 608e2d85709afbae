"""The machine: the GPU, versions, whether ONNX Runtime runs on CUDA, the reasons given where it cannot, and noise.

python -m triptych.benchmarks.gpu.environment
"""

import importlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

import torch

from triptych.runtime.errors import ProviderError
from triptych.runtime.ort.device import open_device
from triptych.runtime.ort.library import ort
from triptych.runtime.ort.probe import why_not
from triptych.runtime.ort.providers import CUDA

from . import kit, noise

_LIBRARIES = ("onnx", "onnxscript", "onnx_ir", "diffusers", "transformers", "tokenizers", "safetensors", "PIL", "numpy")
_QUERY = "name,driver_version,memory.total,power.limit,clocks.max.sm"
REFUSED: dict[str, tuple[str, dict[str, str]]] = {
    "a GPU that is not there": ("cuda:63", {}),
    "an option that does not exist": ("cuda", {"use_tf33": "1"}),
}
"""Device and provider options that must be refused with a reason."""


def _version(library: str) -> str:
    module = importlib.import_module(library)
    try:
        return str(getattr(module, "__version__", None) or version(library))
    except PackageNotFoundError:
        return "present"


def reason(device: str, options: dict[str, str]) -> str:
    """The reason for which a device is refused.

    Raises:
        RuntimeError: it is not.
    """
    try:
        open_device(device, provider_options=options)
    except ProviderError as error:
        return str(error)
    raise RuntimeError("it was not refused")


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
        refused = why_not(CUDA)
        results.add("cuda", refused or "runs")
        if refused is not None:
            raise SystemExit(f"ONNX Runtime does not run on CUDA here: {refused}")
        for name, arguments in REFUSED.items():
            results.attempt(name, reason, *arguments)
    for seed in noise.SEEDS:
        results.attempt(f"noise of seed {seed}", noise.largest_difference, seed)
    results.finish()


if __name__ == "__main__":
    main()
