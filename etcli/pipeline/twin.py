"""The threshold of a volume by its twin: the same segmentation of a reconstruction whose truth is known."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError, UsageError
from etcli.core.filters import gaussian
from etcli.core.segmentation.thresholds import edge, grey_range, histogram_of, plateau
from etcli.core.segmentation.twin import threshold_of_volume, twin_model, twin_views
from etcli.core.series import TiltSeries, Volume
from etcli.core.view_table import ViewTable
from etcli.pipeline.background_level import background_level
from etcli.pipeline.inputs import load_images
from etcli.pipeline.project import project
from etcli.pipeline.session import Session

Array = NDArray[np.float32]
Rebuild = Callable[[TiltSeries], Volume]
"""Function that reconstructs a series without background as the volume in question was reconstructed."""

PASSES = 2
SEED = 1


def twin_threshold(
    session: Session,
    volume: Volume,
    values: Array,
    series: TiltSeries,
    rebuild: Rebuild | None,
    *,
    smooth_px: float = 0.0,
) -> tuple[float]:
    """Find the threshold at which a reconstruction of known volume has that volume.

    Parameters
    ----------
    session : Session
    volume : Volume
    values : ndarray of shape (nz, ny, nx), float32
        Its grey levels.
    series : TiltSeries
        The views that it was reconstructed from.
    rebuild : callable or None
        Reconstructs a series as the volume was.
    smooth_px : float
        Standard deviation of the Gaussian that the grey levels were smoothed with, in voxels.

    Returns
    -------
    tuple of one float

    Raises
    ------
    UsageError
        When it is not known how to reconstruct.
    DataError
        When series and volume do not belong together.

    Notes
    -----
    The volume is segmented, with a soft edge, and projected; its density is fitted to the views and noise
    like theirs is added. The threshold of the next pass is that at which the reconstruction of these views
    has the volume that was put in. This corrects blur, noise and the missing wedge, but not errors that
    simulated views do not have: of alignment, or of the model of projection.
    """
    if rebuild is None:
        raise UsageError("twin needs to know how the volume was reconstructed; give a function rebuild")
    level = background_level(session, series, "auto", used="subtracted from the views of the twin") or 0.0
    views = load_images(session, series, copies=3)
    views -= np.float32(level)
    histogram = histogram_of(values)
    contrast = plateau(histogram) - grey_range(histogram)[0]
    threshold = edge(values, histogram, threads=session.threads)
    rng = np.random.default_rng(SEED)
    for k in range(PASSES):
        model = twin_model(values, threshold, contrast)
        projections = _projections(session, volume, model, series)
        simulated, density = twin_views(views, projections, rng)
        twin = rebuild(replace(series, data=simulated, views=_in_order(series), background=None))
        if twin.shape != volume.shape and sorted(twin.shape) != sorted(volume.shape):
            raise DataError(
                f"the twin has the size {twin.shape[::-1]} and {volume.name} {volume.shape[::-1]}; has it "
                "been cropped or binned since it was reconstructed?"
            )
        rebuilt = load_images(session, twin, copies=2)
        if smooth_px:
            rebuilt = gaussian(rebuilt, sigma_px=smooth_px)
        new = threshold_of_volume(rebuilt, float(model.sum(dtype=np.float64)))
        session.reporter.report(
            f"twin, pass {k + 1} of {PASSES}: density {density:.5g}, threshold {threshold:.5g} becomes "
            f"{new:.5g}"
        )
        threshold = new
    return (threshold,)


def _projections(session: Session, volume: Volume, model: Array, series: TiltSeries) -> Array:
    """Project a model of a volume to the views of a series."""
    solid = replace(volume, data=model)
    euler_deg = series.views.euler_deg
    tilt_deg = series.tilt_deg if euler_deg is None else None
    projected = project(solid, tilt_deg, euler_deg=euler_deg, session=session)
    if projected.shape != series.shape:
        raise DataError(
            f"{series.name}: views of {series.shape[2]} x {series.shape[1]} pixels, but {volume.name} gives "
            f"{projected.shape[2]} x {projected.shape[1]}; give the whole series it was reconstructed from"
        )
    return np.asarray(projected.images(), np.float32)


def _in_order(series: TiltSeries) -> ViewTable:
    """Return the view table of a series whose images are in its order."""
    return replace(series.views, section=np.arange(len(series.views)))
