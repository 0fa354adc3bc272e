"""Prefetch: ask for memory before it is needed, so that it comes while something else is done.

In a catalogue of 100,000 items what a list looks at lies outside the caches: a hundred nanoseconds
for whoever waits, next to nothing for whoever has asked in time. Nothing is read or changed here,
and an index may point anywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from online.arrays import F32
from online.kernels import leaf

LINE = 16  # float32 of a cache line


def _asking(closeness: int) -> Any:
    """A function for kernels that asks for a line into the first cache (3) or the second (2)."""

    def ask_for(typing: Any, array: Any, at: Any) -> Any:
        """Ask for the cache line of element `at` of a contiguous array, counted over its axes."""

        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = make_array(signature.args[0])(context, builder, args[0]).data
            offset = context.cast(builder, args[1], signature.args[1], types.intp)
            address = builder.bitcast(builder.gep(data, [offset]), cgutils.voidptr_t)
            word = ir.IntType(32)
            shape = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, word, word, word])
            ask = builder.module.declare_intrinsic("llvm.prefetch", [cgutils.voidptr_t], shape)
            builder.call(ask, [address, word(0), word(closeness), word(1)])  # to read, data
            return context.get_dummy_value()

        return types.void(array, at), code

    return intrinsic(ask_for)


prefetch = _asking(3)
prefetch_near = _asking(2)  # of much that is wanted soon, and would not fit into the first cache


@leaf()
def prefetch_row(rows: F32, row: int) -> None:
    """Ask for a row of float32[n, d]."""
    d = np.uint64(rows.shape[1])
    for c in range(np.uint64(0), d, np.uint64(LINE)):
        prefetch_near(rows, np.uint64(row) * d + c)
