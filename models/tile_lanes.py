"""Products on AVX-512: blocks of eight rows by panels of 32 columns, sums in registers.

Two multiply-adds of 32 pairs of bf16 begin in every cycle, if there are ten reads for sixteen of
them: of the weights by 32 columns, of a row's next two values into all lanes. 97 % of that rate was
measured on Zen 5, twice fp32's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

from models.tile_code import INT, LANES, SHORT, WORDS, Code, Term, Variable
from models.tile_products import BLOCK, TILE, Sizes, Then, Unit, gelu, laid, normalised

ROWS = 8
LOT = 32  # blocks: their rows stay in the second-level cache while all panels pass
AHEAD = 4  # blocks that each fetch their part of the next panel

Sums = list[list[Variable]]


class Kernel:
    """Eight rows by 32 columns in bf16, 32 of the depth at a time.

    `panel_bytes`: of a panel of weights; `step_bytes`: of these for 32 of the depth; `row_step`: of
    a row for as many.
    """

    step_bytes, row_step = 2 * TILE, 64

    def __init__(self, code: Code, depth: int) -> None:
        self.code, self.depth = code, depth
        self.panel_bytes = self.step_bytes * (depth // BLOCK)

    def prepare(self, rows: Term, count: Term) -> None:
        """Before the panels pass."""

    def zeros(self) -> Sums:
        """Sums of nothing."""
        code = self.code
        return [[code.room_for(code.lanes(0.0)) for _ in range(2)] for _ in range(ROWS)]

    def add(self, sums: Sums, left: Term, apart: Term, right: Term) -> None:
        """The next 32 of the depth; rows lie `apart` bytes from each other."""
        code = self.code
        for pair in range(16):
            tiles = [code.load(right + half * TILE + pair * 64, WORDS) for half in range(2)]
            for row, halves in enumerate(sums):
                value = code.everywhere(code.load(left + apart * row + pair * 4, SHORT))
                for half, tile in zip(halves, tiles, strict=True):
                    half.set(code.pairs_multiplied(half.get(), value, tile))

    def found(self, sums: Sums, rows: Term, panel: Term, biases: list[Term]) -> list[list[Term]]:
        """Of each row, in fp32: what was summed and the bias."""
        return [[a.get() + b for a, b in zip(each, biases, strict=True)] for each in sums]


def product(
    kind: type[Kernel],
    module: Any,
    name: str,
    depth: int,
    columns: int,
    then: Then,
    sizes: Sizes,
) -> Code:
    """See `Unit`."""
    code = Code(module, name, 8)
    kernel = kind(code, depth)
    rows, weights, blocks, bias, out, gain, shift, copy = code.arguments
    size = 4 if then is Then.NORM else 2
    stride, wide = code.number(2 * depth), columns * size
    with code.loop((blocks + LOT - 1) / LOT) as lot:
        some = code.lesser(blocks - lot * LOT, code.number(LOT))
        at = lot * (LOT * ROWS)
        kernel.prepare(rows + stride * at, some * ROWS)
        with code.loop(columns // BLOCK) as panel, code.loop(some) as block:
            first = at + block * ROWS
            left, right = rows + stride * first, weights + panel * kernel.panel_bytes
            sums = kernel.zeros()
            with code.loop(depth // BLOCK) as step:
                here = right + step * kernel.step_bytes
                _fetch(code, here + kernel.panel_bytes, kernel.step_bytes, block)
                kernel.add(sums, left + step * kernel.row_step, stride, here)
            biases = [code.load(bias + panel * 128 + half * 64) for half in range(2)]
            for row, each in enumerate(kernel.found(sums, left, right, biases)):
                _finish(code, each, out + (first + row) * wide + panel * (BLOCK * size), then)
        if then is Then.NORM:
            with code.loop(some * ROWS) as number:
                line = out + (at + number) * wide
                parts = [code.load(line + place * 64) for place in range(columns // LANES)]
                to = copy + (at + number) * (2 * columns)
                normalised(parts, line, to, gain, shift, sizes.epsilon)
    code.done()
    return code


def _finish(code: Code, found: list[Term], place: Term, then: Then) -> None:
    """Write one row's 32 columns as what follows wants them."""
    if then is Then.NORM:
        for half, each in enumerate(found):
            code.store(code.load(place + half * 64) + each, place + half * 64)
        return
    one, two = (gelu(each) for each in found) if then is Then.GELU else found
    code.store(code.halves(one, two), place)


def _fetch(code: Code, following: Term, size: int, block: Term) -> None:
    """The first blocks of a panel bring the next panel from memory, each a part of every step."""
    early = code.builder.icmp_unsigned("<", block.value, INT(AHEAD))
    with code.builder.if_then(early):
        for line in range(size // AHEAD // 64):
            code.prefetch(following + block * (size // AHEAD) + line * 64)


def small(module: Any) -> Code:
    """See `Unit`."""
    code = Code(module, "small", 6)
    kernel = Kernel(code, BLOCK)
    left, apart, right, pairs, found, wide = code.arguments
    with code.loop(16 // ROWS) as part:
        sums = kernel.zeros()
        with code.loop(pairs) as pair:
            at = left + part * ROWS * apart + pair * 64
            kernel.add(sums, at, apart, right + pair * (2 * TILE))
        for row, halves in enumerate(sums):
            place = found + (part * ROWS + row) * wide
            for half, each in enumerate(halves):
                code.store(each.get(), place + half * 64)
    code.done()
    return code


@contextlib.contextmanager
def ready(code: Code, form: Term) -> Iterator[None]:
    """Nothing: lanes have one form."""
    yield


LANE_UNIT = Unit(ROWS, partial(product, Kernel), small, ready, laid)
