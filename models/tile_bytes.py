"""Products in eight bits on AVX-512 with VNNI: twice as many multiply-adds a cycle as in bf16.

Weights are rounded per column, between equal limits; rows as they come, each between its own least
and greatest value, in place: a row of bf16 becomes as many bytes, its step and its zero. What is
between the products (attention, gelu, residual, normalisation) is as in bf16.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.tile_code import FLOAT, HALVES, LANES, SHORT, WORDS, Term
from models.tile_lanes import ROWS, Kernel, Sums, product, ready, small
from models.tile_products import BLOCK, Unit

if TYPE_CHECKING:
    import torch

STEPS = 254  # between a row's least and greatest value
LEAST = 1e-20  # a step
WHOLE = 1.5 * 2**23  # added to a number, it leaves the whole number next to it in the last bits
WHOLE_BITS = int(np.float32(WHOLE).view(np.int32))


class ByteKernel(Kernel):
    """In eight bits; after a panel's weights stand its columns' sums int32 and scales fp32."""

    step_bytes, row_step = BLOCK * BLOCK, BLOCK

    def __init__(self, code: Any, depth: int) -> None:
        super().__init__(code, depth)
        self.panel_bytes += 8 * BLOCK

    def prepare(self, rows: Term, count: Term) -> None:
        """Round the rows: bytes, then in the half that is left the step fp32 and the zero int32."""
        code, depth = self.code, self.depth

        def value(part: Term) -> Term:
            return code.whole(code.load(row + part * 32, HALVES))

        with code.loop(count) as number:
            row = rows + number * (2 * depth)
            least, most = (code.room_for(code.lanes(0.0)) for _ in range(2))
            with code.loop(depth // LANES) as part:
                least.set(least.get().at_most(value(part)))
                most.set(most.get().at_least(value(part)))
            low, high = code.extreme("fmin", least.get()), code.extreme("fmax", most.get())
            low, high = code.everywhere(low), code.everywhere(high)
            step = ((high - low) * (1 / STEPS)).at_least(LEAST)
            inverse = code.lanes(1.0) / step
            zero = low.times_plus(inverse * -1.0, WHOLE)
            with code.loop(depth // LANES) as part:
                rounded = value(part).times_plus(inverse, zero)
                code.store(code.last_bytes(code.as_type(rounded, WORDS)), row + part * LANES)
            code.store(code.first(step), row + depth)
            code.store(code.first(code.as_type(zero, WORDS) - WHOLE_BITS), row + (depth + 4))

    def zeros(self) -> Sums:
        """Sums of nothing."""
        code = self.code
        nothing = Term(code, WORDS([0] * LANES))
        return [[code.room_for(nothing) for _ in range(2)] for _ in range(ROWS)]

    def add(self, sums: Sums, left: Term, apart: Term, right: Term) -> None:
        """The next 32 of the depth; rows lie `apart` bytes from each other."""
        code = self.code
        for four in range(BLOCK // 4):
            tiles = [code.load(right + four * 128 + half * 64, WORDS) for half in range(2)]
            for row, halves in enumerate(sums):
                value = code.everywhere(code.load(left + apart * row + four * 4, SHORT))
                for half, tile in zip(halves, tiles, strict=True):
                    half.set(code.fours_multiplied(half.get(), value, tile))

    def found(self, sums: Sums, rows: Term, panel: Term, biases: list[Term]) -> list[list[Term]]:
        """(sum - zero · sum of the weights) · step · scale + bias of each row, in fp32."""
        code, after = self.code, panel + self.depth * BLOCK
        totals = [code.load(after + half * 64, WORDS) for half in range(2)]
        scales = [code.load(after + 128 + half * 64) for half in range(2)]
        found = []
        for number, halves in enumerate(sums):
            place = rows + number * (2 * self.depth) + self.depth
            step = code.everywhere(code.load(place, FLOAT))
            zero = code.everywhere(code.load(place + 4, SHORT))
            columns = zip(halves, totals, scales, biases, strict=True)
            found.append(
                [
                    code.real(each.get() - zero * total).times_plus(step * scale, bias)
                    for each, total, scale, bias in columns
                ]
            )
        return found


def laid(weight: torch.Tensor) -> NDArray[np.uint8]:
    """A matrix [columns, depth] by panels of 32 columns, four values of one column side by side."""
    whole = weight.float().numpy()
    columns, depth = whole.shape
    scale = np.maximum(np.abs(whole).max(1) / 127, LEAST).astype(np.float32)
    rounded = np.rint(whole / scale[:, None]).astype(np.int8)
    panels = rounded.reshape(columns // BLOCK, BLOCK, depth // 4, 4).transpose(0, 2, 1, 3)
    parts = [panels, rounded.sum(1, dtype=np.int32), scale]
    by_panel = [np.ascontiguousarray(each).reshape(len(panels), -1) for each in parts]
    return np.concatenate([each.view(np.uint8) for each in by_panel], axis=1)


BYTE_UNIT = Unit(ROWS, partial(product, ByteKernel), small, ready, laid)
