"""Files and folders that a caller names as sources: readable, and not stand-ins. Needs no PyTorch."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triptych.runtime.errors import SourceError, system_reason
from triptych.runtime.families.family import FAMILIES, family_by
from triptych.runtime.package.manifest import MANIFEST
from triptych.runtime.reading import read_file

PIPELINES = tuple(dict.fromkeys(pipeline for family in FAMILIES for pipeline in family.pipelines))
"""Values that `_class_name` in a checkpoint's model_index.json may have."""

_POINTER = b"version https://git-lfs.github.com/spec/"
_JSON_BYTES = 64_000_000  # of a configuration, an index of shards or a vocabulary, far more than any has


def is_hub_id(source: str | Path) -> bool:
    """Whether the source is written as owner/name, and not as a path."""
    text = str(source)
    return text.count("/") == 1 and not text.startswith((".", "/", "~")) and not text.endswith(".safetensors")


def check_file(file: Path) -> None:
    """Check that a file can be read, and that it is the file itself.

    Raises:
        SourceError: it is missing, a folder, a pipe or not readable, or a pointer that git-lfs left in its place.
    """
    try:
        if not file.exists():
            raise SourceError(f"{file} does not exist")
        if not file.is_file():  # opening a pipe would wait for a writer
            raise SourceError(f"{file} is not a regular file")
        with file.open("rb") as opened:
            start = opened.read(len(_POINTER))
    except (OSError, ValueError) as error:  # ValueError: a name that holds a zero byte
        raise SourceError(f"{file} cannot be read: {system_reason(error)}") from None
    if start == _POINTER:
        raise SourceError(f"{_place(file)} is a pointer of Git LFS, not the file itself; run `git lfs pull` first")


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds a JSON object.

    Raises:
        SourceError: the file cannot be read, or holds something else.
    """
    check_file(path)
    try:
        value = json.loads(read_file(path, _JSON_BYTES, SourceError))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{_place(path)} cannot be read as JSON: {error}") from None
    if not isinstance(value, dict):
        raise SourceError(f"{_place(path)} should hold a JSON object, not a {type(value).__name__}")
    return value


def check_source(source: str | Path, what: str) -> None:
    """Check that a file or folder is there and can be read, or that the source is written as a hub id.

    Raises:
        SourceError: neither; names `what` it is.
    """
    path = Path(source)
    try:
        if path.is_dir():
            next(path.iterdir(), None)
            return
        there = path.exists() or path.is_symlink()
    except (OSError, ValueError) as error:
        raise SourceError(f"{source} cannot be read: {system_reason(error)}") from None
    if there:
        check_file(path)
    elif not is_hub_id(source):
        raise SourceError(f"{what}{source} is neither a file, a folder nor a hub id (owner/name)")


def check_checkpoint(source: str | Path, *, revision: str | None, variant: str | None, config: object) -> None:
    """Check a checkpoint's source, and that the options go with its kind; for arguments see `open_checkpoint`.

    Raises:
        SourceError: nothing there, not readable, another kind of file, or a folder of an unsupported family.
    """
    path = Path(source)
    if not (path.exists() or path.is_symlink() or is_hub_id(source)):
        raise SourceError(f"{source} is neither a folder nor a hub id (owner/name), nor a .safetensors file")
    check_source(source, "")
    hub, folder = not path.exists(), path.is_dir()
    for option, value, allowed, kinds in (
        ("revision", revision, hub, "a hub id"),
        ("variant", variant, hub or folder, "a folder or hub id"),
        ("configuration", config, path.is_file(), "a single file"),
    ):
        if value is not None and not allowed:
            kind = "hub id" if hub else "folder" if folder else "file"
            raise SourceError(f"{source} is a {kind}; a {option} ({value}) goes with {kinds}")
    if path.is_file() and path.suffix != ".safetensors":
        raise SourceError(f"{path.name} is not a .safetensors file; of single files, only those are read")
    if folder:
        read_model_index(path, source)
        if (path / MANIFEST).exists():
            raise SourceError(f"{source} is a package already; give the checkpoint that it was exported from")


def read_model_index(folder: Path, source: object) -> dict[str, Any]:
    """The model_index.json of a checkpoint of a supported family; `source` names it in messages.

    Raises:
        SourceError: it is missing or cannot be read, or is of another family.
    """
    if not (folder / "model_index.json").exists():
        raise SourceError(f"{source} is not a diffusers checkpoint: it has no model_index.json")
    model_index = read_json(folder / "model_index.json")
    check_supported(model_index, source)
    return model_index


def check_supported(model_index: Mapping[str, Any], source: object) -> None:
    """Check the family of a model_index.json.

    Raises:
        SourceError: it is not supported.
    """
    pipeline = str(model_index.get("_class_name"))
    if pipeline not in PIPELINES or family_by(model_index) is None:
        raise SourceError(f"{source} is a {pipeline}, which is not supported; allowed: {', '.join(PIPELINES)}")


def embedding_file(source: str) -> tuple[Path, str | None]:
    """The file and the token of FILE or FILE=TOKEN.

    Raises:
        SourceError: the file has another suffix than learned words have.
    """
    named = re.fullmatch(r"(.*\.(?:safetensors|pt|bin))(?:=(.*))?", source, re.DOTALL)
    if named is None:
        raise SourceError(f"{source} is not an embedding: give a .safetensors, .pt or .bin file, or FILE=TOKEN")
    return Path(named[1]), named[2]


def one_line(error: Exception, most: int = 200) -> str:
    """The error's message on one line, cut to `most` characters."""
    message = " ".join(str(error).split())
    return message if len(message) <= most else f"{message[:most]} ..."


def _place(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"
