"""Reconstruction and projection slab by slab: streamed, on several threads, within a memory budget.

A tilt series is reconstructed slab by slab along the tilt axis. Rows are read when a thread becomes free and
slices are written in order, so that series and volume may be much larger than the memory.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Executor
from contextlib import closing
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.core.geometry import SliceGeometry
from etcli.core.parallel import ordered_map
from etcli.core.projectors import Device
from etcli.core.projectors.slab import WIDTHS, SlabProjector
from etcli.core.reconstruction.slab_plan import ProjectorFactory, Slab, SlabPlan
from etcli.core.solvers.slab_solver import SlabSolver
from etcli.core.solvers.steps import on_host, square

Array = NDArray[np.float32]
Read = Callable[[int, int], NDArray[np.generic]]
Write = Callable[[int, Array], None]
Watch = Callable[[Slab, int, Array], None]


class FinishedSlab(NamedTuple):
    """Reconstructed slab.

    Parameters
    ----------
    block : ndarray of shape (thickness, rows, width), float32
        Its slices.
    norms : list of (int, float)
        Number of iterations done, and ‖y - A x‖ after them; the first is ‖y‖.
    """

    block: Array
    norms: list[tuple[int, float]]


class SlabStore(Protocol):
    """Store of finished slabs, from which an interrupted reconstruction is resumed."""

    def holds(self, slab: Slab) -> bool:
        """Check whether the store contains a slab."""

    def load(self, slab: Slab) -> FinishedSlab:
        """Load a finished slab."""

    def keep(self, slab: Slab, finished: FinishedSlab) -> None:
        """Store a finished slab."""


@dataclass(frozen=True, eq=False)
class ErrorCurve:
    """Residual as a function of the number of iterations.

    Parameters
    ----------
    iteration : ndarray of shape (n,), int
        Numbers of iterations done; empty when the method is not iterative.
    residual : ndarray of shape (n,), float64
        ‖y - A x‖ / ‖y‖ after them, over all slices.
    numbers : mapping of str to object
        Other numbers that the method found, by their names for scripts.
    """

    iteration: NDArray[np.intp]
    residual: NDArray[np.float64]
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def with_numbers(self, **numbers: Any) -> "ErrorCurve":
        """Return the same curve with further numbers."""
        return replace(self, numbers={**self.numbers, **numbers})


def reconstruct(
    read_rows: Read,
    write_rows: Write,
    geometry: SliceGeometry,
    solver: SlabSolver,
    *,
    plan: SlabPlan,
    make_projector: ProjectorFactory = SlabProjector,
    progress: Callable[[int], None] | None = None,
    watch: Watch | None = None,
    store: SlabStore | None = None,
    volumes: Mapping[str, Read] | None = None,
    pool: Executor | None = None,
) -> ErrorCurve:
    """Reconstruct a volume slab by slab.

    Parameters
    ----------
    read_rows : callable
        ``read_rows(y0, y1)`` returns these rows of all views, line integrals in voxels, an array of shape
        (n_views, y1 - y0, n_detector) of any real type. Called on several threads.
    write_rows : callable
        ``write_rows(y0, block)`` takes the slices of the volume from y0 on, float32 of shape (thickness,
        rows, width), in order and on the thread of the caller.
    geometry : SliceGeometry
        Views and slice.
    solver : SlabSolver
        Solver of a slab.
    plan : SlabPlan
        From `etcli.core.reconstruction.slab_plan.plan_reconstruction`.
    make_projector : callable
        ``make_projector(geometry, n_slices=...)`` returns the projector of a slab.
    progress : callable, optional
        Called with the number of slices that were just written.
    watch : callable, optional
        ``watch((y0, y1), k, slab)`` after k iterations, on the thread that reconstructs the slab, with the
        slab of shape (thickness, width, n_slices), not to be modified. Not called with a `pool`.
    store : SlabStore, optional
        Store from which finished slabs are loaded, and in which new ones are stored.
    volumes : mapping of str to callable, optional
        Other volumes as arguments of the solver, such as ``{"initial": read}``: ``read(y0, y1)`` returns an
        array of shape (thickness, y1 - y0, width). A "mask" is true where the volume is not zero.
    pool : Executor, optional
        Workers to use instead of threads of this process; all arguments must then be picklable.

    Returns
    -------
    ErrorCurve

    Raises
    ------
    DataError
        When the rows that were read do not fit the geometry.

    Notes
    -----
    A slice is the same to the last bit, independent of the widths of the slabs, the number of threads and the
    neighbouring slices: all arithmetic is done slice by slice in the same order. Only the last digits of the
    error curve, a sum over slabs, depend on them.
    """
    aborted = Event()

    def note(slab: Slab, k: int, volume: Array) -> None:
        if aborted.is_set():  # after a failure, threads stop instead of finishing their iterations
            raise CancelledError
        if watch:
            watch(slab, k, on_host(volume))

    task = _SlabTask(read_rows, geometry, solver, make_projector, volumes or {})
    if pool is None:
        task = replace(task, sums=task.shared_sums(), note=note)
    stored = {slab for slab in plan.slabs if store is not None and store.holds(slab)}
    missing = [slab for slab in plan.slabs if slab not in stored]
    squares = np.zeros(1)
    with closing(ordered_map(task, missing, threads=plan.threads, pool=pool)) as results:
        try:
            for slab in plan.slabs:
                if store is not None and slab in stored:
                    block, norms = store.load(slab)
                else:
                    block, norms = next(results)
                    if store is not None:
                        store.keep(slab, FinishedSlab(block, norms))
                write_rows(slab[0], block)
                del block  # frees its memory while the next slab is computed
                numbers, values = zip(*norms, strict=True)
                squares = squares + np.square(values)
                if progress:
                    progress(slab[1] - slab[0])
        finally:
            aborted.set()
    return ErrorCurve(np.array(numbers[1:], int), np.sqrt(squares[1:] / (squares[0] or 1)))


@dataclass(frozen=True)
class _SlabTask:
    """Reconstruction of one slab, called by a worker thread, process or machine."""

    read_rows: Read
    geometry: SliceGeometry
    solver: SlabSolver
    make_projector: ProjectorFactory
    volumes: Mapping[str, Read]
    sums: Any = None
    note: Watch | None = None

    def shared_sums(self) -> Any:
        """Compute the sums that all slabs share; other machines compute them again, as they may be large."""
        narrow = self.make_projector(self.geometry, n_slices=WIDTHS[0])
        with narrow.device.session():
            return self.solver.sums(narrow) if self.solver.sums else None

    def __call__(self, slab: Slab) -> FinishedSlab:
        """Read the rows of a slab and reconstruct it."""
        device = self.make_projector(self.geometry, n_slices=WIDTHS[0]).device
        views = _rows(self.read_rows, slab, (self.geometry.n_views, self.geometry.n_detector), "views")
        with device.session():
            return self._solve(slab, device.to_slab(views), device)

    def _solve(self, slab: Slab, sinogram: Array, device: Device) -> FinishedSlab:
        """Reconstruct a slab from its sinogram."""
        projector = self.make_projector(self.geometry, n_slices=sinogram.shape[-1])
        norms = [(0, _norm(sinogram))]

        def note(k: int, norm: float, volume: Array) -> None:
            norms.append((k, norm))
            if self.note:
                self.note(slab, k, volume)

        arguments: dict[str, Any] = {"callback": note} if self.solver.iterative else {}
        if self.solver.sums:
            arguments["sums"] = self.shared_sums() if self.sums is None else self.sums
        for name, read in self.volumes.items():
            rows = _rows(read, slab, (self.geometry.thickness, self.geometry.width), name)
            part = device.to_slab(rows)
            arguments[name] = part != 0 if name == "mask" else part
        volume = self.solver.solve(projector, sinogram, **arguments)
        return FinishedSlab(device.from_slab(volume, slab[1] - slab[0]), norms)


def project(
    read_rows: Read,
    write_rows: Write,
    geometry: SliceGeometry,
    *,
    plan: SlabPlan,
    make_projector: ProjectorFactory = SlabProjector,
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
    geometry : SliceGeometry
        Views and slice.
    plan : SlabPlan
        From `etcli.core.reconstruction.slab_plan.plan_projection`.
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

    def project_slab(slab: Slab) -> tuple[Slab, Array]:
        rows = _rows(read_rows, slab, shape, "volume")
        device = make_projector(geometry, n_slices=WIDTHS[0]).device
        with device.session():
            volume = device.to_slab(rows)
            projector = make_projector(geometry, n_slices=volume.shape[-1])
            return slab, device.from_slab(projector.forward(volume), slab[1] - slab[0])

    with closing(ordered_map(project_slab, plan.slabs, threads=plan.threads)) as results:
        for (y0, y1), block in results:
            write_rows(y0, block)
            del block
            if progress:
                progress(y1 - y0)


def _rows(read_rows: Read, slab: Slab, shape: tuple[int, int], what: str) -> Array:
    """Read the rows of a slab and check their shape."""
    y0, y1 = slab
    rows = read_rows(y0, y1)
    expected = (shape[0], y1 - y0, shape[1])
    if rows.shape != expected:
        raise DataError(f"rows {y0 + 1}-{y1} of the {what} have the shape {rows.shape}; {expected} is needed")
    return np.asarray(rows, np.float32)


def _norm(sinogram: Array) -> float:
    """Return the norm of a sinogram, with the sum over views in double precision."""
    parts = sinogram if isinstance(sinogram, np.ndarray) else [sinogram]
    return float(np.sqrt(sum(map(square, parts))))
