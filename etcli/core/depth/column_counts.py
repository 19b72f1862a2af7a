"""Atom counts of the columns of a crystal: cross-sections depend on depths and on neighbours as well."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.depth.column_depths import clear_depths
from etcli.core.depth.counting import Counts, count_by_library, count_by_mixture, count_hybrid, first_count
from etcli.core.depth.cross_section_mixture import MixtureFit, choose_mixture, fit_mixtures
from etcli.core.depth.expected_cross_sections import SimulatedFit, on_common_library
from etcli.core.depth.focal_library import FocalLibrary
from etcli.core.depth.lattice_match import lattice_log_prior
from etcli.core.depth.sectioning_result import Libraries, Sectioning
from etcli.core.depth.zone_lattice import ZoneLattice

Doubles = NDArray[np.float64]

SCALE_ROUNDS, COUNT_ROUNDS = 4, 6
"""Most rounds of fitting the scale, and in each of counting with the neighbours that were counted before."""
SETTLED = 0.5
"""Counts that may still change, relative to those that are expected to be wrong."""
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


def count_in_series(
    found: Sectioning,
    depth_A: Doubles,
    libraries: Libraries,
    options: CountOptions,
    lattice: ZoneLattice | None,
) -> Sectioning:
    """Count the atoms of the columns of a series, with a given library or one simulated for these columns.

    Parameters
    ----------
    found : Sectioning
        Columns; depths and lattice as far as they are known.
    depth_A : ndarray of shape (n_columns,), float64
        Depths of the columns in Å; before the first fit, those at which they are brightest.
    libraries : Libraries
    options : CountOptions
    lattice : ZoneLattice or None
        What the lattice in `found` was matched with.

    Returns
    -------
    Sectioning
        With counts.

    Raises
    ------
    DataError, UsageError, ConvergenceError
        As `count_columns`.
    """
    value, error = found.cross_section_A2, found.cross_section_error_A2
    library, peak = libraries.cross_section_A2, _peaks(found, depth_A)
    if library is not None or libraries.focal is None:
        prior = _heights(found, lattice, peak, libraries.focal, 0 if library is None else len(library))
        counts, mixtures = count_columns(value, error, library, options, log_prior=prior)
        return replace(found, counts=counts, mixtures=mixtures, compared_A2=value)
    return _counted_in_crystal(found, peak, libraries.focal, options, lattice)


def _counted_in_crystal(
    found: Sectioning,
    peak: Doubles,
    library: FocalLibrary,
    options: CountOptions,
    lattice: ZoneLattice | None,
) -> Sectioning:
    """Count with cross-sections that are simulated for the counts of all columns, until nothing changes.

    The first counts are those of a slab, which says too little to fit a scale with. So the counts settle
    with a scale that is held, then the scale is fitted, and so on.
    """
    simulated = SimulatedFit(found.images, found.chosen, found.fit, library, found.cells)
    slabs = simulated.slabs(peak)
    prior = _heights(found, lattice, peak, library, library.most_atoms)
    neighbours = np.zeros(len(peak))

    def counted(known: Sectioning, how: CountOptions) -> tuple[Sectioning, bool]:
        nonlocal neighbours
        if known.count is not None:
            at = np.maximum(known.count, 1) - 1
            actual = simulated.cross_sections(known.count, peak - library.peak_A[at])
            in_slab = np.where(
                known.count > 0, np.take_along_axis(slabs, at[:, np.newaxis], axis=1)[:, 0], 0.0
            )
            # Half a step: columns whose counts depend on each other would swap them for ever
            neighbours = (neighbours + actual - in_slab) / 2 if neighbours.any() else actual - in_slab
        value = known.cross_section_A2 - known.scale * neighbours
        compared, common = on_common_library(value, slabs)
        counts, mixtures = count_columns(compared, known.cross_section_error_A2, common, how, log_prior=prior)
        changed = len(value) if known.count is None else int((known.count != counts.count).sum())
        settled = changed <= SETTLED * counts.expected_errors
        return replace(known, counts=counts, mixtures=mixtures, compared_A2=compared), settled

    scale = found.scale if options.scale == "auto" else options.scale
    for _ in range(SCALE_ROUNDS):
        for _ in range(COUNT_ROUNDS):
            found, settled = counted(found, CountOptions(scale=scale))
            if settled:
                break
        found, settled = counted(found, options)
        if settled:
            break
        scale = found.scale
    return found


def _heights(
    found: Sectioning,
    lattice: ZoneLattice | None,
    peak: Doubles,
    library: FocalLibrary | None,
    most_atoms: int,
) -> Doubles | None:
    """Compute what the lattice says of the counts: a column's centre follows from its peak and its count."""
    if lattice is None or found.match is None or found.on_lattice is None or found.depths is None:
        return None
    fit = found.depths.fit
    centre = np.broadcast_to(fit.depth_A[:, np.newaxis], (len(peak), most_atoms + 1))
    if library is not None:
        offset = np.concatenate([[0.0], library.peak_A])[: most_atoms + 1]
        centre = peak[:, np.newaxis] - np.pad(offset, (0, most_atoms + 1 - len(offset)), mode="edge")
    return lattice_log_prior(centre, fit.sigma_A, found.match, found.on_lattice.level_A, lattice.spacing_A)


def _peaks(found: Sectioning, depth: Doubles) -> Doubles:
    """Return the focus at which each column is brightest; before the first fit, the depths are just that."""
    if found.depths is None:
        return depth
    return clear_depths(found.depths.fit.peak_A, found.depths.fit, found.images.focus_A)
