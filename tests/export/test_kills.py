"""A writer killed at any moment leaves the old package or the new one, and the next one clears what it left."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.tiny_package import write
from triptych.export import publish as publishing
from triptych.export.publish import publish
from triptych.export.scratch import scratch_folder
from triptych.runtime.errors import TriptychError
from triptych.runtime.package.package import open_package

WRITER = """
import os, shutil, signal, sys
from pathlib import Path
from triptych.export import publish as publishing
new, destination, moment = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
calls = 0

def step(original):
    def counted(*arguments, **named):
        global calls
        calls += 1
        if calls == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **named)
    return counted

Path.rename, os.unlink, os.rmdir, os.mkdir = map(step, (Path.rename, os.unlink, os.rmdir, os.mkdir))
with publishing.publish(destination, force=True, needed_bytes=0) as folder:
    shutil.copytree(new, folder, dirs_exist_ok=True)
print(calls)
"""
"""Publishes, and is killed at a rename, or at the removal or making of a file or folder."""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two packages of different families."""
    folder = tmp_path_factory.mktemp("packages")
    return write(folder / "old"), write(folder / "new", "sdxl")


def published(new: Path, destination: Path, moment: int = 0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WRITER, str(new), str(destination), str(moment)], capture_output=True, text=True
    )


def family(package: Path) -> str:
    opened = open_package(package)
    assert list(opened.verify())
    return str(opened.manifest.recorded["family"])


def check_every(packages: tuple[Path, Path], folder: Path, step: int) -> None:
    old, new = packages
    kinds, destination = {family(old), family(new)}, folder / "package"
    shutil.copytree(old, destination)
    last = int(published(new, destination).stdout)
    assert last > 20
    for moment in range(1, last + 1, step):
        killed = published(old, destination, moment)
        assert killed.returncode == -signal.SIGKILL
        if destination.exists():
            assert family(destination) in kinds
            before = family(destination)
        with publish(destination, force=True, needed_bytes=0) as partial:
            assert list(partial.iterdir()) == []
            assert family(destination) in kinds
            if moment < last and destination.exists():
                before = family(destination)
            assert [each.name for each in folder.iterdir() if each.name.startswith(".")] == [".package.partial"]
            shutil.copytree(new, partial, dirs_exist_ok=True)
        assert before in kinds
        assert list(folder.iterdir()) == [destination]
        assert family(destination) == family(new)


def test_a_few_moments(packages: tuple[Path, Path], tmp_path: Path) -> None:
    check_every(packages, tmp_path, 19)


@pytest.mark.slow
def test_every_moment(packages: tuple[Path, Path], tmp_path: Path) -> None:
    check_every(packages, tmp_path, 1)


def test_a_folder_that_is_half_deleted_is_never_put_back(packages: tuple[Path, Path], tmp_path: Path) -> None:
    """As earlier versions left it."""
    replaced = Path(shutil.copytree(packages[0], tmp_path / ".package.replaced"))
    (replaced / "unet" / "config.json").unlink()
    for missing in ("unet/model.onnx", "triptych.json"):
        (replaced / missing).unlink()
        with publish(tmp_path / "package", force=False, needed_bytes=0) as partial:
            assert [each.name for each in tmp_path.iterdir()] == [partial.name]
            (partial / "file").touch()
        assert [each.name for each in (tmp_path / "package").iterdir()] == ["file"]
        shutil.rmtree(tmp_path / "package")
        replaced = Path(shutil.copytree(packages[0], tmp_path / ".package.replaced"))


def test_a_whole_one_is_put_back(packages: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(packages[0], tmp_path / ".package.replaced")
    with pytest.raises(TriptychError, match="exists"), publish(tmp_path / "package", force=False, needed_bytes=0):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "package"]
    assert family(tmp_path / "package") == family(packages[0])


def test_two_at_once_do_not_take_each_others_folders(
    packages: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second begins while the first has moved the old package away."""
    destination = Path(shutil.copytree(packages[0], tmp_path / "package"))
    rename, refusals = Path.rename, []

    def renamed(path: Path, target: Path) -> Path:
        if path.name == ".package.partial":
            with pytest.raises(TriptychError) as error, publish(destination, force=True, needed_bytes=0):
                pass
            refusals.append(str(error.value))
        return rename(path, target)

    monkeypatch.setattr(publishing.Path, "rename", renamed)
    with publish(destination, force=True, needed_bytes=0) as partial:
        shutil.copytree(packages[1], partial, dirs_exist_ok=True)
    assert [os.path.basename(destination) in refusal for refusal in refusals] == [True]
    assert "another export" in refusals[0]
    assert list(tmp_path.iterdir()) == [destination]
    assert family(destination) == family(packages[1])


def test_temporary_folders_of_the_dead_are_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = (
        "import os, signal; from triptych.export.scratch import scratch_folder\n"
        "with scratch_folder() as folder: (folder / 'file').touch(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
    (left,) = tmp_path.iterdir()
    with scratch_folder() as living:
        assert left.exists(), "its process may be about to lock it"
        for folder in (left, living):
            os.utime(folder, (0, 0))
        with scratch_folder() as other:
            assert sorted(tmp_path.iterdir()) == sorted([living, other])
    assert list(tmp_path.iterdir()) == []
