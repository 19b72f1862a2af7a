"""Filters against closed forms, brute force and scikit-image."""

from math import pi, sqrt

import numpy as np
import pytest
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

from etcli.core.errors import DataError, UsageError
from etcli.core.filters import METHODS, apply_filter, noise_level


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def blob(shape, centre, sigma, height=1.0):
    grids = np.meshgrid(*[np.arange(n, dtype=float) for n in shape], indexing="ij")
    r2 = sum((g - c) ** 2 for g, c in zip(grids, centre, strict=True))
    return height * np.exp(-r2 / (2 * sigma**2))


def at_all_sites(image, statistic):
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(image, 1, "symmetric"), (3,) * image.ndim)
    return statistic(windows.reshape(*image.shape, -1), axis=-1)


@pytest.mark.parametrize("shape", [(13, 17), (6, 7, 8)])
def test_median_is_the_median_of_the_neighbours(shape):
    image = noise(*shape)
    np.testing.assert_array_equal(apply_filter(image, "median"), at_all_sites(image, np.median))


@pytest.mark.parametrize(("shape", "centre"), [((41, 50), (20, 23)), ((31, 33, 32), (15, 17, 14))])
def test_gaussian_of_a_gaussian_is_a_wider_lower_one_at_the_same_place(shape, centre):
    image = blob(shape, centre, 2, 100)
    expected = blob(shape, centre, sqrt(2**2 + 1.5**2), 100 * (4 / (4 + 2.25)) ** (len(shape) / 2))
    np.testing.assert_allclose(apply_filter(image, "gaussian", sigma_px=1.5), expected, atol=0.02)


@pytest.mark.parametrize("slopes", [(3, 4), (1, 0), (2, -1, 2), (0, 0, -7)])
@pytest.mark.parametrize("method", ["sobel", "median-sobel"])
def test_sobel_of_a_ramp_is_its_slope(slopes, method):
    grids = np.meshgrid(*[np.arange(9)] * len(slopes), indexing="ij")
    ramp = sum(s * g for s, g in zip(slopes, grids, strict=True)).astype(np.int16)
    inner = (slice(2, -2),) * ramp.ndim
    np.testing.assert_allclose(apply_filter(ramp, method)[inner], np.linalg.norm(slopes), rtol=1e-6)


def test_sobel_of_a_step_lies_on_the_step():
    step = np.zeros((7, 8))
    step[:, 4:] = 10
    np.testing.assert_allclose(apply_filter(step, "sobel"), np.tile([0, 0, 0, 5, 5, 0, 0, 0], (7, 1)))


def test_median_sobel_ignores_single_hits():
    step = np.zeros((9, 10))
    step[4:] = 10
    struck = step.copy()
    struck[1, 2] = struck[7, 8] = 1e4
    np.testing.assert_array_equal(apply_filter(struck, "median-sobel"), apply_filter(step, "sobel"))


def cosines(shape, orders):
    """Return a product of the cosines that the mirrored borders leave as they are."""
    image = np.ones(shape)
    for axis, (n, k) in enumerate(zip(shape, orders, strict=True)):
        wave = np.cos(pi * k * (np.arange(n) + 0.5) / n)
        image *= wave.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return image


def stated_response(f, low, high):
    below = max(1 - f * low, 0) if low else 0
    above = max(f * high - 1, 0) if high else 0
    return np.exp(-0.5 * ((below + above) / 0.2) ** 2)


@pytest.mark.parametrize(("low", "high"), [(None, 5), (12, None), (20, 5), (8, 8)])
@pytest.mark.parametrize("shape", [(40, 60), (70, 12, 10)])
def test_bandpass_has_the_response_it_states(low, high, shape):
    seen = []
    for orders in [(0, 0, 5), (2, 3, 0), (1, 0, 0), (8, 4, 1), (11, 0, 2), (25, 9, 8), (9, 9, 0), (0, 0, 0)]:
        orders = orders[: len(shape)]
        frequency = sqrt(sum((k / (2 * n)) ** 2 for k, n in zip(orders, shape, strict=True)))
        response = stated_response(frequency, low, high) if any(orders) else float(low is None)
        seen.append(response)
        wave = 50 * cosines(shape, orders)
        got = apply_filter(wave + 1000, "bandpass", low_px=low, high_px=high)
        level = 1000 if low is None else 0
        np.testing.assert_allclose(got, response * wave + level, atol=2e-3)
    assert min(seen) < 0.1
    assert max(seen) > 0.9


def test_bandpass_keeps_and_stops_waves_of_any_phase():
    y, x = np.mgrid[:128, :128]
    inner = (slice(40, -40),) * 2
    for period, kept in ((4, 0), (10, 1), (60, 0)):
        for phase in (0, 1, 2.5):
            wave = np.cos(2 * pi * (0.6 * x + 0.8 * y) / period + phase)
            got = apply_filter(wave, "bandpass", low_px=20, high_px=6)
            np.testing.assert_allclose(got[inner], kept * wave[inner], atol=0.05)


def test_bandpass_does_not_wrap_round():
    image = np.zeros((64, 64))
    image[:, :3] = 1
    low_pass = apply_filter(image, "bandpass", high_px=6)
    assert np.abs(low_pass[:, 40:]).max() < 0.01
    assert low_pass[:, :3].min() > 0.5


@pytest.mark.parametrize("shape", [(200, 210), (50, 60, 40)])
@pytest.mark.parametrize("sigma", [0.1, 30])
def test_noise_level_sees_the_noise_and_not_the_specimen(shape, sigma):
    image = blob(shape, [n / 2 for n in shape], 8, 20 * sigma) - 31900 * (sigma > 1)
    image += sigma * noise(*shape)
    assert noise_level(image) == pytest.approx(sigma, rel=0.04)


def test_noise_level_of_an_image_without_noise():
    assert noise_level(np.zeros((20, 20))) == 0


def disc(n, *, dims=2):
    grids = np.meshgrid(*[np.arange(n) - n / 2] * dims, indexing="ij")
    return (sum(g**2 for g in grids) < (n / 3) ** 2).astype(float)


@pytest.mark.parametrize(("dims", "n"), [(2, 48), (3, 16)])
def test_total_variation_is_the_minimum_that_scikit_image_finds(dims, n):
    image = disc(n, dims=dims) + 0.3 * noise(*[n] * dims)
    peer = denoise_tv_chambolle(image.astype(float), 0.3, eps=1e-9, max_num_iter=4000)
    got = apply_filter(image, "tv", weight=0.3)
    assert np.sqrt(np.mean((got - peer) ** 2)) < 0.01 * 0.3
    assert np.abs(got - peer).max() < 0.1 * 0.3


def test_total_variation_lowers_a_bar_by_the_closed_form():
    bar = np.zeros((6, 40))
    bar[:, 10:30] = 5
    # In one dimension a bar w wide loses 2 weight / w, and surroundings v wide on one side gain weight / v.
    expected = np.full((6, 40), 2 / 10)
    expected[:, 10:30] = 5 - 2 * 2 / 20
    np.testing.assert_allclose(apply_filter(bar, "tv", weight=2), expected, atol=0.05)


@pytest.mark.parametrize("method", ["tv", "nlm"])
def test_denoising_finds_its_strength_in_the_noise(method):
    clean = 7 * disc(96)
    got = apply_filter(clean + noise(96, 96) - 1000, method) + 1000
    assert np.sqrt(np.mean((got - clean) ** 2)) < 0.35
    smooth = apply_filter(clean, method)
    np.testing.assert_array_equal(smooth, clean)


def nonlocal_means_of_one(image, at, reach, h, sigma):
    """Return the value of one pixel, from the definition."""
    wide = np.pad(image.astype(float), reach + 2, "symmetric")
    patches = np.lib.stride_tricks.sliding_window_view(wide, (5,) * image.ndim)
    partners = patches[tuple(slice(k, k + 2 * reach + 1) for k in at)]
    own = patches[tuple(k + reach for k in at)]
    d2 = np.mean((partners - own) ** 2, axis=tuple(range(image.ndim, 2 * image.ndim)))
    weights = np.exp(-np.maximum(d2 - 2 * sigma**2, 0) / h**2)
    return np.sum(weights * partners[(..., *[2] * image.ndim)]) / weights.sum()


@pytest.mark.parametrize(("shape", "reach"), [((25, 31), 9), ((9, 10, 11), 4)])
def test_nonlocal_means_follow_their_definition(shape, reach):
    image = noise(*shape) + disc(max(shape), dims=len(shape))[tuple(slice(n) for n in shape)].astype(
        np.float32
    )
    got = apply_filter(image, "nlm", weight=0.8)
    sites = [tuple(0 for _ in shape), tuple(n - 1 for n in shape), tuple(n // 2 for n in shape)]
    sites += [tuple((7 * k + a) % n for a, n in enumerate(shape)) for k in range(5)]
    for at in sites:
        expected = nonlocal_means_of_one(image, at, reach, 0.8, noise_level(image))
        assert got[at] == pytest.approx(expected, abs=1e-5)


def test_nonlocal_means_keep_a_lattice_at_least_as_well_as_scikit_image():
    y, x = np.mgrid[:90, :90]
    lattice = np.cos(2 * pi * x / 9) * np.cos(2 * pi * y / 9)
    image = lattice + 0.3 * noise(90, 90)
    sigma = noise_level(image)
    peer = denoise_nl_means(image, 5, 9, h=0.6 * sigma, sigma=sigma, fast_mode=False)
    error, peer_error = (np.sqrt(np.mean((u - lattice) ** 2)) for u in (apply_filter(image, "nlm"), peer))
    assert error < peer_error
    assert error < 0.45 * 0.3


@pytest.mark.parametrize("shape", [(80, 90), (20, 24, 22)])
def test_despike_replaces_hits_and_nothing_else(shape):
    clean = blob(shape, [n / 2 for n in shape], 5, 100) + noise(*shape) - 31900
    hits = np.zeros(shape, bool)
    hits[tuple(np.random.default_rng(1).integers(0, n, 12) for n in shape)] = True
    struck = np.where(hits, clean + 500, clean).astype(np.float32)
    got = apply_filter(struck, "despike")
    np.testing.assert_array_equal(got[~hits], struck[~hits])
    assert np.abs(got - clean)[hits].max() < 30


def test_despike_replaces_dark_pixels_clusters_and_hits_at_the_border():
    struck = noise(40, 40)
    struck[10, 10:12] = 100
    struck[20, 20] = -100
    struck[0, 0] = struck[39, 5] = 100
    got = apply_filter(struck, "despike")
    assert np.abs(got).max() < 6
    assert (got != struck).sum() == 5
    np.testing.assert_array_equal(got[20, 20], np.median(struck[19:22, 19:22]))


def test_despike_leaves_sharp_edges_atoms_and_sparse_counts():
    y, x = np.mgrid[:60, :60]
    lattice = (x > 40) * 100 * (1 + np.cos(2 * pi * x / 6) * np.cos(2 * pi * y / 6)) + noise(60, 60)
    counts = np.random.default_rng(2).poisson(0.15, (60, 60))
    square = np.where((x > 20) & (y > 30), 1000.0, 0) + noise(60, 60)
    corner = (slice(28, 34), slice(18, 24))
    for image in (lattice, counts):
        np.testing.assert_array_equal(apply_filter(image, "despike"), image.astype(np.float32))
    changed = apply_filter(square, "despike") != square.astype(np.float32)
    changed[corner] = False
    assert not changed.any()
    struck = counts.copy()
    struck[30, 30] = 40
    assert apply_filter(struck, "despike")[30, 30] <= 1


def test_despike_takes_the_threshold_in_standard_deviations():
    image = noise(200, 200)
    deviation = np.abs(image - apply_filter(image, "median"))
    sigma = 1.4826 * np.median(deviation)
    strict, lax = (apply_filter(image, "despike", threshold=k) != image for k in (2.5, 4))
    assert 0 < lax.sum() < strict.sum()
    assert (deviation[strict] > 2.5 * sigma).all()


@pytest.mark.parametrize("method", METHODS)
def test_every_filter_returns_float32_and_leaves_its_input(method):
    image = (100 * noise(24, 25)).astype(np.int16)
    before = image.copy()
    got = apply_filter(image, method, high_px=4)
    assert got.dtype == np.float32
    assert got.shape == image.shape
    np.testing.assert_array_equal(image, before)
    floats = image.astype(np.float32)
    np.testing.assert_array_equal(apply_filter(floats, method, high_px=4), got)
    np.testing.assert_array_equal(floats, image)
    assert not np.shares_memory(apply_filter(floats, method, high_px=4), floats)


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("blur", {}, "median, gaussian"),
        ("median", {"size": 4}, "odd"),
        ("despike", {"size": 0}, "odd"),
        ("gaussian", {"sigma_px": 0}, "positive"),
        ("bandpass", {}, "low"),
        ("bandpass", {"low_px": 3, "high_px": 9}, "swap"),
        ("bandpass", {"low_px": -3}, "positive"),
        ("tv", {"weight": 0}, "positive"),
        ("nlm", {"weight": float("nan")}, "positive"),
        ("despike", {"threshold": -1}, "positive"),
    ],
)
def test_unfit_settings_are_refused(method, settings, message):
    with pytest.raises(UsageError, match=message):
        apply_filter(noise(12, 12), method, **settings)


@pytest.mark.parametrize("method", METHODS)
def test_unfit_images_are_refused(method):
    for image in (np.zeros(5), np.zeros((4, 4), complex), np.zeros((0, 4)), np.full((8, 8), np.nan)):
        with pytest.raises(DataError):
            apply_filter(image, method, high_px=4)
