"""Interpolation of views at the pixels of another grid, by cubic splines or linearly."""

from math import floor

import numpy as np
from numpy.typing import NDArray

from etcli.core.registration._splines import interpolate_axis, interpolate_points, spline_weights

Image = NDArray[np.float32]
Float = NDArray[np.float64]


def interpolate(
    view: Image, inverse: Float, offset: Float, shape: tuple[int, int], *, cubic: bool, fill: float
) -> Image:
    """Interpolate a view at ``inverse @ (row, column) + offset`` for every pixel of another image.

    Parameters
    ----------
    view : ndarray of shape (ny, nx), float32
        The view, all values finite.
    inverse : ndarray of shape (2, 2)
        Acts on (row, column).
    offset : ndarray of shape (2,)
        (row, column) in pixels of the view.
    shape : (int, int)
        Height and width of the result.
    cubic : bool
        Whether to interpolate by cubic splines, with the view mirrored at its outermost pixels; otherwise
        linearly.
    fill : float
        Value outside the view, which reaches half a pixel beyond the centres of its outermost pixels.

    Returns
    -------
    ndarray of shape `shape`, float32
    """
    view = np.require(view, requirements=("C", "W"))  # read-only arrays would need kernels of their own
    if not (inverse % 1).any() and not (offset % 1).any():
        cubic = False  # pixels fall on pixels: linear interpolation copies them
    if (inverse == np.eye(2)).all():
        return _shifted(view, offset, shape, cubic=cubic, fill=fill)
    moved = np.empty(shape, np.float32)
    interpolate_points(_coefficients(view) if cubic else view, inverse, offset, cubic, fill, moved)
    return moved


def _shifted(view: Image, offset: Float, shape: tuple[int, int], *, cubic: bool, fill: float) -> Image:
    """Interpolate at pixels shifted by ``offset``, one axis after the other, which is faster."""
    size_in = view.shape
    for axis in (0, 1):
        whole = floor(offset[axis])
        fraction = float(offset[axis]) - whole
        by_spline = cubic and fraction > 0
        weights = np.empty(4)
        spline_weights(fraction, by_spline, weights)
        moved = np.empty((shape[0], view.shape[1]) if axis == 0 else shape, np.float32)
        lines, out = (view, moved) if axis == 0 else (view.T, moved.T)
        interpolate_axis(lines, whole - 1, weights, by_spline, out)
        view = moved
    for axis, lines in enumerate((view, view.T)):
        at = np.arange(shape[axis]) + offset[axis]
        lines[(at < -0.5) | (at > size_in[axis] - 0.5)] = fill
    return view


def _coefficients(view: Image) -> Image:
    """Return the B-spline coefficients of a view."""
    copied = np.array([0.0, 1.0, 0.0, 0.0])
    by_column, coefficients = np.empty_like(view), np.empty_like(view)
    interpolate_axis(view, -1, copied, True, by_column)
    interpolate_axis(by_column.T, -1, copied, True, coefficients.T)
    return coefficients
