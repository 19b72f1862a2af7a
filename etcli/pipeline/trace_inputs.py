"""Inputs of tracing: the volume, half volumes, and the views to refine against."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from etcli.core.atoms.gaussian_model import AtomViews
from etcli.core.atoms.refine_trace import DIFFUSE_A
from etcli.core.errors import DataError, UsageError
from etcli.core.orientation import rotation_matrices, tilts_as_euler
from etcli.core.series import TiltSeries, Volume
from etcli.core.volume_axes import UPRIGHT
from etcli.core.volume_frame import VolumeFrame
from etcli.pipeline.background_level import background_level
from etcli.pipeline.inputs import load_images, read_series, with_euler_file
from etcli.pipeline.session import Session

COPIES = 4
"""Arrays of the size of the volume that tracing needs."""
VIEW_COPIES = 36
"""Arrays of the size of the series, in single precision, that a refinement needs."""
CUBE_TOLERANCE = 0.01
"""Relative difference of the edges of voxels that is attributed to rounding."""
VOXEL_TOLERANCE = 1e-3
"""Relative difference of voxel sizes that is ignored, as a label has four digits."""


@dataclass(frozen=True, eq=False)
class RefinementSeries:
    """Views to refine atoms against.

    Parameters
    ----------
    series : TiltSeries
        Source of the views.
    views : AtomViews
    level : float
        Background level, 0 where the views have no empty rim.
    """

    series: TiltSeries
    views: AtomViews
    level: float


def cubic_voxels(session: Session, volume: Volume) -> tuple[NDArray[np.float32], float]:
    """Load a volume of cubic voxels of known size; return it and the size in Å.

    Raises
    ------
    DataError
        When voxels are of unknown size or not cubic, or too few to hold an atom.
    """
    if volume.pixel_A is None:
        raise DataError(
            f"{volume.name}: does not say how large its voxels are; reconstruct it from a series that does"
        )
    voxel_A = volume.voxel_A or (volume.pixel_A,) * 3
    if max(voxel_A) > (1 + CUBE_TOLERANCE) * min(voxel_A):
        sides = " x ".join(f"{side:g}" for side in voxel_A)
        raise DataError(
            f"{volume.name}: voxels of {sides} Å are not cubic, as tracing needs them; resample it"
        )
    if min(volume.shape) < 3:
        nz, ny, nx = volume.shape
        raise DataError(
            f"{volume.name}: {nx} x {ny} x {nz} voxels are too flat to hold atoms; is it a volume?"
        )
    return load_images(session, volume, copies=COPIES), volume.pixel_A


def half_volumes(
    session: Session, halves: Sequence[Volume], like: Volume
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Load the two volumes that were reconstructed from half of the views each.

    Raises
    ------
    DataError
        When they differ in shape or voxel size from the volume of all views, or are identical.
    """
    loaded = []
    for half in halves:
        if half.shape != like.shape:
            sizes = [" x ".join(map(str, one.shape[::-1])) for one in (half, like)]
            raise DataError(
                f"{half.name}: {sizes[0]} voxels, but {like.name} has {sizes[1]}; reconstruct both alike"
            )
        if half.pixel_A and like.pixel_A and abs(half.pixel_A / like.pixel_A - 1) > CUBE_TOLERANCE:
            raise DataError(
                f"{half.name}: voxels of {half.pixel_A:g} Å, but {like.name} has {like.pixel_A:g} Å; "
                "reconstruct both alike"
            )
        loaded.append(load_images(session, half, copies=COPIES + 2))
    first, second = loaded
    if np.array_equal(first, second):
        raise DataError(
            f"{halves[1].name}: is the same as {halves[0].name}; give the halves that recon --half-sets makes"
        )
    return first, second


def known_frame(session: Session, volume: Volume) -> VolumeFrame | None:
    """Frame of a volume, None where it is unknown; warn if it is no longer valid."""
    frame, voxel_A = volume.frame, volume.pixel_A or 0.0
    is_reconstruction = any(step.startswith("etcli recon") for step in volume.history)
    from_middle = "positions are counted from its middle"
    if is_reconstruction and frame is None:
        session.reporter.warn(
            f"{volume.name}: was cut or changed since it was reconstructed, so its rotation centre is not "
            f"known; {from_middle}"
        )
    elif frame and abs(voxel_A / frame.voxel_A - 1) > VOXEL_TOLERANCE:
        session.reporter.warn(
            f"{volume.name}: has voxels of {voxel_A:g} Å, but was reconstructed with {frame.voxel_A:g} Å; "
            f"{from_middle}"
        )
        frame = None
    return frame


def read_views(session: Session, name: str, euler: str | None) -> TiltSeries:
    """Open the series that a volume was reconstructed from, with its orientations.

    Raises
    ------
    DataError
        When its tilt angles are unknown.
    """
    series = read_series(session, name)
    series.views.check_one_focus(name, "--refine compares atoms with projections, which these are not")
    if euler:
        return with_euler_file(session, series, euler)
    if not series.has_tilts:
        beside = f"{PurePath(name).stem}.tlt"
        raise DataError(f"{name}: no tilt angles beside it or in it; put them into {beside}, or give --euler")
    return series


def refinement_series(
    session: Session, series: TiltSeries, volume: Volume, frame: VolumeFrame | None
) -> RefinementSeries:
    """Prepare the views that a volume was reconstructed from, with orientations relative to the volume.

    Parameters
    ----------
    session : Session
    series : TiltSeries
        With tilt angles, and pixels of known size.
    volume : Volume
    frame : VolumeFrame or None
        Position of the volume.

    Returns
    -------
    RefinementSeries

    Raises
    ------
    UsageError
        When position or axes of the volume do not allow a refinement against the views.
    DataError
        When the pixel size of the series is unknown.
    """
    if series.pixel_A is None:
        raise DataError(
            f"{series.name}: does not say how large its pixels are; so atoms cannot be placed in it"
        )
    if frame and frame.axes != UPRIGHT:
        what, advice = f"was turned to the axes {frame.axes}", "give the volume as it was before stack --turn"
        if frame.along_y:
            what, advice = "has its sections along y", "leave --orient imod out of recon"
        raise UsageError(f"{volume.name}: {what}, which --refine does not support; {advice}")
    n_used, pixel_A = frame.n_views if frame else None, series.pixel_A
    if n_used is not None and n_used != len(series):
        session.reporter.warn(
            f"{volume.name} was made of {n_used} views, {series.name} has {len(series)}, and atoms are "
            "refined against all of them; etcli stack --exclude leaves bad ones out"
        )
    data = load_images(session, series, copies=VIEW_COPIES)
    level = background_level(session, series, "auto")
    rotation = series.views.rotations(frame.x_tilt_deg if frame else 0.0)
    if frame and rotation is None:
        rows = _rows_of_volume(series, volume)  # other rows show atoms outside the volume
        data = data[:, rows]
        if not data.size:
            raise _outside_error(volume, series)
        x, y, z = series.origin_A
        views = replace(series.views, section=np.arange(len(series)))
        series = replace(series, data=data, views=views, origin_A=(x, y + rows.start * pixel_A, z))
    if rotation is None:
        rotation = rotation_matrices(tilts_as_euler(series.tilt_deg))
    return RefinementSeries(
        series,
        AtomViews(
            np.array(data, np.float64, order="C"),
            rotation,
            pixel_A,
            _centre_in_views(series, volume, frame) if frame else (0.0, 0.0),
            diffuse_A=DIFFUSE_A if level is None else 0.0,
            threads=session.threads,
        ),
        level or 0.0,
    )


def middle_of_volume_A(volume: Volume, frame: VolumeFrame | None) -> NDArray[np.float64]:
    """Middle of a volume relative to the rotation centre; 0 where that is unknown."""
    if frame is None:
        return np.zeros(3)
    return frame.middle_A(volume.shape, volume.origin_A, volume.pixel_A or 0.0)


def _rows_of_volume(series: TiltSeries, volume: Volume) -> slice:
    """Return the rows of views tilted about y that show the volume."""
    pixel_A = series.pixel_A or 1.0
    first = (volume.origin_A[1] - series.origin_A[1]) / pixel_A
    last = first + volume.shape[1] * (volume.pixel_A or 0.0) / pixel_A
    return slice(max(round(first), 0), max(round(last), 0))


def _centre_in_views(series: TiltSeries, volume: Volume, frame: VolumeFrame) -> tuple[float, float]:
    """Return the rotation centre of a volume in pixels (x, y) from the middle of the views."""
    pixel_A = series.pixel_A or 1.0
    size_A = np.array(series.shape[:0:-1]) * pixel_A
    centre_A = np.array(frame.centre_A[:2]) - series.origin_A[:2] - size_A / 2
    if abs(centre_A[0]) > size_A[0] / 2:
        raise _outside_error(volume, series)
    x, y = (centre_A / pixel_A).tolist()
    return x, y


def _outside_error(volume: Volume, series: TiltSeries) -> UsageError:
    return UsageError(
        f"{volume.name}: lies outside the views of {series.name}; is it the series that was reconstructed?"
    )
