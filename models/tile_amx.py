"""Products on AMX. Blocks of 32 rows by panels of 32 columns are four tiles of sums.

A tile is 16 rows of 64 bytes: 16 · 32 bf16 to be multiplied, or 16 · 16 sums in fp32 (Intel 64 and
IA-32 Architectures Software Developer's Manual, volume 1, chapter 18). There are eight. What
follows a panel (bias, gelu, residual) is written between the multiplications of the next, which
leave the other units idle.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from llvmlite import ir

from models.tile_code import BYTE, INT, LANES, Code, Term
from models.tile_products import BLOCK, TILE, Sizes, Then, Unit, gelu, laid, normalised

AHEAD = 192 * TILE  # weights come from memory while so many before them are used


def product(module: Any, name: str, depth: int, columns: int, then: Then, sizes: Sizes) -> Code:
    """See `Unit`."""
    code = Code(module, name, 8)
    rows, weights, blocks, bias, out, gain, shift, copy = code.arguments
    size = 4 if then is Then.NORM else 2
    stride, wide = 2 * depth, columns * size
    scratch = code.room(BLOCK * BLOCK * 4)
    panels = columns // BLOCK

    def finish(panel: Term, biases: list[Term], row: Term) -> None:
        found = [
            code.load(scratch + row * 128 + half * 64) + each for half, each in enumerate(biases)
        ]
        place = target + panel * (BLOCK * size) + row * wide
        if then is Then.NORM:
            for half, each in enumerate(found):
                code.store(code.load(place + half * 64) + each, place + half * 64)
        else:
            done = [gelu(each) for each in found] if then is Then.GELU else found
            code.store(code.halves(done[0], done[1]), place)

    def biases(panel: Term) -> list[Term]:
        return [code.load(bias + panel * 128 + half * 64) for half in range(2)]

    with code.loop(blocks) as block:
        target = out + block * (BLOCK * wide)
        first = code.builder.icmp_unsigned("==", block.value, INT(0))
        left = rows + block * (BLOCK * stride)

        def sums(panel: Term, meanwhile: Callable[[Term], None] | None) -> None:
            right = weights + panel * (2 * TILE * (depth // BLOCK))
            _multiplied(code, left, right, depth, first, meanwhile)
            for tile in range(4):
                _store(code, tile, scratch + tile // 2 * 2_048 + tile % 2 * 64, 128)

        sums(code.number(0), None)
        with code.loop(panels - 1) as panel:
            sums(panel + 1, partial(finish, panel, biases(panel)))
        last = code.number(panels - 1)
        then_last = partial(finish, last, biases(last))
        with code.loop(BLOCK // 4) as four:
            for number in range(4):
                then_last(four * 4 + number)
        if then is Then.NORM:
            with code.loop(BLOCK) as row:
                line = target + row * wide
                parts = [code.load(line + place * 64) for place in range(columns // LANES)]
                copied = copy + (block * BLOCK + row) * (2 * columns)
                normalised(parts, line, copied, gain, shift, sizes.epsilon)
    code.done()
    return code


def _multiplied(
    code: Code,
    left: Term,
    right: Term,
    depth: int,
    first: Any,
    meanwhile: Callable[[Term], None] | None,
) -> None:
    """Four tiles of sums of 32 rows with 32 columns; `meanwhile` is written for each of 32 rows.

    Args:
        first: whether no rows came before these: then the weights are not yet in the cache.
    """
    stride, steps = 2 * depth, depth // BLOCK
    turns = next(each for each in (4, 2, 1) if steps % each == 0)
    each, rows = steps // turns, BLOCK // turns
    for tile in range(4):
        _zero(code, tile)
    with code.loop(turns) as turn:
        with code.builder.if_then(first), code.loop(4 * each) as some:
            at = right + turn * (2 * TILE * each) + some * 512 + AHEAD
            for line in range(8):
                code.prefetch(at + line * 64)
        for step in range(each):
            at = turn * each + step
            for half in range(2):
                _load(code, 4 + half, left + at * 64 + half * 16 * stride, stride)
                _load(code, 6 + half, right + at * (2 * TILE) + half * TILE, 64)
            for tile in range(4):
                _multiply(code, tile, 4 + tile // 2, 6 + tile % 2)
            if meanwhile is not None:
                for row in range(rows * step // each, rows * (step + 1) // each):
                    meanwhile(turn * rows + row)


def small(module: Any) -> Code:
    """See `Unit`."""
    code = Code(module, "small", 6)
    left, apart, right, pairs, sums, wide = code.arguments
    for half in range(2):
        _zero(code, half)
    with code.loop(pairs) as pair:
        _load(code, 4, left + pair * 64, apart)
        for half in range(2):
            _load(code, 5 + half, right + pair * (2 * TILE) + half * TILE, 64)
            _multiply(code, half, 4, 5 + half)
    for half in range(2):
        _store(code, half, sums + half * 64, wide)
    code.done()
    return code


@contextlib.contextmanager
def ready(code: Code, form: Term) -> Iterator[None]:
    """Others' code in this thread may have left the tiles in a form that it counts on."""
    before = code.room(64)
    _tile(code, "sttilecfg", code.pointer(before))
    _tile(code, "ldtilecfg", code.pointer(form))
    yield
    _tile(code, "ldtilecfg", code.pointer(before))


def _zero(code: Code, tile: int) -> None:
    _tile(code, "tilezero", BYTE(tile))


def _load(code: Code, tile: int, address: Term, apart: Term | int) -> None:
    """Rows lie `apart` bytes from each other."""
    _tile(code, "tileloadd64", BYTE(tile), code.pointer(address), address.like(apart))


def _store(code: Code, tile: int, address: Term, apart: Term | int) -> None:
    _tile(code, "tilestored64", BYTE(tile), code.pointer(address), address.like(apart))


def _multiply(code: Code, sums: int, left: int, right: int) -> None:
    """sums += left · right in bf16; the right one holds pairs of rows side by side."""
    _tile(code, "tdpbf16ps", BYTE(sums), BYTE(left), BYTE(right))


def _tile(code: Code, name: str, *arguments: Any) -> None:
    code.call(f"llvm.x86.{name}", ir.VoidType(), list(arguments))


AMX_UNIT = Unit(BLOCK, product, small, ready, laid)
