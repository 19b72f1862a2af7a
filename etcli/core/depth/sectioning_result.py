"""Columns of a focal series with all that depth sectioning has found out about them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from etcli.core.depth.column_depths import MeasuredDepths
from etcli.core.depth.column_fit import ColumnFit
from etcli.core.depth.column_search import cell_cross_sections
from etcli.core.depth.counting import Counts
from etcli.core.depth.cross_section_mixture import MixtureFit
from etcli.core.depth.focal_images import FocalImages
from etcli.core.depth.focal_library import CoreProfiles, FocalLibrary
from etcli.core.depth.lattice_match import LatticeDepths, LatticeMatch

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]


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
    cells : bool
        Whether cross-sections are sums over the Voronoi cells of the columns, and not those of the Gaussians.
    counts : Counts or None
        On the scale of the common library.
    mixtures : tuple of MixtureFit
        Of 1, 2, ... components, where a free mixture was asked for.
    depths : MeasuredDepths or None
    match : LatticeMatch or None
    on_lattice : LatticeDepths or None
    other_residual_A : float
        Residual of the next best lattice that explains the positions equally well; infinite for none.
    free_residual_A : float or None
        Median distance of the depths from the lattice in Å when the lattice had no part in the counts.
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
    cells: bool = False
    counts: Counts | None = None
    mixtures: tuple[MixtureFit, ...] = ()
    depths: MeasuredDepths | None = None
    match: LatticeMatch | None = None
    on_lattice: LatticeDepths | None = None
    other_residual_A: float = np.inf
    free_residual_A: float | None = None
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
        if self.cells:
            return cell_cross_sections(self.average, self.fit, self.fit.background) * self.images.pixel_A**2
        return np.asarray(self.fit.cross_section_px2 * self.images.pixel_A**2)

    @property
    def cross_section_error_A2(self) -> Doubles:
        """Standard errors of the cross-sections of the Gaussians in Å²: (n_columns,), float64."""
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
