"""Reconstruction that is checked and ready to run: its geometry, its task, and the run itself."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from etcli.core.errors import DataError
from etcli.core.jit import kernels_cached
from etcli.core.quality import FSC
from etcli.core.reconstruction.line_integrals import LineIntegrals
from etcli.core.reconstruction.slab_by_slab import ErrorCurve, Watch
from etcli.core.series import TiltSeries, Volume
from etcli.core.solvers.methods import POISSON, MethodParameters
from etcli.io.element_map import ElementMap
from etcli.io.keyed_folder import KeyedFolder
from etcli.io.writers import ProcessingStep
from etcli.pipeline.auto_parameters import Tuned, tune
from etcli.pipeline.background_level import background_level, level_words
from etcli.pipeline.counts_request import PartsOfSeries, counts_request, parts_of_counts
from etcli.pipeline.explained_views import report_explained
from etcli.pipeline.first_look import first_look
from etcli.pipeline.half_set_words import agreement_words
from etcli.pipeline.half_sets import check_half_sets, half_sets
from etcli.pipeline.multislice_task import multislice_task
from etcli.pipeline.reconstruction_request import AUTO, ReconstructionRequest
from etcli.pipeline.reconstruction_task import Task, make_task
from etcli.pipeline.session import Session, with_one_blas_thread
from etcli.pipeline.single_axis_task import SingleAxisTask
from etcli.pipeline.view_selection import used_rows
from etcli.pipeline.volume_geometry import SAME_TILT_DEG, slice_geometry, with_specimen_thickness
from etcli.pipeline.volume_output import WHOLE, Destination, VolumeLayout
from etcli.pipeline.written_volume import write_volume


@dataclass(frozen=True, eq=False)
class Outcome:
    """Results of a reconstruction other than the volume.

    Parameters
    ----------
    tuned : Tuned
        The parameters used.
    errors : ErrorCurve
        The residual after every iteration.
    fsc : FSC or None
        Fourier shell correlation of the half-sets.
    """

    tuned: Tuned
    errors: ErrorCurve
    fsc: FSC | None = None

    @property
    def parameters(self) -> MethodParameters:
        """The parameters, with the weight of the prior that the method found itself."""
        parameters = self.tuned.parameters
        return replace(parameters, weight=self.errors.numbers.get("weight", parameters.weight))


@dataclass(frozen=True, eq=False)
class PreparedReconstruction:
    """Reconstruction that is checked and ready to run.

    Parameters
    ----------
    request : ReconstructionRequest
    layout : VolumeLayout
        The volume.
    level : float or None
        Background level that is subtracted.
    words : sequence of str
        What was done to the values of the views, for the history.
    task : Task
        The work.
    masked : bool
        Whether the volume has a mask.
    """

    request: ReconstructionRequest
    layout: VolumeLayout
    level: float | None
    words: tuple[str, ...]
    task: Task
    masked: bool = False

    def step(self, parameters: MethodParameters, n_views: int, *found: str) -> ProcessingStep:
        """Processing step for the history of the volume, with what was found in the end."""
        words = (parameters.summary(), f"{n_views} views", *self.words, *found)
        return ProcessingStep("recon", ", ".join(words))

    @with_one_blas_thread
    def run(
        self,
        session: Session,
        destination: Destination,
        *,
        watch: Watch | None = None,
        follow: bool = False,
        stores: Mapping[str, KeyedFolder | None] | None = None,
        dask: str | None = None,
    ) -> Outcome:
        """Determine the automatic parameters, then reconstruct."""
        stores = stores or {}
        tuned = tune(session, self.request, self.task, follow=follow)
        n_views = len(self.layout.series)
        # first, because the history of the volume tells to which resolution they agree
        shells = self._half_sets(session, tuned.parameters, destination, stores, dask)
        agreement = agreement_words(shells, self.layout.series.pixel_A) if shells else ()
        errors = write_volume(
            session,
            self.task,
            tuned.parameters,
            destination,
            WHOLE,
            n_views,
            step=lambda parameters, n_views: self.step(parameters, n_views, *agreement),
            watch=watch,
            store=stores.get(WHOLE),
            dask=dask,
        )
        series, thickness = self.layout.series, self.layout.geometry.thickness
        thin = thickness < series.shape[2]
        report_explained(
            session,
            series.name,
            tuned.parameters,
            errors,
            n_tilts=len(np.unique(series.tilt_deg)),
            thin=thin,
            level_known=self.level is not None,
        )
        return Outcome(tuned, errors, shells)

    def _half_sets(
        self,
        session: Session,
        parameters: MethodParameters,
        destination: Destination,
        stores: Mapping[str, KeyedFolder | None],
        dask: str | None,
    ) -> FSC | None:
        """Reconstruct and correlate the half-sets, if they are asked for."""
        if not self.request.half_sets:
            return None
        return half_sets(
            session,
            self.task,
            parameters,
            self.layout,
            destination,
            stores=stores,
            dask=dask,
            step=self.step,
            masked=self.masked,
        )


def prepare(
    session: Session,
    series: TiltSeries,
    request: ReconstructionRequest,
    volumes: Mapping[str, Volume],
    *,
    scratch: Path,
    dask: str | None = None,
    banded: bool = True,
    parts: PartsOfSeries | None = None,
) -> PreparedReconstruction:
    """Determine geometry, background level and task; raise an error if the reconstruction is not possible.

    Parameters
    ----------
    session : Session
    series : TiltSeries
    request : ReconstructionRequest
    volumes : mapping of str to Volume
        Mask, initial volume and flat field, if given.
    scratch : Path
        Folder for arrays that do not fit into the memory.
    dask : str or None
        Scheduler of a Dask cluster.
    banded : bool
        Whether back-projection may work by bands of the volume.
    parts : tuple of TiltSeries, optional
        The counts in two independent parts, by which the weight of their prior is found.

    Returns
    -------
    PreparedReconstruction
    """
    phase_contrast = request.parameters.traits.phase_contrast
    counting = request.parameters.likelihood == POISSON
    if not (request.views_chosen or phase_contrast):
        series.views.check_one_focus(series.name)
    if not phase_contrast:
        _check_tilts(series)
    rows = used_rows(request.slices, series.shape[1])
    geometry = slice_geometry(
        session,
        series,
        thickness=request.thickness,
        width=request.width,
        axis_offset=request.axis_offset,
        z_offset=request.z_offset,
        least_squares=request.parameters.traits.least_squares,
    )
    no_level = phase_contrast and request.background == AUTO
    rims = request.background == AUTO and not no_level
    look = first_look(session, series, rims=rims, counts=counting)
    used = "expected" if counting else "subtracted"
    level = (
        None
        if no_level
        else background_level(session, series, request.background, look=look, needed=True, used=used)
    )
    if counting:
        request = counts_request(request, geometry, level)
    integrals = LineIntegrals(series, *rows, level, request.contrast == "log", geometry.view_weight)
    if request.thickness == AUTO:
        geometry = with_specimen_thickness(session, integrals, geometry, counts=counting)
    shows = ElementMap.of(series.description).of_volume
    layout = VolumeLayout(series, geometry, rows, request.x_tilt_deg, request.orient, shows=shows)
    words = tuple(level_words(level, request.contrast))
    task: Task
    if phase_contrast:
        multislice = multislice_task(session, request, integrals, layout, volumes=volumes, scratch=scratch)
        task, words = multislice, ("potential in V", *words, *multislice.words(request.parameters))
        layout = replace(layout, voltage_kv=multislice.input.optics.voltage_kV)
    else:
        task = make_task(
            session, request, integrals, layout, volumes=volumes, scratch=scratch, dask=dask is not None
        )
    if parts is not None and isinstance(task, SingleAxisTask) and counting and request.auto_weight:
        task = replace(task, parts=parts_of_counts(session, series, parts, rows))
    if dask is None:
        task.check_memory(session, request.parameters, banded=banded)
    if request.half_sets:
        check_half_sets(session, len(series), layout.shape)
    if not kernels_cached():
        session.reporter.report("compiling the projector for this machine, once")
    return PreparedReconstruction(request, layout, level, words, task, "mask" in volumes)


def _check_tilts(series: TiltSeries) -> None:
    """Check that the views are of two tilt angles at least; raise DataError otherwise."""
    if series.views.rotations() is None and np.ptp(series.tilt_deg) < SAME_TILT_DEG:
        n = f"{len(series)} views" if len(series) > 1 else "a single view"
        raise DataError(
            f"{series.name}: {n} at one tilt angle, {series.tilt_deg[0]:.4g}°, too few to "
            "tell at which depth anything is; use views of many tilt angles (--views, --exclude)"
        )
