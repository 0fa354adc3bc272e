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
        zeros = code.builder.ptrtoint(_global(code, "zeros", 64), INT)
        _move(code, Term(code, zeros), code.number(0), _place(code, arguments[0]), code.number(64))
    elif name in ("tileloadd64", "tilestored64"):
        held, apart = _place(code, arguments[0]), Term(code, arguments[2])
        memory = Term(code, code.builder.ptrtoint(arguments[1], INT))
        if name == "tileloadd64":
            _move(code, memory, apart, held, code.number(64))
        else:
            _move(code, held, code.number(64), memory, apart)
    elif name == "tdpbf16ps":
        code.run(_multiply(code.module), *(_place(code, each) for each in arguments))
    else:
        assert name in ("sttilecfg", "ldtilecfg")


def _place(code: Code, number: Any) -> Term:
    """Address of a tile."""
    held = _global(code, "tiles", 8 * TILE)
    return Term(code, code.builder.ptrtoint(held, INT)) + number.constant * TILE


def _global(code: Code, name: str, size: int) -> Any:
    """So many bytes of the module, zeros at first."""
    held = code.module.globals.get(name)
    if held is None:
        kind = ir.ArrayType(BYTE, size)
        held = ir.GlobalVariable(code.module, kind, name)
        held.linkage, held.initializer = "internal", ir.Constant(kind, None)
    return held


def _move(code: Code, there: Term, apart: Term, here: Term, wide: Term) -> None:
    """Sixteen rows of 64 bytes, from rows `apart` bytes from each other to rows `wide` bytes."""
    known = getattr(code.module, "move", None)
    if known is None:
        known = code.module.move = Code(code.module, "move", 4)
        source, source_step, target, target_step = known.arguments
        with known.loop(ROWS) as row:
            known.store(known.load(source + row * source_step), target + row * target_step)
        known.done()
    code.run(known, there, apart, here, wide)


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
