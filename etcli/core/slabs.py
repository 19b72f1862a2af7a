"""Slabs of slices: the unit of threads, of memory and of streaming from and to files.

A tilt series is reconstructed slab by slab along the tilt axis. Rows are read when a thread is free for them
and written in order, so that series and volume may be much larger than the memory.
"""

from collections.abc import Callable, Generator
from concurrent.futures import CancelledError
from contextlib import closing
from dataclasses import dataclass
from math import ceil
from threading import Event
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError, UsageError
from etcli.core.geometry import SlabGeometry
from etcli.core.parallel import ordered_map
from etcli.core.projectors import Projector
from etcli.core.projectors.slab import WIDTHS, SlabProjector, from_slab, slab_width, to_slab

COST = {16: 0.55, 32: 0.7, 64: 1.0}
"""Measured time of a SIRT iteration on a slab by its width, relative."""

FLOAT_BYTES = 4

Array = NDArray[np.float32]
Read = Callable[[int, int], NDArray[np.generic]]
Write = Callable[[int, Array], None]
Slab = tuple[int, int]
Result = TypeVar("Result")


class MakeProjector(Protocol):
    """What makes a projector of slabs, such as `SlabProjector` itself."""

    def __call__(self, geometry: SlabGeometry, *, n_slices: int) -> Projector:
        """Return the projector of slabs of so many slices."""


@dataclass(frozen=True)
class Method:
    """A solver with its options set, and the memory it takes.

    Parameters
    ----------
    solve : callable
        ``solve(projector, sinogram)`` returns the slab of the volume; for example
        ``partial(sirt, iterations=30, sums=sums)``. It runs on several threads at once.
    iterative : bool
        Whether `solve` takes ``callback=``, to be called with the number of iterations done and the norm of
        the residual.
    sinograms, volumes : int
        How many float32 arrays of the size of the slab's sinogram and volume `solve` has at once, its
        argument and its result included; at least 2 each, because rows become slabs and slabs rows.
    """

    solve: Callable[..., Array]
    iterative: bool = False
    sinograms: int = 2
    volumes: int = 2


@dataclass(frozen=True)
class Plan:
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


def plan_slabs(n_slices: int, *, slice_bytes: int, block_bytes: int, threads: int, memory: int) -> Plan:
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

    Returns
    -------
    Plan
        Slabs as wide as possible, unless threads would be idle or the memory exceeded.

    Raises
    ------
    UsageError
        When there is nothing to do, or one narrow slab on one thread takes more memory; it tells how much.
    """
    if min(n_slices, threads) < 1:
        raise UsageError(f"{n_slices} slices on {threads} threads are no work; give at least one of each")
    plans = []
    for width in reversed(WIDTHS):
        slabs = tuple((y, min(y + width, n_slices)) for y in range(0, n_slices, width))
        widest = slab_width(slabs[0][1])
        used = min(threads, len(slabs), (memory // widest - block_bytes) // slice_bytes)
        if used > 0:
            plans.append(Plan(slabs, used, widest * (used * slice_bytes + block_bytes)))
    if not plans:
        least = ceil(WIDTHS[0] * (slice_bytes + block_bytes) / (1 << 20))
        raise UsageError(
            f"one slab of {WIDTHS[0]} slices takes {least}M of memory, but only {memory >> 20}M are allowed; "
            f"allow {least}M, or make the volume thinner or narrower"
        )
    return min(plans, key=_duration)


def plan_reconstruction(
    n_slices: int, geometry: SlabGeometry, method: Method, *, threads: int, memory: int
) -> Plan:
    """Plan `reconstruct`.

    Parameters
    ----------
    n_slices : int
        Rows of the views.
    geometry : SlabGeometry
        Views and slice.
    method : Method
        What is to be done.
    threads : int
        Threads allowed.
    memory : int
        Bytes allowed for the arrays.

    Returns
    -------
    Plan
        For `reconstruct`.

    Raises
    ------
    UsageError
        When the memory does not suffice for one narrow slab; it tells how much would.
    """
    sinogram, volume = _slice_bytes(geometry)
    work = max(method.sinograms, 2) * sinogram + max(method.volumes, 2) * volume
    return plan_slabs(n_slices, slice_bytes=work, block_bytes=volume, threads=threads, memory=memory)


def plan_projection(n_slices: int, geometry: SlabGeometry, *, threads: int, memory: int) -> Plan:
    """Plan `project`.

    Parameters
    ----------
    n_slices : int
        Rows of the sections of the volume.
    geometry : SlabGeometry
        Views and slice.
    threads : int
        Threads allowed.
    memory : int
        Bytes allowed for the arrays.

    Returns
    -------
    Plan
        For `project`.

    Raises
    ------
    UsageError
        When the memory does not suffice for one narrow slab; it tells how much would.
    """
    sinogram, volume = _slice_bytes(geometry)
    work = 2 * sinogram + 2 * volume
    return plan_slabs(n_slices, slice_bytes=work, block_bytes=sinogram, threads=threads, memory=memory)


def reconstruct(
    read_rows: Read,
    write_rows: Write,
    geometry: SlabGeometry,
    method: Method,
    *,
    plan: Plan,
    background: float | NDArray[np.float64] = 0.0,
    make_projector: MakeProjector = SlabProjector,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float64]:
    """Reconstruct a volume slab by slab.

    Parameters
    ----------
    read_rows : callable
        ``read_rows(y0, y1)`` returns these rows of all views, an array of shape (n_views, y1 - y0,
        n_detector) of any real type, such as a part of a memory-mapped file. Called on several threads.
    write_rows : callable
        ``write_rows(y0, block)`` takes the slices of the volume from y0 on, float32 of shape (thickness,
        rows, width), in order and on the thread of the caller.
    geometry : SlabGeometry
        Views and slice.
    method : Method
        What to do with a slab.
    plan : Plan
        From `plan_reconstruction`.
    background : float or ndarray of shape (n_views,)
        Level to be subtracted from all views, or from each.
    make_projector : callable
        ``make_projector(geometry, n_slices=...)`` returns the projector of a slab.
    progress : callable, optional
        Called with the number of slices that were just written.

    Returns
    -------
    ndarray of shape (n_iterations,), float64
        ‖y - A x‖ / ‖y‖ over all slices, where x is the volume after 0, 1, 2… iterations; empty when the
        method is not iterative.

    Raises
    ------
    DataError
        When the rows that were read do not fit the geometry.
    UsageError
        When the background has neither shape.

    Notes
    -----
    A slice is the same to the last bit whatever the widths of the slabs, the number of threads and the
    slices around it: all arithmetic is done slice by slice in the same order. Only the error curve, a sum
    over slabs, depends on them in its last digits.
    """
    shape = (geometry.n_views, geometry.n_detector)
    if np.shape(background) not in ((), shape[:1]):
        raise UsageError(f"a background of shape {np.shape(background)} is neither one level nor {shape[0]}")
    given_up = Event()

    def work(slab: Slab) -> tuple[Slab, Array, list[float]]:
        sinogram = _slab(read_rows, slab, shape, "views", background)
        projector = make_projector(geometry, n_slices=sinogram.shape[-1])
        norms = [_norm(sinogram)]

        def note(k: int, norm: float) -> None:
            norms.append(norm)
            if given_up.is_set():
                raise CancelledError

        watch = {"callback": note} if method.iterative else {}
        volume = method.solve(projector, sinogram, **watch)
        return slab, from_slab(volume, slab[1] - slab[0]), norms

    squares = np.zeros(1)
    with closing(_in_order(work, plan)) as done:
        try:
            for (y0, y1), block, norms in done:
                write_rows(y0, block)
                del block  # or it would stay while the next slab is waited for
                squares = squares + np.square(norms)
                if progress:
                    progress(y1 - y0)
        finally:
            given_up.set()  # after a failure no thread goes on for the rest of its iterations
    curve: NDArray[np.float64] = np.sqrt(squares[1:] / (squares[0] or 1))
    return curve


def project(
    read_rows: Read,
    write_rows: Write,
    geometry: SlabGeometry,
    *,
    plan: Plan,
    make_projector: MakeProjector = SlabProjector,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Project a volume slab by slab.

    Parameters
    ----------
    read_rows : callable
        ``read_rows(y0, y1)`` returns these rows of all sections, an array of shape (thickness, y1 - y0,
        width) of any real type. Called on several threads.
    write_rows : callable
        ``write_rows(y0, block)`` takes the rows of the views from y0 on, float32 of shape (n_views, rows,
        n_detector), in order and on the thread of the caller.
    geometry : SlabGeometry
        Views and slice.
    plan : Plan
        From `plan_projection`.
    make_projector : callable
        ``make_projector(geometry, n_slices=...)`` returns the projector of a slab.
    progress : callable, optional
        Called with the number of slices that were just written.

    Raises
    ------
    DataError
        When the rows that were read do not fit the geometry.
    """
    shape = (geometry.thickness, geometry.width)

    def work(slab: Slab) -> tuple[Slab, Array]:
        volume = _slab(read_rows, slab, shape, "volume")
        projector = make_projector(geometry, n_slices=volume.shape[-1])
        return slab, from_slab(projector.forward(volume), slab[1] - slab[0])

    with closing(_in_order(work, plan)) as done:
        for (y0, y1), block in done:
            write_rows(y0, block)
            del block
            if progress:
                progress(y1 - y0)


def _in_order(work: Callable[[Slab], Result], plan: Plan) -> Generator[Result, None, None]:
    """Yield the results for the slabs of a plan."""
    yield from ordered_map(work, plan.slabs, threads=plan.threads)


def _duration(plan: Plan) -> float:
    """Return the relative time of a plan: every slab goes to the thread that is free first."""
    busy = [0.0] * plan.threads
    for y0, y1 in plan.slabs:
        busy[busy.index(min(busy))] += COST[slab_width(y1 - y0)]
    return max(busy)


def _slice_bytes(geometry: SlabGeometry) -> tuple[int, int]:
    """Return the bytes of one slice of the sinogram and of the volume."""
    sinogram = geometry.n_views * geometry.n_detector * FLOAT_BYTES
    return sinogram, geometry.thickness * geometry.width * FLOAT_BYTES


def _slab(
    read_rows: Read,
    slab: Slab,
    shape: tuple[int, int],
    what: str,
    background: float | NDArray[np.float64] = 0.0,
) -> Array:
    """Read rows and lay them out as a slab."""
    y0, y1 = slab
    rows = read_rows(y0, y1)
    expected = (shape[0], y1 - y0, shape[1])
    if rows.shape != expected:
        raise DataError(f"rows {y0 + 1}-{y1} of the {what} have the shape {rows.shape}; {expected} is needed")
    rows = np.subtract(rows, np.reshape(background, (-1, 1, 1)), dtype=np.float32)
    return to_slab(rows)


def _norm(sinogram: Array) -> float:
    """Return the norm, with the sum over views in double precision."""
    return float(np.sqrt(sum(float(np.vdot(view, view)) for view in sinogram)))
