"""Explicit vector instructions for numba kernels.

numba's own vectoriser must assume that all arrays may overlap, and so vectorises little. The intrinsics of
this module emit vector code directly: vectors of 16 floats, which need only the alignment of a float. Arrays
are flat; integers that shape the code (``width``, ``taps``...) must be constants at compile time.

A table holds, for each of ``GROUP`` sources and ``length`` entries, the address of a row of floats and the
weights of this row and the ``taps - 1`` that follow it: ``addresses`` is (GROUP, length), ``weights`` is
(taps, GROUP, length).
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from etcli.core.projectors._footprints import FORMULAS, PARAMETERS

LANES = 16
"""Floats in a vector: one AVX-512 register. LLVM splits it where registers are narrower."""
GROUP = 4
"""Sources that are added in one step, to load and store the sum once for all of them."""

_FRACTION_BITS = 26
_ONE = 1 << _FRACTION_BITS
"""Positions in a tile are fixed-point numbers below 32, finer than a float32."""

_SHORT, _INT = ir.IntType(32), ir.IntType(64)
_FLOAT, _DOUBLE = ir.FloatType(), ir.DoubleType()
_SHORTS, _INTS = ir.VectorType(_SHORT, LANES), ir.VectorType(_INT, LANES)
_FLOATS, _DOUBLES = ir.VectorType(_FLOAT, LANES), ir.VectorType(_DOUBLE, LANES)


class _Vector:
    """Vector of floats in the generated code, with arithmetic; a plain number is used in all lanes."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder = builder
        self.value = value

    def _operand(self, other: Any) -> Any:
        return other.value if isinstance(other, _Vector) else ir.Constant(self.value.type, [other] * LANES)

    def _emit(self, operation: str, *operands: Any) -> "_Vector":
        return _Vector(self.builder, getattr(self.builder, operation)(*map(self._operand, operands)))

    def _choose(self, comparison: str, other: Any) -> "_Vector":
        left, right = self.value, self._operand(other)
        chosen = self.builder.select(self.builder.fcmp_ordered(comparison, left, right), left, right)
        return _Vector(self.builder, chosen)

    def __add__(self, other: Any) -> "_Vector":
        return self._emit("fadd", self, other)

    def __sub__(self, other: Any) -> "_Vector":
        return self._emit("fsub", self, other)

    def __rsub__(self, other: Any) -> "_Vector":
        return self._emit("fsub", other, self)

    def __mul__(self, other: Any) -> "_Vector":
        return self._emit("fmul", self, other)

    def __neg__(self) -> "_Vector":
        return self._emit("fneg", self)

    def __abs__(self) -> "_Vector":
        return self._call("llvm.fabs")

    def copysign(self, other: Any) -> "_Vector":
        """Return the magnitudes with the signs of another vector."""
        return self._call("llvm.copysign", other)

    def _call(self, name: str, *others: Any) -> "_Vector":
        kind = ir.FunctionType(_FLOATS, [_FLOATS] * (1 + len(others)))
        function = self.builder.module.declare_intrinsic(f"{name}.v{LANES}f32", fnty=kind)
        return _Vector(self.builder, self.builder.call(function, [self.value, *map(self._operand, others)]))

    def maximum(self, other: Any) -> "_Vector":
        """Return the larger in every lane."""
        return self._choose(">", other)

    def minimum(self, other: Any) -> "_Vector":
        """Return the smaller in every lane."""
        return self._choose("<", other)


def _intrinsic(function: Callable[..., Any]) -> Any:
    """Make a numba intrinsic of a function that returns a signature and a code generator."""
    return intrinsic(prefer_literal=True)(function)


def _element(context: Any, builder: Any, kind: Any, array: Any, *offsets: Any) -> Any:
    """Return a pointer to an element of a flat array; its index is the sum of the offsets."""
    return _shift(builder, context.make_array(kind)(context, builder, array).data, *offsets)


def _shift(builder: Any, pointer: Any, *offsets: Any) -> Any:
    """Return a pointer advanced by the sum of the offsets, in elements."""
    for offset in offsets:
        pointer = builder.gep(pointer, [_INT(offset) if isinstance(offset, int) else offset])
    return pointer


def _load(builder: Any, pointer: Any) -> Any:
    """Load the vector of floats at a pointer."""
    return builder.load(builder.bitcast(pointer, _FLOATS.as_pointer()), align=4)


def _store(builder: Any, vector: Any, pointer: Any) -> None:
    """Store a vector at a pointer."""
    builder.store(vector, builder.bitcast(pointer, vector.type.as_pointer()), align=4)


def _broadcast(builder: Any, scalar: Any) -> Any:
    """Return a vector with one value in all lanes."""
    nothing = ir.Constant(ir.VectorType(scalar.type, LANES), ir.Undefined)
    first = builder.insert_element(nothing, scalar, _SHORT(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(_SHORTS, [0] * LANES))


@_intrinsic
def tabulate(  # type: ignore[no-untyped-def]
    typing, addresses, weights, entry, position, step, base, parameters, view, formula, taps, width, length
):
    """Fill 16 entries of a table for the positions ``position + step * (0 ... 15)``; row 0 is at ``base``."""
    signature = types.void(
        addresses, weights, types.int64, types.float64, types.float64, types.int64, parameters, types.int64,
        formula, taps, width, length,
    )  # fmt: skip
    weigh, n_taps = FORMULAS[formula.literal_value], taps.literal_value
    n_bytes, n_entries = 4 * width.literal_value, GROUP * length.literal_value

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def element(n: int, *offsets: Any) -> Any:
            return _element(context, builder, signature.args[n], args[n], *offsets)

        def short(value: int) -> Any:
            return ir.Constant(_SHORTS, [value] * LANES)

        entry, position, step, base = args[2:6]
        row = builder.mul(args[7], _INT(PARAMETERS))
        shape = [builder.load(element(6, row, n)) for n in range(PARAMETERS)]
        start = builder.fmul(builder.fadd(position, shape[0]), _DOUBLE(_ONE))
        ramp = builder.fmul(
            ir.Constant(_DOUBLES, [n * _ONE for n in range(LANES)]), _broadcast(builder, step)
        )
        start, ramp = builder.fptosi(start, _SHORT), builder.fptosi(ramp, _SHORTS)
        place = builder.add(_broadcast(builder, start), ramp)

        first = builder.mul(builder.ashr(place, short(_FRACTION_BITS)), short(n_bytes))
        address = builder.add(builder.sext(first, _INTS), _broadcast(builder, base))
        _store(builder, address, element(0, entry))

        fraction = _Vector(builder, builder.sitofp(builder.and_(place, short(_ONE - 1)), _FLOATS))
        near, *shape = (_Vector(builder, _broadcast(builder, builder.fptrunc(p, _FLOAT))) for p in shape)
        for j, weight in enumerate(weigh(near - fraction * (1 / _ONE), n_taps, *shape)):
            _store(builder, weight.value, element(1, entry, j * n_entries))
        return context.get_dummy_value()

    return signature, generate


@_intrinsic
def add_rows(typing, target, at, addresses, weights, entry, sources, taps, width, length):  # type: ignore[no-untyped-def]
    """Add the rows of a table's entry for some sources, times their weights, to the row ``target[at:]``."""
    signature = types.void(target, types.int64, addresses, weights, types.int64, sources, taps, width, length)
    n_sources, n_taps, n_floats, n_entries = (kind.literal_value for kind in (sources, taps, width, length))

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def element(n: int, *offsets: Any) -> Any:
            return _element(context, builder, signature.args[n], args[n], *offsets)

        at, entry = args[1], args[4]
        terms = []
        for k in range(n_sources):
            row = builder.inttoptr(builder.load(element(2, entry, k * n_entries)), _FLOAT.as_pointer())
            for j in range(n_taps):
                weight = builder.load(element(3, entry, (j * GROUP + k) * n_entries))
                terms.append((_shift(builder, row, j * n_floats), _broadcast(builder, weight)))
        for lane in range(0, n_floats, LANES):
            total = _load(builder, element(0, at, lane))
            for row, weight in terms:
                value = _load(builder, _shift(builder, row, lane))
                product = builder.fmul(value, weight, flags=("contract",))
                total = builder.fadd(total, product, flags=("contract",))
            _store(builder, total, element(0, at, lane))
        return context.get_dummy_value()

    return signature, generate


@_intrinsic
def address(typing, array, offset):  # type: ignore[no-untyped-def]
    """Return the memory address of an element."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ptrtoint(_element(context, builder, signature.args[0], *args), _INT)

    return types.int64(array, types.int64), generate


@_intrinsic
def copy(typing, target, at, source, offset, count):  # type: ignore[no-untyped-def]
    """Copy floats: ``target[at:at + count] = source[offset:offset + count]``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to = _element(context, builder, signature.args[0], *args[:2])
        origin = _element(context, builder, signature.args[2], *args[2:4])
        cgutils.raw_memcpy(builder, to, origin, args[4], 4)
        return context.get_dummy_value()

    return types.void(target, types.int64, source, types.int64, types.int64), generate


@_intrinsic
def clear(typing, array, at, count):  # type: ignore[no-untyped-def]
    """Set floats to zero: ``array[at:at + count] = 0``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        start = _element(context, builder, signature.args[0], *args[:2])
        cgutils.memset(builder, start, builder.mul(args[2], _INT(4)), 0)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), generate


@_intrinsic
def transpose_block(typing, source, pitch, target, target_pitch):  # type: ignore[no-untyped-def]
    """Transpose 16 x 16 floats between two addresses; the pitches are bytes from row to row."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def row(start: Any, pitch: Any, n: int) -> Any:
            return builder.inttoptr(builder.add(start, builder.mul(pitch, _INT(n))), _FLOAT.as_pointer())

        def mix(lanes: list[int]) -> Any:
            return builder.shuffle_vector(upper, lower, ir.Constant(_SHORTS, lanes))

        rows = [_load(builder, row(args[0], args[1], n)) for n in range(LANES)]
        for size in (8, 4, 2, 1):  # exchange the off-diagonal quarters of ever smaller blocks
            for n in (n for n in range(LANES) if not n & size):
                upper, lower = rows[n], rows[n + size]
                rows[n] = mix([LANES + (i ^ size) if i & size else i for i in range(LANES)])
                rows[n + size] = mix([LANES + i if i & size else i ^ size for i in range(LANES)])
        for n, vector in enumerate(rows):
            _store(builder, vector, row(args[2], args[3], n))
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 4), generate
