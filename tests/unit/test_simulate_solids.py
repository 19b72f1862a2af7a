import numpy as np
import pytest

from etcli.core.errors import UsageError
from etcli.core.simulate.imaging import project
from etcli.core.simulate.solids import Specimen, cone, ellipsoid, embed


def turned(angle_deg: float) -> np.ndarray:
    cos, sin = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def along_ray(specimen: Specimen, p: float, y: float, tilt_deg: float, reach: float = 60.0) -> float:
    cos, sin = np.cos(np.deg2rad(tilt_deg)), np.sin(np.deg2rad(tilt_deg))
    t = np.linspace(-reach, reach, 240_001)
    values = specimen.density(p * cos - t * sin, y, p * sin + t * cos)
    return float(values.sum() * (t[1] - t[0]))


def test_a_sphere_projects_to_its_chords() -> None:
    view = project(Specimen((ellipsoid((0, 0, 0), 7.3, density=2.0),)), 25.0, shape=(16, 21), oversampling=1)
    y, x = np.mgrid[:16, :21]
    square = 7.3**2 - (y - 7.5) ** 2 - (x - 10) ** 2
    np.testing.assert_allclose(view, 4 * np.sqrt(np.maximum(square, 0)), atol=1e-5)


def test_a_cone_projects_to_its_chords_at_any_tilt() -> None:
    specimen = Specimen((cone(6.0, 0.25, bottom=-8.0, top=4.2),))
    y, x = np.mgrid[:20, :31]
    y, x = y - 9.5, x - 15.0
    chords = 2 * np.sqrt(np.maximum((6 + 0.25 * y) ** 2 - x**2, 0)) * ((y >= -8) & (y <= 4.2))
    for tilt_deg in (-90.0, -41.0, 0.0, 63.0):
        view = project(specimen, tilt_deg, shape=(20, 31), oversampling=1)
        np.testing.assert_allclose(view, chords, atol=1e-5)


@pytest.mark.parametrize("tilt_deg", [-73.0, 0.0, 31.0, 90.0])
def test_chords_equal_integrals_of_the_density(tilt_deg: float) -> None:
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    body = ellipsoid((3, -2, 4), (15, 9, 12), density=1.5, rotation=axes).cut((0.6, 0.0, 0.8), -4.0, 7.0)
    shaft = cone(20.0, -0.2, bottom=-11.0, top=9.0, density=0.7)
    void = ellipsoid((4, 1, 5), (3, 5, 4))
    specimen = Specimen((body, shaft, void.common(body, density=-1.5)))
    view = project(specimen, tilt_deg, shape=(40, 50), oversampling=1)
    for row, column in ((20, 24), (13, 31), (27, 20), (9, 12)):
        expected = along_ray(specimen, column - 24.5, row - 19.5, tilt_deg)
        assert view[row, column] == pytest.approx(expected, abs=0.005)
    assert view[20, 24] > 1


def test_axes_of_an_ellipsoid_are_the_columns_of_its_rotation() -> None:
    body = ellipsoid((5, 0, 0), (10, 2, 3), rotation=turned(30))
    tip = np.array([np.cos(np.pi / 6), np.sin(np.pi / 6)])
    for length, inside in ((9.99, True), (10.01, False)):
        assert body.contains(5 + length * tip[0], length * tip[1], 0.0) == inside
    assert not body.contains(5 + 5 * tip[0], -5 * tip[1], 0.0)
    np.testing.assert_allclose(body.high - (5, 0, 0), -(body.low - (5, 0, 0)))
    np.testing.assert_allclose(body.high[0] - 5, np.hypot(10 * tip[0], 2 * tip[1]))
    np.testing.assert_allclose(body.high[1], np.hypot(10 * tip[1], 2 * tip[0]))


def test_a_cut_keeps_what_is_between_the_planes_and_shrinks_the_box() -> None:
    ball = ellipsoid((0, 0, 0), 10)
    upper = ball.cut((0, 0, 1), low=2.0)
    assert upper.contains(0, 0, 3) and not upper.contains(0, 0, 1)
    np.testing.assert_allclose(upper.low, (-10, -10, 2))
    slanted = ball.cut((0.8, 0.0, -0.6), high=-8.0)
    assert slanted.contains(-7, 0, 5) and not slanted.contains(7, 0, -5)
    np.testing.assert_allclose(slanted.high, (-2.5, 10, 10))
    np.testing.assert_allclose(slanted.low, (-10, -10, 0), atol=1e-12)


def test_an_inclusion_replaces_what_it_displaces() -> None:
    ball = ellipsoid((0, 0, 0), 10, density=3.0)
    left, right = ball.cut((1, 0, 0), high=0.0), ball.cut((1, 0, 0), low=0.0)
    specimen = Specimen((left, right, *embed([left, right], ellipsoid((9, 0, 0), 4, density=7.0))))
    np.testing.assert_allclose(specimen.density([-5, 4, 6, 12, 14], 0, 0), [3, 3, 7, 7, 0])
    holed = Specimen((left, right, *embed([left, right], ellipsoid((0.5, 0, 0), 4, density=0.0))))
    np.testing.assert_allclose(holed.density([-5, -1, 1, 6], 0, 0), [3, 0, 0, 3])


def test_inclusions_that_touch_no_body_take_nothing_out() -> None:
    assert len(embed([ellipsoid((0, 0, 0), 3)], ellipsoid((9, 0, 0), 2))) == 1


@pytest.mark.parametrize("shape", [(20, 24, 28), (21, 25, 29)])
def test_voxels_hold_the_body_where_it_is(shape: tuple[int, int, int]) -> None:
    middle = np.array([3.3, -2.7, 1.9])
    data = Specimen((ellipsoid(middle, (4, 3, 5), density=2.0),)).volume(shape).data.astype(np.float64)
    assert data.sum() == pytest.approx(2 * 4 / 3 * np.pi * 60, rel=2e-3)
    for axis, expected in zip((2, 1, 0), middle, strict=True):
        places = np.arange(shape[axis]) - (shape[axis] - 1) / 2
        profile = data.sum(axis=tuple({0, 1, 2} - {axis}))
        assert profile @ places / data.sum() == pytest.approx(expected, abs=5e-3)


def test_voxels_at_a_flat_face_hold_the_part_inside() -> None:
    layer = ellipsoid((0, 0, 0), 100).cut((0, 0, 1), -1.25, 2.5).cut((1, 0, 0), -0.7, 1.4)
    data = Specimen((layer,)).volume((8, 3, 6), oversampling=4).data
    np.testing.assert_allclose(data[:, 1, 3], [0, 0, 0.25, 1, 1, 1, 0.5, 0], atol=1e-6)
    np.testing.assert_allclose(data[4, 1], [0, 0, 0.7, 1, 0.4, 0], atol=1e-6)


def test_the_sum_over_voxels_is_the_view_along_x() -> None:
    axes = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    specimen = Specimen(
        (ellipsoid((2, -3, 1), (9, 5, 7), rotation=axes), cone(5.0, 0.1, bottom=-7.0, top=6.0, density=0.3))
    )
    data = specimen.volume((30, 26, 32), oversampling=3).data
    across = project(specimen, 90.0, shape=(26, 30), oversampling=3)
    np.testing.assert_allclose(data.sum(axis=2).T, across, atol=3e-5)
    upright = project(specimen, 0.0, shape=(26, 32), oversampling=3)
    assert np.linalg.norm(data.sum(axis=0) - upright) < 0.01 * np.linalg.norm(upright)


def test_a_field_smaller_than_the_specimen_is_a_crop() -> None:
    specimen = Specimen((ellipsoid((4, 1, -3), (9, 8, 7)),))
    whole = specimen.volume((24, 24, 30)).data
    np.testing.assert_array_equal(specimen.volume((10, 12, 14)).data, whole[7:17, 6:18, 8:22])


def test_voxels_are_exactly_zero_beyond_a_body_and_one_within() -> None:
    ball = ellipsoid((0.3, 0.1, -0.2), 8.1)
    data = Specimen((ball,)).volume((21, 21, 21)).data
    z, y, x = np.mgrid[:21, :21, :21] - 10.0
    distance = np.sqrt((x - 0.3) ** 2 + (y - 0.1) ** 2 + (z + 0.2) ** 2)
    assert (data[distance > 8.1 + 0.87] == 0).all() and (data[distance < 8.1 - 0.87] == 1).all()
    assert data.min() == 0 and data.max() == 1


def test_sections_are_the_volume() -> None:
    specimen = Specimen((ellipsoid((1, 2, 3), (4, 3, 2), density=0.3),))
    volume = specimen.volume((12, 13, 14), pixel_A=2.5)
    np.testing.assert_array_equal(np.stack(list(specimen.sections((12, 13, 14)))), volume.data)
    assert volume.pixel_A == 2.5 and volume.data.dtype == np.float32


def test_bodies_without_volume_are_refused() -> None:
    with pytest.raises(UsageError, match="positive radii"):
        ellipsoid((0, 0, 0), (1, 0, 1))
    with pytest.raises(UsageError, match="empty"):
        cone(2.0, -0.5, bottom=0.0, top=5.0)
    with pytest.raises(UsageError, match="empty"):
        cone(2.0, 0.0, bottom=5.0, top=5.0)
