"""Thermal diffuse scattering of one atom into a detector: the waves that carry it.

An atom that is displaced by u adds (s(r) displaced by u) ψ(r) to a wave ψ, with s its transmission minus 1. The
diffuse intensity is the variance of that wave over the thermal motion, in the detector:

    ∫∫ ψ*(g) ψ(g') M(g, g') d²g d²g',
    M = ∫ S*(k − g) S(k − g') [exp(−B|g − g'|²/4) − exp(−B(|k − g|² + |k − g'|²)/4)] d²k,

with S(q) the Fourier transform of s and k all frequencies in the detector. M is Hermitian and positive and, as
the atom is small, the sum of a few squares: each angular order of a wave excites a few vibrations of the atom.

A real function of position, the usual local approximation of M, ignores that a heavy atom bends the wave: it
puts the focus of highest intensity too near to the atom.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BarycentricInterpolator, CubicSpline
from scipy.special import roots_legendre

from etcli.core.multislice.bessel_basis import BesselBasis

Doubles = NDArray[np.float64]
Waves = NDArray[np.complex128]

MORE_NODES = 16
"""Nodes and angles beyond those that the size of the atom and the range of frequencies ask for."""
LEAST_SHARE = 1e-7
"""Smallest share of a vibration that is kept, relative to the strongest scattering."""


@dataclass(frozen=True, eq=False)
class DiffuseScattering:
    """Thermal diffuse scattering by an atom of waves of all angular orders.

    Parameters
    ----------
    frequency_per_A : ndarray of shape (n,), float64
        Spatial frequencies g in 1/Å: nodes of a polynomial.
    operator_A2 : ndarray of shape (n_orders, n, n), complex128
        M(g, g') of the orders 0, 1, ... in Å².
    """

    frequency_per_A: Doubles
    operator_A2: Waves
    scale_A2: float

    def channels(self, basis: BesselBasis) -> Waves:
        """Compute the matrix from the components of a wave to what each vibration scatters.

        Parameters
        ----------
        basis : BesselBasis
            Of an order that has an operator.

        Returns
        -------
        ndarray of shape (n_channels, n), complex128
            The squares of the products with the components add up to the intensity in the detector.
        """
        share, vibration = np.linalg.eigh(self.operator_A2[basis.order])
        kept = share > LEAST_SHARE * self.scale_A2
        nodes = BarycentricInterpolator(self.frequency_per_A, np.eye(len(share)))
        values = nodes(basis.frequency_per_A).T * basis.norm()
        return np.asarray((np.sqrt(share[kept]) * vibration[:, kept]).conj().T @ values)


def diffuse_scattering(
    scattered: CubicSpline,
    *,
    debye_waller_A2: float,
    detector_per_A: tuple[float, float],
    highest_per_A: float,
    atom_radius_A: float,
    n_orders: int,
) -> DiffuseScattering:
    """Compute how an atom that moves thermally scatters diffusely into a detector.

    Parameters
    ----------
    scattered : CubicSpline
        Fourier transform S(q) in Å² of the transmission of the atom at rest minus 1, against q in 1/Å.
    debye_waller_A2 : float
        Debye-Waller factor B = 8π²⟨u²⟩ in Å².
    detector_per_A : tuple of float
        Inner and outer spatial frequency of the detector in 1/Å.
    highest_per_A : float
        Highest spatial frequency of the waves in 1/Å.
    atom_radius_A : float
        Distance from the atom beyond which it scatters nothing into the detector, in Å.
    n_orders : int
        Number of angular orders of the waves, from 0.

    Returns
    -------
    DiffuseScattering
    """
    inner, outer = detector_per_A
    n_angles = 2 * (int(2 * np.pi * atom_radius_A * highest_per_A) + n_orders + MORE_NODES)
    k, area = _nodes(inner, outer, atom_radius_A)
    area = area * 2 * np.pi * k
    g, _ = _nodes(0.0, highest_per_A, atom_radius_A)
    angle = 2 * np.pi * np.arange(n_angles) / n_angles
    squared = _squared_difference(k, g, angle)
    at_rest = scattered(np.sqrt(squared))
    mean = at_rest * np.exp(-debye_waller_A2 * squared / 4)
    total, coherent = (_detected(waves, area) for waves in (at_rest, mean))
    motion = np.exp(-debye_waller_A2 * _squared_difference(g, g, angle) / 4)
    moving = np.fft.fft(np.fft.ifft(total) * motion) - coherent
    scale = float(np.abs(np.diagonal(total[..., 0])).max())
    operator = np.moveaxis(moving[..., :n_orders], -1, 0)
    return DiffuseScattering(g, np.asarray(operator), scale)


def _nodes(first: float, last: float, atom_radius_A: float) -> tuple[Doubles, Doubles]:
    """Nodes and weights for functions of frequency that come from a disc of the size of the atom."""
    node, weight = roots_legendre(int(np.pi * atom_radius_A * (last - first)) + MORE_NODES)
    return first + (last - first) * (node + 1) / 2, (last - first) / 2 * weight


def _squared_difference(k: Doubles, g: Doubles, angle: Doubles) -> Doubles:
    """Squared lengths of vectors minus others, of shape (n_k, n_g, n_angles)."""
    squared = np.add.outer(k**2, g**2)[..., np.newaxis] - 2 * np.multiply.outer(
        np.multiply.outer(k, g), np.cos(angle)
    )
    return np.asarray(np.maximum(squared, 0.0))


def _detected(waves: Waves, area: Doubles) -> Waves:
    """Products of the waves of two frequencies, summed in the detector: angular orders along the last axis."""
    order = np.moveaxis(np.fft.fft(waves) / waves.shape[-1], -1, 0)
    products = (area[:, np.newaxis] * order).conj().swapaxes(1, 2) @ order
    return np.moveaxis(products, 0, -1)
