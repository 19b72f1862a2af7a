"""Focal series of a crystal as the sum of the series of its isolated columns."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from etcli.core.depth.focal_library import FocalLibrary, check_counts
from etcli.core.jit import jit

Doubles = NDArray[np.float64]
Sections = NDArray[np.float32]

RADII_PER_STEP = 8
"""Radii of the interpolated tables in a step of the library."""


def superposed_sections(
    columns_px: Doubles,
    count: NDArray[np.int64],
    depth_A: Doubles,
    libraries: FocalLibrary | Sequence[FocalLibrary],
    *,
    focus_A: Doubles,
    shape: tuple[int, int],
    pixel_A: float,
    displacement_px: Doubles | None = None,
) -> Sections:
    """Compute the focal series of columns that do not influence each other.

    Parameters
    ----------
    columns_px : ndarray of shape (n_columns, 2), float64
        x and y of the columns in pixels, from the centre of the first pixel.
    count : ndarray of shape (n_columns,), int64
        Atoms of each column, within its library; columns of 0 atoms show nothing.
    depth_A : ndarray of shape (n_columns,), float64
        Depth of the centre of each column in Å.
    libraries : FocalLibrary, or a sequence with one for each column
    focus_A : ndarray of shape (n_sections,), float64
        Depth of the focal plane of each section in Å. Beyond the range of a library, its ends are used.
    shape : tuple of int
        Rows and columns of pixels of a section.
    pixel_A : float
        Pixel size in Å.
    displacement_px : ndarray of shape (n_sections, 2), float64, optional
        Displacement (x, y) of the content of each section in pixels.

    Returns
    -------
    ndarray of shape (n_sections, ny, nx), float32
        Fraction of the beam that reaches the detector.

    Raises
    ------
    DataError
        If a count is not in the library of its column.

    References
    ----------
    Alania et al., Ultramicroscopy 177, 36 (2017): columns in zone axis channel the probe and hardly
    influence each other.
    """
    each = [libraries] * len(count) if isinstance(libraries, FocalLibrary) else list(libraries)
    moved = np.zeros((len(focus_A), 2)) if displacement_px is None else np.asarray(displacement_px, float)
    # Sections contiguous: a pixel meets the same radius in all of them when nothing moves
    sections = np.zeros((*shape, len(focus_A)), np.float32)
    splines: dict[tuple[int, int], CubicSpline] = {}
    for (x, y), n_atoms, depth, library in zip(columns_px, count, depth_A, each, strict=True):
        if n_atoms == 0:
            continue
        key = (id(library), int(n_atoms))
        if key not in splines:
            check_counts(np.array([n_atoms]), library.most_atoms)
            splines[key] = _spline_of_focus(library, int(n_atoms))
        reach = np.clip(np.asarray(focus_A) - depth, library.focus_A[0], library.focus_A[-1])
        table = np.ascontiguousarray(splines[key](reach).T, np.float32)
        step_px = library.radius_A[1] / RADII_PER_STEP / pixel_A
        _add_column(sections, table, x + moved[:, 0], y + moved[:, 1], step_px)
    return np.ascontiguousarray(np.moveaxis(sections, -1, 0))


def _spline_of_focus(library: FocalLibrary, n_atoms: int) -> CubicSpline:
    """Interpolate the library of a count at finer radii, as a function of focus."""
    fine = np.linspace(0, library.radius_A[-1], RADII_PER_STEP * (len(library.radius_A) - 1) + 1)
    values = CubicSpline(library.radius_A, library.intensity[n_atoms - 1], axis=1)(fine)
    return CubicSpline(library.focus_A, values)


@jit
def _add_column(sections, table, x_px, y_px, step_px):  # type: ignore[no-untyped-def]
    """Add a table of shape (n_radii, n_sections) to images of shape (ny, nx, n_sections)."""
    ny, nx, n_sections = sections.shape
    n_radii = table.shape[0]
    reach = (n_radii - 1) * step_px
    top = max(0, int(np.ceil(y_px.min() - reach)))
    bottom = min(ny - 1, int(np.floor(y_px.max() + reach)))
    left = max(0, int(np.ceil(x_px.min() - reach)))
    right = min(nx - 1, int(np.floor(x_px.max() + reach)))
    for row in range(top, bottom + 1):
        for column in range(left, right + 1):
            for section in range(n_sections):
                dx, dy = column - x_px[section], row - y_px[section]
                radius = np.sqrt(dx * dx + dy * dy) / step_px
                below = int(radius)
                if below < n_radii - 1:
                    share = radius - below
                    sections[row, column, section] += np.float32(
                        (1 - share) * table[below, section] + share * table[below + 1, section]
                    )
