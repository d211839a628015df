"""What processors have and numba's language lacks: 64 bytes compared at once, sixteen sums at once, counting bits, and
looking ahead.

numba's own loops of unknown length add 32 numbers at a time and the rest one by one, which is all of a vector of 16.
The sums are those of a plain loop, number by number, and bytes are compared as by a loop, on every processor: what one
lacks is made of what it has.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

WIDTH = 16
"""Numbers that `add_sixteen` adds."""
BLOCK = 64
"""Bytes that `equal` and `between` look at."""

_BYTES, _PLACES = ir.VectorType(ir.IntType(8), BLOCK), ir.VectorType(ir.IntType(32), BLOCK)


def _block(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Bytes `data[at:at + 64]` of the first two arguments."""
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    place = builder.bitcast(builder.gep(array.data, [arguments[1]]), _BYTES.as_pointer())
    return builder.load(place, align=1)


def _everywhere(builder: Any, byte: Any) -> Any:
    """A byte, 64 times."""
    nothing = ir.Constant(_BYTES, ir.Undefined)
    first = builder.insert_element(nothing, byte, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(_PLACES, [0] * BLOCK))


def _equal(typing: Any, data: Any, at: Any, byte: Any) -> Any:
    """Which of `data[at:at + 64]` are a byte, as a bit each of a uint64; no bounds are checked."""

    def made(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        block = _block(context, builder, signature, arguments)
        same = builder.icmp_unsigned("==", block, _everywhere(builder, arguments[2]))
        return builder.bitcast(same, ir.IntType(BLOCK))

    return types.uint64(data, types.intp, types.uint8), made


def _between(typing: Any, data: Any, at: Any, first: Any, count: Any, ones: Any) -> Any:
    """Which of `data[at:at + 64]`, with the bits `ones` set, are one of `count` bytes from `first` on, as `equal`."""

    def made(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        block = _block(context, builder, signature, arguments)
        low, number, more = (_everywhere(builder, byte) for byte in arguments[2:])
        inside = builder.icmp_unsigned("<", builder.sub(builder.or_(block, more), low), number)
        return builder.bitcast(inside, ir.IntType(BLOCK))

    return types.uint64(data, types.intp, types.uint8, types.uint8, types.uint8), made


def _lowest_bit(typing: Any, bits: Any) -> Any:
    """The place of the lowest bit of a uint64 that is set; 64: none is."""

    def made(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), made


def _highest_bit(typing: Any, bits: Any) -> Any:
    """The place of the highest bit of a uint64 that is set; -1: none is."""

    def made(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        above = builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))
        return builder.sub(ir.Constant(ir.IntType(64), 63), above)

    return types.int64(types.uint64), made


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
    """How many bits of a uint64 are set."""

    def made(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), made


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
equal: Any = intrinsic(_equal)
"""`equal(data, at, byte)`, for compiled code."""
between: Any = intrinsic(_between)
"""`between(data, at, first, count, ones)`, for compiled code."""
lowest_bit: Any = intrinsic(_lowest_bit)
"""`lowest_bit(bits)`, for compiled code."""
highest_bit: Any = intrinsic(_highest_bit)
"""`highest_bit(bits)`, for compiled code."""
