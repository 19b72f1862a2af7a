"""Spectra of unknown phases, by factorisation of counts into non-negative spectra and maps.

References
----------
.. [1] D. D. Lee, H. S. Seung, Nature 401, 788 (1999), doi:10.1038/44565: the factorisation; with the
   Kullback-Leibler divergence it is maximum likelihood for Poisson counts.
.. [2] M. R. Keenan, P. G. Kotula, Surf. Interface Anal. 36, 203 (2004), doi:10.1002/sia.1657: scaling.
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError

Doubles = NDArray[np.float64]

STEPS, TOLERANCE = 300, 1e-5
LEAST_TOTAL = 0.05
"""Least total by which blocks are scaled, relative to the largest: those of few counts are mostly noise."""


def factorise(sums: NDArray[Any], n: int, *, scaled: bool = False) -> tuple[Doubles, Doubles]:
    """Factorise spectra into a few non-negative ones.

    Parameters
    ----------
    sums : ndarray of shape (n_blocks, n_channels)
        Counts, summed over blocks of pixels so that each spectrum has many.
    n : int
        Number of components.
    scaled : bool
        Least squares on counts divided by the square roots of what the totals of their block and channel lead
        to expect [2]_; otherwise by the Kullback-Leibler divergence [1]_.

    Returns
    -------
    weights : ndarray of shape (n_blocks, n), float64
    spectra : ndarray of shape (n, n_channels), float64
        Their product is the expected sums; the spectrum with the most counts comes first.

    Raises
    ------
    UsageError
        When scikit-learn is not installed.
    """
    counts = np.asarray(sums, np.float64)
    if not scaled:
        weights, spectra = _nmf(counts, n, solver="mu", beta_loss="kullback-leibler")
    else:
        totals = counts.sum(axis=1, keepdims=True)
        rows = np.sqrt(np.maximum(totals, LEAST_TOTAL * totals.max()))
        columns = np.sqrt(np.maximum(counts.sum(axis=0), 1.0) / len(counts))
        weights, spectra = _nmf(counts / rows / columns, n, solver="cd", beta_loss="frobenius")
        weights, spectra = weights * rows, spectra * columns
    order = np.argsort(-weights.sum(axis=0) * spectra.sum(axis=1), kind="stable")
    return weights[:, order], spectra[order]


def _nmf(matrix: Doubles, n: int, *, solver: str, beta_loss: str) -> tuple[Doubles, Doubles]:
    """Run the factorisation of scikit-learn from a start that follows from the data."""
    try:
        from sklearn.decomposition import NMF
    except ImportError as error:
        raise UsageError(
            "components need the Python module sklearn, which is not installed; python -m pip install "
            "scikit-learn"
        ) from error
    model = NMF(
        n, init="nndsvda", solver=solver, beta_loss=beta_loss, max_iter=STEPS, tol=TOLERANCE, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it may go on: the deviance, not the iteration, is what counts
        weights = model.fit_transform(matrix)
    return np.asarray(weights, np.float64), np.asarray(model.components_, np.float64)
