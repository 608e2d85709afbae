"""Commands without the libraries of an extra: help and what needs none works, the rest is one line with the extra."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from triptych.runtime.errors import ProviderError
from triptych.runtime.extras import MissingExtraError, needed
from triptych.runtime.ort import library

EXTRAS = (
    "onnxruntime", "torch", "diffusers", "transformers", "onnx", "onnx_ir", "onnxscript", "rich", "matplotlib",
    "psutil", "fastapi", "uvicorn", "ray", "pyarrow", "yaml", "prometheus_client",
)  # fmt: skip
"""Modules of libraries that no plain installation has."""

NO_RUNTIME = "ONNX Runtime is not installed: pip install 'triptych[cpu]', or triptych[cuda] or triptych[openvino]"


def triptych(*arguments: object, without: tuple[str, ...] = EXTRAS) -> subprocess.CompletedProcess[str]:
    """Run a command where some libraries are not installed."""
    script = (
        f"import sys; sys.argv = ['triptych', *{list(map(str, arguments))!r}]\n"
        "class Without:\n"
        "    def __init__(self, finder): self.finder = finder\n"
        "    def __getattr__(self, name): return getattr(self.finder, name)\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {without!r}: return None\n"
        "        return self.finder.find_spec(name, path, target)\n"
        "sys.meta_path[:] = map(Without, sys.meta_path)\n"
        "from triptych.runtime.cli import main\n"
        "main()"
    )
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


def refused(*arguments: object, without: tuple[str, ...] = EXTRAS) -> str:
    """The error line of a command."""
    done = triptych(*arguments, without=without)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    return line.removeprefix("error: ")


def commands() -> list[str]:
    from triptych.runtime.cli.commands import cli

    return sorted(cli.commands)


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], *([name, "--help"] for name in commands())], ids=str)
def test_help_and_version_need_no_extra(arguments: list[str]) -> None:
    done = triptych(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_packages_and_schedulers_are_shown_without_onnxruntime(package: Path) -> None:
    assert "euler" in triptych("schedulers").stdout
    done = triptych("inspect", package, "--verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert "verified: " in done.stdout


def test_the_doctor_names_the_extra() -> None:
    done = triptych("doctor", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    report = json.loads(done.stdout)
    assert report["problems"] == [NO_RUNTIME]
    assert set(report["providers"].values()) == {NO_RUNTIME}
    assert f"problem: {NO_RUNTIME}" in triptych("doctor").stdout


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
def test_an_image_without_onnxruntime_is_one_line(package: Path, tmp_path: Path, device: str) -> None:
    line = refused("generate", package, "a fox", "--device", device, "--out", tmp_path / "a.png")
    assert line.endswith(NO_RUNTIME)
    assert list(tmp_path.iterdir()) == []


def test_each_command_names_its_extra(package: Path, tmp_path: Path) -> None:
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text('{"id": "a", "prompt": "a fox"}\n')
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    cases: dict[tuple[object, ...], tuple[str, str]] = {
        ("serve", package): ("`triptych serve`", "serve"),
        ("ray-config", package): ("`triptych ray-config`", "ray"),
        ("bench", package): ("`triptych bench`", "bench"),
        ("schedulers", "--plot", tmp_path / "a.png"): ("`triptych schedulers --plot`", "bench"),
        ("batch", package, jobs, tmp_path / "out", "--engine", "ray"): ("`triptych batch --engine ray`", "ray"),
        ("batch", package, jobs, tmp_path / "out.parquet"): ("a Parquet file", "parquet"),
    }
    for arguments, (purpose, extra) in cases.items():
        line = refused(*arguments)
        assert line.startswith(f"{purpose} needs "), line
        assert line.endswith(f", which is not installed: pip install 'triptych[{extra}]'"), line
    assert refused("batch", package, jobs, tmp_path / "out").endswith(NO_RUNTIME)


def test_an_export_names_its_extra(checkpoint: Path, tmp_path: Path) -> None:
    needs = "`triptych export` needs torch, which is not installed: pip install 'triptych[export]'"
    assert refused("export", checkpoint, tmp_path / "package") == needs
    assert refused("export", checkpoint, tmp_path / "package", without=("onnxruntime",)) == NO_RUNTIME


def test_libraries_beside_that_of_a_command_are_named(package: Path, tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    assert refused("serve", package, "--port", 0, without=("uvicorn",)) == (
        "`triptych serve` needs uvicorn, which is not installed: pip install 'triptych[serve]'"
    )
    assert NO_RUNTIME in triptych("serve", package, "--port", 0, without=("onnxruntime",)).stderr.splitlines()[-1]


def test_the_runtime_is_imported_without_onnxruntime() -> None:
    script = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from triptych.runtime import Output, Step, TextToImage, TriptychError\n"
        "from triptych.runtime.ort.library import why_not_imported\n"
        "print(why_not_imported())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == NO_RUNTIME


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "raise ImportError('libgomp.so.1: cannot open shared object file')",
            "cannot be imported: libgomp.so.1: cannot",
        ),
        ("import nothing_like_it", "cannot be imported: No module named 'nothing_like_it'"),
        (None, NO_RUNTIME),  # a folder that a wheel has left behind
    ],
    ids=str,
)
def test_an_onnxruntime_that_cannot_be_imported_is_one_line(tmp_path: Path, text: str | None, message: str) -> None:
    (tmp_path / "onnxruntime").mkdir()
    if text is not None:
        (tmp_path / "onnxruntime" / "__init__.py").write_text(text)
    script = (
        f"import sys; sys.path[:] = [{str(tmp_path)!r}, *(p for p in sys.path if 'site-packages' not in p)]\n"
        "from triptych.runtime.ort.library import why_not_imported\n"
        "print(why_not_imported())"
    )
    root = Path(library.__file__).parents[2]
    (tmp_path / "triptych").mkdir()
    (tmp_path / "triptych" / "runtime").symlink_to(root / "runtime")
    done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True)
    assert message in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_work_that_ends_with_onnxruntime_checks_it_first(monkeypatch: pytest.MonkeyPatch) -> None:
    library.check_installed()
    library._imported.cache_clear()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ProviderError, match="pip install"):
        library.check_installed()


def test_a_broken_library_is_named_with_its_reason_and_own_modules_raise() -> None:
    with (
        pytest.raises(MissingExtraError, match=r"a fox needs torch, which fails: libc10\.so: cannot"),
        needed("export", "a fox"),
    ):
        raise ImportError("libc10.so: cannot open", name="torch")
    with pytest.raises(ModuleNotFoundError), needed("export", "a fox"):
        raise ModuleNotFoundError("No module named 'triptych.none'", name="triptych.none")
