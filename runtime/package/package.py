"""Packages: folders of ONNX graphs, opened and checked for missing or truncated files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import PackageError, nearest
from ..families.family import CLASS_NAMES, Family, family_by
from .json_file import read_json
from .manifest import MANIFEST, FileRecord, Manifest, read_manifest

GRAPH = "model.onnx"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, eq=False, repr=False)
class Package:
    """A folder of graphs, laid out as optimum's exporter does it.

    Attributes:
        path: the folder.
        model_index: content of model_index.json.
        manifest: see there; an absent one where another exporter wrote the package.
    """

    path: Path
    model_index: Mapping[str, Any]
    manifest: Manifest

    @cached_property
    def components(self) -> tuple[str, ...]:
        """Names of the folders that hold a graph, in the order of model_index.json, others after them."""
        present = {folder.parent.name for folder in self.path.glob(f"*/{GRAPH}")}
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

    def config(self, component: str) -> dict[str, Any]:
        """The component's config.json, or {} where the package of another exporter has none."""
        return read_json(self.path / component / "config.json", optional=True)

    def scheduler_config(self) -> dict[str, Any]:
        """The package's own scheduler, as diffusers writes it."""
        return read_json(self.path / "scheduler" / "scheduler_config.json")

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
        return sum(file.stat().st_size for file in self.graph(component).parent.iterdir() if file.is_file())

    def verify(self) -> Iterator[str]:
        """Read every listed file whole and yield its path as it passes.

        Raises:
            PackageError: there is no manifest to verify against, or a file was altered since it was written.
        """
        import hashlib

        if self.manifest.absent:
            raise PackageError(f"{self.path} has no {MANIFEST} to verify against: it was not exported by Triptych")
        for name, expected in self.files().items():
            digest = hashlib.sha256()
            with (self.path / name).open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
            if digest.hexdigest() != expected.sha256:
                raise PackageError(
                    f"{self.path / name} was altered: its sha256 is {digest.hexdigest()[:12]}..., "
                    f"the manifest says {expected.sha256[:12]}...; export the package again"
                )
            yield name


def open_package(path: str | Path) -> Package:
    """Open the package in folder `path` and check that all its files are there, in their sizes.

    Raises:
        PackageError: no folder, no package, or a file that is missing or truncated.
    """
    path = Path(path)
    if not path.is_dir():
        raise PackageError(f"{path} is not a folder; a package is a folder made by `triptych export SOURCE PACKAGE`")
    if not (path / "model_index.json").is_file():
        raise PackageError(f"{path} is no package: it has no model_index.json")
    model_index = read_json(path / "model_index.json")
    package = Package(path, model_index, read_manifest(path))
    if not package.components:
        raise PackageError(
            f"{path} holds no ONNX graphs (no */{GRAPH}); if it is a checkpoint, run `triptych export {path} PACKAGE`"
        )
    _check_files(package)
    return package


def family_of(package: Package) -> Family:
    """The family of a package, see `family_by`.

    Raises:
        PackageError: none that is supported.
    """
    family = family_by(package.model_index)
    if family is None:
        name = package.model_index.get("_class_name")
        raise PackageError(f"{package.path} is a {name}, which is not supported; {nearest(str(name), CLASS_NAMES)}")
    return family


def _check_files(package: Package) -> None:
    for name, expected in package.files().items():
        file = package.path / name
        if not file.is_file():
            raise PackageError(f"{file} is missing; export the package again")
        if file.stat().st_size != expected.bytes:
            raise PackageError(
                f"{file} has {file.stat().st_size} bytes where the manifest says {expected.bytes}: "
                "it is truncated or altered; export the package again"
            )
