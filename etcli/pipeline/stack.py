"""Assembly of one series from files, with views selected, reordered and cropped."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from etcli.core.errors import UsageError
from etcli.core.geometry import centre
from etcli.core.parallel import ordered_map
from etcli.core.series import TiltSeries
from etcli.io.assemble import Frames, assemble
from etcli.io.writers import ProcessingStep, series_writer
from etcli.pipeline.session import Session
from etcli.pipeline.stack_inputs import read_inputs
from etcli.pipeline.view_selection import Region, checked_list


@dataclass(frozen=True)
class StackRequest:
    """Options of an assembly, named as those of ``etcli stack``; views are counted from 0.

    Parameters
    ----------
    views, exclude : tuple of int or None
        Views to keep, in this order, or to exclude.
    sort : bool
        Whether views are sorted by tilt angle.
    crop : Region or None
        Columns and rows to keep.
    frames : {"mean", "sum", "keep"}
        How sections of one file at the same tilt and defocus are combined.
    folders : tuple of str
        Where the files that an mdoc lists are looked for, besides the folder of the mdoc.
    """

    views: tuple[int, ...] | None = None
    exclude: tuple[int, ...] | None = None
    sort: bool = False
    crop: Region | None = None
    frames: Frames = "mean"
    folders: tuple[str, ...] = ()


def stack_files(
    session: Session,
    inputs: Sequence[str],
    output: str,
    request: StackRequest,
    *,
    tilts: Sequence[str] = (),
    defocus: str | None = None,
    mode: int = 2,
) -> None:
    """Combine files into one series.

    Parameters
    ----------
    session : Session
    inputs : sequence of str
        The files, in the order of their views, or mdocs that list files.
    output : str
    request : StackRequest
    tilts : sequence of str
        No file of tilt angles, one for all inputs, or one for each.
    defocus : str, optional
        File of defoci, for one input.
    mode : int
        MRC mode.

    Raises
    ------
    DataError
        When the files cannot be combined.
    UsageError
        When the request contradicts itself or the files.
    """
    if request.views and request.exclude:
        raise UsageError("--views and --exclude cannot go together; name the views to keep or those to drop")
    if defocus and len(inputs) > 1:
        raise UsageError(
            "--defocus goes with one INPUT; give it when the output is used, one defocus per view"
        )
    read = read_inputs(
        session,
        inputs,
        folders=request.folders,
        tilts=tilts,
        defocus=defocus,
        exclude=request.exclude or (),
    )
    n = len(read.views)
    excluded = set(checked_list(request.exclude or (), n, "view"))
    selected = checked_list(request.views or range(n), n, "view")
    kept = read.sections([view for view in selected if view not in excluded])
    series = assemble(read.stacks, kept, frames=request.frames)
    if len(series.parts) < len(kept):
        session.reporter.report(
            f"{len(kept)} sections give {len(series.parts)} views: {request.frames} of frames"
        )
    if request.sort:
        series = series.arranged(series.like.tilt_deg.argsort(kind="stable").tolist())
    area, like = _crop(session, series.like, request.crop)
    step = ProcessingStep("stack", _summary(len(read.stacks), len(series.parts), request))
    shape = area.rows.stop - area.rows.start, area.columns.stop - area.columns.start
    with (
        session.outputs() as outputs,
        series_writer(
            outputs, output, like, step=step, shape=shape, origin_A=like.origin_A, mode=mode
        ) as writer,
    ):
        images = ordered_map(series.view, range(len(series.parts)), threads=session.threads)
        for k, image in enumerate(session.track(images, len(series.parts), "stacking")):
            writer.write_section(k, image[area.rows, area.columns])


def _crop(session: Session, like: TiltSeries, crop: Region | None) -> tuple[Region, TiltSeries]:
    """Return the area to keep and the series with its new origin; warn where the centre of views moves."""
    shape = like.shape[1:]
    area = crop or Region(slice(0, shape[1]), slice(0, shape[0]))
    if area.columns.stop > shape[1] or area.rows.stop > shape[0]:
        raise UsageError(f"--crop reaches beyond the image of {shape[1]} x {shape[0]}; count from 1")
    shift_px = centre(shape[1]) - area.columns.start - centre(area.columns.stop - area.columns.start)
    if shift_px:
        session.reporter.warn(
            f"the centre of the views moves: a tilt axis that was central is now {shift_px:+g} px from it, "
            "which recon needs as --axis-offset"
        )
    (x, y, z), pixel_A = like.origin_A, like.pixel_A or 0.0
    return area, replace(like, origin_A=(x + area.columns.start * pixel_A, y + area.rows.start * pixel_A, z))


def _summary(n_files: int, n_views: int, request: StackRequest) -> str:
    """Return a short summary of what was done."""
    words = [f"{n_views} views of {n_files} file" + "s" * (n_files > 1)]
    words += ["sorted by tilt"] if request.sort else []
    if request.crop:
        columns, rows = request.crop.columns, request.crop.rows
        words.append(f"cropped to {columns.start + 1}-{columns.stop},{rows.start + 1}-{rows.stop}")
    return ", ".join(words)
