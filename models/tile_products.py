"""What every kind of product knows: sizes, what follows a product, and how a processor multiplies.

Products are of many rows with one matrix, by blocks of rows and panels of 32 columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.tile_code import FLOAT, LANES, Code, Term

if TYPE_CHECKING:
    import torch

BLOCK = 32
TILE = 1_024  # bytes: 16 rows of 32 bf16, or 16 sums in fp32
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


class Unit(NamedTuple):
    """How a processor multiplies.

    `rows`: that a product takes at a time.
    `product`: (module, name, depth, columns, what follows, sizes) → a function that computes
    rows · weights + bias. Its arguments, addresses but for the third: rows bf16 [blocks, rows,
    depth], weights as `laid` lays them, blocks, bias fp32 [columns], out bf16 (NORM: fp32)
    [blocks, rows, columns], and for NORM gain and shift fp32 [columns] and the bf16 copy; else
    anything.
    `small`: (module) → a function for sixteen rows and 32 columns. Its arguments: rows bf16, bytes
    from one to the next, the right side as pairs of tiles, how many pairs, sums fp32, bytes from
    one row of these to the next.
    `ready`: what must be done around all of it, with the address of the tiles' form.
    `laid`: a matrix [columns, depth] as `product` reads it.
    """

    rows: int
    product: Callable[[Any, str, int, int, Then, Sizes], Code]
    small: Callable[[Any], Code]
    ready: Callable[[Code, Term], AbstractContextManager[None]]
    laid: Callable[[torch.Tensor], NDArray[Any]]


def laid(weight: torch.Tensor) -> NDArray[Any]:
    """A matrix [columns, depth] in bf16 by panels of 32 columns, steps of 32 of the depth, and two
    tiles, in which two values of one column are side by side.
    """
    import torch

    columns, depth = weight.shape
    halves = weight.to(torch.bfloat16).contiguous().view(torch.int16).numpy()
    panels = halves.reshape(columns // BLOCK, 2, 16, depth // BLOCK, 16, 2)
    return np.ascontiguousarray(panels.transpose(0, 3, 1, 4, 2, 5))


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
