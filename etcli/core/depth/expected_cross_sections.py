"""Cross-sections that a fit would find if every column had a certain number of atoms."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from etcli.core.depth.column_fit import ColumnFit
from etcli.core.depth.column_search import cell_cross_sections
from etcli.core.depth.column_solver import best_heights, height_equations
from etcli.core.depth.focal_images import FocalImages, average_section
from etcli.core.depth.focal_library import FocalLibrary
from etcli.core.depth.gaussian_columns import Bordered, GaussianColumns
from etcli.core.depth.superposition import superposed_sections

Doubles = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SimulatedFit:
    """Fit of simulated sections, which are averaged and fitted as the recorded ones were.

    The columns have the same places and widths. So the finite size of pixels and boxes, the neighbours of
    each column and the edges of the specimen have the same effect on both.

    Parameters
    ----------
    images : FocalImages
        Focus, pixel size and displacements; the recorded values are not used.
    chosen : ndarray of shape (n_chosen,), intp
        Sections that were averaged.
    fit : ColumnFit
        Fit to their average.
    library : FocalLibrary
    cells : bool
        Whether cross-sections are sums over the Voronoi cells of the columns.
    """

    images: FocalImages
    chosen: NDArray[np.intp]
    fit: ColumnFit
    library: FocalLibrary
    cells: bool = False

    def cross_sections(self, count: Counts, depth_A: Doubles) -> Doubles:
        """Compute the cross-sections that the fit would find for given counts.

        Parameters
        ----------
        count : ndarray of shape (n_columns,), int64
            Atoms of each column; columns of 0 atoms show only what their neighbours do.
        depth_A : ndarray of shape (n_columns,), float64
            Depth of each column's centre in Å.

        Returns
        -------
        ndarray of shape (n_columns,), float64
            In Å².
        """
        images, fit = self.images, self.fit
        moved = images.displacement_px[self.chosen]
        sections = superposed_sections(
            np.column_stack([fit.x_px, fit.y_px]),
            count,
            depth_A,
            self.library,
            focus_A=images.focus_A[self.chosen],
            shape=images.shape,
            pixel_A=images.pixel_A,
            displacement_px=moved,
        )
        average = average_section(sections, moved)
        height, background = best_heights(
            self._columns, average, self._equations, background=None if self._background_free else 0.0
        )
        if self.cells:
            return cell_cross_sections(average, fit, background) * images.pixel_A**2
        return np.asarray(2 * np.pi * height * (fit.width_px * images.pixel_A) ** 2)

    def slab(self, n_atoms: int, peak_A: Doubles) -> Doubles:
        """Compute the cross-sections of a slab: all columns have as many atoms.

        What is known of a column is the focus at which it is brightest, not its centre: a thick column is
        brightest with the probe focused at its upper part.

        Parameters
        ----------
        n_atoms : int
        peak_A : ndarray of shape (n_columns,), float64
            Depth of the focal plane at which each column is brightest in Å.

        Returns
        -------
        ndarray of shape (n_columns,), float64
            In Å².
        """
        return self.cross_sections(np.full(len(self.fit), n_atoms), peak_A - self.library.peak_A[n_atoms - 1])

    def slabs(self, peak_A: Doubles) -> Doubles:
        """Compute the cross-sections of slabs of 1, 2, ... atoms.

        Parameters
        ----------
        peak_A : ndarray of shape (n_columns,), float64
            As for `slab`.

        Returns
        -------
        ndarray of shape (n_columns, n_counts), float64
            In Å².
        """
        counts = range(1, self.library.most_atoms + 1)
        return np.stack([self.slab(n, peak_A) for n in counts], axis=1)

    @property
    def _background_free(self) -> bool:
        return self.fit.background_error > 0

    @cached_property
    def _columns(self) -> GaussianColumns:
        fit = self.fit
        return GaussianColumns.at(fit.x_px, fit.y_px, fit.width_px, box=fit.box, shape=self.images.shape)

    @cached_property
    def _equations(self) -> Bordered:
        return height_equations(self._columns, background_free=self._background_free)


def on_common_library(cross_section_A2: Doubles, expected_A2: Doubles) -> tuple[Doubles, Doubles]:
    """Convert cross-sections so that one library serves all columns.

    Parameters
    ----------
    cross_section_A2 : ndarray of shape (n_columns,), float64
    expected_A2 : ndarray of shape (n_columns, n_counts), float64
        Cross-sections of 1, 2, ... atoms for each column.

    Returns
    -------
    cross_section_A2 : ndarray of shape (n_columns,), float64
        On the scale of the common library: each value keeps its place between the neighbouring counts.
    library_A2 : ndarray of shape (n_counts,), float64
        Medians of the columns.
    """
    library = np.maximum.accumulate(np.median(expected_A2, axis=0))
    common = np.concatenate([[0.0], library])
    converted = np.empty(len(cross_section_A2))
    for number, (value, own) in enumerate(zip(cross_section_A2, expected_A2, strict=True)):
        nodes = np.maximum.accumulate(np.concatenate([[0.0], own]))
        if nodes[-1] <= 0:  # the simulation shows nothing of this column
            converted[number] = 0.0
            continue
        beyond = value > nodes[-1]
        converted[number] = value * common[-1] / nodes[-1] if beyond else np.interp(value, nodes, common)
    return converted, library
