"""Position errors of traced atoms, from scores and the residual, and from half-sets."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from etcli.core.atoms.gaussian_fit import fit_atoms, heights, places, rescaled, sigmas
from etcli.core.atoms.mixture import NORMAL_QUARTILE
from etcli.core.atoms.peaks import smoothed
from etcli.core.atoms.tracing import Trace

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]

NEAR = 0.1
"""Density, as a share of that of a typical atom, above which the noise is measured."""
HALF_SWEEPS = 12
MOST_SCATTER = 2.0
"""Largest error by the scatter of scores, in that by the residual: atoms may differ in brightness."""
NEIGHBOURS = 12
"""Atoms of the same species with which a score is compared."""


def position_errors_A(trace: Trace, pixel_A: float) -> Doubles:
    """Estimate the standard deviations of positions from the scatter of scores, and the residual of the fit.

    Parameters
    ----------
    trace : Trace
    pixel_A : float
        Size of a voxel in Å.

    Returns
    -------
    ndarray of shape (n_atoms, 3), float64
        Standard deviations of x, y and z in Å.

    Notes
    -----
    In white noise, a score of height h and standard deviation s means a position that is uncertain by
    ``√2 σ s / h`` along each axis, for a Gaussian of width σ, because position and height are fitted to the
    same voxels. The scatter s is measured between neighbours of one species, so that it contains no slow
    variation of brightness. The residual cannot tell it: where there is much noise, the fit follows it, and
    where there is little, the residual is due to the shape of atoms. But it tells in which direction the
    noise displaces atoms more than in others: as a residual r displaces the least-squares position of a
    Gaussian f by ``Σ r ∂f / Σ (∂f)²``, errors are shared among the axes as the root mean square of the
    numerator in the specimen is. Scores also scatter where the atoms themselves differ in brightness, so
    errors are at most twice those that the residual alone gives. Systematic errors that all views have in
    common, such as wrong angles, are not included.
    """
    height, sigma = heights(trace.fitted), trace.rules.sigma_px
    if not len(height):
        return np.empty((0, 3))
    near = trace.volume - trace.residual > NEAR * np.median(height)
    slope = np.zeros(3)
    for axis in range(3 if near.any() else 0):
        order = [0, 0, 0]
        order[2 - axis] = 1
        filtered = ndimage.gaussian_filter(trace.residual, sigma, order=order, mode="constant")
        slope[axis] = np.sqrt(np.mean(filtered[near].astype(np.float64) ** 2))
    # scipy's Gaussians have an integral of 1
    scale = (2 * np.pi) ** 1.5 * sigma**3 / (np.pi**1.5 * sigma / 2 * np.maximum(height, 1e-300))
    error_px = scale[:, np.newaxis] * slope
    scatter = _scatter(places(trace.fitted), trace.score, trace.kind)
    if np.isfinite(scatter):
        relative = scatter / np.maximum(trace.score, 1e-300)
        share = slope / max(float(np.sqrt(np.mean(slope**2))), 1e-300)
        by_scatter = np.sqrt(2) * sigma * relative[:, np.newaxis] * share
        error_px = np.minimum(by_scatter, MOST_SCATTER * error_px)
    # at the same height, the error is proportional to the inverse square root of the width
    return np.asarray(error_px * (sigma / sigmas(trace.fitted))[:, np.newaxis] ** 0.5 * pixel_A)


def _scatter(place: Doubles, score: Doubles, kind: NDArray[np.intp]) -> float:
    """Measure the standard deviation of scores between neighbours of one species; NaN for too few atoms."""
    deviations = []
    for k in np.unique(kind):
        own, near = score[kind == k], place[kind == k]
        if len(own) > NEIGHBOURS:
            _, index = cKDTree(near).query(near, k=NEIGHBOURS + 1)
            deviations.append(own - own[index[:, 1:]].mean(axis=1))
    if not deviations:
        return float("nan")
    # the median ignores false atoms, and atoms in the place of two
    typical = float(np.median(np.abs(np.concatenate(deviations)))) / NORMAL_QUARTILE
    return float(typical / np.sqrt(1 + 1 / NEIGHBOURS))


def half_differences_A(trace: Trace, halves: tuple[Array, Array], pixel_A: float) -> Doubles:
    """Fit the atoms in two volumes, made from half of the views each, and return half of the differences.

    Parameters
    ----------
    trace : Trace
        Trace of the volume of all views.
    halves : (ndarray, ndarray) of shape (nz, ny, nx), float32
        The two volumes; smoothed in place.
    pixel_A : float

    Returns
    -------
    ndarray of shape (n_atoms, 3), float64
        Half of the differences along x, y and z in Å, with sign. Each half has twice the variance of the
        whole, and their difference four times, so the root mean square is the standard deviation of a
        position.
    """
    half_places = []
    for half in halves:
        smoothed(half, trace.smoothing_A / pixel_A, out=half)
        start = rescaled(trace.fitted, half, threads=trace.rules.threads)
        atoms, _ = fit_atoms(half, start, trace.rules, sweeps=HALF_SWEEPS)
        half_places.append(places(atoms))
    return np.asarray((half_places[0] - half_places[1]) / 2 * pixel_A)
