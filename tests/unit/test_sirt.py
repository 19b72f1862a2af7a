"""SIRT and normalised back-projection against the formula, written out with a matrix, and against ASTRA."""

import numpy as np
import pytest
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.astra import astra_available, astra_sirt
from etcli.core.projectors.slab import HOST, SlabProjector
from etcli.core.solvers.backprojection import backprojection, inverse_sums
from etcli.core.solvers.sirt import sirt

GEOMETRY = SliceGeometry(np.array([-72.0, -31.5, 0.0, 8.0, 45.0, 90.0, 131.0]), 19, 11, 16, 0.7)


def joseph_matrix(geometry: SliceGeometry) -> NDArray[np.float64]:
    """Follow every ray through rows of voxels, or columns where it is steep, and interpolate linearly."""
    nz, nx, n_detector = geometry.thickness, geometry.width, geometry.n_detector
    z, x = np.arange(nz) - (nz - 1) / 2, np.arange(nx) - (nx - 1) / 2
    matrix = np.zeros((geometry.n_views, n_detector, nz, nx))
    for view, tilt in enumerate(np.deg2rad(geometry.tilt_deg)):
        for pixel in range(n_detector):
            p = pixel - (n_detector - 1) / 2 - geometry.axis_offset_px
            if abs(np.cos(tilt)) >= abs(np.sin(tilt)):
                for i in range(nz):  # x cos + z sin = p
                    hats = np.maximum(0, 1 - abs(x - (p - z[i] * np.sin(tilt)) / np.cos(tilt)))
                    matrix[view, pixel, i] = hats / abs(np.cos(tilt))
            else:
                for j in range(nx):
                    hats = np.maximum(0, 1 - abs(z - (p - x[j] * np.cos(tilt)) / np.sin(tilt)))
                    matrix[view, pixel, :, j] = hats / abs(np.sin(tilt))
    return matrix.reshape(geometry.n_views * n_detector, nz * nx)


class MatrixProjector:
    """A projector that is nothing but its matrix."""

    device = HOST

    def __init__(self, geometry: SliceGeometry, n_slices: int = 16) -> None:
        self.matrix = joseph_matrix(geometry)
        self.domain_shape = (geometry.thickness, geometry.width, n_slices)
        self.range_shape = (geometry.n_views, geometry.n_detector, n_slices)

    def forward(self, volume, *, out=None):
        out = np.empty(self.range_shape, np.float32) if out is None else out
        out[:] = (self.matrix @ volume.reshape(-1, volume.shape[-1])).reshape(self.range_shape)
        return out

    def adjoint(self, sinogram, *, out=None):
        out = np.empty(self.domain_shape, np.float32) if out is None else out
        out[:] = (self.matrix.T @ sinogram.reshape(-1, sinogram.shape[-1])).reshape(self.domain_shape)
        return out


MATRIX = MatrixProjector(GEOMETRY)
SLAB = SlabProjector(GEOMETRY, n_slices=16)


def inverse(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(1, sums, out=np.zeros_like(sums), where=sums > 1e-9)


def oracle(a, y, *, iterations, relaxation=1.0, lower=-np.inf, upper=np.inf, mask=None, x=None):
    """The formula in double precision, for one slice; returns the volumes and the residual norms."""
    inside = np.ones(a.shape[1]) if mask is None else mask.ravel().astype(float)
    path = a @ inside
    if mask is not None:
        for view in np.split(path, GEOMETRY.n_views):
            view[view < 0.3 * np.median(view[view > 0])] = 0
    rows, columns = inverse(path), inverse(a.T @ (path > 0)) * inside
    x = np.zeros(a.shape[1]) if x is None else x.ravel() * inside
    norms = []
    for _ in range(iterations):
        residual = y.ravel() - a @ x
        norms.append(np.linalg.norm(residual))
        x = np.clip(x + relaxation * columns * (a.T @ (rows * residual)), lower, upper) * inside
    return x.reshape(GEOMETRY.thickness, GEOMETRY.width), norms


def disc(radius: float = 5.2) -> NDArray[np.bool_]:
    z, x = np.ogrid[: GEOMETRY.thickness, : GEOMETRY.width]
    return (z - 4) ** 2 + (x - 9) ** 2 < radius**2


def views(seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(3, 2, SLAB.range_shape).astype(np.float32)


OPTIONS = [
    {},
    {"relaxation": 1.7},
    {"lower": 0.0},
    {"lower": 0.1, "upper": 0.4},
    {"mask": True},
    {"mask": True, "lower": 0.1, "relaxation": 0.6},
    {"initial": True},
    {"initial": True, "mask": True, "upper": 0.3},
]


@pytest.mark.parametrize("projector", [MATRIX, SLAB], ids=["matrix", "slab"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_iteration_is_the_formula(projector, options) -> None:
    y = views()
    start = np.random.default_rng(1).normal(0.2, 0.3, SLAB.domain_shape).astype(np.float32)
    ours = dict(options)
    theirs = {key: value for key, value in options.items() if key != "initial"}
    if "mask" in options:
        ours["mask"] = disc()[..., None]
        theirs["mask"] = disc()
    if "initial" in options:
        ours["initial"] = start
        theirs["x"] = start[..., 3]
    kept = start.copy()
    for iterations in range(1, 6):
        found = sirt(projector, y, iterations=iterations, **ours)
        expected, _ = oracle(MATRIX.matrix, y[..., 3], iterations=iterations, **theirs)
        np.testing.assert_allclose(found[..., 3], expected, atol=2e-5 * np.abs(expected).max())
        if "mask" in options:
            assert not found[~disc()].any()
    np.testing.assert_array_equal(start, kept)


def test_the_callback_gets_the_residual_of_the_iterations_done() -> None:
    y = views()
    calls = []
    sirt(SLAB, y, iterations=4, lower=0, callback=lambda k, norm, _: calls.append((k, norm)))
    slices = [oracle(MATRIX.matrix, y[..., s], iterations=4, lower=0)[1] for s in range(16)]
    assert [k for k, _ in calls] == [0, 1, 2, 3]
    np.testing.assert_allclose([norm for _, norm in calls], np.linalg.norm(slices, axis=0), rtol=1e-5)
    assert calls[0][1] == pytest.approx(np.linalg.norm(y.astype(float)), rel=1e-6)
    start = np.random.default_rng(1).random(SLAB.domain_shape, np.float32)
    sirt(SLAB, y, iterations=1, initial=start, callback=lambda k, norm, _: calls.append((k, norm)))
    expected = np.linalg.norm((y - SLAB.forward(start)).astype(float))
    assert calls[-1] == (0, pytest.approx(expected, rel=1e-5))


@pytest.mark.parametrize("mask", [None, disc()[..., None]], ids=["all", "disc"])
def test_sums_of_one_slice_serve_all(mask) -> None:
    wide = SlabProjector(GEOMETRY, n_slices=64)
    one = inverse_sums(SLAB, mask=mask, one_slice=True)
    full = inverse_sums(wide, mask=mask)
    assert one.rows.shape == (7, 19, 1)
    assert one.columns.shape == (11, 16, 1)
    np.testing.assert_array_equal(one.columns > 0, True if mask is None else mask)
    np.testing.assert_array_equal(np.broadcast_to(one.rows, full.rows.shape), full.rows)
    np.testing.assert_array_equal(np.broadcast_to(one.columns, full.columns.shape), full.columns)
    y = np.random.default_rng(3).random(wide.range_shape, np.float32)
    a, b = (sirt(wide, y, iterations=3, mask=mask, sums=sums) for sums in (one, None))
    np.testing.assert_array_equal(a, b)


def test_rays_that_graze_a_mask_are_dropped_and_no_others() -> None:
    mask = disc()[..., None]
    path = (MATRIX.matrix @ disc().ravel()).reshape(7, 19)
    rows = inverse_sums(SLAB, mask=mask, one_slice=True).rows[..., 0]
    for met, kept in zip(path, rows > 0, strict=True):
        np.testing.assert_array_equal(kept, met >= 0.3 * np.median(met[met > 0]))
    assert ((path > 0.01) & (rows == 0)).any()
    everywhere = inverse_sums(SLAB, one_slice=True).rows[..., 0]
    np.testing.assert_array_equal(everywhere > 0, MATRIX.matrix.sum(axis=1).reshape(7, 19) > 1e-6)


def test_a_mask_of_its_own_for_every_slice() -> None:
    rng = np.random.default_rng(4)
    mask = np.repeat(disc()[..., None], 16, axis=-1)
    mask[..., 5] = np.roll(mask[..., 5], 1, axis=0)
    y = rng.normal(3, 2, MATRIX.range_shape).astype(np.float32)
    found = sirt(MATRIX, y, iterations=3, mask=mask)
    assert not found[~mask].any()
    assert found[mask].any()


def test_noiseless_views_are_explained() -> None:
    truth = np.zeros(SLAB.domain_shape, np.float32)
    truth[2:6, 7:12, :8] = 1
    norms: list[float] = []
    found = sirt(
        SLAB, SLAB.forward(truth), iterations=400, lower=0, callback=lambda k, norm, _: norms.append(norm)
    )
    assert norms[-1] < 1e-2 * norms[0]
    assert np.linalg.norm(found - truth) < 0.15 * np.linalg.norm(truth)
    assert not found[..., 8:].any()


def test_backprojection_is_the_first_iteration_and_keeps_densities() -> None:
    y = views()
    np.testing.assert_allclose(backprojection(SLAB, y), sirt(SLAB, y, iterations=1), rtol=1e-6)
    uniform = SLAB.forward(np.full(SLAB.domain_shape, 2.5, np.float32))
    np.testing.assert_allclose(backprojection(SLAB, uniform), 2.5, rtol=1e-5)


def test_what_no_ray_meets_stays_zero() -> None:
    geometry = SliceGeometry(np.array([0.0]), 8, 3, 20)
    projector = SlabProjector(geometry, n_slices=16)
    y = np.ones(projector.range_shape, np.float32)
    for found in (backprojection(projector, y), sirt(projector, y, iterations=2)):
        np.testing.assert_allclose(found[:, 6:14], 1 / 3, rtol=1e-6)
        assert not found[:, :6].any()
        assert not found[:, 14:].any()


@pytest.mark.skipif(not astra_available(), reason="no ASTRA")
@pytest.mark.parametrize(
    "geometry",
    [
        SliceGeometry(np.linspace(-90, 87, 60), 64, 64, 64),
        SliceGeometry(np.linspace(-70, 70, 36), 80, 30, 90),
        SliceGeometry(np.linspace(-60, 66, 30), 71, 41, 50, 2.3),
    ],
    ids=["full", "limited", "offset"],
)
@pytest.mark.parametrize("iterations", [1, 20])
def test_agreement_with_astra(geometry, iterations) -> None:
    z, x = np.ogrid[: geometry.thickness, : geometry.width]
    truth = np.zeros((geometry.thickness, geometry.width, 16), np.float32)
    truth[(z - 12) ** 2 + (x - 30) ** 2 < 81] = 1
    truth[14:22, 35:41] = 2
    projector = SlabProjector(geometry, n_slices=16)
    noise = np.random.default_rng(0).normal(0, 0.5, projector.range_shape).astype(np.float32)
    y = projector.forward(truth) + noise
    found = sirt(projector, y, iterations=iterations, sums=inverse_sums(projector, one_slice=True))
    peer = astra_sirt(np.ascontiguousarray(y[..., 7]), geometry, iterations=iterations)
    assert np.linalg.norm(found[..., 7] - peer) <= 1e-3 * np.linalg.norm(peer)


def test_wrong_requests_are_refused() -> None:
    y = views()
    with pytest.raises(UsageError, match="at least one iteration, not 0"):
        sirt(SLAB, y, iterations=0)
    for relaxation in (0.0, 2.0, -1.0, np.nan):
        with pytest.raises(UsageError, match="between 0 and 2"):
            sirt(SLAB, y, iterations=1, relaxation=relaxation)
    with pytest.raises(UsageError, match="between 1 and 0"):
        sirt(SLAB, y, iterations=1, lower=1, upper=0)
    with pytest.raises(UsageError, match=r"sinogram .*\(7, 18, 16\).*\(7, 19, 16\)"):
        sirt(SLAB, y[:, :18], iterations=1)
    with pytest.raises(UsageError, match=r"mask .*\(11, 16\);"):
        sirt(SLAB, y, iterations=1, mask=disc())
    other = inverse_sums(SlabProjector(SliceGeometry(np.zeros(7), 19, 16, 11), n_slices=16), one_slice=True)
    with pytest.raises(UsageError, match=r"column sums .*\(16, 11, 1\); \(11, 16, 16\)"):
        sirt(SLAB, y, iterations=1, sums=other)
    with pytest.raises(UsageError, match=r"volume .*\(11, 16, 8\)"):
        sirt(SLAB, y, iterations=1, initial=np.zeros((11, 16, 8), np.float32))
