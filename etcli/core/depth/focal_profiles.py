"""Depth of columns from their focal profiles: intensity in a disc around each column against focus."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.arguments import check_choice, checked_positive
from etcli.core.depth.focal_library import CoreProfiles, check_counts
from etcli.core.depth.profile_fit import Gaussians, Shape, Templates, fit_shapes
from etcli.core.errors import DataError, UsageError
from etcli.core.lengths import ANGSTROM_PER_UM

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

METHODS = ("template", "gaussian")
FEWEST_SECTIONS = 5
RINGS, SPOKES = 3, 8
"""Points in the core disc: rings of equal area and points on each ring."""
CORRECTIONS = 3
MANY_OUTSIDE = 0.2
"""Share of columns with a peak outside the range of focus that makes the series unusable."""
LOW_CONTRAST = 5.0
"""Amplitude of a focal profile over its standard error below which the depth is not trusted."""


@dataclass(frozen=True, eq=False)
class DepthFit:
    """Depths of columns with their errors.

    Parameters
    ----------
    peak_A : ndarray of shape (n_columns,), float64
        Depth of the focal plane at which the column is brightest, in Å.
    depth_A : ndarray of shape (n_columns,), float64
        Depth of the column's centre in Å, corrected for channelling where a library is given.
    sigma_A : ndarray of shape (n_columns,), float64
        Standard error of both in Å.
    amplitude, background : ndarray of shape (n_columns,), float64
        Of the fitted profile: in units of the template or, for a Gaussian, as fractions of the beam.
    chi2 : ndarray of shape (n_columns,), float64
        Reduced chi-square; 1 by definition where the noise is not known.
    model : ndarray of shape (n_sections, n_columns), float64
        Fitted profiles.
    used : ndarray of shape (n_sections, n_columns), bool
        Sections inside the focus window of each column.
    peak_outside, low_contrast, no_fit : ndarray of shape (n_columns,), bool
        Columns with a peak outside the range of focus, with an amplitude within the noise, and without a
        fit (the values are NaN).
    """

    peak_A: Doubles
    depth_A: Doubles
    sigma_A: Doubles
    amplitude: Doubles
    background: Doubles
    chi2: Doubles
    model: Doubles
    used: Mask
    peak_outside: Mask
    low_contrast: Mask
    no_fit: Mask


def core_intensities(
    sections: NDArray[np.float32],
    columns_px: Doubles,
    *,
    radius_px: float,
    displacement_px: Doubles | None = None,
) -> Doubles:
    """Measure the mean intensity in a disc around every column in every section.

    Parameters
    ----------
    sections : ndarray of shape (n_sections, ny, nx), float32
    columns_px : ndarray of shape (n_columns, 2), float64
        x and y of the columns in pixels, from the centre of the first pixel.
    radius_px : float
        Radius of the disc in pixels.
    displacement_px : ndarray of shape (n_sections, 2), float64, optional
        Displacement (x, y) of the content of each section in pixels: the sections are not resampled.

    Returns
    -------
    ndarray of shape (n_sections, n_columns), float64
        By cubic interpolation at 25 points of equal weight.

    Raises
    ------
    UsageError
        If the radius is not positive.
    """
    checked_positive("radius_px", radius_px)
    # The middle of each ring in area, of a disc in which the centre has the area of one point
    ring = np.sqrt((1 + SPOKES * (np.arange(RINGS) + 0.5)) / (1 + SPOKES * RINGS))
    angle = 2 * np.pi * (np.arange(SPOKES) + 0.5 * (np.arange(RINGS) % 2)[:, np.newaxis]) / SPOKES
    points = np.stack([ring[:, np.newaxis] * np.cos(angle), ring[:, np.newaxis] * np.sin(angle)], axis=-1)
    points = radius_px * np.concatenate([np.zeros((1, 2)), points.reshape(-1, 2)])
    at = columns_px[:, np.newaxis] + points
    moved = np.zeros((len(sections), 2)) if displacement_px is None else displacement_px
    values = np.empty((len(sections), len(columns_px)))
    for number, (section, (dx, dy)) in enumerate(zip(sections, moved, strict=True)):
        where = (at[..., 1] + dy, at[..., 0] + dx)
        values[number] = ndimage.map_coordinates(section, where, order=3, mode="nearest").mean(axis=1)
    return values


def fit_depths(
    profile: Doubles,
    focus_A: Doubles,
    count: NDArray[np.int64],
    library: CoreProfiles | None,
    *,
    method: str = "template",
    window_A: float = 100.0,
    variance: Doubles | None = None,
) -> DepthFit:
    """Fit the depth of every column to its focal profile.

    The template method fits amplitude × library profile of the column's count + constant; the gaussian method
    a Gaussian of free width + constant, whose centre is corrected by that of the library profile, fitted in
    the same way in the same sections. Without a library only the second is possible, and it is not corrected.

    Parameters
    ----------
    profile : ndarray of shape (n_sections, n_columns), float64
        Mean intensity in the core disc.
    focus_A : ndarray of shape (n_sections,), float64
        Depths of the focal plane in Å, all different.
    count : ndarray of shape (n_columns,), int64
        Atoms of each column, from 1; they choose the library profile.
    library : CoreProfiles or None
    method : {"template", "gaussian"}
    window_A : float
        Sections that are used: within this focus of the profile's centre.
    variance : ndarray of shape (n_sections, n_columns), float64, optional
        Variance of the profile. Without it, all sections have the same weight, and errors come from the
        residuals.

    Returns
    -------
    DepthFit

    Raises
    ------
    DataError
        If there are fewer than five sections, the focus is constant or repeats, or a count is not in the
        library.
    UsageError
        If the method is unknown, or needs a library and there is none.

    References
    ----------
    Alania et al., Ultramicroscopy 177, 36 (2017), section 2.
    """
    check_choice("method of depth", method, METHODS)
    focus = np.asarray(focus_A, np.float64)
    check_foci(focus)
    if library is None and method == "template":
        raise UsageError("a template needs a library; use the gaussian method")
    if library is not None:
        check_counts(count, library.most_atoms)
    shape: Shape = Gaussians() if method == "gaussian" else Templates(library, count)  # type: ignore[arg-type]
    centre = _centroids(profile, focus)
    for _ in range(2):  # the window follows the fitted peak
        used = np.abs(focus[:, np.newaxis] - centre) <= window_A
        used |= _nearest(focus, centre)
        fit = fit_shapes(shape, profile, focus, used, variance)
        offset = shape.peak_offset()
        centre = np.clip(np.nan_to_num(fit.depth + offset, nan=0.0), focus.min(), focus.max())
    peak = fit.depth + offset
    depth = (
        fit.depth
        if library is None or method == "template"
        else _corrected(peak, shape, focus, count, library, used, variance)
    )
    return DepthFit(
        peak_A=peak,
        depth_A=depth,
        sigma_A=fit.sigma,
        amplitude=fit.amplitude,
        background=fit.background,
        chi2=fit.chi2,
        model=fit.model,
        used=used,
        peak_outside=(peak < focus.min()) | (peak > focus.max()),
        low_contrast=fit.amplitude < LOW_CONTRAST * fit.amplitude_error,
        no_fit=~np.isfinite(fit.depth),
    )


def check_foci(focus_A: Doubles) -> None:
    """Check that depths can be found with these foci.

    Parameters
    ----------
    focus_A : ndarray of shape (n_sections,), float64

    Raises
    ------
    DataError
        If there are fewer than five sections, or the focus is not finite, constant or repeats.
    """
    if len(focus_A) < FEWEST_SECTIONS:
        raise DataError(
            f"{len(focus_A)} sections are too few for depths, which need {FEWEST_SECTIONS} or more"
        )
    if not np.isfinite(focus_A).all():
        raise DataError(f"the defocus of section {np.flatnonzero(~np.isfinite(focus_A))[0] + 1} is not known")
    order = np.argsort(focus_A, kind="stable")
    same = np.flatnonzero(np.diff(focus_A[order]) < 1e-6)
    if len(same) == len(focus_A) - 1:
        raise DataError(
            f"all sections have the same defocus, {0 - focus_A[0] / ANGSTROM_PER_UM:g} µm: depths need a "
            "focal series"
        )
    if len(same):
        first, second = sorted(order[[same[0], same[0] + 1]] + 1)
        raise DataError(
            f"sections {first} and {second} have the same defocus, "
            f"{0 - focus_A[first - 1] / ANGSTROM_PER_UM:g} µm; correct the defoci, or leave one section out"
        )


def check_peaks(fit: DepthFit, focus_A: Doubles) -> None:
    """Check that most columns are in focus in some section.

    Parameters
    ----------
    fit : DepthFit
    focus_A : ndarray of shape (n_sections,), float64
        Depths of the focal plane in Å.

    Raises
    ------
    DataError
        If more than a fifth of the columns have a peak outside the range of focus, or no fit.
    """
    outside = fit.peak_outside | fit.no_fit
    if outside.mean() > MANY_OUTSIDE:
        raise DataError(
            f"{outside.sum()} of {len(outside)} columns are brightest outside the range of focus "
            f"({focus_A.min():g} to {focus_A.max():g} Å): check the defoci and their sign (--defocus-sign), "
            "or take a wider series"
        )


def check_library_focus(
    library: CoreProfiles, focus_A: Doubles, peak_A: Doubles, *, window_A: float = 100.0
) -> None:
    """Check that a library has the foci with which the sections are compared.

    The ends of a library stand for all foci beyond it. Half a step of the series beyond an end is harmless;
    more of a flat profile doubles the errors and moves depths towards the middle of the library.

    Parameters
    ----------
    library : CoreProfiles
    focus_A : ndarray of shape (n_sections,), float64
        Depths of the focal plane in Å, all different.
    peak_A : ndarray of shape (n_columns,), float64
        Depths of the focal plane at which the columns are brightest, in Å.
    window_A : float
        Sections that are used: within this focus of the peak.

    Raises
    ------
    DataError
        If the sections of more than half of the columns reach further than the library.
    """
    relative = focus_A[:, np.newaxis] - peak_A
    used = (np.abs(relative) <= window_A) | _nearest(focus_A, peak_A)
    lowest = float(np.median(np.where(used, relative, np.inf).min(axis=0)))
    highest = float(np.median(np.where(used, relative, -np.inf).max(axis=0)))
    step = float(np.median(np.diff(np.sort(focus_A))))
    first, last = library.focus_A[[0, -1]]
    if lowest < first - step / 2 or highest > last + step / 2:
        raise DataError(
            f"the library is too short in focus: it reaches from {first:g} to {last:g} Å from the centre of "
            f"a column, and the sections from {lowest:.0f} to {highest:.0f} Å; simulate more foci, or use "
            "fewer sections (--focus-window)"
        )


def core_noise(radius_px: float) -> float:
    """Compute the variance of `core_intensities` where pixels have independent noise of variance 1.

    Parameters
    ----------
    radius_px : float
        Radius of the disc in pixels.

    Returns
    -------
    float
        Mean over positions of the column inside a pixel.
    """
    half = int(radius_px) + 8
    impulse = np.zeros((1, 4 * half + 1, 4 * half + 1), np.float32)
    impulse[0, 2 * half, 2 * half] = 1
    inside = (np.arange(4) + 0.5) / 4
    pixel = 2 * half + np.arange(-half, half + 1)
    x, y = (axis.ravel() for axis in np.meshgrid(np.add.outer(pixel, inside), np.add.outer(pixel, inside)))
    weight = core_intensities(impulse, np.column_stack([x, y]), radius_px=radius_px)
    return float((weight**2).sum() / len(inside) ** 2)


def _corrected(
    peak: Doubles,
    shape: Shape,
    focus: Doubles,
    count: NDArray[np.int64],
    library: CoreProfiles,
    used: Mask,
    variance: Doubles | None,
) -> Doubles:
    """Find the depths at which library profiles, in the same sections, are fitted with the same centres."""
    depth = peak - library.peak_A[count - 1]
    for _ in range(CORRECTIONS):
        expected = Templates(library, count).values(focus, depth[np.newaxis])[0]
        depth = depth + peak - fit_shapes(shape, expected, focus, used, variance).depth
    return depth


def _centroids(profile: Doubles, focus: Doubles) -> Doubles:
    """Compute the centres of the profiles above their smallest value."""
    above = profile - profile.min(axis=0)
    width = np.gradient(focus[np.argsort(focus)])[np.argsort(np.argsort(focus))]
    weight = (above**2) * np.abs(width)[:, np.newaxis]
    total = weight.sum(axis=0)
    return np.asarray(
        np.divide(focus @ weight, total, out=np.full(len(total), focus.mean()), where=total > 0)
    )


def _nearest(focus: Doubles, centre: Doubles) -> Mask:
    """Select the sections nearest to a centre: as many as a fit needs, whatever the window."""
    rank = np.abs(focus[:, np.newaxis] - centre).argsort(axis=0).argsort(axis=0)
    return np.asarray(rank < FEWEST_SECTIONS)
