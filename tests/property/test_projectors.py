"""What must hold for every projector and every geometry."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.slab import KERNELS, SlabProjector

SIZES = st.integers(1, 40)
ANGLES = st.one_of(
    st.sampled_from([0.0, 45.0, -45.0, 90.0, -90.0, 135.0, -135.0, 180.0, -180.0]),
    st.floats(-400, 400),
)
GEOMETRIES = st.builds(
    SliceGeometry,
    tilt_deg=st.lists(ANGLES, min_size=1, max_size=7).map(np.array),
    n_detector=SIZES,
    thickness=SIZES,
    width=SIZES,
    axis_offset_px=st.floats(-6, 6),
    z_offset_px=st.floats(-6, 6),
)
SEEDS = st.integers(0, 2**32 - 1)
run = settings(max_examples=60, deadline=None)


def noise(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def inner(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.vdot(a.astype(float), b.astype(float)))


@pytest.mark.parametrize("kernel", KERNELS)
@run
@given(geometry=GEOMETRIES, seed=SEEDS)
@example(SliceGeometry(np.array([45.0]), 1, 1, 20, 4.625, 4.625), 0)
@example(SliceGeometry(np.array([-2.0]), 1, 8, 1, -2.0, 0.0), 0)
def test_adjoint_is_the_transpose(kernel, geometry, seed) -> None:
    projector = SlabProjector(geometry, n_slices=16, kernel=kernel)
    x, y = noise(projector.domain_shape, seed), noise(projector.range_shape, seed + 1)
    projected, back = projector.forward(x), projector.adjoint(y)
    norm = np.sqrt(inner(projected, projected) * inner(y, y))
    # A weight is an area of at most about 1 and has the rounding error of float32, 6e-8: all that a
    # ray has which cuts off only the corner of a pixel.
    rounding = np.finfo(np.float32).epsneg * np.sqrt(inner(x, x) * inner(y, y))
    assert abs(inner(projected, y) - inner(x, back)) <= 1e-6 * norm + rounding


@pytest.mark.parametrize("kernel", KERNELS)
@run
@given(geometry=GEOMETRIES, seed=SEEDS, a=st.floats(-3, 3), b=st.floats(-3, 3))
def test_projection_is_linear(kernel, geometry, seed, a, b) -> None:
    projector = SlabProjector(geometry, n_slices=16, kernel=kernel)
    x, y = noise(projector.domain_shape, seed), noise(projector.domain_shape, seed + 1)
    a, b = np.float32(a), np.float32(b)
    expected = a * projector.forward(x) + b * projector.forward(y)
    np.testing.assert_allclose(projector.forward(a * x + b * y), expected, atol=2e-4)


@pytest.mark.parametrize("kernel", KERNELS)
@run
@given(geometry=GEOMETRIES, seed=SEEDS)
def test_permuting_views_permutes_the_sinogram(kernel, geometry, seed) -> None:
    order = np.random.default_rng(seed).permutation(geometry.n_views)
    permuted = SliceGeometry(
        geometry.tilt_deg[order],
        geometry.n_detector,
        geometry.thickness,
        geometry.width,
        geometry.axis_offset_px,
        geometry.z_offset_px,
    )
    x = noise((geometry.thickness, geometry.width, 16), seed)
    sinogram = SlabProjector(geometry, n_slices=16, kernel=kernel).forward(x)
    np.testing.assert_array_equal(
        SlabProjector(permuted, n_slices=16, kernel=kernel).forward(x), sinogram[order]
    )


@pytest.mark.parametrize("kernel", KERNELS)
@run
@given(
    tilt_deg=ANGLES,
    dx=st.integers(-5, 5),
    dz=st.integers(-5, 5),
    size=st.tuples(SIZES, SIZES),
    seed=SEEDS,
)
def test_moving_the_volume_is_moving_the_detector_back(kernel, tilt_deg, dx, dz, size, seed) -> None:
    thickness, width = size[0] + 10, size[1] + 10
    x = np.zeros((thickness, width, 16), np.float32)
    x[5:-5, 5:-5] = noise((*size, 16), seed)
    tilt = np.deg2rad(tilt_deg)
    still = SliceGeometry(np.array([tilt_deg]), 70, thickness, width)
    moved = SliceGeometry(
        np.array([tilt_deg]), 70, thickness, width, -dx * float(np.cos(tilt)) - dz * float(np.sin(tilt))
    )
    expected = SlabProjector(still, n_slices=16, kernel=kernel).forward(x)
    shifted = np.roll(x, (dz, dx), axis=(0, 1))
    found = SlabProjector(moved, n_slices=16, kernel=kernel).forward(shifted)
    np.testing.assert_allclose(found, expected, atol=2e-4)
