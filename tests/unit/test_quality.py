"""Measures of quality against closed forms, brute force and scikit-image."""

from math import inf, log10, pi, sqrt

import numpy as np
import pytest
import scipy.fft
from skimage.metrics import structural_similarity

from etcli.core.errors import DataError, UsageError
from etcli.core.quality import (
    FSC,
    crowther_resolution_A,
    fit_scale,
    fourier_shell_correlation,
    last_agreement_A,
    missing_wedge,
    nrmse,
    psnr,
    resolution_A,
    ssim,
)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(12, 14), (5, 12, 14)])
def test_nrmse_is_relative_to_the_reference(shape):
    reference = noise(*shape)
    assert nrmse(1.25 * reference, reference) == pytest.approx(0.25, rel=1e-6)
    assert nrmse(reference, 1.25 * reference) == pytest.approx(0.2, rel=1e-6)
    assert nrmse(np.zeros_like(reference), reference) == 1


def test_psnr_of_a_constant_error():
    reference = np.zeros((3, 8, 8))
    reference[1, 2, 3] = 50
    reference[0, 0, 0] = -50
    assert psnr(reference + 2, reference) == pytest.approx(10 * log10(100**2 / 4))
    assert psnr(reference, reference) == inf


@pytest.mark.parametrize("offset", [0, -31900])
def test_ssim_is_that_of_scikit_image(offset):
    reference = noise(3, 40, 33) + np.float32(offset)
    image = reference + 0.5 * noise(3, 40, 33, seed=1) + np.float32(0.3)
    expected = [
        structural_similarity(
            a.astype(float),
            b.astype(float),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=float(np.ptp(reference)),
        )
        for a, b in zip(image, reference, strict=True)
    ]
    assert ssim(image, reference) == pytest.approx(np.mean(expected), abs=1e-6)
    assert ssim(image, reference) < 0.99
    assert ssim(reference, reference) == pytest.approx(1, abs=1e-12)


def test_fit_scale_finds_scale_and_offset():
    image = noise(4, 9, 11)
    scale, offset = fit_scale(image, 3.5 * image.astype(float) - 20)
    assert (scale, offset) == pytest.approx((3.5, -20))


def test_fit_scale_is_the_least_squares_fit():
    image, reference = noise(30, 31), noise(30, 31, seed=1) + 2
    design = np.stack([image.ravel(), np.ones(image.size)], axis=1)
    expected = np.linalg.lstsq(design, reference.ravel(), rcond=None)[0]
    assert fit_scale(image, reference) == pytest.approx(tuple(expected), rel=1e-5)


def shells_by_brute_force(a, b, n):
    transforms = [np.fft.fftn(v - v.mean(dtype=float)) for v in (a, b)]
    grids = np.meshgrid(*[np.fft.fftfreq(size) for size in a.shape], indexing="ij")
    shell = np.rint(n * np.sqrt(sum(f**2 for f in grids)))
    for k in range(1, n // 2 + 1):
        fa, fb = (t[shell == k] for t in transforms)
        yield np.real(np.vdot(fb, fa)) / (np.linalg.norm(fa) * np.linalg.norm(fb)), fa.size


@pytest.mark.parametrize("shape", [(12, 12, 12), (9, 9, 9), (10, 13, 8), (7, 12, 15), (16, 21), (15, 12)])
def test_fsc_is_the_sum_over_all_coefficients(shape):
    a = noise(*shape) + 100
    b = a + 0.7 * noise(*shape, seed=1)
    fsc = fourier_shell_correlation(a, b, pixel_A=2.5)
    correlation, n_samples = zip(*shells_by_brute_force(a, b, min(shape)), strict=True)
    np.testing.assert_allclose(fsc.correlation, correlation, atol=1e-4)
    np.testing.assert_array_equal(fsc.n_samples, n_samples)
    np.testing.assert_allclose(fsc.frequency_per_A, np.arange(1, min(shape) // 2 + 1) / (min(shape) * 2.5))


@pytest.mark.parametrize("shape", [(8, 9, 11), (20, 21)])
def test_fsc_with_itself_is_one_and_with_its_negative_minus_one(shape):
    volume = noise(*shape)
    np.testing.assert_allclose(fourier_shell_correlation(volume, volume, pixel_A=1).correlation, 1, atol=1e-6)
    np.testing.assert_allclose(
        fourier_shell_correlation(3 - 2 * volume, volume, pixel_A=1).correlation, -1, atol=1e-6
    )


@pytest.mark.parametrize("shape", [(48, 48, 48), (400, 400)])
def test_fsc_of_independent_noise_scatters_by_the_number_of_samples(shape):
    fsc = fourier_shell_correlation(noise(*shape), noise(*shape, seed=1), pixel_A=1)
    deviates = fsc.correlation * np.sqrt(fsc.n_samples)
    assert abs(deviates.mean()) < 4 / sqrt(deviates.size)
    assert np.mean(deviates**2) == pytest.approx(1, abs=4 * sqrt(2 / deviates.size))


def test_fsc_of_a_smoothed_volume_with_noise_follows_its_signal_to_noise_ratio():
    n, blur, sigma = 64, 1.2, 0.15
    f2 = np.add.outer(np.add.outer(np.fft.fftfreq(n) ** 2, np.fft.fftfreq(n) ** 2), np.fft.rfftfreq(n) ** 2)
    transfer = np.exp(-2 * (pi * blur) ** 2 * f2)
    truth = scipy.fft.irfftn(transfer * scipy.fft.rfftn(noise(n, n, n)))
    fsc = fourier_shell_correlation(truth + sigma * noise(n, n, n, seed=1), truth, pixel_A=0.5)
    signal = np.exp(-4 * (pi * blur) ** 2 * (0.5 * fsc.frequency_per_A) ** 2)
    expected = 1 / np.sqrt(1 + sigma**2 / signal)
    np.testing.assert_array_less(np.abs(fsc.correlation - expected), 0.01 + 4 / np.sqrt(fsc.n_samples))
    assert np.abs(fsc.correlation - expected)[5:].max() < 0.03
    crossing = np.sqrt(-np.log(sigma**2 / 3) / (4 * (pi * blur) ** 2)) / 0.5
    assert resolution_A(fsc, threshold=0.5) == pytest.approx(1 / crossing, rel=0.01)


def curve(*correlation):
    frequency = np.arange(1, len(correlation) + 1) / 20
    return FSC(frequency, np.array(correlation), np.ones(len(correlation), np.int64))


def test_resolution_is_read_between_the_shells():
    assert resolution_A(curve(1, 0.9, 0.7, 0.3, 0.1)) == pytest.approx(20 / 3.5)
    assert resolution_A(curve(1, 0.9, 0.7, 0.3, 0.1), threshold=0.143) == pytest.approx(20 / 4.785)
    assert resolution_A(curve(1, 0.4, 0.9, 0.2)) == pytest.approx(20 / (1 + 5 / 6))


def test_resolution_where_the_curve_does_not_cross():
    assert resolution_A(curve(1, 0.9, 0.6)) is None
    assert resolution_A(curve(0.3, 0.9, 0.6)) == inf


def test_crowther():
    assert crowther_resolution_A(1000, 180) == pytest.approx(17.4533, abs=1e-4)
    assert crowther_resolution_A(1000, increment_deg=1) == pytest.approx(crowther_resolution_A(1000, 180))
    assert crowther_resolution_A(360, increment_deg=2) == pytest.approx(4 * pi)
    for wrong in ({}, {"n_views": 3, "increment_deg": 1.0}, {"n_views": 0}, {"increment_deg": -1.0}):
        with pytest.raises(UsageError):
            crowther_resolution_A(10, **wrong)
    with pytest.raises(UsageError, match="diameter"):
        crowther_resolution_A(0, 10)


def correlate(a, b):
    return fourier_shell_correlation(a, b, pixel_A=1)


@pytest.mark.parametrize("measure", [nrmse, psnr, ssim, fit_scale, correlate])
def test_what_cannot_be_compared_is_refused(measure):
    image = noise(2, 16, 16)
    with pytest.raises(DataError, match=r"\(2, 16, 16\) and \(1, 16, 16\) differ"):
        measure(image, image[:1])
    for value in (np.nan, np.inf):
        broken = image.copy()
        broken[1, 3, 4] = value
        for pair in ((broken, image), (image, broken)):
            with pytest.raises(DataError, match="not finite"):
                measure(*pair)
    with pytest.raises(DataError, match="real numbers"):
        measure(image.astype(complex), image.astype(complex))


def test_degenerate_references_are_refused():
    image = noise(16, 16)
    with pytest.raises(DataError, match="zero everywhere"):
        nrmse(image, 0 * image)
    for measure in (psnr, ssim):
        with pytest.raises(DataError, match="constant"):
            measure(image, 0 * image + 1)
    with pytest.raises(DataError, match="constant"):
        fit_scale(0 * image, image)
    with pytest.raises(DataError, match="too small"):
        ssim(image[:10], image[:10])
    with pytest.raises(UsageError, match="pixel size"):
        fourier_shell_correlation(image, image, pixel_A=0)


@pytest.mark.parametrize("tilts", [np.arange(-60.0, 61, 3), np.arange(20.0, 141, 3)[::-1]])
def test_what_lies_in_the_missing_wedge_does_not_count(tilts) -> None:
    """A view at tilt t fills the direction (cos t, sin t) of (fx, fz); the rest here is noise."""
    rng = np.random.default_rng(0)
    shape = (24, 20, 28)
    fz, fx = np.fft.fftfreq(24)[:, None, None], np.fft.fftfreq(28)
    direction = np.rad2deg(np.arctan2(fz, fx))
    half = (tilts.max() - tilts.min()) / 2
    away = abs(np.mod(direction - (tilts.max() + tilts.min()) / 2 + 90, 180) - 90)
    seen = np.broadcast_to((away <= half + 1e-6) | ((fx == 0) & (fz == 0)), shape)
    common = np.fft.fftn(rng.normal(size=shape))
    a, b = (np.fft.ifftn(np.where(seen, common, np.fft.fftn(rng.normal(size=shape)))).real for _ in range(2))
    blind = fourier_shell_correlation(a, b, pixel_A=1.0)
    aware = fourier_shell_correlation(a, b, pixel_A=1.0, wedge_deg=missing_wedge(tilts))
    assert blind.correlation[3:].max() < 0.85
    assert aware.correlation.min() > 0.97  # Nyquist's planes mix both sides
    assert (0.55 * blind.n_samples[2:] < aware.n_samples[2:]).all()
    assert (aware.n_samples[2:] < 0.8 * blind.n_samples[2:]).all()


def test_agreement_beyond_an_empty_shell_is_found() -> None:
    frequency, samples = np.arange(1, 11) / 100, np.full(10, 10_000)
    curve = np.array([1, 0.9, 0.05, 0.6, 0.7, 0.5, 0.1, 0.05, 0.3, 0.0])
    shells = FSC(frequency, curve, samples)
    assert resolution_A(shells, threshold=0.143) == pytest.approx(1 / (0.02 + 0.01 * 0.757 / 0.85))
    assert last_agreement_A(shells, threshold=0.143) == pytest.approx(1 / 0.06)  # a single shell is chance
    falling = FSC(frequency, np.linspace(1, 0, 10), samples)
    assert last_agreement_A(falling, threshold=0.143) is None
    few = FSC(frequency, curve, np.full(10, 16))  # noise scatters by 0.25
    assert last_agreement_A(few, threshold=0.143) is None
