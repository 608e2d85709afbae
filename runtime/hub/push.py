"""Upload of a package to the hub, with its card."""

from glob import escape
from pathlib import Path

from ..errors import HubError
from ..package.json_file import JsonObject
from ..package.package import Package, family_of, open_package
from ..package.pulled import Name
from .client import client, is_offline, talking
from .selection import known_files, listed_files


def push(package: Path, name: Name, *, private: bool = False, progress: bool = False) -> str:
    """Check a package, upload it, and return the address of the commit.

    The repository and the branch are made if they do not exist. Files of the same names are replaced, others stay.

    Args:
        package: folder of the package, or the name of a pulled one.
        name: repository and branch.
        private: a new repository is visible to its owner alone.
        progress: show bars on stderr, if it is a terminal.

    Raises:
        PackageError: see `open_package`, or a file was altered.
        HubError: no access, or offline.
        TransferError: network or hub failed.
        MissingExtraError: huggingface_hub is not installed.
    """
    hub = client("push")
    opened = open_package(package)
    files = package_files(opened)
    opened.check_digests()
    if is_offline():
        raise HubError(f"{package} cannot be uploaded: HF_HUB_OFFLINE is set")
    with talking(str(name), progress=progress):
        api = hub.HfApi()
        api.create_repo(name.repository, private=private, exist_ok=True)
        if name.revision != "main":
            api.create_branch(name.repository, branch=name.revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=name.repository,
            folder_path=opened.path.resolve(),
            revision=name.revision,
            allow_patterns=[escape(file) for file in files],
            commit_message="Upload an ONNX package with triptych push",
        )
    address: str = commit.commit_url
    return address


def package_files(package: Package) -> list[str]:
    """Paths of a package's files, with its card and license; other files in its folder are left out.

    Raises:
        PackageError: the family is not supported, or a file of the manifest is missing.
    """
    names = [path.relative_to(package.path).as_posix() for path in package.path.rglob("*") if path.is_file()]
    if package.manifest.absent:
        return known_files(names, family_of(package))
    return listed_files(names, JsonObject.of(package.manifest.recorded, ""), str(package.given))
