"""How work on slices is shared out: what a method needs, and the slabs, threads and memory it gets."""

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
"""Slabs on a GPU."""

Array = NDArray[np.float32]
Slab = tuple[int, int]


class ProjectorFactory(Protocol):
    """What makes a projector of slabs, such as `SlabProjector` itself."""

    def __call__(self, geometry: SliceGeometry, *, n_slices: int) -> Projector:
        """Return the projector of slabs of so many slices."""


@dataclass(frozen=True)
class SlabPlan:
    """How the slices are shared out.

    Parameters
    ----------
    slabs : tuple of (int, int)
        First slice and the one after the last of every slab, in order.
    threads : int
        Slabs in work at once.
    working_bytes : int
        Memory that takes, at most.
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
    """Share slices out to slabs and threads so that they are done soonest within the memory.

    Parameters
    ----------
    n_slices : int
        Slices along the tilt axis.
    slice_bytes : int
        Memory that work on a slab takes, per slice of it.
    block_bytes : int
        Memory of a finished slice, of which a slab waits for the writer.
    threads : int
        Threads allowed.
    memory : int
        Bytes allowed.
    shared_bytes : int
        Memory that is taken whatever the number of slabs.
    widths : mapping of int to float
        Slices that a slab may have, rising, and the relative time that it takes.

    Returns
    -------
    SlabPlan
        Slabs as wide as possible, unless threads would be idle or the memory exceeded.

    Raises
    ------
    UsageError
        When there is nothing to do, or one narrow slab on one thread takes more memory; it tells how much.
    """
    if min(n_slices, threads) < 1:
        raise UsageError(f"{n_slices} slices on {threads} threads are no work; give at least one of each")
    plans = []
    for width in sorted(widths, reverse=True):
        slabs = tuple((y, min(y + width, n_slices)) for y in range(0, n_slices, width))
        widest = _fitting(widths, slabs[0][1])
        used = min(threads, len(slabs), ((memory - shared_bytes) // widest - block_bytes) // slice_bytes)
        if used > 0:
            plans.append(SlabPlan(slabs, used, shared_bytes + widest * (used * slice_bytes + block_bytes)))
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
) -> SlabPlan:
    """Plan `etcli.core.reconstruction.slab_by_slab.reconstruct`.

    Parameters
    ----------
    n_slices : int
        Rows of the views.
    geometry : SliceGeometry
        Views and slice.
    solver : SlabSolver
        What is to be done.
    threads : int
        Threads allowed.
    memory : int
        Bytes allowed for the arrays of the host.
    device : Device
        Where the work is done. On a GPU, two threads take turns: one computes while the other brings the next
        slab and takes the last one away.
    device_memory : int, optional
        Bytes of the device for all threads, each of which has one of its own; by default what it says.

    Returns
    -------
    SlabPlan
        For `etcli.core.reconstruction.slab_by_slab.reconstruct`.

    Raises
    ------
    UsageError
        When the memory does not suffice for one narrow slab; it tells how much would.
    """
    sinogram, volume = _slice_bytes(geometry)
    room = _Resources(threads, memory, device.widths)
    if device_memory is not None or device.free_bytes() is not None:
        room = _resources_on(device, device_memory, threads, memory, into=sinogram, out_of=volume)
    work = max(solver.sinograms, 2) * sinogram + max(solver.volumes, 2) * volume
    shared = sinogram + solver.n_subsets * volume if solver.sums else 0
    return plan_slabs(
        n_slices,
        slice_bytes=work,
        block_bytes=volume,
        shared_bytes=shared,
        **room._asdict(),
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
        Where the work is done.

    Returns
    -------
    SlabPlan
        For `etcli.core.reconstruction.slab_by_slab.project`.

    Raises
    ------
    UsageError
        When the memory does not suffice for one narrow slab; it tells how much would.
    """
    sinogram, volume = _slice_bytes(geometry)
    work = 2 * sinogram + 2 * volume
    room = _Resources(threads, memory, device.widths)
    if device.free_bytes() is not None:
        room = _resources_on(device, None, threads, memory, into=volume, out_of=sinogram)
    return plan_slabs(n_slices, slice_bytes=work, block_bytes=sinogram, **room._asdict())


class _Resources(NamedTuple):
    """What slabs are shared out by."""

    threads: int
    memory: int
    widths: Mapping[int, float]


def _resources_on(
    device: Device, device_memory: int | None, threads: int, memory: int, *, into: int, out_of: int
) -> _Resources:
    """Return the room on a device with its own memory for slabs whose way there and back fits into the host.

    ``into`` and ``out_of`` are the bytes of a slice that are brought there and taken from there.
    """
    free = device.free_bytes() if device_memory is None else device_memory
    at_once = min(threads, AT_ONCE) if device_memory is None else threads
    waiting = at_once * (into + out_of) + out_of
    widths = {width: cost for width, cost in device.widths.items() if width * waiting <= memory}
    if not widths:
        narrowest = min(device.widths)
        least = ceil(narrowest * waiting / (1 << 20))
        raise UsageError(
            f"slabs of {narrowest} slices on their way to the GPU and back take {least}M of memory, but only "
            f"{memory >> 20}M are allowed; allow {least}M, or make the volume thinner or narrower"
        )
    return _Resources(at_once, free or 0, widths)


def _fitting(widths: Mapping[int, float], n_slices: int) -> int:
    """Return the narrowest slab that holds some slices, or the widest there is."""
    return min((width for width in widths if width >= n_slices), default=max(widths))


def _duration(plan: SlabPlan, widths: Mapping[int, float]) -> float:
    """Return the relative time of a plan: every slab goes to the thread that is free first."""
    busy = [0.0] * plan.threads
    for y0, y1 in plan.slabs:
        busy[busy.index(min(busy))] += widths[_fitting(widths, y1 - y0)]
    return max(busy)


def _slice_bytes(geometry: SliceGeometry) -> tuple[int, int]:
    """Return the bytes of one slice of the sinogram and of the volume."""
    sinogram = geometry.n_views * geometry.n_detector * FLOAT_BYTES
    return sinogram, geometry.thickness * geometry.width * FLOAT_BYTES
