"""Packages are downloaded whole and checked or not at all, into the hub's own cache, and are then used by name."""

import errno
import io
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tests.runtime.hub.conftest import NAME
from tests.support.command_line import refused, run
from tests.support.hub import Hub, files_of
from triptych.runtime import TextToImage
from triptych.runtime.errors import HubError, PackageError, TransferError
from triptych.runtime.hub.pull import pull
from triptych.runtime.package.package import open_package, short_name
from triptych.runtime.package.pulled import Name, find, records

WEIGHTS = "unet/model.onnx"


def test_a_pulled_package_is_used_by_its_name(hub: Hub, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, out, err = run("pull", NAME, capsys=capsys)
    assert (status, out) == (0, f"{NAME}\n"), err
    assert f"{NAME} at {hub.repositories[NAME].branches['main'][:12]}: " in err
    made = tmp_path / "out"
    status, out, err = run("generate", NAME, "red fox", "--steps", 1, "--seed", 3, "--out", made, capsys=capsys)
    assert (status, out) == (0, f"{made}/red-fox-3.png\n"), err
    asked = len(hub.downloads)
    pipe = TextToImage.load(NAME, device="cpu")
    assert pipe("red fox", num_inference_steps=1, seed=3).images[0].size == (128, 128)
    assert len(hub.downloads) == asked, "loading downloads nothing"


def test_only_files_of_the_package_are_downloaded_and_each_once(hub: Hub, package: Path) -> None:
    found = pull(Name(NAME))
    here = files_of(found.folder)
    assert here == {**files_of(package), "README.md": b"# A card"}
    assert {name: len(content) for name, content in here.items()} == found.files
    assert len(hub.downloads) == len(set(here.values())), "equal files are downloaded once"
    pull(Name(NAME))
    assert len(hub.downloads) == len(set(here.values())), "nothing is downloaded again"


def test_packages_of_other_exporters_have_no_manifest(hub: Hub, package: Path) -> None:
    files = {name: content for name, content in files_of(package).items() if name != "triptych.json"}
    data = {"unet/model.onnx_data": b"1", "unet/conv_in.weight": b"2", "vae_decoder/weights.pb": b"3"}
    left_out = {
        "unet/model_fp16.onnx": b"1",
        "unet/model_fp16.onnx_data": b"1",
        "unet/diffusion_pytorch_model.bin": b"1",
        "safety_checker/model.onnx": b"1",
        "openvino/model.xml": b"1",
        "v1.ckpt": b"1",
    }
    hub.add("other/exporter", {**files, **data, **left_out, "LICENSE.md": b"MIT"})
    found = pull(Name("other/exporter"))
    assert set(found.files) == {*files, *data, "LICENSE.md"} == set(files_of(found.folder))
    assert open_package("other/exporter").manifest.absent


def test_a_package_is_also_a_folder_where_it_is_asked_for(
    hub: Hub, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    link = tmp_path / "packages" / "tiny"
    assert run("pull", NAME, link, capsys=capsys)[:2] == (0, f"{link}\n")
    assert open_package(link).path.resolve() == find(NAME).folder  # type: ignore[union-attr]
    TextToImage.load(link, device="cpu")
    moved = hub.add(NAME, {**files_of(link), "README.md": b"# Another card"})
    assert run("pull", NAME, link, capsys=capsys)[0] == 0
    assert link.resolve().name == moved
    other = tmp_path / "mine"
    other.mkdir()
    assert f"{other} exists" in refused("pull", NAME, other, capsys=capsys)
    assert list(other.iterdir()) == []


def test_branches_tags_and_commits(hub: Hub, package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half = hub.add(NAME, {**files_of(package), "README.md": b"half"}, branch="refs/pr/1")
    assert run("pull", NAME, "--revision", "refs/pr/1", capsys=capsys)[:2] == (0, f"{NAME}@refs/pr/1\n")
    assert open_package(NAME).path.name == half, "the only revision that is here"
    pull(Name(NAME))
    assert open_package(NAME).path.name == hub.repositories[NAME].branches["main"]
    assert open_package(f"{NAME}@refs/pr/1").path.name == half
    assert pull(Name(NAME, half)).commit == half
    assert [str(each.name) for each in records()] == sorted([NAME, f"{NAME}@{half}", f"{NAME}@refs/pr/1"])
    assert f"{NAME} has no revision v9" in refused("pull", f"{NAME}@v9", capsys=capsys)


def test_a_branch_that_moved_leaves_its_earlier_commit_by_name(hub: Hub, package: Path) -> None:
    before = pull(Name(NAME))
    hub.downloads.clear()
    after = hub.add(NAME, {**files_of(package), "README.md": b"new"})
    assert pull(Name(NAME)).commit == after
    assert "unet/model.onnx" not in hub.downloads, "files that did not change are in the cache"
    assert open_package(f"{NAME}@{before.commit}").path == before.folder


def test_a_download_that_breaks_is_resumed(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 50)
    hub.cut[WEIGHTS] = 100
    found = pull(Name(NAME))
    assert hub.ranges == ["bytes=100-"]
    assert hub.downloads.count(WEIGHTS) == 2
    assert (found.folder / WEIGHTS).stat().st_size == found.files[WEIGHTS]


def test_progress_is_for_terminals_alone(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, progress, shown in ((Terminal(), True, True), (Terminal(), False, False), (io.StringIO(), True, False)):
        hub.add(NAME, {**hub.repositories[NAME].commits[find_commit(hub)], "README.md": str(id(stream)).encode()})
        with monkeypatch.context() as patch:
            patch.setattr("sys.stderr", stream)
            pull(Name(NAME), progress=progress)
        assert ("Fetching" in stream.getvalue()) is shown


def find_commit(hub: Hub) -> str:
    return hub.repositories[NAME].branches["main"]


@pytest.mark.parametrize("name", [WEIGHTS, "scheduler/scheduler_config.json"])
def test_a_wrong_checksum_leaves_no_package_and_no_wrong_file(
    name: str, hub: Hub, package: Path, capsys: pytest.CaptureFixture[str], cache: Path
) -> None:
    content = files_of(package)[name]
    hub.altered = {name: content[:-1] + bytes([content[-1] ^ 1])}
    status, out, err = run("pull", NAME, capsys=capsys)
    assert (status, out) == (1, "")
    assert err.splitlines()[-1] == (
        f"error: {NAME}: {name} does not have the checksum that the hub states, and was deleted; run it again"
    )
    assert records() == []
    (folder,) = (cache / "hub").glob("models--*/snapshots/*")
    assert (folder / "model_index.json").exists()
    assert not (folder / name).is_symlink()
    hub.altered = {}
    hub.downloads.clear()
    pull(Name(NAME))
    assert hub.downloads == [name], "whole files stayed"
    TextToImage.load(NAME, device="cpu")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model_index.json": None}, "is not a package: it has no model_index.json"),
        ({"unet/model.onnx": None}, "is not whole: its triptych.json lists 'unet/model.onnx', which is missing"),
        ({"model_index.json": b'{"_class_name": "FluxPipeline"}'}, "is a FluxPipeline, which is not supported"),
        ({"triptych.json": b'{"format": 9}'}, "has format 9; this version reads format 1"),
        ({"unet/../../model.onnx": b""}, "a file's path is relative, inside the package"),
    ],
)
def test_what_is_no_package_is_refused_before_its_weights_are_downloaded(
    change: dict[str, bytes | None], reason: str, hub: Hub, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {**files_of(package), **change}
    hub.add("someone/broken", {name: content for name, content in files.items() if content is not None})
    assert reason in refused("pull", "someone/broken", capsys=capsys)
    assert [name for name in hub.downloads if name.endswith(".onnx")] == []
    assert records() == []


def test_a_checkpoint_is_told_from_a_package(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.add("someone/checkpoint", {"model_index.json": b"{}", "unet/diffusion_pytorch_model.safetensors": b"1"})
    message = refused("pull", "someone/checkpoint", capsys=capsys)
    assert "holds no ONNX graphs" in message
    assert "`triptych export someone/checkpoint PACKAGE`" in message


def test_names_and_access(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert "the hub has no model someone/absent" in refused("pull", "someone/absent", capsys=capsys)
    hub.repositories[NAME].gated = True
    assert f"{NAME} is gated" in refused("pull", NAME, capsys=capsys)
    for name in ("tiny", "a/b/c", "../x", "someone/", "a b/c", f"{NAME}@", f"{NAME}@../x", "https://hub/a/b"):
        assert "allowed: owner/name" in refused("pull", name, capsys=capsys)
    assert "allowed: owner/name" in refused("pull", f"{NAME}@v1", "--revision", "v2", capsys=capsys)


def test_a_full_disk_is_told_before_and_during_the_download(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=5000))
        with pytest.raises(TransferError, match=r"which has room for 0\.0 MB; free some, or set HF_HUB_CACHE"):
            pull(Name(NAME))
    assert WEIGHTS not in hub.downloads

    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.snapshot_download", fails)
        with pytest.raises(TransferError, match="was not transferred: No space left on device; free some"):
            pull(Name(NAME))
    assert records() == []


def test_without_a_connection(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE forbids to download it" in refused("pull", NAME, capsys=capsys)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    pull(Name(NAME))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    link = tmp_path / "tiny"
    assert run("pull", NAME, link, capsys=capsys)[:2] == (0, f"{link}\n")
    TextToImage.load(link, device="cpu")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(TransferError):
        pull(Name("someone/else"))


def test_a_name_that_was_not_pulled_is_one_line(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"error: {NAME} is neither a folder nor a pulled package; `triptych pull {NAME}` downloads it"
    commands = [["generate", NAME, "red fox"], ["inspect", NAME], ["push", NAME, NAME]]
    if find_spec("psutil") is not None:  # of the extra bench
        commands.append(["bench", NAME])
    for command in commands:
        assert refused(*command, capsys=capsys) == line
    with pytest.raises(PackageError, match=f"`triptych pull {NAME}` downloads it"):
        TextToImage.load(NAME)
    assert hub.downloads == []


def test_huggingface_hub_is_an_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    modules = ((None, "is not installed"), (ModuleType("huggingface_hub"), "fails: cannot import name"))
    for module, reason in modules:
        monkeypatch.setitem(sys.modules, "huggingface_hub", module)
        line = refused("pull", NAME, capsys=capsys)
        assert line.startswith(f"error: `triptych pull` needs huggingface_hub, which {reason}")
        assert line.endswith(": pip install 'triptych[hub]'")


def test_files_that_all_repositories_of_the_cache_share_are_inside_the_package(hub: Hub, cache: Path) -> None:
    found = pull(Name(NAME))
    blob = (found.folder / WEIGHTS).resolve()
    store = cache / "hub" / "blobs" / "ab" / "0123"
    store.parent.mkdir(parents=True)
    blob.rename(store)
    blob.symlink_to(store)
    TextToImage.load(NAME, device="cpu")
    store.rename(cache / "elsewhere")
    blob.unlink()
    blob.symlink_to(cache / "elsewhere")
    with pytest.raises(PackageError, match="outside of the package"):
        open_package(NAME)


def test_a_service_names_models_by_repositories_and_links(hub: Hub, package: Path, tmp_path: Path) -> None:
    hub.add(NAME, {**files_of(package), "README.md": b"half"}, branch="refs/pr/1")
    pull(Name(NAME), tmp_path / "link")
    pull(Name(NAME, "refs/pr/1"))
    names = {Path(NAME): "tiny", Path(f"{NAME}@refs/pr/1"): "tiny@refs-pr-1", tmp_path / "link": "link"}
    assert {path: short_name(path) for path in names} == names
    assert short_name(Path()) == Path.cwd().name


def test_a_record_that_was_altered_is_refused(hub: Hub, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pull(Name(NAME))
    (record,) = (cache / "triptych" / "pulled").iterdir()
    record.write_text(json.dumps({"repository": NAME}))
    assert f"{record}: revision is missing" in refused("inspect", NAME, capsys=capsys)


def test_errors_of_the_hub_have_their_exit_status() -> None:
    assert (HubError.exit_status, TransferError.exit_status) == (2, 1)
