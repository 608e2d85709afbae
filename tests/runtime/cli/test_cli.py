"""The command line: results on stdout, all else on stderr, one line for each error."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from PIL import Image

from tests.support.command_line import refused, run
from triptych.runtime.image.pixels import read_settings


def test_generate_prints_the_files_it_wrote(package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "generate",
        package,
        "a fox",
        "an owl",
        "--steps",
        2,
        "--seed",
        5,
        "--num",
        2,
        "--grid",
        "--out",
        tmp_path,
    ]
    status, out, err = run(*command, capsys=capsys)
    assert status == 0
    names = ["a-fox-5.png", "a-fox-6.png", "an-owl-5.png", "an-owl-6.png", "grid.png"]
    assert out.splitlines() == [str(tmp_path / name) for name in names]
    assert "(CPUExecutionProvider)" in err
    assert "4 images in" in err
    settings = read_settings(tmp_path / "an-owl-6.png")
    assert (settings.prompt, settings.seed, settings.num_inference_steps) == ("an owl", 6, 2)
    assert Image.open(tmp_path / "a-fox-5.png").info["parameters"].startswith("a fox\nSteps: 2")
    grid = Image.open(tmp_path / "grid.png")
    assert grid.width > 2 * 128
    assert grid.height > 2 * 128


def test_an_image_is_reproduced_from_its_settings(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "one.png", tmp_path / "two.png"
    command = ["generate", package, "a fox", "--steps", 3, "--guidance", 2, "--scheduler", "euler", "--negative", "owl"]
    assert run(*command, "--width", 192, "--out", first, capsys=capsys)[0] == 0
    assert run("generate", package, "--from-image", first, "--out", second, capsys=capsys)[0] == 0
    np.testing.assert_array_equal(np.asarray(Image.open(first)), np.asarray(Image.open(second)))
    assert read_settings(first) == read_settings(second)


def test_files_are_never_overwritten_unless_named(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["generate", package, "a fox", "--steps", 1, "--seed", 0, "--out", tmp_path]
    written = [run(*command, capsys=capsys)[1].strip() for _ in range(2)]
    assert written == [str(tmp_path / "a-fox-0.png"), str(tmp_path / "a-fox-0-2.png")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-fox-0-2.png", "a-fox-0.png"]


@pytest.mark.filterwarnings("always:the prompt is longer")
def test_text_that_does_not_fit_is_a_warning_on_stderr(
    static_package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = " ".join(["word"] * 80) + " the end"
    status, _, err = run("generate", static_package, prompt, "--steps", 1, "--out", tmp_path, capsys=capsys)
    assert status == 0
    (line,) = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert "the end" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a fox", "--steps", "0"], "0"),
        (["a fox", "--steps", "-4"], "-4"),
        (["a fox", "--height", "100"], "--height 100 must be a positive multiple of 8"),
        (["a fox", "--scheduler", "dpmp_2m"], "dpmpp_2m"),
        (["a fox", "--device", "cdua"], "unknown device 'cdua'; did you mean cuda"),
        (["a fox", "--device", "CUDAExecutionProvidr"], "did you mean CUDAExecutionProvider"),
        (["a fox", "--memory", "lo"], "unknown memory policy 'lo'; did you mean low?"),
        (["a fox", "--noise", "tourch"], "torch"),
        (["a fox", "--seed", "-1"], "--seed -1; allowed: a whole number from 0 to 2^64 - 1"),
        (["a fox", "--stpes", "3"], "--steps"),
        (["a fox", "--session-option", "threads"], "give KEY=VALUE"),
        (["a fox", "--session-option", "threads=1"], "unknown session option 'threads'"),
        (["a fox", "--out", "/proc/nothing"], "cannot write there"),
        (["--from-image", "absent.png"], "absent.png does not exist"),
        (["a fox", "--from-image", "absent.png"], "leave PROMPT out"),
        ([], "no prompt"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_use_is_one_line_and_status_2(
    package: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused("generate", package, *arguments, capsys=capsys)


def test_an_unwritable_folder_is_an_error_before_anything_is_computed(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("triptych.runtime.cli.generation.TextToImage.load", lambda *_, **__: pytest.fail("loaded"))
    (tmp_path / "file").touch()
    line = refused("generate", package, "a fox", "--out", tmp_path / "file", capsys=capsys)
    assert "cannot write there" in line


def test_a_full_disk_leaves_nothing_half_written(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(self: Image.Image, file: IO[bytes], **_: object) -> None:
        file.write(b"half")
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Image.Image, "save", save)
    status, out, err = run("generate", package, "a fox", "--steps", 1, "--out", tmp_path, capsys=capsys)
    assert (status, out) == (2, "")
    assert "No space left on device" in err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_unknown_commands_and_missing_arguments(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where there is no package to take when none is named
    assert "Did you mean 'generate'" in refused("generat", capsys=capsys)
    assert "no prompt" in refused("generate", capsys=capsys)
    assert "is not a folder" in refused("generate", "absent", "a fox", capsys=capsys)
    assert "Missing argument" in refused("inspect", capsys=capsys)


def test_inspect_shows_the_contents_of_a_package(exported_package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run("inspect", exported_package, "--verify", capsys=capsys)
    assert status == 0
    for word in (
        "unet",
        "encoder_hidden_states",
        "float32",
        "[batch_size, sequence_length",
        "Conv",
        "GMAC",
        "verified:",
    ):
        assert word in out
    status, out, _ = run("inspect", exported_package, "--json", capsys=capsys)
    assert json.loads(out)["components"]["unet"]["parity"]["db"] >= 80


def test_inspect_reads_the_graphs_of_packages_without_manifest(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for entry in package.iterdir():
        if entry.name != "triptych.json":
            os.symlink(entry, tmp_path / entry.name)
    status, out, _ = run("inspect", tmp_path, "--json", capsys=capsys)
    assert status == 0
    assert [tensor["name"] for tensor in json.loads(out)["components"]["unet"]["outputs"]] == ["out_sample"]
    assert run("inspect", tmp_path, capsys=capsys)[0] == 0
    assert "to verify against" in refused("inspect", tmp_path, "--verify", capsys=capsys)


def test_inspect_shows_where_nodes_run(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nodes: " not in run("inspect", package, capsys=capsys)[1]
    status, out, _ = run("inspect", package, "--device", "cpu", "--json", capsys=capsys)
    assert status == 0
    components = json.loads(out)["components"]
    for component in components.values():
        placement = component["placement"]
        assert placement["nodes"].pop("CPUExecutionProvider") > 0
        assert placement == {"requested": "CPUExecutionProvider", "nodes": {}, "elsewhere": {}}
    status, out, _ = run("inspect", package, "--device", "cpu", capsys=capsys)
    assert out.count("  nodes: CPUExecutionProvider ") == len(components)
    assert "'gpu'" in refused("inspect", package, "--device", "gpu", capsys=capsys)


def test_inspect_opens_no_graphs_on_a_device_without_their_operators(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(package, tmp_path / "package")
    manifest = json.loads((copy / "triptych.json").read_text())
    (copy / "triptych.json").write_text(json.dumps(manifest | {"dialect": "cuda"}))
    error = refused("inspect", copy, "--device", "cpu", capsys=capsys)
    assert "was exported with the operators of cuda" in error


def test_doctor_lists_providers_and_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run("doctor", "--json", capsys=capsys)
    report = json.loads(out)
    assert status == 0
    assert report["providers"]["cpu"] is None
    assert report["versions"]["onnxruntime"]
    status, out, _ = run("doctor", capsys=capsys)
    assert "cpu" in out


def test_doctor_names_wheels_in_conflict(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    both = ["onnxruntime", "onnxruntime-gpu"]
    monkeypatch.setattr("triptych.runtime.cli.doctor.wheels_in_conflict", lambda: both)
    status, out, _ = run("doctor", capsys=capsys)
    assert status == 1
    assert "pip uninstall onnxruntime onnxruntime-gpu" in out.replace("\n", " ")


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "triptych.runtime.cli.commands", "--debug", "generate", "absent", "a fox"]
    code = "from triptych.runtime.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *command[3:]], capture_output=True, text=True, cwd=tmp_path)
    assert "Traceback" in done.stderr
    assert "PackageError" in done.stderr
