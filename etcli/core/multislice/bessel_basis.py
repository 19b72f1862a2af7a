"""Bessel functions as a basis of waves of one angular order on a disc."""

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import jn_zeros, jv, roots_legendre

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BesselBasis:
    """Waves J_m(2πkr) exp(imφ) of one order m that are zero at the edge of a disc, up to a frequency.

    The functions are orthonormal in the area of the disc. Values at the nodes of a Gauss-Legendre rule in r
    give integrals without further error as long as the integrand has no higher frequencies.

    Parameters
    ----------
    order : int
        Angular order m ≥ 0.
    disc_radius_A : float
        Radius of the disc in Å.
    frequency_per_A : ndarray of shape (n,), float64
        Spatial frequencies k of the functions in 1/Å, increasing.
    radius_A : ndarray of shape (n_nodes,), float64
        Nodes in Å.
    area_A2 : ndarray of shape (n_nodes,), float64
        Weights of the nodes: areas of rings in Å².
    values : ndarray of shape (n_nodes, n), float64
        Functions at the nodes, in 1/Å.
    """

    order: int
    disc_radius_A: float
    frequency_per_A: Doubles
    radius_A: Doubles
    area_A2: Doubles
    values: Doubles

    def at(self, radius_A: Doubles) -> Doubles:
        """Compute the functions at other radii: ndarray of shape (n_radii, n), float64, in 1/Å."""
        argument = 2 * np.pi * np.outer(radius_A, self.frequency_per_A)
        return np.asarray(self.norm() * jv(self.order, argument))

    def transform(self, function: NDArray[Any]) -> NDArray[Any]:
        """Compute the coefficients of a function that is given at the nodes: shape (n, ...)."""
        return np.asarray(self.values.T @ (self.area_A2 * function.T).T)

    def plane_waves(self, frequency_per_A: Doubles) -> Doubles:
        """Compute the coefficients of J_m(2πkr), for frequencies k that need not be those of the basis.

        The integral of two Bessel functions over the disc is known in closed form (Lommel).

        Parameters
        ----------
        frequency_per_A : ndarray of shape (n_waves,), float64

        Returns
        -------
        ndarray of shape (n, n_waves), float64
            In Å.
        """
        edge = self.disc_radius_A
        a = 2 * np.pi * np.asarray(frequency_per_A)[np.newaxis]
        b = 2 * np.pi * self.frequency_per_A[:, np.newaxis]
        with np.errstate(divide="ignore", invalid="ignore"):
            integral = edge * b * jv(self.order, a * edge) * jv(self.order - 1, b * edge) / (a**2 - b**2)
        same = np.abs(a - b) * edge < 1e-6
        integral = np.where(same, edge**2 / 2 * jv(self.order + 1, b * edge) ** 2, integral)
        return np.asarray(2 * np.pi * self.norm()[:, np.newaxis] * integral)

    def norm(self) -> Doubles:
        """Factor of J_m(2πkr) in each function: ndarray of shape (n,), float64, in 1/Å."""
        zeros = 2 * np.pi * self.frequency_per_A * self.disc_radius_A
        return np.asarray(1 / (np.sqrt(np.pi) * self.disc_radius_A * np.abs(jv(self.order + 1, zeros))))


@lru_cache(maxsize=32)  # the orders of one kind of column: most of the time goes into the Bessel functions
def bessel_basis(order: int, *, disc_radius_A: float, highest_per_A: float) -> BesselBasis:
    """Make the basis of an angular order.

    Parameters
    ----------
    order : int
        Angular order m ≥ 0.
    disc_radius_A : float
        Radius of the disc in Å.
    highest_per_A : float
        Highest spatial frequency in 1/Å.

    Returns
    -------
    BesselBasis
    """
    bandwidth = 2 * disc_radius_A * highest_per_A
    zeros = jn_zeros(order, int(bandwidth) + 1)
    frequency = zeros[zeros <= np.pi * bandwidth] / (2 * np.pi * disc_radius_A)
    node, weight = _gauss_legendre(int(2.2 * bandwidth) + 20)
    radius = disc_radius_A * (node + 1) / 2
    area = np.pi * disc_radius_A * weight * radius
    basis = BesselBasis(order, disc_radius_A, frequency, radius, area, np.empty((0, 0)))
    return BesselBasis(order, disc_radius_A, frequency, radius, area, basis.at(radius))


@cache
def _gauss_legendre(n_nodes: int) -> tuple[Doubles, Doubles]:
    node, weight = roots_legendre(n_nodes)
    return np.asarray(node), np.asarray(weight)
