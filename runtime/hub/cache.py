"""Removal of a package's files from the hub's cache; files of other packages and of other programs stay."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from ..errors import PackageError, nearest, system_reason
from ..package.pulled import Pulled, find, records
from .client import client


def remove(text: str) -> tuple[Pulled, int]:
    """Delete a pulled package, and return its record and the bytes that were freed.

    Args:
        text: its name, "owner/name" or "owner/name@revision".

    Raises:
        PackageError: no such package was pulled, or its files cannot be deleted.
        MissingExtraError: huggingface_hub is not installed.
    """
    record = find(text)
    if record is None:
        names = [str(each.name) for each in records()]
        raise PackageError(f"{text} has not been pulled; {nearest(text, names) if names else 'no package has'}")
    shared = {name for each in records() if each.folder == record.folder and each != record for name in each.files}
    freed = delete(record.folder, record.files.keys() - shared)
    record.forget()
    return record, freed


def delete(snapshot: Path, names: Iterable[str]) -> int:
    """Delete files of a snapshot, with their content unless another snapshot has it, and return the bytes freed.

    Args:
        snapshot: a folder of the hub's cache.
        names: paths relative to it.

    Raises:
        PackageError: a file cannot be deleted.
        MissingExtraError: huggingface_hub is not installed.
    """
    hub, chosen = client("remove"), {snapshot.resolve() / name for name in names}
    if not snapshot.is_dir():
        return 0
    scan = hub.scan_cache_dir(snapshot.parents[2])
    files = [file for repo in scan.repos for each in repo.revisions for file in each.files if file.file_path in chosen]
    strategy = scan.delete_files(*files)  # not delete_revisions: copies of a repository have commits in common
    try:
        strategy.execute()
        _clear(snapshot)
    except OSError as error:
        raise PackageError(f"{error.filename or snapshot} cannot be deleted: {system_reason(error)}") from None
    freed: int = strategy.expected_freed_size
    return freed


def _clear(snapshot: Path) -> None:
    """Delete the folders of a snapshot that has no files left, and those of its repository if it has no other one."""
    if any(not path.is_dir() or path.is_symlink() for path in snapshot.rglob("*")):
        return
    shutil.rmtree(snapshot)
    repository = snapshot.parents[1]
    for ref in (repository / "refs").rglob("*"):
        if ref.is_file() and ref.read_text().strip() == snapshot.name:
            ref.unlink()
    if not any(snapshot.parent.iterdir()):
        shutil.rmtree(repository)
