import json

import numpy as np
import pytest

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.slab import SlabProjector
from etcli.core.simulate.imaging import dose_symmetric, project, tilt_series
from etcli.core.simulate.particles import particle
from etcli.core.simulate.solids import Specimen, ellipsoid

BALL = (9.0, -4.0, 6.0)


def ball(*, middle: tuple[float, float, float] = BALL, radius: float = 5.0) -> Specimen:
    return Specimen((ellipsoid(middle, radius, density=0.5),))


def layer(thickness: float) -> Specimen:
    return Specimen((ellipsoid((0, 0, 0), 500).cut((0, 0, 1), -thickness / 2, thickness / 2),))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def centroid(view: np.ndarray) -> tuple[float, float]:
    weight = view.astype(np.float64)
    y, x = np.indices(view.shape)
    return (
        float((weight * x).sum() / weight.sum() - (view.shape[1] - 1) / 2),
        float((weight * y).sum() / weight.sum() - (view.shape[0] - 1) / 2),
    )


@pytest.mark.parametrize("shape", [(40, 50), (41, 51), (40, 51)])
@pytest.mark.parametrize(
    ("tilt_deg", "seen"), [(0, (9, -4)), (90, (6, -4)), (-90, (-6, -4)), (30, (9 * 0.75**0.5 + 3, -4))]
)
def test_a_ball_is_seen_at_x_cos_plus_z_sin(
    shape: tuple[int, int], tilt_deg: float, seen: tuple[float, float]
) -> None:
    assert centroid(project(ball(), tilt_deg, shape=shape)) == pytest.approx(seen, abs=5e-3)


def test_a_quarter_turn_of_the_axis_is_counter_clockwise() -> None:
    # The axis, once +y, points along −x: what was at (p, y) is at (−y, p).
    assert centroid(project(ball(), 0.0, shape=(50, 50), axis_deg=90)) == pytest.approx((4, 9), abs=5e-3)


def test_the_offset_is_measured_across_the_axis_and_the_shift_in_the_image() -> None:
    upright = project(ball(), 0.0, shape=(50, 50), axis_offset_px=2.25, shift_px=(0.5, -1.25))
    assert centroid(upright) == pytest.approx((9 + 2.25 + 0.5, -4 - 1.25), abs=5e-3)
    turned = project(ball(), 0.0, shape=(50, 50), axis_deg=90, axis_offset_px=2.25, shift_px=(0.5, -1.25))
    assert centroid(turned) == pytest.approx((4 + 0.5, 9 + 2.25 - 1.25), abs=5e-3)


def test_every_view_shows_what_the_truth_says() -> None:
    tilt_deg = np.array([-61.0, -20.0, 5.0, 44.0, 70.0])
    series, truth = tilt_series(
        ball(),
        tilt_deg,
        shape=(60, 64),
        rng=rng(3),
        pixel_A=4.2,
        drift_px=4.0,
        axis_deg=-3.3,
        axis_offset_px=1.7,
        tilt_error_deg=1.5,
    )
    turn = np.deg2rad(-3.3)
    theta = np.deg2rad(truth.tilt_deg)
    p = 9 * np.cos(theta) + 6 * np.sin(theta) + 1.7
    expected_x = p * np.cos(turn) + 4 * np.sin(turn) + truth.shift_px[:, 0]
    expected_y = p * np.sin(turn) - 4 * np.cos(turn) + truth.shift_px[:, 1]
    seen = np.array([centroid(view) for view in series.data])
    np.testing.assert_allclose(seen, np.stack([expected_x, expected_y], axis=1), atol=5e-3)
    np.testing.assert_array_equal(series.tilt_deg, tilt_deg)
    assert (series.pixel_A, series.axis_deg, series.views.dose_e_A2) == (4.2, -3.3, None)
    assert series.data.dtype == np.float32


def test_errors_have_the_sizes_asked_for() -> None:
    tiny = ball(radius=0.5)
    _, truth = tilt_series(
        tiny, np.zeros(600), shape=(2, 2), rng=rng(), drift_px=3.0, tilt_error_deg=0.8, oversampling=1
    )
    assert np.abs(truth.shift_px).max() <= 3
    np.testing.assert_allclose(truth.shift_px.std(axis=0), 3 / np.sqrt(3), rtol=0.08)
    assert truth.tilt_deg.std() == pytest.approx(0.8, rel=0.1)
    assert abs(np.corrcoef(truth.shift_px.T)[0, 1]) < 0.15


def test_mass_is_the_same_at_every_tilt() -> None:
    axes = np.linalg.qr(rng().normal(size=(3, 3)))[0]
    specimen = Specimen((ellipsoid((5, 3, -6), (12, 6, 9), rotation=axes),))
    mass = [
        project(specimen, tilt_deg, shape=(56, 60), axis_deg=4).sum(dtype=np.float64)
        for tilt_deg in range(-90, 90, 15)
    ]
    np.testing.assert_allclose(mass, 4 / 3 * np.pi * 12 * 6 * 9, rtol=1e-3)


def test_views_agree_with_the_projector_of_the_voxels() -> None:
    tilt_deg = np.array([-90.0, -50.0, -20.0, 0.0, 33.0, 70.0])
    specimen = particle(64, rng(1))
    voxels = specimen.volume((64, 16, 60)).data.transpose(0, 2, 1)
    projector = SlabProjector(
        SliceGeometry(tilt_deg, 66, 64, 60, axis_offset_px=2.0), n_slices=16, kernel="linear"
    )
    projected = projector.forward(np.ascontiguousarray(voxels)).transpose(0, 2, 1)
    exact = [project(specimen, angle, shape=(16, 66), axis_offset_px=2.0) for angle in tilt_deg]
    for view, other in zip(exact, projected, strict=True):
        assert np.linalg.norm(view - other) < 0.014 * np.linalg.norm(view)


def test_background_is_added_to_every_pixel() -> None:
    plain, _ = tilt_series(ball(), [0, 40], shape=(40, 40), rng=rng())
    raised, truth = tilt_series(ball(), [0, 40], shape=(40, 40), rng=rng(), background=1.5)
    np.testing.assert_allclose(raised.data - plain.data, 1.5, atol=1e-6)
    assert truth.background == 1.5


def test_counts_are_poisson_and_a_tenth_of_the_dose_at_the_brightest() -> None:
    series, truth = tilt_series(
        layer(8.0), [0.0, 60.0], shape=(120, 120), rng=rng(), dose_e_A2=50.0, pixel_A=2.0, background=4.0
    )
    assert truth.electrons_per_unit == pytest.approx(0.1 * 50 * 4 / 8, rel=1e-6)
    assert series.views.dose_e_A2.tolist() == [50.0, 50.0]
    for view, expected in zip(series.data.astype(np.float64), (8 + 4, 16 + 4), strict=True):
        error = np.sqrt(expected / truth.electrons_per_unit)
        assert view.mean() == pytest.approx(expected, abs=4 * error / 120)
        assert view.var() == pytest.approx(error**2, rel=0.05)
        counts = view * truth.electrons_per_unit
        np.testing.assert_allclose(counts, counts.round(), atol=1e-3)


def test_a_seed_gives_the_same_bytes_on_any_number_of_threads() -> None:
    common = {"shape": (30, 30), "dose_e_A2": 100.0, "drift_px": 2.0, "tilt_error_deg": 0.3}
    first, truth = tilt_series(ball(), [-30, 0, 30], rng=rng(5), **common)
    again, same = tilt_series(ball(), [-30, 0, 30], rng=rng(5), threads=3, **common)
    other, _ = tilt_series(ball(), [-30, 0, 30], rng=rng(6), **common)
    assert first.data.tobytes() == again.data.tobytes()
    assert truth.as_dict() == same.as_dict()
    assert (first.data != other.data).any()


def test_views_do_not_depend_on_those_after_them() -> None:
    common = {"shape": (30, 30), "dose_e_A2": 100.0, "drift_px": 2.0}
    few, _ = tilt_series(ball(), [-30, 0], rng=rng(5), **common)
    many, _ = tilt_series(ball(), [-30, 0, 30, 60], rng=rng(5), **common)
    np.testing.assert_array_equal(few.data, many.data[:2])


def test_errors_switched_off_leave_the_other_errors_as_they_are() -> None:
    tilt_deg, shape = [-30.0, 0.0, 30.0], (30, 30)
    _, both = tilt_series(ball(), tilt_deg, shape=shape, rng=rng(5), drift_px=2.0, tilt_error_deg=0.5)
    _, drift = tilt_series(ball(), tilt_deg, shape=shape, rng=rng(5), drift_px=2.0)
    _, tilt = tilt_series(ball(), tilt_deg, shape=shape, rng=rng(5), tilt_error_deg=0.5)
    np.testing.assert_array_equal(both.shift_px, drift.shift_px)
    np.testing.assert_array_equal(both.tilt_deg, tilt.tilt_deg)


def test_the_truth_survives_json_and_repeats_the_series() -> None:
    series, truth = tilt_series(
        ball(), [-50, 20], shape=(44, 44), rng=rng(9), drift_px=3, axis_deg=2, tilt_error_deg=1
    )
    told = json.loads(json.dumps(truth.as_dict()))
    assert told["electrons_per_unit"] is None
    for view, tilt_deg, shift in zip(series.data, told["tilt_deg"], told["shift_px"], strict=True):
        again = project(ball(), tilt_deg, shape=(44, 44), shift_px=tuple(shift), axis_deg=told["axis_deg"])
        np.testing.assert_array_equal(view, again)


def test_a_body_outside_the_field_leaves_no_trace() -> None:
    assert not project(ball(middle=(0, 90, 0)), 0.0, shape=(40, 40)).any()
    assert not project(ball(middle=(90, 0, 0)), 0.0, shape=(40, 40)).any()
    beyond = project(ball(middle=(19.5, 0, 0)), 0.0, shape=(40, 40))
    np.testing.assert_allclose(beyond, project(ball(middle=(19.5, 0, 0)), 0.0, shape=(40, 60))[:, 10:50])


def test_a_dose_symmetric_order_changes_sides() -> None:
    tilt_deg = np.arange(-9.0, 10.0, 3.0)
    assert tilt_deg[dose_symmetric(tilt_deg)].tolist() == [0, 3, -3, -6, 6, 9, -9]
    lopsided = np.array([-4.0, -2.0, 0.5, 2.0, 4.0, 6.0, 8.0])
    assert lopsided[dose_symmetric(lopsided)].tolist() == [0.5, 2, -2, -4, 4, 6, 8]
    assert dose_symmetric([10.0, 20.0]).tolist() == [0, 1]
    assert dose_symmetric([-20.0, -10.0]).tolist() == [1, 0]
    with pytest.raises(UsageError, match="sort them"):
        dose_symmetric([3.0, 0.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dose_e_A2": 0.0}, "dose"),
        ({"pixel_A": 0.0}, "pixel"),
        ({"drift_px": -1.0}, "drift"),
        ({"tilt_error_deg": float("nan")}, "tilt error"),
        ({"axis_deg": float("nan")}, "tilt axis"),
        ({"background": float("inf")}, "background"),
        ({"shape": (0, 4)}, "4 × 0"),
    ],
)
def test_what_cannot_be_recorded_is_refused(change: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        tilt_series(ball(), [0.0], **{"shape": (20, 20), "rng": rng(), **change})


def test_an_empty_untilted_view_cannot_set_the_dose() -> None:
    with pytest.raises(UsageError, match="larger field"):
        tilt_series(ball(middle=(90, 0, 0)), [0.0], shape=(20, 20), rng=rng(), dose_e_A2=10.0)
    with pytest.raises(UsageError, match="finite"):
        tilt_series(ball(), [np.nan], shape=(20, 20), rng=rng())
