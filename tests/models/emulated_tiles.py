"""AMX for a processor that has none: its eight tiles in memory, its instructions as functions.

What `tile_amx` writes can so be run, and held against fp32, wherever there are bf16 lanes. Not for
several threads: all share the tiles.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from models.tile_code import BYTE, INT, SHORT, WORDS, Code, Term
from models.tile_products import TILE

ROWS, PAIRS = 16, 16


def tile(code: Code, name: str, *arguments: Any) -> None:
    """Stands for `tile_amx._tile`."""
    if name == "tilezero":
        with code.loop(ROWS) as row:
            code.store(code.lanes(0.0), _place(code, arguments[0]) + row * 64)
    elif name in ("tileloadd64", "tilestored64"):
        held, apart = _place(code, arguments[0]), Term(code, arguments[2])
        memory = Term(code, code.builder.ptrtoint(arguments[1], INT))
        with code.loop(ROWS) as row:
            here, there = held + row * 64, memory + row * apart
            if name == "tileloadd64":
                code.store(code.load(there), here)
            else:
                code.store(code.load(here), there)
    elif name == "tdpbf16ps":
        code.run(_multiply(code.module), *(_place(code, each) for each in arguments))
    else:
        assert name in ("sttilecfg", "ldtilecfg")


def _place(code: Code, number: Any) -> Term:
    """Address of a tile."""
    held = code.module.globals.get("tiles")
    if held is None:
        kind = ir.ArrayType(BYTE, 8 * TILE)
        held = ir.GlobalVariable(code.module, kind, "tiles")
        held.linkage, held.initializer = "internal", ir.Constant(kind, None)
    return Term(code, code.builder.ptrtoint(held, INT)) + number.constant * TILE


def _multiply(module: Any) -> Code:
    """sums += left · right, pair by pair of the depth, as the processor does."""
    known = getattr(module, "multiply", None)
    if known is None:
        code = known = module.multiply = Code(module, "tdpbf16ps", 3)
        sums, left, right = code.arguments
        with code.loop(ROWS) as row:
            found = code.room_for(code.load(sums + row * 64))
            with code.loop(PAIRS) as pair:
                value = code.everywhere(code.load(left + row * 64 + pair * 4, SHORT))
                other = code.load(right + pair * 64, WORDS)
                found.set(code.pairs_multiplied(found.get(), value, other))
            code.store(found.get(), sums + row * 64)
        code.done()
    return known
