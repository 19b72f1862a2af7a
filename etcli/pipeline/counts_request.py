"""What a reconstruction from counts needs to know of them, and where that contradicts its views."""

from dataclasses import replace

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.reconstruction.line_integrals import LineIntegrals
from etcli.core.series import TiltSeries
from etcli.core.solvers.methods import POISSON
from etcli.io.element_map import ElementMap
from etcli.pipeline.fuse_inputs import check_same_views, checked_counts
from etcli.pipeline.parts_beside import check_parts
from etcli.pipeline.reconstruction_request import ReconstructionRequest
from etcli.pipeline.session import Session

PartsOfSeries = tuple[TiltSeries, TiltSeries]


def counts_request(
    request: ReconstructionRequest, geometry: SliceGeometry, level: float | None
) -> ReconstructionRequest:
    """Return the request with the background that its likelihood expects.

    Parameters
    ----------
    request : ReconstructionRequest
    geometry : SliceGeometry
        Geometry of the slices.
    level : float or None
        Background level, in counts a pixel.

    Returns
    -------
    ReconstructionRequest

    Raises
    ------
    UsageError
        When the views have weights, or their background is negative.
    """
    if geometry.view_weight is not None:
        raise UsageError(
            f"ViewWeight in the mdoc is not for --likelihood {POISSON}, as counts weigh themselves; remove it"
        )
    if level is not None and level < 0:
        raise UsageError(
            f"the background is {level:.4g}, but counts are never negative; use them as recorded, or give "
            "--background none"
        )
    return replace(request, parameters=replace(request.parameters, counts_background=level or 0.0))


def parts_of_counts(
    session: Session, series: TiltSeries, parts: PartsOfSeries, rows: tuple[int, int]
) -> tuple[LineIntegrals, ...]:
    """Check that two parts are of the counts of a series, and return rows of them.

    Parameters
    ----------
    session : Session
    series : TiltSeries
    parts : tuple of TiltSeries
        Its counts in two independent parts.
    rows : (int, int)
        First row, counted from 0, and number of rows.

    Returns
    -------
    tuple of LineIntegrals

    Raises
    ------
    DataError
        When they are of other views, other pixels or other counts.
    """
    name = ElementMap.of(series.description).element or "the element"
    for part in parts:
        check_same_views(series, part)
    counts, *both = (checked_counts(name, one) for one in (series, *parts))
    check_parts(counts, both, series)
    session.reporter.note("held-out counts are those of the parts beside the map")
    return tuple(LineIntegrals(part, *rows) for part in parts)
