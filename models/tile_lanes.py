"""Products in bf16 on AVX-512: blocks of eight rows by panels of 32 columns, sums in registers.

Two multiply-adds of 32 pairs begin in every cycle, if there are ten reads for sixteen of them: of
the weights by 32 columns, of a row's next two values into all lanes. 97 % of that rate was measured
on Zen 5, twice fp32's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from models.tile_code import INT, LANES, SHORT, WORDS, Code, Term, Variable
from models.tile_products import BLOCK, TILE, Sizes, Then, Unit, gelu, laid, normalised

ROWS = 8
LOT = 32  # blocks: their rows stay in the second-level cache while all panels pass
AHEAD = 4  # blocks that each fetch their part of the next panel

Sums = list[list[Variable]]


def product(module: Any, name: str, depth: int, columns: int, then: Then, sizes: Sizes) -> Code:
    """See `Unit`."""
    code = Code(module, name, 8)
    rows, weights, blocks, bias, out, gain, shift, copy = code.arguments
    size = 4 if then is Then.NORM else 2
    wide, panel_bytes = columns * size, BLOCK * 2 * depth
    with code.loop((blocks + LOT - 1) / LOT) as lot:
        some = code.lesser(blocks - lot * LOT, code.number(LOT))
        at = lot * (LOT * ROWS)
        with code.loop(columns // BLOCK) as panel, code.loop(some) as block:
            first = at + block * ROWS
            right = weights + panel * panel_bytes
            sums = _zeros(code)
            with code.loop(depth // BLOCK) as step:
                _fetch(code, right + panel_bytes + step * (2 * TILE), block)
                left = rows + first * (2 * depth) + step * 64
                _add(code, sums, left, code.number(2 * depth), right + step * (2 * TILE))
            biases = [code.load(bias + panel * 128 + half * 64) for half in range(2)]
            for number, halves in enumerate(sums):
                found = [each.get() + more for each, more in zip(halves, biases, strict=True)]
                place = out + (first + number) * wide + panel * (BLOCK * size)
                finish(code, found, place, then)
        if then is Then.NORM:
            with code.loop(some * ROWS) as row:
                line = out + (at + row) * wide
                parts = [code.load(line + place * 64) for place in range(columns // LANES)]
                to = copy + (at + row) * (2 * columns)
                normalised(parts, line, to, gain, shift, sizes.epsilon)
    code.done()
    return code


def finish(code: Code, found: list[Term], place: Term, then: Then) -> None:
    """Write one row's 32 columns, with their bias, as what follows wants them."""
    if then is Then.NORM:
        for half, each in enumerate(found):
            code.store(code.load(place + half * 64) + each, place + half * 64)
        return
    one, two = (gelu(each) for each in found) if then is Then.GELU else found
    code.store(code.halves(one, two), place)


def _fetch(code: Code, following: Term, block: Term) -> None:
    """The first blocks of a panel bring the next panel from memory, each a part of every step."""
    early = code.builder.icmp_unsigned("<", block.value, INT(AHEAD))
    with code.builder.if_then(early):
        part = 2 * TILE // AHEAD
        for line in range(part // 64):
            code.prefetch(following + block * part + line * 64)


def _zeros(code: Code) -> Sums:
    return [[code.room_for(code.lanes(0.0)) for _ in range(2)] for _ in range(ROWS)]


def _add(code: Code, sums: Sums, left: Term, apart: Term, right: Term) -> None:
    """Eight rows' next 32 values times two tiles."""
    for pair in range(16):
        tiles = [code.load(right + half * TILE + pair * 64, WORDS) for half in range(2)]
        for row, halves in enumerate(sums):
            value = code.everywhere(code.load(left + apart * row + pair * 4, SHORT))
            for half, tile in zip(halves, tiles, strict=True):
                half.set(code.pairs_multiplied(half.get(), value, tile))


def small(module: Any) -> Code:
    """See `Unit`."""
    code = Code(module, "small", 6)
    left, apart, right, pairs, found, wide = code.arguments
    with code.loop(16 // ROWS) as part:
        sums = _zeros(code)
        with code.loop(pairs) as pair:
            at = left + part * ROWS * apart + pair * 64
            _add(code, sums, at, apart, right + pair * (2 * TILE))
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


LANE_UNIT = Unit(ROWS, product, small, ready, laid)
