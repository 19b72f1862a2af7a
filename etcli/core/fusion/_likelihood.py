"""Loops over views: steps of the dual variables of counts and of HAADF images."""

import numpy as np

from etcli.core.jit import jit

HALF, FOUR = np.float32(0.5), np.float32(4)


@jit
def ascend_counts(dual, projected, counts, rate, offset, step, unit, relax):  # type: ignore[no-untyped-def]
    """Step up the dual variable of a Poisson likelihood.

    Parameters
    ----------
    dual : ndarray of shape (n_views, n), float32
        Moves towards the proximal point of ``step F*``, where F(z) is the sum of
        rate z + offset − counts log(rate z + offset).
    projected : ndarray of shape (n_views, n), float32
        z / unit.
    counts : ndarray of shape (n_views, n), float32
    rate, offset : ndarray of shape (n_views,), float32
        Expected counts for z = 1, and without specimen; views with a rate of 0 are left out.
    step, unit, relax : float32
        The last is how far the variable moves: 1 is all the way.
    """
    n_views, n = dual.shape
    for v in range(n_views):
        if rate[v] <= 0:
            continue
        above = rate[v] - step * offset[v] / rate[v]
        full = rate[v]
        p, z, c = dual[v], projected[v], counts[v]
        for i in range(n):
            t = p[i] + step * unit * z[i] - above
            p[i] += relax * (full - p[i] + HALF * (t - np.sqrt(t * t + FOUR * step * c[i])))


@jit
def ascend_images(dual, projected, images, constant, step, shrink, relax):  # type: ignore[no-untyped-def]
    """Step up the dual variable of a least-squares misfit.

    Parameters
    ----------
    dual, projected, images : ndarray of shape (n_views, n), float32
        The first moves towards shrink × (dual + step × (projected + constant − images)).
    constant : ndarray of shape (n_views,), float32
    step, shrink, relax : float32
    """
    n_views, n = dual.shape
    for v in range(n_views):
        p, z, h = dual[v], projected[v], images[v]
        for i in range(n):
            p[i] += relax * (shrink * (p[i] + step * (z[i] + constant[v] - h[i])) - p[i])


@jit
def weighted_sum(volumes, weights, first, out):  # type: ignore[no-untyped-def]
    """Set ``out`` to the weighted sum of the channels of some rows.

    Parameters
    ----------
    volumes : ndarray of shape (channels, z, x, y), float32
    weights : ndarray of shape (channels,), float32
    first : int
        First of the rows along y.
    out : ndarray of shape (z, x, n_rows), float32
    """
    n_z, n_x, n = out.shape
    for z in range(n_z):
        for x in range(n_x):
            row = out[z, x]
            row[:] = np.float32(0)
            for k in range(weights.size):
                if weights[k] != 0:
                    values = volumes[k, z, x, first:]
                    weight = weights[k]
                    for y in range(n):
                        row[y] += weight * values[y]
