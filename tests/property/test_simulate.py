import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from etcli.core.simulate.imaging import dose_symmetric, project
from etcli.core.simulate.solids import Solid, Specimen, cone, ellipsoid

angles = st.floats(-180, 180)
few = settings(max_examples=25, deadline=None)


@st.composite
def bodies(draw: st.DrawFn) -> Solid:
    middle = [draw(st.floats(-6, 6)) for _ in range(3)]
    radii = [draw(st.floats(2, 7)) for _ in range(3)]
    axes = np.linalg.qr(np.random.default_rng(draw(st.integers(0, 999))).normal(size=(3, 3)))[0]
    return ellipsoid(middle, radii, rotation=axes)


def about_y(tilt_deg: float) -> np.ndarray:
    """Matrix of the specimen's motion when the stage tilts: x to x cos + z sin."""
    cos, sin = np.cos(np.deg2rad(tilt_deg)), np.sin(np.deg2rad(tilt_deg))
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])


def moved(body: Solid, matrix: np.ndarray) -> Solid:
    """The ellipsoid after an orthogonal motion, rebuilt from its quadric."""
    form = body.quadrics[0][:3, :3]
    middle = -np.linalg.solve(form, body.quadrics[0][:3, 3])
    values, axes = np.linalg.eigh(form)
    return ellipsoid(matrix @ middle, values**-0.5, rotation=matrix @ axes)


@few
@given(body=bodies(), tilt_deg=angles)
def test_tilting_the_stage_is_turning_the_specimen(body: Solid, tilt_deg: float) -> None:
    tilted = project(Specimen((body,)), tilt_deg, shape=(30, 34))
    turned = project(Specimen((moved(body, about_y(tilt_deg)),)), 0.0, shape=(30, 34))
    np.testing.assert_allclose(tilted, turned, atol=1e-4)


@few
@given(body=bodies(), tilt_deg=angles, axis_deg=angles)
def test_mass_and_place_follow_the_geometry(body: Solid, tilt_deg: float, axis_deg: float) -> None:
    view = project(Specimen((body,)), tilt_deg, shape=(46, 48), axis_deg=axis_deg).astype(np.float64)
    volume = 4 / 3 * np.pi / np.sqrt(np.linalg.det(body.quadrics[0][:3, :3]))
    np.testing.assert_allclose(view.sum(), volume, rtol=0.01)
    p, y, _ = about_y(tilt_deg) @ ((body.low + body.high) / 2)
    cos, sin = np.cos(np.deg2rad(axis_deg)), np.sin(np.deg2rad(axis_deg))
    rows, columns = np.indices(view.shape)
    np.testing.assert_allclose((view * (columns - 23.5)).sum() / view.sum(), p * cos - y * sin, atol=0.02)
    np.testing.assert_allclose((view * (rows - 22.5)).sum() / view.sum(), p * sin + y * cos, atol=0.02)


@few
@given(body=bodies(), tilt_deg=angles, dx=st.integers(-4, 4), dy=st.integers(-4, 4))
def test_whole_shifts_move_pixels(body: Solid, tilt_deg: float, dx: int, dy: int) -> None:
    still = project(Specimen((body,)), tilt_deg, shape=(44, 50))
    shifted = project(Specimen((body,)), tilt_deg, shape=(44, 50), shift_px=(dx, dy))
    np.testing.assert_allclose(shifted, np.roll(still, (dy, dx), axis=(0, 1)), atol=1e-4)


@few
@given(body=bodies(), slope=st.floats(-0.2, 0.2), oversampling=st.integers(1, 4))
def test_voxels_summed_along_x_are_the_view_along_x(body: Solid, slope: float, oversampling: int) -> None:
    shaft = cone(5.0, slope, bottom=-8.0, top=7.5, density=0.4)
    specimen = Specimen((body, shaft.common(body, density=-0.4), shaft))
    data = specimen.volume((33, 28, 34), oversampling=oversampling).data
    view = project(specimen, 90.0, shape=(28, 33), oversampling=oversampling)
    np.testing.assert_allclose(data.sum(axis=2).T, view, atol=1e-4)


@few
@given(st.sets(st.integers(-70, 70), min_size=1).map(sorted))
def test_a_dose_symmetric_order_is_a_permutation_that_tilts_step_by_step(tilt_deg: list[int]) -> None:
    order = dose_symmetric(tilt_deg)
    assert sorted(order.tolist()) == list(range(len(tilt_deg)))
    for seen in range(1, len(order) + 1):
        assert np.ptp(order[:seen]) == seen - 1
