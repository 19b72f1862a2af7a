"""Places of atoms from polynomials: the alternative to Gaussians."""

from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.atoms import _polynomial
from etcli.core.parallel import ordered_map

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]

OVERSAMPLING = 3
RADIUS, DECAY = 3, 9.0
"""Of the ball of interpolated voxels, and of their weight ``exp(-d²/9)``, in interpolated voxels."""
ORDER = 4
MOST_STEP, SMALL_STEP = 0.5, 0.1
"""Largest step along an axis, and steps that count as small, in interpolated voxels."""
SMALL_STEPS, MOST_STEPS = 7, 14
BATCH = 256


def polynomial_positions(
    volume: Array, place: Doubles, *, threads: int = 1
) -> tuple[Doubles, NDArray[np.bool_]]:
    """Find the maxima of fourth-order polynomials fitted to a volume.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
        Smoothed as the noise asks; atoms more than about a voxel wide.
    place : ndarray of shape (n, 3), float64
        x, y and z as indices, where to start.
    threads : int
        Threads to work on; the result does not depend on their number.

    Returns
    -------
    place : ndarray of shape (n, 3), float64
        Where the maxima are; those that were not found stay where they began.
    converged : ndarray of shape (n,), bool

    Notes
    -----
    The volume is interpolated with cubic splines at the points, three to a voxel, of a ball of radius 3 about
    the place, and all 35 coefficients of a polynomial are fitted with the weights ``exp(-d²/9)``. Newton's
    step ``-H⁻¹ g``, at most half a point along each axis, follows from its derivatives, where H is negative
    definite; after seven small steps in a row, of 14 at most, a place has converged. As the ball moves along,
    the least squares are the same sums everywhere. Neighbours are not taken off, so they draw the maxima, and
    splines draw them to voxels: by 0.03 voxel for atoms a voxel wide, by 0.01 for those half as wide again.

    References
    ----------
    Y. Yang et al., Nature 592, 60 (2021), doi:10.1038/s41586-021-03354-0, methods: tracing.
    """
    spline = ndimage.spline_filter(volume, 3, output=np.float32, mode="mirror")
    offsets, sums = _least_squares()
    found = np.ascontiguousarray(place, np.float64).copy()
    converged = np.zeros(len(found), bool)
    rules = float(OVERSAMPLING), MOST_STEP, SMALL_STEP, SMALL_STEPS, MOST_STEPS

    def work(start: int) -> None:
        part = slice(start, start + BATCH)
        _polynomial.newton(spline, found[part], offsets, sums, *rules, converged[part])

    for _ in ordered_map(work, range(0, len(found), BATCH), threads=threads):
        pass
    return found, converged


def _least_squares() -> tuple[Doubles, Doubles]:
    """Return the points of the ball, and what turns values there into the derivatives in the middle."""
    reach = np.arange(-RADIUS, RADIUS + 1.0)
    offsets = np.stack(np.meshgrid(reach, reach, reach, indexing="ij"), axis=-1).reshape(-1, 3)
    square = (offsets**2).sum(axis=1)
    offsets, square = offsets[square <= RADIUS**2], square[square <= RADIUS**2]
    powers = [power for power in product(range(ORDER + 1), repeat=3) if sum(power) <= ORDER]
    terms = np.stack([np.prod(offsets ** np.array(power), axis=1) for power in powers], axis=1)
    root = np.exp(-square / (2 * DECAY))
    coefficients = np.linalg.pinv(root[:, np.newaxis] * terms) * root
    wanted = [
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
        (2, 0, 0),
        (0, 2, 0),
        (0, 0, 2),
        (1, 1, 0),
        (1, 0, 1),
        (0, 1, 1),
    ]
    derivatives = coefficients[[powers.index(power) for power in wanted]]
    derivatives[3:6] *= 2
    return np.ascontiguousarray(offsets), np.ascontiguousarray(derivatives)
