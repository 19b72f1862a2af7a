"""Grey levels: the few densities of a specimen, found in a reconstruction and fitted to the views."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError, UsageError
from etcli.core.projectors import Projector
from etcli.core.reconstruction.solve import only_slab
from etcli.core.solvers.dart import START, as_levels, dart, set_free
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.misfit import Misfit
from etcli.core.solvers.slice_tv import slice_tv
from etcli.core.solvers.spectral_norm import squared_norm
from etcli.core.solvers.steps import on_host

Array = NDArray[np.float32]
Float = NDArray[np.float64]

MOST_FOUND = 5  # multi-Otsu tries all combinations of thresholds
ROUNDS, FEW = 3, 10  # number of fits, and iterations of DART before each


def find_levels(
    projector: Projector, sinogram: Array, n_levels: int, *, lower: float = 0.0, norm: float | None = None
) -> Float:
    """Find the densities of a specimen from the views of some of its slices.

    Parameters
    ----------
    projector : Projector
        The geometry of the views.
    sinogram : ndarray of shape ``projector.range_shape``, float32
        Line integrals, in voxels.
    n_levels : int
        Number of densities, the vacuum included; 2 to 5.
    lower : float
        Lower bound of the density.
    norm : float, optional
        ``squared_norm(projector)``.

    Returns
    -------
    ndarray of shape (n_levels,), float64
        In ascending order.

    Raises
    ------
    DataError
        When the densities cannot be divided into so many classes.
    UsageError
        When the number is out of its range or the sinogram has the wrong shape.

    Notes
    -----
    Levels from the histogram of a reconstruction are refined by `dart` and `fitted_levels` in turn.
    """
    norm = norm or squared_norm(projector)
    smooth = slice_tv(projector, sinogram, iterations=START, lower=lower, norm=norm)
    levels = levels_from_histogram(on_host(smooth), n_levels)
    for _ in range(ROUNDS):
        volume = dart(projector, sinogram, levels=levels, iterations=FEW, norm=norm)
        levels = fitted_levels(projector, sinogram, volume, levels)
    return levels


def levels_from_histogram(volume: Array, n_levels: int) -> Float:
    """Find the densities of a specimen from the histogram of a reconstruction.

    Parameters
    ----------
    volume : ndarray of shape (thickness, width, n_slices), float32
        Density per voxel, preferably from `etcli.core.solvers.slice_tv.slice_tv`: SIRT makes small parts too
        faint.
    n_levels : int
        Number of densities, the vacuum included; 2 to 5.

    Returns
    -------
    ndarray of shape (n_levels,), float64
        The median of each class in ascending order; voxels on a boundary count only if there are no others.

    Raises
    ------
    DataError
        When the densities cannot be divided into so many classes.
    UsageError
        When the number is out of its range.

    Notes
    -----
    The classes are those with the smallest variance within classes (multi-Otsu thresholds).

    References
    ----------
    P.-S. Liao, T.-S. Chen, P.-C. Chung, J. Inf. Sci. Eng. 17, 713 (2001).
    """
    from skimage.filters import threshold_multiotsu

    if not 2 <= n_levels <= MOST_FOUND:
        raise UsageError(f"{n_levels} levels cannot be found; 2 to {MOST_FOUND} can, others must be given")
    try:
        classes = np.digitize(volume, threshold_multiotsu(volume.ravel(), n_levels)).astype(np.uint8)
    except ValueError as error:
        raise DataError(f"the densities do not fall into {n_levels} classes; give fewer levels") from error
    border = np.empty(volume.shape, np.bool_)
    set_free(classes, np.zeros(volume.shape[:2], np.bool_), border)
    return np.array([_inner_median(volume, classes == k, border) for k in range(n_levels)])


def fitted_levels(
    projector: Projector, sinogram: Array, volume: Array, levels: Sequence[float] | Float
) -> Float:
    """Fit the densities of the classes to the views.

    Parameters
    ----------
    projector : Projector
        The geometry of the views.
    sinogram : ndarray of shape ``projector.range_shape``, float32
        Line integrals, in voxels.
    volume : ndarray of shape ``projector.domain_shape``, float32
        Result of `dart` with these levels.
    levels : sequence of float
        The densities of the classes.

    Returns
    -------
    ndarray of shape (n_levels,), float64
        The densities g that minimise ‖y - Σ gₖ A 1ₖ‖ over all slices, where 1ₖ is 1 in the voxels of class k;
        classes without voxels keep their density.

    Raises
    ------
    DataError
        When the fitted levels are no longer in ascending order.

    References
    ----------
    W. van Aarle, K. J. Batenburg, J. Sijbers, IEEE Trans. Image Process. 21, 4608 (2012),
    doi:10.1109/TIP.2012.2206042.
    """
    grey = as_levels(levels)
    classes = [volume == level for level in grey]
    present = [k for k, voxels in enumerate(classes) if voxels.any()]
    projections = (on_host(projector.forward(classes[k].astype(np.float32))) for k in present)
    sums = np.array([projection.ravel() for projection in projections], np.float64)
    fitted = grey.astype(np.float64)
    fitted[present] = np.linalg.lstsq(sums @ sums.T, sums @ on_host(sinogram).ravel())[0]
    if not (np.diff(fitted) > 0).all():
        raise DataError(f"the views do not distinguish {len(grey)} levels; give their densities, or fewer")
    return fitted


def _inner_median(volume: Array, chosen: NDArray[np.bool_], border: NDArray[np.bool_]) -> float:
    """Return the median of the chosen voxels, without those on the border unless there are no others."""
    inner = chosen & ~border
    return float(np.median(volume[inner if inner.any() else chosen]))


def tuned_levels(parameters: MethodParameters, misfit: Misfit, n_levels: int) -> MethodParameters:
    """Set the densities to those found in a few rows.

    Parameters
    ----------
    parameters : MethodParameters
        Method and its parameters.
    misfit : SlabMisfit
        Misfit to a few rows.
    n_levels : int
        Number of densities, the vacuum included.

    Returns
    -------
    MethodParameters
        The parameters with these densities.
    """
    projector, slab = only_slab(misfit)
    return replace(parameters, levels=tuple(find_levels(projector, slab, n_levels).tolist()))
