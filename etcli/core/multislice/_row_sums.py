"""Weighted sums of rows of an array, in vectors that stay in the processor's registers.

Plain loops store every partial sum and load it again, which takes twice the time.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_INDEX, _FLOAT, _COLUMN = ir.IntType(64), ir.FloatType(), ir.IntType(32)


def _row_sum(lanes: int, n_vectors: int) -> Any:
    """Create the function ``add(columns, weights, first, last, source, pitch, scale, target)``.

    It adds ``scale Σ weights[k] source[columns[k] pitch + j]``, with k from ``first`` to ``last``, to
    ``target[j]`` for ``lanes * n_vectors`` numbers j. Arrays are given by their addresses as int64.
    """

    @intrinsic
    def add(typing, columns, weights, first, last, source, pitch, scale, target):  # type: ignore[no-untyped-def]
        signature = types.void(*[types.int64] * 6, types.float32, types.int64)
        return signature, lambda context, builder, signature, args: _generate(
            context, builder, lanes, n_vectors, args
        )

    return add


def _generate(context: Any, builder: Any, lanes: int, n_vectors: int, args: Any) -> Any:
    """Generate the code of `_row_sum`."""
    columns, weights, first, last, source, pitch, scale, target = args
    vector = ir.VectorType(_FLOAT, lanes)
    undefined = ir.Constant(vector, ir.Undefined)

    def array(address: Any, kind: Any) -> Any:
        return builder.inttoptr(address, kind.as_pointer())

    def repeated(number: Any) -> Any:
        one = builder.insert_element(undefined, number, ir.Constant(_COLUMN, 0))
        lane_0 = ir.Constant(ir.VectorType(_COLUMN, lanes), [0] * lanes)
        return builder.shuffle_vector(one, undefined, lane_0)

    def place(row: Any, i: int) -> Any:
        start = builder.gep(row, [ir.Constant(_INDEX, lanes * i)])
        return builder.bitcast(start, vector.as_pointer())

    zero = ir.Constant(vector, [0.0] * lanes)
    sums = [cgutils.alloca_once(builder, vector) for _ in range(n_vectors)]
    for each in sums:
        builder.store(zero, each)
    with cgutils.for_range(builder, last, start=first) as loop:
        weight = repeated(builder.load(builder.gep(array(weights, _FLOAT), [loop.index])))
        column = builder.load(builder.gep(array(columns, _COLUMN), [loop.index]))
        row = builder.gep(array(source, _FLOAT), [builder.mul(builder.zext(column, _INDEX), pitch)])
        for i, each in enumerate(sums):
            product = builder.fmul(weight, builder.load(place(row, i), align=4))
            builder.store(builder.fadd(builder.load(each), product), each)
    out, factor = array(target, _FLOAT), repeated(scale)
    for i, each in enumerate(sums):
        product = builder.fmul(factor, builder.load(each))
        builder.store(builder.fadd(builder.load(place(out, i), align=4), product), place(out, i), align=4)
    return context.get_dummy_value()


add_64, add_32, add_8, add_1 = _row_sum(16, 4), _row_sum(16, 2), _row_sum(8, 1), _row_sum(1, 1)
"""Sums of as many numbers as the names say; each number gets the same digits from all of them."""
