"""The oriented projector against closed forms, written-out sums and the slab projector."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.orientation import rotation_matrices, tilts_as_euler
from etcli.core.projectors import _oriented
from etcli.core.projectors.oriented import OrientedProjector
from etcli.core.projectors.slab import SlabProjector

SIZES = st.integers(1, 40)
TURNS = st.one_of(st.sampled_from([-180.0, -90, -45, 0, 45, 90, 180]), st.floats(-400, 400))
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def projectors(draw) -> OrientedProjector:
    n_views = draw(st.integers(1, 6))
    euler = draw(st.lists(st.tuples(TURNS, TURNS, TURNS), min_size=n_views, max_size=n_views))
    shift = draw(st.lists(st.tuples(*[st.floats(-6, 6)] * 2), min_size=n_views, max_size=n_views))
    shape, detector = draw(st.tuples(SIZES, SIZES, SIZES)), draw(st.tuples(SIZES, SIZES))
    return OrientedProjector(
        rotation_matrices(euler), shape, detector, centre_px=shift, threads=draw(st.integers(1, 3))
    )


def noise(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def inner(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.vdot(a.astype(float), b.astype(float)))


def any_rotations(n_views: int, seed: int) -> NDArray[np.float64]:
    return rotation_matrices(np.random.default_rng(seed).uniform(-180, 180, (n_views, 3)))


@pytest.fixture
def small_boxes(monkeypatch) -> None:
    """Many boxes, of several shapes, in a small volume."""
    monkeypatch.setattr(_oriented, "BOX", (3, 5, 4))


def joseph(rotation, shape, detector, shift) -> NDArray[np.float64]:
    """Matrix of one view, from the definition: for each pixel and plane, the four voxels about the ray."""
    sizes = np.array(shape[::-1])
    beam = rotation[2]
    plane = int(abs(beam).argmax())
    others = [axis for axis in range(3) if axis != plane]
    matrix = np.zeros((*detector, *shape))
    for v, u in product(*map(range, detector)):
        lab = [u - (detector[1] - 1) / 2 - shift[0], v - (detector[0] - 1) / 2 - shift[1], 0]
        origin = rotation.T @ lab
        for n in range(sizes[plane]):
            depth = (n - (sizes[plane] - 1) / 2 - origin[plane]) / beam[plane]
            place = origin + depth * beam + (sizes - 1) / 2
            low = np.floor(place).astype(int)
            for step in product((0, 1), repeat=2):
                index = low.copy()
                index[plane] = n
                index[others] += step
                weight = np.prod(1 - abs(place - index)[others])
                if (index >= 0).all() and (index < sizes).all():
                    matrix[v, u, *index[::-1]] += weight / abs(beam[plane])
    return matrix.reshape(detector[0] * detector[1], -1)


@pytest.mark.parametrize(
    ("shape", "detector"),
    [((5, 6, 7), (9, 8)), ((4, 3, 9), (3, 19)), ((1, 1, 1), (2, 3)), ((9, 4, 2), (18, 5))],
)
def test_every_weight_equals_the_formula(small_boxes, shape, detector) -> None:
    rotation = np.concatenate([any_rotations(6, 1), rotation_matrices([[0, 0, 0], [0, 90, 0], [7, 5, 90]])])
    shift = np.random.default_rng(2).uniform(-2, 2, (len(rotation), 2))
    projector = OrientedProjector(rotation, shape, detector, centre_px=shift)
    expected = np.concatenate([joseph(r, shape, detector, s) for r, s in zip(rotation, shift, strict=True)])
    voxels = np.eye(expected.shape[1], dtype=np.float32).reshape(-1, *shape)
    pixels = np.eye(expected.shape[0], dtype=np.float32).reshape(-1, *projector.range_shape)
    matrix = np.array([projector.forward(voxel).ravel() for voxel in voxels]).T
    transpose = np.array([projector.adjoint(pixel).ravel() for pixel in pixels])
    np.testing.assert_allclose(matrix, expected, atol=5e-7)
    np.testing.assert_allclose(transpose, expected, atol=5e-7)


@settings(max_examples=60, deadline=None)
@given(projector=projectors(), seed=SEEDS)
def test_adjoint_is_the_transpose(projector, seed) -> None:
    x, y = noise(projector.domain_shape, seed), noise(projector.range_shape, seed + 1)
    projected, back = projector.forward(x), projector.adjoint(y)
    norm = np.sqrt(inner(projected, projected) * inner(y, y))
    assert abs(inner(projected, y) - inner(x, back)) <= 1e-6 * norm


def test_a_single_axis_is_the_slab_projector() -> None:
    tilt = np.array([0.0, 17, 45, -45, 90, -90, -63.5, 44.999999, 134.9, 180, -123])
    nz, ny, nx, n_u = 21, 16, 33, 40
    volume = noise((nz, ny, nx), 3)
    slab = SlabProjector(SliceGeometry(tilt, n_u, nz, nx, 0.3), n_slices=ny)
    expected = slab.forward(np.ascontiguousarray(volume.transpose(0, 2, 1))).transpose(0, 2, 1)
    projector = OrientedProjector(
        rotation_matrices(tilts_as_euler(tilt)), (nz, ny, nx), (ny, n_u), centre_px=[(0.3, 0)] * len(tilt)
    )
    np.testing.assert_allclose(projector.forward(volume), expected, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, axes=st.permutations((0, 1, 2)), mirrored=st.tuples(*[st.booleans()] * 3))
def test_turning_the_volume_is_turning_the_views(seed, axes, mirrored) -> None:
    rotation, volume = any_rotations(3, seed), noise((9, 12, 15), seed)
    flipped = tuple(axis for axis in range(3) if mirrored[axis])
    turned = np.ascontiguousarray(np.flip(volume.transpose(axes), flipped))
    turn = np.zeros((3, 3))  # of (x, y, z)
    for axis in range(3):
        turn[2 - axis, 2 - axes[axis]] = -1 if mirrored[axis] else 1
    expected = OrientedProjector(rotation, volume.shape, (20, 21)).forward(volume)
    found = OrientedProjector(rotation @ turn.T, turned.shape, (20, 21)).forward(turned)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_blob_is_seen_where_it_should_be() -> None:
    rng = np.random.default_rng(4)
    shape, detector, sigma, n_views = (50, 58, 54), (61, 60), 3.5, 60
    place = np.array([4.3, -5.1, 2.7])  # x, y, z from the centre
    z, y, x = (np.arange(n) - (n - 1) / 2 for n in shape)
    squared = (x - place[0]) ** 2 + (y[:, None] - place[1]) ** 2 + (z[:, None, None] - place[2]) ** 2
    volume = np.exp(-squared / (2 * sigma**2)).astype(np.float32)
    rotation, shift = any_rotations(n_views, 4), rng.uniform(-2, 2, (n_views, 2))
    views = OrientedProjector(rotation, shape, detector, centre_px=shift).forward(volume).astype(float)
    seen = (rotation @ place)[:, :2] + shift
    v, u = (np.arange(n) - (n - 1) / 2 for n in detector)
    mass = views.sum(axis=(1, 2))
    centroid = np.stack([views.sum(axis=1) @ u, views.sum(axis=2) @ v], axis=1) / mass[:, None]
    # few views reach 3e-3 where pixels and kinks of the interpolation keep step
    assert np.sqrt(np.mean((centroid - seen) ** 2)) < 1e-3
    np.testing.assert_allclose(centroid, seen, atol=5e-3)
    distance = (u - seen[:, :1, None]) ** 2 + (v[:, None] - seen[:, 1:, None]) ** 2
    expected = sigma * np.sqrt(2 * np.pi) * np.exp(-distance / (2 * sigma**2))
    # linear interpolation widens the blob a little
    np.testing.assert_allclose(views, expected, atol=0.02 * expected.max())
    np.testing.assert_allclose(mass, expected.sum(axis=(1, 2)), rtol=2e-4)


def test_neither_threads_nor_boxes_change_the_result(monkeypatch) -> None:
    rotation = any_rotations(7, 5)
    shape = (13, 300, 21)
    x, y = noise(shape, 1), noise((7, 40, 50), 2)
    one = OrientedProjector(rotation, shape, (40, 50))
    projected, back = one.forward(x), one.adjoint(y)
    for threads in (2, 3, 8):
        several = OrientedProjector(rotation, shape, (40, 50), threads=threads)
        np.testing.assert_array_equal(several.forward(x), projected)
        np.testing.assert_array_equal(several.adjoint(y), back)
    for box in ((5, 7, 200), (8, 200, 15)):  # also with a small box before a large one in a thread
        monkeypatch.setattr(_oriented, "BOX", box)
        np.testing.assert_allclose(several.forward(x), projected, atol=1e-5)
        np.testing.assert_allclose(several.adjoint(y), back, atol=1e-5)


def test_results_are_written_where_asked() -> None:
    projector = OrientedProjector(any_rotations(4, 8), (5, 6, 7), (8, 9))
    x, y = noise((5, 6, 7), 1), noise((4, 8, 9), 2)
    kept, views, volume = y.copy(), np.full((4, 8, 9), np.nan, np.float32), np.full_like(x, np.nan)
    assert projector.forward(x, out=views) is views
    assert projector.adjoint(y, out=volume) is volume
    np.testing.assert_array_equal(views, projector.forward(x))
    np.testing.assert_array_equal(volume, projector.adjoint(y))
    np.testing.assert_array_equal(y, kept)


def test_wrong_requests_are_refused() -> None:
    rotation = any_rotations(2, 1)
    projector = OrientedProjector(rotation, (5, 6, 7))
    assert projector.range_shape == (2, 6, 7)
    with pytest.raises(UsageError, match=r"volume: expected .*\(5, 6, 7\).*\(7, 6, 5\)"):
        projector.forward(np.zeros((7, 6, 5), np.float32))
    with pytest.raises(UsageError, match=r"sinogram: .*float64"):
        projector.adjoint(np.zeros((2, 6, 7)))
    with pytest.raises(UsageError, match=r"3 x 3 matrix each, .*\(3, 3\)"):
        OrientedProjector(np.eye(3), (5, 6, 7))
    with pytest.raises(UsageError, match="view 2 does not describe a rotation"):
        OrientedProjector([np.eye(3), 1.01 * np.eye(3)], (5, 6, 7))
    with pytest.raises(UsageError, match="view 1 does not describe a rotation"):
        OrientedProjector(np.full((1, 3, 3), np.nan), (5, 6, 7))
    with pytest.raises(UsageError, match="2 views need as many finite centres"):
        OrientedProjector(rotation, (5, 6, 7), centre_px=[(0, 0)])
    with pytest.raises(UsageError, match=r"\(5, 0, 7\)"):
        OrientedProjector(rotation, (5, 0, 7))
