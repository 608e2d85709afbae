"""Download of a package from the hub into the hub's own cache, where it is used in place."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import HubError, PackageError, TransferError, nearest, system_reason
from ..families.family import CLASS_NAMES, family_by
from ..package.digests import remembered
from ..package.json_file import JsonObject, spelled
from ..package.manifest import MANIFEST
from ..package.package import INDEX, family_of, open_package
from ..package.pulled import Name, Pulled, read_record
from .cache import delete
from .client import client, is_offline, talking
from .selection import check_is_package, check_names, known_files, listed_files

Report = Callable[[str], None]


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository.

    Attributes:
        bytes: its size.
        sha256: of its content, for large files; None for those that git keeps.
        git: sha1 of its content as a git blob, or of the pointer to a large file.
    """

    bytes: int
    sha256: str | None
    git: str


def pull(name: Name, link: Path | None = None, *, report: Report = lambda line: None, progress: bool = False) -> Pulled:
    """Download a package, check it, and record it; files that are in the cache already are not downloaded again.

    Args:
        name: repository and revision.
        link: a folder that becomes a link to the package.
        report: called with lines for the user.
        progress: show bars on stderr, if it is a terminal.

    Raises:
        HubError: no such repository or revision, or no access.
        TransferError: network, disk or a checksum; files that are whole stay in the cache.
        PackageError: the repository is not a package that runs here, or `link` exists.
        MissingExtraError: huggingface_hub is not installed.
    """
    hub = client("pull")
    if link is not None:
        _check_link(link, name)
    before = read_record(name)
    if is_offline():
        if before is None:
            raise HubError(f"{name} has not been pulled, and HF_HUB_OFFLINE forbids to download it")
        open_package(before.folder)
        found = before
    else:
        found = _download(hub, name, report, progress)
    if before is not None and before.folder == found.folder:
        found = _with_links(found, before.links)
    if link is not None:
        _make_link(link, found.folder)
        found = _with_links(found, (link.absolute(),))
    found.write()
    return found


def _download(hub: ModuleType, name: Name, report: Report, progress: bool) -> Pulled:
    with talking(str(name)):
        revision = hub.HfApi().resolve_revision(name.repository, revision=name.revision)
        files = _listed(hub, name, revision.resolved)
    check_names(files, str(name))
    check_is_package(files, str(name))
    with talking(str(name)):
        heads = [file for file in (INDEX, MANIFEST) if file in files]
        folder = _fetch(hub, name, revision, heads)
    chosen = {file: files[file] for file in _needed(folder, files, str(name))}
    _check_space(folder, chosen)
    report(f"{name} at {revision.resolved[:12]}: {len(chosen)} files, {_total(chosen.values()) / 1e6:,.1f} MB")
    with talking(str(name), progress=progress):
        _fetch(hub, name, revision, chosen)
    _check_sums(folder, chosen, str(name))
    family_of(open_package(folder))
    return Pulled(name, revision.resolved, folder, {file: each.bytes for file, each in chosen.items()})


def _listed(hub: ModuleType, name: Name, commit: str) -> dict[str, RemoteFile]:
    """Path -> facts of every file of a commit."""
    return {
        each.path: RemoteFile(each.size, each.lfs.sha256 if each.lfs else None, each.blob_id)
        for each in hub.HfApi().list_repo_tree(name.repository, recursive=True, revision=commit)
        if isinstance(each, hub.hf_api.RepoFile)
    }


def _fetch(hub: ModuleType, name: Name, revision: Any, files: Iterable[str]) -> Path:
    """Download files into the cache, and return the folder of the snapshot."""
    patterns = [escape(file) for file in files]
    return Path(hub.snapshot_download(name.repository, revision=revision, allow_patterns=patterns))


def _needed(folder: Path, files: Iterable[str], name: str) -> list[str]:
    """Paths of the files that the package needs, by its manifest or its family."""
    index = JsonObject.read(folder / INDEX)
    family = family_by(index)
    if family is None:
        kind = str(index.get("_class_name"))
        raise PackageError(f"{name} is a {spelled(kind)}, which is not supported; {nearest(kind, CLASS_NAMES)}")
    if MANIFEST in files:
        return listed_files(files, JsonObject.read(folder / MANIFEST), name)
    return known_files(files, family)


def _total(files: Iterable[RemoteFile]) -> int:
    return sum(file.bytes for file in files)


def _check_space(folder: Path, files: Mapping[str, RemoteFile]) -> None:
    blobs = folder.parents[1] / "blobs"
    missing = [
        file
        for name, file in files.items()
        if not (folder / name).exists() and not (blobs / (file.sha256 or file.git)).exists()
    ]
    free = shutil.disk_usage(folder).free
    if _total(missing) > free:
        raise TransferError(
            f"{_total(missing) / 1e6:,.1f} MB must be downloaded into {folder.parents[2]}, which has room for "
            f"{free / 1e6:,.1f} MB; free some, or set HF_HUB_CACHE to a folder on another disk"
        )


def _check_sums(folder: Path, files: Mapping[str, RemoteFile], name: str) -> None:
    """Compare every file with the hub's checksum, and delete those that differ."""
    found = remembered(folder, files)
    wrong = [
        each
        for each, file in files.items()
        if (found[each] != file.sha256 if file.sha256 else _git_digest(folder / each) != file.git)
    ]
    if wrong:
        delete(folder, wrong)
        raise TransferError(
            f"{name}: {spelled(wrong[0])} does not have the checksum that the hub states, and was deleted; run it again"
        )


def _git_digest(file: Path) -> str:
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _with_links(record: Pulled, links: Iterable[Path]) -> Pulled:
    return replace(record, links=tuple(dict.fromkeys((*record.links, *links))))


def _check_link(link: Path, name: Name) -> None:
    """Refuse to replace anything but a link to a snapshot of the same repository."""
    if link.is_symlink():
        place, repository = Path(os.readlink(link)).parent, f"models--{name.repository.replace('/', '--')}"
        if (place.parent.name, place.name) == (repository, "snapshots"):
            return
    if link.is_symlink() or link.exists():
        raise PackageError(f"{link} exists; give a name that does not exist, or leave PACKAGE out")


def _make_link(link: Path, folder: Path) -> None:
    partial = link.with_name(f".{link.name}.part")
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        partial.symlink_to(folder)
        os.replace(partial, link)
    except OSError as error:
        raise PackageError(f"{link} cannot be made: {system_reason(error)}") from None
