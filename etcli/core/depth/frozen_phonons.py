"""HAADF of an isolated column by frozen phonons, averaged over all displacements without drawing any.

The intensity of a wave ψ is ⟨ψ|P|ψ⟩, with P the projector on the detector. Carried back through the column,
from the last atom to the first, the operator O, at first P, becomes for each atom and the way to the next

    O ← U† ⟨T_u† O T_u⟩ U,

with T_u = 1 + s(r − u) the transmission of an atom displaced by u, ⟨⟩ the mean over u (Einstein model) and U
the propagation. This is the mean of a frozen-phonon multislice, with multiple elastic and diffuse scattering.
All atoms do the same to the operator, so that that of N atoms follows from that of N − 1.

A column is rotationally symmetric in the mean: O is a matrix for each angular order, and ⟨s_u† O s_u⟩ the
product K O of functions of two radii and the angle between them, K = ⟨s*(r − u) s(r' − u)⟩.

References
----------
Loane, Xu and Silcox, Acta Cryst. A 47, 267 (1991): frozen phonons.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import roots_laguerre, roots_legendre

from etcli.core.multislice.bessel_basis import BesselBasis

Doubles = NDArray[np.float64]
Waves = NDArray[np.complex128]

DISPLACEMENTS = 16
ANGLES = 256
FINE_RADII = 4001
MORE_NODES = 20


@dataclass(frozen=True, eq=False)
class ColumnOrder:
    """Waves of one angular order: mean transmission, values near an atom, detector and propagation.

    Parameters
    ----------
    transmission : ndarray of shape (n, n), complex128
        Mean transmission of an atom.
    near : ndarray of shape (n_radii, n), float64
        Functions of the basis at radii near an atom, in 1/Å.
    detected : ndarray of shape (n,), float64
        Share of each function that the detector receives.
    propagator : ndarray of shape (n,), complex128
        From atom to atom.
    """

    transmission: Waves
    near: Doubles
    detected: Doubles
    propagator: Waves


@dataclass(frozen=True, eq=False)
class MovingAtom:
    """Second moments of the transmission of an atom that moves, near the atom.

    Parameters
    ----------
    area_A2 : ndarray of shape (n_radii,), float64
        Weights of the radii in Å².
    pair : ndarray of shape (n_angles, n_radii, n_radii), complex128
        Mean of s*(r − u) s(r' − u) against the angle between r and r'.
    mean : ndarray of shape (n_radii,), complex128
        Mean of s(r − u).
    """

    area_A2: Doubles
    pair: Waves
    mean: Waves


def near_atom(atom_radius_A: float, highest_per_A: float) -> tuple[Doubles, Doubles]:
    """Choose radii near an atom for waves up to a frequency.

    Parameters
    ----------
    atom_radius_A : float
        Largest radius in Å.
    highest_per_A : float
        Highest spatial frequency of the waves in 1/Å.

    Returns
    -------
    radius_A : ndarray of shape (n_radii,), float64
        In Å.
    area_A2 : ndarray of shape (n_radii,), float64
        Areas of rings in Å².
    """
    node, weight = roots_legendre(int(4.4 * atom_radius_A * highest_per_A) + MORE_NODES)
    radius = atom_radius_A * (node + 1) / 2
    return radius, np.pi * atom_radius_A * weight * radius


def moving_atom(
    basis: BesselBasis,
    scattered: Waves,
    radius_A: Doubles,
    area_A2: Doubles,
    *,
    debye_waller_A2: float,
    n_orders: int,
) -> MovingAtom:
    """Compute the second moments of the transmission of an atom that moves.

    Parameters
    ----------
    basis : BesselBasis
        Of the order 0.
    scattered : ndarray of shape (n,), complex128
        Components of the transmission of the atom at rest minus 1.
    radius_A, area_A2 : ndarray of shape (n_radii,), float64
        See `near_atom`.
    debye_waller_A2 : float
        Debye-Waller factor B = 8π²⟨u²⟩ in Å².
    n_orders : int
        Number of angular orders of the waves.

    Returns
    -------
    MovingAtom
    """
    node, weight = roots_laguerre(DISPLACEMENTS)
    moved = np.sqrt(debye_waller_A2 * node) / (2 * np.pi)
    grid = np.linspace(0, radius_A[-1] + moved[-1], FINE_RADII)
    at_rest = CubicSpline(grid, basis.at(grid) @ scattered)
    mean = basis.at(radius_A) @ (np.exp(-debye_waller_A2 * basis.frequency_per_A**2 / 4) * scattered)
    angle = 2 * np.pi * np.arange(ANGLES) / ANGLES
    pair = np.zeros((ANGLES, len(radius_A), len(radius_A)), complex)
    for distance, share in zip(moved, weight, strict=True):
        across = radius_A[:, np.newaxis] - distance * np.cos(angle)
        wave = at_rest(np.hypot(across, distance * np.sin(angle)))
        order = np.fft.fft(wave).T / ANGLES
        pair += share * order.conj()[:, :, np.newaxis] * order[:, np.newaxis, :]
    # Products of waves of n orders need no more than these orders
    n_angles = 4 * n_orders
    kept = np.concatenate([pair[: n_angles // 2], pair[-(n_angles // 2) :]])
    return MovingAtom(area_A2, np.fft.ifft(kept, axis=0) * n_angles, np.asarray(mean))


def detector_operators(orders: list[ColumnOrder], atom: MovingAtom, n_atoms: int) -> Iterator[list[Waves]]:
    """Carry the detector back through columns.

    Parameters
    ----------
    orders : list of ColumnOrder
        The angular orders from 0.
    atom : MovingAtom
    n_atoms : int
        Largest number of atoms.

    Yields
    ------
    list of ndarray of shape (n, n), complex128
        For 1, 2, ... atoms, for each angular order the operator O before the first atom: the intensity of a
        wave with components c is c† O c.
    """
    operator = [np.diag(order.detected).astype(complex) for order in orders]
    for number in range(n_atoms):
        if number > 0:
            operator = [
                order.propagator.conj()[:, np.newaxis] * seen * order.propagator
                for order, seen in zip(orders, operator, strict=True)
            ]
        operator = _before_atom(orders, atom, operator)
        yield operator


def _before_atom(orders: list[ColumnOrder], atom: MovingAtom, operator: list[Waves]) -> list[Waves]:
    """Carry the operator back through one atom."""
    near = np.zeros(atom.pair.shape, complex)
    for number, (order, seen) in enumerate(zip(orders, operator, strict=True)):
        near[number] = near[-number] = order.near @ seen @ order.near.T
    moved = np.fft.fft(np.fft.ifft(near, axis=0) * atom.pair, axis=0)
    at_mean = atom.mean.conj()[:, np.newaxis] * near * atom.mean
    diffuse = (moved - at_mean) * np.outer(atom.area_A2, atom.area_A2)
    return [
        order.transmission.conj().T @ seen @ order.transmission + order.near.T @ diffuse[number] @ order.near
        for number, (order, seen) in enumerate(zip(orders, operator, strict=True))
    ]
