import numpy as np
import pytest

from etcli.core.errors import UsageError
from etcli.core.simulate.imaging import project
from etcli.core.simulate.particles import LAYERS, METAL, PRECIPITATE, SUPPORT, needle, particle
from etcli.core.simulate.phantoms import shepp_logan


def test_the_middle_slice_of_the_head_is_the_well_known_picture() -> None:
    head = shepp_logan(200)
    places = [
        ((0, 0.9), 1.0),  # skull
        ((0.67, 0), 1.0),
        ((0.5, 0.5), 0.2),  # brain
        ((0.22, 0), 0.0),  # ventricles: the narrow one on the right, both leaning outwards
        ((0.22 + 0.28 * 0.309, 0.28 * 0.951), 0.0),
        ((0.22 + 0.25 * 0.309, -0.25 * 0.951), 0.2),
        ((-0.22 - 0.38 * 0.309, 0.38 * 0.951), 0.0),
        ((0, 0.45), 0.3),  # above the ventricles
        ((0, 0.06), 0.3),
        ((0, -0.1), 0.3),
        ((-0.08, -0.605), 0.3),
        ((-0.08 + 0.04, -0.605), 0.3),
        ((0.06, -0.605 + 0.04), 0.3),
        ((0.06 + 0.04, -0.605), 0.2),
        ((0.8, 0), 0.0),
        ((0, -0.93), 0.0),
    ]
    for (x, z), expected in places:
        assert head.density(100 * x, 0, 100 * z) == pytest.approx(expected, abs=1e-12), (x, z)
    assert head.density(0, 80.5, 0) == 1 and head.density(0, 81.5, 0) == 0


def test_the_head_weighs_the_sum_of_its_ellipsoids() -> None:
    radii_and_contrasts = [
        (0.69 * 0.92 * 0.81, 1.0),
        (0.6624 * 0.874 * 0.78, -0.8),
        (0.11 * 0.31 * 0.22, -0.2),
        (0.16 * 0.41 * 0.28, -0.2),
        (0.21 * 0.25 * 0.41, 0.1),
        (2 * 0.046**2 * 0.05, 0.1),
        (0.046 * 0.023 * (0.05 + 0.02) + 0.023**2 * 0.02, 0.1),
    ]
    expected = 4 / 3 * np.pi * 48**3 * sum(volume * contrast for volume, contrast in radii_and_contrasts)
    view = project(shepp_logan(96), 40.0, shape=(96, 96))
    assert view.sum(dtype=np.float64) == pytest.approx(expected, rel=2e-4)


@pytest.mark.parametrize("seed", range(3))
def test_a_particle_has_three_densities_and_stays_in_the_field(seed: int) -> None:
    specimen = particle(96, np.random.default_rng(seed))
    z, y, x = np.mgrid[:96, :96, :96][:, ::3, ::3, ::3] - 47.5
    levels, counts = np.unique(specimen.density(x, y, z).round(9), return_counts=True)
    np.testing.assert_array_equal(levels, [0, SUPPORT, METAL])
    assert 0.04 < counts[1] / x.size < 0.2 and 0.002 < counts[2] / counts[1] < 0.1
    corners = np.stack([np.maximum(np.abs(solid.low), np.abs(solid.high)) for solid in specimen.solids[1:]])
    assert np.linalg.norm(specimen.density(*(41 * _directions(500)))) == 0
    assert (corners <= 0.4 * 96).all()


def _directions(n: int) -> np.ndarray:
    vectors = np.random.default_rng(0).normal(size=(3, n))
    return vectors / np.linalg.norm(vectors, axis=0)


def test_metal_spheres_do_not_touch_and_are_as_many_as_said() -> None:
    specimen = particle(200, np.random.default_rng(4))
    spheres = [solid for solid in specimen.solids if solid.density == METAL]
    middles = np.stack([(solid.low + solid.high) / 2 for solid in spheres])
    radii = np.array([(solid.high - solid.low)[0] / 2 for solid in spheres])
    gaps = np.linalg.norm(middles[:, None] - middles, axis=2) - radii[:, None] - radii
    assert 15 <= len(spheres) <= 40 and radii.min() >= 2.4 and radii.max() <= 7
    assert gaps[~np.eye(len(spheres), dtype=bool)].min() > 0
    (support,) = [solid for solid in specimen.solids if solid.density == SUPPORT]
    astride = [support.contains(*middle) for middle in middles]
    assert 0.2 < np.mean(astride) < 0.9


@pytest.mark.parametrize("seed", range(3))
def test_a_needle_has_layers_that_are_straight_lines_across_the_axis(seed: int) -> None:
    specimen = needle(128, np.random.default_rng(seed))
    z, x = np.mgrid[-30:31, -30:31]
    slice_xz = specimen.density(x, -10.0, z).round(9)
    assert set(np.unique(slice_xz)) <= {0.0, *LAYERS, PRECIPITATE}
    radius = 0.2 * 128 + 0.12 * 10
    assert (slice_xz[np.hypot(x, z) > radius] == 0).all()
    layers = [
        body for body in specimen.solids if len(body.plates) == 2 and np.isfinite(body.plates[1][1:]).all()
    ]
    normal, low, high = min(
        (body.plates[1] for body in layers), key=lambda plate: abs(plate.low + plate.high)
    )
    assert abs(normal[2]) > np.cos(np.deg2rad(26)) and np.linalg.norm(normal) == pytest.approx(1)
    step = np.array([normal[2], 0, -normal[0]]) / np.hypot(normal[0], normal[2])
    line = specimen.density(*(step[:, None] * np.linspace(-18, 18, 61) + normal[:, None] * (low + high) / 2))
    levels, counts = np.unique(line.round(9), return_counts=True)
    assert levels[counts.argmax()] in LAYERS and counts.max() > 40


def test_a_needle_tapers_to_a_smooth_round_tip() -> None:
    specimen = needle(100, np.random.default_rng(5))
    y = np.arange(-49.5, 45.0)
    x = np.arange(-30, 30, 0.04)
    widths = (specimen.density(x[:, None], y, 0.37) > 0).sum(axis=0) * 0.04 / 2
    cone = np.sqrt(np.maximum((20 - 0.12 * y) ** 2 - 0.37**2, 0))
    assert (widths <= cone + 0.05).all()
    assert (widths[y > 40.01] == 0).all() and (widths[y < 39.9] > 0).all()
    below = y < 20
    solid = np.abs(widths[below] - cone[below]) < 0.05
    assert solid.mean() > 0.8  # the others cross a void
    tip = (y > 32) & (y < 40)
    cap = (20 - 0.12 * 40) / (np.sqrt(1 + 0.12**2) - 0.12)
    np.testing.assert_allclose(
        widths[tip], np.sqrt(np.maximum(cap**2 - (y[tip] - 40 + cap) ** 2 - 0.37**2, 0)), atol=0.05
    )
    assert np.abs(np.diff(widths[(y > 15) & (y < 34)], 2)).max() < 0.3


@pytest.mark.parametrize("make", [particle, needle])
def test_a_seed_makes_one_specimen_at_every_size(make: type) -> None:
    large = make(96, np.random.default_rng(7)).volume((96, 96, 96)).data
    small = make(48, np.random.default_rng(7)).volume((48, 48, 48)).data
    binned = large.reshape(48, 2, 48, 2, 48, 2).mean(axis=(1, 3, 5))
    assert np.linalg.norm(binned - small) < 0.03 * np.linalg.norm(small)
    other = make(48, np.random.default_rng(8)).volume((48, 48, 48)).data
    assert np.linalg.norm(other - small) > 0.2 * np.linalg.norm(small)


@pytest.mark.parametrize("make", [particle, needle])
def test_specimens_too_small_to_see_are_refused(make: type) -> None:
    with pytest.raises(UsageError, match="at least 16"):
        make(15, np.random.default_rng(0))
    with pytest.raises(UsageError, match="positive"):
        shepp_logan(0)
