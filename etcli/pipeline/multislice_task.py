"""Reconstruction of the electrostatic potential from phase-contrast images, on the whole volume at once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.multislice.backends import bytes_besides_volumes, make_misfit
from etcli.core.multislice.phase_misfit import PhaseContrastMisfit
from etcli.core.multislice.refinement import ViewRefinement
from etcli.core.projectors import Device
from etcli.core.reconstruction.line_integrals import LineIntegrals
from etcli.core.reconstruction.slab_by_slab import ErrorCurve, Read, Watch
from etcli.core.reconstruction.streamed_backprojection import BandWriter
from etcli.core.series import Volume
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.multislice import LeftOutTilts
from etcli.core.solvers.steps import on_host
from etcli.core.solvers.total_variation import Zeros
from etcli.io.keyed_folder import KeyedFolder
from etcli.pipeline.devices import multislice_device, task_for_device
from etcli.pipeline.memory_budget import MemoryBudget
from etcli.pipeline.multislice_progress import SolverProgress
from etcli.pipeline.multislice_report import report_fit, report_prediction, report_refinement
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
    device : Device
        Device of the computation.
    """

    input: PhaseContrastInput
    shape: tuple[int, int, int]
    axis_offset_px: float
    initial: Read | None
    scratch: Path
    device: Device

    def of_views(self, views: NDArray[np.intp]) -> "MultisliceTask":
        """Return the same task with some of the views, counted from 0."""
        return replace(self, input=self.input.of_views(views))

    def words(self, parameters: MethodParameters) -> list[str]:
        """What is done to the images, and the microscope, for the history of the volume."""
        words = list(self.input.words)
        words += [f"refined {'+'.join(parameters.refine)}"] if parameters.refine else []
        words += [self.input.optics.summary(), f"slices of {parameters.binned_slices}"]
        return words + ([f"seed {parameters.seed}"] if parameters.seed else [])

    def check_memory(self, session: Session, parameters: MethodParameters, *, banded: bool = True) -> None:
        """Check before the computation that it fits into the memory; raise UsageError otherwise."""
        self._memory_budget(session, parameters).check(session)

    def sample(self, session: Session) -> PhaseContrastMisfit:
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
        left_out = LeftOutTilts.of(len(misfit.tilts), parameters.iterations, refined=refinement is not None)
        progress = SolverProgress(left_out, refinement)
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
                    watch((0, n_rows), k, on_host(volume))

            volume: Array = parameters.traits.load("solve_volume")(
                parameters,
                misfit,
                follow,
                initial=None if self.initial is None else self.initial(0, n_rows).swapaxes(1, 2),
                between=refinement,
                start=progress.state,
                keep=None if store is None else partial(progress.keep, store),
                used_weight=progress.weights.append,
                left_out=left_out,
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
        residual, volume = misfit.residual(volume), on_host(volume)
        numbers |= report_fit(session, self.input, volume, residual=residual, contrast=misfit.size)
        images = np.concatenate([misfit.tilts[tilt] for tilt in left_out.tilts] or [np.empty(0, np.intp)])
        numbers |= report_prediction(session, self.input.of_views(images), left_out)
        write(0, volume.swapaxes(1, 2))
        sweeps = np.arange(1, len(progress.norms) + 1)
        return ErrorCurve(sweeps, np.array(progress.norms) / (misfit.size or 1.0), numbers)

    def _misfit(self, session: Session, parameters: MethodParameters) -> PhaseContrastMisfit:
        """Return the misfit to the images, which uses the memory that the volumes leave."""
        nz, ny, nx = self.shape
        spare = self._memory_budget(session, parameters).spare_bytes(session)
        return make_misfit(
            self.input.images,
            self.input.tilt_deg,
            self.input.defocus_A,
            self.input.optics,
            pixel_A=self.input.pixel_A,
            shape=(nz, nx, ny),
            binned_slices=parameters.binned_slices,
            shift_px=np.tile([self.axis_offset_px, 0.0], (len(self.input.images), 1)),
            threads=session.threads,
            memory=self._least_bytes(session, parameters) + spare,
            device=self.device,
        )

    def _memory_budget(self, session: Session, parameters: MethodParameters) -> MemoryBudget:
        """Memory budget of the computation: volumes, images as read and as the misfit has them, waves."""
        volumes = parameters.traits.load("volumes_held")(parameters) * prod(self.shape)
        copies = 1 if self.device.free_bytes() is not None else COPIES
        resident = copies * self.input.images.size + self._least_bytes(session, parameters) // 4
        return MemoryBudget(volumes, resident, self.scratch, self.device)

    def _least_bytes(self, session: Session, parameters: MethodParameters) -> int:
        """Return the least memory for the waves."""
        nz, ny, nx = self.shape
        return bytes_besides_volumes(
            self.input.tilt_deg,
            self.input.defocus_A,
            self.input.optics,
            image=self.input.images.shape[1:],
            pixel_A=self.input.pixel_A,
            shape=(nz, nx, ny),
            binned_slices=parameters.binned_slices,
            threads=session.threads,
            device=self.device,
        )


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
    initial = volumes.get("initial")
    images = phase_contrast_input(session, integrals, request.phase_contrast, volumes.get("flat_field"))
    read = None if initial is None else volume_rows(initial, layout, "initial")
    offset_px = layout.geometry.axis_offset_px

    def make(gpu: bool) -> MultisliceTask:
        device = multislice_device(session, gpu=gpu)
        return MultisliceTask(images, layout.shape, offset_px, read, scratch, device)

    return task_for_device(session, request.parameters, make)
