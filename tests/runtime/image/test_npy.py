"""Files of latents: every layout that numpy writes, and headers that lie."""

import io
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from triptych.runtime.errors import ArgumentError
from triptych.runtime.image.npy import read_latents

LATENTS = np.random.default_rng(0).standard_normal((2, 4, 6, 5))


def npy(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def headed(header: str, version: bytes = b"\1\0") -> bytes:
    return b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header.encode("latin-1")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float16", "<f4", ">f4", "float64", "longdouble"])
def test_latents_of_every_layout_are_float32(dtype: str, order: Any, tmp_path: Path) -> None:
    stored = np.asarray(LATENTS, dtype, order=order)
    np.save(tmp_path / "a.npy", stored)
    read = read_latents(tmp_path / "a.npy")
    assert read.dtype == np.float32
    assert read.flags.c_contiguous
    assert read.flags.writeable
    np.testing.assert_array_equal(read, stored.astype(np.float32))


@pytest.mark.filterwarnings("error")
def test_values_beyond_float32_are_infinite(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((1, 4, 2, 2), 1e300))
    assert np.isinf(read_latents(tmp_path / "a.npy")).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as a .npy file: "),
        (b"no array at all", "cannot be read as a .npy file: "),
        (npy(LATENTS)[:-3], "cannot be read as a .npy file: 1917 bytes after the header; allowed: 1920, for float64"),
        (npy(LATENTS) + b"x", "cannot be read as a .npy file: 1921 bytes after the header; allowed: 1920"),
        (npy(np.zeros((1, 4, 2, 2), int)), r"holds int64 \[1, 4, 2, 2\]; allowed: latents, floating point"),
        (npy(np.zeros((4, 2, 2))), r"holds float64 \[4, 2, 2\]; allowed: latents, floating point"),
        (npy(np.zeros((1, 1, 1, 1), complex)), r"holds complex128 "),
        (npy(np.array([{}]), allow_pickle=True), "cannot be read as a .npy file: it holds objects of Python"),
        (headed("{}", b"\3\0"), "cannot be read as a .npy file: the version of its format is unknown"),
        (headed("{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999, 4, 64, 64)}"), ".*: 0 bytes after"),
        (headed("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4, 64, 64)}"), r"holds float32 \[-1, 4"),
        (headed("{'descr': '<f4', 'fortran_order': False, 'shape': " + "(" * 5000), "cannot be read as a .npy file: "),
        (headed("[" * 60_000), "cannot be read as a .npy file: "),
    ],
)  # fmt: skip
def test_other_contents_are_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ArgumentError, match=rf"^[^\n]*a.npy {message}") as caught:
        read_latents(tmp_path / "a.npy")
    assert "\n" not in str(caught.value)


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npy")
    with pytest.raises(ArgumentError, match="npy is a pipe"):
        read_latents(tmp_path / "a.npy")


@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore:Reading `.npy`:UserWarning")
@given(changes=st.lists(st.tuples(st.integers(0, 140), st.integers(0, 255)), min_size=1, max_size=3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_altered_header_is_latents_or_an_argument_error(changes: list[tuple[int, int]], tmp_path: Path) -> None:
    content = bytearray(npy(LATENTS))
    for place, value in changes:
        content[place] = value
    (tmp_path / "a.npy").write_bytes(content)
    with suppress(ArgumentError):
        assert read_latents(tmp_path / "a.npy").ndim == 4
