"""Assembly of one series from files, with views selected, reordered and cropped."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError, UsageError
from etcli.core.geometry import centre
from etcli.core.grey_scale import GreyScale
from etcli.core.series import TiltSeries, Volume
from etcli.io.assemble import Frames, assemble
from etcli.io.element_map import SCALED, ElementMap, with_values
from etcli.io.mdoc import Mdoc
from etcli.io.writers import ProcessingStep, series_writer
from etcli.pipeline.session import Session
from etcli.pipeline.stack_inputs import read_inputs
from etcli.pipeline.stack_volume import Block, check_sections, write_block
from etcli.pipeline.turned_volume import turn_file
from etcli.pipeline.view_selection import Region, checked_list
from etcli.pipeline.written_images import ImageSource


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
    frames : {"mean", "sum", "keep"}, optional
        How sections of one file at the same tilt and defocus are combined: by default their mean, and the
        sum of maps of counts.
    scale : GreyScale or None
        Scaling into the range of an integer mode.
    turn : str or None
        Flips, exchanges of axes and turns by 90° of a volume.
    folders : tuple of str
        Where the files that an mdoc lists are looked for, besides the folder of the mdoc.
    """

    views: tuple[int, ...] | None = None
    exclude: tuple[int, ...] | None = None
    sort: bool = False
    crop: Region | None = None
    frames: Frames | None = None
    scale: GreyScale | None = None
    turn: str | None = None
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
    if request.turn is not None:
        others = replace(request, turn=None, scale=None)
        if others != StackRequest() or tilts or defocus or len(inputs) > 1:
            raise UsageError(
                "--turn is for one whole volume, and goes with --mode and --scale only; select and crop in a "
                "step of its own"
            )
        turn_file(session, inputs[0], output, request.turn, mode=mode, scale=request.scale)
        return
    if defocus and len(inputs) > 1:
        raise UsageError(
            "--defocus goes with one INPUT; give it when the output is used, one defocus per view"
        )
    found = read_inputs(
        session,
        inputs,
        folders=request.folders,
        tilts=tilts,
        defocus=defocus,
        only=request.views,
        exclude=request.exclude or (),
    )
    if found.volume is not None:
        _stack_volume(session, found.volume, output, request, mode=mode)
        return
    n = len(found.views)
    excluded = set(checked_list(request.exclude or (), n, "view"))
    selected = checked_list(request.views or range(n), n, "view")
    if not found.stacks:
        raise DataError(f"{inputs[0]}: no view is left; exclude fewer")
    kept = found.sections([view for view in selected if view not in excluded])
    holds_counts = ElementMap.of(found.stacks[0].description).holds_counts
    frames = request.frames or ("sum" if holds_counts else "mean")
    series = assemble(found.stacks, kept, frames=frames, exposures=found.exposures)
    if len(series.parts) < len(kept):
        session.reporter.report(f"{len(kept)} sections give {len(series.parts)} views: {frames} of frames")
    if request.sort:
        series = series.arranged(series.like.tilt_deg.argsort(kind="stable").tolist())
    area, like = _crop(session, series.like, request.crop)
    shape = area.rows.stop - area.rows.start, area.columns.stop - area.columns.start

    def read(k: int) -> NDArray[np.float32]:
        return series.view(k)[area.rows, area.columns]

    images = ImageSource(
        session, read, len(like), name=like.name, target=output, mode=mode, scale=request.scale
    )
    words = [_summary(len(found.stacks), len(series.parts), request), *images.words()]
    step = ProcessingStep("stack", ", ".join(words))
    if request.scale:
        like = with_values(replace(like, background=None), SCALED)
        if isinstance(like.description, Mdoc):
            like = replace(like, description=like.description.without_view_key("MinMaxMean"))
    with session.outputs() as outputs:
        opened = series_writer(
            outputs, output, like, step=step, shape=shape, origin_A=like.origin_A, mode=mode
        )
        images.write(opened, "stacking")


def _stack_volume(session: Session, volume: Volume, output: str, request: StackRequest, *, mode: int) -> None:
    """Write some sections and an area of a volume as a volume."""
    if request.sort or request.frames not in (None, "mean"):
        raise UsageError(f"{volume.name}: is a volume; --sort and --frames are for tilt series")
    n = len(volume)
    excluded = set(checked_list(request.exclude or (), n, "section"))
    chosen = [z for z in checked_list(request.views or range(n), n, "section") if z not in excluded]
    sections = check_sections(volume, chosen)
    words = [f"sections {sections.start + 1}-{sections.stop} of {n}", *_crop_words(request.crop)]
    area = _checked_area(request.crop, volume.shape)
    write_block(session, volume, output, Block(sections, area), words=words, mode=mode, scale=request.scale)


def _crop(session: Session, like: TiltSeries, crop: Region | None) -> tuple[Region, TiltSeries]:
    """Return the area to keep, and the series with its new origin and the rotation centre of before."""
    shape, area = like.shape[1:], _checked_area(crop, like.shape)
    (x, y, z), pixel_A = like.origin_A, like.pixel_A or 0.0
    middle_A = x + pixel_A * shape[1] / 2, y + pixel_A * shape[0] / 2
    origin_A = x + area.columns.start * pixel_A, y + area.rows.start * pixel_A, z
    shift_px = centre(shape[1]) - area.columns.start - centre(area.columns.stop - area.columns.start)
    if shift_px and not pixel_A:
        session.reporter.warn(
            f"what was the middle of the views is now {shift_px:+g} px along x from the middle of the crop; "
            f"a tilt axis there has to be given as recon --axis-offset {shift_px:+g}, "
            "as the pixel size is unknown"
        )
    elif shift_px:
        session.reporter.report(
            f"what was the middle of the views is now {shift_px:+g} px ({shift_px * pixel_A:+.4g} Å) along x "
            f"{_along_y(shape[0], area)}from the middle of the crop; recon takes the tilt axis of "
            "before from the header"
        )
    centre_A = like.centre_A or (middle_A if crop and pixel_A else None)
    return area, replace(like, origin_A=origin_A, centre_A=centre_A)


def _along_y(ny: int, area: Region) -> str:
    """Return how far the middle of all rows is from that of those kept, in words; nothing where it is not."""
    shift_px = centre(ny) - area.rows.start - centre(area.rows.stop - area.rows.start)
    return f"and {shift_px:+g} px along y " if shift_px else ""


def _checked_area(crop: Region | None, shape: tuple[int, int, int]) -> Region:
    """Return the area to keep of images; raise UsageError if it reaches beyond them."""
    _, ny, nx = shape
    area = crop or Region(slice(0, nx), slice(0, ny))
    if area.columns.stop > nx or area.rows.stop > ny:
        raise UsageError(f"--crop reaches beyond the image of {nx} x {ny}; count from 1")
    return area


def _crop_words(crop: Region | None) -> list[str]:
    """Return the area that is kept, for the history."""
    if crop is None:
        return []
    columns, rows = crop.columns, crop.rows
    return [f"cropped to {columns.start + 1}-{columns.stop},{rows.start + 1}-{rows.stop}"]


def _summary(n_files: int, n_views: int, request: StackRequest) -> str:
    """Return a short summary of what was done."""
    words = [f"{n_views} views of {n_files} file" + "s" * (n_files > 1)]
    words += ["sorted by tilt"] if request.sort else []
    return ", ".join([*words, *_crop_words(request.crop)])
