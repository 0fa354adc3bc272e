"""Array types and growth."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I8 = npt.NDArray[np.int8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]

# Reassociation lets sums run in vector lanes; NaN and infinity keep their meaning (no "nnan").
FAST = {"reassoc", "contract", "nsz", "arcp"}

# Loops over items run to a multiple of this: lane-wise sums then do not depend on how many items
# happen to be interned yet, and learning in batches equals learning one by one, bit for bit.
LANES = 64


def padded(count: int) -> int:
    """The next multiple of LANES, at least one."""
    return max(1, -(-count // LANES)) * LANES


def grown(array: npt.NDArray[Any], size: int, axis: int = 0, fill: float = 0) -> npt.NDArray[Any]:
    """A copy with `size` entries along `axis`, the new ones set to `fill`."""
    shape = list(array.shape)
    shape[axis] = size
    larger = np.full(shape, fill, array.dtype) if fill else np.zeros(shape, array.dtype)
    old = [slice(None)] * array.ndim
    old[axis] = slice(0, array.shape[axis])
    larger[tuple(old)] = array
    return larger
