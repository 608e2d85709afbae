"""`triptych list` shows what was pulled; `triptych remove` deletes that, and nothing else of the hub's cache."""

import json
import os
import shutil
import time
from pathlib import Path

import huggingface_hub
import pytest

from tests.runtime.hub.conftest import NAME
from tests.support.command_line import refused, run
from tests.support.hub import Hub, files_of
from triptych.runtime.hub.pull import pull
from triptych.runtime.package.package import open_package
from triptych.runtime.package.pulled import Name, Pulled, read_record, records


def test_the_list(hub: Hub, capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    assert run("list", capsys=capsys) == (0, "", "no package has been pulled; triptych pull NAME\n")
    found = pull(Name(NAME))
    (record,) = (cache / "triptych" / "pulled").iterdir()
    os.utime(record, (1e9, 1e9))
    status, out, _ = run("list", capsys=capsys)
    assert status == 0
    head, row = out.splitlines()
    assert head.split() == ["name", "commit", "family", "precision", "operator", "set", "MB", "last", "use"]
    words = [NAME, found.commit[:12], "stable-diffusion", "fp32", "portable", f"{found.bytes / 1e6:.1f}"]
    assert row.split() == [*words, *time.strftime("%Y-%m-%d %H:%M", time.localtime(1e9)).split()]
    open_package(NAME)
    (facts,) = json.loads(run("list", "--json", capsys=capsys)[1])
    assert facts["last_use"] > "2025"
    assert facts["commit"] == found.commit
    assert facts["bytes"] == found.bytes


def test_a_package_whose_files_were_deleted_is_listed_and_can_be_removed_or_pulled(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    found = pull(Name(NAME))
    shutil.rmtree(found.folder.parents[1])
    assert "not whole" in run("list", capsys=capsys)[1]
    message = refused("generate", NAME, "red fox", capsys=capsys)
    assert message == f"error: the files of {NAME} were deleted from {found.folder}; run `triptych pull {NAME}`"
    assert run("remove", NAME, capsys=capsys)[:2] == (0, f"{NAME}: 0.0 MB freed\n")
    pull(Name(NAME))
    open_package(NAME)


def test_removal_frees_the_package_and_its_link(
    hub: Hub, capsys: pytest.CaptureFixture[str], tmp_path: Path, cache: Path
) -> None:
    link = tmp_path / "tiny"
    found = pull(Name(NAME), link)
    expected = f"{NAME}: {sum(map(len, set(files_of(found.folder).values()))) / 1e6:,.1f} MB freed\n"
    assert run("remove", NAME, capsys=capsys)[:2] == (0, expected)
    assert not link.is_symlink()
    assert not found.folder.parents[1].exists()
    assert records() == []
    assert f"{NAME} has not been pulled; no package has" in refused("remove", NAME, capsys=capsys)


def test_other_files_of_the_cache_stay(hub: Hub, package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = hub.add("someone/copy", hub.repositories[NAME].commits[hub.repositories[NAME].branches["main"]])
    assert other in hub.repositories[NAME].commits, "copies have commits in common"
    copy = Path(huggingface_hub.snapshot_download("someone/copy"))
    weights = Path(huggingface_hub.hf_hub_download(NAME, "unet/diffusion_pytorch_model.safetensors"))
    before = files_of(copy)
    pull(Name(NAME))
    assert run("remove", NAME, capsys=capsys)[0] == 0
    assert files_of(copy) == before
    assert weights.read_bytes() == b"weights"
    assert list(files_of(weights.parents[1])) == ["unet/diffusion_pytorch_model.safetensors"]


def test_revisions_share_files_and_are_removed_one_by_one(hub: Hub, package: Path) -> None:
    from triptych.runtime.hub.cache import remove

    first = pull(Name(NAME))
    hub.add(NAME, {**files_of(package), "README.md": b"another"})
    second = pull(Name(NAME))
    tag = hub.repositories[NAME].branches["v1"] = second.commit
    same = pull(Name(NAME, "v1"))
    assert same.folder == second.folder
    assert tag == same.commit
    assert remove(f"{NAME}@v1")[1] == 0, "the other name has all of its files"
    open_package(NAME)
    assert remove(f"{NAME}@{first.commit}")[1] == len(b"# A card")
    open_package(NAME)
    assert remove(NAME)[1] == sum(map(len, set(files_of(package).values()))) + len(b"another")


def test_records_of_long_names_and_revisions_are_files(cache: Path) -> None:
    name = Name.parse(f"{'o' * 40}/{'n' * 55}@{'refs/pr/' + '1' * 88}")
    assert name is not None
    Pulled(name, "c" * 40, cache, {"a": 1}).write()
    assert read_record(name) == Pulled(name, "c" * 40, cache, {"a": 1})
    assert Name.parse(f"{'o' * 40}/{'n' * 56}") is None
