"""Depth sectioning: atom counts and depths of the columns of a focal series, and the lattice they lie on."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.depth.column_depths import MeasuredDepths, ProfileOptions, measure_depths
from etcli.core.depth.column_fit import ColumnFit
from etcli.core.depth.column_search import ColumnOptions, fit_given_columns
from etcli.core.depth.counting import Counts, count_by_library, count_by_mixture, count_hybrid, first_count
from etcli.core.depth.cross_section_mixture import MixtureFit, choose_mixture, fit_mixtures
from etcli.core.depth.drift import refine_drift
from etcli.core.depth.expected_cross_sections import SimulatedFit, on_common_library
from etcli.core.depth.focal_images import FocalImages, average_section
from etcli.core.depth.focal_library import CoreProfiles, FocalLibrary
from etcli.core.depth.lattice_match import (
    LatticeDepths,
    LatticeMatch,
    lattice_depths,
    lattice_log_prior,
    match_lattice,
)
from etcli.core.depth.superposition import superposed_sections
from etcli.core.depth.zone_lattice import ZoneLattice
from etcli.core.registration.shifts import Shifts

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

ROUNDS = 2
"""Rounds of counting, depths and drift; each uses the neighbours and the drift of the one before."""
MARGIN_A = 4.0
"""Border of the frame without registration: columns outside of it are not predicted."""
MOST_MARGIN = 0.25
MOST_COMPONENTS = 25


@dataclass(frozen=True)
class CountOptions:
    """How atoms are counted.

    Parameters
    ----------
    method : {"library", "hybrid", "icl"}
        The nearest cross-section of a library; a mixture with the means of a library; a mixture with free
        means.
    scale : float or "auto"
        Factor of the library.
    components : int or None
        Number of components of a free mixture; by its criteria when None.
    first : int or None
        Atoms of the first component of a free mixture; None for the library's choice, or 1 without one.
    """

    method: str = "library"
    scale: float | str = "auto"
    components: int | None = None
    first: int | None = None


@dataclass(frozen=True, eq=False)
class Libraries:
    """Simulated libraries; what is None is not known.

    Parameters
    ----------
    focal : FocalLibrary or None
        With radii: for neighbours, drift and, unless others are given, cross-sections and profiles.
    profiles : CoreProfiles or None
        For depths.
    cross_section_A2 : ndarray of shape (n_counts,), float64, or None
        For counts.
    """

    focal: FocalLibrary | None = None
    profiles: CoreProfiles | None = None
    cross_section_A2: Doubles | None = None


@dataclass(frozen=True, eq=False)
class Sectioning:
    """Columns of a focal series and what has been found out about them; None for what was not asked for.

    Parameters
    ----------
    images : FocalImages
        The series with its final displacements.
    chosen : ndarray, intp
        Sections of the average image.
    average : ndarray of shape (ny, nx), float64
    fit : ColumnFit
    counts : Counts or None
        On the scale of the common library.
    mixtures : tuple of MixtureFit
        Of 1, 2, ... components, where a free mixture was asked for.
    depths : MeasuredDepths or None
    match : LatticeMatch or None
    on_lattice : LatticeDepths or None
    other_residual_A : float
        Residual of the next best lattice that explains the positions equally well; infinite for none.
    given_count : ndarray of shape (n_columns,), int64, or None
        Atoms of each column, where they were known before.
    compared_A2 : ndarray of shape (n_columns,), float64, or None
        Cross-sections as they were compared with the means of the counts, in Å²: without what differs from
        column to column in the simulation.
    """

    images: FocalImages
    chosen: NDArray[np.intp]
    average: Doubles
    fit: ColumnFit
    counts: Counts | None = None
    mixtures: tuple[MixtureFit, ...] = ()
    depths: MeasuredDepths | None = None
    match: LatticeMatch | None = None
    on_lattice: LatticeDepths | None = None
    other_residual_A: float = np.inf
    given_count: NDArray[np.int64] | None = field(default=None, repr=False)
    compared_A2: Doubles | None = field(default=None, repr=False)

    @property
    def columns_px(self) -> Doubles:
        """Positions (x, y) of the columns in pixels: ndarray of shape (n_columns, 2), float64."""
        return np.column_stack([self.fit.x_px, self.fit.y_px])

    @property
    def count(self) -> NDArray[np.int64] | None:
        """Atoms of each column."""
        return self.given_count if self.counts is None else self.counts.count

    @property
    def scale(self) -> float:
        """Recorded intensity relative to that of the library."""
        return 1.0 if self.counts is None else self.counts.scale

    @property
    def cross_section_A2(self) -> Doubles:
        """Cross-sections of the columns in Å²: ndarray of shape (n_columns,), float64."""
        return np.asarray(self.fit.cross_section_px2 * self.images.pixel_A**2)

    @property
    def cross_section_error_A2(self) -> Doubles:
        """Standard errors of the cross-sections in Å²: ndarray of shape (n_columns,), float64."""
        return np.asarray(self.fit.cross_section_error_px2 * self.images.pixel_A**2)

    @property
    def edge(self) -> Mask:
        """Columns that are not wholly inside the frame: their boxes cross its border."""
        ny, nx = self.images.shape
        x, y, reach = self.fit.x_px, self.fit.y_px, self.fit.box * self.fit.width_px
        return np.asarray((x < reach) | (y < reach) | (x > nx - 1 - reach) | (y > ny - 1 - reach))

    @property
    def measurable(self) -> Mask:
        """Columns inside the frame with atoms, and with a depth that the profile shows clearly."""
        if self.depths is None or self.count is None:
            return np.zeros(len(self.fit), bool)
        fit = self.depths.fit
        doubtful = fit.no_fit | fit.low_contrast | fit.peak_outside | self.edge | self.fit.bad
        return np.asarray(~doubtful & (self.count > 0))

    @property
    def trusted(self) -> Mask:
        """Columns with a depth and a count that may be compared with the lattice."""
        return self.measurable if self.counts is None else self.measurable & ~self.counts.ambiguous


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


def count_columns(
    cross_section_A2: Doubles,
    error_A2: Doubles | None,
    library_A2: Doubles | None,
    options: CountOptions,
    *,
    log_prior: Doubles | None = None,
) -> tuple[Counts, tuple[MixtureFit, ...]]:
    """Count the atoms of columns.

    Parameters
    ----------
    cross_section_A2 : ndarray of shape (n_columns,), float64
    error_A2 : ndarray of shape (n_columns,), float64, or None
        Standard errors.
    library_A2 : ndarray of shape (n_counts,), float64, or None
    options : CountOptions
    log_prior : ndarray of shape (n_columns, n_counts + 1), float64, optional
        Other evidence, see `etcli.core.depth.counting.count_by_library`.

    Returns
    -------
    Counts
    tuple of MixtureFit
        Of a free mixture; otherwise empty.

    Raises
    ------
    DataError, UsageError, ConvergenceError
        As the functions of `etcli.core.depth.counting`.
    """
    if options.method == "icl" or library_A2 is None:
        most = min(MOST_COMPONENTS, len(np.unique(cross_section_A2)) - 1)
        fits = fit_mixtures(
            cross_section_A2, most_components=max(most, options.components or 1), error=error_A2
        )
        chosen = choose_mixture(fits, components=options.components)
        first = options.first
        if first is None:
            first = 1 if library_A2 is None else first_count(chosen, library_A2)
        return count_by_mixture(chosen, first=first), fits
    if options.method == "hybrid":
        return count_hybrid(cross_section_A2, library_A2, error=error_A2, log_prior=log_prior), ()
    scale = options.scale
    counts = count_by_library(
        cross_section_A2,
        library_A2,
        scale="auto" if scale == "auto" else float(scale),
        error=error_A2,
        log_prior=log_prior,
    )
    return counts, ()


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
            found = _counted(found, depth, libraries, count_options, lattice)
        found = _located(found, depth, libraries, profile_options)
        if lattice is not None:
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
    peaks = measure_depths(start.images, start.columns_px, one, None, replace(options, method="gaussian"))
    return _filled(peaks.fit.depth_A, start.images.focus_A)


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
    return _filled(found.depths.fit.depth_A, found.images.focus_A)


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
    return replace(found, match=matches[order[0]], on_lattice=placed[order[0]], other_residual_A=other)


def _filled(depth: Doubles, focus: Doubles) -> Doubles:
    finite = np.isfinite(depth)
    middle = float(np.median(depth[finite])) if finite.any() else float(focus.mean())
    return np.clip(np.where(finite, depth, middle), focus.min(), focus.max())


def _counted(
    found: Sectioning,
    depth: Doubles,
    libraries: Libraries,
    options: CountOptions,
    lattice: ZoneLattice | None,
) -> Sectioning:
    """Count with a given library, or with one that is simulated for these columns."""
    value, error = found.cross_section_A2, found.cross_section_error_A2
    library = libraries.cross_section_A2
    if library is None and libraries.focal is not None:
        simulated = SimulatedFit(found.images, found.chosen, found.fit, libraries.focal)
        slabs = simulated.slabs(_peaks(found, depth))
        if found.count is not None:  # the neighbours are known, and differ from those in a slab
            count = np.maximum(found.count, 1)
            in_slab = np.take_along_axis(slabs, count[:, np.newaxis] - 1, axis=1)[:, 0]
            value = value - found.scale * (simulated.cross_sections(count, depth) - in_slab)
        value, library = on_common_library(value, slabs)
    prior = None
    if lattice is not None and found.match is not None and found.on_lattice is not None and found.depths:
        fit, most = found.depths.fit, 0 if library is None else len(library)
        prior = lattice_log_prior(
            fit.depth_A, fit.sigma_A, found.match, found.on_lattice.level_A, lattice.spacing_A, most
        )
    counts, mixtures = count_columns(value, error, library, options, log_prior=prior)
    return replace(found, counts=counts, mixtures=mixtures, compared_A2=value)


def _peaks(found: Sectioning, depth: Doubles) -> Doubles:
    """Return the focus at which each column is brightest; before the first fit, the depths are just that."""
    if found.depths is None:
        return depth
    return _filled(found.depths.fit.peak_A, found.images.focus_A)


def _located(found: Sectioning, depth: Doubles, libraries: Libraries, options: ProfileOptions) -> Sectioning:
    """Measure the depths of columns with known counts."""
    if found.count is None:
        raise ValueError("depths need counts")
    measured = measure_depths(
        found.images,
        found.columns_px,
        np.maximum(found.count, 1),
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
        np.maximum(count, 1),
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
