"""The algebra of transforms, and that images follow it to a fraction of a pixel."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from etcli.core.registration.transforms import Transforms, compose, resample

angles = st.floats(-180, 180)
scales = st.floats(0.7, 1.4)


@st.composite
def transforms(draw: st.DrawFn, n_views: int = 2, max_shift: float = 20.0) -> Transforms:
    """Rotation, stretch and shear of a sensible size, and a shift, for each view."""
    views = []
    for _ in range(n_views):
        turn = Transforms.rotation(draw(angles), 1).matrix[0]
        views.append(turn @ [[draw(scales), draw(st.floats(-0.3, 0.3))], [0, draw(scales)]])
    shift = st.floats(-max_shift, max_shift)
    return Transforms(np.array(views), np.array([[draw(shift), draw(shift)] for _ in views]))


def _assert_close(first: Transforms, second: Transforms) -> None:
    np.testing.assert_allclose(first.matrix, second.matrix, atol=1e-9)
    np.testing.assert_allclose(first.shift_px, second.shift_px, atol=1e-7)


def _blob(shape: tuple[int, int], x: float, y: float, sigma: float = 2.5) -> np.ndarray:
    """A Gaussian at (x, y) from the centre of the image."""
    rows, columns = (np.arange(n) - (n - 1) / 2 for n in shape)
    return np.exp(-0.5 * ((columns - x) ** 2 + (rows[:, None] - y) ** 2) / sigma**2)


def _centroid(image: np.ndarray) -> np.ndarray:
    """Centre of mass (x, y) from the centre of the image."""
    rows, columns = (np.arange(n) - (n - 1) / 2 for n in image.shape)
    total = image.sum(dtype=np.float64)
    return np.array([(image * columns).sum() / total, (image * rows[:, None]).sum() / total])


@given(transforms(), transforms(), transforms())
def test_compose_is_associative(a: Transforms, b: Transforms, c: Transforms) -> None:
    _assert_close(compose(compose(a, b), c), compose(a, compose(b, c)))


@given(transforms())
def test_inverse_undoes_from_both_sides(a: Transforms) -> None:
    _assert_close(compose(a, a.inverse()), Transforms.identity(2))
    _assert_close(compose(a.inverse(), a), Transforms.identity(2))


@given(transforms(), transforms(), st.floats(0.1, 10))
def test_scaling_the_pixels_goes_through_compositions(a: Transforms, b: Transforms, factor: float) -> None:
    _assert_close(compose(a, b).scaled(factor), compose(a.scaled(factor), b.scaled(factor)))


@settings(max_examples=40, deadline=None)
@given(
    transforms(n_views=1, max_shift=5.0),
    st.tuples(st.floats(-8, 8), st.floats(-8, 8)),
    st.tuples(st.integers(70, 73), st.integers(70, 73)),
    st.tuples(st.integers(80, 83), st.integers(80, 83)),
)
def test_a_blob_lands_where_the_transform_says(a: Transforms, place, shape_in, shape_out) -> None:
    """About the centres, x' = A x + d, for odd and even sizes that need not be equal."""
    image = _blob(shape_in, *place)
    moved = resample(image, a.matrix[0], a.shift_px[0], shape=shape_out, fill=0.0)
    expected = a.matrix[0] @ place + a.shift_px[0]
    np.testing.assert_allclose(_centroid(moved), expected, atol=2e-3)
    np.testing.assert_allclose(
        moved.sum(dtype=np.float64), image.sum() * abs(np.linalg.det(a.matrix[0])), rtol=1e-3
    )


@settings(max_examples=25, deadline=None)
@given(transforms(n_views=1, max_shift=3.0), transforms(n_views=1, max_shift=3.0))
def test_once_with_the_product_is_twice_in_turn(first: Transforms, then: Transforms) -> None:
    image = _blob((81, 80), 6.0, -4.0, sigma=4.0) + 0.5 * _blob((81, 80), -7.0, 3.0, sigma=3.0)
    step = resample(image, first.matrix[0], first.shift_px[0], fill=0.0)
    twice = resample(step, then.matrix[0], then.shift_px[0], fill=0.0)
    both = compose(first, then)
    once = resample(image, both.matrix[0], both.shift_px[0], fill=0.0)
    inside = np.s_[20:-20, 20:-20]
    np.testing.assert_allclose(once[inside], twice[inside], atol=4e-3)


@settings(max_examples=25, deadline=None)
@given(st.floats(-60, 60), st.floats(-10, 10), st.tuples(st.integers(64, 65), st.integers(64, 65)))
def test_a_line_along_the_axis_comes_out_upright(axis_deg: float, along: float, shape) -> None:
    """Two blobs on the tilt axis end above one another, on x = 0."""
    axis_rad = np.deg2rad(axis_deg)
    for distance in (along, along + 8):
        image = _blob(shape, -np.sin(axis_rad) * distance, np.cos(axis_rad) * distance)
        upright = Transforms.rotation(axis_deg, 1)
        moved = resample(image, upright.matrix[0], upright.shift_px[0], fill=0.0)
        np.testing.assert_allclose(_centroid(moved), [0, distance], atol=2e-3)
