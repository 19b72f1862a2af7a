"""The code path of GPUs against that of the CPU, on tilt series; tests/gpu.py tells on which devices."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.gpu import GPU
from etcli.core.projectors.slab import HOST, KERNELS, SlabProjector
from etcli.core.projectors.slab_gpu import GpuSlabProjector
from etcli.core.projectors.weighted import WeightedProjector
from etcli.core.reconstruction.cross_validation import leave_out, tuned_weight
from etcli.core.reconstruction.grey_levels import tuned_levels
from etcli.core.reconstruction.slab_by_slab import project, reconstruct
from etcli.core.reconstruction.slab_plan import plan_projection, plan_reconstruction
from etcli.core.reconstruction.solve import slab_solver
from etcli.core.reconstruction.whole_volume import reconstruct_whole
from etcli.core.solvers.accelerated_sirt import accelerated_sirt
from etcli.core.solvers.methods import METHODS, MethodParameters
from etcli.core.solvers.misfit import slab_misfit
from tests.gpu import inner, relative

ANGLES = st.one_of(
    st.sampled_from([0.0, 45.0, -45.0, 90.0, -90.0, 135.0, -135.0, 180.0, -180.0]), st.floats(-400, 400)
)
SIZES = st.integers(1, 40)
GEOMETRIES = st.builds(
    SliceGeometry,
    tilt_deg=st.lists(ANGLES, min_size=1, max_size=7).map(np.array),
    n_detector=SIZES,
    thickness=SIZES,
    width=SIZES,
    axis_offset_px=st.floats(-6, 6),
    z_offset_px=st.floats(-6, 6),
)
GEOMETRY = SliceGeometry(
    np.array([3.0, -61.0, -48.5, 47.0, 58.0, -20.0, 31.5, -5.0, 90.0, 12.0, -33.0, 71.0]),
    45,
    27,
    38,
    1.3,
    -2.1,
)
PROJECTORS = [SlabProjector, GpuSlabProjector]
run = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def noise(shape, seed):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def balls(geometry=GEOMETRY, n_slices=16):
    """A slab of the specimen: two densities, another place in every slice."""
    z, x, k = np.ogrid[: geometry.thickness, : geometry.width, :n_slices]
    near = (z - 9) ** 2 + (x - 11 - k / 2) ** 2 < 36
    return np.float32(1.5) * near + np.float32(0.8) * ((z - 19) ** 2 + (x - 27) ** 2 < 25)


def views_of(volume, geometry=GEOMETRY):
    clean = SlabProjector(geometry, n_slices=volume.shape[-1]).forward(volume.astype(np.float32))
    return clean + np.float32(0.02) * noise(clean.shape, 0)


@pytest.mark.parametrize("kernel", KERNELS)
@run
@given(geometry=GEOMETRIES, seed=st.integers(0, 2**32 - 1), fours=st.integers(1, 3))
def test_projections_are_those_of_the_cpu(gpu, kernel, geometry, seed, fours) -> None:
    here = SlabProjector(geometry, n_slices=16, kernel=kernel)
    there = GpuSlabProjector(geometry, n_slices=4 * fours, kernel=kernel)
    some = (..., slice(4 * fours))
    x, y = noise(here.domain_shape, seed), noise(here.range_shape, seed + 1)
    put = [GPU.put(np.ascontiguousarray(array[some])) for array in (x, y)]
    projected, back = GPU.get(there.forward(put[0])), GPU.get(there.adjoint(put[1]))
    np.testing.assert_allclose(projected, here.forward(x)[some], atol=3e-5)
    np.testing.assert_allclose(back, here.adjoint(y)[some], atol=3e-5)
    # weights of the projection are up to 1 and rounded as such, also where all of a geometry are small
    size = np.sqrt(inner(x[some], x[some]) * inner(y[some], y[some]))
    assert abs(inner(projected, y[some]) - inner(x[some], back)) <= 1e-6 * size
    summed = GPU.get(there.interpolate(put[1], view_weight=np.arange(1.0, geometry.n_views + 1)))
    expected = here.interpolate(y, view_weight=np.arange(1.0, geometry.n_views + 1))
    np.testing.assert_allclose(summed, expected[some], atol=2e-4)


def test_projectors_take_what_they_are_given(gpu) -> None:
    here, there = (make(GEOMETRY, n_slices=32, kernel="strip").of_views([7, 2]) for make in PROJECTORS)
    volume, views = noise(here.domain_shape, 1), noise(here.range_shape, 2)
    out = GPU.zeros(there.range_shape)
    assert there.forward(GPU.put(volume), out=out) is out
    assert relative(out, here.forward(volume)) < 1e-6
    part = there.interpolate(GPU.put(views), sections=(5, 9))
    assert relative(part, here.interpolate(views, sections=(5, 9))) < 1e-6
    for wrong in (GPU.zeros((3, 4, 32)), out[:, ::-1]):
        with pytest.raises(UsageError, match="volume: expected contiguous float32 of shape"):
            there.forward(wrong)
    with pytest.raises(UsageError, match="no sections 5 to 28"):
        there.interpolate(GPU.put(views), sections=(5, 28))
    with pytest.raises(UsageError, match="multiple of 4"):
        GpuSlabProjector(GEOMETRY, n_slices=6)
    with pytest.raises(UsageError, match="'cubic'"):
        GpuSlabProjector(GEOMETRY, n_slices=16, kernel="cubic")


@pytest.mark.parametrize("width", [16, 5])
def test_slabs_come_and_go(gpu, width) -> None:
    rows = noise((7, width, 23), 3)
    slab = GPU.to_slab(rows)
    np.testing.assert_array_equal(GPU.get(slab), HOST.to_slab(rows))
    np.testing.assert_array_equal(GPU.from_slab(slab, width - 1), rows[:, :-1])
    with pytest.raises(UsageError, match="129 slices"):
        GPU.to_slab(noise((1, 129, 2), 0))


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_correction_is_a_back_projection_and_a_step(gpu, kernel) -> None:
    projector = GpuSlabProjector(GEOMETRY, n_slices=16, kernel=kernel)
    views, start = noise(projector.range_shape, 1), noise(projector.domain_shape, 2)
    gain, inside = noise((27, 38, 1), 3), np.random.default_rng(4).random((27, 38, 1)) < 0.7
    volume = GPU.put(start)
    projector.correct(GPU.put(views), volume, GPU.put(gain), GPU.put(inside), np.float32(-2), np.float32(3))
    back = SlabProjector(GEOMETRY, n_slices=16, kernel=kernel).adjoint(views)
    np.testing.assert_allclose(
        GPU.get(volume), np.where(inside, np.clip(start + gain * back, -2, 3), start), atol=2e-5
    )


RECIPES = {
    "sirt": MethodParameters("sirt", iterations=12),
    "sirt within bounds": MethodParameters("sirt", iterations=12, relaxation=1.4, lower=0.0, upper=1.2),
    "sart": MethodParameters("sart", iterations=3, relaxation=0.5, lower=0.0),
    "ordered subsets": MethodParameters("sart", iterations=3, subset_size=5),
    "mlem": MethodParameters("mlem", iterations=8, upper=1.2),
    "cgls": MethodParameters("cgls", iterations=4),
    "resire": MethodParameters("resire", iterations=10),
    "dart": MethodParameters("dart", iterations=3, levels=(0.0, 0.8, 1.5)),
    "fbp": MethodParameters("fbp", window="hann"),
    "bp": MethodParameters("bp"),
}


def slabs(recipe, make, *, views=None, geometry=GEOMETRY, memory=1 << 30, masked=False, **more):
    """Reconstruct 150 rows, so that slabs are of several widths."""
    rows = np.tile(views_of(balls()), (1, 1, 10))[..., :150].swapaxes(1, 2) if views is None else views
    rows = rows * np.linspace(1, 2, rows.shape[1], dtype=np.float32)[:, None]
    volume = np.full((geometry.thickness, rows.shape[1], geometry.width), np.nan, np.float32)

    def write(y0, block):
        volume[:, y0 : y0 + block.shape[1]] = block

    method = slab_solver(recipe, geometry, masked=masked)
    device = make(geometry, n_slices=16).device
    plan = plan_reconstruction(rows.shape[1], geometry, method, threads=2, memory=memory, device=device)
    curve = reconstruct(
        lambda y0, y1: rows[:, y0:y1], write, geometry, method, plan=plan, make_projector=make, **more
    )
    return volume, curve


@pytest.mark.parametrize("name", RECIPES)
def test_methods_give_what_they_give_on_the_cpu(gpu, name) -> None:
    (expected, curve), (found, other) = (slabs(RECIPES[name], make) for make in PROJECTORS)
    if name == "dart":  # a density at a threshold may fall into either class
        assert np.mean(found != expected) < 2e-3
    else:
        assert relative(found, expected) < 2e-5
    np.testing.assert_array_equal(other.iteration, curve.iteration)
    np.testing.assert_allclose(other.residual, curve.residual, rtol=5e-3 if name == "dart" else 1e-4)


def test_a_slice_knows_nothing_of_its_slab(gpu) -> None:
    wide, _ = slabs(RECIPES["cgls"], GpuSlabProjector)
    rows = (
        np.tile(views_of(balls()), (1, 1, 10))[..., :20].swapaxes(1, 2)
        * np.linspace(1, 2, 150, dtype=np.float32)[:20, None]
    )
    geometry = GEOMETRY
    method = slab_solver(RECIPES["cgls"], geometry)
    alone = method.solve(GpuSlabProjector(geometry, n_slices=32), GPU.to_slab(np.ascontiguousarray(rows)))
    np.testing.assert_array_equal(GPU.from_slab(alone, 20), wide[:, :20])


def test_mask_and_initial_volume(gpu) -> None:
    mask = np.zeros((GEOMETRY.thickness, 150, GEOMETRY.width), np.float32)
    mask[3:25, :, 4:35] = 1
    start = noise(mask.shape, 4)
    volumes = {"mask": lambda y0, y1: mask[:, y0:y1], "initial": lambda y0, y1: start[:, y0:y1]}
    expected, found = (slabs(RECIPES["sirt"], make, masked=True, volumes=volumes)[0] for make in PROJECTORS)
    assert relative(found, expected) < 2e-5


@pytest.mark.parametrize("method", ["sirt", "sart", "fbp", "cgls"])
def test_weights_of_views(gpu, method) -> None:
    geometry = replace(GEOMETRY, view_weight=np.linspace(0.5, 2, 12, dtype=np.float32))
    recipe = MethodParameters(method, iterations=0 if method == "fbp" else 3)
    makes = [partial(WeightedProjector, make=make) for make in PROJECTORS]
    expected, found = (slabs(recipe, make, geometry=geometry)[0] for make in makes)
    assert relative(found, expected) < 2e-5


def test_watching_gives_arrays_of_the_host(gpu) -> None:
    seen = []
    slabs(RECIPES["sirt"], GpuSlabProjector, watch=lambda slab, k, volume: seen.append(type(volume)))
    assert set(seen) == {np.ndarray}


@pytest.mark.parametrize("prior", ["tv", "l1", "none"])
@pytest.mark.parametrize("subsets", [False, True])
def test_priors_give_what_they_give_on_the_cpu(gpu, prior, subsets) -> None:
    rows = np.ascontiguousarray(views_of(balls(n_slices=16)).swapaxes(1, 2))[:, :13]
    geometry = GEOMETRY
    if not subsets:
        rows, geometry = rows[:9], geometry.of_views(np.arange(9))
    recipe = MethodParameters(
        "fista", iterations=8, prior=prior, weight=0.0 if prior == "none" else 3.0, lower=0.0
    )
    (expected, curve), (found, other) = (
        reconstruct_whole(slab_misfit(rows, geometry, make_projector=make), recipe, zeros=zeros)
        for make, zeros in zip(PROJECTORS, (HOST.zeros, GPU.zeros), strict=True)
    )
    assert relative(found[..., :13], expected[..., :13]) < 2e-5
    np.testing.assert_allclose(other.residual, curve.residual, rtol=1e-4)


def test_parameters_find_themselves(gpu) -> None:
    rows = np.ascontiguousarray(views_of(balls(n_slices=16)).swapaxes(1, 2))
    found = []
    for make, zeros in zip(PROJECTORS, (HOST.zeros, GPU.zeros), strict=True):
        series = slab_misfit(rows, GEOMETRY, make_projector=make)
        recipe, _ = tuned_weight(MethodParameters("fista", iterations=5), leave_out(series), zeros=zeros)
        levels = tuned_levels(MethodParameters("dart", levels=(0.0, 1.0)), series, 3).levels
        found.append([recipe.weight, *levels[1:]])
    np.testing.assert_allclose(found[1], found[0], rtol=2e-2)


def test_sirt_with_momentum(gpu) -> None:
    views = views_of(balls())
    expected = accelerated_sirt(SlabProjector(GEOMETRY, n_slices=16), views, iterations=12, lower=0.0)
    found = accelerated_sirt(
        GpuSlabProjector(GEOMETRY, n_slices=16), GPU.put(views), iterations=12, lower=0.0
    )
    assert relative(found, expected) < 2e-5


def test_reprojection(gpu) -> None:
    volume = noise((GEOMETRY.thickness, 21, GEOMETRY.width), 8)
    found = []
    for make in PROJECTORS:
        views = np.empty((12, 21, 45), np.float32)

        def write(y0, block, views=views):
            views[:, y0 : y0 + block.shape[1]] = block

        device = make(GEOMETRY, n_slices=16).device
        plan = plan_projection(21, GEOMETRY, threads=1, memory=1 << 30, device=device)
        project(lambda y0, y1: volume[:, y0:y1], write, GEOMETRY, plan=plan, make_projector=make)
        found.append(views)
    assert relative(found[1], found[0]) < 1e-6


def test_slabs_are_as_wide_as_both_memories_allow(gpu, monkeypatch) -> None:
    method = slab_solver(MethodParameters("sirt"), GEOMETRY)
    slice_bytes = 4 * GEOMETRY.thickness * GEOMETRY.width
    plan = partial(plan_reconstruction, 512, GEOMETRY, method, threads=8, device=GPU)
    assert plan(memory=1 << 30).slabs[0] == (0, 128)
    assert plan(memory=1 << 30).threads == 2
    assert plan(memory=40 * 5 * slice_bytes).slabs[0][1] < 128
    with pytest.raises(UsageError, match="on their way to the GPU and back"):
        plan(memory=16 * slice_bytes)
    monkeypatch.setattr(GPU, "free_bytes", lambda: 64 * 12 * slice_bytes)
    assert plan(memory=1 << 30).slabs[0][1] < 128
    monkeypatch.setattr(GPU, "free_bytes", lambda: slice_bytes)
    with pytest.raises(UsageError, match="one slab of 16 slices takes"):
        plan(memory=1 << 30)


@pytest.mark.parametrize("name", RECIPES)
def test_a_slab_takes_the_memory_that_was_planned(stand_in, name) -> None:
    import cupy

    method = slab_solver(RECIPES[name], GEOMETRY)
    plan = plan_reconstruction(32, GEOMETRY, method, threads=1, memory=1 << 30, device=GPU)
    before = cupy.Memory.used
    cupy.Memory.peak = before
    slabs(
        RECIPES[name],
        GpuSlabProjector,
        views=np.ascontiguousarray(views_of(balls(n_slices=32)).swapaxes(1, 2)),
    )
    assert cupy.Memory.peak - before <= 1.1 * plan.working_bytes + (1 << 16)
    by_slab = {name for name, method in METHODS.items() if not method.whole_volume}
    assert by_slab <= {recipe.method for recipe in RECIPES.values()}
