"""The few densities of a specimen: found in a reconstruction, and fitted to the views."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError, UsageError
from etcli.core.projectors import Projector

Array = NDArray[np.float32]
Float = NDArray[np.float64]

MOST_LEVELS = 5  # multi-Otsu tries all combinations of thresholds
MOST_CLASSES = 255


def levels_from_histogram(values: NDArray[np.floating[Any]], n_levels: int) -> Float:
    """Find the densities that a specimen is made of from those of a reconstruction.

    Parameters
    ----------
    values : ndarray
        Densities of voxels, such as a slice by SIRT.
    n_levels : int
        How many there are, the vacuum included; 2 to 5.

    Returns
    -------
    ndarray of shape (n_levels,), float64
        The median of each class, rising. `fitted_levels` improves on them.

    Raises
    ------
    DataError
        When the densities cannot be divided into so many classes.
    UsageError
        When the number is out of its range.

    Notes
    -----
    The classes are those of the smallest variance within.

    References
    ----------
    P.-S. Liao, T.-S. Chen, P.-C. Chung, J. Inf. Sci. Eng. 17, 713 (2001).
    """
    from skimage.filters import threshold_multiotsu

    if not 2 <= n_levels <= MOST_LEVELS:
        raise UsageError(f"{n_levels} levels cannot be found; 2 to {MOST_LEVELS} can, others must be given")
    try:
        edges = threshold_multiotsu(values, n_levels)
    except ValueError as error:
        raise DataError(f"the densities do not fall into {n_levels} classes; give fewer levels") from error
    classes = np.digitize(values, edges)
    return np.array([np.median(values[classes == k]) for k in range(n_levels)])


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
        What `dart` returned with these levels.
    levels : sequence of float
        The densities of the classes.

    Returns
    -------
    ndarray of shape (n_levels,), float64
        The densities g that minimise ‖y - Σ gₖ A 1ₖ‖ over all slices; classes without voxels keep theirs.

    Raises
    ------
    DataError
        When the fit disturbs the order of the levels.

    References
    ----------
    W. van Aarle, K. J. Batenburg, J. Sijbers, IEEE Trans. Image Process. 21, 4608 (2012),
    doi:10.1109/TIP.2012.2206042.
    """
    grey = as_levels(levels)
    classes = [volume == level for level in grey]
    present = [k for k, voxels in enumerate(classes) if voxels.any()]
    sums = np.array([projector.forward(classes[k].astype(np.float32)).ravel() for k in present], np.float64)
    fitted = grey.astype(np.float64)
    fitted[present] = np.linalg.lstsq(sums @ sums.T, sums @ sinogram.ravel())[0]
    if not (np.diff(fitted) > 0).all():
        raise DataError(f"the views do not tell {len(grey)} levels apart; give their densities, or fewer")
    return fitted


def as_levels(levels: Sequence[float] | Float) -> Array:
    """Return levels as an array.

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
        When they do not rise, or there are less than two or more than 255.
    """
    grey = np.asarray(levels, np.float32)
    rising = grey.ndim == 1 and bool((np.diff(grey) > 0).all())
    if not rising or not 2 <= grey.size <= MOST_CLASSES or not np.isfinite(grey).all():
        raise UsageError(f"levels are two or more densities, rising, not {listed(levels)}")
    return grey


def listed(numbers: Any) -> str:
    """Return numbers for a message."""
    return ", ".join(f"{number:g}" for number in np.ravel(numbers)) or "none"
