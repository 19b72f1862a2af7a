"""Kernel of the expectation step of a one-dimensional Gaussian mixture."""

from math import exp, log, pi

import numpy as np
from numpy.typing import NDArray

from etcli.core.jit import jit

Float = NDArray[np.float64]

MEMBERS, PULL, STIFFNESS, EXCESS, CURVATURE, CROSS = range(6)
"""Rows of the sums, see `mixture_sums`."""
N_SUMS = 6


@jit
def mixture_sums(
    x: Float,
    error_variance: Float,
    means: Float,
    variance: Float,
    log_weight: Float,
    log_prior: Float,
    sums: Float,
) -> float:
    """Compute the log-likelihood of a mixture and the sums that its maximisation step needs.

    With the membership t of a value in a component, its residual r from the mean and its variance v, the rows
    of ``sums`` are per component: Σ t, Σ t r / v, Σ t / v, Σ t (r² − v) / v², Σ t / v², Σ t r / v².

    Parameters
    ----------
    x : ndarray of shape (n,), float64
    error_variance : ndarray of shape (n,) or (0,), float64
        Variance of each value besides that of the component; empty for none.
    means, variance, log_weight : ndarray of shape (n_components,), float64
    log_prior : ndarray of shape (n, n_components) or (0, 0), float64
        Added to the logarithms of the weights; empty for none.
    sums : ndarray of shape (6, n_components), float64
        Written.
    """
    n_components, errors, priors = len(means), len(error_variance) > 0, len(log_prior) > 0
    sums[:] = 0
    term, precision = np.empty(n_components), np.empty(n_components)
    norm = np.empty(n_components)
    for k in range(n_components):
        precision[k] = 1 / variance[k]
        norm[k] = log_weight[k] - 0.5 * log(2 * pi * variance[k])
    total_log = 0.0
    for i in range(len(x)):
        largest = -np.inf
        for k in range(n_components):
            if errors:
                spread = variance[k] + error_variance[i]
                precision[k] = 1 / spread
                norm[k] = log_weight[k] - 0.5 * log(2 * pi * spread)
            residual = x[i] - means[k]
            term[k] = norm[k] - 0.5 * residual * residual * precision[k]
            if priors:
                term[k] += log_prior[i, k]
            largest = max(largest, term[k])
        total = 0.0
        for k in range(n_components):
            below = term[k] - largest
            term[k] = exp(below) if below > -45.0 else 0.0  # e⁻⁴⁵ of the largest is below rounding
            total += term[k]
        total_log += largest + log(total)
        for k in range(n_components):
            if term[k] == 0.0:
                continue
            member, residual = term[k] / total, x[i] - means[k]
            sums[MEMBERS, k] += member
            if errors:
                q = precision[k]
                sums[PULL, k] += member * residual * q
                sums[STIFFNESS, k] += member * q
                sums[EXCESS, k] += member * (residual * residual * q - 1) * q
                sums[CURVATURE, k] += member * q * q
                sums[CROSS, k] += member * residual * q * q
            else:  # the variance is that of the component, which is multiplied at the end
                sums[PULL, k] += member * residual
                sums[EXCESS, k] += member * residual * residual
    if not errors:
        for k in range(n_components):
            q, members, pull = precision[k], sums[MEMBERS, k], sums[PULL, k]
            sums[PULL, k], sums[CROSS, k] = pull * q, pull * q * q
            sums[STIFFNESS, k], sums[CURVATURE, k] = members * q, members * q * q
            sums[EXCESS, k] = (sums[EXCESS, k] * q - members) * q
    return total_log
