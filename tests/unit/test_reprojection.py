"""Predicted views, and how far views are from them, against images in closed form."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.registration.reprojection import Comparison, reproject
from tests.series import Particles, particle_views, scattered

SHAPE = (40, 56)
IN_PLANE = scattered(12, 0, (12, 7, 12), (1.2, 2.5))
ALL = np.ones(SHAPE, np.float32)
TILT = np.arange(-60, 61, 6.0)
SPECIMEN = scattered(14, 1, (9, 12, 9), (1.2, 2.0))


def image(moved_px=(0.0, 0.0), tilt_deg=0.0, shape=SHAPE) -> NDArray[np.float32]:
    return particle_views(IN_PLANE, [tilt_deg], shape, moved_px=moved_px)[0]


def both_sides(particles: Particles) -> Particles:
    """Put as much on the other side of the axis, behind what is before it."""
    place = np.concatenate([particles.place, particles.place * [-1, 1, -1]])
    return Particles(place, np.tile(particles.sigma, 2), np.tile(particles.height, 2))


def noise(sigma: float, seed: int = 0, shape=SHAPE) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, sigma, shape).astype(np.float32)


def details(picture: NDArray[np.float32]) -> NDArray[np.float64]:
    """What is larger than 0.7 px and smaller than 5 px, by scipy's own filters."""
    spectrum = ndimage.fourier_gaussian(np.fft.fft2(Comparison(picture.shape).window * picture), 0.7)
    return np.fft.ifft2(spectrum - ndimage.fourier_gaussian(spectrum, 5.0)).real


@pytest.mark.parametrize(
    "moved", [(0.0, 0.0), (2.25, 0.0), (0.0, -1.5), (-3.37, 2.81), (1.0, 3.0), (0.49, -0.51)]
)
@pytest.mark.parametrize("shape", [(40, 56), (41, 53)])
def test_displacement_is_from_the_prediction_to_the_view(moved, shape) -> None:
    view, predicted = image(moved, shape=shape), image(shape=shape)
    found = Comparison(shape).misfit(view, predicted, shown=np.ones(shape), reach_px=5)
    np.testing.assert_allclose(found.displacement_px, moved, atol=1e-3)
    back = Comparison(shape).misfit(predicted, view, shown=np.ones(shape), reach_px=5)
    np.testing.assert_allclose(back.displacement_px, np.negative(moved), atol=1e-3)
    assert found.quality > 0.9999


def test_brightness_does_not_displace() -> None:
    moved = 1.3, -0.6
    for gain in (0.2, 30):
        found = Comparison(SHAPE).misfit(image(moved) * gain, image(), shown=ALL, reach_px=3)
        np.testing.assert_allclose(found.displacement_px, moved, atol=1e-3)
        assert found.quality > 0.9999
    negative = Comparison(SHAPE).misfit(-image(), image(), shown=ALL, reach_px=0)
    assert negative.displacement_px == (0, 0)
    assert negative.quality == pytest.approx(-1)


def test_reach_is_respected() -> None:
    moved = 6.0, -5.0
    near = Comparison(SHAPE).misfit(image(moved), image(), shown=ALL, reach_px=2)
    assert abs(np.array(near.displacement_px)).max() <= 2 + 1
    far = Comparison(SHAPE).misfit(image(moved), image(), shown=ALL, reach_px=6)
    np.testing.assert_allclose(far.displacement_px, moved, atol=2e-3)


def test_the_highest_of_several_summits_within_reach() -> None:
    """Two particles of which the fainter is nearer: which one is meant depends on the reach alone."""
    one = Particles(np.zeros((1, 3)), np.array([1.5]), np.array([1.0]))
    two = Particles(np.array([[2.0, 1.0, 0], [-9.0, 4.0, 0]]), np.array([1.5, 1.5]), np.array([1.0, 1.4]))
    predicted, view = (particle_views(each, [0], SHAPE)[0] for each in (one, two))
    for reach, there in ((4, (2, 1)), (10, (-9, 4))):
        found = Comparison(SHAPE).misfit(view, predicted, shown=ALL, reach_px=reach)
        np.testing.assert_allclose(found.displacement_px, there, atol=1e-2)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.5])
def test_quality_is_the_correlation_of_details(sigma) -> None:
    """Moved by whole pixels, so that scipy can move it back; noise lowers it by its share of the power."""
    moved = 3, -2
    view = image(moved) + noise(sigma)
    found = Comparison(SHAPE).misfit(view, image(), shown=ALL, reach_px=5)
    np.testing.assert_allclose(found.displacement_px, moved, atol=0.4 * sigma)
    back = np.roll(details(view), (2, -3), axis=(0, 1))
    expected = np.corrcoef(back.ravel(), details(image()).ravel())[0, 1]
    assert found.quality == pytest.approx(expected, abs=0.02)
    signal, power = np.sum(details(image()) ** 2), np.sum(details(noise(sigma)) ** 2)
    assert found.quality == pytest.approx(np.sqrt(signal / (signal + power)), abs=0.05)


def test_quality_of_what_has_nothing_in_common() -> None:
    found = Comparison(SHAPE).misfit(noise(1, 1), noise(1, 2), shown=ALL, reach_px=2)
    assert abs(found.quality) < 0.2


def test_residual_is_what_remains_of_the_view() -> None:
    for gain in (0.7, 1.0, 1.2):
        found = Comparison(SHAPE).misfit(image(), gain * image(), shown=ALL, reach_px=2)
        assert found.residual == pytest.approx(abs(1 - gain), abs=1e-6)
    apart = Comparison(SHAPE).misfit(image((4.0, 0.0)), image(), shown=ALL, reach_px=5)
    smooth = [ndimage.fourier_gaussian(np.fft.fft2(image(m)), 0.7) for m in ((4.0, 0.0), (0.0, 0.0))]
    expected = np.linalg.norm(smooth[0] - smooth[1]) / np.linalg.norm(smooth[0])
    assert apart.residual == pytest.approx(expected, rel=1e-3)  # where they are: not moved back


def test_what_is_not_shown_does_not_count() -> None:
    shown = ALL.copy()
    shown[:, :14] = 0
    shown[33:] = 0
    view, predicted = image((0.6, -0.4)), image()
    clean = Comparison(SHAPE).misfit(view, predicted, shown=shown, reach_px=2)
    spoilt = np.where(shown > 0, view, noise(30))
    assert Comparison(SHAPE).misfit(spoilt, predicted, shown=shown, reach_px=2) == clean
    np.testing.assert_allclose(clean.displacement_px, (0.6, -0.4), atol=0.15)
    assert Comparison(SHAPE).misfit(spoilt, predicted, shown=ALL, reach_px=2).quality < 0.5


def test_borders_fade() -> None:
    window = Comparison(SHAPE).window
    assert window.shape == SHAPE
    np.testing.assert_array_equal(window, window[::-1, ::-1])
    np.testing.assert_array_equal(window[4:-4, 6:-6], 1)
    assert window[20, 0] == pytest.approx(0.5 - 0.5 * np.cos(np.pi * 0.5 / 5.6))
    assert window[0, 28] == pytest.approx(0.5 - 0.5 * np.cos(np.pi * 0.5 / 4))


@pytest.mark.parametrize("turn", [-0.3, 0.0, 0.2, 0.5])
@pytest.mark.parametrize("tilt", [-40.0, 10.0])
def test_turn_is_by_how_much_more_the_view_is_tilted(turn, tilt) -> None:
    """Particles in pairs on either side of the middle: no displacement looks like a turn."""
    pairs = both_sides(IN_PLANE)
    view, predicted, *turned = (
        particle_views(pairs, [tilt + more], SHAPE)[0] for more in (turn, 0, -0.5, 0.5)
    )
    how = {"shown": ALL, "reach_px": 2}
    found = Comparison(SHAPE).misfit(view, predicted, turned=np.array(turned), **how)
    assert found.turn_deg == pytest.approx(turn, abs=0.01)
    assert np.isnan(Comparison(SHAPE).misfit(view, predicted, **how).turn_deg)
    moved = 1.1 * particle_views(pairs, [tilt + turn], SHAPE, moved_px=(0.8, -1.2))[0]
    found = Comparison(SHAPE).misfit(moved, predicted, turned=np.array(turned), **how)
    assert found.turn_deg == pytest.approx(1.1 * turn, abs=0.02)


@pytest.mark.parametrize("turn", [-0.4, 0.4])
def test_a_turn_is_not_exaggerated_where_it_looks_like_a_displacement(turn) -> None:
    view, predicted, *turned = (image(tilt_deg=-40 + more) for more in (turn, 0, -0.5, 0.5))
    found = Comparison(SHAPE).misfit(view, predicted, shown=ALL, reach_px=2, turned=np.array(turned))
    assert 0.7 < found.turn_deg / turn < 1.05


def test_blank_images() -> None:
    blank = np.zeros(SHAPE, np.float32)
    for view, predicted in ((blank, image()), (image(), blank), (blank, blank)):
        found = Comparison(SHAPE).misfit(view, predicted, shown=ALL, reach_px=2)
        assert (found.displacement_px, found.quality, found.residual) == ((0, 0), 0, 1)


def all_from(used, *, wanted=None):
    everything = np.arange(len(TILT))
    return [(np.asarray(used), everything if wanted is None else np.asarray(wanted))]


def test_views_are_predicted_from_the_others() -> None:
    images = particle_views(SPECIMEN, TILT, (36, 36))
    others = np.delete(np.arange(len(TILT)), 8)
    found = reproject(images, TILT, groups=all_from(others, wanted=[8]), positive=True)
    assert found.shape == (1, *images.shape)
    assert found.dtype == np.float32
    assert np.linalg.norm(found[0, 8] - images[8]) < 0.1 * np.linalg.norm(images[8])
    assert not found[0, others].any()
    found = Comparison((36, 36)).misfit(images[8], found[0, 8], shown=np.ones((36, 36)), reach_px=2)
    np.testing.assert_allclose(found.displacement_px, 0, atol=0.02)
    assert found.quality > 0.98


def test_what_is_left_out_has_no_influence() -> None:
    images = particle_views(SPECIMEN, TILT, (36, 36))
    spoilt = images.copy()
    spoilt[[3, 8]] = noise(5, shape=(2, 36, 36))
    everything = np.arange(len(TILT))
    groups = [(np.setdiff1d(everything, [3, 8]), np.array([3, 8])), (everything[:3], np.array([5]))]
    clean, other = (reproject(each, TILT, groups=groups, positive=True) for each in (images, spoilt))
    np.testing.assert_array_equal(clean, other)
    assert clean[0, [3, 5, 8]].any(axis=(1, 2)).all()
    whole = [reproject(each, TILT, groups=all_from(everything), positive=True) for each in (images, spoilt)]
    assert np.abs(whole[0] - whole[1]).max() > 0.1


def test_turns_are_added_to_the_tilts() -> None:
    images = particle_views(SPECIMEN, TILT, (20, 36))
    used, wanted = np.arange(0, len(TILT), 2), np.array([5, 15])
    how = {"groups": all_from(used, wanted=wanted), "positive": True}
    found = reproject(images, TILT, turns_deg=(0.0, -2.0, 3.5), **how)
    for turn, predicted in zip((0.0, -2.0, 3.5), found, strict=True):
        turned = TILT.copy()
        turned[wanted] += turn
        np.testing.assert_array_equal(predicted, reproject(images, turned, **how)[0])
    closer = particle_views(SPECIMEN, TILT[wanted] + 3.5, (20, 36))
    assert np.linalg.norm(found[2, wanted] - closer) < 0.3 * np.linalg.norm(found[1, wanted] - closer)


def test_density_is_positive_on_request() -> None:
    images = particle_views(SPECIMEN, TILT, (20, 36)) - 0.3
    everything = np.arange(len(TILT))
    bounded, free = (
        reproject(images, TILT, groups=all_from(everything), positive=positive)[0]
        for positive in (True, False)
    )
    assert bounded.min() >= 0
    assert free.min() < -0.2
    np.testing.assert_allclose(
        reproject(-images, TILT, groups=all_from(everything), positive=False)[0], -free, atol=1e-5
    )


def test_more_iterations_fit_better() -> None:
    images = particle_views(SPECIMEN, TILT, (20, 36))
    errors = []
    for iterations in (2, 40):
        predicted = reproject(
            images, TILT, groups=all_from(np.arange(len(TILT))), positive=True, iterations=iterations
        )[0]
        errors.append(np.linalg.norm(predicted - images))
    assert errors[1] < 0.1 * errors[0]


@pytest.mark.parametrize("threads", [1, 2])
def test_rows_of_several_slabs(threads) -> None:
    """70 rows are a slab of 64 and one of 16; every row is predicted from that row alone."""
    rng = np.random.default_rng(0)
    images = rng.random((6, 70, 18), np.float32)
    tilt = np.array([-50.0, -20, 0, 15, 40, 60])
    how = {"groups": [(np.array([0, 2, 3, 5]), np.arange(6))], "positive": False, "turns_deg": (0.0, 1.0)}
    found = reproject(images, tilt, threads=threads, **how)
    for rows in (slice(0, 5), slice(60, 64), slice(63, 66), slice(69, 70)):
        alone = reproject(np.ascontiguousarray(images[:, rows]), tilt, **how)
        np.testing.assert_array_equal(found[:, :, rows], alone)
