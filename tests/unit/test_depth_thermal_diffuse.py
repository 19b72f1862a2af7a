"""The nonlocal thermal diffuse scattering against displaced atoms, sum rules and frozen phonons."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import curve_fit
from scipy.special import j0, j1

from etcli.core.depth.focal_optics import ColumnKind, FocalOptics
from etcli.core.depth.isolated_column import column_intensities, depth_derivatives
from etcli.core.errors import UsageError
from etcli.core.multislice.constants import relative_mass, wavelength_A
from etcli.core.multislice.scattering_factors import projected_phase, scattering_factor

GOLD = ColumnKind("Au", 4.08, 0.63)
OPTICS = FocalOptics(source_fwhm_A=0.0, diffuse="nonlocal")


class SquareGrid:
    """Displaced atoms on a square grid, averaged by a Gauss-Hermite rule; of the tested code only phases."""

    def __init__(self, kind: ColumnKind, optics: FocalOptics, nodes: int) -> None:
        side, n = 16.0, 320
        k = np.fft.fftfreq(n, side / n)
        self.kx, ky = np.meshgrid(k, k)
        self.k2, self.pixel = self.kx**2 + ky**2, side / n
        self.wavelength = wavelength_A(optics.voltage_kV)
        propagator = np.exp(-1j * np.pi * self.wavelength * self.k2 * kind.spacing_A)
        self.propagate = lambda wave: np.fft.ifft2(propagator * np.fft.fft2(wave))

        def inside(edge: float) -> np.ndarray:
            return np.clip((edge - np.sqrt(self.k2)) * side + 0.5, 0, 1)

        inner, outer = (1e-3 * angle / self.wavelength for angle in optics.detector_mrad)
        self.detector = inside(outer) - inside(inner)
        self.aperture = inside(optics.aperture_per_A) / (np.sqrt(np.pi) * optics.aperture_per_A)
        q, step = np.linspace(0, 0.75 * n / side, 400), 1e-3
        radius = (np.arange(8000) + 0.5) * step
        wave = np.expm1(1j * projected_phase(kind.element, radius, voltage_kV=optics.voltage_kV)) * radius
        transform = 2 * np.pi * step * j0(2 * np.pi * np.outer(q, radius)) @ wave
        scattered = interp1d(q, transform, kind="cubic")(np.sqrt(self.k2)) / self.pixel**2
        self.mean = np.fft.ifft2(scattered * np.exp(-kind.debye_waller_A2 * self.k2 / 4))
        node, weight = np.polynomial.hermite_e.hermegauss(nodes)
        node, weight = node * np.sqrt(kind.debye_waller_A2 / (8 * np.pi**2)), weight / weight.sum()
        self.displaced = [
            (a * b, y, np.fft.ifft2(scattered * np.exp(-2j * np.pi * (self.kx * x + ky * y))))
            for x, a in zip(node, weight, strict=True)
            for y, b in zip(node, weight, strict=True)
        ]
        # by symmetry only displacements to one side of the plane through column and probe
        self.one_side = [((1 if y == 0 else 2) * share, s) for share, y, s in self.displaced if y >= 0]

    def probe(self, focus_A: float, x_A: float) -> np.ndarray:
        phase = np.pi * self.wavelength * self.k2 * focus_A - 2 * np.pi * self.kx * x_A
        return np.fft.ifft2(self.aperture * np.exp(1j * phase)) / self.pixel**2

    def seen(self, wave: np.ndarray) -> float:
        return float((np.abs(np.fft.fft2(wave)) ** 2 * self.detector).sum() * self.pixel**2 / wave.size)

    def single(self, focus_A: float, x_A: float, n_atoms: int) -> float:
        """Electrons that were scattered diffusely are not scattered again."""
        psi, diffuse = self.probe(focus_A, x_A), 0.0
        for number in range(n_atoms):
            diffuse += sum(share * self.seen(atom * psi) for share, atom in self.one_side)
            diffuse -= self.seen(self.mean * psi)
            behind = psi + self.mean * psi
            psi = self.propagate(behind) if number < n_atoms - 1 else psi
        return diffuse + self.seen(behind)

    def two_atoms(self, focus_A: float, x_A: float) -> float:
        """Frozen phonons: all displacements of both atoms."""
        psi, found = self.probe(focus_A, x_A), 0.0
        for first, atom in self.one_side:
            behind = self.propagate(psi + atom * psi)
            found += first * sum(
                share * self.seen(behind + other * behind) for share, _, other in self.displaced
            )
        return found


@pytest.mark.parametrize(
    ("kind", "optics"),
    [
        (GOLD, OPTICS),
        (ColumnKind("Si", 3.84, 0.3), FocalOptics(80, 28, (50, 150), diffuse="nonlocal")),
        (ColumnKind("Pb", 4.95, 1.5), FocalOptics(200, 15, (40, 160), diffuse="nonlocal")),
    ],
    ids=["Au", "Si", "Pb"],
)
def test_displaced_atoms_give_the_same(kind: ColumnKind, optics: FocalOptics) -> None:
    depth, focus, radius = np.arange(2) * kind.spacing_A, np.array([15.0]), np.array([0.0, 0.6])
    found = column_intensities(kind, optics, depth, focus, radius)[-1, 0]
    grid = SquareGrid(kind, optics, 5)
    expected = np.array([grid.single(15.0, r, 2) for r in radius])
    np.testing.assert_allclose(found / expected[0], expected / expected[0], atol=0.006)
    local = column_intensities(kind, replace(optics, diffuse="local"), depth, focus, radius)[-1, 0]
    assert (np.abs(local / expected - 1) > 3 * np.abs(found / expected - 1)).all()


def test_displacements_of_both_atoms() -> None:
    """Multiple diffuse scattering: 3 to 4 % fewer electrons on the axis of two atoms."""
    optics, depth, focus_A, x_A = replace(OPTICS, diffuse="multiple"), np.arange(2) * 4.08, 15.0, 0.2
    found = column_intensities(GOLD, optics, depth, np.array([focus_A]), np.array([x_A]))[-1].item()
    single = column_intensities(GOLD, OPTICS, depth, np.array([focus_A]), np.array([x_A]))[-1].item()
    expected = SquareGrid(GOLD, optics, 3).two_atoms(focus_A, x_A)
    assert found == pytest.approx(expected, rel=0.007)
    assert abs(single / expected - 1) > 0.015


def test_multiple_scattering_of_five_atoms() -> None:
    """abTEM, 80 configurations (standard error 1 to 2 %), is 2 % brighter everywhere."""
    expected = [
        [0.07283, 0.05241, 0.03000, 0.00766],
        [0.24009, 0.14672, 0.02843, 0.00192],
        [0.09099, 0.06589, 0.03306, 0.00731],
    ]
    depth, focus, radius = (np.arange(5) - 2) * 4.08, np.array([-50.0, 0, 50]), np.array([0, 0.25, 0.5, 1])
    found = column_intensities(GOLD, replace(OPTICS, diffuse="multiple"), depth, focus, radius)
    np.testing.assert_allclose(1.02 * found[-1], expected, rtol=0.05)
    one = [
        column_intensities(GOLD, replace(OPTICS, diffuse=model), depth[:1], focus, radius)
        for model in ("nonlocal", "multiple")
    ]
    np.testing.assert_allclose(*one, rtol=2e-3)


@pytest.mark.parametrize("element", ["C", "Al"])
def test_cross_section_of_a_light_atom_is_that_of_the_einstein_model(element: str) -> None:
    """A weak phase object scatters γ²λ² f² [1 − exp(−Bq²/2)] by q = k − g, for g in the aperture."""
    optics = FocalOptics(semi_angle_mrad=20.0, detector_mrad=(60.0, 180.0), diffuse="nonlocal")
    kind, largest = ColumnKind(element, 4.0, 6.0), 6.0
    node, weight = np.polynomial.legendre.leggauss(60)
    radius = largest * (node + 1) / 2
    found = column_intensities(kind, optics, np.zeros(1), np.zeros(1), radius)[0, 0]
    found = float((found * radius * weight).sum() * np.pi * largest)
    wavelength = wavelength_A(optics.voltage_kV)
    k, angle = 0.06 / wavelength + (0.12 / wavelength) * (node + 1) / 2, np.pi * (np.arange(40) + 0.5) / 40
    g = optics.aperture_per_A * np.sqrt((np.arange(100) + 0.5) / 100)
    q2 = np.add.outer(k**2, g**2)[..., np.newaxis] - 2 * np.multiply.outer(np.outer(k, g), np.cos(angle))
    factor = scattering_factor(element, np.sqrt(q2).ravel()).reshape(q2.shape)
    density = (factor**2 * -np.expm1(-kind.debye_waller_A2 * q2 / 2)).mean(axis=(1, 2))
    total = (density * 2 * np.pi * k * weight).sum() * 0.06 / wavelength
    total *= (relative_mass(optics.voltage_kV) * wavelength) ** 2
    x = 2 * np.pi * optics.aperture_per_A * largest
    assert found == pytest.approx(total * (1 - j0(x) ** 2 - j1(x) ** 2), rel=0.015)


@pytest.mark.parametrize(
    ("n_atoms", "expected", "tolerance"), [(1, 1.0, 0.1), (3, 6.2, 0.4), (10, 13.1, 0.8)]
)
def test_the_peak_of_frozen_phonons(n_atoms: int, expected: float, tolerance: float) -> None:
    """abTEM, 88 to 128 configurations: peak on the axis behind the first atom (standard error 0 to 0.2 Å)."""
    focus = np.array([-100, -50, -25, 0, 12.5, 25, 50, 100])
    depth = (np.arange(n_atoms) - (n_atoms - 1) / 2) * GOLD.spacing_A
    values = column_intensities(GOLD, OPTICS, depth, focus, np.zeros(1))[-1, :, 0]

    def gaussian(z: np.ndarray, height: float, peak: float, width: float, level: float) -> np.ndarray:
        return height * np.exp(-((z - peak) ** 2) / (2 * width**2)) + level

    peak = curve_fit(gaussian, focus, values, (values.max(), 5, 40, 0))[0][1]
    assert peak - depth[0] == pytest.approx(expected, abs=tolerance)


def test_frozen_phonons_of_one_atom() -> None:
    """abTEM, 128 configurations, is 2 % brighter everywhere; the local model is 20 % darker at 0.5 Å."""
    expected = [
        [0.012468, 0.004255, 0.001005],
        [0.041999, 0.002578, 0.000219],
        [0.013863, 0.004242, 0.000949],
    ]
    found = column_intensities(
        GOLD, OPTICS, np.zeros(1), np.array([-50.0, 0.0, 50.0]), np.array([0, 0.5, 1.0])
    )
    np.testing.assert_allclose(1.02 * found[0], expected, rtol=0.05)


def test_detectors_that_meet_add_up_and_atoms_at_rest_scatter_nothing_diffusely() -> None:
    depth, focus, radius = np.arange(2) * 4.08, np.array([0.0, 30.0]), np.array([0.0, 0.6])

    def seen(inner: float, outer: float, kind: ColumnKind, model: str) -> np.ndarray:
        return column_intensities(kind, FocalOptics(300, 21, (inner, outer), 0, model), depth, focus, radius)

    parts = [seen(48, 120, GOLD, "nonlocal"), seen(120, 180, GOLD, "nonlocal")]
    np.testing.assert_allclose(sum(parts), seen(48, 180, GOLD, "nonlocal"), rtol=1e-5)
    rest = replace(GOLD, debye_waller_A2=0.0)
    np.testing.assert_allclose(seen(48, 180, rest, "nonlocal"), seen(48, 180, rest, "local"), rtol=1e-5)


def test_derivatives_by_the_depth_of_atoms() -> None:
    depth, focus, radius = np.array([-6.0, -2.2, 2.0]), np.array([-30.0, 15.0]), np.array([0.0, 0.6])
    intensity, slope = depth_derivatives(GOLD, OPTICS, depth, focus, radius)
    whole = column_intensities(GOLD, OPTICS, depth, focus, radius)[-1]
    np.testing.assert_allclose(intensity, whole, rtol=1e-10)
    moved = np.array([0.0, 1e-3, 0.0])
    ahead, behind = (column_intensities(GOLD, OPTICS, depth + s * moved, focus, radius)[-1] for s in (1, -1))
    np.testing.assert_allclose(slope[1], (ahead - behind) / 2e-3, atol=1e-5 * np.abs(slope).max())


def test_unknown_models_are_refused() -> None:
    with pytest.raises(UsageError, match="diffuse"):
        FocalOptics(diffuse="global")
    with pytest.raises(UsageError, match="equal distances"):
        column_intensities(
            GOLD, FocalOptics(diffuse="multiple"), np.array([0.0, 1, 3]), np.zeros(1), np.zeros(1)
        )
