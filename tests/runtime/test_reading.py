"""Files that a user names: missing ones, folders, pipes, devices and large ones are one clear line."""

import os
from pathlib import Path

import pytest

from triptych.runtime.errors import ArgumentError, PackageError
from triptych.runtime.reading import read_file


def test_a_regular_file_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 10)
    (tmp_path / "link").symlink_to(file)
    assert read_file(file, 10) == read_file(tmp_path / "link", 10) == b"x" * 10


def test_anything_else_is_one_line_of_the_class_that_is_asked_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * 11)
    for path, reason in (
        (tmp_path / "missing", "does not exist"),
        (tmp_path, "is a folder; allowed: a regular file"),
        (tmp_path / "pipe", "is a pipe; allowed: a regular file"),
        (Path("/dev/zero"), "is a device or socket; allowed: a regular file"),
        (tmp_path / "large", "has 11 bytes; allowed: 10"),
        (tmp_path / "zero\0byte", "cannot be read: .*"),
        (tmp_path / ("x" * 300), "cannot be read: .*too long.*"),
    ):
        with pytest.raises(ArgumentError, match=f"^.*{reason}$"):
            read_file(path, 10)
        with pytest.raises(PackageError):
            read_file(path, 10, PackageError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch(mode=0)
    with pytest.raises(ArgumentError, match=r"cannot be read: .*Permission denied"):
        read_file(file, 10)
