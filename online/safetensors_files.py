"""The safetensors format: eight bytes of length, a JSON header, raw little-endian arrays.

The package `safetensors` reads these files. It makes one string of bytes of them with Python's lock
held, which would stop the event loop for as long as a large copy takes; here arrays are written,
and read, where they lie.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

HEADER = "springtide"
TYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"), "F64": np.dtype("<f8"), "U8": np.dtype("u1"), "U32": np.dtype("<u4"),
    "U64": np.dtype("<u8"), "I8": np.dtype("i1"), "I16": np.dtype("<i2"), "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"), "BOOL": np.dtype("?"), "U16": np.dtype("<u2"),
}  # fmt: skip
NAMES: dict[np.dtype[Any], str] = {dtype: name for name, dtype in TYPES.items()}


def encoded(arrays: Mapping[str, np.ndarray[Any, Any]], header: str) -> list[memoryview]:
    """The parts of a file, without a copy of the arrays.

    Raises:
        KeyError: an array has a type that the format has no name for.
    """
    # Wide entries first, so that every array is aligned.
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    table: dict[str, Any] = {"__metadata__": {HEADER: header}}
    parts, at = [], 0
    for name in order:
        array = np.ascontiguousarray(arrays[name])
        end = at + array.nbytes
        table[name] = {
            "dtype": NAMES[array.dtype], "shape": list(arrays[name].shape),
            "data_offsets": [at, end],
        }  # fmt: skip
        parts.append(array.reshape(-1).view(np.uint8).data)
        at = end
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return [memoryview(len(text).to_bytes(8, "little") + text), *parts]


def decoded(
    content: np.ndarray[Any, np.dtype[np.uint8]],
) -> tuple[str, dict[str, np.ndarray[Any, Any]]]:
    """Header and arrays, which are views of `content`."""
    begin = 8 + int.from_bytes(content[:8].tobytes(), "little")
    table = json.loads(content[8:begin].tobytes())
    header: str = table.pop("__metadata__", {}).get(HEADER, "{}")
    arrays = {}
    for name, entry in table.items():
        first, end = entry["data_offsets"]
        flat = content[begin + first : begin + end].view(TYPES[entry["dtype"]])
        arrays[name] = flat.reshape(entry["shape"])
    return header, arrays
