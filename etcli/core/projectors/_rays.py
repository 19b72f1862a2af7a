"""Vector instructions of the oriented projector: trace 16 rays through a few planes of voxels.

Every row of a plane is interleaved with the next one, so that the four neighbours of a point are contiguous:
``(a, b)``, ``(a + 1, b)``, ``(a, b + 1)``, ``(a + 1, b + 1)``. One instruction loads them, another multiplies
them by their interpolation weights. A plane has a margin of zeros, and points outside are moved onto it, so
no ray has to check where the volume ends.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils

from etcli.core.projectors._simd import LANES, _broadcast, _element, _intrinsic, _load, _shift, _store

DEPTH = 8
"""Largest number of planes that are traced together."""
PAIR = 2
"""Rows that are interleaved."""

_NEAR = 2 * PAIR
_QUARTERS = tuple(tuple(range(q, LANES, _NEAR)) for q in range(_NEAR))
"""Rays whose neighbours fill one vector; far apart, because memory just written in parts is slow to load."""
_VECTORS = 5
"""Vectors tabulated for 16 points: their offsets, and the near and far weights of rows and of columns."""

_FRACTION_BITS = 26
_ONE = 1 << _FRACTION_BITS
_BEYOND = 1 << (31 - _FRACTION_BITS)
"""Limit of the positions, which are fixed-point numbers relative to the first one: in one coordinate,
neighbouring rays are at most √2 apart, and they move by at most 1 from plane to plane."""

_SHORT, _INT = ir.IntType(32), ir.IntType(64)
_FLOAT, _DOUBLE = ir.FloatType(), ir.DoubleType()
_SHORTS, _FLOATS = ir.VectorType(_SHORT, LANES), ir.VectorType(_FLOAT, LANES)
_DOUBLES, _FOUR = ir.VectorType(_DOUBLE, LANES), ir.VectorType(_FLOAT, _NEAR)


@_intrinsic
def trace(  # type: ignore[no-untyped-def]
    typing, planes, plane_pitch, row_pitch, n_planes, a, b, ray_a, ray_b, plane_a, plane_b, last_a, last_b,
    scale, pixels, pixel, transposed,
):  # fmt: skip
    """Add the sums along 16 rays, times ``scale``, to ``pixels[pixel:]``; or the transpose of this.

    Ray i crosses plane k at row ``a + i ray_a + k plane_a`` and column ``b + i ray_b + k plane_b``. Rows 0
    and ``last_a`` and columns 0 and ``last_b`` are zero; some of the rays pass between them. The transpose
    adds the pixels to the planes, including their margins.
    """
    signature = types.void(
        planes, *(types.int64,) * 3, *(types.float64,) * 6, *(types.int64,) * 2, types.float64, pixels,
        types.int64, transposed,
    )  # fmt: skip

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        origin = _element(context, builder, signature.args[0], args[0], _INT(0))
        group = _Group(origin, *args[1:12])
        target = _element(context, builder, signature.args[13], *args[13:15])
        scale = _broadcast(builder, builder.fptrunc(args[12], _FLOAT))
        if transposed.literal_value:
            _scatter(builder, group, builder.fmul(_load(builder, target), scale))
        else:
            total = builder.fmul(_gather(builder, group), scale)
            _store(builder, builder.fadd(_load(builder, target), total), target)
        return context.get_dummy_value()

    return signature, generate


class _Group(NamedTuple):
    """Arguments of `trace` that define where 16 rays cross the planes."""

    origin: Any
    plane_pitch: Any
    row_pitch: Any
    n_planes: Any
    a: Any
    b: Any
    ray_a: Any
    ray_b: Any
    plane_a: Any
    plane_b: Any
    last_a: Any
    last_b: Any


def _gather(builder: Any, group: _Group) -> Any:
    """Return the sum along every ray."""
    nothing = ir.Constant(_FLOATS, [0.0] * LANES)
    sums = [cgutils.alloca_once(builder, _FLOATS) for _ in _QUARTERS]
    for total in sums:
        builder.store(nothing, total)
    for total, weights, places in _crossings(builder, group, sums):
        four = [_four(builder, place) for place in places]
        lower, upper = (_shuffle(builder, four[n], four[n + 1], range(2 * _NEAR)) for n in (0, 2))
        values = _shuffle(builder, lower, upper, range(LANES))
        product = builder.fmul(values, weights, flags=("contract",))
        builder.store(builder.fadd(builder.load(total), product, flags=("contract",)), total)

    quarters = [builder.load(total) for total in sums]
    total = nothing
    for j in range(_NEAR):
        lanes = range(j, LANES, _NEAR)
        both = [*lanes, *(LANES + n for n in lanes)]
        lower, upper = (_shuffle(builder, quarters[q], quarters[q + 1], both) for q in (0, 2))
        in_order = [_NEAR * q + n for n in range(_NEAR) for q in range(_NEAR)]
        total = builder.fadd(total, _shuffle(builder, lower, upper, in_order))
    return total


def _scatter(builder: Any, group: _Group, values: Any) -> None:
    """Add a value to the planes along every ray."""
    spread = [
        _shuffle(builder, values, values, [i for i in lanes for _ in range(_NEAR)]) for lanes in _QUARTERS
    ]
    for value, weights, places in _crossings(builder, group, spread):
        product = builder.fmul(weights, value)
        for n, place in enumerate(places):
            part = _shuffle(builder, product, product, range(_NEAR * n, _NEAR * (n + 1)))
            _store(builder, builder.fadd(_four(builder, place), part), place)


def _crossings(builder: Any, group: _Group, quarters: list[Any]) -> Iterator[tuple[Any, Any, list[Any]]]:
    """Emit a loop over the planes; yield weights and addresses of the neighbours of four rays at a time."""
    rows = _Positions(builder, group.a, group.ray_a, group.plane_a, group.last_a)
    columns = _Positions(builder, group.b, group.ray_b, group.plane_b, group.last_b)
    pitch = _broadcast(builder, builder.trunc(group.row_pitch, _SHORT))
    # In memory: single numbers are loaded from the cache much faster than extracted from a vector.
    table = cgutils.alloca_once(builder, _FLOATS, size=_INT(_VECTORS * DEPTH))

    def entry(plane: Any, vector: int) -> Any:
        return _shift(builder, table, builder.mul(plane, _INT(_VECTORS)), vector)

    with cgutils.for_range(builder, group.n_planes, intp=_INT) as loop:
        row, near_a, far_a = rows.advance()
        column, near_b, far_b = columns.advance()
        place = builder.add(builder.mul(row, pitch), builder.mul(column, _shorts(PAIR)))
        for n, vector in enumerate((place, near_a, far_a, near_b, far_b)):
            _store(builder, vector, entry(loop.index, n))

    base = builder.add(builder.mul(rows.base, group.row_pitch), builder.mul(columns.base, _INT(PAIR)))
    with cgutils.for_range(builder, group.n_planes, intp=_INT) as loop:
        plane = _shift(builder, group.origin, base, builder.mul(loop.index, group.plane_pitch))
        near_a, far_a, near_b, far_b = (_load(builder, entry(loop.index, n)) for n in range(1, _VECTORS))
        moves = builder.bitcast(entry(loop.index, 0), _SHORT.as_pointer())
        for lanes, quarter in zip(_QUARTERS, quarters, strict=True):
            weights = builder.fmul(
                _shuffle(builder, near_a, far_a, [n for i in lanes for n in (i, i + LANES, i, i + LANES)]),
                _shuffle(builder, near_b, far_b, [n for i in lanes for n in (i, i, i + LANES, i + LANES)]),
            )
            offsets = [builder.sext(builder.load(_shift(builder, moves, lane)), _INT) for lane in lanes]
            yield quarter, weights, [_shift(builder, plane, offset) for offset in offsets]


class _Positions:
    """One coordinate of the points where 16 rays cross a plane."""

    def __init__(self, builder: Any, first: Any, ray_step: Any, plane_step: Any, last: Any) -> None:
        whole = builder.call(builder.module.declare_intrinsic("llvm.floor", [_DOUBLE]), [first])
        self.builder = builder
        self.base = builder.fptosi(whole, _INT)
        ramp = ir.Constant(_DOUBLES, [float(n * _ONE) for n in range(LANES)])
        ramp = builder.fptosi(builder.fmul(ramp, _broadcast(builder, ray_step)), _SHORTS)
        self.place = cgutils.alloca_once(builder, _SHORTS)
        builder.store(builder.add(self._fixed(builder.fsub(first, whole)), ramp), self.place)
        self.step = self._fixed(plane_step)
        low, high = builder.neg(self.base), builder.sub(last, self.base)
        self.low = self._bound(_chosen(builder, ">", low, _INT(-_BEYOND)))
        self.high = self._bound(_chosen(builder, "<", high, _INT(_BEYOND - 1)))

    def _fixed(self, number: Any) -> Any:
        """Return a vector with a fixed-point number in all lanes."""
        scaled = self.builder.fmul(number, _DOUBLE(_ONE))
        return _broadcast(self.builder, self.builder.fptosi(scaled, _SHORT))

    def _bound(self, whole: Any) -> Any:
        """Return a vector with an integer, as a fixed-point number, in all lanes."""
        short = self.builder.trunc(whole, _SHORT)
        return _broadcast(self.builder, self.builder.shl(short, _SHORT(_FRACTION_BITS)))

    def advance(self) -> tuple[Any, Any, Any]:
        """Return indices relative to ``base``, their weights and those of the next; go to the next plane."""
        builder = self.builder
        place = builder.load(self.place)
        builder.store(builder.add(place, self.step), self.place)
        place = _chosen(builder, ">", _chosen(builder, "<", place, self.high), self.low)
        fraction = builder.sitofp(builder.and_(place, _shorts(_ONE - 1)), _FLOATS)
        far = builder.fmul(fraction, ir.Constant(_FLOATS, [1 / _ONE] * LANES))
        near = builder.fsub(ir.Constant(_FLOATS, [1.0] * LANES), far)
        return builder.ashr(place, _shorts(_FRACTION_BITS)), near, far


def _chosen(builder: Any, comparison: str, a: Any, b: Any) -> Any:
    """Return the larger (">") or the smaller ("<") of two integers."""
    return builder.select(builder.icmp_signed(comparison, a, b), a, b)


def _shorts(value: int) -> Any:
    """Return a vector with an integer in all lanes."""
    return ir.Constant(_SHORTS, [value] * LANES)


def _four(builder: Any, place: Any) -> Any:
    """Return the vector of the four neighbours of a point, given its address."""
    return builder.load(builder.bitcast(place, _FOUR.as_pointer()), align=4)


def _shuffle(builder: Any, a: Any, b: Any, lanes: Sequence[int]) -> Any:
    """Return a vector of selected lanes of two vectors."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_SHORT, len(lanes)), list(lanes)))
