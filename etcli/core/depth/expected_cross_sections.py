"""Cross-sections that a fit would find if every column had a certain number of atoms."""

import numpy as np
from numpy.typing import NDArray

from etcli.core.depth.column_fit import ColumnFit
from etcli.core.depth.focal_images import FocalImages, average_section
from etcli.core.depth.focal_library import FocalLibrary
from etcli.core.depth.section_heights import section_heights
from etcli.core.depth.superposition import superposed_sections

Doubles = NDArray[np.float64]
Counts = NDArray[np.int64]


def expected_cross_sections(
    images: FocalImages, chosen: NDArray[np.intp], fit: ColumnFit, depth_A: Doubles, library: FocalLibrary
) -> Doubles:
    """Compute the cross-sections of slabs: all columns have 1, 2, ... atoms.

    The simulated sections are averaged and fitted as the recorded ones were, at the same places and with the
    same widths. So the finite size of pixels and boxes, the neighbours of each column and the edges of the
    specimen have the same effect on both.

    Parameters
    ----------
    images : FocalImages
        Focus, pixel size and displacements; the recorded values are not used.
    chosen : ndarray of shape (n_chosen,), intp
        Sections that were averaged.
    fit : ColumnFit
        Fit to their average.
    depth_A : ndarray of shape (n_columns,), float64
        Depth of each column's centre in Å.
    library : FocalLibrary

    Returns
    -------
    ndarray of shape (n_columns, n_counts), float64
        In Å².
    """
    slabs = [
        predicted_cross_sections(images, chosen, fit, np.full(len(fit), n_atoms), depth_A, library)
        for n_atoms in range(1, library.most_atoms + 1)
    ]
    return np.stack(slabs, axis=1)


def predicted_cross_sections(
    images: FocalImages,
    chosen: NDArray[np.intp],
    fit: ColumnFit,
    count: Counts,
    depth_A: Doubles,
    library: FocalLibrary,
) -> Doubles:
    """Compute the cross-sections that a fit would find for given counts.

    Parameters
    ----------
    images, chosen, fit, depth_A, library
        As for `expected_cross_sections`.
    count : ndarray of shape (n_columns,), int64
        Atoms of each column, from 1.

    Returns
    -------
    ndarray of shape (n_columns,), float64
        In Å².
    """
    moved = images.displacement_px[chosen]
    sections = superposed_sections(
        np.column_stack([fit.x_px, fit.y_px]),
        count,
        depth_A,
        library,
        focus_A=images.focus_A[chosen],
        shape=images.shape,
        pixel_A=images.pixel_A,
        displacement_px=moved,
    )
    average = average_section(sections, moved)
    heights = section_heights(average[np.newaxis], fit, variance=1.0).height[0]
    return np.asarray(2 * np.pi * heights * (fit.width_px * images.pixel_A) ** 2)


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
        beyond = value > nodes[-1]
        converted[number] = value * common[-1] / nodes[-1] if beyond else np.interp(value, nodes, common)
    return converted, library
