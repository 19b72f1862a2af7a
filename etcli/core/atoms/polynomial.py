"""Positions of atoms from fitted polynomials, as an alternative to Gaussians."""

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
"""Radius of the ball, and decay of the weight ``exp(-d²/9)`` in it, in interpolated voxels."""
ORDER = 4
MOST_STEP, SMALL_STEP = 0.5, 0.1
"""Largest step along an axis, and largest step that counts as small, in interpolated voxels."""
SMALL_STEPS, MOST_STEPS = 7, 14
BATCH = 256


def polynomial_positions(
    volume: Array, place: Doubles, *, threads: int = 1
) -> tuple[Doubles, NDArray[np.bool_]]:
    """Find the maxima of fourth-order polynomials fitted to a volume.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
        Smoothed according to the noise; atoms should be more than about a voxel wide.
    place : ndarray of shape (n, 3), float64
        Initial places: x, y and z as indices.
    threads : int
        Number of threads; the result does not depend on it.

    Returns
    -------
    place : ndarray of shape (n, 3), float64
        Places of the maxima; those that were not found keep their initial place.
    converged : ndarray of shape (n,), bool

    Notes
    -----
    The volume is interpolated with cubic splines at the points, three per voxel, of a ball of radius 3 around
    the place, and all 35 coefficients of a polynomial are fitted with the weights ``exp(-d²/9)``. Newton's
    step ``-H⁻¹ g``, at most half a point along each axis, follows from its derivatives, if H is negative
    definite; a place has converged after seven small steps in a row, within at most 14 steps. As the ball
    moves with the place, the least-squares sums have the same coefficients everywhere. Neighbours are not
    subtracted, so they attract the maxima, and splines attract them to voxels: by 0.03 voxel for atoms one
    voxel wide, by 0.01 for atoms 1.5 voxels wide.

    References
    ----------
    Y. Yang et al., Nature 592, 60 (2021), doi:10.1038/s41586-021-03354-0, methods: tracing.
    """
    spline = ndimage.spline_filter(volume, 3, output=np.float32, mode="mirror")
    offsets, sums = _least_squares()
    maximum = np.ascontiguousarray(place, np.float64).copy()
    converged = np.zeros(len(maximum), bool)
    rules = float(OVERSAMPLING), MOST_STEP, SMALL_STEP, SMALL_STEPS, MOST_STEPS

    def find_batch(start: int) -> None:
        part = slice(start, start + BATCH)
        _polynomial.newton(spline, maximum[part], offsets, sums, *rules, converged[part])

    for _ in ordered_map(find_batch, range(0, len(maximum), BATCH), threads=threads):
        pass
    return maximum, converged


def _least_squares() -> tuple[Doubles, Doubles]:
    """Return the points of the ball, and the matrix from values there to derivatives in the middle."""
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
