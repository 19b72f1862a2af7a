"""Properties of element maps: densities that are linear, interpolated counts, matched tilt angles."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from etcli.core.registration.transforms import Transforms, resample
from etcli.core.registration.views_by_tilt import SAME_TILT_DEG, views_by_tilt
from etcli.core.simulate.elemental import ElementalSpecimen, Linear, Part
from etcli.core.simulate.imaging import ViewGeometry
from etcli.core.simulate.shapes import box, cylinder, rotation

few = settings(max_examples=25, deadline=None)
small = st.floats(-3, 3)
lengths = st.floats(2.5, 6)
turns = st.floats(-180, 180)


@st.composite
def parts(draw: st.DrawFn) -> Part:
    """A box or a cylinder of any orientation, whose density is 1 in the middle."""
    middle = np.array([draw(small) for _ in range(3)])
    half = [draw(lengths) for _ in range(3)]
    axes = rotation(draw(st.floats(30, 150)), draw(turns), 0.0)
    body = draw(st.sampled_from([box, cylinder]))(middle, half, axes=axes)
    gradient = [draw(st.floats(-0.05, 0.05)) for _ in range(3)]
    length = float(np.linalg.norm(gradient)) or 1.0
    return Part(body, {"Ni": Linear.along(middle, np.array(gradient) / length, 1.0, length)})


@few
@given(part=parts(), tilt_deg=turns)
def test_every_view_shows_all_atoms(part: Part, tilt_deg: float) -> None:
    """The mean of a linear density over a body that is symmetric about its middle is that of the middle."""
    specimen = ElementalSpecimen(("Ni",), (part,), (36, 36, 36))
    view = specimen.project(ViewGeometry.of(tilt_deg), (36, 36))
    uniform = ElementalSpecimen(("Ni",), (Part(part.body, {"Ni": Linear(1.0)}),), (36, 36, 36))
    expected = uniform.project(ViewGeometry.of(tilt_deg), (36, 36)).sum()
    np.testing.assert_allclose(view.sum(), expected, rtol=5e-3)
    # faces along the pixels fall between four rays per pixel
    np.testing.assert_allclose(specimen.volume("Ni").sum(), expected, rtol=0.06)


@few
@given(part=parts(), tilt_deg=turns, dx=st.integers(-4, 4), dy=st.integers(-4, 4))
def test_whole_shifts_move_pixels(part: Part, tilt_deg: float, dx: int, dy: int) -> None:
    specimen = ElementalSpecimen(("Ni",), (part,), (44, 44, 44))
    still = specimen.project(ViewGeometry.of(tilt_deg), (44, 44))[0]
    shifted = specimen.project(ViewGeometry.of(tilt_deg, (dx, dy)), (44, 44))[0]
    np.testing.assert_allclose(shifted, np.roll(still, (dy, dx), axis=(0, 1)), atol=1e-4)


@few
@given(
    counts=st.lists(st.integers(0, 5), min_size=64, max_size=64),
    shift_px=st.tuples(st.floats(-4, 4), st.floats(-4, 4)),
    axis_deg=st.floats(-10, 10),
)
def test_interpolated_counts_are_kept(
    counts: list[int], shift_px: tuple[float, float], axis_deg: float
) -> None:
    """A shift keeps the sum, a turn nearly so; no value is negative, or larger than the largest count."""
    view = np.zeros((28, 28), np.float32)
    view[10:18, 10:18] = np.reshape(counts, (8, 8))
    shifted = resample(view, np.eye(2), shift_px, method="linear")
    np.testing.assert_allclose(shifted.sum(), view.sum(), rtol=1e-4, atol=1e-4)
    matrix = Transforms.rotation(axis_deg, 1).matrix[0]
    turned = resample(view, matrix, shift_px, method="linear")
    # a pixel is seen by one pixel, and by more or less of its neighbours
    np.testing.assert_allclose(turned.sum(), view.sum(), rtol=0.05, atol=1.5)
    for found in (shifted, turned):
        assert found.min() >= 0
        assert found.max() <= view.max() + 1e-5


@few
@given(
    step_deg=st.floats(0.5, 5),
    n=st.integers(2, 60),
    seed=st.integers(0, 999),
)
def test_views_are_found_whatever_their_order(step_deg: float, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    others_deg = rng.permutation(step_deg * (np.arange(n) - n // 2))
    chosen = rng.choice(n, rng.integers(1, n + 1), replace=False)
    read_deg = others_deg[chosen] + rng.uniform(-1, 1, len(chosen)) * SAME_TILT_DEG
    np.testing.assert_array_equal(views_by_tilt(read_deg, others_deg), chosen)
