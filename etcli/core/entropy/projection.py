"""Entropy of a projection: the number of ways in which its counts can be spread along the rays.

A pixel of I counts is the sum of N voxels along its ray. They can be filled with I counts in

    W = (I + N - 1)! / (I! (N - 1)!)

ways, and the entropy of a projection is the sum of ln W over its pixels, in nats: the less there is to
choose, the more the projection says about the specimen. A second view at 90° limits the voxels that
scatter at all, row by row along the tilt axis; the joint entropy uses that smaller number.

References
----------
S. M. Collins et al., Phys. Rev. Lett. 119, 166101 (2017), equations (1) and (2).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from etcli.core.arguments import check_choice
from etcli.core.errors import DataError

Float = NDArray[np.float64]

FORMS = ("gamma", "stirling")
"""Exact by gamma functions, and equation (1), by Stirling's formula without its square roots."""

TINY = 1e-300  # no number of voxels divided by it overflows


def pixel_entropy(counts: ArrayLike, n_voxels: ArrayLike, *, form: str = "gamma") -> Float:
    """Compute the entropy ln W of single pixels.

    Parameters
    ----------
    counts : array_like
        Counts I of the pixels: real numbers, of any shape.
    n_voxels : array_like
        Voxels N along the rays: real numbers, of a shape that goes with the counts.
    form : {"gamma", "stirling"}
        lnΓ(I + N) - lnΓ(I + 1) - lnΓ(N), or equation (1) of the paper.

    Returns
    -------
    ndarray, float64
        In nats; 0 where I ≤ 0 or N ≤ 1.
    """
    check_choice("form of the entropy", form, FORMS)
    i, n = np.broadcast_arrays(np.asarray(counts, np.float64), np.asarray(n_voxels, np.float64))
    entropy = np.zeros(i.shape)
    valid = (i > 0) & (n > 1)
    i, n = i[valid], n[valid]
    if form == "gamma":
        entropy[valid] = gammaln(i + n) - gammaln(i + 1) - gammaln(n)
    else:
        entropy[valid] = i * np.log1p((n - 1) / np.maximum(i, TINY)) + (n - 1) * np.log1p(i / (n - 1))
    return entropy


def projection_entropy(counts: ArrayLike, n_voxels: ArrayLike, *, form: str = "gamma") -> float:
    """Compute the entropy of a projection, alone or given another view.

    Parameters
    ----------
    counts : array_like of shape (ny, nx)
        Counts of the pixels: real numbers.
    n_voxels : float, or array_like of shape (ny,)
        Voxels N along every ray, or those of each row, as from `occupied_voxels` of the view at 90°.
    form : {"gamma", "stirling"}
        As for `pixel_entropy`.

    Returns
    -------
    float
        In nats.

    Raises
    ------
    DataError
        When there is not one number of voxels per row.
    """
    image, n = np.asarray(counts, np.float64), np.asarray(n_voxels, np.float64)
    check_choice("form of the entropy", form, FORMS)
    if n.ndim == 0:
        n = np.full(image.shape[0], n)
    if image.ndim != 2 or n.shape != image.shape[:1]:
        raise DataError(f"an image of shape {image.shape} needs one number of voxels per row, not {n.shape}")
    rows, columns = np.nonzero((image > 0) & (n > 1)[:, np.newaxis])
    i, row_n = image[rows, columns], n[rows]
    if form == "stirling":
        return float(pixel_entropy(i, row_n, form=form).sum())
    # lnΓ(N) is the same for all pixels of a row
    per_row = np.bincount(rows, minlength=len(n)) @ np.where(n > 1, gammaln(np.maximum(n, 1.0)), 0.0)
    return float((gammaln(i + row_n) - gammaln(i + 1)).sum() - per_row)


def occupied_voxels(partner: ArrayLike, *, percentile: float = 100.0) -> Float:
    """Estimate the voxels that scatter along each row of the view at 90°, equation (2).

    A row of the partner shows the depth of the specimen in that row: N_k = Σ_i J_ik / max_i J_ik, the width
    of a uniform object with the same sum and the same peak.

    Parameters
    ----------
    partner : array_like of shape (ny, nx)
        Image J of the view turned by 90° about the tilt axis; its scale does not matter.
    percentile : float
        Percentile of a row's pixels that are not zero to use in place of the maximum, which a single hot
        pixel falsifies.

    Returns
    -------
    ndarray of shape (ny,), float64
        Between 1 and nx; 1 for an empty row.
    """
    image = np.maximum(np.asarray(partner, np.float64), 0.0)
    if percentile >= 100:
        peak = image.max(axis=1)
    else:
        filled = np.where(image > 0, image, np.nan)
        filled[~(image > 0).any(axis=1), 0] = 0.0
        peak = np.nanpercentile(filled, percentile, axis=1)
    total = np.minimum(image, peak[:, np.newaxis]).sum(axis=1)
    widths: Float = np.divide(total, peak, out=np.ones(len(image)), where=peak > 0)
    return widths
