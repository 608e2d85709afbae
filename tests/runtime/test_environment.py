"""What the runtime is made of: light to import, and complete without PyTorch."""

import subprocess
import sys
import tomllib
import venv
from importlib.metadata import version
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
FORBIDDEN = ("torch", "diffusers", "transformers", "onnx", "onnxscript")
WEIGHT_LIMIT_MB = 250  # with pip itself


def python(code: str, executable: str | Path = sys.executable) -> str:
    return subprocess.run([executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_importing_the_runtime_imports_neither_torch_nor_what_is_not_needed_yet() -> None:
    loaded = python("import sys, triptych.runtime; print(' '.join(sys.modules))").split()
    heavy = {"click", "tqdm", "tokenizers", "matplotlib", "importlib.metadata", "scipy"}
    assert heavy.union(FORBIDDEN).isdisjoint(loaded)
    assert not any(name.startswith(("triptych.export", "triptych.benchmarks")) for name in loaded)


def test_importing_the_runtime_adds_the_standard_library_alone_to_numpy_and_onnxruntime() -> None:
    script = (
        "import sys, numpy, onnxruntime\n"
        "before = {*sys.modules}\n"
        "import triptych.runtime\n"
        "print(*{*sys.modules} - before)"
    )
    roots = {name.partition(".")[0] for name in python(script).split()}
    assert roots - sys.stdlib_module_names == {"triptych"}


def test_the_public_names_are_these() -> None:
    import triptych.runtime

    assert set(triptych.runtime.__all__) == {"Output", "Step", "TextToImage", "TriptychError"}
    assert all(hasattr(triptych.runtime, name) for name in triptych.runtime.__all__)


def test_the_version_is_that_of_the_distribution() -> None:
    import triptych.runtime

    assert triptych.runtime.__version__ == version("triptych")
    assert not hasattr(triptych.runtime, "nothing")


def test_the_wheel_holds_every_package() -> None:
    """But for benchmarks/gpu, which is run from a checkout."""
    listed = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    roots = (REPOSITORY / name for name in ("runtime", "export", "benchmarks"))
    folders = (path.parent for root in roots for path in root.rglob("__init__.py"))
    found = {".".join(("triptych", *folder.relative_to(REPOSITORY).parts)) for folder in folders}
    assert set(listed) == found - {"triptych.benchmarks.gpu"}


@pytest.mark.slow
def test_an_environment_without_torch_generates(package: Path, tmp_path: Path) -> None:
    """Install triptych[cpu] alone, measure its size, and generate an image with it."""
    from triptych.benchmarks.files import weight_mb

    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    pip = (home / "bin" / "pip", "install", "-q", "--disable-pip-version-check", "-c", REPOSITORY / "constraints.txt")
    subprocess.run((*pip, f"{REPOSITORY}[cpu]"), check=True)
    assert weight_mb(home) < WEIGHT_LIMIT_MB
    script = (
        "import importlib.util as u\n"
        f"print([m for m in {FORBIDDEN} if u.find_spec(m)])\n"
        "from triptych.runtime import TextToImage\n"
        f"out = TextToImage.load({str(package)!r})('a fox', num_inference_steps=2, seed=1)\n"
        f"out.images[0].save({str(tmp_path / 'fox.png')!r})\n"
    )
    assert python(script, home / "bin" / "python") == "[]"
    assert (tmp_path / "fox.png").stat().st_size > 0
    command = (home / "bin" / "triptych", "generate", package, "a fox", "--steps", "2", "--out", tmp_path / "cli.png")
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == str(tmp_path / "cli.png")
