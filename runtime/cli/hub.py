"""`triptych pull`, `list`, `remove` and `push`: packages that travel over the Hugging Face hub."""

import json
import time
from pathlib import Path
from typing import Any

import click

from ..errors import ArgumentError, PackageError, shown
from ..package.package import family_of, open_package
from ..package.pulled import Name, Pulled, records
from . import completion
from .columns import columns
from .flags import is_quiet
from .output import print_status

_PATH = click.Path(path_type=Path)
_UNKNOWN = "-"
_COMMIT = 12  # digits that are shown


def _name_of(text: str, revision: str | None = None) -> Name:
    name = Name.parse(text, revision)
    if name is None or (revision is not None and "@" in text):
        given = shown(text) if revision is None else f"{shown(text)} with --revision {shown(revision)}"
        raise ArgumentError(f"NAME {given}; allowed: owner/name, or owner/name@revision without --revision")
    return name


@click.command()
@click.argument("name")
@click.argument("package", type=_PATH, required=False)
@click.option("--revision", help="Branch, tag or commit; main if left out. owner/name@revision is the same.")
def pull(name: str, package: Path | None, revision: str | None) -> None:
    """Download an ONNX package from the Hugging Face hub.

    NAME is owner/name. Other commands then accept it instead of a folder. The files are stored in the hub's cache;
    PACKAGE, if given, becomes a link to them. Only files that the package needs and the cache lacks are downloaded.
    All files are compared with the hub's checksums.
    """
    from ..hub.pull import pull as run

    found = run(_name_of(name, revision), package, report=print_status, progress=not is_quiet())
    print_status(f"in {found.folder}")
    print(found.name if package is None else package)


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
def list_packages(as_json: bool) -> None:
    """List the pulled packages."""
    pulled = records()
    if as_json:
        print(json.dumps([_facts(record) for record in pulled], indent=2))
    elif pulled:
        print("\n".join(columns([_HEAD, *map(_row, pulled)])))
    else:
        print_status("no package has been pulled; triptych pull NAME")


_HEAD = ["name", "commit", "family", "precision", "operator set", "MB", "last use"]


def _facts(record: Pulled) -> dict[str, Any]:
    """A JSON object about a pulled package; `problem` says why it cannot be opened."""
    facts: dict[str, Any] = {
        "name": str(record.name),
        "revision": record.name.revision,
        "commit": record.commit,
        "folder": str(record.folder),
        "bytes": record.bytes,
        "last_use": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.last_use)),
    }
    try:
        package = open_package(record.folder)
        family = family_of(package).name
    except PackageError as error:
        return {**facts, "family": None, "precision": None, "dialect": None, "problem": str(error)}
    return {**facts, "family": family, "precision": package.manifest.precision, "dialect": package.manifest.dialect}


def _row(record: Pulled) -> list[str]:
    facts, what = _facts(record), ("family", "precision", "dialect")
    words = ["not whole", *[_UNKNOWN] * 2] if "problem" in facts else [facts[key] or _UNKNOWN for key in what]
    used = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.last_use))
    return [str(record.name), record.commit[:_COMMIT], *words, f"{record.bytes / 1e6:,.1f}", used]


@click.command()
@click.argument("name", shell_complete=completion.pulled)
def remove(name: str) -> None:
    """Delete a pulled package from this machine.

    Its files are deleted from the hub's cache, except those that other packages or revisions share. Files of the same
    repository that `triptych pull` did not download, and other repositories, are kept.
    """
    from ..hub.cache import remove as run

    record, freed = run(name)
    print(f"{record.name}: {freed / 1e6:,.1f} MB freed")


@click.command()
@click.argument("package", type=_PATH, shell_complete=completion.packages)
@click.argument("name")
@click.option("--private", is_flag=True, help="Make a new repository private.")
def push(package: Path, name: str, private: bool) -> None:
    """Upload PACKAGE and its card to the Hugging Face hub as NAME.

    NAME is owner/name, or owner/name@branch. Log in first, with `hf auth login` or the variable HF_TOKEN.
    """
    from ..hub.push import push as run
    from ..hub.selection import CARD

    if not (open_package(package).path / CARD).exists():
        print_status(f"{package} has no {CARD}: it is uploaded without a card")
    print(run(package, _name_of(name), private=private, progress=not is_quiet()))
