"""Densities of labels from the views that a volume was reconstructed from."""

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError, UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.measurement.densities import least_squares_densities, likeness_of_views
from etcli.core.measurement.label_sums import LabelSums
from etcli.core.series import TiltSeries, Volume
from etcli.core.volume_overlap import have_same_voxels
from etcli.pipeline.session import Session
from etcli.pipeline.volume_origin import VolumeOrigin

LEAST_LIKENESS = 0.7
"""Correlation with the projections of a volume below which views are of something else."""
CENTRAL_PX = 0.05
SAME_TILT_DEG = 0.01


def label_densities(
    session: Session,
    sums: LabelSums,
    grey: NDArray[np.float32],
    volume: Volume,
    series: TiltSeries,
    origin: VolumeOrigin,
) -> NDArray[np.float64]:
    """Find the densities of labels for which their projections are nearest to the views.

    Parameters
    ----------
    session : Session
    sums : LabelSums
    grey : ndarray of shape (nz, ny, nx), float32
        Grey levels of the volume.
    volume : Volume
        The volume with the labels, its sections along z.
    series : TiltSeries
        Views that it was reconstructed from, of the same rows.
    origin : VolumeOrigin
        How the volume was made.

    Returns
    -------
    ndarray of shape (n,), float64

    Raises
    ------
    DataError
        When the views are not those of the whole width and height of the volume, or of another specimen.
    UsageError
        When the views are no projections of the volume along one tilt axis.
    """
    if origin.nonlinear or series.views.euler_deg is not None:
        why = f"by {origin.nonlinear}" if origin.nonlinear else "from views about more than one axis"
        raise UsageError(
            f"{volume.name}: is reconstructed {why}, where the views do not tell densities; leave out "
            "--series"
        )
    geometry = _geometry(volume, series)

    def read_rows(y0: int, y1: int) -> NDArray[np.float32]:
        return series.rows(np.arange(y0, y1)) - np.float32(origin.background)

    likeness = likeness_of_views(grey, read_rows, geometry)
    if not likeness > LEAST_LIKENESS:
        raise DataError(
            f"{series.name}: its views correlate with projections of {volume.name} by {likeness:.2f} only; "
            "give the series of the volume, aligned as it was, or leave out --series"
        )
    session.reporter.note(f"{series.name}: densities by least squares of {len(series)} views")
    return least_squares_densities(sums.numbers, len(sums), read_rows, geometry)


def _geometry(volume: Volume, series: TiltSeries) -> SliceGeometry:
    """Return how the views project the volume."""
    nz, ny, nx = volume.shape
    if series.shape[1] != ny:
        raise DataError(
            f"{series.name}: {series.shape[1]} rows, but {volume.name} has {ny}; give the series that the "
            "whole volume was reconstructed from"
        )
    if (
        series.pixel_A
        and volume.pixel_A
        and not have_same_voxels(Volume(series.data, pixel_A=series.pixel_A), volume)
    ):
        raise DataError(
            f"{series.name}: pixels of {series.pixel_A:g} Å, but the voxels of {volume.name} are "
            f"{volume.pixel_A:g} Å; give the series of the volume"
        )
    x_A, y_A, z_A = volume.middle_A or (0.0, 0.0, 0.0)
    step_A = volume.pixel_A or 1.0
    turned = volume.frame is not None and abs(volume.frame.x_tilt_deg) > SAME_TILT_DEG
    if turned or max(abs(x_A), abs(y_A)) > CENTRAL_PX * step_A:
        raise DataError(
            f"{volume.name}: is cropped or turned, so that {series.name} does not show it as it is; measure "
            "the whole volume, or leave out --series"
        )
    return SliceGeometry(
        series.tilt_deg,
        n_detector=series.shape[2],
        thickness=nz,
        width=nx,
        axis_offset_px=series.centre_px[0],
        z_offset_px=z_A / step_A,
    )
