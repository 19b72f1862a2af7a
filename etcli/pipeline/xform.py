"""Application of existing transforms to a series, in memory or from file to file."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from etcli.core.errors import UsageError
from etcli.core.geometry import wrapped_deg
from etcli.core.lengths import Length
from etcli.core.registration.image_place import CENTRAL_PX, centre_after, with_centre_px
from etcli.core.registration.transforms import Method, Transforms
from etcli.core.registration.views_by_tilt import views_by_tilt
from etcli.core.series import TiltSeries
from etcli.io.element_map import INTERPOLATED, PARTS, ElementMap, with_values
from etcli.io.frame_label import OURS
from etcli.io.history import missing
from etcli.io.transforms import read_axis, read_steps
from etcli.io.writers import ProcessingStep, series_writer
from etcli.pipeline.inputs import after_transforms, read_series, read_transforms
from etcli.pipeline.map_names import map_file, named_outputs
from etcli.pipeline.map_parts import parts_of_maps
from etcli.pipeline.resample import resampled, without_orientations, write_resampled
from etcli.pipeline.session import Session

OTHER_AXIS_DEG = 20.0
"""Difference of tilt axes beyond which transforms are those of other views: rough angles are within 10°."""

REAL_MODES = (2, 12)
"""MRC modes of numbers with fractions."""


def xform(
    series: TiltSeries,
    transforms: Transforms,
    *,
    xf_pixel: Length | float | str | None = None,
    xf_tilts: ArrayLike | None = None,
    linear: bool = False,
    session: Session | None = None,
) -> TiltSeries:
    """Apply existing transforms to a series.

    Parameters
    ----------
    series : TiltSeries
    transforms : Transforms
        One per view, such as those of `etcli.register` for another detector's series. Whether the tilt axis
        of a cropped series comes to the middle is that of `Transforms.centres_axis`.
    xf_pixel : length, optional
        Pixel size of the images on which they were found.
    xf_tilts : array_like of shape (n_transforms,), optional
        Tilt angles at which they were found, in degrees: each view gets the transform of its own tilt angle.
        By default there is one transform per view.
    linear : bool
        Whether to interpolate linearly, as counts need it: no negative values, and the sum is kept.
    session : Session, optional
        Threads to use; `Session()` by default.

    Returns
    -------
    TiltSeries
        Pixels from outside a view are filled with the median of its rim.

    Raises
    ------
    UsageError
        When `xf_pixel` is given and the pixel size of the series is not known.
    DataError
        When a view has no transform at its tilt angle, or several.

    Examples
    --------
    >>> import numpy as np, etcli
    >>> views = np.zeros((3, 8, 8), np.float32)
    >>> views[:, 4, 4] = 1
    >>> series = etcli.TiltSeries.of(views, [-60, 0, 60])
    >>> moved = etcli.xform(series, etcli.Transforms.shifts([[1, 0]] * 3))
    >>> float(moved.view(0)[4, 5].round(6))
    1.0
    """
    session = session or Session()
    if xf_tilts is not None:
        transforms = transforms.select(views_by_tilt(series.tilt_deg, xf_tilts, others="transform"))
    transforms = _scale_shifts(series, transforms, None if xf_pixel is None else Length.parse(xf_pixel, "A"))
    series = _with_centre_after(session, without_orientations(session, series, transforms), transforms)
    series = _with_values(session, series, linear=linear)
    method: Method = "linear" if linear else "cubic"
    moved = resampled(session, series, transforms, what="transforming", method=method)
    axis_deg = _rotated_axis_deg(series, transforms)
    moved = moved if axis_deg is None else moved.with_axis(axis_deg)
    return replace(moved, history=(*moved.history, str(ProcessingStep("xform", "transforms"))))


@dataclass(frozen=True)
class XformRequest:
    """Options of a transform, named as those of ``etcli xform``.

    Parameters
    ----------
    xf : str
        File of the transforms.
    xf_pixel : Length or None
        Pixel size on which they were found.
    xf_tilts : str or None
        File of the tilt angles at which they were found.
    linear : bool
        Linear interpolation in place of cubic splines.
    parts : bool
        Whether two random parts of the counts are transformed as well.
    """

    xf: str
    xf_pixel: Length | None = None
    xf_tilts: str | None = None
    linear: bool = False
    parts: bool = False


def xform_files(
    session: Session, inputs: Sequence[str], output: str, request: XformRequest, *, mode: int
) -> None:
    """Apply the transforms of a file to series, from file to file: all outputs appear, or none.

    Parameters
    ----------
    session : Session
    inputs : sequence of str
    output : str
        Output of a single input; of several the name that theirs begin with, see `named_outputs`.
    request : XformRequest
    mode : int
        MRC mode.

    Raises
    ------
    DataError
        When a view has no transform, or several.
    UsageError
        When the request contradicts itself.
    """
    if request.parts and not request.linear:
        raise UsageError("--parts is for counts, which need --linear")
    if request.linear and mode not in REAL_MODES:
        raise UsageError(f"--mode {mode} would round interpolated counts, and lose most of few; leave it out")
    read = [read_series(session, name, stream=True) for name in inputs]
    names = named_outputs(read, output)
    if request.parts:
        pairs = parts_of_maps(session, read)
        read += [part for pair in pairs for part in pair]
        names += [map_file(name, part) for name in names for part in PARTS]
    work, known = [], dict[tuple[Any, ...], Transforms]()
    for series in read:
        tilts = () if series.views.tilt_deg is None else tuple(series.views.tilt_deg)
        same = (
            series.shape,
            series.centre_px,
            series.pixel_A,
            tilts,
        )  # maps of one specimen: they are matched once
        known[same] = known.get(same) or _transforms(session, series, request)
        work.append((_prepared(session, series, known[same], request), known[same]))
    step = ProcessingStep("xform", Path(request.xf).name + (", linear" if request.linear else ""))
    method: Method = "linear" if request.linear else "cubic"
    with session.outputs() as outputs, ExitStack() as opened:
        writers = []
        for name, (series, transforms) in zip(names, work, strict=True):
            axis_deg, like = _rotated_axis_deg(series, transforms), after_transforms(series, request.xf)
            writing = series_writer(outputs, name, like, step=step, axis_deg=axis_deg, mode=mode)
            writers.append(opened.enter_context(writing))
        for writer, (series, transforms) in zip(writers, work, strict=True):
            write_resampled(session, writer, series, transforms, what="transforming", method=method)


def _transforms(session: Session, series: TiltSeries, request: XformRequest) -> Transforms:
    """Read the transforms of a series."""
    pixel_A = None if request.xf_pixel is None else _known_pixel_A(series, request.xf_pixel)
    return read_transforms(session, request.xf, series, pixel_A=pixel_A, tilts_file=request.xf_tilts)


def _prepared(
    session: Session, series: TiltSeries, transforms: Transforms, request: XformRequest
) -> TiltSeries:
    """Return a series with what its transforms change in its description; warn of what is doubtful."""
    xf = request.xf
    _compare_axes(session, series, xf)
    if _was_applied(series, xf):
        session.reporter.warn(
            f"{series.name}: {Path(xf).name} was applied already, by its history, and would move the views "
            "twice; give the series from before"
        )
    series = _with_centre_after(session, without_orientations(session, series, transforms), transforms)
    return _with_values(session, series, linear=request.linear)


def _was_applied(series: TiltSeries, xf: str) -> bool:
    """Check whether transforms, or the work that found them, are in the history of a series."""
    found, name = read_steps(xf), Path(xf).name
    applied = (
        step.partition("\n")[0].rpartition(": ")[2].removesuffix(", linear")
        for step in series.history
        if step.startswith(f"{OURS}xform ")
    )
    return name in applied or bool(found and not missing(found, series.history))


def _with_values(session: Session, series: TiltSeries, *, linear: bool) -> TiltSeries:
    """Return a map of counts as one of interpolated counts; warn where they become negative."""
    if ElementMap.of(series.description).holds_counts and not linear:
        session.reporter.warn(
            f"{series.name}: is a map of counts, which cubic splines make negative; use --linear"
        )
    return with_values(series, INTERPOLATED)


def _compare_axes(session: Session, series: TiltSeries, xf: str) -> None:
    """Warn where the tilt axis beside the transforms is another than that of the series."""
    axis = read_axis(xf)
    if axis is None or series.axis_deg is None:
        return
    away_deg = abs(wrapped_deg(axis.angle_deg - series.axis_deg))
    if away_deg > 180 - OTHER_AXIS_DEG:
        session.reporter.warn(
            f"{xf}: was found with the tilt axis at {axis.angle_deg:.3g}°, but that of {series.name} is at "
            f"{series.axis_deg:.3g}°; one of them makes the volume a mirror image"
        )
    elif away_deg > OTHER_AXIS_DEG:
        session.reporter.warn(
            f"{xf}: was found for views with the tilt axis at {axis.angle_deg:.3g}°, but that of "
            f"{series.name} is at {series.axis_deg:.3g}°; are they of the same series?"
        )


def _with_centre_after(session: Session, series: TiltSeries, transforms: Transforms) -> TiltSeries:
    """Return a series that knows its rotation centre after the transforms; warn where they do not tell it."""
    central = np.abs([series.centre_px, transforms.middle_px]).max() <= CENTRAL_PX
    if central or transforms.centres_axis is False:
        return series
    if transforms.centres_axis is None and abs(series.centre_px[0]) > CENTRAL_PX:
        session.reporter.warn(
            f"{series.name or 'series'}: was cropped, and whether the transforms bring the tilt axis to the "
            "middle is not known; taken as if they did, else give recon --axis-offset"
        )
    return with_centre_px(series, centre_after(series.centre_px, transforms), series.shape[1:])


def _scale_shifts(series: TiltSeries, transforms: Transforms, xf_pixel: Length | None) -> Transforms:
    """Scale the shifts of the transforms to the pixel size of a series."""
    if xf_pixel is None or series.pixel_A is None:
        return transforms
    return transforms.scaled(_known_pixel_A(series, xf_pixel) / series.pixel_A)


def _known_pixel_A(series: TiltSeries, xf_pixel: Length) -> float:
    """Return the pixel size of the transforms in Å; raise UsageError where that of the series is unknown."""
    if series.pixel_A is None:
        raise UsageError(f"{series.name}: pixel size unknown, so --xf-pixel cannot be used")
    return xf_pixel.angstrom(1.0)


def _rotated_axis_deg(series: TiltSeries, transforms: Transforms) -> float | None:
    """Return the angle of the tilt axis after the transforms, None where it is unknown or unchanged."""
    axis_deg = series.axis_deg
    matrix = transforms.matrix.mean(axis=0)
    if axis_deg is None or np.allclose(matrix, np.eye(2), rtol=0, atol=1e-6):
        return None
    x, y = matrix @ (-np.sin(np.deg2rad(axis_deg)), np.cos(np.deg2rad(axis_deg)))
    return float(np.rad2deg(np.arctan2(-x, y)))
