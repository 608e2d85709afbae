"""The environment of the stand-in: a wheel of ONNX Runtime with CUDA, CUDA's headers, and the libraries built on them.

It is made on first use in `.venv-standin` and kept. `python -m tests.standin.environment` makes it by itself.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import build as build_module
from .build import SOURCES, build

FOLDER = Path(__file__).parents[2] / ".venv-standin"
ONNXRUNTIME = ("onnxruntime-gpu==1.31.1",)
HEADERS = ("nvidia-cuda-runtime==13.5.37", "nvidia-cuda-crt==13.5.37")
_PROVIDER = Path("onnxruntime", "capi", "libonnxruntime_providers_cuda.so")


@dataclass(frozen=True)
class Environment:
    """Folders of the environment.

    Attributes:
        wheel: holds the package `onnxruntime`; goes into PYTHONPATH.
        libraries: the stand-in libraries; goes into LD_LIBRARY_PATH.
        foreign_wheel: the same package as built for CUDA 12, of which there are no libraries.
    """

    wheel: Path
    libraries: Path
    foreign_wheel: Path


def environment() -> Environment:
    """The environment, made where it is missing or stale."""
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        python = "".join(map(str, sys.version_info[:2]))
        wheel = _made(f"onnxruntime-{_digest(*ONNXRUNTIME, python)}", lambda folder: _install(ONNXRUNTIME, folder))
        headers = _made(f"headers-{_digest(*HEADERS)}", lambda folder: _install(HEADERS, folder))
        sources = [path.read_text() for path in sorted(SOURCES.rglob("*.*"))]
        digest = _digest(wheel.name, headers.name, Path(build_module.__file__).read_text(), *sources)
        include = headers / "nvidia" / "cu13" / "include"
        libraries = _made(
            f"libraries-{digest}", lambda folder: build(folder, provider=wheel / _PROVIDER, headers=include)
        )
        foreign = _made(f"foreign-{wheel.name}", lambda folder: _built_for_cuda_12(wheel, folder))
    return Environment(wheel, libraries, foreign)


def _made(name: str, make: Callable[[Path], None]) -> Path:
    """A folder of the environment, made whole or not at all; older ones of its kind stay, as they may be in use."""
    folder = FOLDER / name
    if not folder.exists():
        partial = FOLDER / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        make(partial)
        partial.rename(folder)
    return folder


def _install(requirements: tuple[str, ...], folder: Path) -> None:
    pip = (sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--no-deps")
    subprocess.run([*pip, "--only-binary", ":all:", "--target", str(folder), *requirements], check=True)


def _built_for_cuda_12(wheel: Path, folder: Path) -> None:
    """Link to everything in the wheel but the provider, which is copied with its needs of another version."""
    shutil.copytree(wheel, folder, copy_function=os.link)
    provider = folder / _PROVIDER
    changed = provider.read_bytes()
    for library in (b"libcublasLt", b"libcublas", b"libcudart"):
        changed = changed.replace(library + b".so.13\0", library + b".so.12\0")
    provider.unlink()
    provider.write_bytes(changed)
    about = folder / "onnxruntime" / "capi" / "build_and_package_info.py"
    text = about.read_text()
    about.unlink()
    about.write_text(text.replace("cuda_version = '13", "cuda_version = '12"))


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


if __name__ == "__main__":
    print(environment())
