"""Files of a package: read within limits, inside of its folder, and refused in one line otherwise."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.runtime import TextToImage
from triptych.runtime.errors import PackageError
from triptych.runtime.package import digests
from triptych.runtime.package.json_file import JsonObject, read_json
from triptych.runtime.package.package import Package, open_package

ASKED: dict[str, Any] = {"num_inference_steps": 1, "seed": 0, "height": 64, "width": 64}


@pytest.fixture
def copied(package: Path, tmp_path: Path) -> Path:
    """A package of the test's own."""
    shutil.copytree(package, tmp_path / "package")
    return tmp_path / "package"


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value))


def refused(folder: Path) -> str:
    """The error of a package that is refused; without a manifest, so that it is not for its digest."""
    with pytest.raises(PackageError) as caught:
        TextToImage.load(folder, device="cpu")
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested more than 64 levels deep"),
        (b'{"a":' + b"[" * 70 + b"]" * 70 + b"}", "nested more than 64 levels deep"),
        (b'{"a": ' + b"9" * 41 + b"}", "a whole number of 41 digits; allowed: 40"),
        (b'{"a": ' + b"9" * 9000 + b"}", "a whole number of 9000 digits"),
        (b'{"a": "\xff"}', "can't decode byte 0xff"),
        (b'{"a": "\\ud800"}', "surrogates not allowed"),
        (b"[]", "should hold a JSON object, not a list"),
        (b"x" * 101, "has 101 bytes; allowed: 100"),
    ],
)
def test_json_that_cannot_be_used_is_one_line(content: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(content)
    with pytest.raises(PackageError) as caught:
        read_json(file, limit=100 if reason.startswith("has") else 1 << 20)
    assert reason in str(caught.value)
    assert str(file) in str(caught.value)
    assert str(caught.value).isprintable()


def test_json_of_other_editors_is_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b'\xef\xbb\xbf{"a": "\\ud83e\\udd8a", "b": -Infinity, "c": 1' + b"0" * 30 + b"}")
    assert read_json(tmp_path / "x") == {"a": "\U0001f98a", "b": -np.inf, "c": 10**30}


def test_values_have_types_and_ranges() -> None:
    facts = JsonObject({"n": 5, "f": 0.5, "t": True, "inf": float("inf"), "l": [1, 0], "two\nlines": {}}, "x: ")
    assert (facts.whole("n", 1, 5), facts.number("n"), facts.number("f", 0, 1)) == (5, 5.0, 0.5)
    assert facts.optional_whole("none", 1, 2) is facts.optional_number("none") is None
    for call, message in (
        (lambda: facts.whole("n", 6, 9), "x: n is 5; it should be a whole number from 6 to 9"),
        (lambda: facts.whole("t", 0, 9), "x: t is True; it should be a whole number"),
        (lambda: facts.number("t"), "x: t is True; it should be a finite number"),
        (lambda: facts.number("inf", 0, 9), "x: inf is inf; it should be a finite number from 0 to 9"),
        (lambda: facts.whole_numbers("l", least=1), "x: l is [1, 0]; it should be a list of whole numbers from 1"),
        (lambda: facts.required("two\nlines", str), "x: 'two\\nlines' is {}; it should be a text"),
        (lambda: JsonObject(["y" * 999], "x: "), "x: is ['" + "y" * 78 + "...; it should be a JSON object"),
    ):
        with pytest.raises(PackageError) as caught:
            call()
        assert str(caught.value) == message.replace("x: is", "x is" if "999" in message else "x: is")


@pytest.mark.parametrize(
    ("file", "key", "values"),
    [
        ("vae_decoder/config.json", "scaling_factor", (0, -1, True, 1e30, float("nan"), "1", [])),
        ("vae_decoder/config.json", "block_out_channels", (65536, [], ["x"], [0], [4] * 9, {})),
        ("vae_decoder/config.json", "latent_channels", (0, True, 1e3, 10**9, 16)),
        ("vae_decoder/config.json", "vq_embed_dim", (-1, True, "4", 16)),
        ("vae_decoder/config.json", "latents_mean", ([0.1] * 3, "x", [True] * 4, [float("nan")] * 4, [None] * 4)),
        ("vae_decoder/config.json", "latents_std", ([0.0, 1, 1, 1], [-1.0] * 4, {}, [float("inf")] * 4)),
        ("unet/config.json", "sample_size", (True, 0, "x", [1], [0, 8], [8, 8, 8], 10**9, 64.5)),
        ("model_index.json", "force_zeros_for_empty_prompt", ("false", 1)),
        ("model_index.json", "_class_name", (5, "two\nlines")),
        ("scheduler/scheduler_config.json", "_class_name", (None, 5)),
        ("tokenizer/tokenizer_config.json", "model_max_length", (True, 0, 2, 77.5, 5000, float("nan"), "77")),
    ],
)
def test_values_that_would_make_another_image_are_refused(
    copied: Path, file: str, key: str, values: tuple[Any, ...]
) -> None:
    (copied / "triptych.json").unlink()
    whole = (copied / file).read_text()
    for value in values:
        edit(copied / file, lambda config, value=value: config.update({key: value}))  # type: ignore[misc]
        if "scheduler" in file:
            with pytest.raises(PackageError, match=key):
                open_package(copied).scheduler_config()
        else:
            message = refused(copied)
            other = ("model.onnx is not the unet of this package", "which is not supported")
            assert any(each in message for each in (key, *other)), value
        (copied / file).write_text(whole)


@pytest.mark.parametrize(
    "place", ["model_index.json", "triptych.json", "unet/model.onnx", "unet/weights", "unet/config.json", "pipe"]
)
def test_pipes_are_refused_and_not_waited_for(copied: Path, place: str) -> None:
    (copied / place).unlink(missing_ok=True)
    os.mkfifo(copied / place)
    assert "is a pipe; allowed: " in refused(copied)


@pytest.mark.parametrize("place", ["model_index.json", "unet/config.json", "vae_decoder/model.onnx"])
def test_folders_in_place_of_files_are_refused(copied: Path, place: str) -> None:
    (copied / place).unlink()
    (copied / place).mkdir()
    assert "is a folder; allowed: a regular file" in refused(copied)


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "unet/../../x", "", "unet//x", ".", "a\nb", "a\\b", "a\0b"])
def test_a_manifest_names_files_inside_the_package(copied: Path, name: str) -> None:
    facts = {"bytes": 1, "sha256": "ab"}
    edit(copied / "triptych.json", lambda manifest: manifest["files"].update({name: facts}))
    assert "a file's path is relative, inside the package" in refused(copied)


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "/a", "a b", "a\n"])
def test_a_manifest_names_components_plainly(copied: Path, name: str) -> None:
    edit(copied / "triptych.json", lambda manifest: manifest["components"].update({name: {}}))
    assert "a component is named by letters and digits" in refused(copied)


def test_links_that_lead_out_are_refused_but_those_of_the_hub(copied: Path, tmp_path: Path) -> None:
    graph = copied / "unet" / "model.onnx"
    outside = tmp_path / "hub" / "blobs" / "0123"
    outside.parent.mkdir(parents=True)
    graph.rename(outside)
    graph.symlink_to(outside)
    assert f"unet/model.onnx is a link to {outside}, outside of the package" in refused(copied)
    snapshot = tmp_path / "hub" / "snapshots" / "abcd"
    shutil.copytree(copied, snapshot, symlinks=True)
    TextToImage.load(snapshot, device="cpu")


def test_what_cannot_be_read_is_one_line(copied: Path) -> None:
    plain: list[str] = []
    if os.geteuid() == 0:  # root reads every file
        if shutil.which("setpriv") is None:
            pytest.skip("no setpriv to take that from root")
        without = "-dac_override,-dac_read_search"
        plain = ["setpriv", f"--bounding-set={without}", f"--inh-caps={without}"]
    python = [*plain, sys.executable, "-c", "from triptych.runtime.cli import main; main()"]
    for place in ("model_index.json", "triptych.json", "unet", "unet/model.onnx", "tokenizer"):
        mode = (copied / place).stat().st_mode
        os.chmod(copied / place, 0)
        for command in (["generate", str(copied), "x", "--steps", "1"], ["inspect", str(copied), "--verify"]):
            done = subprocess.run([*python, *command], capture_output=True, text=True, cwd=copied.parent)
            assert done.returncode == 2, done.stderr
            assert len(done.stderr.splitlines()) == 1
            assert "Permission denied" in done.stderr
        os.chmod(copied / place, mode)


def test_an_altered_file_of_the_same_size_is_refused_when_the_package_is_loaded(copied: Path) -> None:
    TextToImage.load(copied, device="cpu")
    graph = copied / "unet" / "model.onnx"
    before, content = graph.stat(), bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    os.utime(graph, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "unet/model.onnx was altered" in refused(copied)
    with pytest.raises(PackageError, match=r"unet/model\.onnx was altered"):
        TextToImage.load(copied, device="cpu", memory="low")


def test_files_are_hashed_once(copied: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    read: list[Path] = []

    def counted(path: Path) -> str:
        read.append(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(digests, "digest_of", counted)
    monkeypatch.setattr(digests, "_SETTLED", 0)
    package: Package = open_package(copied)
    package.check_digests()
    assert len(read) == len(package.files())
    package.check_digests()
    open_package(copied).check_digests()
    assert len(read) == len(package.files())
    (copied / "unet" / "config.json").touch()
    package.check_digests()
    assert read[-1] == copied / "unet" / "config.json"
    assert len(read) == len(package.files()) + 1
    assert list(package.verify()) == list(package.files())


@pytest.mark.parametrize("content", [b"", b"[", b"[]", b'{"unet/model.onnx": 5}', b'{"unet/model.onnx": []}', b"\xff"])
def test_a_cache_that_cannot_be_used_is_as_good_as_none(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = digests._cache_file(copied)
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    open_package(copied).check_digests()
    monkeypatch.setenv("XDG_CACHE_HOME", str(copied / "model_index.json"))  # no folder
    open_package(copied).check_digests()


@pytest.mark.parametrize("memory", ["fast", "low"])
def test_a_relative_path_is_that_of_the_folder_it_was_given_in(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: str
) -> None:
    monkeypatch.chdir(copied.parent)
    pipe = TextToImage.load(copied.name, device="cpu", memory=memory)
    first = pipe("a fox", **ASKED)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    second = pipe("a fox", **ASKED)
    np.testing.assert_array_equal(first.latents, second.latents)
    assert first.settings == second.settings
    assert second.settings[0].model == "package"
