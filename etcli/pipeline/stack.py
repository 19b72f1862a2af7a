"""Assembly of one series from files, with views selected, reordered and cropped."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from etcli.core.errors import UsageError
from etcli.core.geometry import centre
from etcli.core.parallel import ordered_map
from etcli.core.series import TiltSeries
from etcli.io.assemble import Frames, assemble
from etcli.io.writers import ProcessingStep, series_writer
from etcli.pipeline.inputs import read_series
from etcli.pipeline.session import Session
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
    """

    views: tuple[int, ...] | None = None
    exclude: tuple[int, ...] | None = None
    sort: bool = False
    crop: Region | None = None
    frames: Frames = "mean"


def stack_files(
    session: Session,
    inputs: Sequence[str],
    output: str,
    request: StackRequest,
    *,
    tilts: str | None = None,
    defocus: str | None = None,
    mode: int = 2,
) -> None:
    """Combine files into one series.

    Parameters
    ----------
    session : Session
    inputs : sequence of str
        The files, in the order of their views.
    output : str
    request : StackRequest
    tilts, defocus : str, optional
        Files of tilt angles and of defoci, for one input.
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
    for given, option in ((tilts, "--tilts"), (defocus, "--defocus")):
        if given and len(inputs) > 1:
            raise UsageError(f"{option} goes with one INPUT only; put the files together first")
    stacks = _read_all(session, inputs, tilts, defocus, request.exclude or ())
    n = sum(map(len, stacks))
    excluded = set(checked_list(request.exclude or (), n, "view"))
    selected = checked_list(request.views or range(n), n, "view")
    kept = [view for view in selected if view not in excluded]
    series = assemble(stacks, kept, frames=request.frames)
    if len(series.parts) < len(kept):
        session.reporter.report(
            f"{len(kept)} sections give {len(series.parts)} views: {request.frames} of frames"
        )
    if request.sort:
        series = series.arranged(series.like.tilt_deg.argsort(kind="stable").tolist())
    area, like = _crop(session, series.like, request.crop)
    step = ProcessingStep("stack", _summary(len(inputs), len(series.parts), request))
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


def _read_all(
    session: Session,
    inputs: Sequence[str],
    tilts: str | None,
    defocus: str | None,
    exclude: Collection[int],
) -> list[TiltSeries]:
    """Open the files; excluded sections may lack a description."""
    stacks: list[TiltSeries] = []
    for name in inputs:
        start = sum(map(len, stacks))
        without = [view - start for view in exclude if view >= start]
        stacks.append(read_series(session, name, tilts=tilts, defocus=defocus, stream=True, without=without))
    return stacks


def _crop(session: Session, like: TiltSeries, crop: Region | None) -> tuple[Region, TiltSeries]:
    """Return the area to keep, and the series with its new origin and the rotation centre of before."""
    shape = like.shape[1:]
    area = crop or Region(slice(0, shape[1]), slice(0, shape[0]))
    if area.columns.stop > shape[1] or area.rows.stop > shape[0]:
        raise UsageError(f"--crop reaches beyond the image of {shape[1]} x {shape[0]}; count from 1")
    (x, y, z), pixel_A = like.origin_A, like.pixel_A or 0.0
    middle_A = x + pixel_A * shape[1] / 2, y + pixel_A * shape[0] / 2
    origin_A = x + area.columns.start * pixel_A, y + area.rows.start * pixel_A, z
    shift_px = centre(shape[1]) - area.columns.start - centre(area.columns.stop - area.columns.start)
    if shift_px and not pixel_A:
        session.reporter.warn(
            f"the centre of the views moves: a tilt axis that was central is now {shift_px:+g} px from it, "
            "which recon needs as --axis-offset, as the pixel size is unknown"
        )
    elif shift_px:
        session.reporter.report(
            f"the centre of the views moves by {-shift_px:+g} px across; recon takes the tilt axis of before "
            "from the header"
        )
    return area, replace(like, origin_A=origin_A, centre_A=like.centre_A or (middle_A if crop else None))


def _summary(n_files: int, n_views: int, request: StackRequest) -> str:
    """Return a short summary of what was done."""
    words = [f"{n_views} views of {n_files} file" + "s" * (n_files > 1)]
    words += ["sorted by tilt"] if request.sort else []
    if request.crop:
        columns, rows = request.crop.columns, request.crop.rows
        words.append(f"cropped to {columns.start + 1}-{columns.stop},{rows.start + 1}-{rows.stop}")
    return ", ".join(words)
