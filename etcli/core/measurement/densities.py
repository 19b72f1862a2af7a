"""Densities of labels that explain the views best, each label of one density."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from etcli.core.geometry import SliceGeometry
from etcli.core.measurement.label_sums import Labels
from etcli.core.projectors.slab import WIDTHS, SlabProjector, from_slab, slab_width, to_slab

Doubles = NDArray[np.float64]

ITERATIONS = 50
CONVERGED = 1e-4
"""Residual of the normal equations, relative to the first, at which they are solved."""


def least_squares_densities(
    numbers: Labels,
    n_labels: int,
    read_rows: Callable[[int, int], NDArray[np.float32]],
    geometry: SliceGeometry,
) -> Doubles:
    """Find the densities ρ for which the projections of all labels are nearest to the views.

    Parameters
    ----------
    numbers : ndarray of shape (nz, ny, nx), int32
        Labels from 1 to `n_labels`, 0 the background.
    n_labels : int
    read_rows : callable
        ``read_rows(y0, y1)`` returns these rows of all views without background level, of shape (n_views,
        y1 - y0, n_detector), in density times voxels.
    geometry : SliceGeometry
        Views and slice.

    Returns
    -------
    ndarray of shape (n_labels,), float64
        Densities: argmin ‖Σ ρ_i P b_i - y‖, by conjugate gradients on the normal equations.
    """
    ny = numbers.shape[1]
    slabs = [(y0, min(ny, y0 + WIDTHS[-1])) for y0 in range(0, ny, WIDTHS[-1])]

    def sums(volume_or_views: Callable[[int, int, SlabProjector], NDArray[np.float32]]) -> Doubles:
        """Add up by label what back-projecting some views gives."""
        total = np.zeros(n_labels + 1)
        for y0, y1 in slabs:
            projector = SlabProjector(geometry, n_slices=slab_width(y1 - y0))
            back = projector.adjoint(volume_or_views(y0, y1, projector))
            block = numbers[:, y0:y1]
            total += np.bincount(
                block.reshape(-1), from_slab(back, y1 - y0).reshape(-1), minlength=n_labels + 1
            )
        total[0] = 0
        return total

    def projections(density: Doubles) -> Callable[[int, int, SlabProjector], NDArray[np.float32]]:
        values = density.astype(np.float32)
        return lambda y0, y1, projector: projector.forward(to_slab(values[numbers[:, y0:y1]]))

    density = np.zeros(n_labels + 1)
    residual = sums(lambda y0, y1, projector: to_slab(read_rows(y0, y1)))
    direction, square = residual.copy(), float(residual @ residual)
    enough = CONVERGED**2 * square
    for _ in range(min(ITERATIONS, 4 * n_labels)):
        if square <= enough:
            break
        image = sums(projections(direction))
        step = square / float(direction @ image)
        density += step * direction
        residual -= step * image
        square, before = float(residual @ residual), square
        direction = residual + square / before * direction
    return density[1:]
