"""How large a volume is, and where it lies."""

from dataclasses import replace

import numpy as np

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.lengths import Length
from etcli.core.reconstruction.line_integrals import LineIntegrals
from etcli.core.reconstruction.thickness import find_thickness
from etcli.core.series import TiltSeries, Volume
from etcli.core.volume_frame import Placement
from etcli.pipeline.inputs import file_named_in_errors
from etcli.pipeline.session import Session

UPRIGHT_DEG = 2.0
SPREAD_ROWS = 16  # that tell the thickness
FEWEST_PX = 4  # whoever asks for less in Å has meant another unit
SAME_TILT_DEG = 0.01
SAME_PLACE = 0.5  # voxels


def slice_geometry(
    session: Session,
    series: TiltSeries,
    *,
    thickness: Length | str | None,
    width: Length | None,
    axis_offset: Length,
    z_offset: Length,
    least_squares: bool,
) -> SliceGeometry:
    """Geometry of the slices; warns where the series is not ready for it.

    Parameters
    ----------
    session : Session
    series : TiltSeries
    thickness, width : Length or None
        Extent along z and x, as wide as a view where None; a word in place of the thickness stands for the
        same, until `as_thick_as_needed` finds it.
    axis_offset, z_offset : Length
        Where the tilt axis lies from the centre, and the height of the volume above it.
    least_squares : bool
        Whether the method squares the weights of views.

    Returns
    -------
    SliceGeometry
    """
    if abs(series.axis_deg or 0.0) > UPRIGHT_DEG:
        session.reporter.warn(
            f"{series.name}: the tilt axis is at {series.axis_deg:g}° by its description, not vertical; "
            "use tiltalign first"
        )
    nx, pixel_A, weight = series.shape[2], series.pixel_A, None
    if series.views.weight is not None:
        weight = series.views.weight.astype(np.float32)
        weight = np.sqrt(weight) if least_squares else weight
    return SliceGeometry(
        series.tilt_deg,
        n_detector=nx,
        thickness=nx if isinstance(thickness, str) else _pixels(thickness, pixel_A, nx, "--thickness"),
        width=_pixels(width, pixel_A, nx, "--width"),
        axis_offset_px=axis_offset.px(pixel_A),
        z_offset_px=z_offset.px(pixel_A),
        view_weight=weight,
    )


def as_thick_as_needed(session: Session, integrals: LineIntegrals, geometry: SliceGeometry) -> SliceGeometry:
    """Return the geometry with the thickness of the specimen, and tell it."""
    with file_named_in_errors(integrals.series):
        found = find_thickness(integrals.spread(SPREAD_ROWS), geometry)
    pixel_A = integrals.series.pixel_A
    length = f" ({found * pixel_A:.4g} Å)" if pixel_A else ""
    session.reporter.report(f"the specimen is within {found} px{length} along z")
    return replace(geometry, thickness=found)


def check_place(volume: Volume, placement: Placement, *, x_tilt_deg: float, role: str) -> None:
    """Refuse a volume that does not lie where another one will.

    Parameters
    ----------
    volume : Volume
        Of the size of that one, with its sections along z.
    placement : Placement
        Of the volume that is to be made.
    x_tilt_deg : float
        What that is turned by about x.
    role : str
        What the volume is given for.

    Raises
    ------
    UsageError
        When both tell where they lie, and that is not the same.
    """
    frame, pixel_A = volume.frame, volume.pixel_A
    if frame is None or not pixel_A or not any(placement.centre_A):
        return
    if abs(frame.x_tilt_deg - x_tilt_deg) > SAME_TILT_DEG:
        raise UsageError(
            f"{volume.name}: is turned by {frame.x_tilt_deg:g}° about x, the volume to be made by "
            f"{x_tilt_deg:g}°; make the {role} with the same --x-tilt"
        )
    theirs = np.subtract(volume.origin_A, frame.centre_A)
    ours = np.subtract(placement.corner_A, placement.centre_A)
    if (np.abs(theirs - ours) > SAME_PLACE * pixel_A).any():
        away = ", ".join(f"{length:.4g}" for length in theirs - ours)
        raise UsageError(
            f"{volume.name}: lies {away} Å (x, y, z) from where the volume to be made does; make the {role} "
            "with the same --slices and offsets"
        )


def _pixels(length: Length | None, pixel_A: float | None, default: int, name: str) -> int:
    """Return an extent in whole pixels."""
    if length is None:
        return default
    n = round(length.px(pixel_A))
    if n < 1:
        raise UsageError(f"{name} {length.value:g}{length.unit} is less than a pixel; give more")
    if length.unit == "A" and n < FEWEST_PX:
        raise UsageError(
            f"{name} {length.value:g} Å is only {n} px; a bare number is Å, so write 80px or 80nm"
        )
    return n
