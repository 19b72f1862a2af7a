"""Heights of columns in every section of a focal series, their positions and widths being known."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.arguments import checked_number
from etcli.core.depth.column_fit import ColumnFit, pixel_variance
from etcli.core.depth.column_solver import best_heights, height_equations
from etcli.core.depth.gaussian_columns import Bordered, GaussianColumns
from etcli.core.errors import DataError

Float = NDArray[np.float64]

AT_ONCE = 256
"""Columns of which the errors are computed together: bounds the memory."""


@dataclass(frozen=True, eq=False)
class SectionHeights:
    """Heights of columns in the sections of a series.

    Parameters
    ----------
    height : ndarray of shape (n_sections, n_columns), float64
        η of each column, in units of the sections; 0 where the whole column is outside of the section.
    background : ndarray of shape (n_sections,), float64
        ζ of each section.
    height_error : ndarray of shape (n_sections, n_columns), float64
        Standard deviations of the heights; infinite where the whole column is outside.
    background_error : ndarray of shape (n_sections,), float64
        Standard deviations of the backgrounds; 0 if the background was given.
    """

    height: Float
    background: Float
    height_error: Float
    background_error: Float


def section_heights(
    sections: NDArray[Any],
    fit: ColumnFit,
    *,
    shift_px: ArrayLike | None = None,
    background: float | None = None,
    variance: ArrayLike | None = None,
) -> SectionHeights:
    """Find the heights of columns in sections by linear least squares.

    Parameters
    ----------
    sections : ndarray of shape (n_sections, ny, nx)
        Finite real numbers.
    fit : ColumnFit
        Positions and widths.
    shift_px : array_like of shape (n_sections, 2), optional
        Displacement (x, y) of the columns in each section, in pixels. Without it, one factorisation of the
        equations serves all sections.
    background : float, optional
        Background of all sections; fitted to each of them when not given.
    variance : array_like of shape (n_sections, ny, nx) or float, optional
        Variance of the pixels, for the errors; by default the squared difference of section and model.

    Returns
    -------
    SectionHeights

    Raises
    ------
    DataError
        When the sections or the shifts cannot be used, or their numbers differ.

    See Also
    --------
    etcli.core.depth.column_fit.fit_columns : the model, and the errors.
    """
    sections = np.asarray(sections)
    if sections.ndim != 3 or sections.dtype.kind not in "buif" or not np.isfinite(sections).all():
        raise DataError(f"a series of sections of finite real numbers is needed, not shape {sections.shape}")
    level = None if background is None else checked_number("background", background)
    given = None if variance is None else np.broadcast_to(np.asarray(variance, np.float64), sections.shape)
    shape = (len(sections), len(fit))
    found = SectionHeights(np.zeros(shape), np.zeros(len(sections)), np.zeros(shape), np.zeros(len(sections)))
    for group, columns in _groups(fit, sections.shape, shift_px):
        factors = height_equations(columns, background_free=level is None)
        outside = np.prod(columns.boxes[:, 1::2] - columns.boxes[:, ::2], axis=1) == 0
        for k in group:
            image = sections[k].astype(np.float64)
            found.height[k], found.background[k] = best_heights(columns, image, factors, background=level)
            residual = image - columns.image(found.height[k], found.background[k])
            noise = pixel_variance(
                None if given is None else given[k], residual, columns, n_parameters=len(columns)
            )
            error, found.background_error[k] = _errors(columns, factors, noise, background_free=level is None)
            found.height_error[k] = np.where(outside, np.inf, error)
    return found


def model_sections(
    fit: ColumnFit, heights: SectionHeights, *, shape: tuple[int, int], shift_px: ArrayLike | None = None
) -> NDArray[np.float32]:
    """Compute the images that the model predicts for the sections of a series.

    Parameters
    ----------
    fit : ColumnFit
        Positions and widths.
    heights : SectionHeights
        Heights and backgrounds.
    shape : tuple of int
        Shape (ny, nx) of a section.
    shift_px : array_like of shape (n_sections, 2), optional
        Displacement (x, y) of the columns in each section, in pixels.

    Returns
    -------
    ndarray of shape (n_sections, ny, nx), float32

    Raises
    ------
    DataError
        When the shifts cannot be used.
    """
    images = np.empty((len(heights.height), *shape), np.float32)
    for group, columns in _groups(fit, images.shape, shift_px):
        for k in group:
            images[k] = columns.image(heights.height[k], heights.background[k])
    return images


def _groups(
    fit: ColumnFit, shape: tuple[int, ...], shift_px: ArrayLike | None
) -> Iterator[tuple[list[int], GaussianColumns]]:
    """Return the columns of each section, and which sections have them at the same places."""
    shifts = np.zeros((shape[0], 2)) if shift_px is None else np.asarray(shift_px, np.float64)
    if shifts.shape != (shape[0], 2) or not np.isfinite(shifts).all():
        raise DataError(
            f"a finite shift (x, y) is needed for each of {shape[0]} sections, not shape {shifts.shape}"
        )
    different, which = np.unique(shifts, axis=0, return_inverse=True)
    for n, (x, y) in enumerate(different):
        columns = GaussianColumns.at(
            fit.x_px + x, fit.y_px + y, fit.width_px, box=fit.box, shape=(shape[1], shape[2])
        )
        yield np.flatnonzero(which == n).tolist(), columns


def _errors(
    columns: GaussianColumns, factors: Bordered, variance: Float, *, background_free: bool
) -> tuple[Float, float]:
    """Return the standard deviations of the heights and of the background, A⁻¹ GᵀVG A⁻¹ for the columns G."""
    n, m = len(columns), int(background_free)
    noise = columns.overlaps(variance)
    mixed = columns.project(variance)[:, np.newaxis][:, :m]
    total = np.full((m, m), variance.sum())
    squares = np.empty(n + m)
    for first in range(0, n + m, AT_ONCE):
        asked = np.arange(first, min(first + AT_ONCE, n + m))
        units = np.zeros((n + m, len(asked)))
        units[asked, asked - first] = 1
        local, common = factors.solve(units[:n], units[n:])
        spread = noise @ local + 2 * mixed @ common
        squares[asked] = (local * spread).sum(axis=0) + (common * (total @ common)).sum(axis=0)
    errors = np.sqrt(np.maximum(squares, 0))
    return errors[:n], float(errors[n]) if background_free else 0.0
