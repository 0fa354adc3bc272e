"""A product of many rows with one matrix on AMX, and what follows it while it is in the cache.

Blocks of 32 rows by panels of 32 columns are four tiles of sums. What follows a panel (bias, gelu,
residual) is written between the multiplications of the next, which leave the other units idle.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from functools import lru_cache, partial
from typing import Any

import numpy as np
from msgspec import Struct

from models.tile_code import FLOAT, INT, LANES, Code, Term

BLOCK = 32
TILE = 1_024  # bytes
AHEAD = 192 * TILE  # weights come from memory while so many before them are used
EDGE = 4.0  # where Φ is 1 to 3 in 100,000


class Then(Enum):
    """What follows a product and its bias.

    STORE: rounded to bf16. GELU: the same of x Φ(x). NORM: added to the fp32 rows that are there,
    then normalised; in fp32 to the same place, and in bf16 to another.
    """

    STORE = "store"
    GELU = "gelu"
    NORM = "norm"


class Sizes(Struct, frozen=True):
    """Of a BERT; `inner` is the feed-forward's width. Heads are 32 wide."""

    width: int
    inner: int
    heads: int
    epsilon: float


def product(module: Any, name: str, depth: int, columns: int, then: Then, sizes: Sizes) -> Code:
    """Writes `name`: out = rows · weights + bias.

    Its arguments, addresses but for the third: rows bf16 [32 · blocks, depth], weights as `laid`
    lays them, blocks, bias fp32 [columns], out bf16 (NORM: fp32) [32 · blocks, columns], and for
    NORM gain and bias fp32 [columns] and the bf16 copy; else anything.
    """
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
                code.tile_store(tile, scratch + tile // 2 * 2_048 + tile % 2 * 64, 128)

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
        code.tile_zero(tile)
    with code.loop(turns) as turn:
        with code.builder.if_then(first), code.loop(4 * each) as some:
            at = right + turn * (2 * TILE * each) + some * 512 + AHEAD
            for line in range(8):
                code.prefetch(at + line * 64)
        for step in range(each):
            at = turn * each + step
            for half in range(2):
                code.tile_load(4 + half, left + at * 64 + half * 16 * stride, stride)
                code.tile_load(6 + half, right + at * (2 * TILE) + half * TILE, 64)
            for tile in range(4):
                code.tile_multiply(tile, 4 + tile // 2, 6 + tile % 2)
            if meanwhile is not None:
                for row in range(rows * step // each, rows * (step + 1) // each):
                    meanwhile(turn * rows + row)


def normalised(
    parts: list[Term], row: Term, copy: Term, gain: Term, shift: Term, epsilon: float
) -> None:
    """Writes a row's layer normalisation, fp32 to `row` and bf16 to `copy`."""
    code, width = parts[0].code, len(parts) * LANES
    mean = code.everywhere(code.total(added(parts)) * (1 / width))
    parts = [each - mean for each in parts]
    variance = code.total(added([each * each for each in parts])) * (1 / width) + epsilon
    root = code.call("llvm.sqrt.f32", FLOAT, [variance.value])
    factor = code.everywhere(Term(code, FLOAT(1.0)) / root)
    parts = [
        (each * factor).times_plus(code.load(gain + at * 64), code.load(shift + at * 64))
        for at, each in enumerate(parts)
    ]
    for at, each in enumerate(parts):
        code.store(each, row + at * 64)
    for at in range(0, len(parts), 2):
        code.store(code.halves(parts[at], parts[at + 1]), copy + at * 32)


def added(parts: list[Term]) -> Term:
    """Their sum, by halves, so that no addition waits for all the others."""
    while len(parts) > 1:
        pairs = [one + two for one, two in zip(parts[::2], parts[1::2], strict=False)]
        parts = [*pairs, parts[-1]] if len(parts) % 2 else pairs
    return parts[0]


def gelu(x: Term) -> Term:
    """x Φ(x)."""
    near = x.at_least(-EDGE).at_most(EDGE)
    square = near * near
    *rest, last = terms_of_phi()
    total = square.times_plus(last, rest.pop())
    for term in reversed(rest):
        total = total.times_plus(square, term)
    half = x * 0.5
    return half.times_plus(total * near, half)


@lru_cache
def terms_of_phi() -> list[float]:
    """2 Φ(x) - 1 = x · P(x²): P's coefficients, lowest first, to a few millionths up to 4.

    Scaled to be 1 at 4, so that beyond, where x is taken for 4, nothing of a negative x is left.
    """
    x = np.cos(np.linspace(0, np.pi / 2, 2_000))[:-1] * EDGE
    exact = np.array([math.erf(each / math.sqrt(2)) for each in x]) / math.erf(EDGE / math.sqrt(2))
    domain = (0, EDGE**2)
    fitted = np.polynomial.Chebyshev.fit(x * x, exact / x, 9, domain=domain, w=x)
    return [float(each) for each in fitted.convert(kind=np.polynomial.Polynomial).coef]
