"""DART: reconstruction of specimens that are made of few materials, each of one known density."""

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.jit import jit
from etcli.core.projectors import Projector
from etcli.core.projectors.slab import aligned_empty
from etcli.core.solvers.checks import check_request
from etcli.core.solvers.grey_levels import as_levels, listed
from etcli.core.solvers.regularised import largest_eigenvalue

Array = NDArray[np.float32]
Float = NDArray[np.float64]

SWEEPS = 10
"""Over the free voxels, in an iteration."""
BRIGHT = 0.1
"""Rays above this part of the brightest tell the noise; where there is vacuum, there may be none."""
BEND = sqrt(20)  # noise of third differences, that of the pixels being 1
MAD = 0.6745  # median of |x|, x normal with deviation 1
TINY = np.float32(1e-30)

SINOGRAMS, VOLUMES = 2, 6
"""Arrays of the size of the slab's sinogram and volume that `dart` has at once."""


def dart(
    projector: Projector,
    sinogram: Array,
    *,
    levels: Sequence[float],
    thresholds: Sequence[float] | None = None,
    iterations: int = 40,
    start: int = 100,
    free: float = 0.3,
    weight: float | None = None,
    seed: int = 0,
    norm: float | None = None,
    callback: Callable[[int, float], None] | None = None,
) -> Array:
    """Reconstruct a volume that has a few densities only.

    Parameters
    ----------
    projector : Projector
        The geometry of the views.
    sinogram : ndarray of shape ``projector.range_shape``, float32
        Line integrals, in voxels.
    levels : sequence of float
        Densities, rising; that of the vacuum is one of them. See `etcli.core.solvers.grey_levels`.
    thresholds : sequence of float, optional
        What separates neighbouring levels; halfway by default.
    iterations : int
        How often all voxels are classified and then those on boundaries corrected.
    start : int
        Sweeps over all views before the first classification.
    free : float
        Part of the voxels off the boundaries, chosen at random, that are corrected too; it falls to zero in
        the course of the iterations. The same places in all slices.
    weight : float, optional
        Of the total variation, in the units of a view times those of its back-projection. By default each
        slice has its own: its noise times ``sqrt(n_views)``, the noise being that of `noise_deviation` or the
        residual's, whichever is smaller.
    seed : int
        Of the random numbers; not a generator, because all slabs must draw the same.
    norm : float, optional
        ``largest_eigenvalue(projector)``, where one geometry serves many slabs.
    callback : callable, optional
        ``callback(k, norm)`` before the first and after every iteration, with the norm of y - A x of the
        classified volume x.

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
    In every iteration each voxel is set to the level whose class it falls into. Those with a neighbour, of
    8 in the slice, of another class, and some more, are free and go on from the density they had: the others
    are known, so that few unknowns are left. As in the paper but for what corrects the free ones: instead of
    SIRT followed by smoothing, it is descent on ``½ ‖A x - y‖² + weight Σ |∇x|`` with all densities between
    the first and the last level, as the start is. That finds far more of the right voxels where views are
    noisy or few. The result of one slice depends neither on its neighbours in the slab nor on the width of
    the slab.

    References
    ----------
    K. J. Batenburg, J. Sijbers, IEEE Trans. Image Process. 20, 2542 (2011), doi:10.1109/TIP.2011.2131661.
    A. Beck, M. Teboulle, IEEE Trans. Image Process. 18, 2419 (2009), doi:10.1109/TIP.2009.2028250.
    """
    check_request("DART", projector, sinogram.shape, iterations=iterations)
    grey = as_levels(levels)
    edges = _checked_thresholds(thresholds, grey)
    if start < 1 or not 0 <= free <= 1:
        raise UsageError(
            f"DART starts with at least one sweep and frees 0 to 1 of all, not {start}, {free:g}"
        )
    if weight is not None and not weight >= 0:
        raise UsageError(f"a weight of {weight:g} makes no sense; use zero or more")
    noise = noise_deviation(sinogram)
    search = _Search(projector, sinogram, grey, norm or largest_eigenvalue(projector))
    search.set_weight(noise * sqrt(len(sinogram)) if weight is None else weight)
    search.improve(start)
    classes = np.empty(search.volume.shape, np.uint8)
    random = np.random.default_rng(seed)
    for k in range(iterations + 1):
        _classify(search.volume, edges, classes)
        squares = search.misfit(classes)
        if callback:
            callback(k, sqrt(squares.sum()))
        if k < iterations:
            if weight is None:  # what the estimate took for noise may be detail, now explained
                left = np.sqrt(squares / sinogram[..., 0].size)
                search.set_weight(np.minimum(noise, left) * sqrt(len(sinogram)))
            chosen = random.random(classes.shape[:2]) < free * (1 - k / iterations)
            _set_free(classes, chosen, search.free)
            _fix(search.volume, search.free, classes, grey)
            search.improve(SWEEPS)
    np.take(grey, classes, out=search.volume, mode="clip")  # to raise, it would copy
    return search.volume


def noise_deviation(sinogram: Array) -> Float:
    """Estimate the standard deviation of the noise of every slice.

    Parameters
    ----------
    sinogram : ndarray of shape (n_views, n_detector, n_slices), float32
        Line integrals.

    Returns
    -------
    ndarray of shape (n_slices,), float64

    Notes
    -----
    The median of the absolute third differences along the detector, of rays that meet the specimen. Noise
    that neighbouring pixels share, as after an interpolation, is underestimated.
    """
    deviation = np.zeros(sinogram.shape[-1])
    for k in range(deviation.size):
        views = np.ascontiguousarray(sinogram[..., k])
        bright = abs(views[:, 1:-2]) > BRIGHT * abs(views).max(initial=0)
        bends = abs(np.diff(views, n=3, axis=1))[bright]
        if bends.size:
            deviation[k] = np.median(bends) / (MAD * BEND)
    return deviation


def _checked_thresholds(thresholds: Sequence[float] | None, grey: Array) -> Array:
    """Return what separates the levels."""
    if thresholds is None:
        return np.asarray((grey[1:] + grey[:-1]) / 2, np.float32)
    edges = np.asarray(thresholds, np.float32)
    if edges.shape != (grey.size - 1,) or not ((grey[:-1] < edges) & (edges <= grey[1:])).all():
        raise UsageError(
            f"thresholds lie between neighbouring levels, not {listed(thresholds)} for {listed(grey)}"
        )
    return edges


class _Search:
    """Descent on ½ ‖A x - y‖² + weight Σ |∇x| over the free voxels of a slab."""

    def __init__(self, projector: Projector, sinogram: Array, grey: Array, norm: float) -> None:
        self.projector, self.sinogram, self.grey = projector, sinogram, grey
        self.scale = np.float32(1 / norm)
        shape = projector.domain_shape
        self.weight = np.zeros(shape[-1:], np.float32)
        self.volume, self.ahead, self.back = (aligned_empty(shape) for _ in range(3))
        self.volume[:] = np.clip(0, grey[0], grey[-1])
        self.dual = np.zeros((2, *shape), np.float32)
        self.free = np.ones(shape, np.bool_)
        self.residual = aligned_empty(projector.range_shape)

    def set_weight(self, weight: float | Float) -> None:
        """Set the weight of the total variation, of all slices or each."""
        self.weight[:] = weight * self.scale

    def improve(self, sweeps: int) -> None:
        """Make proximal gradient steps with Nesterov's momentum, each with one step on the dual."""
        self.ahead[:] = self.volume
        pace = 1.0
        for _ in range(sweeps):
            longer = (1 + sqrt(1 + 4 * pace**2)) / 2
            self.projector.forward(self.ahead, out=self.residual)
            np.subtract(self.sinogram, self.residual, out=self.residual)
            self.projector.adjoint(self.residual, out=self.back)
            _descend(self.back, self.ahead, self.scale)
            bounds = self.grey[0], self.grey[-1], self.free
            _set_image(self.back, self.dual, *bounds, self.ahead)
            _step_dual(self.ahead, self.dual, self.weight)
            _set_image(self.back, self.dual, *bounds, self.ahead)
            _extrapolate(self.volume, self.ahead, np.float32((pace - 1) / longer))
            pace = longer

    def misfit(self, classes: NDArray[np.uint8]) -> Float:
        """Return ‖y - A x‖² of every slice of a classified volume."""
        np.take(self.grey, classes, out=self.back, mode="clip")
        self.projector.forward(self.back, out=self.residual)
        squares: Float = _squared_distance(self.sinogram, self.residual)
        return squares


@jit
def _squared_distance(sinogram: Any, projected: Any) -> Any:
    """Return ‖y - A x‖² of every slice."""
    n_views, n_detector, n = sinogram.shape
    squares = np.zeros(n)
    for view in range(n_views):
        for pixel in range(n_detector):
            for k in range(n):
                squares[k] += (sinogram[view, pixel, k] - projected[view, pixel, k]) ** 2
    return squares


@jit
def _classify(volume: Any, edges: Any, classes: Any) -> None:
    """Set the class of every voxel: how many edges its density reaches."""
    n_z, n_x, n = volume.shape
    for z in range(n_z):
        for x in range(n_x):
            for k in range(n):
                reached = np.uint8(0)
                for edge in edges:
                    reached += np.uint8(volume[z, x, k] >= edge)
                classes[z, x, k] = reached


@jit
def _set_free(classes: Any, chosen: Any, free: Any) -> None:
    """Free the voxels that are chosen or have a neighbour of another class in their slice."""
    n_z, n_x, n = classes.shape
    for z in range(n_z):
        for x in range(n_x):
            free[z, x] = chosen[z, x]
            for i in range(max(z - 1, 0), min(z + 2, n_z)):
                for j in range(max(x - 1, 0), min(x + 2, n_x)):
                    for k in range(n):
                        free[z, x, k] |= classes[z, x, k] != classes[i, j, k]


@jit
def _fix(volume: Any, free: Any, classes: Any, grey: Any) -> None:
    """Set the voxels that are not free to the levels of their classes."""
    n_z, n_x, n = volume.shape
    for z in range(n_z):
        for x in range(n_x):
            for k in range(n):
                if not free[z, x, k]:
                    volume[z, x, k] = grey[classes[z, x, k]]


@jit
def _descend(back: Any, ahead: Any, scale: Any) -> None:
    """Replace Aᵀ(y - A x) by the point that a step along it leads to."""
    n_z, n_x, n = back.shape
    for z in range(n_z):
        for x in range(n_x):
            for k in range(n):
                back[z, x, k] = ahead[z, x, k] + scale * back[z, x, k]


@jit
def _set_image(point: Any, dual: Any, lower: Any, upper: Any, free: Any, image: Any) -> None:
    """Set the image of a dual variable, ``point + div(dual)`` within the bounds; fixed voxels stay."""
    n_z, n_x, n = point.shape
    for z in range(n_z):
        for x in range(n_x):
            for k in range(n):
                divergence = dual[0, z, x, k] + dual[1, z, x, k]
                if z > 0:
                    divergence -= dual[0, z - 1, x, k]
                if x > 0:
                    divergence -= dual[1, z, x - 1, k]
                if free[z, x, k]:
                    image[z, x, k] = min(max(point[z, x, k] + divergence, lower), upper)


@jit
def _step_dual(image: Any, dual: Any, weight: Any) -> None:
    """Step along the gradient of the image and project on balls, whose radius is the weight."""
    n_z, n_x, n = image.shape
    step = np.float32(1 / 8)
    for z in range(n_z):
        for x in range(n_x):
            for k in range(n):
                along_z, along_x = dual[0, z, x, k], dual[1, z, x, k]
                if z < n_z - 1:
                    along_z += step * (image[z + 1, x, k] - image[z, x, k])
                if x < n_x - 1:
                    along_x += step * (image[z, x + 1, k] - image[z, x, k])
                shrink = weight[k] / max(weight[k], np.sqrt(along_z * along_z + along_x * along_x) + TINY)
                dual[0, z, x, k], dual[1, z, x, k] = shrink * along_z, shrink * along_x


@jit
def _extrapolate(volume: Any, image: Any, momentum: Any) -> None:
    """Make the image the volume, and extrapolate in its place."""
    n_z, n_x, n = volume.shape
    for z in range(n_z):
        for x in range(n_x):
            for k in range(n):
                new = image[z, x, k]
                image[z, x, k] = new + momentum * (new - volume[z, x, k])
                volume[z, x, k] = new
