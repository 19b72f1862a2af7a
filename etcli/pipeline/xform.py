"""Application of existing transforms to a series, in memory or from file to file."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from etcli.core.errors import UsageError
from etcli.core.geometry import wrapped_deg
from etcli.core.lengths import Length
from etcli.core.registration.image_place import CENTRAL_PX, centre_after, with_centre_px
from etcli.core.registration.transforms import Transforms
from etcli.core.series import TiltSeries
from etcli.io.transforms import read_axis
from etcli.io.writers import ProcessingStep, series_writer
from etcli.pipeline.inputs import after_transforms, read_series, read_transforms
from etcli.pipeline.resample import resampled, without_orientations, write_resampled
from etcli.pipeline.session import Session

OTHER_AXIS_DEG = 20.0
"""Difference of tilt axes beyond which transforms are those of other views: rough angles are within 10°."""


def xform(
    series: TiltSeries,
    transforms: Transforms,
    *,
    xf_pixel: Length | float | str | None = None,
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
    transforms = _scale_shifts(series, transforms, None if xf_pixel is None else Length.parse(xf_pixel, "A"))
    series = _with_centre_after(session, without_orientations(session, series, transforms), transforms)
    moved = resampled(session, series, transforms, what="transforming")
    axis_deg = _rotated_axis_deg(series, transforms)
    moved = moved if axis_deg is None else moved.with_axis(axis_deg)
    return replace(moved, history=(*moved.history, str(ProcessingStep("xform", "transforms"))))


def xform_files(
    session: Session, input: str, output: str, *, xf: str, xf_pixel: Length | None, mode: int
) -> None:
    """Apply the transforms of a file to a series, from file to file."""
    series = read_series(session, input, stream=True)
    pixel_A = None if xf_pixel is None else _known_pixel_A(series, xf_pixel)
    transforms = read_transforms(session, xf, series, pixel_A=pixel_A)
    _compare_axes(session, series, xf)
    series = _with_centre_after(session, without_orientations(session, series, transforms), transforms)
    with session.outputs() as outputs:
        step, axis_deg = ProcessingStep("xform", Path(xf).name), _rotated_axis_deg(series, transforms)
        like = after_transforms(series, xf)
        with series_writer(outputs, output, like, step=step, axis_deg=axis_deg, mode=mode) as writer:
            write_resampled(session, writer, series, transforms, what="transforming")


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
