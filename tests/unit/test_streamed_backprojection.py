"""Filtered back-projection in bands of a few sections."""

import threading
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from etcli.core.errors import DataError, UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.slab import SlabProjector, from_slab, to_slab
from etcli.core.reconstruction.slab_plan import SlabPlan
from etcli.core.reconstruction.streamed_backprojection import SECTIONS, backproject, plan_backprojection
from etcli.core.solvers.filtered_backprojection import filtered_backprojection
from tests.threads import wait_until_idle

GEOMETRY = SliceGeometry(np.linspace(-65, 65, 14), 30, 2 * SECTIONS + 5, 37, -0.8)
SLICES = 70
MIB = 1 << 20


def series() -> np.ndarray:
    return np.random.default_rng(0).normal(5, 2, (14, SLICES, 30)).astype(np.float32)


def slabs_of(width: int, threads: int = 1) -> SlabPlan:
    return SlabPlan(tuple((y, min(y + width, SLICES)) for y in range(0, SLICES, width)), threads, 0)


def run(views, plan, **options):
    """Reconstruct into an array, which begins as NaN; return it and where the bands began."""
    volume, begun = np.full((GEOMETRY.thickness, SLICES, 37), np.nan, np.float32), []

    def write(y0, block, *, z0):
        begun.append((y0, z0))
        place = volume[z0 : z0 + block.shape[0], y0 : y0 + block.shape[1]]
        assert threading.current_thread() is threading.main_thread()
        assert np.isnan(place).all()
        assert block.dtype == np.float32
        place[:] = block

    backproject(lambda y0, y1: views[:, y0:y1], write, GEOMETRY, plan=plan, **options)
    return volume, begun


@pytest.mark.parametrize("window", ["ram-lak", "hann"])
def test_bands_are_the_parts_of_the_slab_to_the_last_bit(window) -> None:
    views = series()
    projector = SlabProjector(GEOMETRY, n_slices=64)
    expected = [
        from_slab(filtered_backprojection(projector, part, window=window), n)
        for part, n in (
            (to_slab(views[:, :64]), 64),
            (to_slab(views[:, 64:], out=np.empty((14, 30, 64), "f4")), 6),
        )
    ]
    expected = np.concatenate(expected, axis=1)
    assert np.abs(expected).max() > 0.1
    for plan in (slabs_of(64), slabs_of(16, threads=2), slabs_of(23, threads=3)):
        volume, begun = run(views, plan, window=window)
        np.testing.assert_array_equal(volume, expected)
        starts = range(0, GEOMETRY.thickness, SECTIONS)
        assert begun == [(y0, z0) for y0, _ in plan.slabs for z0 in starts]


def test_rows_of_any_type_and_progress() -> None:
    views, done = np.rint(series()), []
    volume, _ = run(views.astype(np.int16), slabs_of(23), progress=done.append)
    np.testing.assert_array_equal(volume, run(views, slabs_of(23))[0])
    assert done == [23, 23, 23, 1]


def test_memory_is_as_planned_and_independent_of_the_thickness() -> None:
    geometry = SliceGeometry(np.linspace(-60, 60, 61), 256, 512, 256)
    views = np.ones((61, 64, 256), np.float32)
    plan = plan_backprojection(64, geometry, threads=2, memory=1 << 30)
    assert plan.slabs == ((0, 64),)
    assert (
        plan.working_bytes
        == plan_backprojection(64, replace(geometry, thickness=9999), threads=2, memory=1 << 30).working_bytes
    )
    tracemalloc.start()
    try:
        backproject(lambda y0, y1: views[:, y0:y1], lambda y0, block, *, z0: None, geometry, plan=plan)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0.4 * plan.working_bytes < peak < plan.working_bytes + MIB
    narrow = plan_backprojection(64, geometry, threads=2, memory=plan.working_bytes // 2)
    assert narrow.slabs == ((0, 32), (32, 64))
    assert narrow.threads == 2
    with pytest.raises(UsageError, match="takes 5M of memory, but only 4M are allowed"):
        plan_backprojection(64, geometry, threads=2, memory=4 * MIB)


def test_a_failure_stops_the_work() -> None:
    def full(y0, block, *, z0):
        raise OSError(28, "no space left on device")

    reads: list[int] = []

    def read(y0, y1):
        reads.append(y0)
        return series()[:, y0:y1]

    with pytest.raises(OSError, match="no space"):
        backproject(read, full, GEOMETRY, plan=slabs_of(8, threads=2))
    wait_until_idle(2)
    assert len(reads) == 1


def test_what_does_not_fit_is_refused() -> None:
    views = series()
    with pytest.raises(DataError, match=r"rows 17-32 of the views have the shape \(14, 16, 29\)"):
        backproject(
            lambda y0, y1: views[:, y0:y1, 1:] if y0 else views[:, y0:y1],
            lambda y0, block, *, z0: None,
            GEOMETRY,
            plan=slabs_of(16),
        )
    with pytest.raises(UsageError, match="no filter named 'butter'"):
        run(views, slabs_of(16, threads=2), window="butter")
