"""The isolated column against multislice on a square grid, closed forms, sum rules and finite differences."""

from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.interpolate import interp1d
from scipy.special import j0, j1

from etcli.core.depth import isolated_column
from etcli.core.depth.focal_optics import ColumnKind, FocalOptics
from etcli.core.depth.isolated_column import column_intensities, depth_derivatives
from etcli.core.errors import UsageError
from etcli.core.multislice.constants import relative_mass, wavelength_A
from etcli.core.multislice.scattering_factors import projected_phase, scattering_factor

GOLD = ColumnKind("Au", 4.08, 0.63)


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waves on a smaller disc, with fewer orders: what must hold exactly holds there as well."""
    monkeypatch.setattr(isolated_column, "SMALLEST_DISC_A", 8.0)
    monkeypatch.setattr(isolated_column, "MORE_ORDERS", 0)
    monkeypatch.setattr(isolated_column, "ATOM_FREQUENCY_PER_A", 12.0)


def transformed(kind: ColumnKind, optics: FocalOptics, highest_per_A: float) -> tuple[np.ndarray, np.ndarray]:
    """Fourier transform of the transmission of an atom at rest minus 1, by a sum over the radius."""
    frequency = np.linspace(0, highest_per_A, 500)
    step = 1e-3
    radius = (np.arange(8000) + 0.5) * step
    wave = np.expm1(1j * projected_phase(kind.element, radius, voltage_kV=optics.voltage_kV))
    return frequency, 2 * np.pi * step * j0(2 * np.pi * np.outer(frequency, radius)) @ (wave * radius)


class SquareGrid:
    """The same physics with fast Fourier transforms on a square; of the tested code only the phases."""

    def __init__(self, kind: ColumnKind, optics: FocalOptics, side_A: float = 24.0, n: int = 480) -> None:
        self.wavelength = wavelength_A(optics.voltage_kV)
        k = np.fft.fftfreq(n, side_A / n)
        self.kx, self.ky = np.meshgrid(k, k)
        self.k2 = self.kx**2 + self.ky**2
        self.pixel = side_A / n
        inner, outer = (1e-3 * angle / self.wavelength for angle in optics.detector_mrad)
        self.aperture = self.inside(optics.aperture_per_A) / (np.sqrt(np.pi) * optics.aperture_per_A)
        self.detector = self.inside(outer) - self.inside(inner)
        scattered = interp1d(*transformed(kind, optics, 0.75 * n / side_A), kind="cubic")(np.sqrt(self.k2))
        scattered /= self.pixel**2
        rest = np.fft.ifft2(scattered)
        damping = np.exp(-kind.debye_waller_A2 * self.k2 / 4)
        mean = damping * scattered
        self.transmission = 1 + np.fft.ifft2(mean)
        incoherent = np.fft.ifft2(self.detector * scattered) * rest.conj()
        coherent = np.fft.ifft2(self.detector * mean) * np.fft.ifft2(mean).conj()
        self.diffuse = np.fft.ifft2(damping * np.fft.fft2(incoherent.real)).real - coherent.real

    def inside(self, edge_per_A: float) -> np.ndarray:
        """Share of each pixel, roughly, that lies inside a circle."""
        return np.clip((edge_per_A - np.sqrt(self.k2)) / self.kx[0, 1] + 0.5, 0, 1)

    def intensity(self, depth: np.ndarray, focus: float, x_A: float) -> list[float]:
        phase = np.pi * self.wavelength * self.k2 * (focus - depth[0]) - 2 * np.pi * self.kx * x_A
        wave = np.fft.ifft2(self.aperture * np.exp(1j * phase)) / self.pixel**2
        diffuse, found = 0.0, []
        for distance in np.append(np.diff(depth), 0.0):
            diffuse += float((np.abs(wave) ** 2 * self.diffuse).sum() * self.pixel**2)
            behind = np.fft.fft2(self.transmission * wave)
            elastic = (np.abs(behind) ** 2 * self.detector).sum() * self.pixel**2 / wave.size
            found.append(diffuse + float(elastic))
            wave = np.fft.ifft2(np.exp(-1j * np.pi * self.wavelength * self.k2 * distance) * behind)
        return found


@pytest.mark.parametrize(
    ("kind", "optics"),
    [
        (GOLD, FocalOptics()),
        (ColumnKind("Si", 3.84, 0.3), FocalOptics(80, 28, (50, 150))),
        (ColumnKind("Pb", 4.95, 1.5), FocalOptics(200, 15, (40, 160))),
    ],
    ids=["Au", "Si", "Pb"],
)
def test_multislice_on_a_square_grid_gives_the_same(kind: ColumnKind, optics: FocalOptics) -> None:
    grid = SquareGrid(kind, optics)
    depth, focus, radius = np.arange(4) * kind.spacing_A, np.array([-40.0, 10.0]), np.array([0.0, 0.7, 1.5])
    found = column_intensities(kind, optics, depth, focus, radius)
    expected = np.array([[grid.intensity(depth, f, r) for r in radius] for f in focus])
    expected = np.moveaxis(expected, -1, 0)
    peak = expected.max(axis=(1, 2), keepdims=True)
    np.testing.assert_array_less(np.abs(found - expected) / peak, 0.004)


def test_numbers_of_a_finer_computation() -> None:
    """Radius of the disc 20 Å, 10 more orders, higher frequencies and more nodes than by default."""
    focus, radius = np.array([-60.0, 0.0, 12.0, 50.0]), np.array([0.0, 0.7, 2.0])
    expected = {
        1: [
            [0.006647, 0.003162, 0.000065],
            [0.040386, 0.000593, 0.000016],
            [0.038129, 0.000838, 0.000017],
            [0.012811, 0.003001, 0.000044],
        ],
        10: [
            [0.134563, 0.035399, 0.001061],
            [0.327450, 0.014999, 0.000320],
            [0.296071, 0.018635, 0.000334],
            [0.122786, 0.035711, 0.000756],
        ],
    }
    for n_atoms, numbers in expected.items():
        depth = (np.arange(n_atoms) - (n_atoms - 1) / 2) * GOLD.spacing_A
        found = column_intensities(GOLD, FocalOptics(), depth, focus, radius)[-1]
        np.testing.assert_allclose(found, numbers, rtol=2e-3, atol=2e-6)


@pytest.mark.parametrize("element", ["H", "C", "Al"])
def test_cross_section_of_a_light_atom_is_that_of_the_einstein_model(element: str) -> None:
    """A weak phase object scatters γ²λ²∫ f² [1 − exp(−Bq²/2)] d²q into the detector, whatever the probe.

    The coherent part is suppressed by a large Debye-Waller factor. Of a focused probe, 1 − J0² − J1² of the
    current lies inside a radius (Rayleigh).
    """
    optics, largest = FocalOptics(semi_angle_mrad=20.0, detector_mrad=(60.0, 180.0)), 6.0
    kind = ColumnKind(element, 4.0, 6.0)
    node, weight = np.polynomial.legendre.leggauss(60)
    radius = largest * (node + 1) / 2
    found = column_intensities(kind, optics, np.zeros(1), np.zeros(1), radius)[0, 0]
    found = float((found * radius * weight).sum() * np.pi * largest)
    wavelength = wavelength_A(optics.voltage_kV)

    def scattered(q: float) -> float:
        factor = scattering_factor(element, np.array([q]))[0]
        return float(2 * np.pi * q * factor**2 * -np.expm1(-kind.debye_waller_A2 * q**2 / 2))

    total = quad(scattered, 0.06 / wavelength, 0.18 / wavelength)[0]
    total *= (relative_mass(optics.voltage_kV) * wavelength) ** 2
    x = 2 * np.pi * optics.aperture_per_A * largest
    assert found == pytest.approx(total * (1 - j0(x) ** 2 - j1(x) ** 2), rel=0.015)


@pytest.mark.usefixtures("coarse")
def test_detectors_that_meet_add_up_and_their_edges_do_not_jump() -> None:
    depth, focus, radius = np.arange(3) * 4.08, np.array([0.0, 30.0]), np.array([0.0, 0.6])

    def seen(inner: float, outer: float) -> np.ndarray:
        return column_intensities(GOLD, FocalOptics(detector_mrad=(inner, outer)), depth, focus, radius)

    np.testing.assert_allclose(seen(48, 120) + seen(120, 180), seen(48, 180), rtol=1e-9)
    edges = np.array([59.4, 59.7, 60.0, 60.3, 60.6])
    whole = np.array([seen(edge, 180)[-1, 0, 0] for edge in edges])
    np.testing.assert_allclose(np.diff(whole), np.diff(whole).mean(), rtol=0.1)


def test_a_detector_beside_the_probe_sees_only_what_was_scattered() -> None:
    """Far from the column nothing is scattered, and the edge of the disc sends nothing into the detector."""
    optics = FocalOptics(80, 30, (31, 150))
    found = column_intensities(
        ColumnKind("C", 2.5, 0.5), optics, np.zeros(1), np.zeros(1), np.array([0, 7.0])
    )
    assert 0 < found[0, 0, 1] < 5e-3 * found[0, 0, 0]


@pytest.mark.usefixtures("coarse")
def test_probes_far_away_and_far_out_of_focus_fit_in_the_disc(monkeypatch: pytest.MonkeyPatch) -> None:
    optics, depth = FocalOptics(60, 25, (60, 120)), np.zeros(1)
    focus, radius = np.array([-1000.0, 1000.0]), np.array([0.0, 4.0, 8.0])
    found = column_intensities(GOLD, optics, depth, focus, radius)
    monkeypatch.setattr(isolated_column, "SMALLEST_DISC_A", 45.0)
    expected = column_intensities(GOLD, optics, depth, focus, radius)
    np.testing.assert_allclose(found, expected, atol=0.02 * expected.max())


@pytest.mark.usefixtures("coarse")
@pytest.mark.parametrize(
    ("kind", "optics"),
    [(GOLD, FocalOptics()), (ColumnKind("Si", 3.84, 0.46), FocalOptics(200, 25, (60, 200)))],
    ids=["Au", "Si"],
)
def test_derivatives_by_the_depth_of_atoms(kind: ColumnKind, optics: FocalOptics) -> None:
    depth = np.array([-6.0, -2.2, 2.0, 5.5])
    focus, radius = np.array([-30.0, 15.0]), np.array([0.0, 0.6])
    intensity, slope = depth_derivatives(kind, optics, depth, focus, radius)
    np.testing.assert_allclose(
        intensity, column_intensities(kind, optics, depth, focus, radius)[-1], rtol=1e-10
    )
    step = 1e-3
    for atom in range(len(depth)):
        moved = np.zeros(4)
        moved[atom] = step
        difference = (
            column_intensities(kind, optics, depth + moved, focus, radius)[-1]
            - column_intensities(kind, optics, depth - moved, focus, radius)[-1]
        ) / (2 * step)
        # moving the first atom moves the disc on which the probe is cut off, too
        tolerance = 2e-3 if atom == 0 else 1e-5
        np.testing.assert_allclose(slope[atom], difference, atol=tolerance * np.abs(slope).max())


@pytest.mark.usefixtures("coarse")
def test_moving_all_atoms_is_moving_the_focus_back() -> None:
    depth, radius = np.arange(6) * 4.08, np.array([0.0, 0.5, 1.5])
    focus = np.linspace(-70, 90, 9)
    _, slope = depth_derivatives(GOLD, FocalOptics(), depth, focus, radius)
    step = 0.01
    ahead, behind = (
        column_intensities(GOLD, FocalOptics(), depth, focus + sign * step, radius)[-1] for sign in (1, -1)
    )
    by_focus = (ahead - behind) / (2 * step)
    np.testing.assert_allclose(slope.sum(axis=0), -by_focus, atol=1e-3 * np.abs(by_focus).max())


@pytest.mark.usefixtures("coarse")
def test_all_elements_scatter_and_heavier_ones_more() -> None:
    elements = ["H", "C", "Al", "Fe", "Ag", "Au", "Lr"]
    number = np.array([1, 6, 13, 26, 47, 79, 103])
    found = np.array(
        [
            column_intensities(
                ColumnKind(element, 4.0, 0.6), FocalOptics(), np.zeros(1), np.zeros(1), np.zeros(1)
            ).item()
            for element in elements
        ]
    )
    exponent = np.diff(np.log(found)) / np.diff(np.log(number))
    assert ((exponent > 1.1) & (exponent < 2.1)).all()


@pytest.mark.usefixtures("coarse")
def test_a_first_part_of_a_column_is_a_shorter_column() -> None:
    depth, focus, radius = np.arange(4) * 4.08, np.array([0.0, 40.0]), np.array([0.0, 1.0])
    whole = column_intensities(GOLD, FocalOptics(), depth, focus, radius)
    part = column_intensities(GOLD, FocalOptics(), depth[:2], focus, radius)
    np.testing.assert_allclose(part, whole[:2], rtol=1e-9)
    shifted = column_intensities(GOLD, FocalOptics(), depth + 25, focus + 25, radius)
    np.testing.assert_allclose(shifted, whole, rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"detector_mrad": (15.0, 180.0)}, "no dark-field detector"),
        ({"detector_mrad": (180.0, 48.0)}, "no dark-field detector"),
        ({"voltage_kV": 0}, "voltage_kV"),
        ({"semi_angle_mrad": -1}, "semi_angle_mrad"),
        ({"source_fwhm_A": float("nan")}, "source_fwhm_A"),
    ],
)
def test_impossible_microscopes_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        FocalOptics(**arguments)


def test_impossible_columns_are_refused() -> None:
    with pytest.raises(UsageError, match="spacing_A"):
        ColumnKind("Au", 0.0, 0.6)
    with pytest.raises(UsageError, match="debye_waller_A2"):
        ColumnKind("Au", 4.0, -0.1)
    with pytest.raises(UsageError, match="H to Lr"):
        column_intensities(ColumnKind("Rf", 4.0, 0.6), FocalOptics(), np.zeros(1), np.zeros(1), np.zeros(1))
