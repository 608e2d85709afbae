"""Writing of JSON files, and digests of files."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

FileRecord = dict[str, int | str]
"""`bytes` and `sha256` of a file, as manifests list them."""


def write_json(path: Path, value: object) -> None:
    """Write a JSON file; an existing one is replaced when the new one is whole."""
    written = path.with_name(f".{path.name}.partial")
    written.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    written.replace(path)


def describe_files(files: Iterable[Path], root: Path) -> dict[str, FileRecord]:
    """Path relative to `root` -> record of the file."""
    return {
        file.relative_to(root).as_posix(): {"bytes": file.stat().st_size, "sha256": sha256_of(file)} for file in files
    }


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
