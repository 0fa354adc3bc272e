"""A small assembler: whole numbers and sixteen lanes of fp32; compiled where it runs.

LLVM (of llvmlite, which numba brings) writes machine code for the processor it runs on. Addresses
are whole numbers.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from typing import Any

from llvmlite import binding, ir

from models.tile_cache import Kept

LANES = 16
INT, SHORT, BYTE = ir.IntType(64), ir.IntType(32), ir.IntType(8)
FLOAT = ir.FloatType()
LANE = ir.VectorType(FLOAT, LANES)
WORDS = ir.VectorType(SHORT, LANES)
BYTES = ir.VectorType(BYTE, LANES)
HALVES = ir.VectorType(ir.IntType(16), LANES)
PAIRS = ir.VectorType(ir.IntType(16), 2 * LANES)
FAST = ("reassoc", "contract", "nsz", "arcp")


class _Bf16(ir.Type):
    """LLVM's type, which llvmlite does not name."""

    def _to_string(self) -> str:
        return "bfloat"


BF16 = ir.VectorType(_Bf16(), 2 * LANES)


class Term:
    """A value in the code: `+`, `-`, `*` and `/` write the instruction for its type.

    In lanes, a number stands for itself in each of them.
    """

    def __init__(self, code: Code, value: Any) -> None:
        self.code, self.value = code, value

    def __add__(self, other: Term | float) -> Term:
        return self._write("add", "fadd", other)

    def __sub__(self, other: Term | float) -> Term:
        return self._write("sub", "fsub", other)

    def __mul__(self, other: Term | float) -> Term:
        return self._write("mul", "fmul", other)

    def __truediv__(self, other: Term | float) -> Term:
        return self._write("udiv", "fdiv", other)

    def times_plus(self, factor: Term | float, more: Term | float) -> Term:
        """self · factor + more, rounded once."""
        arguments = [self.value, self.like(factor), self.like(more)]
        return self.code.call("llvm.fma.v16f32", LANE, arguments)

    def at_most(self, other: Term | float) -> Term:
        """The lesser, lane by lane."""
        return self._chosen("<", other)

    def at_least(self, other: Term | float) -> Term:
        """The greater, lane by lane."""
        return self._chosen(">", other)

    def like(self, other: Term | float) -> Any:
        """LLVM's value of a term, or of a number as a constant of this term's type."""
        if isinstance(other, Term):
            return other.value
        kind = self.value.type
        return kind([other] * LANES) if isinstance(kind, ir.VectorType) else kind(other)

    def _write(self, whole: str, real: str, other: Term | float) -> Term:
        kind, builder = self.value.type, self.code.builder
        kind = kind.element if isinstance(kind, ir.VectorType) else kind
        if isinstance(kind, ir.IntType):
            return Term(self.code, getattr(builder, whole)(self.value, self.like(other)))
        return Term(self.code, getattr(builder, real)(self.value, self.like(other), flags=FAST))

    def _chosen(self, sign: str, other: Term | float) -> Term:
        # Not LLVM's own maximum, which takes four instructions to be exact about what is no number.
        builder, than = self.code.builder, self.like(other)
        first = builder.fcmp_ordered(sign, self.value, than)
        return Term(self.code, builder.select(first, self.value, than))


class Variable:
    """A place for a value, which LLVM keeps in a register."""

    def __init__(self, code: Code, initial: Term) -> None:
        self._code, self._kind = code, initial.value.type
        self._place = code.entry.alloca(self._kind)
        self.set(initial)

    def set(self, value: Term) -> None:
        """From here on."""
        self._code.builder.store(value.value, self._place)

    def get(self) -> Term:
        """What was set last."""
        return Term(self._code, self._code.builder.load(self._place, typ=self._kind))


class Code:
    """One function without a result, being written; `arguments` are whole numbers."""

    def __init__(self, module: Any, name: str, arguments: int) -> None:
        self.module = module
        kind = ir.FunctionType(ir.VoidType(), [INT] * arguments)
        self.function = ir.Function(module, kind, name)
        self.entry = ir.IRBuilder(self.function.append_basic_block())
        self._begins = self.function.append_basic_block()
        self.builder = ir.IRBuilder(self._begins)
        self.arguments = [Term(self, each) for each in self.function.args]

    def done(self) -> None:
        """The function ends here."""
        self.builder.ret_void()
        self.entry.branch(self._begins)

    def call(self, name: str, result: Any, arguments: list[Any], **how: Any) -> Term:
        """What LLVM's intrinsic of that name answers."""
        found = self.module.globals.get(name)
        if found is None:
            kind = ir.FunctionType(result, [each.type for each in arguments])
            found = ir.Function(self.module, kind, name)
        return Term(self, self.builder.call(found, arguments, **how))

    def run(self, code: Code, *arguments: Term) -> None:
        """Call another function of the module."""
        self.builder.call(code.function, [each.value for each in arguments])

    def number(self, value: int) -> Term:
        """A whole number."""
        return Term(self, INT(value))

    def lanes(self, value: float) -> Term:
        """A number in all sixteen lanes."""
        return Term(self, LANE([value] * LANES))

    def room_for(self, initial: Term) -> Variable:
        """A variable."""
        return Variable(self, initial)

    def lesser(self, one: Term, two: Term) -> Term:
        """Of two whole numbers."""
        first = self.builder.icmp_unsigned("<", one.value, two.value)
        return Term(self, self.builder.select(first, one.value, two.value))

    @contextlib.contextmanager
    def loop(self, count: Term | int) -> Iterator[Term]:
        """What is written inside runs `count` times, at least once, with 0, 1, … ."""
        builder = self.builder
        turn = Variable(self, self.number(0))
        body, after = (self.function.append_basic_block() for _ in range(2))
        builder.branch(body)
        builder.position_at_end(body)
        now = turn.get()
        yield now
        following = now + 1
        turn.set(following)
        again = builder.icmp_unsigned("<", following.value, following.like(count))
        builder.cbranch(again, body, after)
        builder.position_at_end(after)

    # Memory, at any address.

    def pointer(self, address: Term) -> Any:
        """An address as LLVM wants it."""
        return self.builder.inttoptr(address.value, ir.PointerType())

    def load(self, address: Term, kind: Any = LANE) -> Term:
        """What is there."""
        return Term(self, self.builder.load(self.pointer(address), typ=kind, align=1))

    def store(self, value: Term, address: Term) -> None:
        """Write it there."""
        self.builder.store(value.value, self.pointer(address), align=1)

    def prefetch(self, address: Term) -> None:
        """Let the line come into the second-level cache."""
        arguments = [self.pointer(address), SHORT(0), SHORT(2), SHORT(1)]
        self.call("llvm.prefetch.p0", ir.VoidType(), arguments)

    def room(self, size: int) -> Term:
        """Address of so many bytes that are this call's own."""
        held = self.entry.alloca(ir.ArrayType(BYTE, size))
        return Term(self, self.builder.ptrtoint(held, INT))

    # Lanes.

    def everywhere(self, value: Term) -> Term:
        """A value in all sixteen lanes."""
        nothing = ir.VectorType(value.value.type, LANES)(ir.Undefined)
        first = Term(self, self.builder.insert_element(nothing, value.value, SHORT(0)))
        return self.shuffled(first, first, [0] * LANES)

    def shuffled(self, left: Term, right: Term, places: list[int]) -> Term:
        """The lanes at `places` of both, the right one's counted on from the left one's."""
        mask = ir.Constant(ir.VectorType(SHORT, len(places)), places)
        return Term(self, self.builder.shuffle_vector(left.value, right.value, mask))

    def total(self, value: Term) -> Term:
        """The sum of all lanes, one number."""
        start = FLOAT(-0.0)
        arguments = [start, value.value]
        return self.call("llvm.vector.reduce.fadd.v16f32", FLOAT, arguments, fastmath=FAST)

    def as_type(self, value: Term, kind: Any) -> Term:
        """The same bits."""
        return Term(self, self.builder.bitcast(value.value, kind))

    def halves(self, first: Term, second: Term) -> Term:
        """Twice sixteen fp32 rounded to bf16, to even; as whole numbers of two bytes."""
        rounded = "llvm.x86.avx512bf16.cvtne2ps2bf16.512"
        return self.as_type(self.call(rounded, BF16, [second.value, first.value]), PAIRS)

    def whole(self, halves: Term) -> Term:
        """Sixteen bf16 as fp32."""
        wide = self.builder.zext(halves.value, WORDS)
        return self.as_type(Term(self, self.builder.shl(wide, WORDS([16] * LANES))), LANE)

    def real(self, value: Term) -> Term:
        """Sixteen whole numbers as fp32."""
        return Term(self, self.builder.sitofp(value.value, LANE))

    def last_bytes(self, value: Term) -> Term:
        """Of sixteen whole numbers."""
        return Term(self, self.builder.trunc(value.value, BYTES))

    def first(self, value: Term) -> Term:
        """Of the lanes."""
        return Term(self, self.builder.extract_element(value.value, SHORT(0)))

    def extreme(self, kind: str, value: Term) -> Term:
        """The least ("fmin") or greatest ("fmax") of all lanes."""
        flags = (*FAST, "nnan")
        return self.call(f"llvm.vector.reduce.{kind}.v16f32", FLOAT, [value.value], fastmath=flags)

    # Products of small numbers, summed.

    def fours_multiplied(self, sums: Term, left: Term, right: Term) -> Term:
        """sums + left · right: four bytes each in sixteen lanes, the right ones with a sign."""
        name = "llvm.x86.avx512.vpdpbusd.512"
        return self.call(name, WORDS, [sums.value, left.value, right.value])

    def pairs_multiplied(self, sums: Term, left: Term, right: Term) -> Term:
        """sums + left · right: two bf16 each in sixteen lanes."""
        given = [self.as_type(each, BF16).value for each in (left, right)]
        name = "llvm.x86.avx512bf16.dpbf16ps.512"
        return self.call(name, LANE, [sums.value, *given])


class Compiled:
    """Machine code of a module; it lives as long as this."""

    def __init__(self, module: Any) -> None:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        target = binding.Target.from_default_triple().create_target_machine(
            cpu=binding.get_host_cpu_name(),
            features=binding.get_host_cpu_features().flatten(),
            opt=2,
        )
        assembly = str(module)
        parsed, kept = binding.parse_assembly(assembly), Kept(assembly)
        if kept.found is None:
            passes = binding.create_pass_builder(target, binding.create_pipeline_tuning_options(1))
            passes.getModulePassManager().run(parsed, passes)
        self._engine = binding.create_mcjit_compiler(parsed, target)
        self._engine.set_object_cache(
            lambda _, code: kept.keep(code),
            lambda _: kept.found,
        )
        self._engine.finalize_object()

    def function(self, name: str, arguments: int) -> Callable[..., None]:
        """To be called with whole numbers; Python's lock is free meanwhile."""
        address = self._engine.get_function_address(name)
        return ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * arguments)(address)
