"""Tails of the images of atoms: what lies beyond the Gaussians of the model, such as the rings of a probe."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import nnls

Doubles = NDArray[np.float64]

WIDTHS = (4.0, 8.0)
"""Standard deviations of tails in those of an atom: narrower ones could not be told from the atom."""
RIDGE = 1e-9


def tails(atoms: Doubles, residual: Doubles, weight: Doubles, sigma_px: float) -> Doubles:
    """Fit the tails of the images of atoms to the residual of the views.

    Parameters
    ----------
    atoms : ndarray of shape (n_views, n_v, n_u), float64
        Views of the atoms of a model alone.
    residual : ndarray of shape (n_views, n_v, n_u), float64
        Measured views minus these and the level of each.
    weight : ndarray of shape (n_views, n_v, n_u), float64
        Inverse variances.
    sigma_px : float
        Standard deviation of an atom in pixels.

    Returns
    -------
    ndarray of shape (n_views, n_v, n_u), float64
        Tails, with a mean of 0 in each view, as their mean is part of its level.

    Notes
    -----
    An image of an atom has a core, nearly a Gaussian, and wide tails: an Airy disc has 16 % of its intensity
    in rings [1]_, other probes and the scattering in a specimen have similar ones. A model without tails
    shows surplus density between and around atoms, which widens its Gaussians and hides missing atoms. The
    tails are ``Σⱼ hⱼ Gⱼ ∗ M``, where M are the views of the atoms, Gⱼ Gaussians of 4 and 8 times the width
    of an atom, and hⱼ ≥ 0 the same for all views, fitted by weighted least squares together with a factor
    of M and a level of each view.

    References
    ----------
    .. [1] M. Born, E. Wolf, Principles of Optics, 7th ed., Cambridge University Press (1999), section 8.5.2.
    """
    total = np.maximum(weight.sum(axis=(1, 2), keepdims=True), 1e-300)

    def levelled(images: Doubles) -> Doubles:
        return np.asarray(images - (weight * images).sum(axis=(1, 2), keepdims=True) / total)

    spread = [
        np.stack([ndimage.gaussian_filter(view, width * sigma_px, mode="constant") for view in atoms])
        for width in WIDTHS
    ]
    columns = [levelled(atoms), *map(levelled, spread)]
    normal = np.array([[np.vdot(weight * a, b) for b in columns] for a in columns])
    right = np.array([np.vdot(weight * a, residual) for a in columns])
    if not normal[0, 0] > 0:
        return np.zeros_like(atoms)
    # the factor of the atoms may have any sign, so it is eliminated before the others are kept positive
    normal_of_tails = normal[1:, 1:] - np.outer(normal[1:, 0], normal[0, 1:]) / normal[0, 0]
    right_of_tails = right[1:] - normal[1:, 0] * right[0] / normal[0, 0]
    scale = np.sqrt(np.maximum(np.diag(normal_of_tails), 1e-300))
    lower = np.linalg.cholesky(normal_of_tails / np.outer(scale, scale) + RIDGE * np.eye(len(scale)))
    share, _ = nnls(lower.T, np.linalg.solve(lower, right_of_tails / scale))
    fitted = np.tensordot(share / scale, spread, axes=1)
    return np.asarray(fitted - fitted.mean(axis=(1, 2), keepdims=True))
