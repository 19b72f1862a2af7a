"""The multislice misfit: its gradient, the rotation with its adjoint, and the kernels against arrays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcli.core.errors import DataError
from etcli.core.multislice._waves import AMPLITUDE, POISSON
from etcli.core.multislice.array_model import ArrayModel
from etcli.core.multislice.misfit import MultisliceMisfit
from etcli.core.multislice.model import MultisliceModel, wave_geometry
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.multislice.rotation import INTERPOLATIONS, make_rotation
from etcli.core.multislice.wave_workspace import WaveGeometry, fast_size, focus_factors, lens_function

OPTICS = PhaseContrastOptics(300.0, aperture_mrad=19.0, cs_mm=0.01, astigmatism_A=20.0, astigmatism_deg=30.0)
SMALL = WaveGeometry((10, 12), (18, 15), (24, 20), n_slabs=3, n_binned=4, pixel_A=0.5)


def transfer(geometry: WaveGeometry, defocus_A: float, shift_px: tuple[float, float] = (0, 0)) -> np.ndarray:
    """Whole transfer function from the last slab to an image."""
    (x,), (y,) = focus_factors(geometry, OPTICS, np.array([defocus_A]), np.array([shift_px]))
    return lens_function(geometry, OPTICS, defocus_A)[:, : geometry.wave[1]] * np.outer(x, y).astype(complex)


def scene(geometry: WaveGeometry, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random phases of the slabs of a tilt, transfer functions at two defoci, and images of other phases."""
    rng = np.random.default_rng(seed)
    phases = rng.normal(0, 0.3, (1, geometry.n_slabs, *geometry.volume))
    transfers = np.array([[transfer(geometry, d) for d in (150.0, 400.0)]])
    return phases, transfers, rng.uniform(0.2, 1.5, (1, 2, *geometry.image))


def double_model(geometry: WaveGeometry) -> ArrayModel:
    """The model in double precision."""
    return ArrayModel(geometry, OPTICS.propagator(geometry.grid, geometry.slab_A))


@pytest.mark.parametrize("likelihood", [POISSON, AMPLITUDE])
def test_gradient_by_finite_differences(likelihood: int) -> None:
    phases, transfers, images = scene(SMALL)
    model = double_model(SMALL)

    def misfit(phases: np.ndarray) -> float:
        found = model.intensities(phases, transfers)
        if likelihood == AMPLITUDE:
            return ((np.sqrt(found) - np.sqrt(images)) ** 2).sum() / 2
        return (found - images + images * np.log(images / found)).sum() / 2

    gradient, costs = model.gradient(phases, transfers, images, likelihood)
    root = np.sqrt(model.intensities(phases, transfers))
    np.testing.assert_allclose(costs, ((root - np.sqrt(images)) ** 2).sum(axis=(2, 3)))
    rng = np.random.default_rng(7)
    for _ in range(5):
        direction, step = rng.normal(size=phases.shape), 1e-5
        up, down = (misfit(phases + s * direction) for s in (step, -step))
        assert np.vdot(gradient, direction) == pytest.approx((up - down) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("likelihood", ["poisson", "amplitude"])
@pytest.mark.parametrize(("memory", "interpolation"), [(None, "lanczos"), (0, "lanczos"), (None, "shear")])
def test_kernels_agree_with_arrays(likelihood: str, memory: int | None, interpolation: str) -> None:
    """Of a whole misfit, rotation included; with the waves kept and with the waves computed twice."""
    rng = np.random.default_rng(3)
    volume = rng.uniform(0, 60, (18, 14, 12)).astype(np.float32)
    images = rng.uniform(0.2, 1.5, (4, 15, 21)).astype(np.float32)
    tilt, defocus = [-30.0, -30.0, 50.0, 50.0], [150.0, 400.0, 150.0, 150.0]
    shift = np.array([[0.0, 0.0], [0.5, -1.25], [0.0, 0.0], [3.0, 0.0]])
    misfit = MultisliceMisfit(
        images, tilt, defocus, OPTICS, pixel_A=0.5, shape=volume.shape, binned_slices=4,
        likelihood=likelihood, shift_px=shift, memory=memory, interpolation=interpolation,
    )  # fmt: skip
    gradient, cost = misfit.gradient(volume)
    geometry, rotation = misfit.model.geometry, misfit.model.rotation
    model = double_model(geometry)
    expected, expected_cost = np.zeros(volume.shape), 0.0
    for theta in (-30.0, 50.0):
        matrix = rotation.matrix(theta)
        phases = np.zeros((geometry.n_slabs, *geometry.volume), np.float32)
        rotation.slabs(volume, matrix, phases, scale=misfit.model.radians_per_V)
        chosen = [k for k in range(4) if tilt[k] == theta]
        transfers = [transfer(geometry, defocus[k], tuple(shift[k])) for k in chosen]
        derivatives, costs = model.gradient(
            phases.astype(float)[np.newaxis],
            np.array([transfers]),
            images[chosen].swapaxes(1, 2).astype(float)[np.newaxis],
            POISSON if likelihood == "poisson" else AMPLITUDE,
        )
        back = np.zeros(volume.shape, np.float32)
        rotation.add_adjoint(derivatives[0].astype(np.float32), rotation.transpose(matrix), back)
        expected += misfit.model.radians_per_V * back
        expected_cost += costs.sum()
    assert cost == pytest.approx(expected_cost**0.5, rel=1e-5)
    np.testing.assert_allclose(gradient, expected, atol=2e-5 * np.abs(expected).max())


def test_descent_is_a_step_along_the_gradient() -> None:
    rng = np.random.default_rng(4)
    volume = rng.uniform(0, 20, (8, 8, 8)).astype(np.float32)
    images = rng.uniform(0.5, 1.5, (20, 16, 16)).astype(np.float32)
    tilts = np.repeat(np.arange(10) * 15.0, 2)
    for threads in (1, 2):
        misfit = MultisliceMisfit(
            images, tilts, np.tile([100.0, 300.0], 10), OPTICS, pixel_A=0.5, shape=volume.shape,
            binned_slices=4, threads=threads,
        )  # fmt: skip
        cost, step = misfit.residual(volume), 5 / misfit.norm
        for views in (range(10), range(3)):  # more and fewer tilts than are held at the same time
            part = misfit.of_views(list(views))
            moved, own = volume.copy(), part.gradient(volume)[0]
            assert part.descend(moved, step) == pytest.approx(part.residual(volume), rel=1e-6)
            np.testing.assert_allclose(moved, volume - step * own, atol=1e-6 * np.abs(moved).max())
        assert misfit.residual(volume) == pytest.approx(cost, rel=1e-6)


@given(
    theta=st.floats(-90, 90),
    interpolation=st.sampled_from(INTERPOLATIONS),
    plane=st.tuples(st.integers(4, 15), st.integers(4, 15)),
    binned=st.integers(1, 5),
    seed=st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_rotation_has_an_exact_adjoint(
    theta: float, interpolation: str, plane: tuple[int, int], binned: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    n_slabs = -(-max(plane) // binned)
    rotation = make_rotation(plane, max(plane), n_slabs, binned, interpolation)
    volume = rng.normal(size=(*plane, 3)).astype(np.float32)
    slabs = rng.normal(size=(n_slabs, max(plane), 3)).astype(np.float32)
    matrix = rotation.matrix(theta)
    there, back = np.zeros_like(slabs), np.zeros_like(volume)
    rotation.slabs(volume, matrix, there)
    rotation.add_adjoint(slabs, rotation.transpose(matrix), back)
    forward, adjoint = np.vdot(there.astype(float), slabs), np.vdot(volume.astype(float), back)
    rounding = float(2e-7 * np.linalg.norm(there) * np.linalg.norm(slabs))
    assert forward == pytest.approx(adjoint, rel=1e-6, abs=rounding)


@pytest.mark.parametrize("interpolation", ["lanczos", "shear"])
@pytest.mark.parametrize("theta", [-90.0, 0.0, 90.0])
def test_quarter_turns_only_move_voxels(theta: float, interpolation: str) -> None:
    """At ±90° as well, where cosines are not exactly 0; slabs of two slices."""
    volume = np.random.default_rng(0).normal(size=(8, 8, 2)).astype(np.float32)
    slabs = np.zeros((4, 8, 2), np.float32)
    rotation = make_rotation((8, 8), 8, 4, 2, interpolation)
    rotation.slabs(volume, rotation.matrix(theta), slabs)
    # a voxel at (x, z) is seen at x' = x cos + z sin, z' = -x sin + z cos
    turned = {0.0: volume, 90.0: volume[:, ::-1].swapaxes(0, 1), -90.0: volume[::-1].swapaxes(0, 1)}[theta]
    np.testing.assert_allclose(slabs, turned.reshape(4, 2, 8, 2).sum(axis=1), atol=1e-5)


@pytest.mark.parametrize(
    ("interpolation", "worst"), [("linear", 0.16), ("cubic", 0.06), ("lanczos", 0.025), ("shear", 0.012)]
)
def test_accuracy_of_the_rotation(interpolation: str, worst: float) -> None:
    """A Gaussian atom with a standard deviation of a voxel against the atom at its rotated place."""
    n, sigma = 32, 1.0
    grid = np.arange(n) - (n - 1) / 2
    rotation = make_rotation((n, n), n, n, 1, interpolation)
    errors = []
    for theta in (7.0, 31.0, 45.0, 73.0):
        c, s = np.cos(np.deg2rad(theta)), np.sin(np.deg2rad(theta))
        x, z = 4.3, -6.8
        atom, turned = (
            np.exp(-((grid[:, None] - b) ** 2 + (grid - a) ** 2) / (2 * sigma**2))
            for a, b in ((x, z), (x * c + z * s, -x * s + z * c))
        )
        slabs = np.zeros((n, n, 1), np.float32)
        rotation.slabs(atom[..., np.newaxis].astype(np.float32), rotation.matrix(theta), slabs)
        errors.append(np.linalg.norm(slabs[..., 0] - turned) / np.linalg.norm(turned))
    assert worst / 3 < max(errors) < worst


@pytest.mark.parametrize("plane", [(24, 24), (23, 20)])
def test_shears_are_undone_by_shears(plane: tuple[int, int]) -> None:
    """An atom within the circle that no rotation cuts off; interpolating rotations lose ten times as much."""
    z, x = (np.arange(n) - (n - 1) / 2 for n in plane)
    atom = np.exp(-((z[:, None] - 3.3) ** 2 + (x + 2.6) ** 2) / 2)[..., np.newaxis].astype(np.float32)
    lost = {}
    for name in ("shear", "lanczos"):
        rotation = make_rotation(plane, 24, 24, 1, name)
        matrix = rotation.matrix(-62.0)
        there, back = np.zeros((24, 24, 1), np.float32), np.zeros_like(atom)
        rotation.slabs(atom, matrix, there)
        rotation.add_adjoint(there, rotation.transpose(matrix), back)
        lost[name] = np.linalg.norm(back - atom) / np.linalg.norm(atom)
    assert lost["shear"] < 6e-3 and lost["lanczos"] > 3e-2


def test_an_atom_is_seen_where_the_geometry_puts_it() -> None:
    """In the image of a smaller volume of another parity, at every tilt and after a shift."""
    n, at = 17, (2.0, -4.0, 3.0)
    volume = np.zeros((n, n, n), np.float32)
    grid = np.arange(n) - (n - 1) / 2
    x, y, z = at
    blob = np.exp(-((grid - z)[:, None, None] ** 2 + (grid - x)[:, None] ** 2 + (grid - y) ** 2) / 2)
    volume[:] = 30 * blob
    tilts = np.array([-60.0, 0.0, 40.0, 90.0])
    shift = np.array([[0, 0], [0, 0], [1.5, -2.0], [0, 0]])
    misfit = MultisliceMisfit(
        np.ones((4, 40, 44), np.float32), tilts, np.full(4, 150.0), PhaseContrastOptics(300.0), pixel_A=0.5,
        shape=volume.shape, binned_slices=1, shift_px=shift,
    )  # fmt: skip
    for k, theta in enumerate(tilts):
        image = np.abs(misfit.image(volume, k) - 1)
        assert image.shape == (40, 44)
        weight = image**2
        row, column = (
            float((weight * (np.arange(m) - (m - 1) / 2).reshape(s)).sum() / weight.sum())
            for m, s in ((40, (-1, 1)), (44, (1, -1)))
        )
        across = x * np.cos(np.deg2rad(theta)) + z * np.sin(np.deg2rad(theta))
        assert column == pytest.approx(across + shift[k, 0], abs=0.02)
        assert row == pytest.approx(y + shift[k, 1], abs=0.02)


def test_images_are_grouped_by_tilt_in_any_order() -> None:
    images = np.ones((5, 8, 8), np.float32)
    misfit = MultisliceMisfit(
        images, [10.0, -5.0, 10.004, -5.0, 30.0], [100, 200, 300, 400, 500.0], OPTICS, pixel_A=0.5,
        shape=(8, 8, 8),
    )  # fmt: skip
    assert [group.tolist() for group in misfit.tilts] == [[1, 3], [0, 2], [4]]
    assert misfit.tilt_deg.tolist() == [-5.0, 10.0, 30.0]
    with pytest.raises(DataError, match="5 images need as many tilt angles and defoci, not 4 and 5"):
        MultisliceMisfit(images, [0.0] * 4, [100.0] * 5, OPTICS, pixel_A=0.5, shape=(8, 8, 8))


def test_sizes_of_waves() -> None:
    assert [fast_size(n) for n in (64, 97, 113, 161, 257, 500)] == [64, 128, 128, 192, 288, 512]
    geometry = wave_geometry((60, 64, 50), (96, 80), 0.5, PhaseContrastOptics(300.0), 8, 1000.0)
    # 19.7 Å of delocalisation at 1 1/Å, a third of it on both sides, and the volume within
    assert geometry.volume == (64, 50) and geometry.image == (80, 96) and geometry.n_slabs == 8
    assert geometry.wave == (128, 128)
    assert geometry.exit_plane_A == pytest.approx((64 / 2 - 4) * 0.5)


@pytest.mark.parametrize("cs_mm", [0.0, 1.2])
def test_little_of_the_wave_wraps_round(cs_mm: float) -> None:
    """Images on a wave of the chosen size against those on one that is three times as wide."""
    optics = PhaseContrastOptics(300.0, cs_mm=cs_mm)
    rng, grid = np.random.default_rng(2), np.indices((32, 32, 32)) - 15.5
    volume = np.zeros((32, 32, 32), np.float32)
    for place in rng.uniform(-8, 8, (8, 3)):
        volume += 100 * np.exp(-sum((g - p) ** 2 for g, p in zip(grid, place, strict=True)) / 1.5)
    volume = volume.astype(np.float32)
    images = []
    for size in (64, 192):
        blank = np.ones((1, size, size), np.float32)
        misfit = MultisliceMisfit(blank, [20.0], [300.0], optics, pixel_A=0.5, shape=volume.shape)
        middle = slice((size - 64) // 2, (size + 64) // 2)
        images.append(misfit.image(volume, 0)[middle, middle])
    contrast = np.std(images[1])
    assert np.std(images[0] - images[1]) < 0.05 * contrast


def test_lens_functions_of_refined_defoci_are_not_all_kept() -> None:
    optics = PhaseContrastOptics(300.0, convergence_mrad=0.1)
    geometry = wave_geometry((8, 8, 8), (16, 16), 0.5, optics, 4, 100.0)
    model = MultisliceModel(geometry, (8, 8, 8), optics)
    before = [model.lens(float(d)) for d in range(40)]
    assert len(model._lenses) <= 16 and model.lens(39.0) is before[39]
    np.testing.assert_array_equal(model.lens(3.0), before[3])
