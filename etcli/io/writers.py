"""Writing of series and volumes with the metadata of their input, and a new step in their history."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from etcli import __version__
from etcli.core.errors import UsageError
from etcli.core.series import ImageStack, TiltSeries, Volume
from etcli.core.volume_frame import VolumeFrame
from etcli.io.element_map import ElementMap
from etcli.io.extended_header import serialem_extended_header
from etcli.io.frame_label import OURS, with_frame, without_frame
from etcli.io.history import Run, grouped, missing
from etcli.io.image_file import STREAM
from etcli.io.mdoc import Mdoc
from etcli.io.mrc import add_label
from etcli.io.mrc_writer import MrcLayout, MrcStream, MrcWriter
from etcli.io.outputs import Outputs
from etcli.io.series_background import with_background
from etcli.io.series_centre import centre_labels, with_centre
from etcli.io.view_columns import with_views
from etcli.io.volume_text import describes_volume, volume_text

TIFF_SUFFIXES = (".tif", ".tiff")
# endings of MRC files, IMOD's among them; a name without an ending is one of MRC, too
MRC_SUFFIXES = (".mrc", ".st", ".ali", ".rec", ".preali", ".map", ".mrcs")
# range of an int16 of hundredths of a degree
LARGEST_TILT_DEG = 327.0
# extended headers of whole blocks keep the images aligned
BLOCK = 1024


class Writer(Protocol):
    """Interface of the writers, which receive the images of a file one after the other."""

    def write_section(self, z: int, section: NDArray[Any]) -> None:
        """Write section ``z``, an array (ny, nx)."""

    def write_rows(self, y0: int, block: NDArray[Any], *, z0: int = 0) -> None:
        """Write rows from ``y0`` on of all sections; not supported by streams."""


@dataclass(frozen=True)
class ProcessingStep:
    """One processing step, as recorded in the history of an output file."""

    command: str
    summary: str

    def __str__(self) -> str:
        version = ".".join(__version__.split(".")[:2])
        return f"etcli {self.command} {version}: {self.summary}"


@contextmanager
def series_writer(
    outputs: Outputs,
    target: str,
    like: TiltSeries,
    *,
    step: ProcessingStep | None = None,
    shape: tuple[int, int] | None = None,
    pixel_A: float | None = None,
    origin_A: tuple[float, float, float] | None = None,
    axis_deg: float | None = None,
    mode: int = 2,
) -> Iterator[Writer]:
    """Open a series for writing, with its mdoc beside it.

    Parameters
    ----------
    outputs : Outputs
        Output files of the command.
    target : str
        An MRC or TIFF file, or ``-`` for MRC on the standard output.
    like : TiltSeries
        Metadata of the views (angles, labels, description); its images are not used.
    step : ProcessingStep, optional
        Step to add to the history; by default the history of ``like`` includes it already.
    shape : (ny, nx), optional
        Size of a view where it differs from that of ``like``.
    pixel_A, origin_A, axis_deg : optional
        Where they differ from those of ``like``.
    mode : int
        MRC mode.

    Yields
    ------
    Writer
    """
    size = (len(like), *(shape or like.shape[1:]))
    pixel_A = pixel_A or like.pixel_A
    origin_A = origin_A or like.origin_A
    mdoc = _series_mdoc(like, _file_name(target), size, pixel_A, mode, step, axis_deg)
    mdoc = with_background(with_centre(mdoc, like.centre_A, origin_A), like.background)
    mdoc = _with_history(mdoc, like, step, outputs.run)
    layout = MrcLayout(
        size,
        mode,
        pixel_A=_cube(pixel_A),
        origin_A=origin_A,
        labels=_labels((*without_frame(like.history), *centre_labels(like.centre_A, pixel_A)), step),
        **_extended(like, mdoc if target == STREAM else None),
    )
    with _open(outputs, target, layout) as writer:
        if target != STREAM:
            outputs.image(f"{target}.mdoc").write_bytes(mdoc.dump())
        yield writer


@contextmanager
def volume_writer(
    outputs: Outputs,
    target: str,
    shape: tuple[int, int, int],
    *,
    pixel_A: float | None,
    step: ProcessingStep | None = None,
    like: ImageStack | None = None,
    frame: VolumeFrame | None = None,
    origin_A: tuple[float, float, float] = (0.0, 0.0, 0.0),
    mode: int = 2,
    voltage_kv: float | None = None,
    shows: ElementMap | None = None,
) -> Iterator[Any]:
    """Open a volume for writing, with its description in the extended header and beside it.

    Parameters
    ----------
    outputs : Outputs
        Output files of the command.
    target : str
        An MRC or TIFF file, or ``-`` for MRC on the standard output.
    shape : tuple of int
        Numbers of sections, rows and columns.
    pixel_A : float or None
        Voxel size, None where it is unknown.
    step : ProcessingStep, optional
        Step to add to the history; by default the history of ``like`` includes it already.
    like : TiltSeries or Volume, optional
        Data that the volume is made of, whose history is continued.
    frame : VolumeFrame, optional
        Position of the volume, if known.
    origin_A : tuple of float
        Position of the first voxel in the uncropped volume (x, y, z).
    mode : int
        MRC mode.
    voltage_kv : float, optional
        Accelerating voltage in kV, where the values depend on it; by default that of a volume in ``like``.
    shows : ElementMap, optional
        Of which element the values are, and what they are; by default those of a volume in ``like``.

    Yields
    ------
    MrcWriter, MrcStream or TiffWriter
    """
    if voltage_kv is None and isinstance(like, Volume) and isinstance(like.description, Mdoc):
        voltage_kv = like.description.voltage_kv if describes_volume(like.description) else None
    if shows is None and isinstance(like, Volume):
        shows = ElementMap.of(like.description)
    history = like.history if like else ()
    if step is None and history:
        *before, last = history
        labels = (*(with_frame(before, frame) if frame else without_frame(before)), last)
    else:
        labels = with_frame(history, frame) if frame else without_frame(history)
    titles = (*_titles(like), *(outputs.run.record(step).split("\n") if step else []))
    describe = partial(
        volume_text,
        shape,
        pixel_A=pixel_A,
        mode=mode,
        origin_A=origin_A,
        frame=frame,
        voltage_kv=voltage_kv,
        shows=shows,
        titles=titles,
    )
    layout = MrcLayout(
        shape,
        mode,
        _voxel_A(like, pixel_A),
        origin_A,
        _labels(labels, step),
        volume=True,
        **_as_extended(describe()),
    )
    with _open(outputs, target, layout) as writer:
        if target != STREAM:
            outputs.image(f"{target}.mdoc").write_bytes(describe(name=_file_name(target)).dump())
        yield writer


def grey_range(target: str, mode: int) -> tuple[int, int] | None:
    """Return the range that grey values fill in a file, as IMOD's newstack does; None for real numbers.

    Bytes are signed in an MRC file, where IMOD adds 128 to them, and unsigned in a TIFF.
    """
    if mode == 0:
        return (0, 255) if target.lower().endswith(TIFF_SUFFIXES) else (-128, 127)
    return {1: (0, 32767), 6: (0, 65535)}.get(mode)


def expect_images(outputs: Outputs, target: str) -> None:
    """Check, before any computation, that images can be written; raise UsageError or DataError."""
    _check_suffix(target)
    outputs.expect(target)


def _check_suffix(target: str) -> None:
    """Raise UsageError for a name whose ending is not that of a format that is written."""
    suffix = PurePath(target).suffix.lower()
    if suffix and suffix not in (*MRC_SUFFIXES, *TIFF_SUFFIXES):
        raise UsageError(
            f"{target}: images are not written as {suffix}; end the name in {', '.join(MRC_SUFFIXES)} (MRC), "
            f"{' or '.join(TIFF_SUFFIXES)} (TIFF)"
        )


def _titles(like: ImageStack | None) -> tuple[str, ...]:
    """Return the history: the complete one of a description, else as much as the labels hold."""
    if like is None:
        return ()
    own = without_frame(like.history)
    titles = like.description.titles if isinstance(like.description, Mdoc) else ()
    steps = [step for step in own if step.startswith(OURS)] if titles else own
    # with the steps taken since the description was read
    return (*titles, *(line for step in missing(steps, grouped(titles)) for line in step.split("\n")))


def _labels(history: Sequence[str], step: ProcessingStep | None) -> tuple[str, ...]:
    """Return the labels of a history and a step, no more than a header can hold."""
    labels: tuple[str, ...] = ()
    for label in (*history, *([str(step)] if step else [])):
        labels = add_label(labels, label.partition("\n")[0])
    return labels


def _series_mdoc(
    like: TiltSeries,
    name: str,
    shape: tuple[int, int, int],
    pixel_A: float | None,
    mode: int,
    step: ProcessingStep | None,
    axis_deg: float | None = None,
) -> Mdoc:
    """Return the mdoc of a series made from ``like``: the metadata of that, updated by the arguments."""
    mdoc = like.description if isinstance(like.description, Mdoc) else Mdoc.empty(len(like), name=name)
    if pixel_A is not None:
        mdoc = mdoc.with_value("PixelSpacing", pixel_A)
        mdoc = mdoc.with_view_values("PixelSpacing", [pixel_A] * len(like))
    mdoc = mdoc.with_value("ImageFile", name)
    mdoc = mdoc.with_value("ImageSize", (shape[2], shape[1])).with_value("DataMode", mode)
    if mdoc.is_flagged_as_montage:
        mdoc = mdoc.with_value("Montage", 0)
    mdoc = with_views(mdoc, like.views)
    if axis_deg is None and mdoc.tilt_axis is None:
        axis_deg = like.axis_deg
    if axis_deg is not None:
        mdoc = mdoc.with_axis(axis_deg)
        if np.isfinite(mdoc.numbers_of("RotationAngle")).all():
            # for programs that look for the axis here, not in the titles
            mdoc = mdoc.with_view_values("RotationAngle", [float(f"{axis_deg + 90:.6g}")] * len(like))
    if like.voltage_kv and mdoc.voltage_kv is None:
        mdoc = mdoc.with_value("Voltage", like.voltage_kv)
    if step is None or step.command != "stack":
        mdoc = mdoc.without_view_key("MinMaxMean")  # outdated: the pixels have changed
    return mdoc


def _with_history(mdoc: Mdoc, like: TiltSeries, step: ProcessingStep | None, run: Run) -> Mdoc:
    """Return the mdoc with all steps of the history of a series, and a new one."""
    steps = [step for step in without_frame(like.history) if step.startswith(OURS)]
    steps = missing(steps, grouped(mdoc.titles)) + ([run.record(step)] if step else [])
    return mdoc.with_titles(line for step in steps for line in step.split("\n"))


def _cube(pixel_A: float | None) -> tuple[float, float, float]:
    """Return the pixel size along x, y, z; 0 means unknown."""
    return (pixel_A or 0.0,) * 3


def _voxel_A(like: ImageStack | None, pixel_A: float | None) -> tuple[float, float, float]:
    """Return the voxel size along x, y, z, in the proportions of the volume that the new one is made of."""
    if isinstance(like, Volume) and like.voxel_A and like.voxel_A[0] and pixel_A:
        x, y, z = (pixel_A * (side / like.voxel_A[0]) for side in like.voxel_A)
        return x, y, z
    return _cube(pixel_A)


def _extended(like: TiltSeries, mdoc: Mdoc | None) -> dict[str, Any]:
    """Return the extended header: the whole mdoc for a stream, else the tilt angles as IMOD reads them."""
    if mdoc is not None:
        return _as_extended(mdoc)
    if not like.views.has_tilts or np.abs(like.tilt_deg).max() > LARGEST_TILT_DEG:
        return {}
    extended, n_bytes, flags = serialem_extended_header(like.tilt_deg)
    return {"exttyp": b"SERI", "extended": extended, "extended_counts": (n_bytes, flags)}


def _as_extended(mdoc: Mdoc) -> dict[str, Any]:
    """Return a description as an extended header."""
    text = mdoc.dump()
    return {"exttyp": b"MDOC", "extended": text.ljust(-(-len(text) // BLOCK) * BLOCK, b"\0")}


def _file_name(target: str) -> str:
    """Return the file name that the description of a file records."""
    return Path(target).name if target != STREAM else "stream.mrc"


@contextmanager
def _open(outputs: Outputs, target: str, layout: MrcLayout) -> Iterator[Any]:
    """Yield the writer of a target; close it after success, abandon it after an exception."""
    writer: MrcStream | MrcWriter | Any
    if target == STREAM:
        if sys.stdout.isatty():
            raise UsageError("- writes an MRC file to a pipe, but the standard output is a terminal")
        writer = MrcStream(sys.stdout.buffer, layout)
    elif target.lower().endswith(TIFF_SUFFIXES):
        from etcli.io.tiff import TiffWriter

        writer = TiffWriter(outputs.image(target), layout)
    else:
        _check_suffix(target)
        writer = MrcWriter(outputs.image(target), layout)
    try:
        yield writer
    except BaseException:
        writer.abandon()
        raise
    writer.close()
