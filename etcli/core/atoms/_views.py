"""Kernels for atoms in a view: projection, derivatives of the misfit, Fisher information, interpolation.

An atom appears as an isotropic Gaussian with the integral ``amplitude``, sampled at the pixels.
"""

from math import ceil, exp, floor, pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.jit import inline, jit

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

REACH = 4.0
"""Radius of an atom in standard deviations; beyond, it is zero."""


@inline
def _table(at: float, sigma: float, values: Any) -> tuple[int, int]:
    """Write a Gaussian of height 1 to the pixels that it reaches, each from the value before.

    Return the first and the last of them; if there are none, the last is smaller than the first.
    """
    reach = REACH * sigma
    first, last = max(ceil(at - reach), 0), min(floor(at + reach), len(values) - 1)
    inverse, distance = 1 / (sigma * sigma), first - at
    value = exp(-0.5 * inverse * distance * distance)
    ratio, change = exp(-inverse * (distance + 0.5)), exp(-inverse)
    for i in range(last - first + 1):
        values[i] = value
        value *= ratio
        ratio *= change
    return first, last


@jit
def add_atoms(image: Doubles, u: Doubles, v: Doubles, amplitude: Doubles, sigma: Doubles) -> None:
    """Add atoms to a view."""
    nv, nu = image.shape
    row, column = np.empty(nu), np.empty(nv)
    for n in range(len(u)):
        u0, u1 = _table(u[n], sigma[n], row)
        v0, v1 = _table(v[n], sigma[n], column)
        if u1 < u0 or v1 < v0:
            continue
        height = amplitude[n] / (2 * pi * sigma[n] * sigma[n])
        for j in range(v0, v1 + 1):
            factor = height * column[j - v0]
            for i in range(u0, u1 + 1):
                image[j, i] += factor * row[i - u0]


@jit
def gather(
    weighted: Doubles, u: Doubles, v: Doubles, amplitude: Doubles, sigma: Doubles, slopes: Doubles
) -> None:
    """Write the sums over pixels of ``weighted`` times the derivatives of each atom.

    The derivatives are those by amplitude, u, v and the logarithm of sigma.
    """
    nv, nu = weighted.shape
    row, column = np.empty(nu), np.empty(nv)
    for n in range(len(u)):
        for k in range(4):
            slopes[n, k] = 0.0
        u0, u1 = _table(u[n], sigma[n], row)
        v0, v1 = _table(v[n], sigma[n], column)
        if u1 < u0 or v1 < v0:
            continue
        inverse = 1 / (sigma[n] * sigma[n])
        total = along_u = along_v = square = 0.0
        for j in range(v0, v1 + 1):
            dv = j - v[n]
            factor = column[j - v0]
            sum_0 = sum_1 = sum_2 = 0.0
            for i in range(u0, u1 + 1):
                du = i - u[n]
                value = weighted[j, i] * row[i - u0]
                sum_0 += value
                sum_1 += value * du
                sum_2 += value * du * du
            total += factor * sum_0
            along_u += factor * sum_1
            along_v += factor * sum_0 * dv
            square += factor * (sum_2 + sum_0 * dv * dv)
        density = inverse / (2 * pi)
        slopes[n, 0] = density * total
        slopes[n, 1] = density * amplitude[n] * inverse * along_u
        slopes[n, 2] = density * amplitude[n] * inverse * along_v
        slopes[n, 3] = density * amplitude[n] * (inverse * square - 2 * total)


@jit
def information(
    weight: Doubles, u: Doubles, v: Doubles, amplitude: Doubles, sigma: Doubles, found: Doubles
) -> None:
    """Write the Fisher information of each atom: sums over pixels of weight times products of derivatives.

    The derivatives are those by (amplitude, u, v), with the products 00, 01, 02, 11, 12, 22, and the square
    of that by the logarithm of sigma.
    """
    nv, nu = weight.shape
    row, column = np.empty(nu), np.empty(nv)
    for n in range(len(u)):
        for k in range(7):
            found[n, k] = 0.0
        u0, u1 = _table(u[n], sigma[n], row)
        v0, v1 = _table(v[n], sigma[n], column)
        if u1 < u0 or v1 < v0:
            continue
        inverse = 1 / (sigma[n] * sigma[n])
        density = inverse / (2 * pi)
        for j in range(v0, v1 + 1):
            dv = j - v[n]
            factor = density * column[j - v0]
            for i in range(u0, u1 + 1):
                du = i - u[n]
                by_amplitude = factor * row[i - u0]
                by_place = amplitude[n] * inverse * by_amplitude
                by_u, by_v = by_place * du, by_place * dv
                by_width = amplitude[n] * by_amplitude * (inverse * (du * du + dv * dv) - 2)
                w = weight[j, i]
                found[n, 0] += w * by_amplitude * by_amplitude
                found[n, 1] += w * by_amplitude * by_u
                found[n, 2] += w * by_amplitude * by_v
                found[n, 3] += w * by_u * by_u
                found[n, 4] += w * by_u * by_v
                found[n, 5] += w * by_v * by_v
                found[n, 6] += w * by_width * by_width


@jit
def sample(image: Doubles, u: Doubles, v: Doubles, total: Doubles) -> None:
    """Add the values of an image, interpolated at some places, to totals; outside, the image is zero."""
    nv, nu = image.shape
    for n in range(len(u)):
        i, j = floor(u[n]), floor(v[n])
        if i < 0 or j < 0 or i > nu - 2 or j > nv - 2:
            continue
        a, b = u[n] - i, v[n] - j
        low = (1 - a) * image[j, i] + a * image[j, i + 1]
        high = (1 - a) * image[j + 1, i] + a * image[j + 1, i + 1]
        total[n] += (1 - b) * low + b * high
