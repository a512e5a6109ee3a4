"""Just enough of the ONNX format to write a small network: five messages, two wire types.

onnxruntime reads ONNX but does not write it. A tiny model needs two such files, and this much of
the format costs less than a package that every user of ``model tiny`` would have to install.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

OPSET = 13
FLOAT, INT32, INT64 = 1, 6, 7
_TYPES = {np.dtype(np.float32): FLOAT, np.dtype(np.int32): INT32, np.dtype(np.int64): INT64}

Array = NDArray[np.float32] | NDArray[np.int32] | NDArray[np.int64]
Dims = Sequence[int | str]


@dataclass(frozen=True)
class Node:
    """One operator: names in, names out, integer attributes."""

    op: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, int | Sequence[int]] = field(default_factory=dict)


def model(
    nodes: Sequence[Node],
    constants: Mapping[str, Array],
    inputs: Mapping[str, tuple[int, Dims]],
    outputs: Mapping[str, tuple[int, Dims]],
) -> bytes:
    """The bytes of a file; ``inputs`` and ``outputs`` name a type and a shape each."""
    graph = b"".join(
        [
            *(_bytes(1, _node(node)) for node in nodes),
            _bytes(2, b"tiny"),
            *(_bytes(5, _tensor(name, value)) for name, value in constants.items()),
            *(_bytes(11, _value(name, *value)) for name, value in inputs.items()),
            *(_bytes(12, _value(name, *value)) for name, value in outputs.items()),
        ]
    )
    opset = _bytes(8, _bytes(1, b"") + _number(2, OPSET))
    return _number(1, 8) + _bytes(7, graph) + opset


def _node(node: Node) -> bytes:
    names = [_bytes(1, name.encode()) for name in node.inputs]
    names += [_bytes(2, name.encode()) for name in node.outputs]
    attributes = [_bytes(5, _attribute(k, v)) for k, v in node.attributes.items()]
    return b"".join([*names, _bytes(4, node.op.encode()), *attributes])


def _attribute(name: str, value: int | Sequence[int]) -> bytes:
    named = _bytes(1, name.encode())
    if isinstance(value, int):
        return named + _number(3, value) + _number(20, 2)
    return named + b"".join(_number(8, v) for v in value) + _number(20, 7)


def _tensor(name: str, value: Array) -> bytes:
    dims = b"".join(_number(1, size) for size in value.shape)
    kind = _number(2, _TYPES[value.dtype])
    return dims + kind + _bytes(8, name.encode()) + _bytes(9, np.ascontiguousarray(value).tobytes())


def _value(name: str, kind: int, dims: Dims) -> bytes:
    sizes = [
        _bytes(1, _number(1, d) if isinstance(d, int) else _bytes(2, d.encode())) for d in dims
    ]
    tensor = _number(1, kind) + _bytes(2, b"".join(sizes))
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, tensor))


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
