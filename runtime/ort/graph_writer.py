"""Small ONNX graphs, written without the onnx package: the few protobuf messages that they need.

Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto), the encoding that of
https://protobuf.dev/programming-guides/encoding.
"""

import struct
from collections.abc import Sequence

import numpy as np

OPSET = 17  # the last in which reductions have their axes as an attribute, which needs no constant on a device
_IR_VERSION = 8  # that of opset 17
DATA_TYPES = {
    "float32": 1,
    "uint8": 2,
    "int8": 3,
    "int32": 6,
    "int64": 7,
    "bool": 9,
    "float16": 10,
    "float64": 11,
}  # TensorProto.DataType
_FLOAT, _INT, _INTS = 1, 2, 7  # AttributeProto.AttributeType

Attribute = float | int | Sequence[int]


class GraphWriter:
    """A graph of standard operators, node by node, in the order in which they run."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes = b""
        self._constants = b""
        self._inputs = b""
        self._outputs = b""
        self._count = 0

    def input(self, name: str, dtype: np.dtype, shape: Sequence[int]) -> str:
        """Declare an input of the graph; gives its name."""
        self._inputs += _message(11, _value(name, dtype, shape))
        return name

    def output(self, name: str, dtype: np.dtype, shape: Sequence[int]) -> None:
        """Declare that the value of that name is an output of the graph."""
        self._outputs += _message(12, _value(name, dtype, shape))

    def constant(self, value: np.ndarray) -> str:
        """A constant tensor; gives its name."""
        name = self._fresh()
        dims = b"".join(_varint(1, size) for size in value.shape)
        tensor = dims + _varint(2, DATA_TYPES[value.dtype.name]) + _text(8, name) + _message(9, value.tobytes())
        self._constants += _message(5, tensor)
        return name

    def node(self, operator: str, *inputs: str, name: str | None = None, **attributes: Attribute) -> str:
        """Add a node with one output; returns the output's name, `name` if given."""
        output = self._fresh() if name is None else name
        self.nodes(operator, inputs, [output], **attributes)
        return output

    def nodes(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Attribute) -> None:
        """A node with several outputs, by name."""
        values = b"".join(_text(1, name) for name in inputs) + b"".join(_text(2, name) for name in outputs)
        fields = b"".join(_message(5, _attribute(name, value)) for name, value in attributes.items())
        self._nodes += _message(1, values + _text(4, operator) + fields)

    def to_bytes(self) -> bytes:
        """The model, as a .onnx file has it."""
        graph = self._nodes + _text(2, self._name) + self._constants + self._inputs + self._outputs
        return _varint(1, _IR_VERSION) + _message(7, graph) + _message(8, _varint(2, OPSET))

    def _fresh(self) -> str:
        self._count += 1
        return f"_{self._count}"


def _value(name: str, dtype: np.dtype, shape: Sequence[int]) -> bytes:
    """A ValueInfoProto."""
    dims = b"".join(_message(1, _varint(1, size)) for size in shape)
    tensor = _varint(1, DATA_TYPES[np.dtype(dtype).name]) + _message(2, dims)
    return _text(1, name) + _message(2, _message(1, tensor))


def _attribute(name: str, value: Attribute) -> bytes:
    """An AttributeProto."""
    if isinstance(value, float):
        return _text(1, name) + _key(2, 5) + struct.pack("<f", value) + _varint(20, _FLOAT)
    if isinstance(value, int):
        return _text(1, name) + _varint(3, value) + _varint(20, _INT)
    return _text(1, name) + b"".join(_varint(8, each) for each in value) + _varint(20, _INTS)


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())


def _message(field: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return _key(field, 2) + _base128(len(content)) + content


def _varint(field: int, value: int) -> bytes:
    """An integer field, signed ones as 64 bits of two's complement."""
    return _key(field, 0) + _base128(value % 2**64)


def _key(field: int, wire_type: int) -> bytes:
    return _base128(field << 3 | wire_type)


def _base128(value: int) -> bytes:
    """Seven bits a byte, the lowest first, the eighth bit on where more follow."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
