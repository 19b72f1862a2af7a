"""Registration of a focal series, whose views differ in focus instead of tilt."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.registration.matching import Matched
from etcli.core.registration.methods import n_steps, register_views
from etcli.core.series import TiltSeries
from etcli.pipeline.inputs import file_named_in_errors
from etcli.pipeline.session import Session
from etcli.pipeline.view_selection import Region

FOCAL = "focal"


def check_focal(series: TiltSeries, *, axis_deg: float | None = None) -> None:
    """Check that the views of a series are of one tilt, and that no tilt axis is given for them.

    Raises
    ------
    UsageError
    """
    tilts = series.views.groups() if series.has_tilts else []
    if len(tilts) > 1:
        raise UsageError(f"{series.name}: {len(tilts)} tilt angles; --method focal is for views of one tilt")
    if axis_deg is not None:
        raise UsageError("a focal series has no tilt axis; leave --axis out")


def focus_of(series: TiltSeries) -> NDArray[np.float64] | None:
    """Return the defoci in µm by which views are put in order; None where some are not known."""
    defocus_um = series.views.defocus_um
    return defocus_um if defocus_um is not None and np.isfinite(defocus_um).all() else None


def shown_along(series: TiltSeries) -> tuple[NDArray[np.float64], str]:
    """Return what the views of a focal series are shown along in a picture, and its label."""
    focus_um = focus_of(series)
    numbers = np.arange(1.0, len(series) + 1)
    return (numbers, "section") if focus_um is None else (focus_um, "defocus (µm)")


def find_drift(
    session: Session,
    series: TiltSeries,
    *,
    reference: int | None,
    max_shift_px: float | None,
    region: Region | None,
) -> Matched:
    """Find the shifts of the views of a focal series; see `etcli.core.depth.drift.focal_drift`."""
    check_focal(series)
    images: Any = series.images()
    if focus_of(series) is None:
        session.reporter.report(
            f"{series.name}: some defoci are not known; views are taken as in order of focus"
        )
    total = n_steps(FOCAL, n_views=len(series), iterations=0)
    with file_named_in_errors(series), session.reporter.progress(total, "comparing") as advance:
        return register_views(
            images,
            np.zeros(len(series)),
            method=FOCAL,
            defocus_um=focus_of(series),
            reference=reference,
            region=(region.rows, region.columns) if region else None,
            max_shift_px=max_shift_px,
            threads=session.threads,
            progress=advance,
        )
