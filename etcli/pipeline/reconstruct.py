"""Reconstruction of a volume from a tilt series, in memory or from file to file."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from etcli.core.arguments import check_owner
from etcli.core.errors import UsageError
from etcli.core.lengths import Length
from etcli.core.multislice.backends import implementation
from etcli.core.quality import FSC
from etcli.core.reconstruction.slab_by_slab import ErrorCurve
from etcli.core.series import TiltSeries, Volume
from etcli.core.solvers.methods import OWNERS, POISSON, MethodParameters
from etcli.io.error_curve import write_error_curve
from etcli.io.writers import expect_images
from etcli.pipeline.fsc_numbers import curve, resolutions
from etcli.pipeline.half_sets import COPIES
from etcli.pipeline.inputs import read_series, read_volume
from etcli.pipeline.multislice_task import MultisliceTask
from etcli.pipeline.parts_beside import files_of_parts
from etcli.pipeline.picture_output import announce_picture, check_picture
from etcli.pipeline.prepared_reconstruction import Outcome, PreparedReconstruction, prepare
from etcli.pipeline.reconstruction_request import AUTO, ReconstructionRequest, request_of
from etcli.pipeline.resume import kept_work, resume_key
from etcli.pipeline.session import Session
from etcli.pipeline.text_output import check_text_names
from etcli.pipeline.view_selection import used_views
from etcli.pipeline.volume_output import (
    EVEN,
    ODD,
    WHOLE,
    VolumeFiles,
    VolumesInMemory,
    volume_file_name,
)

VOLUMES = ("mask", "initial", "flat_field")
"""Other images that a reconstruction may use."""


@dataclass(frozen=True)
class ReconstructionFiles:
    """Files of a reconstruction, named as the options of ``etcli recon``; views are counted from 0."""

    input: str
    output: str
    tilts: str | None = None
    defocus: str | None = None
    euler: str | None = None
    axis_deg: float | None = None
    view_weights: str | None = None
    mask: str | None = None
    initial: str | None = None
    flat_field: str | None = None
    views: tuple[int, ...] | None = None
    exclude: tuple[int, ...] | None = None
    error_curve: str | None = None
    plot: str | None = None
    resume: bool = False
    dask: str | None = None
    mode: int = 2

    @property
    def given(self) -> set[str]:
        """Names of the options that are given."""
        return {name for name, value in asdict(self).items() if value}


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Result of a reconstruction: the volume, the parameters used, and residuals.

    Parameters
    ----------
    volume : Volume
    parameters : MethodParameters
        The parameters used, including those determined automatically.
    background : float or None
        Background level that was subtracted.
    errors : ErrorCurve
        The residual after every iteration.
    halves : tuple of Volume
        Volumes from the odd and the even views, if requested.
    fsc : FSC or None
        Fourier shell correlation of these two.
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
    axis_offset: Length | float | str | None = None,
    z_offset: Length | float | str = 0,
    x_tilt_deg: float = 0.0,
    slices: Sequence[int] | None = None,
    background: float | str = AUTO,
    mask: Volume | ArrayLike | None = None,
    initial: Volume | ArrayLike | None = None,
    flat_field: Volume | ArrayLike | None = None,
    parts: tuple[TiltSeries, TiltSeries] | None = None,
    session: Session | None = None,
    **options: Any,
) -> Reconstruction:
    """Reconstruct the volume of an aligned tilt series.

    Parameters
    ----------
    series : TiltSeries
        Its tilt axis vertical and central, as `etcli.tiltalign` leaves it. Orientations and weights in its
        view table are used.
    method : str
        A name in `etcli.core.solvers.methods.METHODS`.
    thickness, width : length, optional
        Extent along z and x in Å, or with a unit as in ``"80px"``; the width of a view by default. The
        thickness may be ``"auto"``.
    axis_offset, z_offset : length
        Distance of the tilt axis from the centre (by default that of a crop), and height of the volume above
        it, in pixels or with a unit.
    x_tilt_deg : float
        Angle by which the volume is rotated about x.
    slices : sequence of int, optional
        Rows of the views to reconstruct, counted from 0.
    background : float or {"auto", "none"}
        Background level to subtract.
    mask, initial : Volume or ndarray of shape (nz, ny, nx), optional
        Mask, outside which voxels stay zero, and initial volume of the iterations.
    flat_field : Volume or ndarray of shape (1, ny, nx), optional
        Image of an even illumination, by which phase-contrast images are divided.
    parts : tuple of TiltSeries, optional
        With ``likelihood="poisson"``, the counts in two independent parts, by which the weight of the prior
        is found; by default whole counts are divided here.
    session : Session, optional
        Threads, memory, device and reporter; `Session()` by default.
    **options
        Other options of the method, by the names of ``etcli recon``: ``iterations`` (or ``"auto"``),
        ``nonnegative``, ``upper``, ``relaxation``, ``subset_size``, ``prior``, ``weight``, ``levels``,
        ``likelihood``, ``thresholds``, ``window``; of phase contrast ``kv``, ``alpha``, ``cs``,
        ``astigmatism``, ``focal_spread``, ``convergence``, ``binned_slices``, ``seed``, ``refine``,
        ``vacuum``, ``hot_pixels``; also ``kernel``, ``backend``, ``contrast``, ``extend``, ``half_sets``
        and ``views_chosen``.

    Returns
    -------
    Reconstruction

    Raises
    ------
    DataError
        When the series, or a volume, is not suitable.
    UsageError
        When the request contradicts itself, the method or the series, or exceeds the memory budget.

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
    if "orient" in options:
        raise UsageError("orient is the order of axes in a file; a volume in memory is always z, y, x")
    images = zip(VOLUMES, (mask, initial, flat_field), strict=True)
    given = {name: value for name, value in images if value is not None}
    for name in (*given, *(name for name, value in options.items() if value is not None)):
        check_owner(method, OWNERS.get(name, (method,)), shown=name)
    request = request_of(
        method,
        thickness=thickness if thickness in (None, AUTO) else Length.parse(thickness, "A"),
        width=None if width is None else Length.parse(width, "A"),
        axis_offset=None if axis_offset is None else Length.parse(axis_offset, "px"),
        z_offset=Length.parse(z_offset, "px"),
        x_tilt_deg=x_tilt_deg,
        slices=None if slices is None else tuple(slices),
        background=background,
        **options,
    )
    volumes = {
        name: value if isinstance(value, Volume) else Volume(np.asarray(value), name=name)
        for name, value in given.items()
    }
    oriented = series.views.rotations(x_tilt_deg) is not None
    request.check(oriented=oriented, given=set(volumes))
    if parts is not None and request.parameters.likelihood != POISSON:
        raise UsageError('parts are of counts; give likelihood="poisson" as well')
    prepared = prepare(session, series, request, volumes, scratch=Path(gettempdir()), parts=parts)
    destination = VolumesInMemory(prepared.layout)
    outcome = prepared.run(session, destination)
    halves = tuple(destination.volumes[half] for half in (ODD, EVEN) if half in destination.volumes)
    return Reconstruction(
        destination.volumes[WHOLE],
        outcome.parameters,
        prepared.level,
        outcome.errors,
        halves,
        outcome.fsc,
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
        The numbers of the run, for ``--json``.

    Raises
    ------
    DataError, UsageError
        As for `reconstruct`; no output is written then.
    """
    request = replace(request, views_chosen=request.views_chosen or files.views is not None)
    check_picture(files.plot)
    check_text_names(table=files.error_curve)
    if files.plot:
        from etcli.pipeline.specimen_row import specimen_row
        from etcli.plotting.reconstruction import ReconstructionPicture
        from etcli.plotting.slices import DENSITY, POTENTIAL
    request.check(oriented=bool(files.euler) or request.x_tilt_deg != 0, given=files.given)
    series = _used_views(session, files, files.input)
    oriented = series.views.rotations(request.x_tilt_deg) is not None  # an mdoc may give orientations, too
    request.check(oriented=oriented, given=files.given)
    volumes = {name: read_volume(session, file) for name in VOLUMES if (file := getattr(files, name))}
    targets = {
        which: volume_file_name(files.output, which) for which in (WHOLE, *(ODD, EVEN) * request.half_sets)
    }
    outputs = session.outputs()
    for target in targets.values():
        expect_images(outputs, target)  # fails now, not after the computation
    beside = (
        files_of_parts(files.input)
        if request.parameters.likelihood == POISSON and request.auto_weight
        else None
    )
    prepared = prepare(
        session,
        series,
        request,
        volumes,
        scratch=Path(files.output).parent,
        dask=files.dask,
        banded=not files.resume,
        parts=beside and (_used_views(session, files, beside[0]), _used_views(session, files, beside[1])),
    )
    finished: AbstractContextManager[Any] = nullcontext([None] * len(targets))
    if files.resume:
        finished = kept_work(
            session,
            list(targets.values()),
            _resume_key(files, prepared),
            in_slabs=not request.parameters.traits.whole_volume,
        )
    picture = None
    with finished as stores, outputs:
        curve_file = outputs.path(files.error_curve) if files.error_curve else None
        write_picture = announce_picture(outputs, files.plot) if files.plot else None
        if files.plot:
            quantity = POTENTIAL if request.parameters.traits.phase_contrast else DENSITY
            picture = ReconstructionPicture(specimen_row(series, prepared.layout.rows), quantity)
        destination = VolumeFiles(session, outputs, files.output, prepared.layout, files.mode, COPIES)
        outcome = prepared.run(
            session,
            destination,
            watch=picture.watch if picture else None,
            follow=bool(files.error_curve or files.plot) and not (files.mask or files.initial),
            stores=dict(zip(targets, stores, strict=True)),
            dask=files.dask,
        )
        if curve_file:
            write_error_curve(curve_file, outcome.errors, outcome.tuned.iterations)
        if write_picture and picture:
            curves = outcome.tuned.iterations, outcome.tuned.weights, outcome.fsc
            write_picture(picture.draw(destination.finished(), outcome.errors, *curves))
    return _numbers(prepared, outcome)


def _used_views(session: Session, files: ReconstructionFiles, name: str) -> TiltSeries:
    """Open a series, of the input or a part of its counts, and choose its views."""
    series = read_series(
        session,
        name,
        tilts=files.tilts,
        defocus=files.defocus,
        weights=files.view_weights,
        euler=files.euler,
        axis_deg=files.axis_deg,
        without=files.exclude or (),
    )
    if files.views or files.exclude:
        series = series.select(used_views(files.views, files.exclude, len(series)))
    return series


def _resume_key(files: ReconstructionFiles, prepared: PreparedReconstruction) -> str:
    """Return the key of what is kept: a text of everything that it depends on."""
    request = prepared.request
    used = {
        "parameters": request.parameters,
        "found": (request.auto_iterations, request.auto_weight, request.n_levels),
        "projector": (request.kernel, request.backend),
        "contrast": request.contrast,
        "rows": prepared.layout.rows,
        "views": files.views,
        "exclude": files.exclude,
        "level": prepared.level,
    }
    if isinstance(prepared.task, MultisliceTask):
        images = prepared.task.input
        used["microscope"] = images.optics, images.pixel_A, images.defocus_A.tolist()
        used["images"] = request.phase_contrast
        used["implementation"] = implementation(prepared.task.device)
    inputs = {role: getattr(files, role) for role in ("input", *VOLUMES)}
    return resume_key(inputs, prepared.layout.geometry, used)


def _numbers(prepared: PreparedReconstruction, outcome: Outcome) -> dict[str, Any]:
    """Return the numbers of the run, for ``--json``."""
    parameters, series = outcome.parameters, prepared.layout.series
    nz, ny, nx = prepared.layout.shape
    return {
        "method": parameters.method,
        "iterations": parameters.iterations or None,
        **parameters.assumptions(),
        "size": [nx, ny, nz],
        "pixel_A": series.pixel_A,
        "n_views": len(series),
        "background": prepared.level,
        "residuals": outcome.errors.residual,
        **outcome.errors.numbers,
        **(resolutions(outcome.fsc, series.pixel_A or 1.0) | curve(outcome.fsc) if outcome.fsc else {}),
    }
