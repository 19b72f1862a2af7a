"""Reconstruction: from a tilt series to a volume, in memory or from file to file."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from etcli.core.jit import kernels_cached
from etcli.core.lengths import Length
from etcli.core.quality import FSC
from etcli.core.reconstruction.line_integrals import LineIntegrals
from etcli.core.reconstruction.slab_by_slab import ErrorCurve, SlabStore, Watch
from etcli.core.series import TiltSeries, Volume
from etcli.core.solvers.methods import MethodParameters
from etcli.io.error_curve import write_error_curve
from etcli.io.writers import ProcessingStep
from etcli.pipeline.auto_parameters import Tuned, tune
from etcli.pipeline.background_level import background_level, level_words
from etcli.pipeline.fsc_numbers import curve, resolutions
from etcli.pipeline.half_sets import COPIES, check_half_sets, half_sets
from etcli.pipeline.inputs import read_series, read_volume
from etcli.pipeline.picture_output import announce_picture, check_picture
from etcli.pipeline.reconstruction_request import AUTO, ReconstructionRequest, request_of
from etcli.pipeline.reconstruction_task import Task, make_task
from etcli.pipeline.resume import finished_slabs, resume_key
from etcli.pipeline.session import Session, with_one_blas_thread
from etcli.pipeline.view_selection import used_rows, used_views
from etcli.pipeline.volume_geometry import as_thick_as_needed, slice_geometry
from etcli.pipeline.volume_output import (
    EVEN,
    ODD,
    WHOLE,
    Destination,
    VolumeFiles,
    VolumeLayout,
    VolumesInMemory,
    WatchedDestination,
    name_of,
)


@dataclass(frozen=True)
class ReconstructionFiles:
    """The files of a reconstruction, by the names of ``etcli recon``'s options; views are counted from 0."""

    input: str
    output: str
    tilts: str | None = None
    defocus: str | None = None
    euler: str | None = None
    view_weights: str | None = None
    mask: str | None = None
    initial: str | None = None
    views: tuple[int, ...] | None = None
    exclude: tuple[int, ...] | None = None
    error_curve: str | None = None
    plot: str | None = None
    resume: bool = False
    dask: str | None = None
    mode: int = 2

    @property
    def given(self) -> set[str]:
        """Names of what is not left out."""
        return {name for name, value in asdict(self).items() if value}


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """A volume and how it came about.

    Parameters
    ----------
    volume : Volume
    parameters : MethodParameters
        With all that was found.
    background : float or None
        Level that was taken off.
    errors : ErrorCurve
        The residual after every iteration.
    halves : tuple of Volume
        Of the odd and the even views, where asked for.
    fsc : FSC or None
        How far these agree.
    """

    volume: Volume
    parameters: MethodParameters
    background: float | None
    errors: ErrorCurve
    halves: tuple[Volume, ...] = ()
    fsc: FSC | None = None


def reconstruct(
    series: TiltSeries,
    *,
    method: str = "sirt",
    thickness: Length | float | str | None = None,
    width: Length | float | str | None = None,
    axis_offset: Length | float | str = 0,
    z_offset: Length | float | str = 0,
    x_tilt_deg: float = 0.0,
    slices: Sequence[int] | None = None,
    background: float | str = AUTO,
    mask: Volume | ArrayLike | None = None,
    initial: Volume | ArrayLike | None = None,
    session: Session | None = None,
    **options: Any,
) -> Reconstruction:
    """Reconstruct the volume of an aligned tilt series.

    Parameters
    ----------
    series : TiltSeries
        Its tilt axis vertical and central, as `etcli.tiltalign` leaves it. Orientations and weights of its
        table of views are heeded.
    method : str
        A name in `etcli.core.solvers.methods.METHODS`.
    thickness, width : length, optional
        Extent along z and x in Å, or with a unit as in ``"80px"``; as wide as a view by default. The
        thickness may be ``"auto"``.
    axis_offset, z_offset : length
        Where the tilt axis lies from the centre, and the height of the volume above it, in pixels or with a
        unit.
    x_tilt_deg : float
        What the volume is turned by about x.
    slices : sequence of int, optional
        Rows of the views to reconstruct, counted from 0.
    background : float or {"auto", "none"}
        Level to take off.
    mask, initial : Volume or ndarray of shape (nz, ny, nx), optional
        Where voxels may differ from zero, and where to start from.
    session : Session, optional
        Threads, memory, device, and who is told; by default all of this process's, and nobody.
    **options
        Other options of the method, by the names of ``etcli recon``: ``iterations`` (or ``"auto"``),
        ``nonnegative``, ``upper``, ``relaxation``, ``subset_size``, ``prior``, ``weight``, ``levels``,
        ``thresholds``, ``window``; also ``kernel``, ``backend``, ``contrast``, ``extend``, ``half_sets`` and
        ``views_chosen``.

    Returns
    -------
    Reconstruction

    Raises
    ------
    DataError
        When the series, or a volume, cannot be worked with.
    UsageError
        When the request contradicts itself or the series, or takes more memory than is allowed.

    Examples
    --------
    >>> import numpy as np, etcli
    >>> disc = np.hypot(*(np.mgrid[:32, :32] - 15.5)) < 8
    >>> view = np.repeat(disc.sum(0)[np.newaxis], 16, axis=0).astype(np.float32)
    >>> series = etcli.TiltSeries.of(np.stack([view] * 30), np.arange(0, 180, 6), pixel_A=10)
    >>> result = etcli.reconstruct(series, method="sirt", iterations=50, background="none")
    >>> result.volume.shape
    (32, 16, 32)
    >>> round(float(result.volume.images()[12:20, 8, 12:20].mean()), 1)
    1.0
    """
    session = session or Session()
    request = request_of(
        method,
        thickness=thickness if thickness in (None, AUTO) else Length.parse(thickness, "A"),
        width=None if width is None else Length.parse(width, "A"),
        axis_offset=Length.parse(axis_offset, "px"),
        z_offset=Length.parse(z_offset, "px"),
        x_tilt_deg=x_tilt_deg,
        slices=None if slices is None else tuple(slices),
        background=background,
        **options,
    )
    given = {name: value for name, value in (("mask", mask), ("initial", initial)) if value is not None}
    volumes = {
        name: value if isinstance(value, Volume) else Volume(np.asarray(value), name=name)
        for name, value in given.items()
    }
    oriented = series.views.rotations(x_tilt_deg) is not None
    request.check(oriented=oriented, given=set(volumes))
    work = _prepared(
        session,
        series,
        request,
        volumes,
        scratch=Path(gettempdir()),
    )
    destination = VolumesInMemory(work.layout)
    done = work.run(session, destination)
    halves = tuple(destination.volumes[half] for half in (ODD, EVEN) if half in destination.volumes)
    return Reconstruction(
        destination.volumes[WHOLE], done.tuned.parameters, work.level, done.errors, halves, done.fsc
    )


def reconstruct_files(
    files: ReconstructionFiles, request: ReconstructionRequest, session: Session
) -> dict[str, Any]:
    """Reconstruct from file to file.

    Parameters
    ----------
    files : ReconstructionFiles
    request : ReconstructionRequest
    session : Session

    Returns
    -------
    dict
        The numbers of the run, for a script.

    Raises
    ------
    DataError, UsageError
        As for `reconstruct`; no output is left then.
    """
    request = replace(request, views_chosen=request.views_chosen or files.views is not None)
    check_picture(files.plot)
    if files.plot:
        from etcli.plotting.reconstruction import Progress
    request.check(oriented=bool(files.euler) or request.x_tilt_deg != 0, given=files.given)
    series = read_series(
        session,
        files.input,
        tilts=files.tilts,
        defocus=files.defocus,
        weights=files.view_weights,
        euler=files.euler,
        without=files.exclude or (),
    )
    if files.views or files.exclude:
        series = series.select(used_views(files.views, files.exclude, len(series)))
    oriented = series.views.rotations(request.x_tilt_deg) is not None  # an mdoc may say so, too
    request.check(oriented=oriented, given=files.given)
    work = _prepared(
        session,
        series,
        request,
        {name: read_volume(session, file) for name in ("mask", "initial") if (file := getattr(files, name))},
        scratch=Path(files.output).parent,
        dask=files.dask,
        banded=not files.resume,
    )
    targets = {which: name_of(files.output, which) for which in (WHOLE, *(ODD, EVEN) * request.half_sets)}
    outputs = session.outputs()
    for target in targets.values():
        outputs.expect(target)  # found out now, not when all is done
    kept: AbstractContextManager[Any] = nullcontext([None] * len(targets))
    if files.resume:
        kept = finished_slabs(session, list(targets.values()), _resume_key(files, work))
    with kept as stores, outputs:
        curve_file = outputs.path(files.error_curve) if files.error_curve else None
        write_picture = announce_picture(outputs, files.plot) if files.plot else None
        picture = Progress(work.layout.shape) if files.plot else None
        destination = VolumeFiles(session, outputs, files.output, work.layout, files.mode, COPIES)
        done = work.run(
            session,
            WatchedDestination(destination, picture.also) if picture else destination,
            watch=picture.watch if picture else None,
            follow=bool(files.error_curve or files.plot) and not (files.mask or files.initial),
            stores=dict(zip(targets, stores, strict=True)),
            dask=files.dask,
        )
        if curve_file:
            write_error_curve(curve_file, done.errors, done.tuned.iterations)
        if write_picture and picture:
            curves = done.tuned.iterations, done.tuned.weights, done.fsc
            write_picture(picture.draw(done.errors, *curves, pixel_A=series.pixel_A))
    return _numbers(work, done)


@dataclass(frozen=True, eq=False)
class _Done:
    """What a reconstruction has found beside the volume."""

    tuned: Tuned
    errors: ErrorCurve
    fsc: FSC | None = None


@dataclass(frozen=True, eq=False)
class _Work:
    """A reconstruction that is ready to be made."""

    request: ReconstructionRequest
    layout: VolumeLayout
    level: float | None
    task: Task

    def step(self, parameters: MethodParameters, n_views: int) -> ProcessingStep:
        """Say what is done, for the history of the volume."""
        words = parameters.summary(), f"{n_views} views", *level_words(self.level, self.request.contrast)
        return ProcessingStep("recon", ", ".join(words))

    @with_one_blas_thread
    def run(
        self,
        session: Session,
        destination: Destination,
        *,
        watch: Watch | None = None,
        follow: bool = False,
        stores: Mapping[str, SlabStore | None] | None = None,
        dask: str | None = None,
    ) -> _Done:
        """Find what is to be found, and reconstruct."""
        stores = stores or {}
        found = tune(session, self.request, self.task, follow=follow)
        n_views = len(self.layout.series)
        with destination.open(WHOLE, self.step(found.parameters, n_views), n_views) as write:
            errors = self.task.run(
                session, found.parameters, write, watch=watch, store=stores.get(WHOLE), dask=dask
            )
        if not self.request.half_sets:
            return _Done(found, errors)
        shells = half_sets(
            session,
            self.task,
            found.parameters,
            self.layout,
            destination,
            stores=stores,
            dask=dask,
            step=self.step,
        )
        return _Done(found, errors, shells)


def _prepared(
    session: Session,
    series: TiltSeries,
    request: ReconstructionRequest,
    volumes: Mapping[str, Volume],
    *,
    scratch: Path,
    dask: str | None = None,
    banded: bool = True,
) -> _Work:
    """Decide on geometry, background and task, and refuse what could not be done."""
    if not request.views_chosen:
        series.views.check_one_focus(series.name)
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
    level = background_level(session, series, request.background)
    integrals = LineIntegrals(series, *rows, level, request.contrast == "log", geometry.view_weight)
    if request.thickness == AUTO:
        geometry = as_thick_as_needed(session, integrals, geometry)
    layout = VolumeLayout(series, geometry, rows, request.x_tilt_deg, request.orient)
    task = make_task(
        session, request, integrals, layout, volumes=volumes, scratch=scratch, dask=dask is not None
    )
    if dask is None:
        task.check_memory(session, request.parameters, banded=banded)
    if request.half_sets:
        check_half_sets(session, len(series), prod(layout.shape))
    if not kernels_cached():
        session.reporter.report("compiling the projector for this machine, once")
    return _Work(request, layout, level, task)


def _resume_key(files: ReconstructionFiles, work: _Work) -> str:
    """Return all that finished slabs depend on, but for the geometry."""
    request = work.request
    used = {
        "parameters": request.parameters,
        "found": (request.auto_iterations, request.auto_weight, request.n_levels),
        "projector": (request.kernel, request.backend),
        "contrast": request.contrast,
        "rows": work.layout.rows,
        "views": files.views,
        "exclude": files.exclude,
        "level": work.level,
    }
    inputs = {"input": files.input, "mask": files.mask, "initial": files.initial}
    return resume_key(inputs, work.layout.geometry, used)


def _numbers(work: _Work, done: _Done) -> dict[str, Any]:
    """Return the numbers of the run."""
    parameters, series = done.tuned.parameters, work.layout.series
    nz, ny, nx = work.layout.shape
    return {
        "method": parameters.method,
        "iterations": parameters.iterations or None,
        **parameters.assumptions(),
        "size": [nx, ny, nz],
        "pixel_A": series.pixel_A,
        "n_views": len(series),
        "background": work.level,
        "residuals": done.errors.residual,
        **(resolutions(done.fsc, series.pixel_A or 1.0) | curve(done.fsc) if done.fsc else {}),
    }
