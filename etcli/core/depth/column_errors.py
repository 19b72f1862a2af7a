"""Covariance of the parameters of fitted columns, for given variances of the pixels."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from etcli.core.depth.column_solver import border_of
from etcli.core.depth.gaussian_columns import HEIGHT, WIDTH, Bordered, GaussianColumns, Sparse, raised

Float = NDArray[np.float64]


def column_covariance(
    columns: GaussianColumns,
    height: Float,
    variance: Float,
    *,
    freedom: str,
    background_free: bool,
    bad: NDArray[np.bool_],
    held: NDArray[np.bool_],
) -> tuple[Float, float]:
    """Compute the covariance of the parameters of each column in an unweighted least-squares fit.

    Parameters
    ----------
    columns : GaussianColumns, Sparse, raised
    height : ndarray of shape (n_columns,), float64
    variance : ndarray of shape (ny, nx), float64
        Variance of the pixels, V.
    freedom : {"fixed", "common", "own"}
        Which widths were fitted.
    background_free : bool
        Whether the background was fitted.
    bad : ndarray of shape (n_columns,), bool
        Columns of which only the height counts as fitted.
    held : ndarray of shape (n_columns,), bool
        Columns whose position was not fitted.

    Returns
    -------
    covariance : ndarray of shape (n_columns, 4, 4), float64
        Of x, y, width and height; 0 for parameters that were not fitted.
    background_error : float
        Standard deviation of the background; 0 if it was not fitted.

    Notes
    -----
    (JᵀJ)⁻¹ JᵀVJ (JᵀJ)⁻¹, with one approximation: the inverse of the part of JᵀJ without the common width and
    the background is computed for each column with those neighbours alone whose boxes overlap its own. The
    errors of more distant columns do not reach it.
    """
    n = len(columns)
    ones = np.ones(columns.shape)
    matrix = columns.derivative_products(height, ones)
    noise = columns.derivative_products(height, variance)
    border, corner = border_of(
        columns, height, matrix, ones, freedom=freedom, background_free=background_free
    )
    noise_border, noise_corner = border_of(
        columns, height, noise, variance, freedom=freedom, background_free=background_free
    )

    free = np.ones((n, 4), bool)
    free[:, WIDTH] = freedom == "own"
    free[held, :WIDTH] = False
    free[bad, :HEIGHT] = False
    unknown = np.flatnonzero(free)
    matrix, noise = raised(matrix[:, unknown][unknown]), noise[:, unknown][unknown]
    border, noise_border = border[unknown], noise_border[unknown]

    factors = Bordered.factorise(matrix, border, corner)
    reduced, inverse = factors.reduced, np.linalg.inv(factors.complement)
    common = (
        inverse
        @ (noise_corner - reduced.T @ noise_border - noise_border.T @ reduced + reduced.T @ (noise @ reduced))
        @ inverse
    )
    mixed = factors.local.solve((noise_border - noise @ reduced) @ inverse) if border.size else reduced
    covariance = np.zeros((n, 4, 4))
    first = np.searchsorted(unknown, 4 * np.arange(n + 1))
    for k, local in enumerate(_local_covariances(matrix, noise, first)):
        own = slice(first[k], first[k + 1])
        through = mixed[own] @ reduced[own].T
        block = local - through - through.T + reduced[own] @ common @ reduced[own].T
        at = unknown[own] % 4
        covariance[k][np.ix_(at, at)] = block
        if freedom == "common":
            with_width = mixed[own, 0] - reduced[own] @ common[:, 0]
            covariance[k, at, WIDTH] = covariance[k, WIDTH, at] = with_width
            covariance[k, WIDTH, WIDTH] = common[0, 0]
    return covariance, float(np.sqrt(common[-1, -1])) if background_free else 0.0


def _local_covariances(matrix: Sparse, noise: Sparse, first: NDArray[np.intp]) -> Iterator[Float]:
    """Return the covariance of the unknowns first[k] to first[k + 1] of each column k, near it alone."""
    for begin, end in pairwise(first):
        near = matrix.indices[matrix.indptr[end - 1] : matrix.indptr[end]]
        own = np.searchsorted(near, np.arange(begin, end))
        dense = matrix[:, near][near].toarray()
        units = np.zeros((len(near), end - begin))
        units[own, np.arange(end - begin)] = 1
        rows = np.linalg.solve(dense, units)
        yield rows.T @ (noise[:, near][near] @ rows)
