"""Slab plans: how slices are divided into slabs and threads within a memory budget."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.projectors import Device, Projector
from etcli.core.projectors.slab import COST, HOST
from etcli.core.solvers.slab_solver import SlabSolver

FLOAT_BYTES = 4
AT_ONCE = 2
"""Number of slabs on a GPU at the same time."""

Array = NDArray[np.float32]
Slab = tuple[int, int]


class ProjectorFactory(Protocol):
    """Projector factory for slabs, such as `SlabProjector` itself."""

    def __call__(self, geometry: SliceGeometry, *, n_slices: int) -> Projector:
        """Create the projector for slabs of `n_slices` slices."""


@dataclass(frozen=True)
class SlabPlan:
    """Plan of a reconstruction or projection: slabs, threads and memory.

    Parameters
    ----------
    slabs : tuple of (int, int)
        First slice and the one after the last of every slab, in order.
    threads : int
        Number of slabs processed at the same time.
    working_bytes : int
        Largest memory use.
    """

    slabs: tuple[Slab, ...]
    threads: int
    working_bytes: int


def plan_slabs(
    n_slices: int,
    *,
    slice_bytes: int,
    block_bytes: int,
    threads: int,
    memory: int,
    shared_bytes: int = 0,
    widths: Mapping[int, float] = COST,
) -> SlabPlan:
    """Divide slices into slabs and threads so that the work is finished soonest within the memory budget.

    Parameters
    ----------
    n_slices : int
        Slices along the tilt axis.
    slice_bytes : int
        Memory for processing a slab, per slice.
    block_bytes : int
        Memory of a finished slice; one finished slab at a time waits for the writer.
    threads : int
        Threads allowed.
    memory : int
        Bytes allowed.
    shared_bytes : int
        Memory that is needed once, whatever the number of slabs.
    widths : mapping of int to float
        Possible numbers of slices of a slab, ascending, and the relative time that such a slab takes.

    Returns
    -------
    SlabPlan
        Slabs as wide as possible, unless threads would be idle or the memory exceeded.

    Raises
    ------
    UsageError
        When there are no slices or threads, or one narrow slab on one thread needs more memory; the message
        says how much.
    """
    if min(n_slices, threads) < 1:
        raise UsageError(f"{n_slices} slices on {threads} threads are no work; give at least one of each")
    plans = []
    for width in sorted(widths, reverse=True):
        slabs = tuple((y, min(y + width, n_slices)) for y in range(0, n_slices, width))
        largest_width = _fitting_width(widths, slabs[0][1])
        n_threads = min(
            threads, len(slabs), ((memory - shared_bytes) // largest_width - block_bytes) // slice_bytes
        )
        if n_threads > 0:
            plans.append(
                SlabPlan(
                    slabs, n_threads, shared_bytes + largest_width * (n_threads * slice_bytes + block_bytes)
                )
            )
    if not plans:
        narrowest = min(widths)
        least = ceil((shared_bytes + narrowest * (slice_bytes + block_bytes)) / (1 << 20))
        raise UsageError(
            f"one slab of {narrowest} slices takes {least}M of memory, but only {memory >> 20}M are allowed; "
            f"allow {least}M, or make the volume thinner or narrower"
        )
    return min(plans, key=lambda plan: _duration(plan, widths))


def plan_reconstruction(
    n_slices: int,
    geometry: SliceGeometry,
    solver: SlabSolver,
    *,
    threads: int,
    memory: int,
    device: Device = HOST,
    device_memory: int | None = None,
    held_bytes: int = 0,
) -> SlabPlan:
    """Plan `etcli.core.reconstruction.slab_by_slab.reconstruct`.

    Parameters
    ----------
    n_slices : int
        Rows of the views.
    geometry : SliceGeometry
        Views and slice.
    solver : SlabSolver
        Solver of a slab.
    threads : int
        Threads allowed.
    memory : int
        Bytes allowed for the arrays of the host.
    device : Device
        Device that does the computations. On a GPU, two threads take turns: one computes while the other
        copies the next slab to the GPU and the last one back.
    device_memory : int, optional
        Bytes of device memory for all threads together, where each thread has its own device; by default the
        free memory that the device reports.
    held_bytes : int
        Memory of the host that is taken besides, by rows that are kept for a comparison.

    Returns
    -------
    SlabPlan
        For `etcli.core.reconstruction.slab_by_slab.reconstruct`.

    Raises
    ------
    UsageError
        When the memory does not suffice for one narrow slab; the message says how much would.
    """
    sinogram, volume = _slice_bytes(geometry)
    resources = _Resources(threads, memory, device.widths)
    shared = sinogram + solver.n_subsets * volume if solver.sums else 0
    if device_memory is not None or device.free_bytes() is not None:
        host_memory = memory - held_bytes
        resources = _resources_on(device, device_memory, threads, host_memory, into=sinogram, out_of=volume)
    else:
        shared += held_bytes
    work_bytes = max(solver.sinograms, 2) * sinogram + max(solver.volumes, 2) * volume
    return plan_slabs(
        n_slices,
        slice_bytes=work_bytes,
        block_bytes=volume,
        shared_bytes=shared,
        **resources._asdict(),
    )


def plan_projection(
    n_slices: int, geometry: SliceGeometry, *, threads: int, memory: int, device: Device = HOST
) -> SlabPlan:
    """Plan `etcli.core.reconstruction.slab_by_slab.project`.

    Parameters
    ----------
    n_slices : int
        Rows of the sections of the volume.
    geometry : SliceGeometry
        Views and slice.
    threads : int
        Threads allowed.
    memory : int
        Bytes allowed for the arrays of the host.
    device : Device
        Device that does the computations.

    Returns
    -------
    SlabPlan
        For `etcli.core.reconstruction.slab_by_slab.project`.

    Raises
    ------
    UsageError
        When the memory does not suffice for one narrow slab; the message says how much would.
    """
    sinogram, volume = _slice_bytes(geometry)
    work_bytes = 2 * sinogram + 2 * volume
    resources = _Resources(threads, memory, device.widths)
    if device.free_bytes() is not None:
        resources = _resources_on(device, None, threads, memory, into=volume, out_of=sinogram)
    return plan_slabs(n_slices, slice_bytes=work_bytes, block_bytes=sinogram, **resources._asdict())


class _Resources(NamedTuple):
    """Resources for a plan: threads, memory in bytes, and possible slab widths with their relative times."""

    threads: int
    memory: int
    widths: Mapping[int, float]


def _resources_on(
    device: Device, device_memory: int | None, threads: int, memory: int, *, into: int, out_of: int
) -> _Resources:
    """Return the resources of a device with its own memory, for slabs whose transfers fit into host memory.

    ``into`` and ``out_of`` are the bytes of a slice that are copied to the device and back.
    """
    free = device.free_bytes() if device_memory is None else device_memory
    at_once = min(threads, AT_ONCE) if device_memory is None else threads
    transfer_bytes = at_once * (into + out_of) + out_of
    widths = {width: cost for width, cost in device.widths.items() if width * transfer_bytes <= memory}
    if not widths:
        narrowest = min(device.widths)
        least = ceil(narrowest * transfer_bytes / (1 << 20))
        raise UsageError(
            f"slabs of {narrowest} slices on their way to the GPU and back take {least}M of memory, but only "
            f"{memory >> 20}M are allowed; allow {least}M, or make the volume thinner or narrower"
        )
    return _Resources(at_once, free or 0, widths)


def _fitting_width(widths: Mapping[int, float], n_slices: int) -> int:
    """Return the width of the narrowest slab that holds the slices, or the largest width."""
    return min((width for width in widths if width >= n_slices), default=max(widths))


def _duration(plan: SlabPlan, widths: Mapping[int, float]) -> float:
    """Return the relative time of a plan, in which each slab goes to the thread that is free first."""
    thread_time = [0.0] * plan.threads
    for y0, y1 in plan.slabs:
        thread_time[thread_time.index(min(thread_time))] += widths[_fitting_width(widths, y1 - y0)]
    return max(thread_time)


def _slice_bytes(geometry: SliceGeometry) -> tuple[int, int]:
    """Return the bytes of one slice of the sinogram and of the volume."""
    sinogram = geometry.n_views * geometry.n_detector * FLOAT_BYTES
    return sinogram, geometry.thickness * geometry.width * FLOAT_BYTES
