"""Reconstruction of the electrostatic potential from phase-contrast images, on the whole volume at once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.multislice.misfit import MultisliceMisfit
from etcli.core.multislice.model import least_bytes, wave_geometry
from etcli.core.multislice.refinement import ViewRefinement
from etcli.core.projectors.slab import HOST
from etcli.core.reconstruction.line_integrals import LineIntegrals
from etcli.core.reconstruction.slab_by_slab import ErrorCurve, Read, Watch
from etcli.core.reconstruction.streamed_backprojection import BandWriter
from etcli.core.series import Volume
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.total_variation import Zeros
from etcli.io.keyed_folder import KeyedFolder
from etcli.pipeline.memory_budget import MemoryBudget
from etcli.pipeline.multislice_progress import SolverProgress
from etcli.pipeline.multislice_report import report_fit, report_refinement
from etcli.pipeline.phase_contrast_input import COPIES, PhaseContrastInput, phase_contrast_input
from etcli.pipeline.reconstruction_request import ReconstructionRequest
from etcli.pipeline.reconstruction_task import volume_rows
from etcli.pipeline.session import Session
from etcli.pipeline.volume_output import VolumeLayout

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class MultisliceTask:
    """Reconstruction task for phase-contrast images.

    Parameters
    ----------
    input : PhaseContrastInput
        The images.
    shape : (int, int, int)
        Shape (nz, ny, nx) of the volume, whose rows are those of the images.
    axis_offset_px : float
        Position of the tilt axis in the images, in pixels from their centre.
    initial : callable or None
        ``initial(y0, y1)`` reads rows of the initial volume.
    scratch : Path
        Folder for arrays that do not fit into the memory.
    """

    input: PhaseContrastInput
    shape: tuple[int, int, int]
    axis_offset_px: float
    initial: Read | None
    scratch: Path

    def of_views(self, views: NDArray[np.intp]) -> "MultisliceTask":
        """Return the same task with some of the views, counted from 0."""
        return replace(self, input=self.input.of_views(views))

    def words(self, parameters: MethodParameters) -> list[str]:
        """What is done to the images, for the history of the volume."""
        refined = f"refined {'+'.join(parameters.refine)}"
        return [*self.input.words, *[refined] * bool(parameters.refine)]

    def check_memory(self, session: Session, parameters: MethodParameters, *, banded: bool = True) -> None:
        """Check before the computation that it fits into the memory; raise UsageError otherwise."""
        self._memory_budget(session, parameters).check(session)

    def sample(self, session: Session) -> MultisliceMisfit:
        """Return the misfit to all images, which cannot be reconstructed in parts."""
        return self._misfit(session, MethodParameters("multislice"))

    def zeros(self, session: Session, parameters: MethodParameters) -> Zeros:
        """Return the function that creates zero-filled arrays for the volume."""
        return self._memory_budget(session, parameters).zeros(session)

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
        """Reconstruct the volume and write it; report how well it explains the images."""
        n_rows, misfit = self.shape[1], self._misfit(session, parameters)
        refinement = ViewRefinement(misfit, parameters.refine) if parameters.refine else None
        progress = SolverProgress(refinement)
        if store is not None:
            progress.resume(store)
        if progress.state is not None:
            session.reporter.report(
                f"going on after {progress.state.sweep} of {parameters.iterations} iterations"
            )
        with session.reporter.progress(parameters.iterations, "reconstructing") as advance:
            advance(len(progress.norms))

            def follow(k: int, norm: float, volume: Array) -> None:
                progress.norms.append(norm)
                advance(1)
                if watch:
                    watch((0, n_rows), k, volume)

            volume: Array = parameters.traits.load("solve_volume")(
                parameters,
                misfit,
                follow,
                initial=None if self.initial is None else self.initial(0, n_rows).swapaxes(1, 2),
                between=refinement,
                start=progress.state,
                keep=None if store is None else partial(progress.keep, store),
                used_weight=progress.weights.append,
                zeros=self.zeros(session, parameters),
            )
        if parameters.weight_from_noise:
            session.reporter.report(
                f"weight {progress.weights[-1]:.3g} V of the prior, from the noise of the last iteration"
            )
        numbers: dict[str, Any] = {"weight": progress.weights[-1], "weights": progress.weights}
        if refinement is not None:
            found = refinement.corrections
            found = replace(found, shift_px=found.shift_px - [self.axis_offset_px, 0.0])
            numbers |= report_refinement(session, self.input, found, parameters.refine)
        numbers |= report_fit(
            session, self.input, volume, residual=misfit.residual(volume), contrast=misfit.size
        )
        write(0, volume.swapaxes(1, 2))
        sweeps = np.arange(1, len(progress.norms) + 1)
        return ErrorCurve(sweeps, np.array(progress.norms) / (misfit.size or 1.0), numbers)

    def _misfit(self, session: Session, parameters: MethodParameters) -> MultisliceMisfit:
        """Return the misfit to the images, which uses the memory that the volumes leave."""
        nz, ny, nx = self.shape
        spare = self._memory_budget(session, parameters).spare_bytes(session)
        return MultisliceMisfit(
            self.input.images,
            self.input.tilt_deg,
            self.input.defocus_A.copy(),  # a refinement changes them
            self.input.optics,
            pixel_A=self.input.pixel_A,
            shape=(nz, nx, ny),
            binned_slices=parameters.binned_slices,
            shift_px=np.tile([self.axis_offset_px, 0.0], (len(self.input.images), 1)),
            threads=session.threads,
            memory=self._least_bytes(session, parameters) + spare,
        )

    def _memory_budget(self, session: Session, parameters: MethodParameters) -> MemoryBudget:
        """Memory budget of the computation: volumes, images as read and as the misfit has them, waves."""
        volumes = parameters.traits.load("volumes_held")(parameters) * prod(self.shape)
        resident = COPIES * self.input.images.size + ceil(self._least_bytes(session, parameters) / 4)
        return MemoryBudget(volumes, resident, self.scratch, HOST)

    def _least_bytes(self, session: Session, parameters: MethodParameters) -> int:
        """Return the least memory for the waves."""
        nz, ny, nx = self.shape
        geometry = wave_geometry(
            (nz, nx, ny),
            self.input.images.shape[1:],
            self.input.pixel_A,
            self.input.optics,
            parameters.binned_slices,
            float(np.abs(self.input.defocus_A).max()),
        )
        return least_bytes(geometry, threads=session.threads)


def multislice_task(
    session: Session,
    request: ReconstructionRequest,
    integrals: LineIntegrals,
    layout: VolumeLayout,
    *,
    volumes: Mapping[str, Volume],
    scratch: Path,
) -> MultisliceTask:
    """Create the task of a reconstruction from phase-contrast images, after checking them.

    Parameters
    ----------
    session : Session
    request : ReconstructionRequest
    integrals : LineIntegrals
        The views.
    layout : VolumeLayout
        The volume.
    volumes : mapping of str to Volume
        Initial volume and flat field, if given.
    scratch : Path
        Folder for arrays that do not fit into the memory.

    Returns
    -------
    MultisliceTask

    Raises
    ------
    UsageError, DataError
        When the request does not suit the views, or they are not suitable.
    """
    if session.device == "gpu":
        raise UsageError("--method multislice computes on the CPU; use --device cpu")
    initial = volumes.get("initial")
    return MultisliceTask(
        phase_contrast_input(session, integrals, request.phase_contrast, volumes.get("flat_field")),
        layout.shape,
        layout.geometry.axis_offset_px,
        None if initial is None else volume_rows(initial, layout, "initial"),
        scratch,
    )
