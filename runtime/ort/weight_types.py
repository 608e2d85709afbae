"""Types of a graph's weights, read from its file without loading it.

Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto), the encoding that of
https://protobuf.dev/programming-guides/encoding. Weights are skipped by their lengths.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

from .graph_writer import DATA_TYPES

_GRAPH, _INITIALIZER, _DATA_TYPE = 7, 5, 2  # of ModelProto, GraphProto, TensorProto
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_BFLOAT16 = 16  # TensorProto.DataType
_HALVES = {DATA_TYPES["float16"], _BFLOAT16}


def has_halves(path: Path) -> bool:
    """Whether a graph has weights in float16 or bfloat16; False for a file that cannot be read, or is not ONNX."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return not _HALVES.isdisjoint(_weight_types(data))
    except (OSError, IndexError, ValueError):
        return False


def _weight_types(data: mmap.mmap) -> Iterator[int]:
    for graph in _messages(data, 0, len(data), _GRAPH):
        for initializer in _messages(data, *graph, _INITIALIZER):
            for number, wire, value, _ in _fields(data, *initializer):
                if (number, wire) == (_DATA_TYPE, _VARINT):
                    yield value


def _messages(data: mmap.mmap, start: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
    """Start and end of each message in a field."""
    return ((first, last) for number, wire, first, last in _fields(data, start, end) if (number, wire) == (wanted, 2))


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Number, wire type, value or start, and end of each field of a message."""
    at = start
    while at < end:
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        value = at
        if wire == _VARINT:
            value, at = _varint(data, at)
        elif wire == _BYTES:
            length, value = _varint(data, at)
            at = value + length
        elif wire in (_FIXED32, _FIXED64):
            at += 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire}")
        yield number, wire, value, at


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first, and the place after it."""
    value = 0
    for shift in range(0, 64, 7):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than 64 bits")
