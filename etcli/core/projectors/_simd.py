"""Explicit vector instructions for numba kernels.

numba's own vectoriser must assume that input and output overlap and then does little; these two intrinsics
say what is meant: rows of neighbouring slices, a literal number of floats wide, aligned to nothing more than
a float.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
"""Floats of a vector: one AVX-512 register; LLVM splits it where registers are narrower."""

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_ALIGN = 4


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    """Return the address of an element of a contiguous array."""
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [offset])


def _lane(builder: Any, pointer: Any, lane: int) -> Any:
    """Return the address of a vector of a row."""
    element = builder.gep(pointer, [ir.Constant(ir.IntType(64), lane * LANES)])
    return builder.bitcast(element, _VECTOR.as_pointer())


def _broadcast(builder: Any, scalar: Any) -> Any:
    """Return a vector with the same value in all lanes."""
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    index = ir.IntType(32)
    first = builder.insert_element(undefined, scalar, ir.Constant(index, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(index, LANES), [0] * LANES))


@intrinsic(prefer_literal=True)
def add_rows(typing: Any, to: Any, at: Any, sources: Any, offsets: Any, weights: Any, width: Any) -> Any:
    """Add weighted rows to a row: ``to[at:] += sum_kj weights[k][j] * sources[k][offsets[k] + j * width:]``.

    ``to`` and the arrays of the tuple ``sources`` are flat float32, ``offsets`` a tuple of as many int64,
    ``weights`` a tuple of equal tuples of float32, ``width`` a literal multiple of ``LANES``.
    """
    n_sources, n_taps, n_floats = len(sources), len(weights[0]), width.literal_value
    signature = types.void(to, types.int64, sources, offsets, weights, width)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = _pointer(context, builder, to, args[0], args[1])
        terms = []
        for k in range(n_sources):
            array, offset, taps = (builder.extract_value(args[i], k) for i in (2, 3, 4))
            for j in range(n_taps):
                row = builder.add(offset, ir.Constant(ir.IntType(64), j * n_floats))
                pointer = _pointer(context, builder, sources[k], array, row)
                terms.append((pointer, _broadcast(builder, builder.extract_value(taps, j))))
        for lane in range(n_floats // LANES):
            address = _lane(builder, target, lane)
            total = builder.load(address, align=_ALIGN)
            for pointer, weight in terms:
                value = builder.load(_lane(builder, pointer, lane), align=_ALIGN)
                product = builder.fmul(value, weight, flags=("contract",))
                total = builder.fadd(total, product, flags=("contract",))
            builder.store(total, address, align=_ALIGN)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def copy(typing: Any, to: Any, at: Any, source: Any, offset: Any, count: Any) -> Any:
    """Copy floats between flat arrays: ``to[at:at + count] = source[offset:offset + count]``."""
    signature = types.void(to, types.int64, source, types.int64, types.int64)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = _pointer(context, builder, to, args[0], args[1])
        origin = _pointer(context, builder, source, args[2], args[3])
        cgutils.raw_memcpy(builder, target, origin, args[4], _ALIGN)
        return context.get_dummy_value()

    return signature, generate
