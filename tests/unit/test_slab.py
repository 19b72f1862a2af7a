"""The slab projector against closed forms."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.jit import cache_folder, jit, kernels_cached
from etcli.core.projectors.slab import (
    KERNELS,
    WIDTHS,
    SlabProjector,
    aligned_empty,
    from_slab,
    slab_width,
    to_slab,
)

TILTS = np.array([0.0, 17.0, 45.0, -45.0, 90.0, -90.0, -63.5, 44.999999, 134.9, 180.0, -123.0])


def positions(geometry: SliceGeometry) -> NDArray[np.float64]:
    """Detector position of every voxel, (n_views, thickness, width), written out from the convention."""
    z = np.arange(geometry.thickness) - (geometry.thickness - 1) / 2 + geometry.z_offset_px
    x = np.arange(geometry.width) - (geometry.width - 1) / 2
    tilt = np.deg2rad(geometry.tilt_deg)[:, None, None]
    axis = (geometry.n_detector - 1) / 2 + geometry.axis_offset_px
    return x * np.cos(tilt) + z[:, None] * np.sin(tilt) + axis


def hat(distance: float, tilt_deg: float) -> float:
    """Weight of Joseph's method."""
    w = 1 / max(abs(np.cos(np.deg2rad(tilt_deg))), abs(np.sin(np.deg2rad(tilt_deg))))
    return w * max(0.0, 1 - w * abs(distance))


def overlap(distance: float, tilt_deg: float) -> float:
    """Area of a turned unit square inside a unit strip, by clipping the polygon with both borders."""
    c, s = np.cos(np.deg2rad(tilt_deg)), np.sin(np.deg2rad(tilt_deg))
    polygon = [
        (u * c - v * s, u * s + v * c) for u, v in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))
    ]
    for side, border in ((1, distance - 0.5), (-1, -distance - 0.5)):
        clipped = []
        for (u0, v0), (u1, v1) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
            d0, d1 = side * u0 - border, side * u1 - border
            if d0 >= 0:
                clipped.append((u0, v0))
            if d0 * d1 < 0:
                f = d0 / (d0 - d1)
                clipped.append((u0 + f * (u1 - u0), v0 + f * (v1 - v0)))
        polygon = clipped
        if not polygon:
            return 0.0
    u, v = np.array(polygon).T
    return float(abs(np.sum(u * np.roll(v, -1) - v * np.roll(u, -1))) / 2)


WEIGHTS = {"linear": hat, "strip": overlap}


def columns(apply, n_in: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Matrix of a linear map on slabs of 16 slices, sixteen columns at a time."""
    parts = []
    for start in range(0, n_in, 16):
        unit = np.zeros((n_in, 16), np.float32)
        rows = np.arange(start, min(start + 16, n_in))
        unit[rows, rows - start] = 1
        parts.append(apply(unit.reshape(shape)).reshape(-1, 16)[:, : rows.size])
    return np.concatenate(parts, axis=1).astype(float)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("thickness", "width", "n_detector", "offset"),
    [(5, 7, 9, 0.0), (7, 4, 5, 0.37), (1, 1, 3, -0.5), (6, 19, 23, 1.0), (18, 3, 6, -2.25), (3, 2, 40, 0.1)],
)
def test_every_weight_equals_the_formula(kernel, thickness, width, n_detector, offset) -> None:
    geometry = SliceGeometry(TILTS, n_detector, thickness, width, offset, 1.5 * offset)
    projector = SlabProjector(geometry, n_slices=16, kernel=kernel)
    t = positions(geometry).reshape(TILTS.size, -1)
    expected = np.array(
        [
            [WEIGHTS[kernel](i - u, tilt) for u in row]
            for tilt, row in zip(TILTS, t, strict=True)
            for i in range(n_detector)
        ]
    )
    matrix = columns(projector.forward, expected.shape[1], projector.domain_shape)
    transpose = columns(projector.adjoint, expected.shape[0], projector.range_shape)
    np.testing.assert_allclose(matrix, expected, atol=3e-7)
    np.testing.assert_allclose(transpose, expected.T, atol=3e-7)


def gaussian(geometry: SliceGeometry, *, x0: float, z0: float, sigma: float) -> NDArray[np.float32]:
    """Gaussian of height 1 at (x0, z0) from the centre."""
    z = np.arange(geometry.thickness) - (geometry.thickness - 1) / 2 + geometry.z_offset_px
    x = np.arange(geometry.width) - (geometry.width - 1) / 2
    return np.exp(-((x - x0) ** 2 + (z[:, None] - z0) ** 2) / (2 * sigma**2)).astype(np.float32)


def in_lane(image: NDArray[np.float32], lane: int, n_slices: int = 16) -> NDArray[np.float32]:
    """Slab that is zero but for one slice."""
    slab = np.zeros((*image.shape, n_slices), np.float32)
    slab[..., lane] = image
    return slab


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("offset", [0.0, 3.4])
@pytest.mark.parametrize("n_detector", [100, 101])
def test_projection_of_a_gaussian(kernel, offset, n_detector) -> None:
    # where rows of voxels fall on rows of pixels, the blur below depends on how they fall
    tilt_deg = np.array([a for a in np.arange(-178.0, 180, 4) if min(a % 45, -a % 45) > 3])
    geometry = SliceGeometry(tilt_deg, n_detector, 81, 90, offset)
    x0, z0, sigma = 14.0, -9.0, 4.0
    slab = in_lane(gaussian(geometry, x0=x0, z0=z0, sigma=sigma), 5)
    sinogram = SlabProjector(geometry, n_slices=16, kernel=kernel).forward(slab)[..., 5]
    p = np.arange(n_detector) - (n_detector - 1) / 2 - offset
    tilt = np.deg2rad(tilt_deg)[:, None]
    # both interpolations convolve with a footprint of a pixel's size: its variance widens the peak
    blur = {"linear": np.maximum(abs(np.cos(tilt)), abs(np.sin(tilt))) ** 2 / 6, "strip": 1 / 6}[kernel]
    wide = np.sqrt(sigma**2 + blur)
    peak = sigma * np.sqrt(2 * np.pi)
    expected = (
        peak * sigma / wide * np.exp(-((p - x0 * np.cos(tilt) - z0 * np.sin(tilt)) ** 2) / (2 * wide**2))
    )
    np.testing.assert_allclose(sinogram, expected, atol=1e-3 * peak)


@pytest.mark.parametrize("kernel", KERNELS)
def test_projection_of_a_disc(kernel) -> None:
    geometry = SliceGeometry(np.linspace(-90, 85, 36), 128, 120, 110)
    z, x = np.ogrid[:120, :110]
    radius, fine = 40.0, (np.arange(8) - 3.5) / 8
    inside = [(x - 54.5 + dx - 6) ** 2 + (z - 59.5 + dz - 4) ** 2 < radius**2 for dx in fine for dz in fine]
    slab = in_lane(np.mean(inside, axis=0, dtype=np.float32), 0)
    sinogram = SlabProjector(geometry, n_slices=16, kernel=kernel).forward(slab)[..., 0]
    p = np.arange(128) - 63.5 - 6 * geometry.cos[:, None] - 4 * geometry.sin[:, None]
    chord = 2 * np.sqrt(np.maximum(radius**2 - p**2, 0))
    assert np.linalg.norm(sinogram - chord) < 0.02 * np.linalg.norm(chord)


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_view_holds_the_whole_mass(kernel) -> None:
    geometry = SliceGeometry(np.linspace(-90, 90, 31), 70, 50, 60, -1.3)
    image = gaussian(geometry, x0=4, z0=-3, sigma=4)
    sinogram = SlabProjector(geometry, n_slices=16, kernel=kernel).forward(in_lane(image, 2))[..., 2]
    np.testing.assert_allclose(
        sinogram.sum(axis=1, dtype=float), image.sum(dtype=float), rtol=1e-6 if kernel == "strip" else 1e-4
    )


def test_interpolate_is_linear_between_pixels_and_zero_outside() -> None:
    rng = np.random.default_rng(0)
    geometry = SliceGeometry(TILTS[:7], 17, 9, 21, 0.8)
    sinogram = rng.standard_normal((7, 17, 16)).astype(np.float32)
    weight = rng.standard_normal(7)
    weight[2] = 0
    expected = np.zeros((9, 21))
    for a, t in enumerate(positions(geometry)):
        row = np.pad(sinogram[a, :, 11].astype(float), 1)
        expected += weight[a] * np.interp(t, np.arange(-1, 18), row, left=0, right=0)
    projector = SlabProjector(geometry, n_slices=16)
    np.testing.assert_allclose(
        projector.interpolate(sinogram, view_weight=weight)[..., 11], expected, atol=1e-5
    )
    plain = projector.interpolate(sinogram)
    np.testing.assert_allclose(plain, projector.interpolate(sinogram, view_weight=np.ones(7)), rtol=0)
    assert np.abs(plain[..., 11] - expected).max() > 0.1


def test_interpolate_makes_some_sections_as_it_makes_all() -> None:
    sinogram = np.random.default_rng(0).standard_normal((7, 17, 16)).astype(np.float32)
    projector = SlabProjector(SliceGeometry(TILTS[:7], 17, 30, 21, 0.8), n_slices=16)
    volume = projector.interpolate(sinogram)
    for z0, z1 in ((0, 30), (8, 23), (28, 30)):
        np.testing.assert_array_equal(projector.interpolate(sinogram, sections=(z0, z1)), volume[z0:z1])
    some = projector.interpolate(sinogram, sections=(9, 13), out=np.ones((4, 21, 16), np.float32))
    np.testing.assert_allclose(some, volume[9:13], atol=1e-5)
    with pytest.raises(UsageError, match=r"out: expected contiguous float32 of shape \(4, 21, 16\)"):
        projector.interpolate(sinogram, sections=(9, 13), out=volume)
    for sections in ((-1, 4), (4, 31), (5, 5)):
        with pytest.raises(UsageError, match=r"sections .* of 30"):
            projector.interpolate(sinogram, sections=sections)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("width", WIDTHS)
def test_slices_do_not_mix(kernel, width) -> None:
    geometry = SliceGeometry(np.array([-70.0, 10.0, 45.0]), 30, 14, 33)
    projector = SlabProjector(geometry, n_slices=width, kernel=kernel)
    rng = np.random.default_rng(width)
    one = rng.standard_normal((14, 33), np.float32)
    view = rng.standard_normal((3, 30), np.float32)
    for lane in (0, 7, width - 1):
        for result in (
            projector.forward(in_lane(one, lane, width)),
            projector.adjoint(in_lane(view, lane, width)),
        ):
            assert np.abs(result[..., lane]).max() > 0.1
            assert not np.delete(result, lane, axis=-1).any()
    same = projector.forward(np.repeat(one[..., None], width, axis=-1))
    np.testing.assert_array_equal(same, np.repeat(same[..., :1], width, axis=-1))


@pytest.mark.parametrize("kernel", KERNELS)
def test_threads_and_out_give_the_same_bytes(kernel) -> None:
    geometry = SliceGeometry(np.linspace(-80, 80, 9), 40, 30, 35)
    projector = SlabProjector(geometry, n_slices=16, kernel=kernel)
    rng = np.random.default_rng(1)
    volumes = [rng.random(projector.domain_shape, dtype=np.float32) for _ in range(4)]
    alone = [projector.forward(v) for v in volumes]
    back = [projector.adjoint(s) for s in alone]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(projector.forward, volumes))
        returned = list(pool.map(projector.adjoint, together))
    out = np.full(projector.range_shape, 7, np.float32)
    assert projector.forward(volumes[0], out=out) is out
    np.testing.assert_array_equal(out, alone[0])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(returned, back)


@pytest.mark.parametrize(
    ("n", "n_slices", "nx", "width"), [(3, 16, 20, 16), (2, 5, 7, 16), (1, 33, 64, 64), (2, 20, 1, 32)]
)
def test_slab_order_and_back(n, n_slices, nx, width) -> None:
    series = np.random.default_rng(2).random((n, n_slices + 3, nx), np.float32)
    rows = series[:, 2 : 2 + n_slices]
    slab = to_slab(rows)
    assert slab.shape == (n, nx, width)
    assert slab.ctypes.data % 64 == 0
    np.testing.assert_array_equal(slab[..., :n_slices], rows.transpose(0, 2, 1))
    assert not slab[..., n_slices:].any()
    np.testing.assert_array_equal(from_slab(slab, n_slices), rows)
    part = np.zeros_like(series)
    from_slab(slab, n_slices, out=part[:, 2 : 2 + n_slices])
    np.testing.assert_array_equal(part[:, 2 : 2 + n_slices], rows)
    assert not part[:, :2].any()
    assert not part[:, 2 + n_slices :].any()


def test_read_only_rows_go_into_a_given_slab() -> None:
    rows = np.random.default_rng(2).random((2, 16, 9), np.float32)
    rows.flags.writeable = False
    out = aligned_empty((2, 9, 32))
    out[:] = 9
    assert to_slab(rows, out=out) is out
    np.testing.assert_array_equal(out[..., :16], rows.transpose(0, 2, 1))
    assert not out[..., 16:].any()


def test_slab_width_is_the_narrowest_that_fits() -> None:
    assert [slab_width(n) for n in (1, 16, 17, 32, 33, 64, 1000)] == [16, 16, 32, 32, 64, 64, 64]


def test_wrong_requests_are_refused() -> None:
    geometry = SliceGeometry(np.array([0.0, 10.0]), 8, 5, 6)
    with pytest.raises(UsageError, match="16, 32, 64 slices, not 10"):
        SlabProjector(geometry, n_slices=10)
    with pytest.raises(UsageError, match="'cubic'"):
        SlabProjector(geometry, n_slices=16, kernel="cubic")
    projector = SlabProjector(geometry, n_slices=16)
    volume = np.zeros((5, 6, 16), np.float32)
    with pytest.raises(UsageError, match=r"volume: expected .*\(5, 6, 16\).*\(6, 5, 16\)"):
        projector.forward(np.zeros((6, 5, 16), np.float32))
    with pytest.raises(UsageError, match="float64"):
        projector.forward(volume.astype(float))
    with pytest.raises(UsageError, match="contiguous"):
        projector.forward(np.zeros((5, 6, 32), np.float32)[..., ::2])
    with pytest.raises(UsageError, match="out"):
        projector.forward(volume, out=volume)
    with pytest.raises(UsageError, match="2 views"):
        projector.interpolate(projector.forward(volume), view_weight=np.ones(3))
    with pytest.raises(UsageError, match="40 slices"):
        to_slab(np.zeros((1, 40, 3), np.float32), out=aligned_empty((1, 3, 32)))
    with pytest.raises(UsageError, match="no 20"):
        from_slab(aligned_empty((1, 3, 16)), 20)


ONE_ADJOINT = """
import numpy as np
from etcli.core.geometry import SliceGeometry
from etcli.core.projectors import _kernels
from etcli.core.projectors.slab import SlabProjector
projector = SlabProjector(SliceGeometry(np.zeros(1), 3, 1, 3), n_slices=16)
found = projector.adjoint(np.ones(projector.range_shape, np.float32))
stats = _kernels.backprojection(0, 16).stats
print(found.sum(), sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


def adjoint_in_a_new_process(cache_home: Path | str) -> list[str]:
    """Sum of an adjoint, times its kernel was found compiled, times it was not."""
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    run = subprocess.run(
        [sys.executable, "-c", ONE_ADJOINT],
        env={**environment, "XDG_CACHE_HOME": str(cache_home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == ""
    return run.stdout.split()


def test_another_process_finds_the_compiled_kernels(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert not kernels_cached()
    assert adjoint_in_a_new_process(tmp_path) == ["48.0", "0", "1"]
    assert cache_folder().is_relative_to(tmp_path)
    assert kernels_cached()
    assert adjoint_in_a_new_process(tmp_path) == ["48.0", "1", "0"]


def test_threads_may_compile_at_the_same_time(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = numba.config.CACHE_DIR
    with ThreadPoolExecutor(16) as pool:
        kernels = list(pool.map(jit, [lambda x: x] * 200))
    assert {Path(kernel._cache.cache_path).parent for kernel in kernels} == {cache_folder()}
    assert before == numba.config.CACHE_DIR


def test_kernels_work_where_no_cache_can_be_written() -> None:
    assert adjoint_in_a_new_process("/dev/null")[0] == "48.0"


def test_the_geometry_needs_no_compiler() -> None:
    code = "import sys, etcli.core.geometry, etcli.core.jit; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
