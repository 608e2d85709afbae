"""Files of numpy arrays, read without trust in their header."""

import math
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from ..errors import ArgumentError
from ..reading import read_file

MAX_BYTES = 1 << 28
"""Bytes of a file at most."""

_ALLOWED = "allowed: latents, floating point [n, C, h, w]"

_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
"""Version of the format -> reader of its header; later ones are for named fields, which no latents have."""


def read_latents(path: Path) -> np.ndarray:
    """Latents float32 [n, C, h, w] of a .npy file of any floating point type.

    Raises:
        ArgumentError: no such file, not a .npy file, a type or number of axes that is not allowed, or a length that is
            not that of its header.
    """
    content = read_file(path, MAX_BYTES)
    if content.startswith(b"PK"):
        raise ArgumentError(f"{path} holds several arrays; {_ALLOWED}")
    file = BytesIO(content)
    try:
        shape, is_fortran, dtype = _READERS[npy.read_magic(file)](file)
    except Exception as error:  # numpy evaluates the header as Python's literals, which raise errors of many classes
        reason = "the version of its format is unknown" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise ArgumentError(f"{path} cannot be read as a .npy file: {reason}; {_ALLOWED}") from None
    if dtype.hasobject:  # they are pickled, and to unpickle runs code of the file
        raise ArgumentError(f"{path} cannot be read as a .npy file: it holds objects of Python; {_ALLOWED}")
    if len(shape) != 4 or dtype.kind != "f" or min(shape) < 0:
        raise ArgumentError(f"{path} holds {dtype} {list(shape)}; {_ALLOWED}")
    count = math.prod(shape)
    if count * dtype.itemsize != len(content) - file.tell():
        raise ArgumentError(
            f"{path} cannot be read as a .npy file: {len(content) - file.tell()} bytes after the header; allowed: "
            f"{count * dtype.itemsize}, for {dtype} {list(shape)}"
        )
    values = np.frombuffer(content, dtype, count, file.tell())
    with np.errstate(over="ignore"):  # infinity is refused where latents are used
        return values.reshape(shape, order="F" if is_fortran else "C").astype(np.float32, order="C")
