"""Multislice of an isolated atomic column: HAADF intensity against focus and distance from the column.

An isolated column is rotationally symmetric. The wave of a probe beside it is written as Σ ψ_m(r) exp(imφ);
each order m is expanded in Bessel functions, in which the transmission of an atom is a matrix and the
propagation between atoms a phase. The matrices of a column are multiplied before the waves of all probes are
taken through them.

The wave is the coherent elastic one, with the transmission averaged over the thermal motion of the atoms. The
detector receives its components between the detector's angles, and from each atom the electrons of thermal
diffuse scattering. All models of it follow the Einstein model, see `thermal_diffuse`.

- local: ∫ |ψ|² W d²r with a real function W of position,
  W(q) = ∫ t(k) t*(k − q) [exp(−Bq²/4) − exp(−B(k² + |k − q|²)/4)] d²k, integrated over the detector; t is the
  Fourier transform of the transmission of an atom at rest minus 1. Of gold, the level is 5 to 10 % low, and
  20 % beside the column; columns seem 0.8 (1 atom) to 2 Å (10 atoms) deeper than they are, because a
  heavy atom bends the wave, which a real W cannot hold.
- nonlocal: the variance of the scattered wave, exact in directions and phases. The focus of highest
  intensity is within 0.6 Å of that of frozen phonons, but columns of ten atoms are 5 to 10 % too bright.
- multiple: the scattered electrons are scattered again, see `frozen_phonons`. It agrees with frozen phonons
  within 2 % for 1 to 10 atoms, all foci and radii, takes longer, and needs atoms at equal distances.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import jv, roots_legendre

from etcli.core.depth.focal_optics import ColumnKind, FocalOptics
from etcli.core.depth.frozen_phonons import ColumnOrder, detector_operators, moving_atom, near_atom
from etcli.core.depth.thermal_diffuse import LocalDiffuse, NonlocalDiffuse, local_diffuse, nonlocal_diffuse
from etcli.core.errors import UsageError
from etcli.core.multislice.bessel_basis import BesselBasis, bessel_basis
from etcli.core.multislice.constants import wavelength_A
from etcli.core.multislice.scattering_factors import projected_phase

Doubles = NDArray[np.float64]
Waves = NDArray[np.complex128]

SMALLEST_DISC_A = 12.0
"""Radius of the disc in which waves are computed, unless the probes need a larger one."""
DISC_FRINGES = 8.0
"""Smallest radius of the disc times the aperture: fringes of a focused probe that fit in it."""
MORE_ORDERS = 6
"""Angular orders beyond the angular frequency of a probe at ATOM_RADIUS_A: J_m falls steeply there."""
DAMPED = 6.0
"""Exponent of the Debye-Waller damping at the highest frequency of the waves."""
ATOM_FREQUENCY_PER_A = 20.0
"""Highest spatial frequency of the transmission of one atom: beyond the outer angle of usual detectors."""
ATOM_RADIUS_A = 1.2
"""Distance from an atom beyond which it scatters nothing into the detector."""
PROBE_NODES = 160
PROBE_TAIL = 1.8
"""Highest frequency of a probe that is cut off at the edge of the disc, relative to the aperture."""


@dataclass(frozen=True, eq=False)
class _Order:
    """One angular order: the matrices of its waves, what atom and detector read out, and all probes."""

    basis: BesselBasis
    multiplicity: int
    transmission: Waves
    kinetic: Doubles
    diffuse: Doubles | Waves
    sign: Doubles
    share: Doubles
    probes: Waves

    def start(self) -> Waves:
        """Matrix from the components of the probes to all components of the wave: it selects them."""
        return np.eye(len(self.kinetic), len(self.probes), dtype=complex)

    def next_atom(self, wave: Waves, distance_A: float) -> Waves:
        """Take waves before an atom through it and on to the next one."""
        propagator = np.exp(-1j * self.kinetic * distance_A)[:, np.newaxis]
        return np.asarray(propagator * (self.transmission @ wave))

    def diffuse_waves(self, wave: Waves) -> Waves:
        """Compute the waves of all probes in the channels of thermal diffuse scattering of an atom."""
        return np.asarray((self.diffuse @ wave) @ self.probes)

    def elastic_waves(self, wave: Waves) -> Waves:
        """Compute the components in the detector of the waves of all probes behind an atom."""
        seen = self.share > 0
        behind = np.sqrt(self.share[seen])[:, np.newaxis] * (self.transmission[seen] @ wave)
        return np.asarray(behind @ self.probes)

    def near(self, radius_A: Doubles, distance_A: float) -> ColumnOrder:
        propagator = np.exp(-1j * self.kinetic * distance_A)
        return ColumnOrder(self.transmission, self.basis.at(radius_A), self.share, propagator)

    def intensity(self, operator: Waves) -> Doubles:
        n = len(self.probes)
        return np.asarray((self.probes.conj() * (operator[:n, :n] @ self.probes)).real.sum(axis=0))


def column_intensities(
    kind: ColumnKind, optics: FocalOptics, depth_A: Doubles, focus_A: Doubles, radius_A: Doubles
) -> Doubles:
    """Compute the HAADF intensity of columns that consist of the first atoms of a list.

    Parameters
    ----------
    kind : ColumnKind
        Element and Debye-Waller factor; the atoms are where depth_A says.
    optics : FocalOptics
        Microscope. The source is a point here, whatever its size.
    depth_A : ndarray of shape (n_atoms,), float64
        Depths of the atoms in Å, increasing away from the source.
    focus_A : ndarray of shape (n_foci,), float64
        Depths of the focal plane in Å.
    radius_A : ndarray of shape (n_radii,), float64
        Distances of the probe from the column in Å.

    Returns
    -------
    ndarray of shape (n_atoms, n_foci, n_radii), float64
        Fraction of the beam that reaches the detector, for the first 1, 2, ... atoms.

    Raises
    ------
    UsageError
        If the element is unknown, or the atoms have different distances in the model "multiple".
    """
    if optics.diffuse == "multiple":
        return _multiple(kind, optics, depth_A, focus_A, radius_A)
    total = np.zeros((len(depth_A), len(focus_A) * len(radius_A)))
    for order in _orders(kind, optics, depth_A, focus_A, radius_A):
        wave, diffuse = order.start(), np.zeros(total.shape[1])
        for number, distance in enumerate(np.append(np.diff(depth_A), 0.0)):
            diffuse = diffuse + order.sign @ _squared(order.diffuse_waves(wave))
            elastic = _squared(order.elastic_waves(wave)).sum(axis=0)
            total[number] += order.multiplicity * (diffuse + elastic)
            wave = order.next_atom(wave, distance)
    return total.reshape(len(depth_A), len(focus_A), len(radius_A))


def depth_derivatives(
    kind: ColumnKind, optics: FocalOptics, depth_A: Doubles, focus_A: Doubles, radius_A: Doubles
) -> tuple[Doubles, Doubles]:
    """Compute the HAADF intensity of a column and its derivatives with respect to the depth of each atom.

    Parameters
    ----------
    kind, optics, depth_A, focus_A, radius_A
        As for `column_intensities`, but the model "multiple" is replaced by "nonlocal".

    Returns
    -------
    intensity : ndarray of shape (n_foci, n_radii), float64
        Fraction of the beam that reaches the detector.
    derivative : ndarray of shape (n_atoms, n_foci, n_radii), float64
        Its derivative for each atom in 1/Å. The sum over the atoms is minus the derivative with respect to
        the depth of the focal plane.

    Raises
    ------
    UsageError
        If the element is unknown.
    """
    shape = (len(focus_A), len(radius_A))
    total, slope = np.zeros(shape[0] * shape[1]), np.zeros((len(depth_A), shape[0] * shape[1]))
    for order in _orders(kind, optics, depth_A, focus_A, radius_A):
        wave, moved = order.start(), np.zeros((0, len(order.kinetic), len(order.probes)), complex)
        twice = 2 * order.multiplicity
        for number, distance in enumerate(np.append(np.diff(depth_A), 0.0)):
            here = -1j * order.kinetic[:, np.newaxis] * wave
            moved = np.concatenate([moved, here[np.newaxis]])
            around = order.diffuse_waves(wave)
            total += order.multiplicity * (order.sign @ _squared(around))
            for atom, changed in enumerate(moved):
                slope[atom] += twice * (order.sign @ (around.conj() * order.diffuse_waves(changed)).real)
            if number == len(depth_A) - 1:
                break
            wave, before = order.next_atom(wave, distance), moved
            moved = np.stack([order.next_atom(changed, distance) for changed in before])
            moved[-1] += 1j * order.kinetic[:, np.newaxis] * wave
        behind = order.elastic_waves(wave)
        total += order.multiplicity * _squared(behind).sum(axis=0)
        for atom, changed in enumerate(moved):
            slope[atom] += twice * (behind.conj() * order.elastic_waves(changed)).real.sum(axis=0)
    return total.reshape(shape), slope.reshape(len(depth_A), *shape)


def _multiple(
    kind: ColumnKind, optics: FocalOptics, depth_A: Doubles, focus_A: Doubles, radius_A: Doubles
) -> Doubles:
    """Compute the intensities of columns with multiple diffuse scattering."""
    spacing = (depth_A[-1] - depth_A[0]) / max(len(depth_A) - 1, 1)
    if not np.allclose(np.diff(depth_A), spacing, rtol=1e-6):
        raise UsageError("multiple diffuse scattering is computed for atoms at equal distances only")
    highest = max(optics.detector_per_A[1], PROBE_TAIL * optics.aperture_per_A)
    near, area = near_atom(ATOM_RADIUS_A, highest)
    orders = list(_orders(kind, optics, depth_A, focus_A, radius_A, highest_per_A=highest))
    transmission = _transmission(kind, optics, orders[0].basis.disc_radius_A)
    atom = moving_atom(*transmission, near, area, debye_waller_A2=kind.debye_waller_A2, n_orders=len(orders))
    column = [order.near(near, spacing) for order in orders]
    total = np.zeros((len(depth_A), len(focus_A) * len(radius_A)))
    for number, operators in enumerate(detector_operators(column, atom, len(depth_A))):
        for order, seen in zip(orders, operators, strict=True):
            total[number] += order.multiplicity * order.intensity(seen)
    return total.reshape(len(depth_A), len(focus_A), len(radius_A))


def _squared(wave: Waves) -> Doubles:
    return np.asarray(wave.real**2 + wave.imag**2)


def _orders(
    kind: ColumnKind,
    optics: FocalOptics,
    depth_A: Doubles,
    focus_A: Doubles,
    radius_A: Doubles,
    *,
    highest_per_A: float | None = None,
) -> Iterator[_Order]:
    """Prepare the angular orders, up to a frequency if that of coherent waves does not do."""
    disc, highest = _disc_and_frequency(kind, optics, depth_A, focus_A, radius_A)
    highest = highest_per_A or highest
    n_orders = int(2 * np.pi * optics.aperture_per_A * ATOM_RADIUS_A) + MORE_ORDERS + 1
    atom_basis, at_rest = _transmission(kind, optics, disc)
    mean = np.exp(-kind.debye_waller_A2 * atom_basis.frequency_per_A**2 / 4) * at_rest
    atom = _diffuse(kind, optics, disc, highest, n_orders)
    wavelength = wavelength_A(optics.voltage_kV)
    node, weight = roots_legendre(PROBE_NODES)
    frequency = optics.aperture_per_A * (node + 1) / 2
    amplitude = np.sqrt(np.pi) * frequency * weight  # of a probe with unit current
    focusing = np.exp(1j * np.pi * wavelength * np.outer(focus_A - depth_A[0], frequency**2))
    for number in range(n_orders):
        basis = bessel_basis(number, disc_radius_A=disc, highest_per_A=highest)
        if number == 0:  # all orders have the same nodes
            scattered = atom_basis.at(basis.radius_A) @ mean
        share = optics.detected_share(basis.frequency_per_A)
        # The detector must see nothing of a probe, not even what the edge of the disc makes of it
        in_probe = (basis.frequency_per_A < PROBE_TAIL * optics.aperture_per_A) & (np.cumsum(share) == 0)
        position = jv(number, 2 * np.pi * np.outer(radius_A, frequency))
        probes = (focusing[:, np.newaxis] * position * amplitude) @ basis.plane_waves(frequency)[in_probe].T
        channels, sign = atom.channels(basis)
        yield _Order(
            basis=basis,
            multiplicity=1 if number == 0 else 2,
            transmission=np.eye(len(in_probe)) + basis.transform(scattered[:, np.newaxis] * basis.values),
            kinetic=np.pi * wavelength * basis.frequency_per_A**2,
            diffuse=channels,
            sign=sign,
            share=share,
            probes=probes.reshape(-1, in_probe.sum()).T,
        )


def _disc_and_frequency(
    kind: ColumnKind, optics: FocalOptics, depth_A: Doubles, focus_A: Doubles, radius_A: Doubles
) -> tuple[float, float]:
    """Choose the radius of the disc, which holds all probes, and the highest frequency of the waves.

    Waves need no frequencies to which the atoms, by their thermal motion, hardly scatter coherently, nor any
    that the detector does not see.
    """
    defocus = max(np.max(focus_A) - depth_A[0], depth_A[-1] - np.min(focus_A))
    shadow = optics.semi_angle_mrad * 1e-3 * defocus
    disc = max(SMALLEST_DISC_A, DISC_FRINGES / optics.aperture_per_A, np.max(radius_A) + shadow)
    highest = optics.detector_per_A[1] + optics.aperture_per_A
    if kind.debye_waller_A2 > 0:
        highest = min(highest, np.sqrt(4 * DAMPED / kind.debye_waller_A2))
    # Whole Å, so that columns of different length share their Bessel functions
    return float(np.ceil(disc)), float(max(highest, PROBE_TAIL * optics.aperture_per_A))


def _diffuse(
    kind: ColumnKind, optics: FocalOptics, disc_radius_A: float, highest_per_A: float, n_orders: int
) -> LocalDiffuse | NonlocalDiffuse:
    """Compute the thermal diffuse scattering of one atom into the detector."""
    basis, at_rest = _transmission(kind, optics, disc_radius_A)
    if optics.diffuse == "local":
        share = optics.detected_share(basis.frequency_per_A)
        return local_diffuse(basis, at_rest, kind.debye_waller_A2, share, ATOM_RADIUS_A)
    return nonlocal_diffuse(
        CubicSpline(basis.frequency_per_A, at_rest / basis.norm()),
        debye_waller_A2=kind.debye_waller_A2,
        detector_per_A=optics.detector_per_A,
        highest_per_A=highest_per_A,
        atom_radius_A=ATOM_RADIUS_A,
        n_orders=n_orders,
    )


def _transmission(kind: ColumnKind, optics: FocalOptics, disc_radius_A: float) -> tuple[BesselBasis, Waves]:
    """Expand the transmission of an atom at rest minus 1."""
    basis = bessel_basis(0, disc_radius_A=disc_radius_A, highest_per_A=ATOM_FREQUENCY_PER_A)
    phase = projected_phase(kind.element, basis.radius_A, voltage_kV=optics.voltage_kV)
    return basis, basis.transform(np.expm1(1j * phase))
