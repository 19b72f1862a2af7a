"""Size and position of a volume to be reconstructed."""

from dataclasses import replace
from math import ceil

import numpy as np

from etcli.core.errors import DataError, UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.lengths import Length
from etcli.core.reconstruction.line_integrals import LineIntegrals
from etcli.core.reconstruction.thickness import find_thickness
from etcli.core.registration.transforms import lies_along_x
from etcli.core.series import TiltSeries, Volume
from etcli.core.volume_frame import Placement
from etcli.pipeline.inputs import file_named_in_errors
from etcli.pipeline.registered_axis import warn_of_registered_axis
from etcli.pipeline.session import Session

UPRIGHT_DEG = 2.0
SPREAD_ROWS = 16  # from which the thickness is determined
FEWEST_PX, FEW_PX = 4, 16  # fewer pixels for a length in Å mean, or may mean, that another unit was meant
SAME_TILT_DEG = 0.01
SAME_PLACE = 0.5  # voxels


def slice_geometry(
    session: Session,
    series: TiltSeries,
    *,
    thickness: Length | str | None,
    width: Length | None,
    axis_offset: Length | None,
    z_offset: Length,
    least_squares: bool,
) -> SliceGeometry:
    """Create the geometry of the slices; warn if the tilt axis is not vertical, fail if it lies along x.

    Parameters
    ----------
    session : Session
    series : TiltSeries
    thickness, width : Length or None
        Extent along z and x. None for the width of a view; the volume is wider where the views were cropped
        to one side of the axis, so as to contain all that they show. A word in place of the thickness means
        the width of a view until `with_specimen_thickness` determines it.
    axis_offset : Length or None
        Distance of the tilt axis from the centre; None for that of a crop in the header.
    z_offset : Length
        Height of the volume above the axis.
    least_squares : bool
        Whether the method squares the weights of views.

    Returns
    -------
    SliceGeometry
    """
    _check_axis(session, series)
    warn_of_registered_axis(session, series, offset_given=axis_offset is not None)
    nx, pixel_A, weight = series.shape[2], series.pixel_A, None
    if series.views.weight is not None:
        weight = series.views.weight.astype(np.float32)
        weight = np.sqrt(weight) if least_squares else weight
    cropped_px = series.centre_px[0] if axis_offset is None else 0.0
    offset_px = axis_offset.px(pixel_A) if axis_offset else cropped_px
    _report_offset(session, series, offset_px, from_header=bool(cropped_px))
    return SliceGeometry(
        series.tilt_deg,
        n_detector=nx,
        thickness=nx
        if isinstance(thickness, str)
        else _pixels(session, thickness, pixel_A, nx, "--thickness"),
        width=_pixels(session, width, pixel_A, nx + 2 * ceil(abs(cropped_px)), "--width"),
        axis_offset_px=offset_px,
        z_offset_px=z_offset.px(pixel_A),
        view_weight=weight,
    )


def with_specimen_thickness(
    session: Session, integrals: LineIntegrals, geometry: SliceGeometry, *, counts: bool = False
) -> SliceGeometry:
    """Determine the thickness of the specimen, report it, and return the geometry with it."""
    with file_named_in_errors(integrals.series):
        views = integrals(0, integrals.n_rows) if counts else integrals.spread(SPREAD_ROWS)
        thickness = find_thickness(views, geometry, counts=counts)
    pixel_A = integrals.series.pixel_A
    length = f" ({thickness * pixel_A:.4g} Å)" if pixel_A else ""
    whole = ", no less than was searched" if thickness == geometry.thickness else ""
    session.reporter.report(f"the specimen is within {thickness} px{length} along z{whole}")
    return replace(geometry, thickness=thickness)


def check_place(volume: Volume, placement: Placement, *, x_tilt_deg: float, role: str) -> None:
    """Check that a volume has the position of the one to be reconstructed; raise UsageError otherwise.

    Parameters
    ----------
    volume : Volume
        Of the same size as that one, with its sections along z.
    placement : Placement
        Position of the volume to be reconstructed.
    x_tilt_deg : float
        Angle by which that is rotated about x.
    role : str
        Purpose of the volume, for messages.

    Raises
    ------
    UsageError
        When both positions are known, and differ.
    """
    frame, pixel_A = volume.frame, volume.pixel_A
    if frame is None or not pixel_A or not any(placement.centre_A):
        return
    if abs(frame.x_tilt_deg - x_tilt_deg) > SAME_TILT_DEG:
        raise UsageError(
            f"{volume.name}: is turned by {frame.x_tilt_deg:g}° about x, the volume to be made by "
            f"{x_tilt_deg:g}°; make the {role} with the same --x-tilt"
        )
    given_A = np.subtract(volume.origin_A, frame.centre_A)
    wanted_A = np.subtract(placement.corner_A, placement.centre_A)
    if (np.abs(given_A - wanted_A) > SAME_PLACE * pixel_A).any():
        away = ", ".join(f"{length:.4g}" for length in given_A - wanted_A)
        raise UsageError(
            f"{volume.name}: lies {away} Å (x, y, z) from where the volume to be made does; make the {role} "
            "with the same --slices and offsets"
        )


def _check_axis(session: Session, series: TiltSeries) -> None:
    """Warn where the tilt axis is not vertical; raise DataError where it is nearer to x than to y."""
    axis_deg = series.axis_deg or 0.0
    if series.views.euler_deg is not None or abs(axis_deg) <= UPRIGHT_DEG:
        return
    how = "as given" if series.axis_source == "given" else "by its description"
    stated = f"{series.name}: the tilt axis is at {axis_deg:g}° {how}"
    if lies_along_x(axis_deg):
        raise DataError(
            f"{stated}, along x; turn the views with tiltalign, or give --axis 0 where they are upright"
        )
    session.reporter.warn(f"{stated}, not vertical; use tiltalign first")


def _report_offset(session: Session, series: TiltSeries, offset_px: float, *, from_header: bool) -> None:
    """Report where the tilt axis is, in pixels and Å; warn where that is outside the views."""
    if not offset_px:
        return
    length = f" ({offset_px * series.pixel_A:+.4g} Å)" if series.pixel_A else ""
    source = ", as their header says (--axis-offset gives another)" if from_header else ""
    session.reporter.report(f"tilt axis {offset_px:+.4g} px{length} from the middle of the views{source}")
    if abs(offset_px) > series.shape[2] / 2 and not from_header:
        session.reporter.warn(
            f"{series.name}: the tilt axis is outside the views, which are {series.shape[2]} px wide; a bare "
            "--axis-offset is in pixels, so write 80A or 8nm for a length"
        )


def _pixels(session: Session, length: Length | None, pixel_A: float | None, default: int, name: str) -> int:
    """Return a length in whole pixels, `default` where it is None; warn of few pixels."""
    if length is None:
        return default
    n = round(length.px(pixel_A))
    if n < 1:
        raise UsageError(f"{name} {length.value:g}{length.unit} is less than a pixel; give more")
    if length.unit == "A" and n < FEWEST_PX:
        raise UsageError(
            f"{name} {length.value:g} Å is only {n} px; a bare number is Å, so write 80px or 80nm"
        )
    if length.unit == "A" and n < FEW_PX < default:
        session.reporter.warn(
            f"{name} {length.value:g} Å is only {n} px; a bare number is in Å, so write {length.value:g}px "
            f"or {length.value:g}nm if you mean that"
        )
    return n
