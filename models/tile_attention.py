"""Attention of one text: scores and mixtures by small products, softmax in fp32 lanes.

Keys and values are laid out as tiles first: of a product's right side, two rows lie side by side.
Sixteen queries are one tile, and 32 wide, as a head is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

from models.tile_code import FLOAT, LANE, LANES, PAIRS, SHORT, WORDS, Code, Term
from models.tile_products import TILE, Sizes

HEAD = 32
LONGEST = 512  # tokens
SCRATCH = 128 * TILE
LOW = -1e30
SCALE = math.log2(math.e) / math.sqrt(HEAD)  # powers of two are quicker than of e
POWERS = [math.log(2) ** n / math.factorial(n) for n in range(6)]


def layout(module: Any, sizes: Sizes) -> Code:
    """Writes `layout`: 32 tokens' keys and values of a head, as two tiles each.

    Its arguments: addresses of the head's queries in qkv bf16 [tokens, 3 · width], of the keys and
    of the values.
    """
    code = Code(module, "layout", 3)
    query, keys, values = code.arguments
    stride = 6 * sizes.width
    with code.loop(2) as half:
        at = query + half * (16 * stride) + 2 * sizes.width
        rows = [code.load(at + row * stride, WORDS) for row in range(16)]
        for row, each in enumerate(_transposed(rows)):
            code.store(each, keys + half * TILE + row * 64)
    with code.loop(4) as four:
        for row in range(4):
            at = query + (four * 8 + 2 * row) * stride + 4 * sizes.width
            one, two = (code.load(at + odd * stride, PAIRS) for odd in range(2))
            for side in range(2):
                lanes = [side * 16 + lane // 2 + 32 * (lane % 2) for lane in range(32)]
                place = values + side * TILE + four * 256 + row * 64
                code.store(code.shuffled(one, two, lanes), place)
    code.done()
    return code


class _Text:
    """What both kinds of attention share."""

    def __init__(self, code: Code, sizes: Sizes, small: Code) -> None:
        self.code, self.width, self.small = code, sizes.width, small
        self.qkv, self.mixed, self.length, self.scratch = code.arguments
        self.stride = 6 * sizes.width
        self.numbers = Term(code, WORDS(list(range(LANES))))

    def places(self, *kibibytes: int) -> list[Term]:
        """Of the scratch, by kind of what is there."""
        return [self.scratch + TILE * each for each in kibibytes]

    def hiding(self, first: Term | int) -> Term:
        """What is added to the scores of sixteen keys from `first` on: what is no key hardly
        counts.
        """
        code, builder = self.code, self.code.builder
        left = code.everywhere(Term(code, builder.trunc((self.length - first).value, SHORT)))
        real = builder.icmp_signed("<", self.numbers.value, left.value)
        return Term(code, builder.select(real, LANE([0.0] * LANES), LANE([LOW] * LANES)))

    def score(self, query: Term, keys: Term, scores: Term, apart: Term) -> None:
        """Sixteen queries with 32 keys."""
        code = self.code
        stride, one = code.number(self.stride), code.number(1)
        code.run(self.small, query, stride, keys, one, scores, apart)

    def mix(self, pairs: Term, shares: Term, apart: Term, values: Term, found: Term) -> None:
        """Sixteen queries' shares times the values."""
        self.code.run(self.small, shares, apart, values, pairs, found, self.code.number(128))

    def write(self, found: Term, inverse: Term, place: Term) -> None:
        """A token's mixture of one head, divided by the sum of its powers."""
        code = self.code
        factor = code.everywhere(code.load(inverse, FLOAT))
        both = [code.load(found + half * 64) * factor for half in range(2)]
        code.store(code.halves(both[0], both[1]), place)


def short_attention(module: Any, sizes: Sizes, lay_out: Code, small: Code) -> Code:
    """Writes `short_attention`, as `attention`, for texts of up to 32 tokens.

    Some heads take each step together, so that none waits for the end of its own last one.
    """
    code = Code(module, "short_attention", 4)
    own = _Text(code, sizes, small)
    keys, values, scores, shares, sums, found, inverses, hiding = own.places(
        0, 8, 16, 32, 40, 48, 64, 65
    )
    for half in range(2):
        code.store(own.hiding(half * 16), hiding + half * 64)
    together = next(each for each in (4, 2, 1) if sizes.heads % each == 0)
    lots = (own.length + 15) / 16

    def scored(row: Term) -> list[Term]:
        return [
            code.load(scores + row * 128 + half * 64) + code.load(hiding + half * 64)
            for half in range(2)
        ]

    with code.loop(sizes.heads // together) as group:
        begins = group * (2 * HEAD * together)
        with code.loop(together) as head:
            query = own.qkv + begins + head * (2 * HEAD)
            code.run(lay_out, query, keys + head * (2 * TILE), values + head * (2 * TILE))
        with code.loop(together) as head, code.loop(lots) as lot:
            query = own.qkv + begins + head * (2 * HEAD) + lot * (16 * own.stride)
            to = scores + head * (4 * TILE) + lot * (2 * TILE)
            own.score(query, keys + head * (2 * TILE), to, code.number(128))
        with code.loop(together) as head, code.loop(lots) as lot:
            first = head * 32 + lot * 16
            _softmax(own, first, scored, shares, sums, inverses)
        with code.loop(together) as head, code.loop(lots) as lot:
            first = head * 32 + lot * 16
            one, apart = code.number(1), code.number(64)
            right, to = values + head * (2 * TILE), found + first * 128
            own.mix(one, shares + first * 64, apart, right, to)
        with code.loop(together) as head, code.loop(lots * 4) as four:
            for row in range(4):
                at = four * 4 + row
                place = own.mixed + at * (2 * sizes.width) + begins + head * (2 * HEAD)
                at = head * 32 + at
                own.write(found + at * 128, inverses + at * 4, place)
    code.done()
    return code


def _softmax(
    own: _Text,
    first: Term,
    scored: Callable[[Term], list[Term]],
    shares: Term,
    sums: Term,
    inverses: Term,
) -> None:
    """Sixteen rows' powers, and one over their sums: rows are folded together, not one by one."""
    code = own.code
    tops = [one.at_least(two) for one, two in (scored(first + row) for row in range(16))]
    code.store(_across(Term.at_least, tops) * -SCALE, inverses + first * 4)
    for row in range(16):
        at = first + row
        top = code.everywhere(code.load(inverses + at * 4, FLOAT))
        one, two = (power_of_two(each.times_plus(SCALE, top)) for each in scored(at))
        code.store(code.halves(one, two), shares + at * 64)
        code.store(one + two, sums + row * 64)
    total = _across(Term.__add__, [code.load(sums + row * 64) for row in range(16)])
    code.store(code.lanes(1.0) / total, inverses + first * 4)


def attention(module: Any, sizes: Sizes, lay_out: Code, small: Code) -> Code:
    """Writes `attention` of a text of up to 512 tokens.

    Its arguments: addresses of qkv bf16 [tokens, 3 · width] and mixed bf16 [tokens, width] at the
    text's first token, the length, and the address of scratch. Some rows after the text's own are
    read, and overwritten in `mixed`: go through the texts in their order.
    """
    code = Code(module, "attention", 4)
    own = _Text(code, sizes, small)
    keys, values, scores, shares, found, sums, inverses = own.places(0, 32, 64, 96, 112, 114, 115)
    pairs = (own.length + 31) / 32
    wide, narrow = pairs * 128, pairs * 64

    def top(row: Term) -> Term:
        line = scores + row * wide
        most = code.room_for(code.lanes(LOW))
        with code.loop(pairs * 2) as part:
            value = code.load(line + part * 64) + own.hiding(part * 16)
            code.store(value, line + part * 64)
            most.set(most.get().at_least(value))
        return most.get()

    def powers(row: Term) -> None:
        line = scores + row * wide
        most = code.everywhere(code.load(inverses + row * 4, FLOAT))
        total = code.room_for(code.lanes(0.0))
        with code.loop(pairs) as pair:
            at = line + pair * 128
            one, two = (
                power_of_two(code.load(at + half * 64).times_plus(SCALE, most)) for half in range(2)
            )
            total.set(total.get() + one + two)
            code.store(code.halves(one, two), shares + row * narrow + pair * 64)
        code.store(total.get(), sums + row * 64)

    with code.loop(sizes.heads) as head:
        query = own.qkv + head * (2 * HEAD)
        with code.loop(pairs) as pair:
            at = pair * (2 * TILE)
            code.run(lay_out, query + pair * (32 * own.stride), keys + at, values + at)
        with code.loop((own.length + 15) / 16) as lot:
            with code.loop(pairs) as pair:
                at = query + lot * (16 * own.stride)
                own.score(at, keys + pair * (2 * TILE), scores + pair * 128, wide)
            with code.loop(16) as row:
                code.store(top(row), sums + row * 64)
            tops = [code.load(sums + row * 64) for row in range(16)]
            code.store(_across(Term.at_least, tops) * -SCALE, inverses)
            with code.loop(16) as row:
                powers(row)
            totals = [code.load(sums + row * 64) for row in range(16)]
            code.store(code.lanes(1.0) / _across(Term.__add__, totals), inverses)
            own.mix(pairs, shares, narrow, values, found)
            place = own.mixed + lot * (32 * sizes.width) + head * (2 * HEAD)
            with code.loop(16) as row:
                own.write(found + row * 128, inverses + row * 4, place + row * (2 * sizes.width))
    code.done()
    return code


def power_of_two(x: Term) -> Term:
    """2^x for x ≤ 0, to a few millionths of it; 2^-126 below that."""
    code = x.code
    low = x.at_least(-126.0)
    rounded = code.call("llvm.nearbyint.v16f32", LANE, [low.value])
    rest = low - rounded
    total = rest.times_plus(POWERS[5], POWERS[4])
    for term in reversed(POWERS[:4]):
        total = total.times_plus(rest, term)
    exponent = code.builder.fptosi(rounded.value, WORDS)
    shifted = Term(code, code.builder.shl(exponent, WORDS([23] * LANES)))
    return code.as_type(code.as_type(total, WORDS) + shifted, LANE)


def _exchanged(one: Term, two: Term, size: int) -> tuple[Term, Term]:
    """Blocks of `size` lanes: of both the even ones, of both the odd ones."""
    low = [lane + 16 - size if lane & size else lane for lane in range(16)]
    high = [lane + 16 if lane & size else lane + size for lane in range(16)]
    return one.code.shuffled(one, two, low), one.code.shuffled(one, two, high)


def _transposed(rows: list[Term]) -> list[Term]:
    """Sixteen rows of sixteen as their columns."""
    rows = list(rows)
    for size in (8, 4, 2, 1):
        for at in range(16):
            if not at & size:
                rows[at], rows[at + size] = _exchanged(rows[at], rows[at + size], size)
    return rows


def _across(both: Callable[[Term, Term], Term], rows: list[Term]) -> Term:
    """Lane n: all lanes of row n, taken together by `both`."""

    def halved(rows: list[Term], size: int) -> list[Term]:
        half = len(rows) // 2
        pairs = zip(rows[:half], rows[half:], strict=True)
        return [both(*_exchanged(one, two, size)) for one, two in pairs]

    return reduce(halved, (8, 4, 2, 1), rows)[0]
