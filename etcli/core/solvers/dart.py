"""DART: reconstruction of specimens that consist of few materials, each with one known density."""

from collections.abc import Sequence
from functools import partial
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.projectors import Projector
from etcli.core.solvers.checks import check_request
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.sirt import Callback
from etcli.core.solvers.slab_solver import SlabSolver
from etcli.core.solvers.slice_tv import SliceDescent, noise_deviation
from etcli.core.solvers.spectral_norm import squared_norm
from etcli.core.solvers.steps import step

Array = NDArray[np.float32]
Float = NDArray[np.float64]

START, ITERATIONS = 100, 40
"""Default number of sweeps before the first classification, and of classifications."""
SWEEPS = 10
"""Sweeps over the free voxels in each iteration."""
MOST_LEVELS = 255
SINOGRAMS, VOLUMES = 2, 7
"""Number of arrays of the size of the slab's sinogram and volume that `dart` holds at once."""


def dart(
    projector: Projector,
    sinogram: Array,
    *,
    levels: Sequence[float] | Float,
    thresholds: Sequence[float] | None = None,
    iterations: int = ITERATIONS,
    start: int = START,
    free: float = 0.3,
    weight: float | None = None,
    seed: int = 0,
    norm: float | None = None,
    callback: Callback | None = None,
) -> Array:
    """Reconstruct a volume that has only a few different densities.

    Parameters
    ----------
    projector : Projector
        The geometry of the views.
    sinogram : ndarray of shape ``projector.range_shape``, float32
        Line integrals, in voxels.
    levels : sequence of float
        Densities in ascending order, including that of the vacuum. See
        `etcli.core.reconstruction.grey_levels.find_levels`.
    thresholds : sequence of float, optional
        Thresholds between neighbouring levels; halfway by default.
    iterations : int
        How often all voxels are classified and then those on boundaries corrected.
    start : int
        Sweeps over all views before the first classification.
    free : float
        Fraction of the voxels away from boundaries, chosen at random, that are also corrected; it decreases
        to zero over the iterations. The same positions are chosen in all slices.
    weight : float, optional
        Weight of the total variation, in the units of a view times those of its back-projection. By default
        each slice has its own: its noise times ``sqrt(n_views)``, the noise being that of `noise_deviation`
        or the residual's, whichever is smaller.
    seed : int
        Seed of the random numbers; not a generator, because all slabs must draw the same numbers.
    norm : float, optional
        ``squared_norm(projector)``, computed once for many slabs of one geometry.
    callback : callable, optional
        ``callback(k, norm, x)`` before the first and after every iteration, with the norm of y - A x and the
        classified volume x, not to be modified.

    Returns
    -------
    ndarray of shape ``projector.domain_shape``, float32
        Density per voxel, one of the levels.

    Raises
    ------
    UsageError
        When a parameter is out of its range or the sinogram has the wrong shape.

    Notes
    -----
    In every iteration each voxel is classified and set to the level of its class. Voxels with a neighbour (of
    8 in the slice) of another class, and some others chosen at random, are free: they keep the density that
    they had and are corrected further. All other voxels are fixed, so that few unknowns remain. This follows
    the paper except in how the free voxels are corrected: instead of SIRT followed by smoothing, by descent
    on ``½ ‖A x - y‖² + weight Σ |∇x|`` with all densities between the first and the last level, as at the
    start. Where views are noisy or few, that classifies far more voxels correctly. The result of one slice
    depends neither on its neighbours in the slab nor on the width of the slab.

    References
    ----------
    K. J. Batenburg, J. Sijbers, IEEE Trans. Image Process. 20, 2542 (2011), doi:10.1109/TIP.2011.2131661.
    """
    check_request("DART", projector, sinogram.shape, iterations=iterations)
    grey = as_levels(levels)
    edges = _thresholds_or_midpoints(thresholds, grey)
    if start < 1 or not 0 <= free <= 1:
        raise UsageError(
            f"DART needs at least one sweep to start and a free fraction of 0 to 1, not {start} and {free:g}"
        )
    if weight is not None and not weight >= 0:
        raise UsageError(f"a weight of {weight:g} makes no sense; use zero or more")
    noise = noise_deviation(sinogram)
    descent = SliceDescent(projector, sinogram, float(grey[0]), float(grey[-1]), norm=norm)
    descent.set_weight(noise * sqrt(len(sinogram)) if weight is None else weight)
    descent.improve(start)
    device = projector.device
    classes, classified = device.empty(descent.volume.shape, np.uint8), device.empty(descent.volume.shape)
    random = np.random.default_rng(seed)
    for k in range(iterations + 1):
        _classify(descent.volume, edges, edges.size, classes)
        _paint(classes, grey, classified)
        squares = descent.squared_misfit(classified)
        if callback:
            callback(k, sqrt(squares.sum()), classified)
        if k < iterations:
            if weight is None:  # the first estimate may include detail that the volume now explains
                remaining_noise = np.sqrt(squares / sinogram[..., 0].size)
                descent.set_weight(np.minimum(noise, remaining_noise) * sqrt(len(sinogram)))
            chosen = random.random(classes.shape[:2]) < free * (1 - k / iterations)
            set_free(classes, chosen, descent.free)
            _fix(descent.volume, classified, descent.free)
            descent.improve(SWEEPS)
    return classified


def as_levels(levels: Sequence[float] | Float) -> Array:
    """Convert levels to an array, or raise UsageError for invalid ones.

    Parameters
    ----------
    levels : sequence of float
        Densities.

    Returns
    -------
    ndarray of shape (n_levels,), float32

    Raises
    ------
    UsageError
        When they are not in ascending order, or there are fewer than two or more than 255.
    """
    grey = np.asarray(levels, np.float32)
    rising = grey.ndim == 1 and bool((np.diff(grey) > 0).all())
    if not rising or not 2 <= grey.size <= MOST_LEVELS or not np.isfinite(grey).all():
        raise UsageError(f"levels are two or more densities, rising, not {_as_text(levels)}")
    return grey


def _thresholds_or_midpoints(thresholds: Sequence[float] | None, grey: Array) -> Array:
    """Return valid thresholds as an array, by default halfway between levels, or raise UsageError."""
    if thresholds is None:
        return np.asarray((grey[1:] + grey[:-1]) / 2, np.float32)
    edges = np.asarray(thresholds, np.float32)
    if edges.shape != (grey.size - 1,) or not ((grey[:-1] < edges) & (edges <= grey[1:])).all():
        raise UsageError(
            f"thresholds lie between neighbouring levels, not {_as_text(thresholds)} for {_as_text(grey)}"
        )
    return edges


def _as_text(numbers: Any) -> str:
    """Format numbers for a message."""
    return ", ".join(f"{number:g}" for number in np.ravel(numbers)) or "none"


@step("classify")
def _classify(volume: Any, edges: Any, n_edges: Any, classes: Any) -> None:
    """Set the class of every voxel: the number of thresholds that its density reaches."""
    n_z, n_x, n = volume.shape
    for z in range(n_z):
        for x in range(n_x):
            for k in range(n):
                reached = np.uint8(0)
                for i in range(n_edges):
                    reached += np.uint8(volume[z, x, k] >= edges[i])
                classes[z, x, k] = reached


@step("paint")
def _paint(classes: Any, grey: Any, volume: Any) -> None:
    """Set every voxel to the level of its class."""
    n_z, n_x, n = classes.shape
    for z in range(n_z):
        for x in range(n_x):
            for k in range(n):
                volume[z, x, k] = grey[classes[z, x, k]]


@step("fix")
def _fix(volume: Any, classified: Any, free: Any) -> None:
    """Set the voxels that are not free to their level."""
    n_z, n_x, n = volume.shape
    for z in range(n_z):
        for x in range(n_x):
            for k in range(n):
                if not free[z, x, k]:
                    volume[z, x, k] = classified[z, x, k]


@step("set_free")
def set_free(classes: Any, chosen: Any, free: Any) -> None:
    """Mark as free the voxels that are chosen or have a neighbour of another class in their slice."""
    n_z, n_x, n = classes.shape
    for z in range(n_z):
        for x in range(n_x):
            free[z, x] = chosen[z, x]
            for i in range(max(z - 1, 0), min(z + 2, n_z)):
                for j in range(max(x - 1, 0), min(x + 2, n_x)):
                    for k in range(n):
                        free[z, x, k] |= classes[z, x, k] != classes[i, j, k]


def slab_solver(parameters: MethodParameters, geometry: SliceGeometry, *, masked: bool = False) -> SlabSolver:
    """Create the slab solver."""
    names = ("levels", "thresholds", "iterations")
    solve = partial(_with_norm, **{name: getattr(parameters, name) for name in names})
    return SlabSolver(solve, iterative=True, sinograms=SINOGRAMS, volumes=VOLUMES, sums=squared_norm)


def _with_norm(projector: Projector, sinogram: Array, *, sums: float, **arguments: Any) -> Array:
    """Reconstruct by DART; `sums` is the squared norm of the projection, shared by slabs of one geometry."""
    return dart(projector, sinogram, norm=sums, **arguments)
