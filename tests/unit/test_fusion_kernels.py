"""Steps of the joint reconstruction against definitions, NumPy's singular values and SciPy's minimisers."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from etcli.core.errors import UsageError
from etcli.core.fusion import _gradient, _likelihood
from etcli.core.fusion.slab_views import SlabViews, slab_width
from etcli.core.geometry import SliceGeometry

RNG = np.random.default_rng(0)
FREE = np.float32(1e9)
ONE = np.float32(1)


def padded(shape, ny, width):
    """Return random volumes (channel, z, x, y) whose rows from ny on are zero."""
    out = np.zeros((*shape, width), np.float32)
    out[..., :ny] = RNG.normal(size=(*shape, ny))
    return out


def gradient(volume):
    """Return forward differences along z, x, y, zero across the border, from the definition."""
    out = np.zeros((3, *volume.shape))
    for axis in range(3):
        inner = [slice(None)] * 3
        inner[axis] = slice(0, -1)
        out[(axis, *inner)] = np.diff(volume.astype(float), axis=axis)
    return out


@pytest.mark.parametrize(("ny", "width"), [(16, 16), (21, 32), (64, 64), (70, 80), (150, 192)])
def test_gradient_and_its_transpose(ny, width):
    x = padded((1, 4, 5), ny, width)
    dual = np.zeros((1, 3, 4, 5, width), np.float32)
    for part in ((0, 2), (2, 4)):
        _gradient.ascend_alone(x, dual, ONE, FREE, ONE, *part, ny - 1)
    np.testing.assert_allclose(dual[0, ..., :ny], gradient(x[0, ..., :ny]), atol=1e-6)
    assert not dual[..., ny:].any()

    p = np.zeros_like(dual)
    _gradient.ascend_alone(padded((1, 4, 5), ny, width), p, ONE, FREE, ONE, 0, 4, ny - 1)
    volume = np.zeros((4, 5, width), np.float32)
    volume[..., :ny] = 100  # far from the bound, so that the step is linear
    ahead, none = np.zeros_like(volume), np.zeros_like(volume)
    for part in ((0, 3), (3, 4)):
        _gradient.descend(volume, ahead, none, ONE, none, ONE, p[0], ONE, ONE, ONE, *part, ny - 1)
    transposed = 100 - volume[..., :ny].astype(float)
    inner = np.vdot(x[0, ..., :ny], transposed)
    assert inner == pytest.approx(np.vdot(dual[0].astype(float), p[0]), abs=2e-4 * abs(transposed).sum())
    assert not volume[..., ny:].any() and not ahead[..., ny:].any()


def test_descent_stays_above_zero_and_extrapolates():
    volume = padded((3, 4), 20, 32)
    ahead, back, shared = np.zeros_like(volume), padded((3, 4), 20, 32), padded((3, 4), 20, 32)
    dual = np.zeros((3, *volume.shape), np.float32)
    old = volume.copy()
    new = np.maximum(0, old - 0.5 * (2 * back + 3 * shared))
    change, size = _gradient.descend(
        volume, ahead, back, np.float32(2), shared, np.float32(3), dual, ONE, np.float32(0.5), ONE, 0, 3, 19
    )
    np.testing.assert_allclose(volume[..., :20], new[..., :20], atol=1e-6)
    np.testing.assert_allclose(ahead[..., :20], (2 * new - old)[..., :20], atol=1e-6)
    assert change == pytest.approx(((new - old)[..., :20] ** 2).sum(), rel=1e-5)
    assert size == pytest.approx((new[..., :20] ** 2).sum(), rel=1e-5)


@pytest.mark.parametrize("spread", [0.0, 1.5])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_nuclear_ball_is_that_of_singular_values(channels, spread):
    shape = (channels, 3, 3, 4, 80)
    jacobian = RNG.normal(size=shape) * RNG.lognormal(sigma=spread, size=(1, 3, 3, 4, 80))
    jacobian[:, :, 0, 0] = jacobian[:1, :, 0, 0]  # rank 1: equal channels
    jacobian[:, :, 0, 1] = 0
    for c in range(channels):  # differences at the border are zero
        jacobian[c, 0, -1] = jacobian[c, 1, :, -1] = jacobian[c, 2, :, :, -1] = 0
    dual, still = jacobian.astype(np.float32), np.zeros((channels, *shape[2:]), np.float32)
    chosen, steps, radius = np.arange(channels), np.zeros(channels, np.float32), 0.7
    _gradient.ascend_jointly(still, dual, chosen, steps, np.float32(radius), ONE, True, 0, 3, 79)
    u, s, v = np.linalg.svd(np.moveaxis(jacobian, (0, 1), (-2, -1)), full_matrices=False)
    limited = np.moveaxis((u * np.minimum(s, radius)[..., None, :]) @ v, (-2, -1), (0, 1))
    np.testing.assert_allclose(dual, limited, atol=1e-4 * radius)  # squares of float32


def test_frobenius_ball_and_channels_that_are_left_out():
    dual = RNG.normal(size=(4, 3, 3, 4, 32)).astype(np.float32)
    dual[:, 0, -1] = dual[:, 1, :, -1] = dual[:, 2, :, :, 29:] = 0
    dual[..., 30:] = 0
    old, still = dual.copy(), np.zeros((4, 3, 4, 32), np.float32)
    chosen = np.array([0, 3])
    _gradient.ascend_jointly(still, dual, chosen, np.zeros(2, np.float32), ONE, ONE, False, 0, 3, 29)
    size = np.sqrt((old[chosen].astype(float) ** 2).sum(axis=(0, 1)))
    np.testing.assert_allclose(dual[chosen], old[chosen] / np.maximum(size, 1), atol=1e-6)
    assert np.array_equal(dual[1:3], old[1:3])


@pytest.mark.parametrize("y", [0.0, 0.3, 2.0, 500.0])
@pytest.mark.parametrize("background", [0.0, 1.5])
@pytest.mark.parametrize("rate", [0.05, 8.0])
def test_step_of_counts_is_the_proximal_point(y, background, rate):
    """Moreau: p = v − step prox(v / step), the prox of F / step by SciPy's search."""
    for v, step in ((-3.0, 0.4), (0.5, 2.0), (6.0, 20.0)):
        dual, projected = np.array([[v - step]], np.float32), np.ones((1, 1), np.float32)
        _likelihood.ascend_counts(
            dual, projected, np.full((1, 1), y, np.float32), np.array([rate], np.float32),
            np.array([background], np.float32), np.float32(step), ONE, ONE,
        )  # fmt: skip

        def cost(z, v=v, step=step):
            mean = rate * z + background
            return mean - y * np.log(max(mean, 1e-300)) + step / 2 * (z - v / step) ** 2

        low = -background / rate
        best = minimize_scalar(cost, bounds=(low, low + 1e3 + 2 * y / rate), method="bounded",
                               options={"xatol": 1e-10})  # fmt: skip
        assert dual[0, 0] == pytest.approx(v - step * best.x, abs=3e-3 * max(rate, 1))


def test_views_without_gain_are_left_out():
    dual = np.zeros((2, 3), np.float32)
    rate, none = np.array([0, 1], np.float32), np.zeros(2, np.float32)
    _likelihood.ascend_counts(dual, np.ones((2, 3), np.float32), dual.copy(), rate, none, ONE, ONE, ONE)
    assert not dual[0].any() and dual[1].all()


@pytest.mark.parametrize(("n_rows", "width"), [(10, 16), (37, 16), (70, 64)])
def test_projection_of_slabs_has_its_transpose(n_rows, width):
    geometry = SliceGeometry(np.linspace(-60, 70, 7), 15, 8, 12, axis_offset_px=0.7, z_offset_px=-1.0)
    views = SlabViews(geometry, n_rows, width)
    x = RNG.random((8, n_rows, 12)).astype(np.float32)
    y = RNG.random((7, n_rows, 15)).astype(np.float32)
    assert np.vdot(views.project(x), y) == pytest.approx(np.vdot(x, views.back_project(y)), rel=1e-5)
    assert np.array_equal(views.rows(views.slabs(y)), y)
    one_row = SlabViews(geometry, 1, 16).project(np.ascontiguousarray(x[:, -1:]))
    np.testing.assert_allclose(views.project(x)[:, -1:], one_row, rtol=1e-5)
    with pytest.raises(UsageError, match="is needed"):
        views.slabs(y[:, 1:])


def test_norm_is_the_largest_singular_value():
    views = SlabViews(SliceGeometry(np.linspace(-60, 60, 5), 9, 6, 9), 1, 16)
    unit = np.eye(54, dtype=np.float32).reshape(54, 6, 1, 9)
    matrix = np.stack([views.project(each).ravel() for each in unit])
    assert 1 <= views.norm / np.linalg.norm(matrix, 2) < 1.02


@pytest.mark.parametrize(
    ("rows", "series", "threads", "width"),
    [(56, 4, 2, 64), (56, 1, 2, 32), (12, 1, 8, 16), (512, 1, 2, 64), (65, 1, 1, 32)],
)
def test_slabs_keep_all_threads_busy(rows, series, threads, width):
    assert slab_width(rows, series, threads) == width


def test_over_relaxation_goes_beyond_by_the_same_part():
    """Every variable moves by 1.5 times what it moves without."""
    far = np.float32(1.5)
    x, start = padded((2, 3, 4), 20, 32), np.zeros((2, 3, 3, 4, 32), np.float32)
    for nuclear in (False, True):
        usual, more = start.copy(), start.copy()
        for dual, relax in ((usual, ONE), (more, far)):
            steps = np.ones(2, np.float32)
            _gradient.ascend_jointly(x, dual, np.arange(2), steps, ONE, relax, nuclear, 0, 3, 19)
        np.testing.assert_allclose(more, 1.5 * usual, atol=1e-6)
    usual, more = start[:1].copy(), start[:1].copy()
    _gradient.ascend_alone(x[:1], usual, ONE, ONE, ONE, 0, 3, 19)
    _gradient.ascend_alone(x[:1], more, ONE, ONE, far, 0, 3, 19)
    np.testing.assert_allclose(more, 1.5 * usual, atol=1e-6)

    none, old = np.zeros_like(x[0]), abs(x[0])
    volumes, ahead = [old.copy(), old.copy()], [none.copy(), none.copy()]
    for volume, w, relax in zip(volumes, ahead, (ONE, far), strict=True):
        _gradient.descend(volume, w, x[1], ONE, none, ONE, start[0], ONE, ONE, relax, 0, 3, 19)
    np.testing.assert_allclose(volumes[1] - old, 1.5 * (volumes[0] - old), atol=1e-6)
    assert np.array_equal(*ahead)

    y, rate, duals = np.full((1, 8), 3, np.float32), np.ones(1, np.float32), np.zeros((4, 1, 8), np.float32)
    _likelihood.ascend_counts(duals[0], y, y / 2, rate, 0 * rate, ONE, ONE, ONE)
    _likelihood.ascend_counts(duals[1], y, y / 2, rate, 0 * rate, ONE, ONE, far)
    _likelihood.ascend_images(duals[2], y, y / 2, rate, ONE, ONE / 2, ONE)
    _likelihood.ascend_images(duals[3], y, y / 2, rate, ONE, ONE / 2, far)
    np.testing.assert_allclose(duals[1::2], 1.5 * duals[::2], rtol=1e-5)
    assert duals[2] == pytest.approx((3 + 1 - 1.5) / 2)
