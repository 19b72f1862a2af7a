"""First look at a series: one pass over its views for what is wrong with them, and for their empty rims."""

from dataclasses import dataclass, replace

import numpy as np

from etcli.core.arguments import as_ranges, listed
from etcli.core.background import Background, Rim, background_of_rims, measure_rim, rim_width
from etcli.core.errors import NonFiniteViewError
from etcli.core.outliers import (
    Content,
    LimitedImages,
    Outliers,
    content_of,
    empty_views,
    find_outliers,
    limit,
)
from etcli.core.parallel import ordered_map
from etcli.core.registration.transforms import lies_along_x
from etcli.core.series import TiltSeries
from etcli.pipeline.session import Session

MOST_NAMED = 5  # views


@dataclass(frozen=True, eq=False)
class _View:
    """What one view shows: outlying pixels, what it holds, and its rim by the direction of the axis."""

    outliers: Outliers
    content: Content
    rims: dict[bool, Rim | None]


@dataclass(frozen=True, eq=False)
class FirstLook:
    """What one pass over the views of a series shows.

    Parameters
    ----------
    limited : TiltSeries
        The series with outlying pixels limited to their surroundings, to compare its views; the series itself
        where no pixel is outlying.
    rims : dict of bool to list of Rim or None
        Rims of all views, by whether the tilt axis lies along x; None for a view that is not finite.
    """

    limited: TiltSeries
    rims: dict[bool, list[Rim | None]]

    def background(self, *, along_x: bool) -> Background | None:
        """Return the background level that the rims show; None where they were not measured."""
        rims = self.rims.get(along_x, [])
        if None in rims:
            raise NonFiniteViewError(rims.index(None))
        return background_of_rims([rim for rim in rims if rim]) if rims else None


def first_look(
    session: Session, series: TiltSeries, *, rims: bool, compared: bool = False, counts: bool = False
) -> FirstLook:
    """Look at every view once; name outlying pixels and empty views in warnings, with the remedy.

    Parameters
    ----------
    session : Session
        Gets the warnings.
    series : TiltSeries
        Read once, view by view.
    rims : bool
        Whether the rims of the views are measured, for the background level: along both directions where that
        of the tilt axis is not known.
    compared : bool
        Whether the warning says that outlying pixels are limited for the comparison of views.
    counts : bool
        Whether the values are counts, of which a bright pixel or an empty view may be chance.

    Returns
    -------
    FirstLook
    """
    if series.data.dtype.kind not in "iuf":
        return FirstLook(series, {})  # refused where the views are read
    directions = (False, True) if series.axis_deg is None else (lies_along_x(series.axis_deg),)
    widths = {along_x: rim_width(_turned(series.shape, along_x)) for along_x in directions if rims}

    def look(k: int) -> _View:
        view = np.asarray(series.data[k])
        outlying = Outliers.none() if counts else find_outliers(view)
        view = limit(view, outlying)
        measured = {
            along_x: measure_rim(view.T if along_x else view, width)
            for along_x, width in widths.items()
            if width is not None
        }
        return _View(outlying, content_of(view), measured)

    section: list[int] = [int(k) for k in series.views.section] or list(range(len(series)))
    found = list(ordered_map(look, section, threads=session.threads))
    limits = {k: view.outliers for k, view in zip(section, found, strict=True) if len(view.outliers)}
    _name_outliers(session, series, limits, compared=compared)
    empty = [] if counts else empty_views([view.content for view in found])
    _name_empty(session, series, sorted(section[k] + 1 for k in empty))
    limited = replace(series, data=LimitedImages(series.data, limits)) if limits else series
    measured = found[0].rims if found else {}
    return FirstLook(limited, {along_x: [view.rims[along_x] for view in found] for along_x in measured})


def _turned(shape: tuple[int, int, int], along_x: bool) -> tuple[int, int, int]:
    """Return the shape of a series whose views are turned so that the tilt axis lies along y."""
    return (shape[0], shape[2], shape[1]) if along_x else shape


def _name_outliers(
    session: Session, series: TiltSeries, outliers: dict[int, Outliers], *, compared: bool
) -> None:
    """Warn of outlying pixels, by the view of the file, with the worst of the first view that has any."""
    by_view = sorted(outliers.items())
    if not by_view:
        return
    n_pixels = sum(len(pixels) for _, pixels in by_view)
    names = [str(view + 1) for view, _ in by_view]
    names = [*names[:MOST_NAMED], f"{len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else names
    view, pixels = by_view[0]
    worst = int(np.argmax(np.abs(pixels.found - pixels.surroundings)))
    where = f"column {pixels.columns[worst] + 1}, row {pixels.rows[worst] + 1} of view {view + 1}"
    session.reporter.warn(
        f"{series.name}: {n_pixels} outlying pixel{'s' if n_pixels > 1 else ''} in "
        f"view{'s' if len(by_view) > 1 else ''} {listed(names)}, such as {pixels.found[worst]:.6g} among "
        f"{pixels.surroundings[worst]:.6g} in {where}{'; limited to compare views' if compared else ''}; "
        "remove them first with filter --method despike"
    )


def _name_empty(session: Session, series: TiltSeries, empty: list[int]) -> None:
    """Warn of views of the file, counted from 1, that hold one value only."""
    if not empty:
        return
    if len(empty) == len(series):
        session.reporter.warn(f"{series.name}: all views hold one value only; check how the file was made")
        return
    named, hold = ("views", "hold") if len(empty) > 1 else ("view", "holds")
    session.reporter.warn(
        f"{series.name}: {named} {as_ranges(empty)} {hold} one value only, as if not recorded; leave out "
        "with stack --exclude"
    )
