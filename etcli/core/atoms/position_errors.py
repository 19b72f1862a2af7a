"""Position errors of traced atoms, from the residual and from half-sets."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.atoms.gaussian_fit import fit_atoms, heights, places, rescaled, sigmas
from etcli.core.atoms.peaks import smoothed
from etcli.core.atoms.tracing import Trace

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]

NEAR = 0.1
"""Density, as a share of that of a typical atom, above which the noise is measured."""
HALF_SWEEPS = 12


def position_errors_A(trace: Trace, pixel_A: float) -> Doubles:
    """Estimate the standard deviations of positions from the residual of the fit.

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
    A residual r displaces the least-squares position of a Gaussian f by ``Σ r ∂f / Σ (∂f)²``. The root mean
    square of the numerator over all places in the specimen, with the residual of the fit as r, accounts for
    correlated and anisotropic noise. Systematic errors that all views have in common, such as wrong angles,
    are not included.
    """
    height, sigma = heights(trace.fitted), trace.rules.sigma_px
    if not len(height):
        return np.empty((0, 3))
    near = trace.volume - trace.residual > NEAR * np.median(height)
    norm = np.pi**1.5 * sigma / 2
    error_px = np.empty((len(height), 3))
    for axis in range(3):
        order = [0, 0, 0]
        order[2 - axis] = 1
        slope = ndimage.gaussian_filter(trace.residual, sigma, order=order, mode="constant")
        rms = float(np.sqrt(np.mean(slope[near].astype(np.float64) ** 2))) if near.any() else 0.0
        # scipy's Gaussians have an integral of 1
        error_px[:, axis] = (2 * np.pi) ** 1.5 * sigma**3 * rms / (norm * np.maximum(height, 1e-300))
    # at the same height, the error is proportional to the inverse square root of the width
    return error_px * (sigma / sigmas(trace.fitted))[:, np.newaxis] ** 0.5 * pixel_A


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
