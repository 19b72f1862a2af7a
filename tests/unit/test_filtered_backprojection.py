"""Filtered back-projection against closed forms and scikit-image."""

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.transform import iradon, radon

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.slab import SlabProjector, to_slab
from etcli.core.simulate.phantoms import SHEPP_LOGAN
from etcli.core.solvers.filtered_backprojection import (
    FILTERS,
    filter_views,
    filtered_backprojection,
    hamming_like,
    radial,
    ramp,
    sirt_like,
    view_weights,
)

EVERY_DEGREE = np.arange(180.0)
IRADON = {
    "ram-lak": "ramp",
    "shepp-logan": "shepp-logan",
    "cosine": "cosine",
    "hamming": "hamming",
    "hann": "hann",
}


def fine(n: int) -> NDArray[np.float64]:
    """Middles of the n parts of a pixel."""
    return (np.arange(n) - (n - 1) / 2) / n


def ellipses(size: int):
    for density, a, b, _, x0, z0, turn_deg in SHEPP_LOGAN:
        yield density, *(v * size / 2 for v in (a, b, x0, z0)), np.deg2rad(turn_deg)


def head(size: int, centre: float) -> NDArray[np.float64]:
    """The phantom of Shepp and Logan, row 0 at the bottom, as means over the pixels."""
    image = np.zeros((size, size))
    for density, a, b, x0, z0, turn in ellipses(size):
        for dx in fine(4):
            for dz in fine(4):
                x = np.arange(size)[None, :] - centre + dx - x0
                z = np.arange(size)[:, None] - centre + dz - z0
                u, v = x * np.cos(turn) + z * np.sin(turn), z * np.cos(turn) - x * np.sin(turn)
                image += density / 16 * ((u / a) ** 2 + (v / b) ** 2 <= 1)
    return image


def views_of_the_head(size: int, tilt_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    """Its line integrals as means over the pixels, axis at (size - 1) / 2."""
    tilt = np.deg2rad(tilt_deg)[:, None]
    sinogram = np.zeros((len(tilt_deg), size))
    for density, a, b, x0, z0, turn in ellipses(size):
        squared = (a * np.cos(tilt - turn)) ** 2 + (b * np.sin(tilt - turn)) ** 2
        for dp in fine(8):
            p = np.arange(size) - (size - 1) / 2 + dp - x0 * np.cos(tilt) - z0 * np.sin(tilt)
            sinogram += density / 4 * a * b * np.sqrt(np.maximum(squared - p**2, 0)) / squared
    return sinogram


def disc_views(geometry: SliceGeometry, radius: float, x0: float = 0, z0: float = 0) -> NDArray[np.float32]:
    """Chords of a disc of density 1, as means over the pixels, in a slab."""
    views = np.zeros((geometry.n_views, geometry.n_detector))
    for dp in fine(8):
        p = np.arange(geometry.n_detector) - (geometry.n_detector - 1) / 2 - geometry.axis_offset_px + dp
        p = p - x0 * geometry.cos[:, None] - z0 * geometry.sin[:, None]
        views += np.sqrt(np.maximum(radius**2 - p**2, 0)) / 4
    return in_slab(views)


def in_slab(views: NDArray[np.float64]) -> NDArray[np.float32]:
    return to_slab(views.astype(np.float32)[:, None, :])


def reconstruct(geometry: SliceGeometry, slab: NDArray[np.float32], window="ram-lak") -> NDArray[np.float32]:
    return filtered_backprojection(SlabProjector(geometry, n_slices=16), slab, window=window)[..., 0]


def error(found, truth, centre: float) -> float:
    """Relative error within the inscribed circle, less its rim."""
    d = np.arange(len(truth)) - centre
    inside = d[:, None] ** 2 + d[None, :] ** 2 < (len(truth) / 2 - 2) ** 2
    return float(np.linalg.norm((found - truth)[inside]) / np.linalg.norm(truth[inside]))


@pytest.fixture(scope="module")
def exact():
    """Phantom and closed-form views of an odd size, where both centre conventions are the same."""
    return head(257, 128.0), views_of_the_head(257, EVERY_DEGREE)


@pytest.mark.parametrize("window", FILTERS)
def test_not_behind_scikit_image_on_exact_views(window, exact) -> None:
    truth, views = exact
    found = reconstruct(SliceGeometry(EVERY_DEGREE, 257, 257, 257), in_slab(views), window)
    peer = iradon(views.T, EVERY_DEGREE, filter_name=IRADON[window])[::-1]
    assert error(found, truth, 128.0) <= (1 + 1e-5) * error(peer, truth, 128.0)
    assert error(found, truth, 128.0) < 0.16


@pytest.mark.parametrize("window", ["ram-lak", "hann"])
def test_not_behind_scikit_image_on_its_own_views(window) -> None:
    # scikit-image's axis is at 128 of 256 pixels: half a pixel beside ours, and its first row is the top one
    top_down = head(257, 128.0)[:0:-1, :-1]
    views = radon(top_down, EVERY_DEGREE, circle=True)
    geometry = SliceGeometry(EVERY_DEGREE, 256, 257, 257, 0.5)
    found = reconstruct(geometry, in_slab(views.T), window)[:0:-1, :-1]
    peer = iradon(views, EVERY_DEGREE, filter_name=IRADON[window])
    assert error(found, top_down, 128.0) <= (1 + 1e-5) * error(peer, top_down, 128.0)
    assert error(found, peer, 128.0) < 2e-4


@pytest.mark.parametrize("window", FILTERS)
@pytest.mark.parametrize("n_detector", [128, 129])
def test_a_disc_keeps_its_density(window, n_detector) -> None:
    geometry = SliceGeometry(np.arange(0.0, 180, 2), n_detector, 100, 110, 1.7)
    found = reconstruct(geometry, disc_views(geometry, 30, x0=9, z0=-6), window)
    z, x = np.ogrid[:100, :110]
    distance = np.hypot(x - 54.5 - 9, z - 49.5 + 6)
    assert found[distance < 15].mean() == pytest.approx(1, abs=0.002)
    assert np.abs(found[distance < 20] - 1).max() < 0.05
    assert np.abs(found[(distance > 34) & (distance < 45)]).mean() < 0.05


def test_centre_of_a_disc_is_within_a_hundredth() -> None:
    geometry = SliceGeometry(EVERY_DEGREE, 129, 129, 129)
    assert reconstruct(geometry, disc_views(geometry, 40))[64, 64] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("limit", "step"), [(70, 2.0), (60, 1.5), (45, 1.0)])
def test_a_missing_wedge_is_not_made_up_for(limit, step) -> None:
    # all views of a disc are equal, so that the middle is the fraction of half a turn that was seen
    tilt_deg = np.arange(-limit, limit + 0.1, step)
    geometry = SliceGeometry(tilt_deg, 129, 31, 129)
    seen = reconstruct(geometry, disc_views(geometry, 40))[15, 64]
    assert seen == pytest.approx((2 * limit + step) / 180, abs=0.01)


def test_uneven_angles_need_their_weights() -> None:
    rng = np.random.default_rng(0)
    tilt_deg = rng.permutation(np.concatenate([np.arange(-90, 0, 4.0), np.arange(0, 90, 1.0)]))
    geometry = SliceGeometry(tilt_deg, 128, 100, 100)
    slab = disc_views(geometry, 20, x0=9, z0=-6)
    z, x = np.ogrid[:100, :100]
    truth = (np.hypot(x - 49.5 - 9, z - 49.5 + 6) < 20).astype(float)
    found = reconstruct(geometry, slab)
    projector = SlabProjector(geometry, n_slices=16)
    plain = projector.interpolate(
        filter_views(slab), view_weight=np.full(len(tilt_deg), np.pi / len(tilt_deg))
    )
    assert error(found, truth, 49.5) < 0.6 * error(plain[..., 0], truth, 49.5)
    inside = np.hypot(x - 58.5, z - 43.5) < 10
    assert found[inside].mean() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("tilt_deg", "expected_deg"),
    [
        ([12.0], [180]),
        ([0.0, 90.0], [90, 90]),
        ([0.0, 10.0], [10, 10]),
        ([-60.0, 60.0, 0.0], [60, 60, 60]),
        (np.arange(-70, 71, 2.0), np.full(71, 2)),
        (np.arange(-90, 90, 3.0), np.full(60, 3)),
        ([-90.0, -45.0, 0.0, 45.0, 90.0], [22.5, 45, 45, 45, 22.5]),
        ([20.0, 0.0, 1.0, 3.0, 23.0, 21.0], [9, 1.5, 1.5, 9.5, 2, 1.5]),
        ([0.0, 0.0, 0.0, 10.0, 20.0, 20.004], [10 / 3, 10 / 3, 10 / 3, 10, 5, 5]),
        (np.r_[np.arange(-90, 0, 4.0), np.arange(0, 90)], np.r_[2.5, [4.0] * 21, 3, 1.5, [1.0] * 89]),
        (np.delete(np.arange(180.0), [50, 51]), np.r_[[1.0] * 49, 2, 2, [1.0] * 127]),
        (np.delete(np.arange(-60.0, 61), 70), np.r_[[1.0] * 69, 1.5, 1.5, [1.0] * 49]),
        ([370.0, -20.0, -180.0], [12.5, 17.5, 15]),
    ],
)
def test_every_view_stands_for_half_the_way_to_its_neighbours(tilt_deg, expected_deg) -> None:
    weights = np.rad2deg(view_weights(np.asarray(tilt_deg)))
    np.testing.assert_allclose(weights, expected_deg, atol=0.01)


def test_filtering_is_the_convolution_with_the_sampled_ramp() -> None:
    rng = np.random.default_rng(0)
    views = rng.standard_normal((2, 37, 16)).astype(np.float32)
    lag = np.arange(-36, 37)
    kernel = np.where(lag % 2, -1 / (np.pi * np.where(lag, lag, 1)) ** 2, 0)
    kernel[36] = 0.25
    found = filter_views(views)
    for view in range(2):
        expected = np.convolve(views[view, :, 9].astype(float), kernel)[36:73]
        np.testing.assert_allclose(found[view, :, 9], expected, atol=2e-6)


def test_windows_are_the_textbook_ones() -> None:
    f = np.fft.rfftfreq(400)
    expected = {
        "ram-lak": (1, 1),
        "shepp-logan": (2 * np.sqrt(2) / np.pi, 2 / np.pi),
        "cosine": (np.sqrt(0.5), 0),
        "hamming": (0.54, 0.08),
        "hann": (0.5, 0),
    }
    for name, (quarter, half) in expected.items():
        response = ramp(400, window=name)
        assert response[100] / ramp(400)[100] == pytest.approx(quarter)
        assert response[200] / ramp(400)[200] == pytest.approx(half, abs=1e-12)
        assert np.abs(ramp(400) - f).max() < 2e-3
    assert 0 < ramp(400)[0] < 1e-3


def test_imod_windows() -> None:
    f = np.array([0.001, 0.1, 0.2, 0.3, 0.4, 0.5])
    c, s = 0.25, 0.1
    flat = f * radial(c, s)(f)
    np.testing.assert_allclose(
        flat, [0.001, 0.1, 0.2, c * np.exp(-1 / 8), c * np.exp(-9 / 8), c * np.exp(-25 / 8)]
    )
    np.testing.assert_allclose(hamming_like(0.2)(f), radial(0.2, 0.1314)(f))
    assert sirt_like(5)(f)[0] == 1
    assert sirt_like(1)(f)[2] == pytest.approx(1 - (1 - 0.00195 / 0.2) ** 1.3)
    for iterations, power in ((15, 15.3), (20, 19.3), (30, 27.3), (50, 39.3)):
        assert sirt_like(iterations)(f)[2] == pytest.approx(1 - (1 - 0.00195 / 0.2) ** power)


def test_a_window_of_ones_own() -> None:
    geometry = SliceGeometry(np.arange(0.0, 180, 10), 40, 30, 30)
    slab = disc_views(geometry, 9)
    np.testing.assert_array_equal(
        reconstruct(geometry, slab, FILTERS["hann"]), reconstruct(geometry, slab, "hann")
    )


def test_wrong_requests_are_refused() -> None:
    geometry = SliceGeometry(np.array([0.0, 90.0]), 8, 5, 6)
    with pytest.raises(UsageError, match="'butter'; use one of ram-lak, shepp-logan"):
        reconstruct(geometry, disc_views(geometry, 2), "butter")
    for window in (lambda: radial(0, 0.1), lambda: radial(0.3, -1), lambda: hamming_like(0.5)):
        with pytest.raises(UsageError, match="positive"):
            window()
    with pytest.raises(UsageError, match="at least one iteration"):
        sirt_like(0)
