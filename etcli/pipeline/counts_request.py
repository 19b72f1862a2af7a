"""What a reconstruction from counts needs to know of them, and where that contradicts its views."""

from dataclasses import replace

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.solvers.methods import POISSON
from etcli.pipeline.reconstruction_request import ReconstructionRequest


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
