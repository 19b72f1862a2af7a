"""The motion between two images, against closed forms, theory and the authors' own program."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcli.core.errors import DataError, UsageError
from etcli.core.registration import least_squares
from etcli.core.registration.least_squares import register_pair, rotation
from tests.series import Particles, particle_views, scattered

SHAPE = (120, 151)
CLOUD = scattered(60, 3, (40, 30, 40), (2.0, 5.0))


def view(*, turn_deg=0.0, moved_px=(0.0, 0.0), tilt_deg=0.0, shape=SHAPE, particles=CLOUD):
    """Particles turned counter-clockwise about the centre, then moved by (x, y)."""
    return particle_views(particles, [tilt_deg], shape, axis_deg=turn_deg, moved_px=moved_px)[0]


def turn_deg(fit):
    return np.rad2deg(np.arctan2(fit.matrix[1, 0], fit.matrix[0, 0]))


@pytest.mark.parametrize("shape", [(96, 96), (101, 128), (200, 131)])
def test_translation_is_found_exactly(shape):
    fit = register_pair(view(shape=shape), view(shape=shape, moved_px=(5.3, -8.6)))
    np.testing.assert_allclose(fit.shift_px, (-5.3, 8.6), atol=0.002)
    np.testing.assert_array_equal(fit.matrix, np.eye(2))
    assert fit.quality == pytest.approx(1, abs=2e-4)


@settings(max_examples=20, deadline=None)
@given(st.floats(-8, 8), st.floats(-15, 15), st.floats(-15, 15))
def test_rigid_motion_is_undone(turn, right, up):
    fit = register_pair(view(), view(turn_deg=turn, moved_px=(right, up)), motion="rigid")
    back = rotation(np.deg2rad(-turn))
    np.testing.assert_allclose(fit.matrix, back, atol=2e-5)
    np.testing.assert_allclose(fit.shift_px, -back @ (right, up), atol=0.003)


def test_exchanged_images_give_the_inverse():
    first, second = view(tilt_deg=2), view(turn_deg=3, moved_px=(4, -7))
    there, back = (
        register_pair(*pair, motion="rigid", smooth_px=2) for pair in ((first, second), (second, first))
    )
    np.testing.assert_allclose(there.matrix @ back.matrix, np.eye(2), atol=2e-4)
    np.testing.assert_allclose(there.matrix @ back.shift_px + there.shift_px, 0, atol=0.02)


def test_level_and_contrast_do_not_matter():
    reference, image = view(), view(turn_deg=-2, moved_px=(3, 5))
    plain, other = (
        register_pair(reference, each, motion="rigid") for each in (image, 3000 - 20 * (2 - image))
    )
    np.testing.assert_allclose(other.shift_px, plain.shift_px, atol=1e-3)
    np.testing.assert_allclose(other.matrix, plain.matrix, atol=1e-5)


def test_a_bright_particle_may_leave_the_view():
    foil = scattered(400, 4, (150, 120, 0.5), (2.0, 5.0))
    bright = Particles(np.array([[62.0, 20.0, 0.0]]), np.array([4.0]), np.array([100.0]))
    reference, image = (
        view(particles=foil, moved_px=moved) + view(particles=bright, moved_px=moved)
        for moved in ((0, 0), (30, 5))
    )
    np.testing.assert_allclose(register_pair(reference, image).shift_px, (-30, -5), atol=0.02)


@pytest.mark.parametrize("tilts", [(40, 60), (60, 40)])
def test_stretch(tilts):
    foil = scattered(900, 4, (400, 90, 0.0), (1.0, 3.0))
    # The particles keep their width; only their places are stretched.
    near, far = (
        view(particles=foil, tilt_deg=tilt, moved_px=moved)
        for tilt, moved in zip(tilts, ((2, -1), (-6, 7)), strict=True)
    )
    ratio = np.cos(np.deg2rad(tilts[0])) / np.cos(np.deg2rad(tilts[1]))
    fit = register_pair(near, far, stretch=ratio, smooth_px=2)
    np.testing.assert_allclose(fit.shift_px, (2 + 6 * ratio, -1 - 7), atol=0.1)
    np.testing.assert_array_equal(fit.matrix, np.eye(2))
    assert register_pair(near, far, smooth_px=2).quality < fit.quality - 0.2


def test_what_moves_otherwise_counts_less(monkeypatch):
    stranger, moved = scattered(2, 6, (40, 30, 0), (4.0, 6.0)), np.array([4, -2])
    reference = view() + view(particles=stranger)
    image = view(moved_px=moved) + view(particles=stranger, moved_px=(6, -5))
    error = np.hypot(*(register_pair(reference, image).shift_px + moved))
    assert error < 0.03
    monkeypatch.setattr(least_squares, "ROBUST_SIGMA", 1e6)
    assert np.hypot(*(register_pair(reference, image).shift_px + moved)) > 4 * error


def test_large_displacement_of_small_overlap():
    foil = scattered(1500, 4, (200, 180, 0.5), (1.0, 3.0))
    fit = register_pair(view(particles=foil), view(particles=foil, moved_px=(48.4, -51.7)))
    np.testing.assert_allclose(fit.shift_px, (-48.4, 51.7), atol=0.03)


def test_a_small_overlap_does_not_win_by_chance():
    reference, image = view(), view(moved_px=(6, -9))
    for seed in range(12):
        rng = np.random.default_rng(seed)
        noisy = (each + rng.normal(0, 6, SHAPE) for each in (reference, image))
        fit = register_pair(*noisy, smooth_px=2, max_shift_px=110)
        np.testing.assert_allclose(fit.shift_px, (-6, 9), atol=3)


def test_limit():
    image = view(moved_px=(20.3, 4))
    assert register_pair(view(), image, max_shift_px=21).shift_px[0] == pytest.approx(-20.3, abs=0.002)
    limited = register_pair(view(), image, max_shift_px=6)
    assert limited.shift_px[0] == -6
    assert limited.quality == 0


def test_noise_leaves_what_theory_allows():
    reference, sigma, rng = view(), 0.05, np.random.default_rng(0)
    image = view(moved_px=(1.3, -2.4))
    found = [
        register_pair(*(each + rng.normal(0, sigma, SHAPE) for each in (reference, image)), smooth_px=1.5)
        for _ in range(40)
    ]
    error = np.array([fit.shift_px - (-1.3, 2.4) for fit in found])
    along_y, along_x = np.gradient(reference.astype(np.float64))
    # Cramér and Rao's bound for two images with independent noise; smoothing and robustness cost a little.
    bound = np.sqrt(2) * sigma / np.sqrt([np.sum(along_x**2), np.sum(along_y**2)])
    assert (abs(error.mean(axis=0)) < 3 * bound / np.sqrt(40)).all()
    assert (error.std(axis=0) < 1.6 * bound).all()
    assert (error.std(axis=0) > 0.7 * bound).all()


@pytest.mark.parametrize("blank", [0, 1, 2])
def test_blank_images_have_nothing_in_common(blank):
    pair = [np.full(SHAPE, 3.7, np.float32) if blank in (each, 2) else view() for each in (0, 1)]
    fit = register_pair(*pair, motion="rigid")
    assert fit.quality == 0
    np.testing.assert_allclose(fit.matrix, np.eye(2), atol=1e-6)


def test_integers():
    stored = [(each * 500 - 31900).astype(np.int16) for each in (view(), view(moved_px=(-3.2, 6.9)))]
    np.testing.assert_allclose(register_pair(*stored).shift_px, (3.2, -6.9), atol=0.005)


@pytest.mark.parametrize("turn", [0.0, 4.0, -3.0])
def test_agrees_with_the_authors_program(turn):
    peer = pytest.importorskip("pystackreg").StackReg
    foil = scattered(600, 4, (150, 150, 0.5), (1.5, 4.0))
    reference, image = view(particles=foil), view(particles=foil, tilt_deg=1, turn_deg=turn, moved_px=(5, -7))
    kind, motion = (peer.RIGID_BODY, "rigid") if turn else (peer.TRANSLATION, "translation")
    theirs = peer(kind).register(reference, image)  # from places in the reference to places in the image
    fit = register_pair(reference, image, motion=motion, smooth_px=0)
    middle = (np.array(SHAPE[::-1]) - 1) / 2
    matrix = np.linalg.inv(theirs[:2, :2])
    shift = -matrix @ (theirs[:2, 2] + theirs[:2, :2] @ middle - middle)
    np.testing.assert_allclose(fit.shift_px, shift, atol=0.02)
    assert turn_deg(fit) == pytest.approx(np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0])), abs=0.02)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"motion": "affine"}, "unknown motion 'affine'"),
        ({"max_shift_px": 0.5}, "largest shift of 0.5 px"),
        ({"smooth_px": -1.0}, "smoothing over -1 px"),
        ({"stretch": 0.0}, "stretch by 0"),
    ],
)
def test_unfit_options(options, told):
    with pytest.raises(UsageError, match=told):
        register_pair(view(), view(), **options)


def test_unfit_images():
    with pytest.raises(DataError, match="one shape"):
        register_pair(view(), view()[1:])
    with pytest.raises(DataError, match="at least 16"):
        register_pair(view()[:12], view()[:12])
    broken = view()
    broken[3, 4] = np.nan
    with pytest.raises(DataError, match="image holds values"):
        register_pair(view(), broken)
