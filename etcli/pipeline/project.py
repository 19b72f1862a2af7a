"""Projection of a volume at tilt angles or in any orientation, in memory or from file to file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.arguments import check_choice
from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry, tilt_range
from etcli.core.orientation import rotation_matrices, tilts_as_euler
from etcli.core.reconstruction.slab_by_slab import project as project_slabs
from etcli.core.reconstruction.slab_plan import plan_projection
from etcli.core.series import TiltSeries, Volume
from etcli.core.solvers.steps import on_host
from etcli.core.view_table import ViewTable
from etcli.io.euler import read_euler, write_euler
from etcli.io.image_file import open_images
from etcli.io.mdoc import read_mdoc
from etcli.io.tilts import read_tilts
from etcli.io.writers import ProcessingStep, series_writer
from etcli.pipeline.devices import oriented_projector, slab_projector, use_gpu
from etcli.pipeline.inputs import load_images, read_volume_only
from etcli.pipeline.project_multislice import MultisliceProjection
from etcli.pipeline.session import Session
from etcli.pipeline.simulate import COUNTS

MODELS = ("linear", "multislice")
NARROWEST_SLAB = 16
"""Number of slices in a slab that every device supports."""
COPIES = 3
"""Arrays of the size of the volume that the projection in any orientation needs."""
WriteRows = Callable[[int, NDArray[np.float32]], None]


def project(
    volume: Volume,
    tilt_deg: ArrayLike | None = None,
    *,
    euler_deg: ArrayLike | None = None,
    kernel: str = "linear",
    model: str = "linear",
    session: Session | None = None,
    **multislice: Any,
) -> TiltSeries:
    """Project a volume.

    A volume whose frame is known is projected about its rotation centre, and as it was before its rotation
    about x, so that the views match those that it was reconstructed from.

    Parameters
    ----------
    volume : Volume
    tilt_deg : array_like of shape (n_views,), optional
        Tilt angles about y, in degrees.
    euler_deg : array_like of shape (n_views, 3), optional
        Orientations instead; see `etcli.core.orientation`.
    kernel : {"linear", "strip"}
        Linear interpolation in each row of voxels, or overlap of areas (for tilt angles about y only).
    model : {"linear", "multislice"}
        Line integrals, or phase-contrast images of a potential in volts by multislice.
    session : Session, optional
        Threads, memory and device to use; `Session()` by default.
    **multislice
        Options of multislice: ``defocus_um``, the defoci at each tilt, and the fields of
        `etcli.pipeline.project_multislice.MultisliceProjection`.

    Returns
    -------
    TiltSeries
        Values in density times voxels; of multislice intensities, 1 in vacuum.

    Raises
    ------
    UsageError
        When both tilt angles and orientations are given, or none of them, or an option does not suit the
        model.

    Examples
    --------
    >>> import numpy as np, etcli
    >>> volume = etcli.Volume(np.ones((4, 8, 6), np.float32))
    >>> series = etcli.project(volume, [0, 90])
    >>> series.shape, float(series.view(0)[4, 3])
    ((2, 8, 6), 4.0)
    """
    if (tilt_deg is None) == (euler_deg is None):
        raise UsageError("give either tilt angles or Euler angles to project at")
    views = ViewTable.tilted(tilt_deg) if euler_deg is None else ViewTable.oriented(euler_deg)  # type: ignore[arg-type]
    session, volume = session or Session(), volume.upright()
    waves = _multislice(model, kernel, multislice)
    like = _output_series(volume, waves.views(views) if waves else views, "projections")
    data = np.empty(like.shape, np.float32)

    def write(y0: int, block: NDArray[np.float32]) -> None:
        data[:, y0 : y0 + block.shape[1]] = block

    _project(session, volume, like, write, kernel=kernel, waves=waves)
    return replace(like, data=data, history=(*like.history, str(_step(like))))


def project_files(
    session: Session,
    input: str,
    output: str,
    *,
    tilts: str | None = None,
    angles: tuple[float, float, float] | None = None,
    euler: str | None = None,
    kernel: str = "linear",
    model: str = "linear",
    mode: int = 2,
    **multislice: Any,
) -> None:
    """Project a volume from file to file.

    Parameters
    ----------
    session : Session
    input, output : str
    tilts : str, optional
        File of tilt angles, or a series that has them.
    angles : (float, float, float), optional
        First and last tilt angle and the step.
    euler : str, optional
        File of Euler angles; those of the output are written beside it.
    kernel : {"linear", "strip"}
    model : {"linear", "multislice"}
    mode : int
        MRC mode.
    **multislice
        Options of multislice, see `project`; the defoci and the voltage of the series of ``tilts`` are used
        unless others are given.
    """
    waves = _multislice(model, kernel, multislice)
    if waves and mode in COUNTS:
        raise UsageError(f"--mode {mode} has no fractions, but intensities are about 1; use --mode 2 or 12")
    if sum(given is not None for given in (tilts, angles, euler)) != 1:
        raise UsageError(
            "give the tilt angles, with --tilts FILE or --range A B STEP, or orientations with --euler FILE"
        )
    volume = read_volume_only(session, input).upright()
    voltage_kv = None
    if euler:
        views = ViewTable.oriented(read_euler(Path(euler)))
    elif angles:
        views = ViewTable.tilted(tilt_range(*angles))
    else:
        views, voltage_kv = _read_views(Path(str(tilts)))
    session.reads(tilts, euler)
    if waves:
        views = waves.views(views)
        like = replace(_output_series(volume, views, output), voltage_kv=waves.kv or voltage_kv)
    else:
        like = _output_series(
            volume, ViewTable.tilted(np.asarray(views.tilt_deg)) if tilts else views, output
        )
    with session.outputs() as outputs:
        if views.euler_deg is not None:
            write_euler(outputs.path(f"{output}.euler.csv"), views.euler_deg)
        with series_writer(outputs, output, like, step=_step(like), mode=mode) as writer:
            _project(session, volume, like, writer.write_rows, kernel=kernel, waves=waves)


def _multislice(model: str, kernel: str, options: dict[str, Any]) -> MultisliceProjection | None:
    """Return the projection by multislice, if that is the model; check that other models get none of it."""
    check_choice("model", model, MODELS)
    unknown = [name for name in options if name not in MultisliceProjection.__dataclass_fields__]
    if unknown:
        raise UsageError(f"project has no option {unknown[0]!r}")
    projection = MultisliceProjection(**options)
    if model == "multislice":
        if kernel != "linear":
            raise UsageError(f"--kernel {kernel} is for --model linear; leave it out")
        return projection
    projection.check_unused()
    return None


def _step(like: TiltSeries) -> ProcessingStep:
    return ProcessingStep("project", f"{len(like)} views")


def _output_series(volume: Volume, views: ViewTable, name: str) -> TiltSeries:
    """Return the series to be computed, still without images."""
    _, ny, nx = volume.shape
    x, y, _ = _middle_px(volume)
    beside = volume.frame.centre_A[:2] if volume.frame and (x or y) else None
    return TiltSeries(
        np.broadcast_to(np.float32(0), (len(views), ny, nx)),
        name=name,
        pixel_A=volume.pixel_A,
        origin_A=(*volume.origin_A[:2], 0.0),
        history=volume.history,
        views=views,
        tilts_source="project",
        axis_deg=0.0,
        axis_source="given",
        centre_A=beside,
    )


def _project(
    session: Session,
    volume: Volume,
    like: TiltSeries,
    write: WriteRows,
    *,
    kernel: str,
    waves: MultisliceProjection | None,
) -> None:
    """Project the volume: by rows if the only tilt axis is along y and central in x, else as a whole."""
    x, y, z = _middle_px(volume)
    if waves:
        waves.project(session, volume, like, write, middle_px=(x, y, z))
        return
    rotation = like.views.rotations(volume.frame.x_tilt_deg if volume.frame else 0.0)
    if rotation is None and x:  # the tilt axis is not in the middle of the volume
        rotation = rotation_matrices(tilts_as_euler(like.tilt_deg))
    if rotation is not None and kernel != "linear":
        raise UsageError(f"--kernel {kernel} is for views tilted about one axis; leave it out")
    gpu = use_gpu(session)
    if rotation is not None:
        # the field of view is that of the untilted volume
        centre_px = rotation[:, :2] @ (x, y, z) - (x, y)
        _project_whole(session, volume, rotation, centre_px, write, gpu=gpu)
        return
    nz, ny, nx = volume.shape
    geometry = SliceGeometry(like.tilt_deg, n_detector=nx, thickness=nz, width=nx, z_offset_px=float(z))
    make_projector = slab_projector(session, gpu=gpu, kernel=kernel)
    device = make_projector(geometry, n_slices=NARROWEST_SLAB).device
    plan = plan_projection(ny, geometry, threads=session.threads, memory=session.memory, device=device)
    rows = np.arange(ny)
    with session.reporter.progress(ny, "projecting") as advance:
        project_slabs(
            lambda y0, y1: volume.rows(rows[y0:y1]),
            write,
            geometry,
            plan=plan,
            make_projector=make_projector,
            progress=advance,
        )


def _project_whole(
    session: Session,
    volume: Volume,
    rotation: NDArray[np.float64],
    centre_px: NDArray[np.float64],
    write: WriteRows,
    *,
    gpu: bool,
) -> None:
    """Project the whole volume at once."""
    projector = oriented_projector(gpu)(
        rotation, volume.shape, volume.shape[1:], centre_px=centre_px, threads=session.threads
    )
    with session.reporter.progress(1, "projecting") as advance:
        views = projector.forward(projector.device.put(load_images(session, volume, copies=COPIES)))
        write(0, on_host(views))
        advance(1)


def _middle_px(volume: Volume) -> tuple[float, float, float]:
    """Return the middle (x, y, z) of a volume relative to its rotation centre, in voxels."""
    if volume.frame is None or not volume.pixel_A:
        return 0.0, 0.0, 0.0
    middle = volume.frame.middle_A(volume.shape, volume.origin_A, volume.pixel_A) / volume.pixel_A
    return float(middle[0]), float(middle[1]), float(middle[2])


def _read_views(path: Path) -> tuple[ViewTable, float | None]:
    """Read the views of a text file of tilt angles, an mdoc or a series, and its voltage in kV if known."""
    with path.open("rb") as file:
        is_text = b"\0" not in file.read(1024)  # the header of every image file has zero bytes
    if not is_text:
        series = open_images(str(path)).series()
        return replace(series.views, tilt_deg=series.tilt_deg), series.voltage_kv
    if path.suffix == ".mdoc":
        mdoc = read_mdoc(path)
        return replace(ViewTable.tilted(mdoc.tilt_deg), defocus_um=mdoc.defocus_um), mdoc.voltage_kv
    return ViewTable.tilted(read_tilts(path)), None
