"""The files of a repository that a package needs: its graphs with their data, configurations, tokenizers and card."""

import re
from collections.abc import Iterable

from ..errors import PackageError
from ..families.family import Family
from ..package.json_file import JsonObject, shown
from ..package.manifest import MANIFEST
from ..package.package import GRAPH, INDEX
from ..package.signatures import DECODER, ENCODER

CARD = "README.md"
_SCHEDULER = "scheduler/scheduler_config.json"
_ALWAYS = re.compile(r"README\.md|LICEN[CS]E[\w.-]*|NOTICE[\w.-]*", re.ASCII)
_OTHER_WEIGHTS = (
    ".bin",
    ".ckpt",
    ".gguf",
    ".h5",
    ".msgpack",
    ".ort",
    ".pt",
    ".pth",
    ".safetensors",
    ".tflite",
    ".xml",
)
"""Ends of names of weights and graphs in formats that are not run here."""
_OTHER_GRAPH = re.compile(r"(?!model\.onnx)[^/]*\.onnx([._]data[^/]*)?")
"""Names of further graphs of a component, and of their data."""


def check_names(names: Iterable[str], repository: str) -> None:
    """Refuse names of files that would be outside the package's folder.

    Raises:
        PackageError: names the first such file.
    """
    for name in names:
        if not name.isprintable() or "\\" in name or any(part in ("", ".", "..") for part in name.split("/")):
            raise PackageError(f"{repository} has a file {shown(name)}; a file's path is relative, inside the package")


def check_is_package(names: Iterable[str], repository: str) -> None:
    """Refuse a repository that holds no ONNX package.

    Raises:
        PackageError: names what is missing.
    """
    names = set(names)
    if INDEX not in names:
        raise PackageError(f"{repository} is not a package: it has no {INDEX}")
    if not any(name.count("/") == 1 and name.endswith(f"/{GRAPH}") for name in names):
        raise PackageError(
            f"{repository} holds no ONNX graphs (no */{GRAPH}); if it is a checkpoint, "
            f"run `triptych export {repository.partition('@')[0]} PACKAGE`"
        )


def listed_files(names: Iterable[str], manifest: JsonObject, repository: str) -> list[str]:
    """The files of a package with a manifest: those that it lists, itself, card and licence.

    Args:
        names: of all files.
        manifest: content of triptych.json.
        repository: for messages.

    Raises:
        PackageError: a listed file is missing.
    """
    listed = set(manifest.objects("files"))
    for component in manifest.objects("components").values():
        listed.update(component.objects("files"))
    names = set(names)
    missing = sorted(listed - names)
    if missing:
        raise PackageError(f"{repository} is not whole: its {MANIFEST} lists {shown(missing[0])}, which is missing")
    return sorted(listed | {MANIFEST} | {name for name in names if _ALWAYS.fullmatch(name)})


def known_files(names: Iterable[str], family: Family) -> list[str]:
    """The files of a package by another exporter: those of the family's components, in ONNX alone.

    Data next to a graph may have any name; weights in other formats and other graphs are left out, and so are
    components that are not run here, such as a safety checker.
    """
    names = set(names)
    components = {*family.text_encoders, family.denoiser, DECODER, ENCODER}
    tokenizers = {encoder.tokenizer for encoder in family.encoders}
    return sorted(name for name in names if _is_known(name, names, components, tokenizers))


def _is_known(name: str, names: set[str], components: set[str], tokenizers: set[str]) -> bool:
    folder, _, file = name.rpartition("/")
    if not folder:
        return name == INDEX or _ALWAYS.fullmatch(name) is not None
    if folder in tokenizers:
        return file.endswith((".json", ".txt", ".model"))
    if folder in components and f"{folder}/{GRAPH}" in names:
        return not file.endswith(_OTHER_WEIGHTS) and not _OTHER_GRAPH.fullmatch(file)
    return name == _SCHEDULER
