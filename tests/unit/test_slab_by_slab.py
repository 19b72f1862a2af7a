"""Slices shared out to slabs, threads and memory."""

import threading
import time
import tracemalloc
import weakref
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcli.core.errors import DataError, UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.astra import AstraProjector, astra_available
from etcli.core.projectors.slab import SlabProjector
from etcli.core.reconstruction.slab_by_slab import project, reconstruct
from etcli.core.reconstruction.slab_plan import SlabPlan, plan_projection, plan_reconstruction, plan_slabs
from etcli.core.reconstruction.solve import slab_solver
from etcli.core.reconstruction.streamed_backprojection import plan_backprojection
from etcli.core.solvers.backprojection import backprojection, inverse_sums
from etcli.core.solvers.filtered_backprojection import filtered_backprojection
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.sirt import sirt
from etcli.core.solvers.slab_solver import SlabSolver
from tests.threads import wait_until_idle

GEOMETRY = SliceGeometry(np.linspace(-65, 65, 14), 30, 12, 37, -0.8)
SLICES = 70
GIB = 1 << 30
SIRT = SlabSolver(partial(sirt, iterations=3, lower=0), iterative=True)
METHODS = {"sirt": SIRT, "fbp": SlabSolver(filtered_backprojection), "bp": SlabSolver(backprojection)}


def series(seed: int = 0, n_slices: int = SLICES):
    return np.random.default_rng(seed).normal(5, 2, (14, n_slices, 30)).astype(np.float32)


def slabs_of(width: int, n_slices: int = SLICES, threads: int = 1) -> SlabPlan:
    return SlabPlan(tuple((y, min(y + width, n_slices)) for y in range(0, n_slices, width)), threads, 0)


def run(views, method, plan, geometry=GEOMETRY, **options):
    """Reconstruct from an array into an array, which begins as NaN."""
    shape = (geometry.thickness, views.shape[1], geometry.width)
    volume = np.full(shape, np.nan, np.float32)

    def write(y0, block):
        assert block.dtype == np.float32
        assert np.isnan(volume[:, y0 : y0 + block.shape[1]]).all()
        volume[:, y0 : y0 + block.shape[1]] = block

    curve = reconstruct(lambda y0, y1: views[:, y0:y1], write, geometry, method, plan=plan, **options)
    return volume, curve


def one_by_one(views, solve):
    """The same with a slab for every slice, the slice in its middle."""
    projector = SlabProjector(GEOMETRY, n_slices=16)
    volume = np.empty((12, views.shape[1], 37), np.float32)
    for y in range(views.shape[1]):
        slab = np.zeros(projector.range_shape, np.float32)
        slab[..., 8] = views[:, y]
        volume[:, y] = solve(projector, slab)[..., 8]
    return volume


@pytest.mark.parametrize("name", METHODS)
def test_a_slice_is_the_same_in_any_slab_on_any_thread(name) -> None:
    method, views = METHODS[name], series()
    expected = one_by_one(views, method.solve)
    assert np.abs(expected).max() > 0.1
    for plan in (slabs_of(16), slabs_of(64), slabs_of(23, threads=3), slabs_of(5, threads=2)):
        volume, _ = run(views, method, plan)
        np.testing.assert_array_equal(volume, expected)


def test_sums_of_the_geometry_are_shared_by_all_slabs() -> None:
    shared = replace(SIRT, sums=partial(inverse_sums, one_slice=True))
    views = series()
    (volume, curve), (expected, all_sums) = run(views, shared, slabs_of(64)), run(views, SIRT, slabs_of(64))
    np.testing.assert_array_equal(volume, expected)
    np.testing.assert_allclose(curve.residual, all_sums.residual, rtol=1e-12)


def test_the_error_curve_is_that_of_the_whole_series() -> None:
    views = series()
    _, curve = run(views, SIRT, slabs_of(16, threads=2))
    norms: list[float] = []
    projector = SlabProjector(GEOMETRY, n_slices=64)
    squares = np.zeros(3)
    for y0 in (0, 64):
        slab = np.zeros(projector.range_shape, np.float32)
        part = views[:, y0 : y0 + 64].transpose(0, 2, 1)
        slab[..., : part.shape[-1]] = part
        norms.clear()
        sirt(projector, slab, iterations=3, lower=0, callback=lambda k, norm, _: norms.append(norm))
        squares += np.square(norms)
    assert curve.iteration.tolist() == [0, 1, 2]
    curve = curve.residual
    np.testing.assert_allclose(curve, np.sqrt(squares) / np.linalg.norm(views.astype(float)), rtol=1e-6)
    assert curve[0] == pytest.approx(1, rel=1e-6)
    assert (np.diff(curve) < 0).all()
    assert run(views, METHODS["bp"], slabs_of(64))[1].residual.size == 0
    np.testing.assert_array_equal(run(0 * views, SIRT, slabs_of(64))[1].residual, 0)


@pytest.mark.parametrize("dtype", ["int8", "<u2", ">i2", ">f4", "float16", "float64", "int32"])
def test_any_real_type_is_read(dtype) -> None:
    views = np.round(series()).astype(dtype)
    as_float, _ = run(views.astype(np.float32), METHODS["bp"], slabs_of(64))
    np.testing.assert_array_equal(run(views, METHODS["bp"], slabs_of(64))[0], as_float)


class Kept(dict):
    """Slabs in memory, as a folder keeps them."""

    def holds(self, slab):
        return slab in self

    def load(self, slab):
        return self[slab]

    def keep(self, slab, finished):
        self[slab] = finished


def test_what_was_finished_is_not_done_again() -> None:
    views, plan = series(), slabs_of(16, threads=2)
    expected, curve = run(views, SIRT, plan)
    kept = Kept()
    assert run(views, SIRT, plan, store=kept)[0].tobytes() == expected.tobytes()
    assert list(kept) == list(plan.slabs)
    for lost in (slice(0, 1), slice(2, 4), slice(0, 5), slice(0, 0)):
        some = Kept(kept)
        missing = plan.slabs[lost]
        for slab in missing:
            del some[slab]
        reads = []

        def read(y0, y1, reads=reads):
            reads.append((y0, y1))
            return views[:, y0:y1]

        volume = np.zeros_like(expected)

        def write(y0, block, volume=volume):
            volume[:, y0 : y0 + block.shape[1]] = block

        again = reconstruct(read, write, GEOMETRY, SIRT, plan=plan, store=some)
        assert volume.tobytes() == expected.tobytes()
        assert again.residual.tolist() == curve.residual.tolist()
        assert sorted(reads) == list(missing)


def test_work_travels_to_other_processes() -> None:
    views, plan = series(), slabs_of(16, threads=2)
    recipe = slab_solver(MethodParameters("sirt", iterations=3, lower=0.0), GEOMETRY)
    expected, curve = run(views, recipe, plan)
    volume = np.zeros_like(expected)

    def write(y0, block):
        volume[:, y0 : y0 + block.shape[1]] = block

    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = reconstruct(Rows(views), write, GEOMETRY, recipe, plan=plan, pool=pool)
    assert volume.tobytes() == expected.tobytes()
    assert found.residual.tolist() == curve.residual.tolist()


@dataclass(frozen=True)
class Rows:
    """Views that can be sent elsewhere."""

    views: np.ndarray

    def __call__(self, y0, y1):
        return self.views[:, y0:y1]


def test_watching_sees_the_volume_after_every_iteration() -> None:
    views, seen = series(), {}

    def watch(slab, k, volume):
        seen[slab, k] = volume[..., 3].copy()

    run(views, SIRT, slabs_of(64), watch=watch)
    assert sorted(seen) == [((y0, y1), k) for y0, y1 in slabs_of(64).slabs for k in range(3)]
    once, _ = run(views, replace(SIRT, solve=partial(sirt, iterations=2, lower=0)), slabs_of(64))
    np.testing.assert_array_equal(seen[(64, 70), 2], once[:, 67])
    assert not seen[(0, 64), 0].any()


def test_blocks_are_written_in_order_on_the_thread_of_the_caller() -> None:
    views, seen, done = series(), [], []

    def write(y0, block):
        seen.append((y0, block.shape, threading.get_ident()))

    plan = slabs_of(16, threads=3)
    reconstruct(
        lambda y0, y1: views[:, y0:y1], write, GEOMETRY, METHODS["bp"], plan=plan, progress=done.append
    )
    here = threading.get_ident()
    assert seen == [(y0, (12, y1 - y0, 37), here) for y0, y1 in plan.slabs]
    assert done == [16, 16, 16, 16, 6]


@pytest.mark.parametrize(
    "geometry", [GEOMETRY, replace(GEOMETRY, thickness=50, width=20, axis_offset_px=3.3)]
)
@pytest.mark.parametrize("plan", [slabs_of(16, threads=2), slabs_of(64)])
def test_projection_of_a_volume(geometry, plan) -> None:
    shape = (geometry.thickness, SLICES, geometry.width)
    volume = np.random.default_rng(1).integers(0, 200, shape).astype(np.uint8)
    views = np.full((14, SLICES, 30), np.nan, np.float32)

    def write(y0, block):
        views[:, y0 : y0 + block.shape[1]] = block

    done: list[int] = []
    project(lambda y0, y1: volume[:, y0:y1], write, geometry, plan=plan, progress=done.append)
    assert sum(done) == SLICES
    projector = SlabProjector(geometry, n_slices=16)
    for y in (0, 15, 16, 47, 69):
        slab = np.repeat(volume[:, y, :, None].astype(np.float32), 16, axis=-1)
        np.testing.assert_array_equal(views[:, y], projector.forward(slab)[..., 0])


def test_a_volume_of_any_size_holds_the_object_where_it_is() -> None:
    wide = replace(GEOMETRY, tilt_deg=np.linspace(-90, 87, 60), n_detector=64, axis_offset_px=2.4)
    found = {}
    for thickness, width in ((41, 45), (30, 70), (64, 33)):
        geometry = replace(wide, thickness=thickness, width=width)
        z, x = np.ogrid[:thickness, :width]
        disc = np.hypot(x - (width - 1) / 2 + 5, z - (thickness - 1) / 2 - 4) < 8
        volume = np.repeat(disc[:, None, :], 3, axis=1)
        views = np.empty((60, 3, 64), np.float32)

        def write(y0, block, views=views):
            views[:, y0 : y0 + block.shape[1]] = block

        project(lambda y0, y1, v=volume: v[:, y0:y1], write, geometry, plan=slabs_of(16, 3))
        for name in ("sirt", "fbp"):
            method = METHODS[name] if name == "fbp" else SlabSolver(partial(sirt, iterations=60))
            slices, _ = run(views, method, slabs_of(16, 3), geometry)
            found[name] = slices[:, 1]
            assert np.linalg.norm(found[name] - disc) < 0.35 * np.linalg.norm(disc)
            middle = [float((found[name] * a).sum() / found[name].sum()) for a in (z, x)]
            assert middle == pytest.approx([(thickness - 1) / 2 + 4, (width - 1) / 2 - 5], abs=0.3)


@pytest.mark.skipif(not astra_available(), reason="no ASTRA")
def test_another_projector_can_do_the_work() -> None:
    views = series()[:, :18]
    ours, _ = run(views, SIRT, slabs_of(16, 18))
    theirs, _ = run(views, SIRT, slabs_of(16, 18), make_projector=AstraProjector)
    assert 0 < np.abs(ours - theirs).max() < 1e-3 * np.abs(ours).max()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_working_set_is_what_was_planned(method, threads) -> None:
    geometry = SliceGeometry(np.linspace(-60, 60, 16), 96, 80, 96)
    n_slices = 256
    sums = inverse_sums(SlabProjector(geometry, n_slices=16), one_slice=True)
    chosen = {
        "sirt": SlabSolver(partial(sirt, iterations=2, sums=sums), iterative=True),
        "fbp": SlabSolver(filtered_backprojection),
        "bp": SlabSolver(partial(backprojection, sums=sums)),
    }[method]
    budget = 20 << 20 if threads == 1 else 37 << 20
    plan = plan_reconstruction(n_slices, geometry, chosen, threads=threads, memory=budget)
    assert (plan.threads, plan.slabs[0]) == (threads, (0, 64))
    views = np.random.default_rng(0).random((16, n_slices, 96), np.float32)
    read, written = (lambda y0, y1: views[:, y0:y1]), []

    def write(y0, block):
        written.append(float(block[0, 0, 0]))

    reconstruct(read, write, geometry, chosen, plan=plan)  # compiles
    tracemalloc.start()
    try:
        reconstruct(read, write, geometry, chosen, plan=plan)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert plan.working_bytes <= budget
    # Two threads share the plan, but their peaks need not come at the same time.
    assert 0.4 * plan.working_bytes / threads < peak < plan.working_bytes + (1 << 20)


def test_a_block_is_gone_once_it_is_written() -> None:
    views, written = series(), []

    def read(y0, y1):
        assert all(block() is None for block in written)
        return views[:, y0:y1]

    def write(y0, block):
        written.append(weakref.ref(block))

    reconstruct(read, write, GEOMETRY, METHODS["bp"], plan=slabs_of(16))
    volume = np.zeros((12, SLICES, 37), np.float32)
    project(lambda y0, y1: (read(y0, y1), volume[:, y0:y1])[1], write, GEOMETRY, plan=slabs_of(16))
    assert len(written) == 10


def test_a_failure_stops_the_work() -> None:
    views = series()
    reads: list[int] = []

    def read(y0, y1):
        reads.append(y0)
        return views[:, y0:y1]

    def full(y0, block):
        raise OSError(28, "no space left on device")

    with pytest.raises(OSError, match="no space"):
        reconstruct(read, full, GEOMETRY, METHODS["bp"], plan=slabs_of(5, threads=2))
    wait_until_idle(2)
    assert len(reads) <= 4
    # A solver in the middle of its iterations is told at the next one.
    counted: list[int] = []

    def endless(projector, sinogram, callback):
        for k in range(1000):
            callback(k, 1.0, sinogram)
            counted.append(k)
            time.sleep(0.01 if y_of(sinogram) else 0)
            if not y_of(sinogram):
                return np.zeros(projector.domain_shape, np.float32)

    def y_of(sinogram):
        return bool(sinogram[0, 0, 0])

    views[:] = 1
    views[:, :16] = 0
    method = SlabSolver(endless, iterative=True)
    with pytest.raises(OSError, match="no space"):
        reconstruct(read, full, GEOMETRY, method, plan=slabs_of(16, threads=2))
    wait_until_idle(2)
    assert len(counted) < 500
    views = series()
    with pytest.raises(
        DataError, match=r"rows 17-32 of the views have the shape \(14, 16, 29\); \(14, 16, 30\)"
    ):
        reconstruct(
            lambda y0, y1: views[:, y0:y1, 1:] if y0 else views[:, y0:y1],
            lambda y0, block: None,
            GEOMETRY,
            METHODS["bp"],
            plan=slabs_of(16),
        )
    with pytest.raises(DataError, match="of the volume"):
        project(lambda y0, y1: views[:, y0:y1], full, GEOMETRY, plan=slabs_of(16))


@settings(max_examples=300, deadline=None)
@given(
    n_slices=st.integers(1, 3000),
    slice_bytes=st.integers(1, 1 << 26),
    block_bytes=st.integers(1, 1 << 25),
    threads=st.integers(1, 64),
    memory=st.integers(1 << 20, 64 << 30),
)
def test_plans_cover_all_slices_once_within_the_memory(
    n_slices, slice_bytes, block_bytes, threads, memory
) -> None:
    limits = {"slice_bytes": slice_bytes, "block_bytes": block_bytes, "threads": threads}
    try:
        plan = plan_slabs(n_slices, memory=memory, **limits)
    except UsageError as error:
        assert 16 * (slice_bytes + block_bytes) > memory
        least = int(str(error).split("takes ")[1].split("M")[0]) << 20
        assert least - (1 << 20) < 16 * (slice_bytes + block_bytes) <= least
        assert plan_slabs(n_slices, memory=least, **limits).working_bytes <= least
        return
    assert [y for y0, y1 in plan.slabs for y in range(y0, y1)] == list(range(n_slices))
    assert 1 <= plan.threads <= min(threads, len(plan.slabs))
    assert plan.working_bytes <= memory
    assert plan.working_bytes >= plan.slabs[0][1] * (plan.threads * slice_bytes + block_bytes)


@pytest.mark.parametrize(
    ("n_slices", "threads", "memory", "first", "used"),
    [
        (1024, 2, 8 * GIB, 64, 2),
        (1024, 16, 64 * GIB, 64, 16),
        (128, 4, 64 * GIB, 32, 4),
        (128, 16, 64 * GIB, 16, 8),
        (40, 2, 64 * GIB, 32, 2),
        (1, 2, 64 * GIB, 1, 1),
        (1024, 2, 300 << 20, 32, 2),
        (1024, 2, 150 << 20, 16, 2),
        (1024, 2, 100 << 20, 16, 1),
        (1024, 1, 300 << 20, 64, 1),
        (1024, 1, 150 << 20, 32, 1),
    ],
)
def test_slabs_are_wide_unless_threads_or_memory_forbid(n_slices, threads, memory, first, used) -> None:
    plan = plan_slabs(n_slices, slice_bytes=3 << 20, block_bytes=1 << 20, threads=threads, memory=memory)
    assert (plan.slabs[0], plan.threads) == ((0, first), used)


def test_memory_that_is_taken_otherwise_is_not_planned_with() -> None:
    geometry = SliceGeometry(np.linspace(-60, 60, 61), 1024, 1024, 1024)
    held = 64 << 20
    alone = plan_reconstruction(512, geometry, SIRT, threads=2, memory=GIB)
    beside = plan_reconstruction(512, geometry, SIRT, threads=2, memory=GIB + held, held_bytes=held)
    assert beside == replace(alone, working_bytes=alone.working_bytes + held)
    with pytest.raises(UsageError, match="takes 264M of memory"):
        plan_reconstruction(512, geometry, SIRT, threads=2, memory=100 << 20, held_bytes=held)
    alone = plan_backprojection(512, geometry, threads=2, memory=GIB)
    beside = plan_backprojection(512, geometry, threads=2, memory=GIB + held, held_bytes=held)
    assert beside == replace(alone, working_bytes=alone.working_bytes + held)


def test_large_volumes_fit_in_two_gigabytes() -> None:
    geometry = SliceGeometry(np.linspace(-60, 60, 61), 1024, 1024, 1024)
    plan = plan_reconstruction(512, geometry, SIRT, threads=2, memory=2 * GIB)
    assert (plan.threads, plan.slabs[0]) == (2, (0, 64))
    volume, views = 1024 * 1024 * 4, 61 * 1024 * 4
    assert plan.working_bytes == 64 * (2 * (2 * views + 2 * volume) + volume)
    assert plan_projection(512, geometry, threads=2, memory=2 * GIB).working_bytes == 64 * (
        2 * (2 * views + 2 * volume) + views
    )
    greedy = replace(SIRT, volumes=6)
    assert plan_reconstruction(512, geometry, greedy, threads=2, memory=2 * GIB).slabs[0] == (0, 32)
    with pytest.raises(
        UsageError, match="16 slices takes 200M of memory, but only 100M are allowed; allow 200M"
    ):
        plan_reconstruction(512, geometry, SIRT, threads=2, memory=100 << 20)
    for wrong in ({"n_slices": 0, "threads": 1}, {"n_slices": 3, "threads": 0}):
        with pytest.raises(UsageError, match="at least one"):
            plan_slabs(slice_bytes=1, block_bytes=1, memory=GIB, **wrong)
