"""Depth sectioning: atom counts and depths of the columns of a focal series, and the lattice they lie on."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.depth.column_counts import CountOptions, count_in_series
from etcli.core.depth.column_depths import ProfileOptions, clear_depths, measure_depths
from etcli.core.depth.column_search import ColumnOptions, fit_given_columns
from etcli.core.depth.drift import refine_drift
from etcli.core.depth.focal_images import FocalImages, average_section
from etcli.core.depth.focal_library import BRIGHTNESS_RADIUS_A, FocalLibrary
from etcli.core.depth.focal_profiles import check_peaks
from etcli.core.depth.lattice_match import lattice_depths, match_lattice
from etcli.core.depth.sectioning_result import Libraries, Sectioning
from etcli.core.depth.superposition import superposed_sections
from etcli.core.depth.zone_lattice import ZoneLattice
from etcli.core.registration.shifts import Shifts

Doubles = NDArray[np.float64]

ROUNDS = 2
"""Rounds of counting, depths and drift; each uses the neighbours and the drift of the one before."""
MARGIN_A = 4.0
"""Border of the frame without registration: columns outside of it are not predicted."""
MOST_MARGIN = 0.25


def image_variance(images: FocalImages, average: Doubles, n_sections: int) -> Doubles | None:
    """Compute the Poisson noise of an average, or None where the dose is not known.

    Parameters
    ----------
    images : FocalImages
    average : ndarray of shape (ny, nx), float64
    n_sections : int

    Returns
    -------
    ndarray of shape (ny, nx), float64, or None
    """
    if images.electrons is None:
        return None
    return np.asarray(np.maximum(average, 1 / images.electrons) / (images.electrons * n_sections))


def count_and_locate(
    start: Sectioning,
    libraries: Libraries,
    column_options: ColumnOptions,
    count_options: CountOptions,
    profile_options: ProfileOptions,
    *,
    lattice: ZoneLattice | None = None,
    registered: bool = True,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Sectioning:
    """Count the atoms of columns and measure their depths, which depend on each other.

    Parameters
    ----------
    start : Sectioning
        Columns of the average image; with `given_count`, nothing is counted.
    libraries : Libraries
    column_options : ColumnOptions
    count_options : CountOptions
    profile_options : ProfileOptions
    lattice : ZoneLattice, optional
        Lattice on which the columns lie. It helps to count: one atom more moves the allowed depths of a
        column by half the spacing of its atoms.
    registered : bool
        Whether the drift is refined by comparison with the predicted sections.
    threads : int
    progress : callable, optional
        Called with 1 after each of `ROUNDS` rounds.

    Returns
    -------
    Sectioning

    Raises
    ------
    DataError, UsageError, ConvergenceError
        As the functions of the stages.
    """
    found, depth = start, first_depths(start, profile_options)
    for number in range(ROUNDS):
        if found.given_count is None:
            found = count_in_series(found, depth, libraries, count_options, lattice)
        found = _located(found, depth, libraries, profile_options)
        if lattice is not None:
            if found.depths is not None:
                check_peaks(found.depths.fit, found.images.focus_A)
            found = on_best_lattice(found, lattice)
        if progress:
            progress(1)
        if libraries.focal is None or number == ROUNDS - 1:
            break
        depth = known_depths(found)
        if registered:
            found = _registered(found, depth, libraries.focal, column_options, threads=threads)
    return found


def first_depths(start: Sectioning, options: ProfileOptions) -> Doubles:
    """Estimate the depths of columns before their counts are known: the peaks of their profiles.

    Parameters
    ----------
    start : Sectioning
    options : ProfileOptions

    Returns
    -------
    ndarray of shape (n_columns,), float64
        In Å.

    Raises
    ------
    DataError
        If the series has too few foci.
    """
    one = np.ones(len(start.fit), np.int64)
    first = replace(options, method="gaussian", core_radius_A=BRIGHTNESS_RADIUS_A)
    peaks = measure_depths(start.images, start.columns_px, one, None, first).fit
    return clear_depths(peaks.depth_A, peaks, start.images.focus_A)


def known_depths(found: Sectioning) -> Doubles:
    """Return the depths of all columns, inside the range of focus: the median where one is not known.

    Parameters
    ----------
    found : Sectioning
        With depths.

    Returns
    -------
    ndarray of shape (n_columns,), float64
        In Å.
    """
    if found.depths is None:
        raise ValueError("depths have not been measured")
    return clear_depths(found.depths.fit.depth_A, found.depths.fit, found.images.focus_A)


def on_best_lattice(found: Sectioning, lattice: ZoneLattice) -> Sectioning:
    """Find the lattice of the columns and the depths that it allows.

    Parameters
    ----------
    found : Sectioning
        With counts and depths.
    lattice : ZoneLattice

    Returns
    -------
    Sectioning
        With the match of positions on which the depths lie best.

    Raises
    ------
    DataError
        When the columns do not lie on the lattice, or none has a trusted depth.
    """
    count, depths = found.count, found.depths
    if count is None or depths is None:
        raise ValueError("a lattice needs counts and depths")
    matches = match_lattice(found.columns_px * found.images.pixel_A, lattice)
    # Where all counts are ambiguous, the lattice may still decide between them.
    known = found.trusted if found.trusted.any() else found.measurable
    placed = [
        lattice_depths(depths.fit.depth_A, depths.fit.sigma_A, count, match, lattice.spacing_A, known)
        for match in matches
    ]
    order = np.argsort([on.residual_A for on in placed])
    other = placed[order[1]].residual_A if len(order) > 1 else np.inf
    best = placed[order[0]]
    free = best.residual_A if found.free_residual_A is None else found.free_residual_A
    return replace(
        found, match=matches[order[0]], on_lattice=best, other_residual_A=other, free_residual_A=free
    )


def _located(found: Sectioning, depth: Doubles, libraries: Libraries, options: ProfileOptions) -> Sectioning:
    """Measure the depths of columns with known counts."""
    if found.count is None:
        raise ValueError("depths need counts")
    measured = measure_depths(
        found.images,
        found.columns_px,
        found.count,
        libraries.profiles,
        options,
        library=libraries.focal,
        start_A=depth,
        scale=found.scale,
    )
    return replace(found, depths=measured)


def _registered(
    found: Sectioning, depth: Doubles, library: FocalLibrary, options: ColumnOptions, *, threads: int
) -> Sectioning:
    """Register the sections to their prediction, and fit the columns of the new average."""
    images, count = found.images, found.count
    if count is None:
        raise ValueError("a prediction needs counts")
    predicted = superposed_sections(
        found.columns_px,
        count,
        depth,
        library,
        focus_A=images.focus_A,
        shape=images.shape,
        pixel_A=images.pixel_A,
    )
    margin = min(int(MARGIN_A / images.pixel_A), int(MOST_MARGIN * min(images.shape)))
    inner = (slice(None), slice(margin, -margin or None), slice(margin, -margin or None))
    start = Shifts(-images.displacement_px, np.ones(len(images)), np.zeros(len(images), bool), np.nan)
    limit = options.min_distance_A / 2 / images.pixel_A
    shifts = refine_drift(
        images.sections[inner], predicted[inner], start, max_change_px=limit, threads=threads
    )
    # A shift that is common to all sections is arbitrary: keep the columns where they are.
    change = -shifts.shift_px - images.displacement_px
    moved = images.displaced(images.displacement_px + change - np.median(change[found.chosen], axis=0))
    average = average_section(moved.sections[found.chosen], moved.displacement_px[found.chosen])
    variance = image_variance(moved, average, len(found.chosen))
    fit = fit_given_columns(average, found.columns_px, images.pixel_A, options, variance=variance)
    return replace(found, images=moved, average=average, fit=fit)
