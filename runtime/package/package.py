"""Packages: folders of ONNX graphs, opened and checked for missing, truncated or altered files."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import PackageError, nearest
from ..families.family import CLASS_NAMES, Family, family_by
from ..reading import kind_of
from .folder import entries, files_below, subfolders
from .json_file import JsonObject, exists, spelled
from .manifest import MANIFEST, FileRecord, Manifest, read_manifest
from .pulled import check_not_a_name, find

INDEX, GRAPH = "model_index.json", "model.onnx"


@dataclass(frozen=True, eq=False, repr=False)
class Package:
    """A folder of graphs, laid out as optimum's exporter does it.

    Attributes:
        path: the folder, absolute: the package stays the same if the process goes to another folder.
        given: the folder as the caller named it.
        model_index: content of model_index.json.
        manifest: see there; an absent one where another exporter wrote the package.
    """

    path: Path
    given: Path
    model_index: JsonObject
    manifest: Manifest

    @cached_property
    def components(self) -> tuple[str, ...]:
        """Names of the folders that hold a graph, in the order of model_index.json, others after them."""
        present = {name for name in subfolders(self.path) if exists(self.path / name / GRAPH)}
        known = [name for name in self.model_index if name in present]
        return (*known, *sorted(present.difference(known)))

    def graph(self, component: str) -> Path:
        """The component's graph file.

        Raises:
            PackageError: the package has no such component.
        """
        if component not in self.components:
            raise PackageError(f"{self.path} has no {component}/{GRAPH}; it holds: {', '.join(self.components)}")
        return self.path / component / GRAPH

    def is_optimised(self, component: str) -> bool:
        """Whether the component's graph was optimised at export, and runs as it is."""
        return self.manifest.component(component).optimised

    def config(self, component: str) -> JsonObject:
        """The component's config.json, or an empty one where the package of another exporter has none."""
        return JsonObject.read(self.path / component / "config.json", optional=True)

    def scheduler_config(self) -> dict[str, Any]:
        """The package's own scheduler, as diffusers writes it.

        Raises:
            PackageError: it cannot be read, or names no scheduler; its options are checked by `Sampler.from_config`.
        """
        config = JsonObject.read(self.path / "scheduler" / "scheduler_config.json")
        config.required("_class_name", str)
        if "_use_default_values" in config:
            config.texts("_use_default_values")
        return dict(config)

    def files(self) -> dict[str, FileRecord]:
        """Path relative to the package -> record of every file that the manifest lists."""
        listed = dict(self.manifest.files)
        for component in self.manifest.components.values():
            listed.update(component.files)
        return listed

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change with any file; "" without a manifest."""
        import hashlib

        digests = "".join(f"{name} {file.sha256}\n" for name, file in sorted(self.files().items()))
        return hashlib.sha256(digests.encode()).hexdigest()[:12] if digests else ""

    def bytes_of(self, component: str) -> int:
        """Bytes on disk of the component's graph and weights."""
        folder = self.graph(component).parent
        return sum(status.st_size for status in entries(folder).values() if stat.S_ISREG(status.st_mode))

    def check_digests(self) -> None:
        """Compare every listed file with the manifest; a file that did not change since the last time is not read.

        Raises:
            PackageError: a file cannot be read, or was altered since it was written.
        """
        from .digests import remembered

        files = self.files()
        for name, digest in remembered(self.path, files).items():
            _check_digest(self.path / name, digest, files[name])

    def verify(self) -> Iterator[str]:
        """Read every listed file whole and yield its path as it passes.

        Raises:
            PackageError: there is no manifest to verify against, or a file cannot be read, or was altered since it was
                written.
        """
        from .digests import digest_of

        if self.manifest.absent:
            raise PackageError(f"{self.path} has no {MANIFEST} to verify against: it was not exported by Triptych")
        for name, expected in self.files().items():
            _check_digest(self.path / name, digest_of(self.path / name), expected)
            yield name


def open_package(path: str | Path) -> Package:
    """Open a package and check that all its files are there, in their sizes, and can be read.

    Args:
        path: its folder, or the name of a pulled package, "owner/name" or "owner/name@revision"; nothing is downloaded.

    Raises:
        PackageError: no folder or pulled package, no package, or a file that is missing, truncated, not a regular file,
            outside of the folder or not readable.
    """
    given = Path(path)
    path = _absolute(given)
    if not _is_folder(path):
        path = _pulled(given)
    if not exists(path / INDEX):
        raise PackageError(f"{given} is not a package: it has no {INDEX}")
    package = Package(path, given, _index(path), read_manifest(path))
    if not package.components:
        raise PackageError(
            f"{given} holds no ONNX graphs (no */{GRAPH}); if it is a checkpoint, run `triptych export {given} PACKAGE`"
        )
    _check_files(package)
    return package


def short_name(path: Path) -> str:
    """Name of a package among others: that of its folder, or of the repository that it was pulled from.

    A link is named by itself, not by its target: a pulled package's is a commit. "owner/name@refs/pr/1" is
    "name@refs-pr-1".
    """
    if not path.is_dir() and find(str(path)) is not None:
        return str(path).partition("/")[2].replace("/", "-")
    return Path(os.path.abspath(path)).name


def family_of(package: Package) -> Family:
    """The family of a package, see `family_by`.

    Raises:
        PackageError: none that is supported.
    """
    family = family_by(package.model_index)
    if family is None:
        name = str(package.model_index.get("_class_name"))
        raise PackageError(f"{package.path} is a {spelled(name)}, which is not supported; {nearest(name, CLASS_NAMES)}")
    return family


def _pulled(given: Path) -> Path:
    """The folder of a pulled package."""
    record = find(str(given))
    if record is None:
        check_not_a_name(given)
        raise PackageError(f"{given} is not a folder; a package is a folder made by `triptych export SOURCE PACKAGE`")
    if not _is_folder(record.folder):
        raise PackageError(f"the files of {given} were deleted from {record.folder}; run `triptych pull {record.name}`")
    record.used()
    return record.folder


def _absolute(path: Path) -> Path:
    try:
        return path.absolute()
    except OSError as error:  # the working folder was deleted
        raise PackageError(f"{path} cannot be found: {error.strerror}") from None


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a name that holds a zero byte
        return False
    except OSError as error:
        raise PackageError(f"{path} cannot be read: {error.strerror}") from None


def _index(folder: Path) -> JsonObject:
    index = JsonObject.read(folder / INDEX)
    index.optional("_class_name", str)
    for flag in ("requires_aesthetics_score", "force_zeros_for_empty_prompt"):
        index.optional(flag, bool)
    return index


def _check_files(package: Package) -> None:
    for component in package.components:  # weights may be next to the graph, in any file
        for _ in files_below(package.path / component):
            pass
    places = _places(package.path.resolve())
    for name, expected in package.files().items():
        file = package.path / name
        size = _size(file, places)
        if size is None:
            raise PackageError(f"{file} is missing; export the package again")
        if size != expected.bytes:
            raise PackageError(
                f"{file} has {size} bytes where the manifest says {expected.bytes}: "
                "it is truncated or altered; export the package again"
            )


def _check_digest(file: Path, digest: str, expected: FileRecord) -> None:
    if digest != expected.sha256:
        raise PackageError(
            f"{file} was altered: its sha256 is {digest[:12]}..., "
            f"the manifest says {spelled(expected.sha256[:12])}...; export the package again"
        )


def _size(file: Path, places: Sequence[Path]) -> int | None:
    """Bytes of a file that the manifest lists, None where it is missing."""
    try:
        status, real = file.stat(), file.resolve()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise PackageError(f"{file} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise PackageError(f"{file} is {kind_of(status.st_mode)}; allowed: a regular file")
    if not any(real.is_relative_to(place) for place in places):
        raise PackageError(f"{file} is a link to {real}, outside of the package; copy the file into the package")
    return status.st_size


def _places(package: Path) -> tuple[Path, ...]:
    """Folders that may hold a package's files: its own; in the cache of the Hugging Face hub, those of all files."""
    if package.parent.name != "snapshots":
        return (package,)
    repository = package.parent.parent
    return (package, repository / "blobs", repository.parent / "blobs")  # the last one holds files of all repositories
