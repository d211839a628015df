"""Three things that processors have and numba's language lacks: sixteen sums at once, counting bits, looking ahead.

numba's own loops of unknown length add 32 numbers at a time and the rest one by one, which is all of a vector of 16.
The sums are those of a plain loop, number by number, on every processor.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

WIDTH = 16
"""Numbers that `add_sixteen` adds."""


def _add_sixteen(typing: Any, total: Any, at: Any, numbers: Any, first: Any) -> Any:
    """`total[at:at + 16] += numbers[first:first + 16]`, of two float32 arrays; no bounds are checked."""

    def made(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def place(argument: int) -> Any:
            array = context.make_array(signature.args[argument])(context, builder, arguments[argument])
            first = builder.gep(array.data, [arguments[argument + 1]], inbounds=True)
            return builder.bitcast(first, ir.VectorType(ir.FloatType(), WIDTH).as_pointer())

        to = place(0)
        builder.store(builder.fadd(builder.load(to, align=4), builder.load(place(2), align=4)), to, align=4)
        return context.get_dummy_value()

    return types.void(total, types.intp, numbers, types.intp), made


def _count_bits(typing: Any, bits: Any) -> Any:
    """How many bits of an int64 are set."""

    def made(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.int64), made


def _fetch(typing: Any, numbers: Any, first: Any) -> Any:
    """Ask for the cache line of `numbers[first]` of a float32 array, without waiting for it; changes nothing."""

    def made(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        name = "llvm.prefetch.p0"
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        builder.call(function, [place, number(0), number(3), number(1)])  # to read, to keep, data
        return context.get_dummy_value()

    return types.void(numbers, types.intp), made


fetch: Any = intrinsic(_fetch)
"""`fetch(numbers, first)`, for compiled code."""
add_sixteen: Any = intrinsic(_add_sixteen)
"""`add_sixteen(total, at, numbers, first)`, for compiled code."""
count_bits: Any = intrinsic(_count_bits)
"""`count_bits(bits)`, for compiled code."""
