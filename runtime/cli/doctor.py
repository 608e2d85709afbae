"""The providers that this machine can run, and the reasons why others do not work."""

import contextlib
import glob
import importlib.metadata
import os
import platform
import sysconfig
from typing import Any

from ..ort.library import why_not_imported
from ..ort.nvidia import cuda_version
from ..ort.probe import available_providers, installed_wheels, wheels_in_conflict, why_not
from ..ort.providers import PROVIDERS
from .columns import columns

_PACKAGES = ("triptych", "numpy", "tokenizers", "pillow", "torch", "diffusers", "transformers", "onnx", "onnxscript")
_CUDA_LIBRARIES = ("libcudart.so", "libcublas.so", "libcublasLt.so", "libcudnn.so", "libcufft.so", "libcurand.so")
_DRIVER = "libcuda.so"


def examine() -> dict[str, Any]:
    """A JSON object: versions, providers (None: works, else the reason), wheels, CUDA libraries, problems."""
    wheels = installed_wheels()
    problems = []
    if conflict := wheels_in_conflict():
        problems.append(
            f"{' and '.join(conflict)} are installed together; they overwrite each other's files: "
            f"pip uninstall {' '.join(conflict)}, then install one of triptych[cpu], triptych[cuda], triptych[openvino]"
        )
    if missing := why_not_imported():
        problems.append(missing)
    elif not wheels:
        problems.append("no ONNX Runtime wheel is known to pip; install triptych[cpu], [cuda] or [openvino]")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "versions": {**_versions(), **wheels},
        "providers": {device: why_not(provider) for device, provider in PROVIDERS.items()},
        "available_providers": available_providers(),
        "cuda_version_of_onnxruntime": cuda_version(),
        "cuda_libraries": _cuda_libraries(),
        "problems": problems,
    }


def as_text(report: dict[str, Any]) -> str:
    """The report as text, problems last."""
    libraries = [path for paths in report["cuda_libraries"].values() for path in paths]
    rows = [[device, "no" if reason else "yes", reason or ""] for device, reason in report["providers"].items()]
    return "\n".join(
        [
            f"Python {report['python']}, {report['platform']}, {report['cores']} cores",
            ", ".join(f"{name} {version}" for name, version in report["versions"].items()),
            "",
            *columns([["device", "works", "reason and fix"], *rows]),
            "",
            "CUDA and cuDNN libraries: " + (", ".join(libraries) or "none found"),
            *(f"problem: {problem}" for problem in report["problems"]),
        ]
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _cuda_libraries() -> dict[str, list[str]]:
    """Library name -> files that the loader may find: in the nvidia wheels, LD_LIBRARY_PATH and the usual folders."""
    folders = [
        *glob.glob(os.path.join(sysconfig.get_paths()["purelib"], "nvidia", "*", "lib")),
        *filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)),
        *glob.glob("/usr/local/cuda*/lib64"),
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib64",
    ]
    names = (_DRIVER, *_CUDA_LIBRARIES)
    return {name: [path for folder in folders for path in sorted(glob.glob(f"{folder}/{name}*"))[:1]] for name in names}
