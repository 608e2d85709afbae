"""Altered packages, by accident (sizes and digests of the manifest disagree) or with a manifest that agrees."""

import hashlib
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from random import Random

from ..alter import altered_bytes, altered_json
from ..attempt import Case
from ..inputs import PROMPT, SEED, STEPS, Inputs, pixels_of, succeed

_MANIFEST = "triptych.json"


def case(inputs: Inputs, random: Random) -> Case:
    """A copy of the package with one change, for `generate` or `inspect`."""
    files = sorted(file.relative_to(inputs.package) for file in inputs.package.rglob("*") if file.is_file())
    file = random.choice(files)
    agrees, inspected, way = random.random() < 0.5, random.random() < 0.25, random.random()
    seed = random.random()

    def run() -> bytes | None:
        shutil.copytree(inputs.package, "package")
        print(_change(Path("package"), file, files, way, Random(seed)))
        if agrees:
            with suppress(OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
                _agree(Path("package"))
        if inspected:
            succeed("inspect", "package")
            return None
        succeed("generate", "package", PROMPT, "--steps", STEPS, "--seed", SEED, "--out", "out.png", "--device", "cpu")
        return pixels_of(Path("out.png"))

    # Who makes the manifest agree has made another package, with images of its own
    expected = None if agrees or inspected or file.name == _MANIFEST else inputs.pixels
    name = f"{file}{', manifest agrees' if agrees else ''}{', inspect' if inspected else ''}"
    return Case(name, run, expected)


def _change(package: Path, file: Path, files: list[Path], way: float, random: Random) -> str:
    """Change a file of a package, and return the name of the change."""
    path = package / file
    if file.suffix == ".json" and way < 0.7:
        text, name = altered_json(json.loads(path.read_text()), random)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        return name
    if way < 0.8:
        content, name = altered_bytes(path.read_bytes(), random)
        path.write_bytes(content)
        return name
    other = package / random.choice([each for each in files if each.name == file.name] or files)
    changes = ("swapped", "removed", "a folder", "a pipe", "a link to nothing", "a link to itself", "its folder a file")
    return _replace(path, other, random.choice(changes))


def _replace(path: Path, other: Path, change: str) -> str:
    """Put something else in a file's place, and return the name of the change."""
    content = path.read_bytes()
    path.unlink()
    if change == "swapped":
        path.write_bytes(other.read_bytes() if other != path else content)
        other.write_bytes(content)
    elif change == "a folder":
        path.mkdir()
    elif change == "a pipe":
        os.mkfifo(path)
    elif change == "a link to nothing":
        path.symlink_to("missing")
    elif change == "a link to itself":
        path.symlink_to(path.name)
    elif change == "its folder a file" and path.parent.name != "package":
        shutil.rmtree(path.parent)
        path.parent.write_bytes(content)
    return change


def _agree(package: Path) -> None:
    """Write the sizes and digests of the files that are there into the manifest."""
    path = package / _MANIFEST
    if not path.is_file():  # opening a pipe would wait
        return
    manifest = json.loads(path.read_text())
    for files in (manifest["files"], *(each["files"] for each in manifest["components"].values())):
        for name in files:
            content = (package / name).read_bytes() if (package / name).is_file() else b""
            files[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    path.write_text(json.dumps(manifest))
