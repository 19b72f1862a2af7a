"""Densities of labels that explain the views best, each label of one density."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from etcli.core.geometry import SliceGeometry
from etcli.core.measurement.label_sums import Labels
from etcli.core.projectors.slab import WIDTHS, SlabProjector, from_slab, slab_width, to_slab

Doubles = NDArray[np.float64]

ITERATIONS = 50
BLOCK = 8
"""Edge in pixels of the blocks that views are averaged over before they are compared."""
CONVERGED = 1e-4
"""Residual of the normal equations, relative to the first, at which they are solved."""


def likeness_of_views(
    volume: NDArray[np.float32],
    read_rows: Callable[[int, int], NDArray[np.float32]],
    geometry: SliceGeometry,
) -> float:
    """Correlate the projections of a volume with views, both averaged over blocks, which have less noise.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    read_rows : callable
    geometry : SliceGeometry
        As for `least_squares_densities`.

    Returns
    -------
    float
        Pearson's correlation; NaN where one of both is constant.
    """
    pairs = []
    for y0 in range(0, volume.shape[1], WIDTHS[-1]):
        y1 = min(volume.shape[1], y0 + WIDTHS[-1])
        projector = SlabProjector(geometry, n_slices=slab_width(y1 - y0))
        projected = from_slab(projector.forward(to_slab(volume[:, y0:y1])), y1 - y0)
        pairs.append([_blocks(views).ravel() for views in (projected, read_rows(y0, y1))])
    projections, views = np.concatenate(pairs, axis=1)
    if not projections.std() or not views.std():
        return float("nan")
    return float(np.corrcoef(projections, views)[0, 1])


def _blocks(views: NDArray[np.float32]) -> Doubles:
    """Average views over blocks of pixels."""
    _, ny, nx = views.shape
    starts = np.arange(0, ny, BLOCK), np.arange(0, nx, BLOCK)
    sums = np.add.reduceat(np.add.reduceat(views.astype(np.float64), starts[0], 1), starts[1], 2)
    sizes = np.diff([*starts[0], ny])[:, np.newaxis] * np.diff([*starts[1], nx])
    return np.asarray(sums / sizes)


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
