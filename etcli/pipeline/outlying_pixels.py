"""Outlying pixels of a series: named in a warning, and limited where views are compared."""

from dataclasses import replace

import numpy as np

from etcli.core.arguments import listed
from etcli.core.outliers import LimitedImages, Outliers, find_outliers
from etcli.core.parallel import ordered_map
from etcli.core.series import TiltSeries
from etcli.pipeline.session import Session

MOST_NAMED = 5  # views


def name_outliers(session: Session, series: TiltSeries, *, limited: bool = False) -> dict[int, Outliers]:
    """Find the outlying pixels of a series and name them in a warning, with the remedy.

    Parameters
    ----------
    session : Session
        Gets the warning.
    series : TiltSeries
        Read once, view by view.
    limited : bool
        Whether the warning says that they are limited for the comparison of views.

    Returns
    -------
    dict of int to Outliers
        By the index of the image in ``series.data``; only images that have any.
    """
    if series.data.dtype.kind == "c":
        return {}  # refused where the views are read
    section: list[int] = [int(k) for k in series.views.section] or list(range(len(series)))
    found = ordered_map(lambda k: find_outliers(np.asarray(series.data[k])), section, threads=session.threads)
    by_view = [
        (view, k, pixels) for view, (k, pixels) in enumerate(zip(section, found, strict=True)) if len(pixels)
    ]
    if by_view:
        n_pixels = sum(len(pixels) for *_, pixels in by_view)
        names = [str(view + 1) for view, *_ in by_view]
        names = [*names[:MOST_NAMED], f"{len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else names
        view, _, pixels = by_view[0]
        worst = int(np.argmax(np.abs(pixels.found - pixels.surroundings)))
        where = f"column {pixels.columns[worst] + 1}, row {pixels.rows[worst] + 1} of view {view + 1}"
        session.reporter.warn(
            f"{series.name}: {n_pixels} outlying pixel{'s' if n_pixels > 1 else ''} in "
            f"view{'s' if len(by_view) > 1 else ''} {listed(names)}, such as {pixels.found[worst]:.6g} among "
            f"{pixels.surroundings[worst]:.6g} in {where}{'; limited to compare views' if limited else ''}; "
            "remove them first with filter --method despike"
        )
    return {k: pixels for _, k, pixels in by_view}


def without_outliers(session: Session, series: TiltSeries) -> TiltSeries:
    """Return a series whose outlying pixels are limited to their surroundings, to compare its views.

    Parameters
    ----------
    session : Session
        Gets a warning that names them.
    series : TiltSeries

    Returns
    -------
    TiltSeries
        The series itself where no pixel is outlying.
    """
    outliers = name_outliers(session, series, limited=True)
    return replace(series, data=LimitedImages(series.data, outliers)) if outliers else series
