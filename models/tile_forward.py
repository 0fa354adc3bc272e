"""BERT's forward pass for one core, as machine code: packed texts, one call for a batch.

Products in bf16, all sums, the residual, the normalisation and softmax in fp32. Tokens stand one
after another without padding; only attention knows where a text begins. The feed-forward's inner
values are kept for some rows at a time, which stay in the second-level cache.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from llvmlite import ir

from models.tile_attention import attention, layout, short_attention
from models.tile_code import FLOAT, HALVES, INT, LANES, Code, Compiled, Term
from models.tile_products import BLOCK, Sizes, Then, Unit, normalised

# What a call is told, in this order: counts, then addresses. Rows are tokens, padded to blocks.
CALL = (
    *("rows", "real", "texts", "layers", "chunk"),
    *("ids", "places", "starts", "lengths", "shares", "vectors"),
    *("form", "scratch", "sums", "hidden", "qkv", "mixed", "inner"),
    *("word", "position", "gain", "shift"),
)
# Of every layer, as the trunk's file names them.
LAYER = (
    *("qkv.weight", "qkv.bias"),
    *("attention.output.dense.weight", "attention.output.dense.bias"),
    *("attention.output.LayerNorm.weight", "attention.output.LayerNorm.bias"),
    *("intermediate.dense.weight", "intermediate.dense.bias"),
    *("output.dense.weight", "output.dense.bias"),
    *("output.LayerNorm.weight", "output.LayerNorm.bias"),
)


@lru_cache
def compiled(sizes: Sizes, unit: Unit) -> Compiled:
    """`forward`: its arguments are the addresses of `CALL` and of `LAYER` for every layer.

    `largest`: the feed-forward's first product alone, as `Unit` says, and the tiles' form.
    """
    module = ir.Module("tiles")
    layer, largest = _layer(module, sizes, unit)
    embed, pool = _embedding(module, sizes), _pooling(module, sizes)
    code = Code(module, "forward", 2)
    call, table = code.arguments
    told = _Told(code, call)
    with unit.ready(code, told["form"]):
        code.run(embed, call)
        with code.loop(told["layers"]) as number:
            code.run(layer, call, table + number * (8 * len(LAYER)))
        code.run(pool, call)
    code.done()
    code = Code(module, "largest", 9)
    *arguments, form = code.arguments
    with unit.ready(code, form):
        code.run(largest, *arguments)
    code.done()
    return Compiled(module)


class _Told:
    """What `CALL` says, by name."""

    def __init__(self, code: Code, call: Term) -> None:
        self._code, self._call = code, call

    def __getitem__(self, name: str) -> Term:
        return self._code.load(self._call + 8 * CALL.index(name), INT)


def _embedding(module: Any, sizes: Sizes) -> Code:
    code = Code(module, "embedding", 1)
    told, width = _Told(code, code.arguments[0]), sizes.width
    names = ("word", "position", "gain", "shift", "ids", "places", "sums", "hidden", "rows")
    word, position, gain, shift, ids, places, sums, hidden, rows = (told[name] for name in names)
    with code.loop(rows) as row:
        of_word = word + code.load(ids + row * 8, INT) * (2 * width)
        of_place = position + code.load(places + row * 8, INT) * (4 * width)
        parts = [
            code.whole(code.load(of_word + at * 32, HALVES)) + code.load(of_place + at * 64)
            for at in range(width // LANES)
        ]
        line, copy = sums + row * (4 * width), hidden + row * (2 * width)
        normalised(parts, line, copy, gain, shift, sizes.epsilon)
    code.done()
    return code


def _layer(module: Any, sizes: Sizes, unit: Unit) -> tuple[Code, Code]:
    width, inner = sizes.width, sizes.inner
    query_key_value = unit.product(module, "qkv", width, 3 * width, Then.STORE, sizes)
    mixed_out = unit.product(module, "out", width, width, Then.NORM, sizes)
    up = unit.product(module, "up", width, inner, Then.GELU, sizes)
    down = unit.product(module, "down", inner, width, Then.NORM, sizes)
    lay_out = layout(module, sizes)
    small = unit.small(module)
    short = short_attention(module, sizes, lay_out, small)
    long = attention(module, sizes, lay_out, small)
    code = Code(module, "layer", 2)
    told, table = _Told(code, code.arguments[0]), code.arguments[1]
    weights = [code.load(table + 8 * at, INT) for at in range(len(LAYER))]
    hidden, sums, none = told["hidden"], told["sums"], code.number(0)
    blocks = told["rows"] / unit.rows
    code.run(query_key_value, hidden, weights[0], blocks, weights[1], told["qkv"], none, none, none)
    with code.loop(told["texts"]) as text:
        start = code.load(told["starts"] + text * 8, INT)
        length = code.load(told["lengths"] + text * 8, INT)
        qkv, mixed = told["qkv"] + start * (6 * width), told["mixed"] + start * (2 * width)
        fits = code.builder.icmp_unsigned("<=", length.value, INT(BLOCK))
        with code.builder.if_else(fits) as (then, otherwise):
            with then:
                code.run(short, qkv, mixed, length, told["scratch"])
            with otherwise:
                code.run(long, qkv, mixed, length, told["scratch"])
    _clear(code, told["mixed"] + told["real"] * (2 * width), unit.rows * 2 * width)
    code.run(mixed_out, told["mixed"], weights[2], blocks, weights[3], sums, *weights[4:6], hidden)
    with code.loop((blocks + told["chunk"] - 1) / told["chunk"]) as chunk:
        first = chunk * told["chunk"]
        some = code.lesser(blocks - first, told["chunk"])
        at, to = hidden + first * (2 * unit.rows * width), sums + first * (4 * unit.rows * width)
        code.run(up, at, weights[6], some, weights[7], told["inner"], none, none, none)
        code.run(down, told["inner"], weights[8], some, weights[9], to, *weights[10:], at)
    code.done()
    return code, up


def _clear(code: Code, address: Term, size: int) -> None:
    """Zeros: rows that are no text's must hold numbers."""
    with code.loop(size // 64) as part:
        code.store(code.lanes(0.0), address + part * 64)


def _pooling(module: Any, sizes: Sizes) -> Code:
    """Each text's vector: its tokens' last hidden states by their shares."""
    code = Code(module, "pooling", 1)
    told, wide = _Told(code, code.arguments[0]), 4 * sizes.width
    names = ("starts", "lengths", "shares", "sums", "vectors", "texts")
    starts, lengths, shares, sums, vectors, texts = (told[name] for name in names)
    with code.loop(texts) as text, code.loop(sizes.width // LANES) as part:
        start, length = code.load(starts + text * 8, INT), code.load(lengths + text * 8, INT)
        total = code.room_for(code.lanes(0.0))
        with code.loop(length) as token:
            share = code.everywhere(code.load(shares + (start + token) * 4, FLOAT))
            value = code.load(sums + (start + token) * wide + part * 64)
            total.set(value.times_plus(share, total.get()))
        code.store(total.get(), vectors + text * wide + part * 64)
    code.done()
    return code
