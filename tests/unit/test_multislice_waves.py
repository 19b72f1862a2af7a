"""Propagation of waves through slices, transfer functions and images, against closed forms."""

from math import cos, inf, pi, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.fft import fft2, ifft2

from etcli.core.multislice.constants import interaction_rad_per_V_A, wavelength_A
from etcli.core.multislice.optics import PhaseContrastOptics, WaveGrid
from etcli.core.multislice.propagation import ANTI_ALIASING, exit_wave, image, integrated

GRID = WaveGrid((60, 80), 0.25)
OPTICS = PhaseContrastOptics(300)
LAMBDA = OPTICS.wavelength_A
SIGMA = OPTICS.interaction_rad_per_V_A


def at(array: NDArray[np.generic], qy: float, qx: float) -> complex:
    """Value of a function of the frequency; the frequencies are multiples of 1/15 and 1/20 1/Å."""
    return complex(array[round(qy * 15), round(qx * 20)])


def random_slices(n: int, dtype: type = np.float64) -> list[NDArray[np.floating]]:
    """Smooth potentials in V Å, with frequencies up to half of the Nyquist frequency."""
    rng = np.random.default_rng(3)
    qy, qx = GRID.frequencies_per_A
    smooth = qy**2 + qx**2 < 1
    noise = rng.normal(0, 300, (n, *GRID.shape))
    return [ifft2(fft2(values) * smooth).real.astype(dtype) for values in noise]


@pytest.mark.parametrize(
    ("voltage_kV", "wavelength", "interaction"),
    [(200, 0.025079340, 7.288401e-4), (300, 0.019687489, 6.526161e-4)],
)
def test_wavelength_and_interaction(voltage_kV: float, wavelength: float, interaction: float) -> None:
    assert wavelength_A(voltage_kV) == pytest.approx(wavelength, rel=1e-6)
    assert interaction_rad_per_V_A(voltage_kV) == pytest.approx(interaction, rel=1e-6)


@pytest.mark.parametrize("distance_A", [-700.0, 300.0])
def test_a_gaussian_beam(distance_A: float) -> None:
    """The waist w grows as w² → w² (1 + i d / z_R), z_R = πw²/λ: the paraxial closed form."""
    grid, waist = WaveGrid((192, 160), 0.25), 2.0
    y, x = ((np.arange(n) - n // 2) * grid.pixel_A for n in grid.shape)
    squared = y[:, np.newaxis] ** 2 + x**2
    spread = 1 + 1j * distance_A * LAMBDA / (pi * waist**2)
    wanted = np.exp(-squared / waist**2 / spread) / spread
    spectrum = fft2(np.exp(-squared / waist**2))
    paraxial = ifft2(spectrum * OPTICS.transfer(grid, distance_A))
    np.testing.assert_allclose(paraxial, wanted, atol=1e-9)
    # the angular spectrum differs in the phase by π λ³ q⁴ d / 4, up to 1e-3 where the beam has amplitude
    exact = ifft2(spectrum * OPTICS.propagator(grid, distance_A))
    np.testing.assert_allclose(exact, wanted, atol=1e-4)
    assert np.abs(exact - wanted).max() > 1e-7


@pytest.mark.parametrize("defocus_A", [-400.0, 250.0])
def test_a_weak_phase_object(defocus_A: float) -> None:
    """One slab: contrast 2σv sin χ with χ = πλdq²; overfocus makes atoms bright."""
    y, x = (np.arange(n) * GRID.pixel_A for n in GRID.shape)
    q = np.hypot(2 / 15, 3 / 20)
    wave = np.cos(2 * pi * (2 / 15 * y[:, np.newaxis] + 3 / 20 * x))
    slab = exit_wave([0.01 * wave], 1.0, OPTICS, GRID)
    intensity = image(fft2(slab), OPTICS.transfer(GRID, defocus_A))
    contrast = 2 * SIGMA * 0.01 * np.sin(pi * LAMBDA * defocus_A * q**2)
    assert abs(contrast) > 5e-6
    np.testing.assert_allclose(intensity - 1, contrast * wave, atol=1e-9)
    small = PhaseContrastOptics(300, aperture_mrad=0.99e3 * LAMBDA * q)
    np.testing.assert_allclose(image(fft2(slab), small.transfer(GRID, defocus_A)), 1, atol=1e-9)


def test_no_electrons_are_lost() -> None:
    wave = exit_wave(random_slices(12), 3.0, OPTICS, GRID)
    assert np.abs(wave).std() > 0.05
    assert np.mean(np.abs(wave) ** 2) == pytest.approx(1, abs=1e-12)


def test_slices_act_one_after_the_other() -> None:
    first, second = random_slices(2)
    one = exit_wave([first], 4.0, OPTICS, GRID)
    np.testing.assert_allclose(one, np.exp(1j * SIGMA * first), rtol=1e-12)
    between = ifft2(fft2(one) * OPTICS.propagator(GRID, 4.0))
    both = exit_wave([first, second], 4.0, OPTICS, GRID)
    np.testing.assert_allclose(both, between * np.exp(1j * SIGMA * second), rtol=1e-10)
    # the wave ends in the centre plane of the last slice, be it empty
    np.testing.assert_allclose(exit_wave([first, 0 * first], 4.0, OPTICS, GRID), between, rtol=1e-10)
    assert np.abs(between - one).max() > 0.01
    np.testing.assert_array_equal(exit_wave([], 4.0, OPTICS, GRID), np.ones(GRID.shape))


def test_the_precision_is_that_of_the_slices() -> None:
    double, single = (
        exit_wave(random_slices(8, dtype), 3.0, OPTICS, GRID) for dtype in (np.float64, np.float32)
    )
    assert double.dtype == np.complex128 and single.dtype == np.complex64
    np.testing.assert_allclose(single, double, atol=3e-6)
    transfer = OPTICS.transfer(GRID, 200.0)
    assert image(fft2(single), transfer).dtype == np.float32
    np.testing.assert_allclose(image(fft2(single), transfer), image(fft2(double), transfer), atol=2e-5)


def test_the_band_limit() -> None:
    slices = [0.0 * random_slices(1)[0], *random_slices(3)]
    limited = exit_wave(slices, 3.0, OPTICS, GRID, band_limit=ANTI_ALIASING)
    assert np.mean(np.abs(limited) ** 2) < 1
    last = exit_wave([*slices, 0 * slices[0]], 3.0, OPTICS, GRID, band_limit=ANTI_ALIASING)
    qy, qx = GRID.frequencies_per_A
    outside = qy**2 + qx**2 > (2 / 3 * 2.0) ** 2
    assert np.abs(fft2(last)[outside]).max() < 1e-9 < np.abs(fft2(limited)[outside]).max()


def test_scherzer_focus() -> None:
    """At d = -√(4/3 Cs λ), sin χ is zero first at the point resolution, 0.658 Cs^¼ λ^¾."""
    optics = PhaseContrastOptics(200, cs_mm=1.2)
    length = optics.wavelength_A
    defocus_A = -sqrt(4 / 3 * 1.2e7 * length)
    resolution_A = 0.6580 * 1.2e7**0.25 * length**0.75
    grid = WaveGrid((4, 1000), resolution_A / 10)
    q = grid.frequencies_per_A[1][0]
    chi = pi * length * q**2 * (defocus_A + 1.2e7 * length**2 * q**2 / 2)
    transfer = optics.transfer(grid, defocus_A)[0]
    np.testing.assert_allclose(transfer, np.exp(-1j * chi), atol=1e-9)
    assert q[100] == pytest.approx(1 / resolution_A)
    assert transfer[100].imag == pytest.approx(0, abs=2e-3)
    assert (np.sign(transfer[5:100].imag) == 1).all() and transfer[103].imag < 0


@pytest.mark.parametrize("direction_deg", [0.0, 90.0, 30.0])
def test_astigmatism_is_a_difference_of_defocus(direction_deg: float) -> None:
    optics = PhaseContrastOptics(300, astigmatism_A=50.0, astigmatism_deg=direction_deg)
    found = optics.transfer(GRID, 200.0)
    along_x, along_y = 50 * cos(2 * np.deg2rad(direction_deg)), -50 * cos(2 * np.deg2rad(direction_deg))
    assert at(found, 0, 0.6) == pytest.approx(at(OPTICS.transfer(GRID, 200 + along_x), 0, 0.6))
    assert at(found, 0.6, 0) == pytest.approx(at(OPTICS.transfer(GRID, 200 + along_y), 0.6, 0))
    # the largest defocus is along the direction itself: 45° has it on the diagonal x = y, not on x = -y
    diagonal = PhaseContrastOptics(300, astigmatism_A=50.0, astigmatism_deg=45.0).transfer(GRID, 200.0)
    assert at(diagonal, 0.2, 0.2) == pytest.approx(at(OPTICS.transfer(GRID, 250), 0.2, 0.2))


def test_the_aperture_is_a_disc() -> None:
    optics = PhaseContrastOptics(300, aperture_mrad=1e3 * LAMBDA * 0.51)
    qy, qx = GRID.frequencies_per_A
    np.testing.assert_array_equal(optics.pupil(GRID) != 0, np.hypot(qy, qx) < 0.51)
    assert PhaseContrastOptics(300, aperture_mrad=inf).pupil(GRID).all()


def test_envelopes() -> None:
    """Averages of the transfer over normal distributions of defocus, and of a tilt of the illumination."""
    q, spread = 0.6, 40.0
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights /= weights.sum()
    mean = sum(
        w * at(OPTICS.transfer(GRID, 200 + spread * x), 0, q) for x, w in zip(nodes, weights, strict=True)
    )
    found = PhaseContrastOptics(300, focal_spread_A=spread).transfer(GRID, 200.0)
    assert at(found, 0, q) == pytest.approx(mean, abs=1e-9) and 0.1 < abs(mean) < 0.9
    # a tilt β of the illumination multiplies the transfer by exp(-2πi β/λ · ∇χ/2π), to first order
    beta, slope = 1e-3 * 0.5, LAMBDA * 200 * q
    mean = sum(w * np.exp(-2j * pi * beta * x / LAMBDA * slope) for x, w in zip(nodes, weights, strict=True))
    found = PhaseContrastOptics(300, convergence_mrad=0.5).envelope(GRID, 200.0)
    assert at(found, 0, q) == pytest.approx(mean, abs=1e-9) and 0.1 < abs(mean) < 0.99


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_pixels_integrate(n: int) -> None:
    """The mean of a cosine over a pixel is known, also where the pixel has an even number of samples."""
    rows, columns, ky, kx = 12 * n, 9 * n, 2, -3
    y, x = np.arange(rows)[:, np.newaxis] / n, np.arange(columns) / n
    found = integrated(1 + 0.5 * np.cos(2 * pi * (ky * y / 12 + kx * x / 9) + 0.3), n)
    middle = (n - 1) / 2 / n
    y, x = np.arange(12)[:, np.newaxis] + middle, np.arange(9) + middle
    contrast = 0.5 * np.sinc(ky / 12) * np.sinc(kx / 9)
    np.testing.assert_allclose(found, 1 + contrast * np.cos(2 * pi * (ky * y / 12 + kx * x / 9) + 0.3))
