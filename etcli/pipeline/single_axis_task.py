"""Reconstruction from views tilted about one axis: slab by slab if the method allows it, else at once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.projectors import Device
from etcli.core.projectors.slab import WIDTHS
from etcli.core.reconstruction.cross_validation import brightest_rows
from etcli.core.reconstruction.explained import RowRecorder, Unexplained, border_over_mean
from etcli.core.reconstruction.line_integrals import LineIntegrals
from etcli.core.reconstruction.slab_by_slab import ErrorCurve, Read, Watch, reconstruct
from etcli.core.reconstruction.slab_plan import FLOAT_BYTES, ProjectorFactory, SlabPlan, plan_reconstruction
from etcli.core.reconstruction.solve import slab_solver
from etcli.core.reconstruction.streamed_backprojection import BandWriter, backproject, plan_backprojection
from etcli.core.reconstruction.whole_volume import reconstruct_whole
from etcli.core.solvers.methods import POISSON, MethodParameters
from etcli.core.solvers.misfit import Misfit, slab_misfit
from etcli.core.solvers.slab_solver import SlabSolver
from etcli.core.solvers.total_variation import Zeros
from etcli.io.finished_slabs import FinishedSlabs
from etcli.io.keyed_folder import KeyedFolder
from etcli.pipeline.dask_cluster import connected_workers
from etcli.pipeline.memory_budget import MemoryBudget
from etcli.pipeline.session import Session

NARROWEST_SLAB = 16
"""Number of slices in a slab that every device supports."""
MEMORY_SHARE = 8
"""The rows whose projections are compared with the views take at most this part of the memory."""


@dataclass(frozen=True, eq=False)
class SingleAxisTask:
    """Reconstruction task for views tilted about the vertical axis.

    Parameters
    ----------
    integrals : LineIntegrals
        The views.
    geometry : SliceGeometry
        Geometry of the slices.
    make_projector : callable
        Projector factory, as for `etcli.core.reconstruction.slab_by_slab.reconstruct`.
    volumes : mapping of str to callable
        Mask and initial volume, as for `etcli.core.reconstruction.slab_by_slab.reconstruct`.
    scratch : Path
        Folder for arrays that do not fit into the memory.
    parts : tuple of LineIntegrals
        Counts in two independent parts, where they are known.
    """

    integrals: LineIntegrals
    geometry: SliceGeometry
    make_projector: ProjectorFactory
    volumes: Mapping[str, Read]
    scratch: Path
    parts: tuple[LineIntegrals, ...] = ()

    @property
    def device(self) -> Device:
        """Device of the computation."""
        return self.make_projector(self.geometry, n_slices=NARROWEST_SLAB).device

    def of_views(self, views: NDArray[np.intp]) -> "SingleAxisTask":
        """Return the same task with some of the views, counted from 0."""
        return replace(
            self,
            integrals=self.integrals.select(views),
            geometry=self.geometry.of_views(views),
            parts=tuple(part.select(views) for part in self.parts),
        )

    def check_memory(self, session: Session, parameters: MethodParameters, *, banded: bool = True) -> None:
        """Check that the computation fits into the memory; raise UsageError otherwise.

        ``banded`` tells whether back-projection may work by bands of the volume.
        """
        held_bytes = self._recorded_bytes(session, parameters, banded=banded)
        plan = self._plan(session, parameters, held_bytes, banded=banded)
        if plan is not None and not (banded and self._works_by_bands(parameters)):
            session.reporter.note(
                f"{len(plan.slabs)} slabs of {plan.slabs[0][1]} slices on {plan.threads} threads, "
                f"{plan.working_bytes >> 20} MiB of the {self.device.name}"
            )

    def sample(self, session: Session) -> Misfit:
        """Return the brightest rows, on which automatic parameters are determined."""
        return self._misfit(session, *self._sampled_rows(0.0))

    def sample_of_counts(
        self, session: Session, *, counts: float
    ) -> tuple[Misfit, tuple[NDArray[np.float32], NDArray[np.float32]] | None]:
        """Return the brightest rows with at least so many counts, if all rows have; and their parts."""
        rows = self._sampled_rows(counts)
        parts = [part(*rows) for part in self.parts]
        return self._misfit(session, *rows), (parts[0], parts[1]) if parts else None

    def _sampled_rows(self, counts: float) -> tuple[int, int]:
        """Return the first of the brightest rows with at least so many counts, and the one after them."""
        some = self.integrals.sample()
        rows = brightest_rows(some)
        held = float(some[:, rows].sum(dtype=np.float64)) * self.geometry.n_views / len(some)
        if held < counts:
            n = ceil((rows.stop - rows.start) * counts / max(held, 1.0))
            rows = brightest_rows(some, min(n, self.integrals.n_rows))
        return rows.start, rows.stop

    def zeros(self, session: Session, parameters: MethodParameters) -> Zeros:
        """Return the function that creates zero-filled arrays for the volume of a few rows."""
        return self.device.zeros

    def run(
        self,
        session: Session,
        parameters: MethodParameters,
        write: BandWriter,
        *,
        watch: Watch | None = None,
        store: KeyedFolder | None = None,
        dask: str | None = None,
    ) -> ErrorCurve:
        """Reconstruct the volume and write it; compare the projections of some rows with the views."""
        held_bytes = self._recorded_bytes(session, parameters, banded=store is None and dask is None)
        rows = brightest_rows(self.integrals.sample(), held_bytes // self._row_bytes)
        record = RowRecorder(write, rows, (self.geometry.thickness, self.geometry.width))
        errors = self._reconstruct(
            session, parameters, record, held_bytes, watch=watch, store=store, dask=dask
        )
        background = parameters.counts_background if parameters.likelihood == POISSON else None
        found, border = self._unexplained(record.block, rows, background), border_over_mean(record.block)
        return errors.with_numbers(**found.numbers(), border=border)

    def _reconstruct(
        self,
        session: Session,
        parameters: MethodParameters,
        write: BandWriter,
        held_bytes: int,
        *,
        watch: Watch | None,
        store: KeyedFolder | None,
        dask: str | None,
    ) -> ErrorCurve:
        """Reconstruct the volume and write it; ``held_bytes`` of the memory are taken."""
        if parameters.traits.whole_volume:
            return self._run_whole(session, parameters, write, held_bytes, watch)
        if self._works_by_bands(parameters) and store is None and dask is None:
            return self._run_bands(session, parameters, write, held_bytes)
        n_rows, solver = self.integrals.n_rows, self._solver(parameters)
        with (
            connected_workers(session, dask, self.device) as workers,
            session.reporter.progress(n_rows, "reconstructing") as advance,
        ):
            return reconstruct(
                self.integrals,
                write,
                self.geometry,
                solver,
                plan=workers.plan(n_rows, self.geometry, solver, held_bytes=held_bytes),
                make_projector=self.make_projector,
                progress=advance,
                watch=watch,
                store=None if store is None else FinishedSlabs(store),
                volumes=self.volumes,
                pool=workers.pool,
            )

    def _recorded_bytes(self, session: Session, parameters: MethodParameters, *, banded: bool) -> int:
        """Return the memory of the rows that are compared: of a single one where the memory is small."""
        most = max(1, session.memory // MEMORY_SHARE // self._row_bytes)
        usual = min(NARROWEST_SLAB, most, self.integrals.n_rows) * self._row_bytes
        try:
            self._plan(session.muted(), parameters, usual, banded=banded)
        except UsageError:
            return self._row_bytes
        return usual

    def _plan(
        self, session: Session, parameters: MethodParameters, held_bytes: int, *, banded: bool
    ) -> SlabPlan | None:
        """Plan the computation, None for the whole volume; raise UsageError if it does not fit."""
        if parameters.traits.whole_volume:
            self._memory_budget(session, parameters, held_bytes).check(session)
            return None
        n_rows, resources = self.integrals.n_rows, {"threads": session.threads, "memory": session.memory}
        if banded and self._works_by_bands(parameters):
            return plan_backprojection(n_rows, self.geometry, held_bytes=held_bytes, **resources)
        return plan_reconstruction(
            n_rows,
            self.geometry,
            self._solver(parameters),
            device=self.device,
            held_bytes=held_bytes,
            **resources,
        )

    @property
    def _row_bytes(self) -> int:
        """Memory of a row of the volume."""
        return self.geometry.thickness * self.geometry.width * FLOAT_BYTES

    def _unexplained(self, block: NDArray[np.float32], rows: slice, background: float | None) -> Unexplained:
        """Compare projections of some rows with the views, where there is a background counts above it."""
        device = self.device
        with device.session():
            slab = device.to_slab(block)
            projector = self.make_projector(self.geometry, n_slices=slab.shape[-1])
            projections = device.from_slab(projector.forward(slab), block.shape[1])
        variance = None if background is None else projections + np.float32(background)
        level_known = self.integrals.level is not None or background is not None
        views = self.integrals(rows.start, rows.stop)
        return Unexplained.of(projections, views, level_known=level_known, variance=variance)

    def _works_by_bands(self, parameters: MethodParameters) -> bool:
        """Whether the volume is computed in bands, without whole slabs in memory; not on a GPU."""
        return parameters.traits.in_bands and self.device.free_bytes() is None

    def _run_bands(
        self, session: Session, parameters: MethodParameters, write: BandWriter, held_bytes: int
    ) -> ErrorCurve:
        """Back-project a few sections at a time, without whole slabs of the volume in memory."""
        n_rows = self.integrals.n_rows
        plan = plan_backprojection(
            n_rows, self.geometry, threads=session.threads, memory=session.memory, held_bytes=held_bytes
        )
        with session.reporter.progress(n_rows, "reconstructing") as advance:
            return backproject(
                self.integrals, write, self.geometry, plan=plan, window=parameters.window, progress=advance
            )

    def _run_whole(
        self,
        session: Session,
        parameters: MethodParameters,
        write: BandWriter,
        held_bytes: int,
        watch: Watch | None,
    ) -> ErrorCurve:
        """Reconstruct the whole volume at once, then write it."""
        n_rows = self.integrals.n_rows

        def watch_volume(k: int, volume: NDArray[np.float32]) -> None:
            if watch:
                watch((0, n_rows), k, volume)

        with session.reporter.progress(parameters.iterations, "reconstructing") as advance:
            volume, errors = reconstruct_whole(
                self._misfit(session, 0, n_rows),
                parameters,
                zeros=self._memory_budget(session, parameters, held_bytes).zeros(session),
                progress=advance,
                watch=watch_volume,
                mask=self._mask(),
            )
        for y0 in range(0, n_rows, WIDTHS[-1]):
            write(y0, volume[..., y0 : y0 + WIDTHS[-1]].swapaxes(1, 2))
        return errors

    def _mask(self) -> Any:
        """Return the mask of the whole volume on the device, its rows along the last axis; None if none."""
        if "mask" not in self.volumes:
            return None
        inside = self.volumes["mask"](0, self.integrals.n_rows).swapaxes(1, 2) != 0
        return self.device.put(np.ascontiguousarray(inside))

    def _memory_budget(self, session: Session, parameters: MethodParameters, held_bytes: int) -> MemoryBudget:
        """Memory budget of a computation on the whole volume, including one slab per thread."""
        geometry, n_rows = self.geometry, self.integrals.n_rows
        n_voxels = geometry.thickness * geometry.width
        slabs = 2 * min(n_rows, max(session.threads * WIDTHS[-1], *self.device.widths))
        series = geometry.n_views * geometry.n_detector * n_rows
        volumes = parameters.traits.load("volumes_held")(parameters) * n_voxels * n_rows
        volumes += len(self.volumes) * n_voxels * n_rows
        if self.device.free_bytes() is not None:
            volumes += n_voxels * n_rows  # a GPU needs one more array, which threads of a CPU hold in parts
        held = held_bytes // FLOAT_BYTES if self.device.free_bytes() is None else 0
        resident = slabs * n_voxels + 3 * series + held
        return MemoryBudget(volumes, resident, self.scratch, self.device)

    def _solver(self, parameters: MethodParameters) -> SlabSolver:
        """Return the solver of slabs, which counts mask and initial volume as arrays."""
        solver = slab_solver(parameters, self.geometry, masked="mask" in self.volumes)
        return replace(solver, volumes=solver.volumes + len(self.volumes))

    def _misfit(self, session: Session, y0: int, y1: int) -> Misfit:
        """Return some rows of the views, laid out for the projectors."""
        views = self.integrals(y0, y1)
        return slab_misfit(views, self.geometry, make_projector=self.make_projector, threads=session.threads)
