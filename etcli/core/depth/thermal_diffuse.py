"""Thermal diffuse scattering of one atom into a detector: the waves that carry it.

An atom that is displaced by u adds to a wave ψ(r) the wave s(r − u) ψ(r), with s its transmission minus 1.
The diffuse intensity is the variance of that wave over the thermal motion (Einstein model), in the detector:

    ∫∫ ψ*(g) M(g, g') ψ(g') d²g d²g',
    M(g, g') = ∫ S*(k − g) S(k − g') [exp(−B|g − g'|²/4) − exp(−B(|k − g|² + |k − g'|²)/4)] d²k,

with S(q) the Fourier transform of s, and k all frequencies in the detector. M is Hermitian and positive. As
an atom is small, M is a sum of a few squares for each angular order of a wave.

The local model neglects g beside k: M then depends on g − g' only, and its real part is a function of
position.

References
----------
Hall and Hirsch, Proc. R. Soc. Lond. A 286, 158 (1965): thermal diffuse scattering of the Einstein model.
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
class LocalDiffuse:
    """Thermal diffuse scattering by an atom as a function of position.

    Parameters
    ----------
    basis : BesselBasis
        Of the order 0.
    function : ndarray of shape (n,), float64
        Components of W(r).
    atom_radius_A : float
        Distance from the atom beyond which W is zero, in Å.
    """

    basis: BesselBasis
    function: Doubles
    atom_radius_A: float

    def channels(self, basis: BesselBasis) -> tuple[Doubles, Doubles]:
        """Compute the matrix from the components of a wave to its values where the atom scatters.

        Parameters
        ----------
        basis : BesselBasis
            Of the order of the wave.

        Returns
        -------
        channels : ndarray of shape (n_channels, n), float64
        sign : ndarray of shape (n_channels,), float64
            The intensity is the sum of the squares of the waves in the channels, times the sign.
        """
        near = basis.radius_A < self.atom_radius_A
        weight = (self.basis.at(basis.radius_A[near]) @ self.function) * basis.area_A2[near]
        return np.sqrt(np.abs(weight))[:, np.newaxis] * basis.values[near], np.sign(weight)


@dataclass(frozen=True, eq=False)
class NonlocalDiffuse:
    """Thermal diffuse scattering by an atom of waves of all angular orders.

    Parameters
    ----------
    frequency_per_A : ndarray of shape (n,), float64
        Spatial frequencies g in 1/Å: nodes of a polynomial.
    operator_A2 : ndarray of shape (n_orders, n, n), complex128
        M(g, g') of the orders 0, 1, ... in Å².
    scale_A2 : float
        Largest intensity in the detector of any of the waves, elastic and diffuse.
    """

    frequency_per_A: Doubles
    operator_A2: Waves
    scale_A2: float

    def channels(self, basis: BesselBasis) -> tuple[Waves, Doubles]:
        """Compute the matrix from the components of a wave to the waves that the atom scatters diffusely.

        Parameters
        ----------
        basis : BesselBasis
            Of the order of the wave, which must have an operator.

        Returns
        -------
        channels : ndarray of shape (n_channels, n), complex128
        sign : ndarray of shape (n_channels,), float64
            The intensity is the sum of the squares of the waves in the channels, times the sign, here 1.
        """
        share, vibration = np.linalg.eigh(self.operator_A2[basis.order])
        kept = share > LEAST_SHARE * self.scale_A2
        nodes = BarycentricInterpolator(self.frequency_per_A, np.eye(len(share)))
        values = nodes(basis.frequency_per_A).T * basis.norm()
        channels = (np.sqrt(share[kept]) * vibration[:, kept]).conj().T @ values
        return np.asarray(channels), np.ones(len(channels))


def local_diffuse(
    basis: BesselBasis, scattered: Waves, debye_waller_A2: float, detected: Doubles, atom_radius_A: float
) -> LocalDiffuse:
    """Compute the function W(r) of an atom that moves thermally.

    Parameters
    ----------
    basis : BesselBasis
        Of the order 0.
    scattered : ndarray of shape (n,), complex128
        Components of the transmission of the atom at rest minus 1.
    debye_waller_A2 : float
        Debye-Waller factor B = 8π²⟨u²⟩ in Å².
    detected : ndarray of shape (n,), float64
        Share of each frequency of the basis that the detector receives.
    atom_radius_A : float
        Distance from the atom beyond which it scatters nothing into the detector, in Å.

    Returns
    -------
    LocalDiffuse
    """
    at_rest = basis.values @ scattered
    damping = np.exp(-debye_waller_A2 * basis.frequency_per_A**2 / 4)
    incoherent = ((basis.values @ (detected * scattered)) * at_rest.conj()).real
    mean = damping * scattered
    coherent = ((basis.values @ (detected * mean)) * (basis.values @ mean).conj()).real
    function = damping * basis.transform(incoherent) - basis.transform(coherent)
    return LocalDiffuse(basis, function, atom_radius_A)


def nonlocal_diffuse(
    scattered: CubicSpline,
    *,
    debye_waller_A2: float,
    detector_per_A: tuple[float, float],
    highest_per_A: float,
    atom_radius_A: float,
    n_orders: int,
) -> NonlocalDiffuse:
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
    NonlocalDiffuse
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
    return NonlocalDiffuse(g, np.asarray(operator), scale)


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
    """Products of the waves of two frequencies in the detector, with angular orders along the last axis."""
    order = np.moveaxis(np.fft.fft(waves) / waves.shape[-1], -1, 0)
    products = (area[:, np.newaxis] * order).conj().swapaxes(1, 2) @ order
    return np.moveaxis(products, 0, -1)
