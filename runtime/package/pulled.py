"""Packages that were pulled from a hub: names, and records of where their files are.

A pulled package is a snapshot folder in the cache of the Hugging Face hub, used in place. Its record, a JSON file in
the user's cache folder, is written when all of its files are there and have their checksums. The record's time of
change is the package's last use.
"""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from ..errors import PackageError, system_reason
from .json_file import JsonObject
from .user_cache import user_cache

_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
_REVISION = re.compile(r"\w[\w./-]*", re.ASCII)
_MAIN = "main"
_LONGEST = 96  # characters of a name on the hub, and of a revision here
_MOST = 1 << 62  # bytes of a file


@dataclass(frozen=True)
class Name:
    """A repository of a hub at a revision: "owner/name", or "owner/name@revision" for another one than main."""

    repository: str
    revision: str = _MAIN

    @classmethod
    def parse(cls, text: str, revision: str | None = None) -> "Name | None":
        """The name that a text spells, None where it spells none.

        Args:
            text: "owner/name" or "owner/name@revision".
            revision: branch, tag or commit, where the text has none.
        """
        repository, at, own = text.partition("@")
        chosen = own if at else revision or _MAIN
        fits = _NAME.fullmatch(repository) and _REVISION.fullmatch(chosen)
        return cls(repository, chosen) if fits and max(len(repository), len(chosen)) <= _LONGEST else None

    def __str__(self) -> str:
        return self.repository if self.revision == _MAIN else f"{self.repository}@{self.revision}"


@dataclass(frozen=True)
class Pulled:
    """The record of a pulled package.

    Attributes:
        name: as it was requested.
        commit: 40 hexadecimal digits.
        folder: the snapshot, absolute.
        files: path relative to the folder -> bytes.
        links: folders that are links to the snapshot, made by request.
    """

    name: Name
    commit: str
    folder: Path
    files: Mapping[str, int] = field(default_factory=dict)
    links: tuple[Path, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes of the package's files; two names of one commit share them."""
        return sum(self.files.values())

    @property
    def last_use(self) -> float:
        """Seconds since 1970."""
        return _record_file(self.name).stat().st_mtime

    def used(self) -> None:
        """Note that the package is used now; without effect where the record cannot be changed."""
        with contextlib.suppress(OSError):
            os.utime(_record_file(self.name))

    def write(self) -> None:
        """Write the record, whole or not at all.

        A record of the same name and another commit is kept under the name of that commit.

        Raises:
            PackageError: the cache folder cannot be written.
        """
        before = read_record(self.name)
        try:
            if before is not None and before.commit != self.commit:
                earlier = replace(before, name=Name(self.name.repository, before.commit))
                _write(_record_file(earlier.name), earlier)
            _write(_record_file(self.name), self)
        except OSError as error:
            raise PackageError(f"{error.filename or user_cache()} cannot be written: {system_reason(error)}") from None

    def forget(self) -> None:
        """Delete the record, and the links that still lead to the snapshot."""
        for link in self.links:
            if link.is_symlink() and Path(os.readlink(link)) == self.folder:
                link.unlink()
        _record_file(self.name).unlink(missing_ok=True)


def read_record(name: Name) -> Pulled | None:
    """The record of exactly this name, None where there is none.

    Raises:
        PackageError: the record cannot be read.
    """
    file = _record_file(name)
    return _read(file) if file.is_file() else None


def records() -> list[Pulled]:
    """All records, in the order of their names.

    Raises:
        PackageError: a record cannot be read.
    """
    return sorted((_read(file) for file in _folder().glob("*.json")), key=lambda each: str(each.name))


def find(text: str) -> Pulled | None:
    """The pulled package of a name; a name without a revision is also that of an only other revision.

    Raises:
        PackageError: packages of several other revisions were pulled, or a record cannot be read.
    """
    name = Name.parse(text)
    if name is None:
        return None
    exact = read_record(name)
    if exact is not None or "@" in text:
        return exact
    others = [each for each in records() if each.name.repository == name.repository]
    if len(others) > 1:
        raise PackageError(f"{text} was pulled in several revisions: {', '.join(str(each.name) for each in others)}")
    return others[0] if others else None


def check_not_a_name(path: Path) -> None:
    """Refuse a path that looks like the name of a package: it is not a folder, and the owner's name is not one either.

    Raises:
        PackageError: says how it is downloaded.
    """
    if Name.parse(str(path)) is not None and not path.parent.is_dir():
        raise PackageError(f"{path} is neither a folder nor a pulled package; `triptych pull {path}` downloads it")


def _folder() -> Path:
    return user_cache() / "pulled"


def _record_file(name: Name) -> Path:
    return _folder() / f"{quote(f'{name.repository}@{name.revision}', safe='')}.json"


def _read(file: Path) -> Pulled:
    facts = JsonObject.read(file)
    sizes = facts.optional_object("files") or JsonObject({}, "")
    return Pulled(
        name=Name(facts.required("repository", str), facts.required("revision", str)),
        commit=facts.required("commit", str),
        folder=Path(facts.required("folder", str)),
        files={name: sizes.whole(name, 0, _MOST) for name in sizes},
        links=tuple(map(Path, facts.texts("links"))),
    )


def _write(file: Path, record: Pulled) -> None:
    facts = {
        **asdict(record.name),
        "commit": record.commit,
        "folder": str(record.folder),
        "files": dict(record.files),
        "links": [str(link) for link in record.links],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(dir=file.parent, suffix=".part")
    try:
        with os.fdopen(descriptor, "w") as stream:
            json.dump(facts, stream, indent=2)
        os.replace(partial, file)
    except OSError:
        os.unlink(partial)
        raise
