"""Reconstruction tasks: the interface common to work slab by slab and on the whole volume."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError, UsageError
from etcli.core.reconstruction.line_integrals import LineIntegrals
from etcli.core.reconstruction.slab_by_slab import ErrorCurve, Read, Watch
from etcli.core.reconstruction.streamed_backprojection import BandWriter
from etcli.core.series import Volume
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.misfit import Misfit
from etcli.core.solvers.resire import extended_shape
from etcli.core.solvers.total_variation import Zeros
from etcli.io.keyed_folder import KeyedFolder
from etcli.pipeline.devices import oriented_projector, slab_projector, task_for_device
from etcli.pipeline.oriented_task import OrientedTask
from etcli.pipeline.reconstruction_request import ReconstructionRequest
from etcli.pipeline.session import Session
from etcli.pipeline.single_axis_task import SingleAxisTask
from etcli.pipeline.volume_geometry import check_place
from etcli.pipeline.volume_output import VolumeLayout


class Task(Protocol):
    """Interface of a reconstruction task: views, and the volume to reconstruct from them."""

    def of_views(self, views: NDArray[np.intp]) -> "Task":
        """Return the same task with some of the views, counted from 0."""

    def check_memory(self, session: Session, parameters: MethodParameters, *, banded: bool = True) -> None:
        """Check before the computation that it fits into the memory; raise UsageError otherwise.

        ``banded`` tells whether back-projection may work by bands of the volume.
        """

    def sample(self, session: Session) -> Misfit:
        """Return the part of the series on which automatic parameters are determined."""

    def zeros(self, session: Session, parameters: MethodParameters) -> Zeros:
        """Return the function that creates zero-filled arrays for the volume of the sample."""

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
        """Reconstruct the volume and write it."""


def make_task(
    session: Session,
    request: ReconstructionRequest,
    integrals: LineIntegrals,
    layout: VolumeLayout,
    *,
    volumes: Mapping[str, Volume],
    scratch: Path,
    dask: bool = False,
) -> Task:
    """Create the task that suits the views and the request.

    With ``--device auto`` the CPU is used where the memory of the GPU is too small.

    Parameters
    ----------
    session : Session
    request : ReconstructionRequest
    integrals : LineIntegrals
        The views.
    layout : VolumeLayout
        The volume.
    volumes : mapping of str to Volume
        Mask and initial volume, if given.
    scratch : Path
        Folder for arrays that do not fit into the memory.
    dask : bool
        Whether the computation runs on a Dask cluster.

    Returns
    -------
    Task

    Raises
    ------
    UsageError, DataError
        When the request does not suit the views, or a volume has another size or position.
    """
    readers = {name: volume_rows(volume, layout, name) for name, volume in volumes.items()}
    return task_for_device(
        session,
        request.parameters,
        lambda gpu: _task(session, request, integrals, layout, readers, scratch, gpu=gpu),
        remote=dask,
    )


def _task(
    session: Session,
    request: ReconstructionRequest,
    integrals: LineIntegrals,
    layout: VolumeLayout,
    readers: Mapping[str, Read],
    scratch: Path,
    *,
    gpu: bool,
) -> Task:
    """Create the task for the CPU or the GPU."""
    geometry, rotation = layout.geometry, layout.series.views.rotations(request.x_tilt_deg)
    if rotation is None:
        if request.extend:
            raise UsageError("--extend is for views of any orientation; give --euler as well")
        weighted = geometry.view_weight is not None
        make_projector = slab_projector(
            session, gpu=gpu, kernel=request.kernel, backend=request.backend, weighted=weighted
        )
        return SingleAxisTask(integrals, geometry, make_projector, readers, scratch)
    if integrals.n_rows != layout.series.shape[1]:
        raise UsageError("--slices are of views tilted about one axis; leave it out with --euler")
    for given, option in (
        (request.backend != "slab", f"--backend {request.backend}"),
        (request.kernel != "linear", f"--kernel {request.kernel}"),
        (geometry.view_weight is not None, "--view-weights (or ViewWeight in the mdoc)"),
        *((True, f"--{name}") for name in readers),
    ):
        if given:
            raise UsageError(f"{option} is for views tilted about one axis; leave it out")
    y = layout.series.centre_px[1]  # cropped rows are where the views show them
    detector, shape = (integrals.n_rows, geometry.n_detector), layout.shape
    projector = oriented_projector(gpu)(
        rotation,
        extended_shape(rotation, shape, detector) if request.extend else shape,
        detector,
        centre_px=(geometry.axis_offset_px, y) + rotation[:, :2] @ (0.0, -y, geometry.z_offset_px),
        threads=session.threads,
    )
    return OrientedTask(integrals, projector, shape, scratch)


def volume_rows(volume: Volume, layout: VolumeLayout, name: str) -> Read:
    """Return the function that reads rows of a volume, after checking its size and position."""
    volume = volume.upright()
    if volume.shape != layout.shape:
        sizes = [" x ".join(map(str, size[::-1])) for size in (volume.shape, layout.shape)]
        raise DataError(
            f"{volume.name}: {sizes[0]} voxels (x, y, z), but the volume has {sizes[1]}; make the {name} of "
            "its size"
        )
    check_place(volume, layout.placement, x_tilt_deg=layout.x_tilt_deg, role=name)
    return partial(_read_rows, volume)


def _read_rows(volume: Volume, y0: int, y1: int) -> NDArray[np.float32]:
    """Read rows ``y0`` to ``y1`` of all sections."""
    return volume.rows(np.arange(y0, y1))
