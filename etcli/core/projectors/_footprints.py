"""Weight formulas of the slab projector, written once and compiled into all of its kernels.

A formula takes the distance of the first of ``n`` neighbours from a position, in units of their spacing, and
returns the weights of all of them. In a projection, the position is that of a ray on a line of voxels; in a
back-projection, that of a voxel on the detector. Its arguments are vectors of the generated code: the
distance, and the parameters of a view except the first. The first parameter, ``near``, selects the first
neighbour that can have a weight: the one at the integer part of ``position + near``.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

HAT, AREA, SHARES = 0, 1, 2
"""Indices of the formulas in FORMULAS and TAPS."""
TAPS = (2, 4, 3)
"""Largest number of neighbours that have a weight, for each formula."""
PARAMETERS = 6
"""Number of parameters that describe a footprint in one view."""

Doubles = NDArray[np.float64]


def hat_parameters(reach: Doubles, scale: Doubles) -> Doubles:
    """Return the parameters of ``scale max(0, 1 - |distance| / reach)``, one row per view; reach <= 1."""
    zero = np.zeros_like(reach)
    return np.stack([1 - reach, 1 / reach, scale, zero, zero, zero], axis=1)


def area_parameters(cos: Doubles, sin: Doubles, spacing: Doubles) -> Doubles:
    """Return the parameters of the strip, one row per view; ``spacing`` of the neighbours is in pixels.

    The projection of a voxel is a trapezoid of unit area, the convolution of two boxes of widths |cos θ| and
    |sin θ|: it is constant up to the distance ``flat`` from its centre and zero beyond ``half``.
    """
    long, short = np.maximum(abs(cos), abs(sin)), np.minimum(abs(cos), abs(sin))
    flat, half = (long - short) / 2, (long + short) / 2
    bend = np.zeros_like(long)
    np.divide(0.5, long * short, out=bend, where=short > 1e-7)  # narrower slopes are steps in float32
    return np.stack([1 - (0.5 + half) / spacing, spacing, 1 / long, half, flat, bend], axis=1)


def _hat(distance: Any, n: int, slope: Any, scale: Any, *_: Any) -> list[Any]:
    """Return the weights of linear interpolation."""
    return [(1.0 - abs(distance + float(j)) * slope).maximum(0.0) * scale for j in range(n)]


def _area(distance: Any, n: int, spacing: Any, *shadow: Any) -> list[Any]:
    """Return the area of each neighbouring voxel that lies in a strip of unit width."""
    centres = [abs(distance + float(j)) * spacing for j in range(n)]
    return [_integral(u + 0.5, *shadow) - _integral(u - 0.5, *shadow) for u in centres]


def _shares(distance: Any, n: int, _: Any, *shadow: Any) -> list[Any]:
    """Return the fraction of a voxel that falls on each neighbouring pixel; the fractions add up to 1."""
    edges = [_integral(distance + (j + 0.5), *shadow) for j in range(n - 1)]
    return [upper - lower for lower, upper in zip([-0.5, *edges], [*edges, 0.5], strict=True)]


def _integral(u: Any, height: Any, half: Any, flat: Any, bend: Any) -> Any:
    """Return the integral of the trapezoid from its centre to u."""
    end = abs(u).minimum(half)
    slope = (end - flat).maximum(0.0)
    return (end * height - slope * slope * bend).copysign(u)


FORMULAS = (_hat, _area, _shares)
