"""Simulated through-focal dark-field series of a crystal in zone axis: its signal, drift and noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.arguments import checked_positive
from etcli.core.depth.atom_columns import AtomColumns
from etcli.core.depth.focal_library import FocalLibrary, focal_library
from etcli.core.depth.focal_optics import ColumnKind, FocalOptics
from etcli.core.depth.superposition import superposed_sections
from etcli.core.errors import UsageError
from etcli.core.geometry import centre
from etcli.core.simulate.acquisition import CountingNoise

Doubles = NDArray[np.float64]

SAME_SPACING = 0.02
"""Relative difference of the spacings of columns that are simulated as one kind."""
TAIL = 2.0
"""Width of the ring around the cone of the probe that is simulated, in wavelengths over semi-angles.

About 1 % of the signal is outside.
"""
SMALLEST_RADIUS_A = 6.0
LONE_ATOM_A = 1.0
"""Spacing that is named for columns of one atom, which have none."""


@dataclass(frozen=True, eq=False)
class FocalTruth:
    """True parameters of a simulated focal series.

    Parameters
    ----------
    focus_A : ndarray of shape (n_sections,), float64
        Depth of the focal plane of each section in Å.
    shift_px : ndarray of shape (n_sections, 2), float64
        Displacement (x, y) of the content of each section in pixels.
    electrons_per_unit : float or None
        Electrons per pixel that hit the specimen; None without noise.
    """

    focus_A: Doubles
    shift_px: Doubles
    electrons_per_unit: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain numbers and lists, for JSON: one entry per field of the same name."""
        return {
            "focus_A": self.focus_A.tolist(),
            "shift_px": self.shift_px.tolist(),
            "electrons_per_unit": self.electrons_per_unit,
        }


def defocus_range(first_um: float, last_um: float, step_um: float) -> Doubles:
    """Return evenly spaced defoci, rising or falling, both ends included where the step reaches them.

    Parameters
    ----------
    first_um, last_um : float
        In µm, different from each other.
    step_um : float
        Distance of neighbours in µm, > 0.

    Returns
    -------
    ndarray of shape (n_sections,), float64

    Raises
    ------
    UsageError
        If there are fewer than two.
    """
    span = last_um - first_um
    if not np.isfinite(span) or not 0 < step_um <= abs(span) * (1 + 1e-6):
        raise UsageError(
            f"no focal series from {first_um:g} to {last_um:g} µm in steps of {step_um:g} µm; the ends must "
            "differ by a step or more, and the step is above 0"
        )
    # count first: adding up the steps would miss the last defocus by rounding
    steps = np.arange(int(np.floor(abs(span) / step_um + 1e-6)) + 1)
    return np.asarray(np.round(first_um + np.sign(span) * step_um * steps, 9) + 0.0)


def column_libraries(
    columns: AtomColumns, optics: FocalOptics, *, debye_waller_A2: float, focus_A: Doubles
) -> list[FocalLibrary]:
    """Simulate the libraries of the columns of a model, one for each kind of column.

    Columns of an element whose spacings differ by less than 2 % are of one kind, with the mean of their
    spacings. Single atoms go with the first kind of their element.

    Parameters
    ----------
    columns : AtomColumns
    optics : FocalOptics
    debye_waller_A2 : float
        Debye-Waller factor of all elements in Å².
    focus_A : ndarray of shape (n_sections,), float64
        Depths of the focal plane in Å.

    Returns
    -------
    list of FocalLibrary
        One for each column; columns of one kind share theirs.

    Raises
    ------
    UsageError
        If an element is unknown, or the focus is so far from a column that the probe is too wide.
    """
    from_column = np.subtract.outer(np.asarray(focus_A, float), columns.depth_A)
    reach_A = float(np.abs(from_column).max())
    tail_A = TAIL / optics.aperture_per_A
    radius_A = max(SMALLEST_RADIUS_A, optics.semi_angle_mrad * 1e-3 * reach_A + tail_A)
    kind, spacing_A = _kinds(columns)
    libraries = []
    for number, spacing in enumerate(spacing_A):
        of_kind = kind == number
        element = str(columns.element[of_kind.argmax()])
        libraries.append(
            focal_library(
                ColumnKind(element, float(spacing), debye_waller_A2),
                optics,
                most_atoms=int(columns.count[of_kind].max()),
                focus_range_A=reach_A,
                radius_A=radius_A,
            )
        )
    return [libraries[number] for number in kind]


def focal_series(
    columns: AtomColumns,
    libraries: Sequence[FocalLibrary],
    *,
    focus_A: Doubles,
    shape: tuple[int, int],
    pixel_A: float,
    drift_px: float,
    dose_e_A2: float | None,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], FocalTruth]:
    """Simulate the through-focal series of a crystal in zone axis as a sum of isolated columns.

    Parameters
    ----------
    columns : AtomColumns
        Positions from the centre of the image; columns outside it are allowed.
    libraries : sequence of FocalLibrary
        One for each column; see `column_libraries`.
    focus_A : ndarray of shape (n_sections,), float64
        Depth of the focal plane of each section in Å, in the order of acquisition.
    shape : (int, int)
        Rows and columns of pixels of a section.
    pixel_A : float
        Pixel size in Å.
    drift_px : float
        Standard deviation of the displacement from a section to the next, along x and along y. Drift goes on
        from section to section, so that it is a random walk; the middle section is where it should be.
    dose_e_A2 : float or None
        Electrons per Å² and section; None for no noise.
    rng : numpy.random.Generator
        Drift and noise have generators of their own, so that either is the same whatever the other one is.

    Returns
    -------
    data : ndarray of shape (n_sections, ny, nx), float32
        Fraction of the beam; with noise, counted electrons divided by those that hit the pixel.
    truth : FocalTruth

    Raises
    ------
    UsageError
        If the drift is negative, or pixel size or dose is not positive.

    References
    ----------
    Alania et al., Ultramicroscopy 177, 36 (2017), section 2.
    """
    checked_positive("drift_px", drift_px, or_zero=True)
    pixel_A = checked_positive("pixel_A", pixel_A)
    electrons = None if dose_e_A2 is None else checked_positive("dose_e_A2", dose_e_A2) * pixel_A**2
    of_drift, of_noise = rng.spawn(2)
    walk = np.cumsum(drift_px * of_drift.standard_normal((len(focus_A), 2)), axis=0)
    shift_px = walk - walk[len(focus_A) // 2]
    sections = superposed_sections(
        columns_px(columns, shape, pixel_A),
        columns.count,
        columns.depth_A,
        libraries,
        focus_A=focus_A,
        shape=shape,
        pixel_A=pixel_A,
        displacement_px=shift_px,
    )
    noise = CountingNoise(electrons)
    for section in sections:
        section[:] = noise.apply(section, of_noise)
    return sections, FocalTruth(np.asarray(focus_A, float), shift_px, electrons)


def columns_px(columns: AtomColumns, shape: tuple[int, int], pixel_A: float) -> Doubles:
    """Compute where columns are in an image that is centred at the rotation centre.

    Parameters
    ----------
    columns : AtomColumns
    shape : (int, int)
        Rows and columns of pixels of the image.
    pixel_A : float
        Pixel size in Å.

    Returns
    -------
    ndarray of shape (n_columns, 2), float64
        x and y in pixels from the centre of the first one.
    """
    return np.asarray(columns.position_A / pixel_A + np.array([centre(shape[1]), centre(shape[0])]))


def _kinds(columns: AtomColumns) -> tuple[NDArray[np.intp], Doubles]:
    """Number the kinds of columns; return the kind of each column, and the spacing of each kind in Å."""
    kind = np.empty(len(columns), np.intp)
    spacings: list[float] = []
    for element in np.unique(columns.element):
        members = np.flatnonzero(columns.element == element)
        spacing = columns.spacing_A[members]
        several, start = members[np.isfinite(spacing)], len(spacings)
        kind[members] = start
        ordered = several[np.argsort(columns.spacing_A[several], kind="stable")]
        while ordered.size:
            values = columns.spacing_A[ordered]
            same = values < (1 + SAME_SPACING) * values[0]
            kind[ordered[same]] = len(spacings)
            spacings.append(float(values[same].mean()))
            ordered = ordered[~same]
        if len(spacings) == start:
            spacings.append(LONE_ATOM_A)
    return kind, np.array(spacings)
